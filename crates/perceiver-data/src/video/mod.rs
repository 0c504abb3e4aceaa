//! From videos to frames and back: folders of images and animations in Rust, other files through
//! ffmpeg.

mod animation;
mod ffmpeg;
mod folder;
mod format;
mod frames;
mod timeline;
mod write;

pub use self::ffmpeg::read_video_sound;
pub(crate) use self::ffmpeg::through_ffmpeg;
pub use self::folder::{frame_files, list_frames};
pub use self::format::{VideoFormat, names_folder};
pub use self::frames::{VideoFrames, VideoInfo, centre_square, read_frames};
pub use self::write::VideoWriter;
