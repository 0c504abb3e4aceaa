//! From frames to videos.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, ImageError, ImageFormat, RgbImage};

use super::ffmpeg::{self, Running, file_url, quiet};
use super::folder::SOUND;
use super::format::VideoFormat;
use crate::durable::{SharedFile, write_file};
use crate::error::{Error, Result};
use crate::sound::Sound;

/// Speed of the GIF encoder, from 1 to 30, at the expense of colours; its own default.
const GIF_SPEED: i32 = 10;

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
    Gif {
        encoder: Box<GifEncoder<SharedFile>>,
        file: SharedFile,
    },
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
            Self::Gif { .. } => f.write_str("Gif"),
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
                let file = SharedFile::create(&path).map_err(Error::io(&path, "write"))?;
                let mut encoder = GifEncoder::new_with_speed(file.clone(), GIF_SPEED);
                encoder.set_repeat(Repeat::Infinite).map_err(encoding(&path))?;
                Sink::Gif { encoder: Box::new(encoder), file }
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
                let written =
                    write_file(&path, |mut file| frame.write_to(&mut file, ImageFormat::Png));
                written.map_err(encoding(&path))
            }
            Sink::Gif { encoder, .. } => {
                let frame = DynamicImage::ImageRgb8(frame.clone()).into_rgba8();
                let rate = (self.frames_per_second * 1000.0).round() as u32;
                let delay = Delay::from_numer_denom_ms(1_000_000, rate.max(1));
                let written = encoder.encode_frame(Frame::from_parts(frame, 0, 0, delay));
                written.map_err(encoding(&self.path))
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
            Sink::Gif { encoder, file } => {
                // Dropping the encoder writes the rest and hides errors.
                drop(encoder);
                file.finish().map_err(Error::io(&self.path, "write"))?;
            }
            Sink::Program(program) => {
                let finished = program.map_or(Ok(()), |mut program| program.finish());
                finished.map_err(|reason| refuse(&reason))?;
                sync(&self.path)?;
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
        let mut command = writer();
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

/// The error of an encoder of `image`.
fn encoding(path: &Path) -> impl FnOnce(ImageError) -> Error {
    move |error| match error {
        ImageError::IoError(error) => Error::io(path, "write")(error),
        error => Error::video(path, "write", error),
    }
}

/// Waits until a file of another program is on the disk.
fn sync(path: &Path) -> Result<()> {
    let synced = File::options().append(true).open(path).and_then(|file| file.sync_all());
    synced.map_err(Error::io(path, "write"))
}

/// An ffmpeg program about to write a file. Without `-xerror` it counts a full disk as a success.
fn writer() -> Command {
    let mut command = quiet("ffmpeg");
    command.arg("-xerror");
    command
}

/// Adds sound to a video file.
fn add_sound(path: &Path, sound: &Sound) -> Result<()> {
    let work = tempfile::tempdir().map_err(Error::io(path, "write"))?;
    let (wav, whole) = (work.path().join(SOUND), work.path().join("whole.mp4"));
    sound.write_wav(&wav).map_err(|error| match error {
        Error::Io { action, source, .. } => Error::io(path, action)(source),
        error => error,
    })?;
    let mut command = writer();
    command.arg("-i").arg(file_url(path)).arg("-i").arg(file_url(&wav));
    command.args(["-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac"]);
    command.args(["-movflags", "+faststart", "-f", "mp4", "-y"]).arg(file_url(&whole));
    let finished = Running::start(&mut command, "ffmpeg", path)?.finish();
    finished.map_err(|reason| Error::video(path, "write", reason))?;
    fs::copy(&whole, path).map_err(Error::io(path, "write"))?;
    sync(path)
}
