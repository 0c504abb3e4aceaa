use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// An error in a configuration, a checkpoint, an input, or on the way to them.
///
/// Every message is one line that names the file, the place in it and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system failed to read or write.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The attempted action, as a verb: `read`, `write`, `replace`.
        action: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// A text is not JSON.
    #[error("{}not JSON at line {line}, column {column}: {message}", prefix(path.as_deref()))]
    Json {
        /// The file; `None` if the text came from memory.
        path: Option<PathBuf>,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// The parser's message.
        message: String,
    },
    /// A field of a configuration has a value that the model cannot have.
    #[error("{}`{field}` {message}", prefix(path.as_deref()))]
    Config {
        /// The file; `None` if the configuration came from memory.
        path: Option<PathBuf>,
        /// The field's name in config.json.
        field: String,
        /// Its value and what was expected.
        message: String,
    },
    /// A folder has no checkpoint file.
    #[error("{}: no checkpoint in this folder, expected one of {}{}", path.display(), expected.join(", "), suffix(hint.as_deref()))]
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
        /// The expected file names, in order of preference.
        expected: &'static [&'static str],
        /// The kind of folder that was found, if its files show it, and the remedy.
        hint: Option<String>,
    },
    /// A checkpoint file or index is damaged or has content that cannot be read.
    #[error("{}: {message}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The tensor or the place, and what was expected.
        message: String,
    },
    /// The tensors of a checkpoint are not those that the model needs.
    #[error("{}: {}", path.display(), mismatch(missing, unused, wrong, hint.as_deref()))]
    Mismatch {
        /// The checkpoint.
        path: PathBuf,
        /// Keys that the model needs and the checkpoint lacks.
        missing: Vec<String>,
        /// Keys of the checkpoint that the model does not have.
        unused: Vec<String>,
        /// Keys whose shape or type differs, each with what was found and what was expected.
        wrong: Vec<String>,
        /// The likely cause, if the differences show it.
        hint: Option<String>,
    },
    /// A model's outputs are NaN or infinite.
    #[error("{}: the model's outputs are not finite: {}", path.display(), not_finite(tensor.as_deref()))]
    NotFinite {
        /// The checkpoint.
        path: PathBuf,
        /// Its first tensor with NaN or infinite values; `None` if all its weights are finite.
        tensor: Option<String>,
    },
    /// The model cannot take a tensor from outside.
    #[error("`{tensor}` {message}")]
    Input {
        /// The tensor's name.
        tensor: String,
        /// The problem, and the expectation.
        message: String,
    },
    /// A source is neither a folder nor a model in the hub or its cache.
    #[error("{id}: {message}")]
    Hub {
        /// The path or hub id.
        id: String,
        /// The attempts, how they failed, and the remedy.
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

    /// Names the file in an error about its contents.
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

fn not_finite(tensor: Option<&str>) -> String {
    match tensor {
        Some(tensor) => format!("its tensor {} has NaN or infinite values", shortened(tensor)),
        None => {
            "its weights are finite, but too large, or the input has NaN or infinite values".into()
        }
    }
}

/// Longest name from a file that one message shows, in characters.
const LONGEST: usize = 100;

/// A name from a file, shortened if it is very long.
pub(crate) fn shortened(name: &str) -> Cow<'_, str> {
    match name.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &name[..end]).into(),
        None => name.into(),
    }
}

fn suffix(hint: Option<&str>) -> String {
    hint.map_or_else(String::new, |hint| format!("; it {hint}"))
}

/// Keys that one message names; it only counts the rest.
const LISTED: usize = 10;

fn mismatch(missing: &[String], unused: &[String], wrong: &[String], hint: Option<&str>) -> String {
    let mut message = String::from("the checkpoint is not this model's");
    for (what, keys) in [("wrong", wrong), ("missing", missing), ("unused", unused)] {
        if keys.is_empty() {
            continue;
        }
        let listed =
            keys.iter().take(LISTED).map(|key| shortened(key)).collect::<Vec<_>>().join(", ");
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
