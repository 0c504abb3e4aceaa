use image::RgbImage;
use ndarray::{Array2, Array3};

/// Two frames and where every pixel of the first goes, to learn from or to compare with.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowPair {
    /// The frame whose pixels move.
    pub first: RgbImage,
    /// The next frame, of the same size.
    pub second: RgbImage,
    /// `[height, width, 2]` in pixels, to the right first; zero where nothing is known.
    pub flow: Array3<f32>,
    /// `[height, width]`: which pixels count.
    pub valid: Array2<bool>,
}
