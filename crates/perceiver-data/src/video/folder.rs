//! Folders of images as videos.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::folder_files::{FileKind, FolderFiles};

/// Name of the sound file in a folder of frames.
pub(super) const SOUND: &str = "sound.wav";

/// The images of a folder, ordered by the numbers in their names; files without an image extension
/// are skipped.
///
/// # Errors
/// Returns an error if the folder cannot be read or holds no images.
pub fn frame_files(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>> {
    list_frames(folder.as_ref()).map(|found| found.files)
}

/// The images of a folder, ordered as frames, and the other files except the sound.
///
/// # Errors
/// As [`frame_files`].
pub fn list_frames(folder: impl AsRef<Path>) -> Result<FolderFiles> {
    let folder = folder.as_ref();
    let mut found = FolderFiles::list(folder, FileKind::Image)?;
    if found.files.is_empty() {
        let endings = FileKind::Image.endings().join(", .");
        let reason = format!("it holds no images, expected files named .{endings}");
        return Err(Error::video(folder, "read", reason));
    }
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    found.files.sort_by(|one, other| {
        let (one, other) = (name(one), name(other));
        by_numbers(&one, &other).then_with(|| one.cmp(&other))
    });
    found.passed_over.retain(|path| name(path) != SOUND);
    Ok(found)
}

/// Compares names, with runs of digits compared as numbers of any length.
fn by_numbers(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        let ((text, rest), (other_text, other_rest)) = (split_run(one), split_run(other));
        let are_numbers = [text, other_text].map(|text| text.starts_with(is_digit));
        let order = if are_numbers == [true, true] {
            let [number, other] = [text, other_text].map(|text| text.trim_start_matches('0'));
            number.len().cmp(&other.len()).then_with(|| number.cmp(other))
        } else {
            text.cmp(other_text)
        };
        if order.is_ne() || (text.is_empty() && other_text.is_empty()) {
            return order;
        }
        (one, other) = (rest, other_rest);
    }
}

/// The digits that a name starts with, or the text before its first digit, and the rest.
fn split_run(name: &str) -> (&str, &str) {
    let starts_with_digit = name.starts_with(is_digit);
    let end = name.find(|character| is_digit(character) != starts_with_digit);
    name.split_at(end.unwrap_or(name.len()))
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::fs;

    use super::frame_files;

    #[test]
    fn numbers_are_in_order_whatever_their_length() {
        let folder = tempfile::tempdir().unwrap();
        let sorted = ["a1b10.png", "a2b9.JPG", "a2b10.png", "a010.png", "a10.png", "b.png"];
        let huge = "c99999999999999999999999999999.png";
        for name in sorted.iter().chain([&huge, &"notes.txt", &"._a1b10.png"]) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("a3.png")).unwrap();
        let found = frame_files(folder.path()).unwrap();
        let found: Vec<_> =
            found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(found, [&sorted[..], &[huge]].concat());
    }

    #[test]
    fn a_folder_without_images_says_what_was_expected() {
        let folder = tempfile::tempdir().unwrap();
        let message = frame_files(folder.path()).unwrap_err().to_string();
        assert!(message.contains("expected files named .png, .jpg"), "{message}");
    }
}
