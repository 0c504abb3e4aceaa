#![doc = include_str!("../README.md")]

mod attend;
mod autoencode;
mod best_texts;
mod classify;
mod clips;
mod error;
mod features;
mod fill_mask;
mod input;
mod latent_rows;
mod long_texts;
mod masked_text;
mod model_files;
mod optical_flow;
mod prefetch;
mod preparation;
mod progress;
mod session;
mod squared_error;
mod text;

pub use attend::{Attend, AttendLayer, AttendTiles, Attention, AttentionMap, Character, Places};
pub use autoencode::{Autoencode, Reconstruction};
pub use classify::{Classification, Classifications, Classify, ScoreKind, ScoredLabel};
pub use clips::{VideoClip, VideoClips};
pub use error::{Error, Result};
pub use features::{FeatureArrays, Features, Pooling};
pub use fill_mask::{Candidate, FillMask, FilledText, MaskedSpan};
pub use input::Input;
pub use long_texts::LongTexts;
pub use optical_flow::{Interpolation, OpticalFlow, follow_point, hidden_pixels};
pub use progress::Progress;
pub use session::Timings;
pub use squared_error::SquaredError;

// The types of public signatures, and the functions that read files for them.
pub use image::RgbImage;
pub use ndarray::{Array2, Array3};
pub use perceiver_data::flow::{Colours, Palette};
pub use perceiver_data::{
    Error as DataError, Sound, VideoFrames, decode_image, read_frames, read_image, read_sound,
    read_video_sound,
};
pub use perceiver_models::{Error as ModelError, Head};
