//! Finds models by folder or hub id.

#[cfg(feature = "hub")]
mod download;

use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;

/// Where and how to look for hub models.
///
/// [`Default`] follows the environment as Python's `huggingface_hub` does: `HF_HUB_CACHE`,
/// `HF_HOME` and `XDG_CACHE_HOME`; `HF_HUB_OFFLINE` and `TRANSFORMERS_OFFLINE`; `HF_ENDPOINT`;
/// `HF_TOKEN`, or the token that a login stored in `HF_HOME`.
#[derive(Clone, PartialEq, Eq)]
pub struct HubOptions {
    /// A branch, tag or commit; `main` by default.
    pub revision: String,
    /// If true, looks only in the cache.
    pub offline: bool,
    /// The cache folder, in the layout of `huggingface_hub`.
    pub cache: PathBuf,
    /// The hub's address.
    pub endpoint: String,
    /// The access token, which is never shown.
    pub token: Option<String>,
}

impl fmt::Debug for HubOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field("revision", &self.revision)
            .field("offline", &self.offline)
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .finish()
    }
}

impl Default for HubOptions {
    fn default() -> Self {
        Self::from_variables(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }
}

impl HubOptions {
    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let folder = |name| variable(name).map(PathBuf::from);
        let user_cache = folder("XDG_CACHE_HOME")
            .or_else(|| Some(folder("HOME").or_else(|| folder("USERPROFILE"))?.join(".cache")))
            .unwrap_or_else(env::temp_dir);
        let home = folder("HF_HOME").unwrap_or_else(|| user_cache.join("huggingface"));
        let switched_on = |name| {
            let value = variable(name).unwrap_or_default().to_uppercase();
            ["1", "ON", "YES", "TRUE"].contains(&value.as_str())
        };
        let token = variable("HF_TOKEN").or_else(|| fs::read_to_string(home.join("token")).ok());
        Self {
            revision: "main".into(),
            offline: switched_on("HF_HUB_OFFLINE") || switched_on("TRANSFORMERS_OFFLINE"),
            cache: folder("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub")),
            endpoint: variable("HF_ENDPOINT")
                .unwrap_or_else(|| "https://huggingface.co".into())
                .trim_end_matches('/')
                .into(),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
        }
    }
}

/// Finds the folder of a model by its path or hub id, with the default options.
///
/// # Errors
/// Those of [`resolve`].
pub fn folder(source: impl AsRef<Path>) -> Result<PathBuf, Error> {
    let source = source.as_ref();
    if source.is_dir() {
        return Ok(source.to_path_buf());
    }
    resolve(&source.to_string_lossy(), &HubOptions::default())
}

/// Finds the folder of a model: an existing folder itself, or else the cached snapshot of a hub id
/// such as `deepmind/language-perceiver`.
///
/// With the feature `hub`, and unless [`offline`](HubOptions::offline) is set, first downloads what
/// the cache lacks: config.json, the weights in the first format that exists, and the JSON files of
/// the tokenizer and image processor. If the hub cannot be reached, or without the feature, uses the
/// cached snapshot of the revision.
///
/// # Errors
/// [`Error::Hub`] saying what was tried, if there is neither a folder nor a snapshot.
pub fn resolve(id_or_path: &str, options: &HubOptions) -> Result<PathBuf, Error> {
    let path = Path::new(id_or_path);
    if path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let failed = |message: String| Error::Hub { id: id_or_path.to_owned(), message };
    if !is_id(id_or_path) {
        let what = if path.exists() { "is a file" } else { "does not exist" };
        return Err(failed(format!(
            "{what}, expected a model's folder or a hub id such as deepmind/language-perceiver"
        )));
    }
    if !is_revision(&options.revision) {
        let revision = options.revision.escape_debug();
        return Err(failed(format!("\"{revision}\" is not a branch, tag or commit")));
    }
    let tried = match download(id_or_path, options) {
        Ok(folder) => return Ok(folder),
        Err(tried) => tried,
    };
    cached(id_or_path, options).ok_or_else(|| {
        failed(format!(
            "is not a folder, has no snapshot of revision {} in the cache {}, and {tried}; download \
             the model elsewhere and pass its folder",
            options.revision,
            options.cache.display()
        ))
    })
}

/// Downloads the model, or says why that failed or was not tried.
fn download(id: &str, options: &HubOptions) -> Result<PathBuf, String> {
    if options.offline {
        return Err("the hub was not asked because offline mode is on".into());
    }
    #[cfg(feature = "hub")]
    return download::snapshot(id, options, download::PATIENCE);
    #[cfg(not(feature = "hub"))]
    return Err(format!("this build cannot ask the hub for {id}"));
}

fn cached(id: &str, options: &HubOptions) -> Option<PathBuf> {
    let repository = repository(id, options);
    let reference = repository.join("refs").join(&options.revision);
    let commit = fs::read_to_string(reference).map(|commit| commit.trim().to_owned());
    let commit = commit.unwrap_or_else(|_| options.revision.clone());
    let folder = repository.join("snapshots").join(commit);
    folder.is_dir().then_some(folder)
}

fn repository(id: &str, options: &HubOptions) -> PathBuf {
    options.cache.join(format!("models--{}", id.replace('/', "--")))
}

/// True for `name` and `owner/name` in the hub's characters.
fn is_id(id: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 96
            && part.chars().all(known)
            && !part.starts_with(['.', '-'])
    };
    let parts: Vec<_> = id.split('/').collect();
    parts.len() <= 2 && parts.into_iter().all(part) && !id.contains("..")
}

/// True if a revision is a path that stays within the cache's folder of references.
fn is_revision(revision: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || "-_./+@".contains(c);
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    revision.chars().all(known) && revision.split('/').all(part)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn offline(cache: &Path) -> HubOptions {
        HubOptions {
            revision: "main".into(),
            offline: true,
            cache: cache.to_path_buf(),
            endpoint: "http://127.0.0.1:9".into(),
            token: Some("secret".into()),
        }
    }

    #[test]
    fn the_environment_is_read_as_python_reads_it() {
        let set = |pairs: &'static [(&str, &str)]| {
            HubOptions::from_variables(move |name| {
                let pair = pairs.iter().find(|(known, _)| *known == name);
                pair.map(|(_, value)| (*value).to_owned())
            })
        };
        let default = set(&[("HOME", "/u")]);
        assert_eq!(default.cache, Path::new("/u/.cache/huggingface/hub"));
        assert_eq!(default.endpoint, "https://huggingface.co");
        assert!(!default.offline);
        assert_eq!(set(&[("XDG_CACHE_HOME", "/x")]).cache, Path::new("/x/huggingface/hub"));
        let home = [("HF_HOME", "/h")];
        assert_eq!(
            HubOptions::from_variables(|n| (n == home[0].0).then(|| "/h".into())).cache,
            Path::new("/h/hub")
        );
        let all = set(&[
            ("HF_HOME", "/h"),
            ("HF_HUB_CACHE", "/c"),
            ("HF_HUB_OFFLINE", "yes"),
            ("HF_ENDPOINT", "http://mirror/"),
            ("HF_TOKEN", " t "),
        ]);
        assert_eq!(all.cache, Path::new("/c"));
        assert_eq!(all.endpoint, "http://mirror");
        assert_eq!(all.token.as_deref(), Some("t"));
        assert!(all.offline);
        assert!(set(&[("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert!(!set(&[("HF_HUB_OFFLINE", "0")]).offline);
    }

    #[test]
    fn a_token_is_never_shown() {
        assert!(!format!("{:?}", offline(Path::new("c"))).contains("secret"));
    }

    #[test]
    fn a_folder_is_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        assert_eq!(resolve(path, &offline(Path::new("nowhere"))).unwrap(), folder.path());
    }

    #[test]
    fn a_cached_snapshot_is_found_by_branch_and_by_commit() {
        let cache = tempfile::tempdir().unwrap();
        let repository = cache.path().join("models--deepmind--language-perceiver");
        let snapshot = repository.join("snapshots/0a1b");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(repository.join("refs/pr")).unwrap();
        fs::write(repository.join("refs/main"), "0a1b").unwrap();
        fs::write(repository.join("refs/pr/1"), "0a1b\n").unwrap();
        for revision in ["main", "pr/1", "0a1b"] {
            let options = HubOptions { revision: revision.into(), ..offline(cache.path()) };
            assert_eq!(resolve("deepmind/language-perceiver", &options).unwrap(), snapshot);
        }
    }

    #[test]
    fn what_is_neither_says_what_was_tried() {
        let cache = tempfile::tempdir().unwrap();
        let message = resolve("deepmind/none", &offline(cache.path())).unwrap_err().to_string();
        for part in ["deepmind/none", "revision main", "offline", "pass its folder"] {
            assert!(message.contains(part), "{message}");
        }
        let message = resolve("a/b/c", &offline(cache.path())).unwrap_err().to_string();
        assert!(message.contains("does not exist"), "{message}");
    }

    #[test]
    fn ids_and_revisions_stay_inside_the_cache() {
        for id in ["", "..", "../x", "a/..", "/a", "a/", "a b", "-a", "a\\b", "a/b/c", "a/.b"] {
            assert!(!is_id(id), "{id:?}");
        }
        assert!(is_id("gpt2") && is_id("deepmind/vision-perceiver-conv_1.0"));
        for revision in ["", "..", "../x", "a/../b", "/a", "a//b", "a b", "a\0"] {
            assert!(!is_revision(revision), "{revision:?}");
        }
        assert!(is_revision("main") && is_revision("refs/pr/1") && is_revision("v1.0"));
    }
}
