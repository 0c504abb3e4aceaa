use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What can be wrong with a configuration, a checkpoint or the way to them.
///
/// Every message is one line that names the file, the thing and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb: `read`, `write`, `rename`.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file that should be JSON is not.
    #[error("{}not JSON at line {line}, column {column}: {message}", prefix(path.as_deref()))]
    Json {
        /// The file; none when the text came from memory.
        path: Option<PathBuf>,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser expected.
        message: String,
    },
    /// A configuration field has a value no model can have.
    #[error("{}`{field}` {message}", prefix(path.as_deref()))]
    Config {
        /// The file; none when the configuration came from memory.
        path: Option<PathBuf>,
        /// The field's name in config.json.
        field: String,
        /// What it holds and what was expected.
        message: String,
    },
    /// A folder holds no file that could be a checkpoint.
    #[error("{}: no checkpoint in this folder, expected one of {}", path.display(), expected.join(", "))]
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
        /// The file names that were looked for, in order.
        expected: &'static [&'static str],
    },
    /// A checkpoint file or index is damaged or holds what cannot be read.
    #[error("{}: {message}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The tensor or place, and what was expected.
        message: String,
    },
    /// The tensors of a checkpoint are not those of the model.
    #[error("{}: {}", path.display(), mismatch(missing, unused, wrong, hint.as_deref()))]
    Mismatch {
        /// The checkpoint.
        path: PathBuf,
        /// Keys the model needs and the checkpoint lacks.
        missing: Vec<String>,
        /// Keys of the checkpoint that the model has no place for.
        unused: Vec<String>,
        /// Keys whose shape or kind differs, each with what it is and what was expected.
        wrong: Vec<String>,
        /// What the differences look like, where that is recognisable.
        hint: Option<String>,
    },
    /// A tensor from outside is not one the model can take.
    #[error("`{tensor}` {message}")]
    Input {
        /// The tensor's name.
        tensor: String,
        /// What it is and what was expected.
        message: String,
    },
    /// Neither a folder nor a model that the hub or its cache has.
    #[error("{id}: {message}")]
    Hub {
        /// The path or hub id that was asked for.
        id: String,
        /// What was tried, what came of it and what to do instead.
        message: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, action, source }
    }

    pub(crate) fn config(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config { path: None, field: field.into(), message: message.into() }
    }

    pub(crate) fn checkpoint(path: &Path, message: impl Into<String>) -> Self {
        Self::Checkpoint { path: path.to_path_buf(), message: message.into() }
    }

    pub(crate) fn input(tensor: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Input { tensor: tensor.into(), message: message.into() }
    }

    /// Names the folder's configuration in an error that arose from it.
    pub(crate) fn in_folder(self, folder: &Path) -> Self {
        self.in_file(&folder.join(crate::CONFIG_NAME))
    }

    /// Names the file in an error that arose from its contents in memory.
    #[must_use]
    pub(crate) fn in_file(mut self, file: &Path) -> Self {
        if let Self::Json { path, .. } | Self::Config { path, .. } = &mut self {
            path.get_or_insert_with(|| file.to_path_buf());
        }
        self
    }
}

fn prefix(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!("{}: ", path.display()))
}

/// Keys named in one message before the rest is only counted.
const LISTED: usize = 10;

fn mismatch(missing: &[String], unused: &[String], wrong: &[String], hint: Option<&str>) -> String {
    let mut message = String::from("the checkpoint is not this model's");
    for (what, keys) in [("wrong", wrong), ("missing", missing), ("unused", unused)] {
        if keys.is_empty() {
            continue;
        }
        let listed = keys.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
        let _ = write!(message, "; {} {what}: {listed}", keys.len());
        if keys.len() > LISTED {
            let _ = write!(message, " and {} more", keys.len() - LISTED);
        }
    }
    if let Some(hint) = hint {
        let _ = write!(message, "; {hint}");
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_keys_is_cut_after_ten() {
        let missing = (0..13).map(|i| format!("k{i}")).collect();
        let error = Error::Mismatch {
            path: "m.safetensors".into(),
            missing,
            unused: vec!["extra".into()],
            wrong: vec![],
            hint: None,
        };
        assert_eq!(
            error.to_string(),
            "m.safetensors: the checkpoint is not this model's; \
             13 missing: k0, k1, k2, k3, k4, k5, k6, k7, k8, k9 and 3 more; 1 unused: extra"
        );
    }

    #[test]
    fn a_file_is_named_once() {
        let error = Error::config("d_latents", "is 0").in_file(Path::new("a/config.json"));
        assert_eq!(error.to_string(), "a/config.json: `d_latents` is 0");
        assert_eq!(error.in_file(Path::new("b")).to_string(), "a/config.json: `d_latents` is 0");
    }
}
