//! The kinds of output that names stand for.

use std::path::{Path, is_separator};

use crate::error::{Error, Result};
use crate::folder_files::FileKind;

/// The format of a written video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VideoFormat {
    /// A folder of PNG files, `000001.png` and so on, with their sound in `sound.wav`.
    Folder,
    /// An animated GIF with 256 colours per frame and no sound.
    Gif,
    /// An animated WebP without sound, written by the `ffmpeg` program.
    WebP,
    /// H.264 with AAC sound, for any player, written by the `ffmpeg` program. Odd sides are padded
    /// by one black line.
    Mp4,
}

impl VideoFormat {
    /// The format for a path's extension. Names without one, with one that no kind of file is known
    /// by, as in `run.v2`, or with a slash at their end are folders.
    ///
    /// # Errors
    /// [`Error::Video`] if the extension is that of another kind of file.
    pub fn of(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if names_folder(path) {
            return Ok(Self::Folder);
        }
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("gif") => Ok(Self::Gif),
            Some("webp") => Ok(Self::WebP),
            Some("mp4") => Ok(Self::Mp4),
            ending => {
                let ending = ending.unwrap_or_default();
                let reason = format!(
                    "unknown ending .{ending}, expected .mp4, .webp, .gif or a folder's name"
                );
                Err(Error::video(path, "write", reason))
            }
        }
    }

    /// Returns true if [`VideoWriter::finish`](super::VideoWriter::finish) accepts sound for this format.
    #[must_use]
    pub fn holds_sound(self) -> bool {
        matches!(self, Self::Folder | Self::Mp4)
    }
}

/// Extensions of files that people may expect from a program of pictures, videos, sounds and tensors,
/// besides those of files that folders hold.
const OTHER_ENDINGS: [&str; 31] = [
    "7z",
    "aac",
    "avif",
    "csv",
    "flac",
    "flo",
    "gz",
    "heic",
    "htm",
    "html",
    "json",
    "jsonl",
    "m4a",
    "md",
    "mp3",
    "ndjson",
    "npy",
    "npz",
    "ogg",
    "opus",
    "pdf",
    "pfm",
    "pickle",
    "pt",
    "pth",
    "safetensors",
    "svg",
    "tar",
    "tsv",
    "wav",
    "zip",
];

/// Returns true if an output of this name is a folder: it exists as one, ends with a slash, or has no
/// extension that a kind of file is known by.
#[must_use]
pub fn names_folder(path: &Path) -> bool {
    let ends_with_slash = path.as_os_str().to_string_lossy().ends_with(is_separator);
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let kinds = [FileKind::Image, FileKind::Text, FileKind::Video].map(FileKind::endings);
    let is_file = ending.is_some_and(|ending| {
        let mut known = kinds.into_iter().flatten().chain(&OTHER_ENDINGS);
        known.any(|known| *known == ending)
    });
    ends_with_slash || !is_file || path.is_dir()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_the_kind_that_people_mean() {
        for folder in ["res", "res.v2", "res.v2/", "clip.gif/", "run.2026-11-30", "a.b/c", ".gif"] {
            assert_eq!(VideoFormat::of(folder).unwrap(), VideoFormat::Folder, "{folder}");
        }
        assert_eq!(VideoFormat::of("res.v2/clip.GIF").unwrap(), VideoFormat::Gif);
        assert_eq!(VideoFormat::of("clip.mp4").unwrap(), VideoFormat::Mp4);
        for file in [
            "clip.avi",
            "clip.png",
            "res.v2/clip.mkv",
            "a.ts",
            "a.jif",
            "a.TEXT",
            "a.tsv",
            "a.ndjson",
            "a.wav",
        ] {
            assert!(VideoFormat::of(file).is_err(), "{file}");
        }
        let existing = tempfile::Builder::new().suffix(".mp4").tempdir().unwrap();
        assert_eq!(VideoFormat::of(existing.path()).unwrap(), VideoFormat::Folder);
    }
}
