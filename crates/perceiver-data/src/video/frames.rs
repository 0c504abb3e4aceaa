//! Frames of any kind of video, one by one.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::iter::FusedIterator;
use std::path::{Path, PathBuf};

use image::{GenericImageView, RgbImage};

use super::timeline::Timeline;
use super::{animation, ffmpeg, folder};
use crate::error::{Error, Result};
use crate::folder_files::{FileKind, FolderFiles, passed_over_note};
use crate::resample::{Backend, Resample, resize};

/// Most pixels of all frames of an animation, unless its file is large: a thousand frames of
/// 1920x1080 pixels.
const MAX_ANIMATION_PIXELS: u64 = 1 << 31;

/// Pixels of all frames for each byte of a large animation.
const PIXELS_PER_BYTE: u64 = 1 << 10;

/// Opens a video: a folder of images, an animated GIF, WebP or PNG, or any file that the `ffmpeg`
/// program reads.
///
/// Frames are read one by one, so memory does not grow with the length of the video. Images of a
/// folder are ordered by the numbers in their names, and files without an image extension are
/// skipped. Animations are recognised by their content.
///
/// ```no_run
/// # fn main() -> perceiver_data::Result<()> {
/// let frames = perceiver_data::read_frames("clip.mp4")?;
/// println!("{} x {}", frames.info().width, frames.info().height);
/// for frame in frames {
///     println!("{:?}", frame?.get_pixel(0, 0));
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Returns an error if there are no frames, the first one cannot be read, ffmpeg is needed but
/// not installed, or the frames of an animation have more than 2³¹ pixels in all and more than 1024
/// for each byte of the file. The iterator returns an error, and ends, if a later frame cannot be read or
/// differs in size from the first.
///
/// # Differences
/// Frames of an animation that say to last at most 10 ms last 100 ms, as in browsers. Pixels of
/// animated WebP that are blended can be one level off Pillow's. Frames of a
/// video with a variable rate are repeated and dropped to match its mean rate.
pub fn read_frames(path: impl AsRef<Path>) -> Result<VideoFrames> {
    let path = path.as_ref();
    let metadata = std::fs::metadata(path).map_err(Error::io(path, "read"))?;
    if metadata.is_dir() {
        let FolderFiles { files, passed_over } = folder::list_frames(path)?;
        let known = Known {
            frames: Some(files.len()),
            has_sound: path.join(folder::SOUND).is_file(),
            note: passed_over_note(path, FileKind::Image, &passed_over),
            ..Known::default()
        };
        return VideoFrames::new(path, Source::Folder(files.into_iter()), known);
    }
    if !metadata.is_file() {
        return Err(Error::video(path, "read", "neither a file nor a folder"));
    }
    let mut file = BufReader::new(File::open(path).map_err(Error::io(path, "read"))?);
    let mut start = Vec::new();
    file.by_ref().take(16).read_to_end(&mut start).map_err(Error::io(path, "read"))?;
    file.seek(SeekFrom::Start(0)).map_err(Error::io(path, "read"))?;
    if let Some(format) = animation::format(&mut file, &start) {
        let (animation, timeline) = animation::open(path, format)?;
        let known = Known {
            frames_per_second: timeline.mean_rate(),
            frames: Some(timeline.frames()),
            timeline: Some(timeline),
            ..Known::default()
        };
        let count = known.frames.unwrap_or(1);
        let frames = VideoFrames::new(path, Source::Animation(animation), known)?;
        let VideoInfo { width, height, .. } = frames.info;
        return match check_work(count, width, height, metadata.len()) {
            Ok(()) => Ok(frames),
            Err(reason) => Err(Error::video(path, "use", reason)),
        };
    }
    if let Some(kind) = other_kind(&start) {
        let reason = format!(
            "this is {kind}, expected a folder of frames, an animated GIF, WebP or PNG, or a video \
             file"
        );
        return Err(Error::video(path, "read", reason));
    }
    let (pictures, known) = ffmpeg::pictures(path)?;
    VideoFrames::new(path, Source::File(pictures), known)
}

/// Refuses an animation whose frames are much work for a small file: each is composed at full size,
/// however few of its pixels change.
fn check_work(frames: usize, width: u32, height: u32, file: u64) -> Result<(), String> {
    let pixels = (frames as u64).saturating_mul(u64::from(width) * u64::from(height));
    let limit = MAX_ANIMATION_PIXELS.max(file.saturating_mul(PIXELS_PER_BYTE));
    if frames > 1 && pixels > limit {
        return Err(format!(
            "{frames} frames of {width}x{height} pixels in {file} bytes, expected at most {limit} \
             pixels in all"
        ));
    }
    Ok(())
}

/// Names the kind of a file that ffmpeg would read but that is not a video.
fn other_kind(start: &[u8]) -> Option<&'static str> {
    if start.is_empty() {
        return Some("an empty file");
    }
    let is_wave = start.starts_with(b"RIFF") && start.get(8..12) == Some(b"WAVE");
    if is_wave || start.starts_with(b"fLaC") || start.starts_with(b"ID3") {
        return Some("sound without pictures");
    }
    image::guess_format(start).is_ok().then_some("a single image")
}

/// Properties of a video that are known before its last frame is read.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoInfo {
    /// Width of every frame, in pixels.
    pub width: u32,
    /// Height of every frame, in pixels.
    pub height: u32,
    /// Frames per second, on average if they differ in length; `None` for a folder of images.
    pub frames_per_second: Option<f64>,
    /// Approximate number of frames, if known in advance.
    pub frames: Option<usize>,
    /// If true, [`read_video_sound`](super::read_video_sound) finds sound.
    pub has_sound: bool,
}

/// Properties that a source knows before its first frame.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) frames_per_second: Option<f64>,
    pub(super) frames: Option<usize>,
    pub(super) has_sound: bool,
    /// When frames are shown, if they differ in length.
    pub(super) timeline: Option<Timeline>,
    /// A line about files that were passed over.
    pub(super) note: Option<String>,
}

/// The frames of a video, in order.
#[derive(Debug)]
pub struct VideoFrames {
    path: PathBuf,
    source: Source,
    info: VideoInfo,
    timeline: Option<Timeline>,
    note: Option<String>,
    first: Option<RgbImage>,
    /// Number of frames read so far.
    index: usize,
    is_over: bool,
}

enum Source {
    Folder(std::vec::IntoIter<PathBuf>),
    Animation(animation::Animation),
    File(ffmpeg::Pictures),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Folder(_) => "Folder",
            Self::Animation(_) => "Animation",
            Self::File(_) => "File",
        })
    }
}

impl VideoFrames {
    fn new(path: &Path, mut source: Source, known: Known) -> Result<Self> {
        let first = source
            .next(path)
            .unwrap_or_else(|| Err(Error::video(path, "read", "it has no frames")))?;
        let Known { frames_per_second, frames, has_sound, timeline, note } = known;
        let (width, height) = first.dimensions();
        let info = VideoInfo { width, height, frames_per_second, frames, has_sound };
        let (path, first) = (path.to_path_buf(), Some(first));
        Ok(Self { path, source, info, timeline, note, first, index: 0, is_over: false })
    }

    /// The video's properties.
    #[must_use]
    pub fn info(&self) -> &VideoInfo {
        &self.info
    }

    /// A line about files of a folder that were passed over, if any were.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The frames visible at `rate` moments per second: frames are dropped and repeated to match
    /// the time, and each frame of an animation lasts as long as the file says. All frames, once
    /// each, if the video has this rate or its rate is unknown.
    ///
    /// # Errors
    /// The iterator gives nothing but an error if a frame lasts more than a minute, as one with a
    /// damaged time does, or an animation more than an hour.
    pub fn at_rate(mut self, rate: f64) -> impl Iterator<Item = Result<RgbImage>> {
        let refused = self.too_long().map(|reason| Error::video(&self.path, "use", reason));
        if refused.is_some() {
            (self.first, self.is_over) = (None, true);
        }
        let schedule = match (self.timeline.take(), self.info.frames_per_second) {
            (Some(timeline), _) => Schedule::Own { timeline, rate },
            (None, own) => Schedule::Even { step: own.map_or(1.0, |own| own / rate) },
        };
        let frames = AtRate { frames: self, schedule, shown: 0, current: None };
        refused.map(Err).into_iter().chain(frames)
    }

    /// The reason for not repeating a frame many thousand times.
    fn too_long(&self) -> Option<String> {
        /// Longest time of a frame, in seconds.
        const LONGEST: f64 = 60.0;
        /// Longest time of an animation, in seconds.
        const LONGEST_OF_ALL: f64 = 3600.0;
        let (place, seconds) = match &self.timeline {
            Some(timeline) => {
                let sum: f64 = timeline.seconds().sum();
                let mut times = timeline.seconds().enumerate();
                match times.find(|(_, seconds)| *seconds > LONGEST) {
                    Some((index, seconds)) => (format!("frame {index} lasts"), seconds),
                    None if sum > LONGEST_OF_ALL => {
                        let reason = format!("its frames last {sum:.0} s in all, expected at most");
                        return Some(format!("{reason} {LONGEST_OF_ALL}"));
                    }
                    None => return None,
                }
            }
            None => {
                let seconds = 1.0 / self.info.frames_per_second?;
                ("its frames last".to_owned(), seconds)
            }
        };
        let reason = format!("{place} {seconds:.1} s, expected at most {LONGEST}");
        (seconds > LONGEST).then_some(reason)
    }

    fn check(&self, frame: &RgbImage) -> Result<()> {
        let (width, height) = frame.dimensions();
        let (first_width, first_height) = (self.info.width, self.info.height);
        if (width, height) == (first_width, first_height) {
            return Ok(());
        }
        let (path, index) = (self.path.clone(), self.index);
        Err(Error::FrameSize { path, index, width, height, first_width, first_height })
    }
}

impl Source {
    fn next(&mut self, path: &Path) -> Option<Result<RgbImage>> {
        match self {
            Self::Folder(images) => images.next().map(crate::read_image),
            Self::Animation(frames) => {
                frames.next().map(|frame| frame.map_err(|reason| Error::image(path, reason)))
            }
            Self::File(pictures) => pictures.next(path),
        }
    }
}

impl Iterator for VideoFrames {
    type Item = Result<RgbImage>;

    fn next(&mut self) -> Option<Result<RgbImage>> {
        if let Some(first) = self.first.take() {
            self.index = 1;
            return Some(Ok(first));
        }
        if self.is_over {
            return None;
        }
        let frame = self.source.next(&self.path);
        let frame = frame.map(|frame| frame.and_then(|frame| self.check(&frame).map(|()| frame)));
        self.is_over = !matches!(frame, Some(Ok(_)));
        self.index += 1;
        frame
    }
}

impl FusedIterator for VideoFrames {}

/// Frames resampled to another rate.
struct AtRate<I> {
    frames: I,
    schedule: Schedule,
    /// Number of frames shown so far.
    shown: usize,
    /// The last frame read, and its index.
    current: Option<(usize, RgbImage)>,
}

/// The frame that is visible at each moment.
enum Schedule {
    /// All frames last equally long: `step` of them from one moment to the next.
    Even { step: f64 },
    /// Each frame lasts as long as the file says; `rate` moments per second.
    Own { timeline: Timeline, rate: f64 },
}

impl Schedule {
    /// The index of the frame at a moment; `None` if the video has ended.
    fn at(&self, moment: usize) -> Option<usize> {
        // A frame that starts exactly now is visible; products like 3 * (25 / 75) fall just short.
        const ROUNDING: f64 = 1e-6;
        match self {
            Self::Even { step } => Some((moment as f64 * step + ROUNDING) as usize),
            Self::Own { timeline, rate } => timeline.at(moment as f64 / rate),
        }
    }
}

impl<I: Iterator<Item = Result<RgbImage>>> Iterator for AtRate<I> {
    type Item = Result<RgbImage>;

    fn next(&mut self) -> Option<Result<RgbImage>> {
        let Some(wanted) = self.schedule.at(self.shown) else {
            // Times end at the first damage, which only decoding tells from the end.
            return self.frames.find(Result::is_err);
        };
        while self.current.as_ref().is_none_or(|(index, _)| *index < wanted) {
            let index = self.current.as_ref().map_or(0, |(index, _)| index + 1);
            match self.frames.next()? {
                Ok(frame) => self.current = Some((index, frame)),
                Err(error) => return Some(Err(error)),
            }
        }
        self.shown += 1;
        self.current.as_ref().map(|(_, frame)| Ok(frame.clone()))
    }
}

/// The largest centred square of a frame, resized to `side` pixels.
///
/// # Panics
/// If the frame has no pixels or `side` is 0.
///
/// # Differences
/// The multimodal notebook of Perceiver IO subsamples large frames and weighs in what lies between
/// two samples; here pixels are averaged by Pillow's bilinear filter, so fine patterns do not
/// flicker.
#[must_use]
pub fn centre_square(frame: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = frame.dimensions();
    let smaller = width.min(height);
    assert!(smaller > 0 && side > 0, "a square has pixels");
    let (x, y) = ((width - smaller) / 2, (height - smaller) / 2);
    let square = frame.view(x, y, smaller, smaller).to_image();
    resize(&square, (side, side), Resample::Bilinear, Backend::Pil)
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::{AtRate, Schedule, centre_square, check_work};

    /// The index of each output frame, with one output frame per `step` input frames.
    fn seen(frames: u8, step: f64) -> Vec<u8> {
        let frames = (0..frames).map(|grey| Ok(RgbImage::from_pixel(1, 1, Rgb([grey; 3]))));
        let schedule = Schedule::Even { step };
        let frames = AtRate { frames, schedule, shown: 0, current: None };
        frames.map(|frame| frame.map_or(u8::MAX, |frame| frame.as_raw()[0])).collect()
    }

    #[test]
    fn frames_are_left_out_and_repeated_by_time() {
        assert_eq!(seen(6, 1.0), [0, 1, 2, 3, 4, 5]);
        assert_eq!(seen(6, 50.0 / 25.0), [0, 2, 4]);
        assert_eq!(seen(6, 30.0 / 25.0), [0, 1, 2, 3, 4]);
        assert_eq!(seen(3, 10.0 / 25.0), [0, 0, 0, 1, 1, 2, 2, 2]);
        assert_eq!(seen(25, 25.0 / 75.0).len(), 75);
    }

    #[test]
    fn many_large_frames_in_a_small_file_are_refused() {
        let expected = "1000 frames of 4000x4000 pixels in 80000 bytes, expected at most 2147483648 \
                        pixels in all";
        assert_eq!(check_work(1000, 4000, 4000, 80_000), Err(expected.to_owned()));
        assert!(check_work(1000, 4000, 4000, 20 << 20).is_ok());
        assert!(check_work(1000, 1920, 1080, 80_000).is_ok());
        // A single picture has a limit of its own.
        assert!(check_work(1, u32::MAX, 4000, 80_000).is_ok());
    }

    #[test]
    fn the_square_is_that_in_the_middle() {
        let frame = RgbImage::from_fn(7, 3, |x, y| Rgb([x as u8, y as u8, 9]));
        let square = centre_square(&frame, 3);
        assert_eq!(square, RgbImage::from_fn(3, 3, |x, y| Rgb([x as u8 + 2, y as u8, 9])));
        assert_eq!(centre_square(&frame, 5).dimensions(), (5, 5));
    }
}
