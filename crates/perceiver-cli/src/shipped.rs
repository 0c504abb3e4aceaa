//! Models that come with the program, for commands that are given none or one of their names.

use std::env;
use std::path::{Component, Path, PathBuf};

use anyhow::{Result, anyhow};

/// A model that the project trained itself: a folder of `models`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shipped {
    /// Fills masked words.
    Language,
    /// Tells languages apart.
    Languages,
    /// Tells clothes apart.
    FashionMnist,
    /// Says where pixels went.
    Flow,
    /// Re-creates videos.
    Autoencoder,
}

/// Folders above the program's own in which its models may lie: beside it, in an installation's
/// `share`, or at the top of the repository it was built in.
const ABOVE: usize = 3;

impl Shipped {
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

    /// The model for photos or for texts.
    pub(crate) const fn classifier(of_texts: bool) -> Self {
        if of_texts { Self::Languages } else { Self::FashionMnist }
    }

    /// Where it is.
    pub(crate) fn folder(self) -> Result<PathBuf> {
        named(self.name()).ok_or_else(|| {
            let name = self.name();
            anyhow!("no --model, and the program's own, models/{name}, is not beside it")
        })
    }
}

/// The folder of a model that comes with the program, by its name in `models`.
pub(crate) fn named(name: &str) -> Option<PathBuf> {
    let mut parts = Path::new(name).components();
    let (Some(Component::Normal(_)), None) = (parts.next(), parts.next()) else {
        return None;
    };
    let program = env::current_exe().and_then(|program| program.canonicalize()).ok()?;
    find(&program, name)
}

fn find(program: &Path, name: &str) -> Option<PathBuf> {
    program.ancestors().skip(1).take(ABOVE).find_map(|above| {
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
