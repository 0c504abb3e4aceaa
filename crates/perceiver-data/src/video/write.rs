//! Frames to videos.

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

/// How much colours may differ for speed, from 1 to 30; the encoder's own default.
const GIF_SPEED: i32 = 10;

/// What a video is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VideoFormat {
    /// A folder of PNG files, `000001.png` and so on, with `sound.wav` beside them.
    Folder,
    /// An animated GIF of 256 colours a frame, without sound.
    Gif,
    /// An animated WebP, without sound; through the `ffmpeg` program.
    WebP,
    /// H.264 with AAC sound, for any player; through the `ffmpeg` program. Sides of odd length get
    /// one more black line.
    Mp4,
}

impl VideoFormat {
    /// The format that a path's ending asks for: a folder's has none.
    ///
    /// # Errors
    /// [`Error::Video`] where no video can have this ending.
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

    /// Whether sound can be given to [`VideoWriter::finish`].
    #[must_use]
    pub fn holds_sound(self) -> bool {
        matches!(self, Self::Folder | Self::Mp4)
    }
}

/// Writes a video frame by frame.
///
/// Dropped before it is finished, it leaves what it has written so far behind.
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
    /// Started with the first frame, of which it is told the size. Without a frame to work on it
    /// would wait, and open its file only when we have long removed ours after an interruption.
    Program(Option<Program>),
}

/// ffmpeg, and the pipe into it until all is told.
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
    /// Begins a video, replacing a file that is there. A folder is created if need be, and the
    /// files in it stay, unless they have the names of frames.
    ///
    /// # Errors
    /// When the place cannot be written to, ffmpeg is needed and not installed, or the rate is not
    /// above 0 and at most 1000.
    pub fn create(
        path: impl AsRef<Path>,
        format: VideoFormat,
        frames_per_second: f64,
    ) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        if !(frames_per_second > 0.0 && frames_per_second <= 1000.0) {
            let reason = format!("{frames_per_second} frames a second, expected 0 to 1000 of them");
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

    /// Adds a frame.
    ///
    /// # Errors
    /// When the frame has another size than the first, or cannot be written.
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

    /// Ends the video, with a sound where the format [holds](VideoFormat::holds_sound) any.
    ///
    /// # Errors
    /// When no frame was written, the format holds no sound, or the rest cannot be written.
    pub fn finish(self, sound: Option<&Sound>) -> Result<()> {
        let refuse = |reason: &str| Error::video(&self.path, "write", reason);
        if self.frames == 0 {
            return Err(refuse("it has no frames"));
        }
        if sound.is_some() && !self.format.holds_sound() {
            return Err(refuse("this format holds no sound"));
        }
        match self.sink {
            Sink::Folder => {}
            Sink::Gif(encoder) => {
                // The rest is written as it is dropped, which tells of no error.
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
                // Half of the colours are kept along either side; the matrix is that of HD video,
                // which players take for granted where it is not named.
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
        // What ffmpeg says tells more than that it listens no longer.
        input.write_all(frame).map_err(|error| self.finish().err().unwrap_or(error.to_string()))
    }

    fn finish(&mut self) -> Result<(), String> {
        self.input = None;
        self.running.finish()
    }
}

/// Whether a GIF file has the byte that ends it.
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

/// Puts a sound beside the pictures of a video file.
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
