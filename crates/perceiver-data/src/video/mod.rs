//! Videos to frames and back: folders of images and animations here, all else through ffmpeg.

mod animation;
mod ffmpeg;
mod folder;
mod frames;
mod write;

pub use self::ffmpeg::read_video_sound;
pub use self::folder::frame_files;
pub use self::frames::{Frames, VideoInfo, centre_square, read_frames};
pub use self::write::{VideoFormat, VideoWriter};
