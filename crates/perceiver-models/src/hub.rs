//! Finds models by folder or hub id.

#[cfg(feature = "hub")]
mod download;
mod options;

use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, files};

pub use options::HubOptions;

/// Longest file that names a commit, in bytes.
const MAX_REFERENCE: u64 = 1 << 10;

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
    let Some(cache) = &options.cache else {
        return Err(failed(
            "is not a folder, and there is no place for a cache: the user has no home folder; \
             HF_HOME or HF_HUB_CACHE names one"
                .into(),
        ));
    };
    let repository = repository(id_or_path, cache);
    let commit = commit(&repository, &options.revision)?;
    let tried = match download(id_or_path, cache, options) {
        Ok(folder) => return Ok(folder),
        Err(tried) => tried,
    };
    let folder = repository.join("snapshots").join(commit);
    folder.is_dir().then_some(folder).ok_or_else(|| {
        failed(format!(
            "is not a folder, has no snapshot of revision {} in the cache {}, and {tried}; download \
             the model elsewhere and pass its folder",
            options.revision,
            cache.display()
        ))
    })
}

/// Downloads the model, or says why that failed or was not tried.
fn download(id: &str, cache: &Path, options: &HubOptions) -> Result<PathBuf, String> {
    if options.offline {
        return Err("the hub was not asked because offline mode is on".into());
    }
    #[cfg(feature = "hub")]
    return download::snapshot(id, cache, options, download::PATIENCE);
    #[cfg(not(feature = "hub"))]
    return Err(format!(
        "this build cannot ask the hub for {id} or write into {}",
        cache.display()
    ));
}

/// The commit that a revision names in the cache, or the revision itself.
fn commit(repository: &Path, revision: &str) -> Result<String, Error> {
    let reference = repository.join("refs").join(revision);
    let text = match files::read_folder_text(&reference, MAX_REFERENCE) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Ok(revision.to_owned());
        }
        text => text?,
    };
    let commit = text.trim();
    // Anything else could lead out of the cache.
    if commit.is_empty() || !commit.chars().all(|c| c.is_ascii_alphanumeric()) {
        let message = "does not hold the name of a commit; remove it to ask the hub again";
        return Err(Error::checkpoint(&reference, message));
    }
    Ok(commit.to_owned())
}

/// The folder of a hub model in the cache.
fn repository(id: &str, cache: &Path) -> PathBuf {
    cache.join(format!("models--{}", id.replace('/', "--")))
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
    use std::fs;

    use super::*;

    fn offline(cache: &Path) -> HubOptions {
        HubOptions {
            revision: "main".into(),
            offline: true,
            cache: Some(cache.to_path_buf()),
            endpoint: "http://127.0.0.1:9".into(),
            token: Some("secret".into()),
        }
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
    fn a_reference_that_could_lead_out_of_the_cache_is_refused() {
        let cache = tempfile::tempdir().unwrap();
        let references = cache.path().join("models--a--b/refs");
        fs::create_dir_all(&references).unwrap();
        let path = references.join("main");
        for text in ["../../..", "/etc", "", ".", "a/b", "a\0b"] {
            fs::write(&path, text).unwrap();
            let message = resolve("a/b", &offline(cache.path())).unwrap_err().to_string();
            let start = format!("{}: does not hold the name of a commit", path.display());
            assert!(message.starts_with(&start), "{text:?}: {message}");
        }
        fs::write(&path, "a".repeat(2000)).unwrap();
        let message = resolve("a/b", &offline(cache.path())).unwrap_err().to_string();
        assert!(message.contains("is longer than 1024 bytes"), "{message}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let message = resolve("a/b", &offline(cache.path())).unwrap_err().to_string();
        assert!(message.ends_with("not a regular file"), "{message}");
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
    fn without_a_place_for_the_cache_nothing_is_searched() {
        let options = HubOptions { cache: None, ..offline(Path::new("")) };
        let message = resolve("deepmind/none", &options).unwrap_err().to_string();
        assert!(message.contains("no home folder; HF_HOME or HF_HUB_CACHE names one"), "{message}");
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
