use std::path::{Path, PathBuf};

use image::RgbImage;

/// An input of a pipeline that reads texts or images.
///
/// A `&str` or `String` is a text, a `Path` or `PathBuf` an image file.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Input {
    /// A text.
    Text(String),
    /// An upright RGB image.
    Image(RgbImage),
    /// An image file, read by [`read_image`](perceiver_data::read_image).
    ImageFile(PathBuf),
}

impl From<&str> for Input {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Input {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<RgbImage> for Input {
    fn from(image: RgbImage) -> Self {
        Self::Image(image)
    }
}

impl From<&Path> for Input {
    fn from(path: &Path) -> Self {
        Self::ImageFile(path.to_path_buf())
    }
}

impl From<PathBuf> for Input {
    fn from(path: PathBuf) -> Self {
        Self::ImageFile(path)
    }
}
