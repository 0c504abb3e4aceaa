#![doc = include_str!("../README.md")]

pub mod augment;
mod durable;
mod error;
pub mod flow;
mod folder_files;
mod image_processor;
mod json;
mod npy;
mod read_image;
mod record;
mod resample;
mod sound;
mod source;
mod text_file;
mod tokenizer;
mod video;

#[doc(no_inline)]
pub use image::RgbImage;

pub use self::error::{Error, Result};
pub use self::folder_files::{FileKind, FolderFiles, passed_over_note, video_files};
pub use self::image_processor::{PerceiverImageProcessor, Size};
pub use self::read_image::{decode_image, read_image};
pub use self::record::{Cell, Modality, Record, Rows, Target};
pub use self::resample::{Backend, Resample};
pub use self::sound::{Sound, read_sound};
pub use self::source::{
    ArrayLayout, Clip, ClipOptions, ClipPart, Clips, IdxImages, ImageFolder, Label, LabelColumns,
    LabelledImage, LabelledText, MaskedText, Pieces, PlainText, RecordArrays, RecordSeries,
    RecordTable, Remarks, SeriesColumns, Source, TextColumns, TextPieces, TextTable, WholeWordMask,
};
pub use self::text_file::{NumberedLine, decode_lines, decode_text, read_lines, read_text};
pub use self::tokenizer::{
    AddedToken, EncodeInput, EncodeOptions, Encoding, Padding, PerceiverTokenizer, Side, Span,
    Truncation,
};
pub use self::video::{
    VideoFormat, VideoFrames, VideoInfo, VideoWriter, centre_square, frame_files, list_frames,
    names_folder, read_frames, read_video_sound,
};
