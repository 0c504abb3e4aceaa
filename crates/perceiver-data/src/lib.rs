#![doc = include_str!("../README.md")]

pub mod augment;
mod durable;
mod error;
pub mod flow;
mod image_processor;
mod json;
mod read_image;
mod resample;
mod sound;
mod source;
mod tokenizer;
mod video;

#[doc(no_inline)]
pub use image::RgbImage;

pub use self::error::{Error, Result};
pub use self::image_processor::{PerceiverImageProcessor, Size};
pub use self::read_image::{decode_image, read_image};
pub use self::resample::{Backend, Resample};
pub use self::sound::{Sound, read_sound};
pub use self::source::{
    Clip, ClipOptions, ClipPart, Clips, IdxImages, ImageFolder, Label, LabelColumns, LabelledImage,
    LabelledText, MaskedText, Pieces, PlainText, Remarks, Source, TextColumns, TextPieces,
    TextTable, WholeWordMask,
};
pub use self::tokenizer::{
    AddedToken, EncodeInput, EncodeOptions, Encoding, Padding, PerceiverTokenizer, Side, Span,
    Truncation, read_text,
};
pub use self::video::{
    VideoFormat, VideoFrames, VideoInfo, VideoWriter, centre_square, frame_files, names_folder,
    read_frames, read_video_sound,
};
