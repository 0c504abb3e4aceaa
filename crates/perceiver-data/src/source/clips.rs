use std::ops::Range;
use std::path::{Path, PathBuf};

use image::RgbImage;
use image::imageops::{crop_imm, flip_horizontal_in_place};
use ndarray::Array1;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{Remarks, Source};
use crate::error::{Error, Result};
use crate::folder_files::{FileKind, passed_over_note, video_files};
use crate::sound;
use crate::video::{centre_square, read_frames, read_video_sound};

/// Most memory for the frames of all videos, in bytes.
const MAX_MEMORY: usize = 4 << 30;

/// Most pixels of a clip: 334 times those of the published model.
const MAX_PIXELS: usize = 1 << 28;

/// Consecutive frames of a video and their sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// Square frames of equal size.
    pub frames: Vec<RgbImage>,
    /// `[samples]`, one channel from -1 to 1; silence if the video has no sound.
    pub sound: Array1<f32>,
    /// The class of its video, if it has one.
    pub label: Option<usize>,
}

/// Clips of videos, which are read once and kept at reduced size.
///
/// Frames are centre squares, as [`centre_square`] makes them. A clip never extends past the end of
/// its part; frames that do not fill a clip are dropped.
///
/// ```no_run
/// use perceiver_data::{ClipOptions, ClipPart, Clips, Source};
///
/// # fn main() -> perceiver_data::Result<()> {
/// let options = ClipOptions {
///     frames: 16,
///     side: 224,
///     samples_per_frame: 1920,
///     frames_per_second: 25.0,
///     stride: 4,
///     random_crops: false,
/// };
/// let videos = [("clip.mp4".into(), None)];
/// let training = Clips::read(videos.clone(), ClipPart::AllBut { last_seconds: 2.0 }, options)?;
/// let validation = Clips::read(videos, ClipPart::Last { seconds: 2.0 }, options)?;
/// println!("{} training clips, {} validation clips", training.len(), validation.len());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Clips {
    videos: Vec<Video>,
    /// Each clip's video and its first frame in it.
    places: Vec<(usize, usize)>,
    options: ClipOptions,
    remarks: Remarks,
}

/// How clips are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipOptions {
    /// Number of frames of a clip.
    pub frames: usize,
    /// Width and height of a frame, in pixels.
    pub side: u32,
    /// Samples of sound per frame.
    pub samples_per_frame: usize,
    /// Frames per second; videos are resampled to this rate.
    pub frames_per_second: f64,
    /// Number of frames from the start of one clip to the start of the next.
    pub stride: usize,
    /// Crops each clip to a random square of at least half the frame's side and mirrors half of the
    /// clips, which multiplies a short film.
    pub random_crops: bool,
}

/// The part of every video that clips come from, so that the rest can be held out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClipPart {
    /// The whole video.
    Whole,
    /// All except the end.
    AllBut {
        /// Duration of the end, in seconds.
        last_seconds: f64,
    },
    /// Only the end.
    Last {
        /// Duration, in seconds.
        seconds: f64,
    },
}

#[derive(Debug)]
struct Video {
    frames: Vec<RgbImage>,
    sound: Vec<f32>,
    label: Option<usize>,
}

impl Clips {
    /// Reads videos, each with its class if it has one; a folder without images stands for the videos in
    /// it. Leaves out videos that cannot be read, whose part is shorter than a clip, or whose frames
    /// would exceed 4 GiB with those before them; [`remarks`](Source::remarks) names them.
    ///
    /// # Errors
    /// Returns an error if every video had to be left out, if one does not exist or needs a program
    /// that is not installed, or if the options are invalid.
    pub fn read(
        videos: impl IntoIterator<Item = (PathBuf, Option<usize>)>,
        part: ClipPart,
        options: ClipOptions,
    ) -> Result<Self> {
        Self::read_within(MAX_MEMORY, videos, part, options)
    }

    /// Reads videos whose frames fit in so many bytes.
    fn read_within(
        mut memory: usize,
        videos: impl IntoIterator<Item = (PathBuf, Option<usize>)>,
        part: ClipPart,
        options: ClipOptions,
    ) -> Result<Self> {
        let mut remarks = Remarks::default();
        let mut files = Vec::new();
        for (path, label) in videos {
            let found = video_files(&path)?;
            remarks.notes.extend(passed_over_note(&path, FileKind::Video, &found.passed_over));
            files.extend(found.files.into_iter().map(|file| (file, label)));
        }
        let mut clips = Self { videos: Vec::new(), places: Vec::new(), options, remarks };
        let mut first = None;
        for (path, label) in files {
            let Err(error) = clips.add(&path, label, part, &mut memory) else { continue };
            // A wrong name and a missing program are no fault of one video.
            if matches!(error, Error::ProgramMissing { .. }) || !path.exists() {
                return Err(error);
            }
            clips.remarks.left_out.push(error.to_string());
            first = first.or(Some(error));
        }
        match first {
            Some(error) if clips.places.is_empty() => Err(error),
            _ => Ok(clips),
        }
    }

    /// Adds the clips of a video.
    fn add(
        &mut self,
        path: &Path,
        label: Option<usize>,
        part: ClipPart,
        memory: &mut usize,
    ) -> Result<()> {
        let (options, mut left) = (self.options, *memory);
        let video = options.read(path, label, &mut left)?;
        let range = options.range(part, video.frames.len());
        let starts = options.starts(range.clone());
        if starts.len() == 0 {
            let (found, frames) = (range.len(), options.frames);
            let reason = format!("{found} frames to take clips from, expected {frames} or more");
            return Err(Error::video(path, "use", reason));
        }
        self.places.extend(starts.map(|start| (self.videos.len(), start)));
        self.videos.push(video);
        *memory = left;
        Ok(())
    }
}

impl Source for Clips {
    type Example = Clip;

    fn len(&self) -> usize {
        self.places.len()
    }

    fn example(&self, index: usize, random: &mut ChaCha8Rng) -> Result<Clip> {
        let (video, start) = self.places[index];
        let Video { frames, sound, label } = &self.videos[video];
        let ClipOptions { frames: count, samples_per_frame, side, random_crops, .. } = self.options;
        let frames = &frames[start..start + count];
        let samples = sound.iter().copied().chain(std::iter::repeat(0.0));
        let samples = samples.skip(start * samples_per_frame).take(count * samples_per_frame);
        Ok(Clip {
            frames: if random_crops { cropped(frames, side, random) } else { frames.to_vec() },
            sound: samples.collect(),
            label: *label,
        })
    }

    fn remarks(&self) -> Remarks {
        self.remarks.clone()
    }
}

/// The same square of every frame, resized to `side` pixels.
fn cropped(frames: &[RgbImage], side: u32, random: &mut ChaCha8Rng) -> Vec<RgbImage> {
    let whole = frames.first().map_or(side, RgbImage::width);
    let size = random.random_range(whole.div_ceil(2)..=whole);
    let [x, y] = [(); 2].map(|()| random.random_range(0..=whole - size));
    let mirrored = random.random_bool(0.5);
    let crop = |frame| {
        let mut square = centre_square(&crop_imm(frame, x, y, size, size).to_image(), side);
        if mirrored {
            flip_horizontal_in_place(&mut square);
        }
        square
    };
    frames.iter().map(crop).collect()
}

impl ClipOptions {
    fn read(&self, path: &Path, label: Option<usize>, memory: &mut usize) -> Result<Video> {
        let refuse = |reason: String| Error::video(path, "use", reason);
        let rate = self.check().map_err(refuse)?;
        let opened = read_frames(path)?;
        let has_sound = opened.info().has_sound;
        // A crop of half the side then still has the clip's resolution.
        let side = if self.random_crops { 2 * self.side } else { self.side };
        let mut frames = Vec::new();
        for frame in opened.at_rate(self.frames_per_second) {
            let square = centre_square(&frame?, side);
            *memory = memory.checked_sub(square.len()).ok_or_else(|| {
                let reason = format!(
                    "with the videos before it, its square frames of {side}x{side} pixels exceed \
                     {MAX_MEMORY} bytes"
                );
                refuse(reason)
            })?;
            frames.push(square);
        }
        let sound =
            if has_sound { read_video_sound(path)?.at_rate(rate)?.samples } else { Vec::new() };
        Ok(Video { frames, sound, label })
    }

    /// The sound's sample rate, if the options are valid.
    fn check(&self) -> Result<u32, String> {
        let Self { frames, side, samples_per_frame, frames_per_second, stride, .. } = *self;
        let side = side as usize;
        let pixels = side.saturating_mul(side).saturating_mul(frames);
        if !(1..=MAX_PIXELS).contains(&pixels) || stride == 0 {
            return Err(format!(
                "clips of {frames} frames of {side}x{side} pixels every {stride} frames, expected \
                 at least one of each and at most {MAX_PIXELS} pixels per clip"
            ));
        }
        let rate = samples_per_frame as f64 * frames_per_second;
        let whole = rate as u32;
        if f64::from(whole) != rate || !sound::RATES.contains(&whole) {
            let (least, most) = sound::RATES.into_inner();
            return Err(format!(
                "{samples_per_frame} samples for each of {frames_per_second} frames per second, \
                 expected a whole number from {least} to {most} samples per second"
            ));
        }
        Ok(whole)
    }

    /// The frame range of a part of a video.
    fn range(&self, part: ClipPart, frames: usize) -> Range<usize> {
        // Negative and NaN durations count as 0.
        let last = |seconds: f64| {
            frames.saturating_sub((seconds * self.frames_per_second).round() as usize)
        };
        match part {
            ClipPart::Whole => 0..frames,
            ClipPart::AllBut { last_seconds } => 0..last(last_seconds),
            ClipPart::Last { seconds } => last(seconds)..frames,
        }
    }

    /// The first frame of each clip in a range.
    fn starts(&self, range: Range<usize>) -> std::iter::StepBy<Range<usize>> {
        let end = (range.end + 1).saturating_sub(self.frames).max(range.start);
        (range.start..end).step_by(self.stride)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use image::Rgb;
    use rand::SeedableRng;

    use super::*;
    use crate::sound::Sound;

    const OPTIONS: ClipOptions = ClipOptions {
        frames: 3,
        side: 4,
        samples_per_frame: 80,
        frames_per_second: 25.0,
        stride: 2,
        random_crops: false,
    };

    /// A folder of frames, each of its number as grey, with sound of which every frame's samples
    /// are a hundredth of its number.
    fn video(frames: u8, folder: &Path) -> PathBuf {
        let path = folder.join(format!("video {frames}"));
        std::fs::create_dir(&path).unwrap();
        for index in 0..frames {
            let frame = RgbImage::from_pixel(6, 5, Rgb([index; 3]));
            frame.save(path.join(format!("{index}.png"))).unwrap();
        }
        let sample = |index: usize| (index / 80) as f32 / 128.0;
        let samples = (0..usize::from(frames) * 80).map(sample).collect();
        Sound { samples, rate: 2000 }.write_wav(path.join("sound.wav")).unwrap();
        path
    }

    /// The greys of the frames of every clip.
    fn greys(clips: &Clips) -> Vec<Vec<u8>> {
        let clip = |index| clips.example(index, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        let greys = |clip: Clip| clip.frames.iter().map(|frame| frame.as_raw()[0]).collect();
        (0..clips.len()).map(clip).map(greys).collect()
    }

    fn error(video: &Path, part: ClipPart, options: ClipOptions) -> String {
        Clips::read([(video.to_owned(), None)], part, options).unwrap_err().to_string()
    }

    #[test]
    fn a_video_that_does_not_fit_in_memory_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let videos = [3, 6, 4].map(|frames| (video(frames, folder.path()), None));
        // Room for eight frames of 4x4 pixels.
        let clips = Clips::read_within(8 * 48, videos, ClipPart::Whole, OPTIONS).unwrap();
        assert_eq!(greys(&clips), [[0, 1, 2], [0, 1, 2]]);
        let left_out = clips.remarks().left_out;
        assert_eq!(left_out.len(), 1);
        assert!(left_out[0].contains("video 6") && left_out[0].contains("exceed"), "{left_out:?}");
    }

    #[test]
    fn clips_of_several_videos_follow_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let videos = [(video(6, folder.path()), Some(7)), (video(3, folder.path()), None)];
        let clips = Clips::read(videos, ClipPart::Whole, OPTIONS).unwrap();
        assert_eq!(greys(&clips), [[0, 1, 2], [2, 3, 4], [0, 1, 2]]);
        let label = |index| clips.example(index, &mut ChaCha8Rng::seed_from_u64(0)).unwrap().label;
        assert_eq!([label(0), label(1), label(2)], [Some(7), Some(7), None]);
    }

    #[test]
    fn the_sound_is_that_of_the_frames() {
        let folder = tempfile::tempdir().unwrap();
        let path = video(6, folder.path());
        let clips = Clips::read([(path, None)], ClipPart::Whole, OPTIONS).unwrap();
        let clip = clips.example(1, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        let expected: Array1<f32> = (160..400).map(|index| (index / 80) as f32 / 128.0).collect();
        assert_eq!(clip.sound, expected);
        assert!(clip.frames.iter().all(|frame| frame.dimensions() == (4, 4)));
    }

    #[test]
    fn what_is_held_out_is_in_no_other_clip() {
        let folder = tempfile::tempdir().unwrap();
        let path = video(10, folder.path());
        let of = |part| greys(&Clips::read([(path.clone(), None)], part, OPTIONS).unwrap());
        // 0.16 seconds are four frames.
        let training = of(ClipPart::AllBut { last_seconds: 0.16 });
        assert_eq!(training, [[0, 1, 2], [2, 3, 4]]);
        assert_eq!(of(ClipPart::Last { seconds: 0.16 }), [[6, 7, 8]]);
    }

    #[test]
    fn videos_without_sound_are_silent() {
        let folder = tempfile::tempdir().unwrap();
        let path = video(3, folder.path());
        std::fs::remove_file(path.join("sound.wav")).unwrap();
        let clips = Clips::read([(path, None)], ClipPart::Whole, OPTIONS).unwrap();
        let clip = clips.example(0, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        assert_eq!(clip.sound, Array1::<f32>::zeros(240));
    }

    #[test]
    fn random_crops_show_a_square_of_every_frame_or_its_mirror_image() {
        let folder = tempfile::tempdir().unwrap();
        // Brighter to the right and further down, and from frame to frame.
        for index in 0..3 {
            let level = |x, y| Rgb([10 * x as u8, 10 * y as u8, 50 * index]);
            let frame = RgbImage::from_fn(16, 16, level);
            frame.save(folder.path().join(format!("{index}.png"))).unwrap();
        }
        let options = ClipOptions { side: 8, random_crops: true, ..OPTIONS };
        let video = [(folder.path().to_owned(), None)];
        let clips = Clips::read(video, ClipPart::Whole, options).unwrap();
        let (mut mirrored, mut widths) = (0, Vec::new());
        for seed in 0..20 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let frames = clips.example(0, &mut random).unwrap().frames;
            assert!(frames.iter().all(|frame| frame.dimensions() == (8, 8)));
            let corners = |frame: &RgbImage| [*frame.get_pixel(0, 0), *frame.get_pixel(7, 7)];
            let [first, last] = corners(&frames[0]);
            assert!(last[1] > first[1]);
            mirrored += i32::from(last[0] < first[0]);
            widths.push(last[0].abs_diff(first[0]));
            for (index, frame) in (0..).zip(&frames) {
                let expected = [first, last].map(|Rgb([x, y, _])| Rgb([x, y, 50 * index]));
                assert_eq!(corners(frame), expected);
            }
        }
        assert!((1..20).contains(&mirrored), "{mirrored}");
        // From 8 of 16 pixels, 10 levels each, to all of them.
        assert!(widths.iter().min() < Some(&100) && widths.iter().max() > Some(&120), "{widths:?}");
    }

    #[test]
    fn a_damaged_video_is_left_out_and_named_and_a_missing_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (good, short) = (video(6, folder.path()), video(2, folder.path()));
        let (torn, noisy) = (folder.path().join("torn.gif"), video(5, folder.path()));
        std::fs::write(&torn, "GIF89a").unwrap();
        let samples = vec![0.5, f32::NAN, 0.25];
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 2000,
            bits_per_sample: 32,
            sample_format: hound::SampleFormat::Float,
        };
        let mut wav = hound::WavWriter::create(noisy.join("sound.wav"), spec).unwrap();
        samples.into_iter().for_each(|sample: f32| wav.write_sample(sample).unwrap());
        wav.finalize().unwrap();
        let read = |videos: &[&PathBuf]| {
            let videos = videos.iter().map(|video| ((*video).clone(), None));
            Clips::read(videos, ClipPart::Whole, OPTIONS)
        };
        let clips = read(&[&short, &good, &torn, &noisy]).unwrap();
        assert_eq!(greys(&clips), [[0, 1, 2], [2, 3, 4]]);
        let left_out = clips.remarks().left_out;
        let expected = [
            "video 2: cannot use the video: 2 frames to take clips from, expected 3 or more",
            "torn.gif: cannot read",
            "sound.wav: cannot read the sound: sample 1 is NaN, expected a finite number",
        ];
        assert_eq!(left_out.len(), expected.len(), "{left_out:?}");
        for (reason, expected) in left_out.iter().zip(expected) {
            assert!(reason.contains(expected), "{reason}");
        }
        assert!(read(&[&torn, &short]).unwrap_err().to_string().contains("torn.gif: "));
        let missing = folder.path().join("missing.gif");
        assert!(read(&[&good, &missing]).unwrap_err().to_string().contains("missing.gif: "));
    }

    #[test]
    fn parts_shorter_than_a_clip_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = video(5, folder.path());
        let short = error(&path, ClipPart::AllBut { last_seconds: 0.12 }, OPTIONS);
        let expected = "cannot use the video: 2 frames to take clips from, expected 3 or more";
        assert!(short.ends_with(expected), "{short}");
        // More than there is.
        let none = error(&path, ClipPart::AllBut { last_seconds: 9.0 }, OPTIONS);
        assert!(none.contains("0 frames to take clips from"), "{none}");
    }

    #[test]
    fn impossible_options_are_refused() {
        let message = |options| error(Path::new("film"), ClipPart::Whole, options);
        let never = message(ClipOptions { stride: 0, ..OPTIONS });
        assert!(never.contains("clips of 3 frames of 4x4 pixels every 0 frames"), "{never}");
        for huge in
            [ClipOptions { side: u32::MAX, ..OPTIONS }, ClipOptions { frames: 1 << 25, ..OPTIONS }]
        {
            assert!(message(huge).contains("at most 268435456 pixels per clip"));
        }
        let uneven = message(ClipOptions { frames_per_second: 29.97, ..OPTIONS });
        assert!(uneven.contains("80 samples for each of 29.97 frames per second"), "{uneven}");
        for rate in [f64::NAN, 1.0, 1e12] {
            let unheard = message(ClipOptions { frames_per_second: rate, ..OPTIONS });
            assert!(unheard.contains("expected a whole number from 1000 to 768000"), "{unheard}");
        }
    }
}
