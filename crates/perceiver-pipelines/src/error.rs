use std::path::{Path, PathBuf};

use perceiver_models::Head;

/// An error in a pipeline's model or input.
///
/// Every message is one line that names the file or the value and the expectation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model's configuration or checkpoint is invalid.
    #[error(transparent)]
    Model(#[from] perceiver_models::Error),
    /// A text, an image, or the settings of their processing are invalid.
    #[error(transparent)]
    Data(#[from] perceiver_data::Error),
    /// An image file was read but does not fit the model.
    #[error("{}: {source}", path.display())]
    ImageFile {
        /// The image.
        path: PathBuf,
        /// The problem.
        source: Box<Self>,
    },
    /// A configuration does not fit the pipeline.
    #[error("{}: {source}", path.display())]
    Config {
        /// The configuration's file.
        path: PathBuf,
        /// The problem.
        source: Box<Self>,
    },
    /// The files hold a model for another task.
    #[error("{}: holds a {head}, expected {expected}", path.display())]
    WrongHead {
        /// The folder, or `config.json` for files in memory.
        path: PathBuf,
        /// The model's head.
        head: Head,
        /// The heads that the pipeline accepts.
        expected: &'static str,
    },
    /// A model of texts was given an image, or the reverse.
    #[error("{head} takes {expected}, not {given}")]
    WrongInput {
        /// The model's head.
        head: Head,
        /// The kind of input that it reads: `a text` or `an image`.
        expected: &'static str,
        /// The kind of input that it was given.
        given: &'static str,
    },
    /// The model does not have this attention head, latent or query.
    #[error("there is no {what} {index}, expected 0 to {}", count.saturating_sub(1))]
    OutOfRange {
        /// `head`, `latent` or `query`.
        what: &'static str,
        /// Its index.
        index: usize,
        /// The number of them.
        count: usize,
    },
    /// A text is empty.
    #[error("the text is empty, expected at least one character")]
    EmptyText,
    /// A text has no masks.
    #[error("the text has no {mask}, expected one per byte to fill in")]
    NoMask {
        /// The mask token as written in a text.
        mask: String,
    },
    /// A text has more tokens than the model has positions.
    #[error("the text has {length} tokens, expected at most the model's {limit}")]
    TextTooLong {
        /// Number of tokens, including special ones.
        length: usize,
        /// Number of positions of the model.
        limit: usize,
    },
    /// A text is too large.
    #[error("the text has {bytes} bytes, expected at most {limit}")]
    TextTooLarge {
        /// Number of bytes, including masked ones.
        bytes: usize,
        /// Largest number of bytes.
        limit: usize,
    },
    /// Adjacent masks, or a word in their place, are too long for the model.
    #[error("{bytes} bytes to fill in together, expected at most the model's {limit}")]
    SpanTooLong {
        /// Number of masked bytes.
        bytes: usize,
        /// Number of positions of the model, without those of the tokens around a text.
        limit: usize,
    },
    /// A word to choose from is empty.
    #[error("a word to choose from is empty, expected at least one character")]
    EmptyWord,
    /// The tokenizer does not fit the model.
    #[error(
        "the tokenizer gives token id {id}, expected ids below the model's `vocab_size` {vocabulary}"
    )]
    OutsideVocabulary {
        /// The identifier.
        id: u32,
        /// Size of the model's vocabulary.
        vocabulary: usize,
    },
    /// Two frames of a pair differ in size.
    #[error(
        "the frames are {}x{} and {}x{} pixels, expected one size",
        first.0, first.1, second.0, second.1
    )]
    FrameSizes {
        /// Width and height of the first frame.
        first: (u32, u32),
        /// Width and height of the second frame.
        second: (u32, u32),
    },
    /// Frames are smaller than the model's, and padding is off.
    #[error(
        "the frames are {width}x{height} pixels, expected at least \
         {minimum_width}x{minimum_height}"
    )]
    FrameTooSmall {
        /// Width of the frames, in pixels.
        width: u32,
        /// Height of the frames, in pixels.
        height: u32,
        /// The model's width: config.json's `train_size[1]`.
        minimum_width: usize,
        /// The model's height: config.json's `train_size[0]`.
        minimum_height: usize,
    },
    /// The image processor does not fit the model.
    #[error(
        "the image processor gives {height}x{width} pixels, expected the {rows}x{columns} of the \
         model's `image_size`"
    )]
    ImageSize {
        /// Height after processing.
        height: usize,
        /// Width after processing.
        width: usize,
        /// Height of the model's grid of positions.
        rows: usize,
        /// Width of the model's grid of positions.
        columns: usize,
    },
    /// An image is too small for the model's convolution.
    #[error(
        "the image processor gives {height}x{width} pixels, expected at least 5x5 for the \
         convolution"
    )]
    ImageTooSmall {
        /// Height after processing.
        height: usize,
        /// Width after processing.
        width: usize,
    },
    /// A clip has no frames, or more than the model reads at once.
    #[error("the clip has {frames} frames, expected 1 to the model's {limit}")]
    ClipLength {
        /// Number of frames of the clip.
        frames: usize,
        /// Number of frames that the model reads.
        limit: usize,
    },
    /// The model does not decode videos of the shape that it reads.
    #[error(
        "the model's `output_shape` ends in {found:?}, expected the {expected:?} of `num_frames` \
         and of four times `image_size`"
    )]
    ClipShape {
        /// Frames, height and width of the output.
        found: Vec<usize>,
        /// Frames, height and width of the input.
        expected: [usize; 3],
    },
    /// The model's clips are larger than any real model's.
    #[error("the model's clips have {size} {unit}, expected at most {limit}")]
    ClipTooLarge {
        /// Number of pixels or samples.
        size: usize,
        /// `pixels` or `samples`.
        unit: &'static str,
        /// Largest number.
        limit: usize,
    },
    /// A clip's sound does not divide into the model's patches.
    #[error(
        "the model's `samples_per_patch` is {patch}, expected a divisor of the {samples} samples of a clip"
    )]
    ClipSamples {
        /// Samples per clip.
        samples: usize,
        /// Samples per patch.
        patch: usize,
    },
}

impl Error {
    /// Adds the configuration's path, which this error does not name.
    pub(crate) fn in_config(self, path: &Path) -> Self {
        Self::Config { path: path.to_path_buf(), source: Box::new(self) }
    }

    /// Adds the image file's path, which this error does not name.
    pub(crate) fn in_image(self, path: &Path) -> Self {
        Self::ImageFile { path: path.to_path_buf(), source: Box::new(self) }
    }
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
