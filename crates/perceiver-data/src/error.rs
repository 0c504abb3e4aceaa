//! The one error of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// What can be wrong with text, images or the files that describe their processing.
///
/// Every message is one line, and those about a file begin with its path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened, read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was attempted, such as `read`.
        action: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },

    /// A file is larger than any honest one of its kind.
    #[error("{}: {size} bytes, at most {limit} were expected", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The most that is read, in bytes.
        limit: u64,
    },

    /// A settings file is not JSON.
    #[error("{}: not valid JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser met, with line and column.
        source: serde_json::Error,
    },

    /// A field of a settings file has a value that makes no sense.
    #[error("{}: `{field}` is {found}, expected {expected}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field, with the path to it where it is nested.
        field: String,
        /// The value found, shortened.
        found: String,
        /// What would have been accepted.
        expected: String,
    },

    /// Text is not UTF-8.
    #[error("{}: invalid UTF-8 at byte {position}", path.display())]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// Offset in bytes of the first byte that cannot be decoded.
        position: usize,
    },

    /// A token identifier is outside the vocabulary.
    #[error("token id {id} at position {position} is not in the vocabulary of {vocabulary} ids")]
    UnknownId {
        /// The identifier.
        id: u32,
        /// Where in the list it stands.
        position: usize,
        /// Number of entries of the vocabulary.
        vocabulary: usize,
    },

    /// Padding and truncation contradict each other.
    #[error("the truncation length {length} is not a multiple of {multiple}, to which is padded")]
    LengthNotMultiple {
        /// Length to which is truncated, in tokens.
        length: usize,
        /// The multiple asked for.
        multiple: usize,
    },

    /// A length to pad to is beyond what is allocated.
    #[error("cannot pad to {length} tokens, at most {limit} are possible")]
    PaddingTooLong {
        /// The length asked for, in tokens.
        length: usize,
        /// The most that is accepted, in tokens.
        limit: usize,
    },

    /// Text has more tokens than the model has positions.
    #[error("the text has {length} tokens, the model takes at most {limit}")]
    TextTooLong {
        /// Tokens of the text, special ones included.
        length: usize,
        /// Positions of the model.
        limit: usize,
    },

    /// An image file cannot be decoded.
    #[error("{}: cannot read the image: {reason}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// Why not, on one line.
        reason: String,
    },

    /// A file that should hold optical flow does not.
    #[error("{}: {reason}", path.display())]
    Flow {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A file of examples is not what it should be, or one of its examples is not.
    #[error("{}: {reason}", path.display())]
    Data {
        /// The file, or the folder of files.
        path: PathBuf,
        /// What is wrong and where.
        reason: String,
    },

    /// An image and the settings of its processing do not fit.
    #[error("image {index} of {width}x{height} pixels: {reason}")]
    Preprocess {
        /// Place of the image in the batch.
        index: usize,
        /// Width of the image in pixels.
        width: u32,
        /// Height of the image in pixels.
        height: u32,
        /// What does not fit.
        reason: String,
    },

    /// Images of a batch end up with different sizes.
    #[error(
        "image {index} of the batch is {width}x{height} pixels after processing, \
         image 0 is {first_width}x{first_height}: turn on `do_resize` or give one image at a time"
    )]
    UnequalSizes {
        /// Place of the first image that differs.
        index: usize,
        /// Its width after processing, in pixels.
        width: u32,
        /// Its height after processing, in pixels.
        height: u32,
        /// Width of the first image after processing, in pixels.
        first_width: u32,
        /// Height of the first image after processing, in pixels.
        first_height: u32,
    },

    /// A sound cannot be read, resampled or written.
    #[error("{}: cannot {action} the sound: {reason}", path.display())]
    Sound {
        /// The file.
        path: PathBuf,
        /// What was attempted, such as `read`.
        action: &'static str,
        /// Why not, on one line.
        reason: String,
    },

    /// A sound cannot be brought to another rate.
    #[error("sound of {from} samples a second cannot be resampled to {to} of them: {reason}")]
    Resample {
        /// Its own rate.
        from: u32,
        /// The rate asked for.
        to: u32,
        /// Why not, on one line.
        reason: String,
    },

    /// A video cannot be read or written.
    #[error("{}: cannot {action} the video: {reason}", path.display())]
    Video {
        /// The file or the folder of frames.
        path: PathBuf,
        /// What was attempted, such as `read`.
        action: &'static str,
        /// Why not, on one line.
        reason: String,
    },

    /// Frames of one video differ in size.
    #[error(
        "{}: frame {index} has {width}x{height} pixels, expected the first one's \
         {first_width}x{first_height}",
        path.display()
    )]
    FrameSize {
        /// The file of the frame, or of the whole video.
        path: PathBuf,
        /// Place of the frame in the video, from 0.
        index: usize,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// Width of the first frame, in pixels.
        first_width: u32,
        /// Height of the first frame, in pixels.
        first_height: u32,
    },

    /// The program that reads and writes video files is not installed.
    #[error(
        "{}: needs the program {program}, which is not installed (apt install ffmpeg, \
         brew install ffmpeg or winget install ffmpeg); folders of frames, GIF and WAV files work \
         without it",
        path.display()
    )]
    ProgramMissing {
        /// The file that cannot be read or written without it.
        path: PathBuf,
        /// `ffmpeg` or `ffprobe`.
        program: &'static str,
    },

    /// A batch without images has no shape.
    #[error("no image was given")]
    EmptyBatch,
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), action, source }
    }

    pub(crate) fn data(path: &Path, reason: impl ToString) -> Self {
        Self::Data { path: path.to_owned(), reason: one_line(reason) }
    }

    pub(crate) fn image(path: &Path, reason: impl ToString) -> Self {
        Self::Image { path: path.to_owned(), reason: one_line(reason) }
    }

    pub(crate) fn sound(path: &Path, action: &'static str, reason: impl ToString) -> Self {
        Self::Sound { path: path.to_owned(), action, reason: one_line(reason) }
    }

    pub(crate) fn video(path: &Path, action: &'static str, reason: impl ToString) -> Self {
        Self::Video { path: path.to_owned(), action, reason: one_line(reason) }
    }
}

/// Decoders nest their reasons over several lines.
fn one_line(reason: impl ToString) -> String {
    reason.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
