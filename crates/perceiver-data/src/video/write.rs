//! From frames to videos.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, RgbImage};

use super::ffmpeg::{self, Running, file_url, quiet};
use super::folder::SOUND;
use crate::error::{Error, Result};
use crate::sound::Sound;

/// Speed of the GIF encoder, from 1 to 30, at the expense of colours; its own default.
const GIF_SPEED: i32 = 10;

/// The format of a written video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VideoFormat {
    /// A folder of PNG files, `000001.png` and so on, with their sound in `sound.wav`.
    Folder,
    /// An animated GIF with 256 colours per frame and no sound.
    Gif,
    /// An animated WebP without sound, written by the `ffmpeg` program.
    WebP,
    /// H.264 with AAC sound, for any player, written by the `ffmpeg` program. Odd sides are padded
    /// by one black line.
    Mp4,
}

impl VideoFormat {
    /// The format for a path's extension; a path without an extension is a folder.
    ///
    /// # Errors
    /// [`Error::Video`] if the extension is unknown.
    pub fn of(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            _ if path.is_dir() => Ok(Self::Folder),
            None => Ok(Self::Folder),
            Some("gif") => Ok(Self::Gif),
            Some("webp") => Ok(Self::WebP),
            Some("mp4") => Ok(Self::Mp4),
            Some(ending) => {
                let reason = format!(
                    "unknown ending .{ending}, expected .mp4, .webp, .gif or a folder's name"
                );
                Err(Error::video(path, "write", reason))
            }
        }
    }

    /// Returns true if [`VideoWriter::finish`] accepts sound for this format.
    #[must_use]
    pub fn holds_sound(self) -> bool {
        matches!(self, Self::Folder | Self::Mp4)
    }
}

/// Writes a video frame by frame.
///
/// If dropped unfinished, it leaves the frames written so far behind.
///
/// ```no_run
/// # use perceiver_data::{VideoFormat, VideoWriter};
/// # fn main() -> perceiver_data::Result<()> {
/// let mut writer = VideoWriter::create("clip.gif", VideoFormat::Gif, 25.0)?;
/// for grey in 0..=255 {
///     writer.write(&image::RgbImage::from_pixel(64, 64, image::Rgb([grey; 3])))?;
/// }
/// writer.finish(None)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct VideoWriter {
    path: PathBuf,
    sink: Sink,
    format: VideoFormat,
    frames_per_second: f64,
    size: Option<(u32, u32)>,
    frames: usize,
}

enum Sink {
    Folder,
    Gif(Box<GifEncoder<BufWriter<File>>>),
    /// Starts with the first frame, because ffmpeg needs the size. Without input it would wait and
    /// create its file long after an interruption removed ours.
    Program(Option<Program>),
}

/// ffmpeg and the pipe into it, open until all frames are written.
#[derive(Debug)]
struct Program {
    running: Running,
    input: Option<ChildStdin>,
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder => f.write_str("Folder"),
            Self::Gif(_) => f.write_str("Gif"),
            Self::Program(program) => program.fmt(f),
        }
    }
}

impl VideoWriter {
    /// Starts a video, replacing an existing file. A folder is created if needed; existing files in
    /// it stay unless they have names of frames.
    ///
    /// # Errors
    /// Returns an error if the path cannot be written, ffmpeg is needed but not installed, or the
    /// rate is not above 0 and at most 1000.
    pub fn create(
        path: impl AsRef<Path>,
        format: VideoFormat,
        frames_per_second: f64,
    ) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        if !(frames_per_second > 0.0 && frames_per_second <= 1000.0) {
            let reason =
                format!("{frames_per_second} frames per second, expected above 0 and at most 1000");
            return Err(Error::video(&path, "write", reason));
        }
        let sink = match format {
            VideoFormat::Folder => {
                fs::create_dir_all(&path).map_err(Error::io(&path, "create"))?;
                Sink::Folder
            }
            VideoFormat::Gif => {
                let file = File::create(&path).map_err(Error::io(&path, "write"))?;
                let mut encoder = GifEncoder::new_with_speed(BufWriter::new(file), GIF_SPEED);
                let repeated = encoder.set_repeat(Repeat::Infinite);
                repeated.map_err(|error| Error::video(&path, "write", error))?;
                Sink::Gif(Box::new(encoder))
            }
            VideoFormat::WebP | VideoFormat::Mp4 => {
                ffmpeg::check_installed(&path)?;
                Sink::Program(None)
            }
        };
        Ok(Self { path, sink, format, frames_per_second, size: None, frames: 0 })
    }

    /// Appends a frame.
    ///
    /// # Errors
    /// Returns an error if the frame's size differs from the first one's or it cannot be written.
    pub fn write(&mut self, frame: &RgbImage) -> Result<()> {
        let (width, height) = frame.dimensions();
        let (first_width, first_height) = *self.size.get_or_insert((width, height));
        if (width, height) != (first_width, first_height) {
            let (path, index) = (self.path.clone(), self.frames);
            return Err(Error::FrameSize { path, index, width, height, first_width, first_height });
        }
        self.frames += 1;
        match &mut self.sink {
            Sink::Folder => {
                let path = self.path.join(format!("{:06}.png", self.frames));
                frame.save(&path).map_err(|error| Error::video(&path, "write", error))
            }
            Sink::Gif(encoder) => {
                let frame = DynamicImage::ImageRgb8(frame.clone()).into_rgba8();
                let rate = (self.frames_per_second * 1000.0).round() as u32;
                let delay = Delay::from_numer_denom_ms(1_000_000, rate.max(1));
                let written = encoder.encode_frame(Frame::from_parts(frame, 0, 0, delay));
                written.map_err(|error| Error::video(&self.path, "write", error))
            }
            Sink::Program(program) => {
                let program = match program {
                    Some(program) => program,
                    None => {
                        let size = frame.dimensions();
                        let rate = self.frames_per_second;
                        program.insert(Program::start(&self.path, self.format, rate, size)?)
                    }
                };
                program.write(frame).map_err(|reason| Error::video(&self.path, "write", reason))
            }
        }
    }

    /// Completes the video, with sound if the format [supports](VideoFormat::holds_sound) it.
    ///
    /// # Errors
    /// Returns an error if no frame was written, the format does not support sound, or the rest of
    /// the file cannot be written.
    pub fn finish(self, sound: Option<&Sound>) -> Result<()> {
        let refuse = |reason: &str| Error::video(&self.path, "write", reason);
        if self.frames == 0 {
            return Err(refuse("it has no frames"));
        }
        if sound.is_some() && !self.format.holds_sound() {
            return Err(refuse("this format does not support sound"));
        }
        match self.sink {
            Sink::Folder => {}
            Sink::Gif(encoder) => {
                // Dropping the encoder writes the rest and hides errors.
                drop(encoder);
                if !is_whole_gif(&self.path) {
                    return Err(refuse("its end cannot be written"));
                }
            }
            Sink::Program(program) => {
                let finished = program.map_or(Ok(()), |mut program| program.finish());
                finished.map_err(|reason| refuse(&reason))?;
            }
        }
        match (sound, self.format) {
            (Some(sound), VideoFormat::Folder) => sound.write_wav(self.path.join(SOUND)),
            (Some(sound), _) => add_sound(&self.path, sound),
            (None, _) => Ok(()),
        }
    }
}

impl Program {
    fn start(
        path: &Path,
        format: VideoFormat,
        frames_per_second: f64,
        (width, height): (u32, u32),
    ) -> Result<Self> {
        let mut command = quiet("ffmpeg");
        command.args(["-f", "rawvideo", "-pixel_format", "rgb24"]);
        command.args(["-video_size", &format!("{width}x{height}")]);
        command.args(["-framerate", &frames_per_second.to_string(), "-i", "pipe:0"]);
        match format {
            VideoFormat::WebP => {
                command.args(["-c:v", "libwebp_anim", "-quality", "90", "-loop", "0"]);
                command.args(["-f", "webp"]);
            }
            _ => {
                // Colour has half the resolution along either side. The matrix is that of HD video,
                // which players assume if none is named.
                let filter = "pad=ceil(iw/2)*2:ceil(ih/2)*2,\
                              scale=out_color_matrix=bt709:out_range=tv,format=yuv420p";
                command.args(["-vf", filter, "-c:v", "h264", "-colorspace", "bt709"]);
                command.args(["-color_primaries", "bt709", "-color_trc", "bt709"]);
                command.args(["-movflags", "+faststart", "-f", "mp4"]);
            }
        }
        command.arg("-y").arg(file_url(path)).stdin(Stdio::piped());
        let mut running = Running::start(&mut command, "ffmpeg", path)?;
        let input = running.input();
        Ok(Self { running, input })
    }

    fn write(&mut self, frame: &RgbImage) -> Result<(), String> {
        let Some(input) = &mut self.input else { return Ok(()) };
        // ffmpeg's own message says more than a broken pipe.
        input.write_all(frame).map_err(|error| self.finish().err().unwrap_or(error.to_string()))
    }

    fn finish(&mut self) -> Result<(), String> {
        self.input = None;
        self.running.finish()
    }
}

/// Returns true if a GIF file has its final byte.
fn is_whole_gif(path: &Path) -> bool {
    let last_byte = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        io::Result::Ok(byte)
    };
    last_byte().is_ok_and(|byte| byte == *b";")
}

/// Adds sound to a video file.
fn add_sound(path: &Path, sound: &Sound) -> Result<()> {
    let work = tempfile::tempdir().map_err(Error::io(path, "write"))?;
    let (wav, whole) = (work.path().join(SOUND), work.path().join("whole.mp4"));
    sound.write_wav(&wav)?;
    let mut command = quiet("ffmpeg");
    command.arg("-i").arg(file_url(path)).arg("-i").arg(file_url(&wav));
    command.args(["-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac"]);
    command.args(["-movflags", "+faststart", "-f", "mp4", "-y"]).arg(file_url(&whole));
    let finished = Running::start(&mut command, "ffmpeg", path)?.finish();
    finished.map_err(|reason| Error::video(path, "write", reason))?;
    fs::copy(&whole, path).map_err(Error::io(path, "write"))?;
    Ok(())
}
