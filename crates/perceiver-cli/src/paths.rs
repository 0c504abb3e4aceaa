//! The files that paths on the command line stand for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use perceiver_data::{FileKind, passed_over_note};

use crate::output::Output;
use crate::pattern::{is_pattern, matching_files};

/// The paths, with patterns replaced by the files that they match.
pub(crate) fn expand_patterns(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut expanded = Vec::new();
    for path in paths {
        if path.exists() || !is_pattern(path) {
            expanded.push(path.clone());
            continue;
        }
        let found = matching_files(path)?;
        if found.is_empty() {
            bail!("{}: matches no file", path.display());
        }
        expanded.extend(found);
    }
    Ok(expanded)
}

/// The files of a kind that a file, a folder or a pattern stands for. Folders are searched
/// recursively, without hidden files and without following links to folders; a note says what was
/// passed over.
pub(crate) fn files(path: &Path, kind: FileKind, output: Output) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        // Reading a file may fail later, when its turn comes.
        return expand_patterns(&[path.to_path_buf()]);
    }
    let (mut found, mut passed_over) = (Vec::new(), Vec::new());
    walk(path, kind, &mut found, &mut passed_over)?;
    if found.is_empty() {
        let noun = if kind == FileKind::Text { "texts" } else { "photos" };
        let endings = kind.endings().join(", *.");
        bail!("{}: holds no {noun}, expected files *.{endings}", path.display());
    }
    if let Some(note) = passed_over_note(path, kind, &passed_over) {
        output.note(&note);
    }
    Ok(found)
}

fn walk(
    folder: &Path,
    kind: FileKind,
    found: &mut Vec<PathBuf>,
    passed_over: &mut Vec<PathBuf>,
) -> Result<()> {
    let cannot_read = || format!("{}: cannot read", folder.display());
    let entries = fs::read_dir(folder).with_context(cannot_read)?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().with_context(cannot_read)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type().with_context(cannot_read)?.is_dir() {
            walk(&path, kind, found, passed_over)?;
        } else if path.is_file() && kind.fits(&path) {
            found.push(path);
        } else if path.is_file() {
            passed_over.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn expanded(folder: &Path, argument: &str, kind: FileKind) -> Result<Vec<String>> {
        let found = files(&folder.join(argument), kind, Output { json: false, quiet: true })?;
        let names = found
            .iter()
            .map(|path| path.strip_prefix(folder).unwrap().to_string_lossy().replace('\\', "/"));
        Ok(names.collect())
    }

    #[test]
    fn folders_and_patterns_stand_for_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir_all(folder.join("trip/day")).unwrap();
        fs::create_dir_all(folder.join(".cache")).unwrap();
        fs::create_dir_all(folder.join("empty")).unwrap();
        for name in [
            "b.png",
            "a.JPG",
            "notes.txt",
            ".c.png",
            "trip/d.gif",
            "trip/day/[e].tif",
            ".cache/f.png",
        ] {
            fs::write(folder.join(name), "").unwrap();
        }
        let photos = |argument| expanded(folder, argument, FileKind::Image);
        let all = ["a.JPG", "b.png", "trip/d.gif", "trip/day/[e].tif"];
        assert_eq!(photos("").unwrap(), all);
        assert_eq!(expanded(folder, "", FileKind::Text).unwrap(), ["notes.txt"]);
        assert_eq!(photos("*.png").unwrap(), ["b.png"]);
        assert_eq!(photos("**/*.??f").unwrap(), ["trip/d.gif", "trip/day/[e].tif"]);
        // A file that exists is never read as a pattern.
        assert_eq!(photos("trip/day/[e].tif").unwrap(), ["trip/day/[e].tif"]);
        assert_eq!(photos("nowhere.png").unwrap(), ["nowhere.png"]);
        for (argument, words) in
            [("empty", "holds no photos"), ("*.bmp", "matches no file"), ("***", "not a pattern")]
        {
            let error = format!("{:#}", photos(argument).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_to_folders_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::write(folder.join("a.png"), "").unwrap();
        std::os::unix::fs::symlink(folder, folder.join("circle")).unwrap();
        std::os::unix::fs::symlink(folder.join("a.png"), folder.join("b.png")).unwrap();
        assert_eq!(expanded(folder, "", FileKind::Image).unwrap(), ["a.png", "b.png"]);
    }
}
