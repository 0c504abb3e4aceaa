use std::path::{Path, PathBuf};

use perceiver_models::Head;

/// What can be wrong with a pipeline's model or with what it is given.
///
/// Every message is one line that names the file or the thing and what was expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model's configuration or checkpoint.
    #[error(transparent)]
    Model(#[from] perceiver_models::Error),
    /// The text, the image, or the settings of their processing.
    #[error(transparent)]
    Data(#[from] perceiver_data::Error),
    /// An image file that could be read but not brought to the model's input.
    #[error("{}: {source}", path.display())]
    ImageFile {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<Self>,
    },
    /// A folder holds a model that does another job.
    #[error("{}: holds a {head}, expected {expected}", path.display())]
    WrongHead {
        /// The folder.
        path: PathBuf,
        /// What it holds.
        head: Head,
        /// Which heads do the job.
        expected: &'static str,
    },
    /// A model that takes text was given an image, or the other way round.
    #[error("{head} takes {expected}, not {given}")]
    WrongInput {
        /// The model.
        head: Head,
        /// What it takes: `a text` or `an image`.
        expected: &'static str,
        /// What it was given.
        given: &'static str,
    },
    /// A head, latent or query that the model does not have.
    #[error("there is no {what} {index}, expected 0 to {}", count.saturating_sub(1))]
    OutOfRange {
        /// What was asked for.
        what: &'static str,
        /// Which one.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A text without a character.
    #[error("the text is empty, expected at least one character")]
    EmptyText,
    /// A text without anything to fill in.
    #[error("the text has no {mask}, expected one for every byte to fill in")]
    NoMask {
        /// How the masking token is written.
        mask: String,
    },
    /// A text has more tokens than the model has positions.
    #[error("the text has {length} tokens, expected at most the model's {limit}")]
    TextTooLong {
        /// Tokens of the text, special ones included.
        length: usize,
        /// Positions of the model.
        limit: usize,
    },
    /// A text is beyond what is worked on.
    #[error("the text has {bytes} bytes, expected at most {limit}")]
    TextTooLarge {
        /// Bytes of the text, masked ones included.
        bytes: usize,
        /// The most that are read.
        limit: usize,
    },
    /// Masks side by side, or a word to put in their place, leave no position for anything else.
    #[error("{bytes} bytes are to be filled in together, expected at most the model's {limit}")]
    SpanTooLong {
        /// Bytes that are masked.
        bytes: usize,
        /// Positions of the model, without those of the tokens around a text.
        limit: usize,
    },
    /// A word to choose from has no letters.
    #[error("an empty word is to be filled in, expected at least one character")]
    EmptyWord,
    /// The tokenizer and the model do not belong together.
    #[error(
        "the tokenizer gives token id {id}, expected ids below the model's `vocab_size` {vocabulary}"
    )]
    OutsideVocabulary {
        /// The identifier.
        id: u32,
        /// Ids the model knows.
        vocabulary: usize,
    },
    /// Two frames that belong together differ in size.
    #[error(
        "the frames are {}x{} and {}x{} pixels, expected one size",
        first.0, first.1, second.0, second.1
    )]
    FrameSizes {
        /// Width and height of the first.
        first: (u32, u32),
        /// Width and height of the second.
        second: (u32, u32),
    },
    /// Frames have fewer pixels than the model takes, and were not to be padded.
    #[error(
        "the frames are {width}x{height} pixels, expected at least \
         {minimum_width}x{minimum_height}"
    )]
    FrameTooSmall {
        /// Width of the frames in pixels.
        width: u32,
        /// Their height.
        height: u32,
        /// The model's width: config.json's `train_size[1]`.
        minimum_width: usize,
        /// The model's height: config.json's `train_size[0]`.
        minimum_height: usize,
    },
    /// The image processor and the model do not belong together.
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
        /// Its width.
        columns: usize,
    },
    /// A clip has no frame, or more than the model reads at once.
    #[error("the clip has {frames} frames, expected 1 to the model's {limit}")]
    ClipLength {
        /// Frames of the clip.
        frames: usize,
        /// Frames the model reads.
        limit: usize,
    },
    /// A model decodes videos of another shape than it reads.
    #[error(
        "the model's `output_shape` ends in {found:?}, expected the {expected:?} of `num_frames` \
         and of four times `image_size`"
    )]
    ClipShape {
        /// Frames, height and width that are decoded.
        found: Vec<usize>,
        /// Frames, height and width that are read.
        expected: [usize; 3],
    },
    /// A model's clips are larger than any honest one's.
    #[error("the model's clips have {size} {of}, expected at most {limit}")]
    ClipTooLarge {
        /// How many there are.
        size: usize,
        /// Of what: `pixels` or `samples`.
        of: &'static str,
        /// The most that is decoded.
        limit: usize,
    },
    /// A clip's sound cannot be cut into the model's patches.
    #[error(
        "the model's `samples_per_patch` is {patch}, expected a divisor of the {samples} samples of a clip"
    )]
    ClipSamples {
        /// Samples of a clip.
        samples: usize,
        /// Samples of a patch.
        patch: usize,
    },
}

impl Error {
    /// The same about an image file, which this error does not name.
    pub(crate) fn in_image(self, path: &Path) -> Self {
        Self::ImageFile { path: path.to_path_buf(), source: Box::new(self) }
    }
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
