//! Videos and their sound through the ffmpeg programs.

use std::ffi::OsString;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};

use image::RgbImage;
use serde_json::Value;

use super::folder::SOUND;
use super::frames::Known;
use crate::error::{Error, Result};
use crate::read_image::MAX_PIXELS;
use crate::sound::{self, MAX_SAMPLES, Sound};

/// Plausible frame rates, in frames per second.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

/// Reads the first channel of a video's first sound track: from `sound.wav` in a folder of frames,
/// or from a file through the `ffmpeg` program.
///
/// # Errors
/// Returns an error if ffmpeg is not installed or cannot read the file, or if
/// [`read_sound`](crate::read_sound) would refuse the sound.
pub fn read_video_sound(path: impl AsRef<Path>) -> Result<Sound> {
    let path = path.as_ref();
    if path.is_dir() {
        return sound::read_sound(path.join(SOUND));
    }
    through_ffmpeg(path)
}

/// The first channel of a file's first sound track.
pub(crate) fn through_ffmpeg(path: &Path) -> Result<Sound> {
    let refuse = |reason: &str| Error::sound(path, "read", reason);
    let streams = probe(path)?;
    let stream = streams.sound.ok_or_else(|| refuse("the video has no sound"))?;
    let rate = stream["sample_rate"].as_str().and_then(|rate| rate.parse().ok());
    let rate: u32 = rate.ok_or_else(|| refuse("its sample rate is unknown"))?;

    let mut command = reader("ffmpeg", path);
    command.args(["-map", "0:a:0", "-af", "pan=mono|c0=c0", "-ar", &rate.to_string()]);
    command.args(["-c:a", "pcm_s16le", "-f", "s16le", "pipe:1"]);
    let mut running = Running::start(&mut command, "ffmpeg", path)?;
    let mut bytes = Vec::new();
    let limit = 2 * MAX_SAMPLES as u64 + 1;
    let output = running.output.take();
    let output = output.map(|output| output.take(limit).read_to_end(&mut bytes));
    output.transpose().map_err(Error::io(path, "read"))?;
    if bytes.len() as u64 == limit {
        return Err(refuse(&sound::too_long()));
    }
    running.finish().map_err(|reason| refuse(&reason))?;
    let samples = bytes.chunks_exact(2);
    let samples = samples.map(|two| f32::from(i16::from_le_bytes([two[0], two[1]])) / 32_768.0);
    sound::checked(Sound { samples: samples.collect(), rate }, path)
}

/// Starts reading the frames of a video file.
pub(super) fn pictures(path: &Path) -> Result<(Pictures, Known)> {
    let Streams { pictures, sound, seconds } = probe(path)?;
    let pictures = pictures.ok_or_else(|| {
        let found = if sound.is_some() { "sound without pictures" } else { "no video" };
        Error::video(path, "read", format!("this is {found}, expected a video with pictures"))
    })?;
    let rate = pictures["avg_frame_rate"].as_str().and_then(fraction);
    let rate = rate.filter(|rate| RATES.contains(rate));
    let frames = match (number(&pictures["nb_frames"]), rate, seconds) {
        (Some(frames), ..) => Some(frames as usize),
        (None, Some(rate), Some(seconds)) => Some((rate * seconds).round() as usize),
        _ => None,
    };

    let mut command = reader("ffmpeg", path);
    command.args(["-map", "0:V:0"]);
    if let Some(rate) = rate {
        command.args(["-r", &rate.to_string()]);
    }
    // Unlike a raw stream, this includes the size after the rotations that the file specifies.
    command.args(["-c:v", "ppm", "-f", "image2pipe", "pipe:1"]);
    let running = Running::start(&mut command, "ffmpeg", path)?;
    let has_sound = sound.is_some();
    let known = Known { frames_per_second: rate, frames, has_sound, ..Known::default() };
    Ok((Pictures { running, frames: 0 }, known))
}

/// Frames as ffmpeg decodes them.
#[derive(Debug)]
pub(super) struct Pictures {
    running: Running,
    frames: usize,
}

impl Pictures {
    pub(super) fn next(&mut self, path: &Path) -> Option<Result<RgbImage>> {
        let read = match &mut self.running.output {
            Some(output) => read_ppm(output),
            None => return None,
        };
        let refuse = |reason: String| Some(Err(Error::video(path, "read", reason)));
        match read {
            Ok(Some(frame)) => {
                self.frames += 1;
                Some(Ok(frame))
            }
            // ffmpeg's own message says more than an output that ends inside a frame.
            Ok(None) => self.running.finish().err().and_then(refuse),
            Err(error) => refuse(self.running.finish().err().unwrap_or(error.to_string())),
        }
    }
}

/// Reads one binary PPM image from a stream of them; `None` at its end.
fn read_ppm(stream: &mut impl Read) -> io::Result<Option<RgbImage>> {
    const LONGEST_HEADER: usize = 40;
    let unexpected = || io::Error::new(io::ErrorKind::InvalidData, "not the frames of ffmpeg");
    let mut header = Vec::new();
    while header.iter().filter(|&&byte| byte == b'\n').count() < 3 {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return if header.is_empty() { Ok(None) } else { Err(unexpected()) };
        }
        header.push(byte[0]);
        if header.len() > LONGEST_HEADER {
            return Err(unexpected());
        }
    }
    let text = String::from_utf8(header).map_err(|_| unexpected())?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let ["P6", width, height, "255"] = fields[..] else { return Err(unexpected()) };
    let side = |text: &str| text.parse::<u32>().map_err(|_| unexpected());
    let (width, height) = (side(width)?, side(height)?);
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        let message = format!("{width}x{height} pixels, expected at most {MAX_PIXELS}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    let mut image = RgbImage::new(width, height);
    stream.read_exact(&mut image)?;
    Ok(Some(image))
}

/// ffprobe's description of a file.
struct Streams {
    /// The first stream of frames that is not a cover picture.
    pictures: Option<Value>,
    /// The first stream of sound.
    sound: Option<Value>,
    seconds: Option<f64>,
}

fn probe(path: &Path) -> Result<Streams> {
    /// More than ffprobe writes about a file with a thousand streams.
    const MAX_ANSWER: u64 = 1 << 20;
    let mut command = Command::new("ffprobe");
    command.args(["-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file"]);
    command.args(["-of", "json", "-show_entries"]);
    command.arg(
        "stream=codec_type,avg_frame_rate,nb_frames,sample_rate:stream_disposition=attached_pic\
         :format=duration",
    );
    command.arg("-i").arg(file_url(path)).stdin(Stdio::null());
    let mut running = Running::start(&mut command, "ffprobe", path)?;
    let mut answer = Vec::new();
    let output = running.output.take();
    let output = output.map(|output| output.take(MAX_ANSWER).read_to_end(&mut answer));
    output.transpose().map_err(Error::io(path, "read"))?;
    running.finish().map_err(|reason| Error::video(path, "read", reason))?;
    let answer: Value = serde_json::from_slice(&answer)
        .map_err(|_| Error::video(path, "read", "ffprobe does not answer in JSON"))?;

    let first = |kind: &str| {
        let streams = answer["streams"].as_array()?;
        let is_wanted = |stream: &&Value| {
            stream["codec_type"] == kind && stream["disposition"]["attached_pic"] != 1
        };
        streams.iter().find(is_wanted).cloned()
    };
    let seconds = number(&answer["format"]["duration"]);
    Ok(Streams { pictures: first("video"), sound: first("audio"), seconds })
}

/// A number that ffprobe writes as a string.
fn number(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// A rate such as `30000/1001`.
fn fraction(text: &str) -> Option<f64> {
    let (numerator, denominator) = text.split_once('/')?;
    Some(numerator.parse::<f64>().ok()? / denominator.parse::<f64>().ok()?)
}

/// An ffmpeg program about to read a file and nothing else: playlists can name network addresses.
fn reader(program: &str, path: &Path) -> Command {
    let mut command = quiet(program);
    command.args(["-protocol_whitelist", "file", "-i"]).arg(file_url(path));
    command
}

/// Refuses the file `path` if there is no ffmpeg to write it.
pub(super) fn check_installed(path: &Path) -> Result<()> {
    Running::start(quiet("ffmpeg").arg("-version"), "ffmpeg", path).map(drop)
}

/// An ffmpeg program that reads no input from the terminal and prints only errors.
pub(super) fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["-nostdin", "-hide_banner", "-loglevel", "error"]).stdin(Stdio::null());
    command
}

/// A path in a form that ffmpeg takes neither for an option nor for an address.
pub(super) fn file_url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(path);
    url
}

/// A running program, stopped when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    program: &'static str,
    pub(super) output: Option<BufReader<ChildStdout>>,
    complaints: Option<JoinHandle<String>>,
}

impl Running {
    /// Starts a program that works on the file `path`.
    pub(super) fn start(command: &mut Command, program: &'static str, path: &Path) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::ProgramMissing { path: path.to_path_buf(), program },
            _ => cannot_start(path, program, &error),
        })?;
        // Read beside the output: a program blocks once its error pipe is full.
        let stderr = child.stderr.take();
        let read = |stderr| thread::Builder::new().spawn(move || last_line(stderr));
        let complaints = stderr.map(read).transpose().map_err(|error| {
            // It may have ended by itself; then there is nothing to stop.
            let _ = child.kill().and_then(|()| child.wait());
            cannot_start(path, "a thread", &error)
        })?;
        let output = child.stdout.take().map(BufReader::new);
        Ok(Self { child, program, output, complaints })
    }

    /// The pipe into the program.
    pub(super) fn input(&mut self) -> Option<std::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// Waits for the end and, if the program failed, returns its last message. Later calls succeed.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        self.output = None;
        let Some(complaints) = self.complaints.take() else { return Ok(()) };
        let status = self.child.wait().map_err(|error| error.to_string())?;
        let complaint = complaints.join().unwrap_or_default();
        match (status.success(), complaint.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => Err(format!("{} failed with {status}", self.program)),
            (false, false) => Err(format!("{}: {complaint}", self.program)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.complaints.is_some() {
            // It may have ended by itself; then there is nothing to stop.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The error of the system about a program or thread that it does not start.
fn cannot_start(path: &Path, what: &str, error: &io::Error) -> Error {
    let error = io::Error::new(error.kind(), format!("cannot start {what}: {error}"));
    Error::io(path, "use")(error)
}

/// The last line of a stream of any length.
fn last_line(mut stream: ChildStderr) -> String {
    const LONGEST: usize = 4096;
    let mut kept = Vec::new();
    let mut buffer = [0; LONGEST];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        let excess = kept.len().saturating_sub(LONGEST);
        kept.drain(..excess);
    }
    let text = String::from_utf8_lossy(&kept);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
