//! Models bundled with the program: the defaults of its commands, also available by name.

use std::env;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, anyhow};

/// A model that this project trained: a folder in `models`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bundled {
    /// Fills masked words.
    Language,
    /// Classifies texts by language.
    Languages,
    /// Classifies pictures of clothes.
    FashionMnist,
    /// Estimates optical flow.
    Flow,
    /// Reconstructs videos.
    Autoencoder,
}

/// Number of folders above the program in which its models may be: beside it, in an installation's
/// `share`, or at the top of the repository that it was built in.
const ANCESTORS: usize = 3;

impl Bundled {
    /// Its name in `models`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Language => "language",
            Self::Languages => "languages",
            Self::FashionMnist => "fashion-mnist",
            Self::Flow => "flow",
            Self::Autoencoder => "autoencoder",
        }
    }

    /// The classifier of texts or photos.
    pub(crate) const fn classifier(of_texts: bool) -> Self {
        if of_texts { Self::Languages } else { Self::FashionMnist }
    }

    /// Its folder.
    pub(crate) fn folder(self) -> Result<PathBuf> {
        named(self.name()).ok_or_else(|| {
            let name = self.name();
            anyhow!("no --model, and the bundled models/{name} is not beside the program")
        })
    }
}

/// The folder of a bundled model, by its name in `models`.
pub(crate) fn named(name: &str) -> Option<PathBuf> {
    let mut parts = Path::new(name).components();
    let (Some(Component::Normal(_)), None) = (parts.next(), parts.next()) else {
        return None;
    };
    let program = env::current_exe().and_then(|program| program.canonicalize()).ok()?;
    find(&program, name)
}

fn find(program: &Path, name: &str) -> Option<PathBuf> {
    program.ancestors().skip(1).take(ANCESTORS).find_map(|above| {
        let places =
            [above.join("models").join(name), above.join("share/perceiver/models").join(name)];
        places.into_iter().find(|place| place.join("config.json").is_file())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn models_are_found_beside_the_program_installed_and_in_the_repository() {
        for (program, models) in [
            ("perceiver", "models"),
            ("bin/perceiver", "share/perceiver/models"),
            ("target/release/perceiver", "models"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let place = folder.path().join(models).join("flow");
            fs::create_dir_all(&place).unwrap();
            let program = folder.path().join(program);
            assert_eq!(find(&program, "flow"), None);
            fs::write(place.join("config.json"), "{}").unwrap();
            assert_eq!(find(&program, "flow"), Some(place));
        }
    }
}
