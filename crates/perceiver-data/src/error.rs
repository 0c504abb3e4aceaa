//! The error type of this crate.

use std::io;
use std::path::{Path, PathBuf};

/// An error in a text, image, video or sound, or in a file that describes its processing.
///
/// Every message is one line; messages about a file begin with its path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be opened, read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The attempted action, such as `read`.
        action: &'static str,
        /// The error from the operating system.
        source: io::Error,
    },

    /// A file is larger than any real file of its kind.
    #[error("{}: {size} bytes, expected at most {limit}", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// The largest size that is read, in bytes.
        limit: u64,
    },

    /// Two of the files in memory have the same name.
    #[error("{}: is given twice", path.display())]
    GivenTwice {
        /// The name.
        path: PathBuf,
    },

    /// A settings file is not JSON.
    #[error("{}: not valid JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's error, with line and column.
        source: serde_json::Error,
    },

    /// A field of a settings file has an invalid value.
    #[error("{}: `{field}` is {found}, expected {expected}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field, with its path if it is nested.
        field: String,
        /// The value found, shortened.
        found: String,
        /// The values that are accepted.
        expected: String,
    },

    /// Text is not UTF-8.
    #[error("{}: invalid UTF-8 at byte {position}", path.display())]
    Utf8 {
        /// The file.
        path: PathBuf,
        /// Offset of the first byte that cannot be decoded, in bytes.
        position: usize,
    },

    /// Text that begins with the mark of UTF-16 is not UTF-16.
    #[error("{}: invalid UTF-16 at byte {position}", path.display())]
    Utf16 {
        /// The file.
        path: PathBuf,
        /// Offset of the first unit that cannot be decoded, in bytes.
        position: usize,
    },

    /// A token identifier is outside the vocabulary.
    #[error("token id {id} at position {position} is not in the vocabulary of {vocabulary} ids")]
    UnknownId {
        /// The identifier.
        id: u32,
        /// Its position in the list.
        position: usize,
        /// Number of entries in the vocabulary.
        vocabulary: usize,
    },

    /// Padding and truncation contradict each other.
    #[error(
        "the truncation length is {length} tokens, expected a multiple of {multiple} to pad to"
    )]
    LengthNotMultiple {
        /// Length to truncate to, in tokens.
        length: usize,
        /// Padded lengths must be a multiple of this many tokens.
        multiple: usize,
    },

    /// The length to pad to is too large.
    #[error("cannot pad to {length} tokens, expected at most {limit}")]
    PaddingTooLong {
        /// The requested length, in tokens.
        length: usize,
        /// The largest length that is accepted, in tokens.
        limit: usize,
    },

    /// A text has more tokens than the model has positions.
    #[error("the text has {length} tokens, expected at most the model's {limit}")]
    TextTooLong {
        /// Number of tokens, including special ones.
        length: usize,
        /// Number of positions of the model.
        limit: usize,
    },

    /// An image cannot be decoded.
    #[error("{}: cannot read the image: {reason}", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The reason, on one line.
        reason: String,
    },

    /// A file of optical flow is invalid.
    #[error("{}: {reason}", path.display())]
    Flow {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: String,
    },

    /// A file of examples, or one of its examples, is invalid.
    #[error("{}: {reason}", path.display())]
    Data {
        /// The file, or the folder of files.
        path: PathBuf,
        /// The problem and its place.
        reason: String,
    },

    /// An image does not fit the settings of the image processor.
    #[error("image {index} of {width}x{height} pixels: {reason}")]
    Preprocess {
        /// Index of the image in the batch.
        index: usize,
        /// Width of the image, in pixels.
        width: u32,
        /// Height of the image, in pixels.
        height: u32,
        /// The problem.
        reason: String,
    },

    /// Images of a batch have different sizes after processing.
    #[error(
        "image {index} of the batch is {width}x{height} pixels after processing, expected \
         image 0's {first_width}x{first_height}: turn on `do_resize` or process one image at a time"
    )]
    UnequalSizes {
        /// Index of the first image that differs.
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

    /// A sound file cannot be read or written.
    #[error("{}: cannot {action} the sound: {reason}", path.display())]
    Sound {
        /// The file.
        path: PathBuf,
        /// The attempted action, such as `read`.
        action: &'static str,
        /// The reason, on one line.
        reason: String,
    },

    /// A sound cannot be resampled.
    #[error("cannot resample a sound from {from} Hz to {to} Hz: {reason}")]
    Resample {
        /// Its own rate, in samples per second.
        from: u32,
        /// The requested rate, in samples per second.
        to: u32,
        /// The reason, on one line.
        reason: String,
    },

    /// A video cannot be read or written.
    #[error("{}: cannot {action} the video: {reason}", path.display())]
    Video {
        /// The file or the folder of frames.
        path: PathBuf,
        /// The attempted action, such as `read`.
        action: &'static str,
        /// The reason, on one line.
        reason: String,
    },

    /// Frames of a video differ in size.
    #[error(
        "{}: frame {index} has {width}x{height} pixels, expected the first one's \
         {first_width}x{first_height}",
        path.display()
    )]
    FrameSize {
        /// The file of the frame or of the whole video.
        path: PathBuf,
        /// Index of the frame in the video, from 0.
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
        /// The file that needs it.
        path: PathBuf,
        /// `ffmpeg` or `ffprobe`.
        program: &'static str,
    },

    /// A batch has no images.
    #[error("the batch has no images, expected at least one")]
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

/// Joins the lines of a reason: decoders spread theirs over several.
fn one_line(reason: impl ToString) -> String {
    reason.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The result of this crate's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
