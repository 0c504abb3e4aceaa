//! Optical flow outside the model: training pairs, tiles of large frames, pictures, files and
//! errors.
//!
//! Flow is an array `[height, width, 2]`: how far each pixel moves from one frame to the next, in
//! pixels, first to the right and then down. Non-finite numbers mean that the motion is unknown.
//!
//! ```
//! use image::Rgb;
//! use ndarray::Array3;
//! use perceiver_data::flow::{Colours, Palette, encode_flo};
//!
//! let flow = Array3::from_elem((48, 64, 2), 3.0);
//! let picture = Colours::new(Palette::Hsv, 24.0).picture(flow.view());
//! assert_eq!(picture.get_pixel(0, 0), &Rgb([255, 243, 210]));
//! assert_eq!(encode_flo(flow.view()).len(), 12 + 48 * 64 * 2 * 4);
//! ```

mod arrows;
mod colours;
mod errors;
mod file;
mod flo;
mod generator;
mod global_shift;
mod kitti;
mod pair;
mod pairs;
mod patches;
mod tiles;

pub use self::arrows::{arrows, draw_trail};
pub use self::colours::{Colours, Palette, largest_motion};
pub use self::errors::{FlowErrors, flow_errors};
pub use self::file::{FlowFile, read_flow};
pub use self::flo::encode_flo;
pub use self::generator::{FlowGenerator, FlowGeneratorOptions};
pub use self::global_shift::global_shift;
pub use self::kitti::encode_kitti;
pub use self::pair::FlowPair;
pub use self::pairs::FlowPairs;
pub use self::patches::patches;
pub use self::tiles::Tiles;

use ndarray::ArrayView3;

/// Height and width of flow.
///
/// # Panics
/// If the last axis is not the two directions.
fn sides(flow: &ArrayView3<'_, f32>) -> [usize; 2] {
    let (height, width, directions) = flow.dim();
    assert_eq!(directions, 2, "flow is [height, width, 2], not {:?}", flow.dim());
    [height, width]
}
