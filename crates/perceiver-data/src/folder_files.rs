//! The files that a folder holds.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Kinds of files that folders hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// Images that [`read_image`](crate::read_image) reads.
    Image,
    /// Texts.
    Text,
    /// Videos and animations.
    Video,
}

/// The files of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderFiles {
    /// Files of the wanted kind, by name.
    pub files: Vec<PathBuf>,
    /// Files of other kinds and subfolders, by name.
    pub passed_over: Vec<PathBuf>,
}

impl FileKind {
    /// Endings of files of this kind, in lower case and without a dot.
    #[must_use]
    pub const fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Image => &[
                "png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp", "gif", "apng", "jpe", "jif",
                "jfif", "mpo", "dib",
            ],
            Self::Text => &["txt", "text"],
            Self::Video => &[
                "mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "wmv", "flv", "ogv",
                "3gp", "ts", "gif", "webp", "apng",
            ],
        }
    }

    /// Returns true if a file's name ends as those of this kind, in lower or upper case. Texts may
    /// also end in `.gz`.
    #[must_use]
    pub fn fits(self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let packed = if self == Self::Text { name.strip_suffix(".gz") } else { None };
        let ending = packed.unwrap_or(&name).rsplit_once('.').map(|(_, ending)| ending);
        ending.is_some_and(|ending| self.endings().contains(&ending))
    }

    /// The error about a folder without such files.
    pub(crate) fn none_in(self, folder: &Path) -> Error {
        let endings = self.endings().join(", .");
        let noun = match self {
            Self::Image => "images",
            Self::Text => "texts",
            Self::Video => "frames and no videos",
        };
        Error::data(folder, format!("it holds no {noun}, expected files named .{endings}"))
    }
}

impl FolderFiles {
    /// Lists the files of a folder, without searching its subfolders. Hidden ones are left out.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read.
    pub fn list(folder: impl AsRef<Path>, kind: FileKind) -> Result<Self> {
        let folder = folder.as_ref();
        let paths = fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut paths: Vec<PathBuf> = paths.map_err(Error::io(folder, "read"))?;
        paths.sort();
        // Some systems keep a second, hidden file with the same ending beside each file.
        paths.retain(|path| !is_hidden(path) && path.exists());
        let is_wanted = |path: &PathBuf| path.is_file() && kind.fits(path);
        let (files, passed_over) = paths.into_iter().partition(is_wanted);
        Ok(Self { files, passed_over })
    }
}

/// A line about what a folder holds besides files of a kind, if there is anything.
#[must_use]
pub fn passed_over_note(folder: &Path, kind: FileKind, paths: &[PathBuf]) -> Option<String> {
    let reason = match kind {
        FileKind::Image => "without the ending of an image",
        FileKind::Text => "without the ending of a text",
        FileKind::Video => "without the ending of a video",
    };
    note(folder, reason, paths)
}

/// A line about paths inside a folder that were passed over for a reason, if there are any.
pub(crate) fn note(folder: &Path, reason: &str, paths: &[PathBuf]) -> Option<String> {
    /// Number of paths that are named.
    const NAMED: usize = 3;
    if paths.is_empty() {
        return None;
    }
    let name = |path: &PathBuf| {
        let end = if path.is_dir() { "/" } else { "" };
        format!("{}{end}", path.strip_prefix(folder).unwrap_or(path).display())
    };
    let mut names = paths.iter().take(NAMED).map(name).collect::<Vec<_>>().join(", ");
    if paths.len() > NAMED {
        names.push_str(&format!(" and {} more", paths.len() - NAMED));
    }
    Some(format!("{}: passed over, {reason}: {names}", folder.display()))
}

/// The files that paths stand for: themselves, or the files of a kind in a folder. Notes say what was
/// passed over.
pub(crate) fn files_of(
    paths: &[impl AsRef<Path>],
    kind: FileKind,
    notes: &mut Vec<String>,
) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths.iter().map(AsRef::as_ref) {
        if !path.is_dir() {
            files.push(path.to_owned());
            continue;
        }
        let found = FolderFiles::list(path, kind)?;
        if found.files.is_empty() {
            return Err(kind.none_in(path));
        }
        notes.extend(passed_over_note(path, kind, &found.passed_over));
        files.extend(found.files);
    }
    Ok(files)
}

/// The videos that a path stands for: itself, if it is a file or a folder of frames, or the videos in
/// a folder without images.
///
/// # Errors
/// Returns an error if a folder cannot be read, or holds neither images nor videos.
pub fn video_files(path: impl AsRef<Path>) -> Result<FolderFiles> {
    let path = path.as_ref();
    let itself = FolderFiles { files: vec![path.to_owned()], passed_over: Vec::new() };
    if !path.is_dir() || !FolderFiles::list(path, FileKind::Image)?.files.is_empty() {
        return Ok(itself);
    }
    let found = FolderFiles::list(path, FileKind::Video)?;
    if found.files.is_empty() { Err(FileKind::Video.none_in(path)) } else { Ok(found) }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn endings_of_every_usual_kind_and_case_are_known() {
        for name in
            ["a.jfif", "a.jpe", "a.jif", "a.APNG", "a.dib", "a.MPO", "a.Tiff", "a.JPG", "a.b.png"]
        {
            assert!(FileKind::Image.fits(Path::new(name)), "{name}");
        }
        assert!(
            FileKind::Text.fits(Path::new("a.TXT.gz")) && FileKind::Text.fits(Path::new("a.txt"))
        );
        for name in ["png", "a.png.gz", "a.heic", "a", "a.png/b"] {
            assert!(!FileKind::Image.fits(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn what_a_folder_holds_besides_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        for name in ["b.PNG", "a.jfif", "c.heic", "d.txt", ".e.heic", "f.avif", "g.svg"] {
            fs::write(folder.join(name), "").unwrap();
        }
        fs::create_dir(folder.join("h.png")).unwrap();
        let found = FolderFiles::list(folder, FileKind::Image).unwrap();
        assert_eq!(
            note(folder, "as said", &found.passed_over[4..]).unwrap(),
            format!("{}: passed over, as said: h.png/", folder.display())
        );
        assert_eq!(found.files, [folder.join("a.jfif"), folder.join("b.PNG")]);
        let note = passed_over_note(folder, FileKind::Image, &found.passed_over).unwrap();
        let expected =
            "passed over, without the ending of an image: c.heic, d.txt, f.avif and 2 more";
        assert_eq!(note, format!("{}: {expected}", folder.display()));
        assert_eq!(passed_over_note(folder, FileKind::Image, &[]), None);
    }

    #[test]
    fn a_folder_is_a_video_of_its_frames_or_stands_for_its_videos() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let files = || video_files(folder).map(|found| found.files);
        let message = files().unwrap_err().to_string();
        assert!(message.contains("holds no frames and no videos, expected files named .mp4"));
        for name in ["b.mp4", "a.WEBM", "notes.txt"] {
            fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(files().unwrap(), [folder.join("a.WEBM"), folder.join("b.mp4")]);
        assert_eq!(video_files(folder).unwrap().passed_over, [folder.join("notes.txt")]);
        fs::write(folder.join("1.png"), "").unwrap();
        assert_eq!(files().unwrap(), [folder]);
        let one = folder.join("b.mp4");
        assert_eq!(video_files(&one).unwrap().files, [one]);
    }
}
