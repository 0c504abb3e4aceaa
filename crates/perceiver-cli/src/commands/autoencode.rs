use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, anyhow};
use clap::Args;
use perceiver_data::{
    Sound, VideoFormat, VideoFrames, names_folder, read_frames, read_sound, read_video_sound,
};
use perceiver_pipelines::{Autoencode, Head, Progress, Reconstruction, ScoredLabel, SquaredError};
use serde_json::{Value, json};

use super::Context;
use crate::args::{HeadArguments, ModelArguments, OutputArguments};
use crate::atomic_output::AtomicOutput;
use crate::bundled::Bundled;
use crate::output::{one_line, path_text, table, without_panic};
use crate::video_file::VideoFile;

const EXAMPLES: &str = "\
Examples:
  perceiver autoencode --model deepmind/multimodal-perceiver clip.mp4 -o again.mp4
  perceiver autoencode --model ./multimodal frames/ --audio sound.wav -o again/
  perceiver autoencode --model ./multimodal clip.mp4 -o again.wav --json";

/// Reconstruct a video with its sound from a few latents, and classify it
///
/// The model sees the centre square of the video at 25 frames per second, in clips of as many
/// frames as it reads at once; the last clip is padded with its last frame and silence. Sound is
/// resampled to the model's rate (48 kHz); only the first channel is used. PSNR compares the
/// reconstruction with the model's input.
///
/// The output is a .mp4 with sound, a .webp or .gif without sound, a .wav of the sound alone, or a
/// folder of PNG frames with sound.wav, which this command also reads.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AutoencodeArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    head: HeadArguments,
    /// Video: a folder of frames at 25 per second, optionally with sound.wav; an animated GIF,
    /// WebP or PNG; or a file that ffmpeg reads
    #[arg(value_name = "VIDEO")]
    video: PathBuf,
    /// Sound file to use instead of the video's sound: WAV, FLAC, Ogg Vorbis, MP3, or any other that
    /// ffmpeg reads
    #[arg(long, value_name = "FILE")]
    audio: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArguments,
    /// Number of labels to show
    #[arg(short = 'k', long, value_name = "N", default_value_t = 5)]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    top_k: usize,
}

pub(crate) fn run(arguments: &AutoencodeArguments, context: &Context) -> Result<()> {
    let mut sink = Sink::of(&arguments.output.output)?;
    let inputs = [Some(&arguments.video), arguments.audio.as_ref()];
    let inputs = inputs.into_iter().flatten().map(PathBuf::as_path);
    match sink.format {
        Some(VideoFormat::Folder) => arguments.output.check_folder(inputs)?,
        _ => arguments.output.check_file(inputs)?,
    }
    let frames = read_frames(&arguments.video)?;
    if let Some(note) = frames.note() {
        context.output.note(note);
    }
    let sound = sound(arguments, &frames)?;
    let device = context.open_device()?;
    arguments.head.only(Head::MultimodalAutoencoding)?;
    let folder = arguments.model.folder(Bundled::Autoencoder, context.output)?;
    let start = Instant::now();
    let pipeline = Autoencode::from_pretrained(folder, &device.device)?;
    context.output.warnings(pipeline.warnings());
    let sound = sound.map(|sound| at_model_rate(sound, &pipeline, context)).transpose()?;
    note_frame_rate(&frames, context);
    sink.open()?;

    let mut bar = context.output.progress("re-creating", "frames");
    let rate = frames.info().frames_per_second.unwrap_or(Autoencode::FRAMES_PER_SECOND);
    let expected = frames.info().frames.map_or(0, |frames| {
        (frames as f64 * Autoencode::FRAMES_PER_SECOND / rate).round() as usize
    });
    let seconds = sound.as_ref().map(Sound::seconds);
    let samples = sound.map(|sound| sound.samples).unwrap_or_default();
    let frames = frames.at_rate(Autoencode::FRAMES_PER_SECOND);
    let mut report = Report::new(seconds.is_some(), arguments.top_k);
    for clip in pipeline.clips(frames, samples) {
        let (done, clip) = (report.frames, clip?);
        let count = clip.frames.len();
        let total = expected.max(done + count);
        let reconstruction = pipeline.run_with_progress(&clip, |part| {
            let done = done + count * part.done / part.total.max(1);
            bar.at(Progress { done, total });
        })?;
        sink.write(&reconstruction)?;
        report.add(reconstruction);
    }
    drop(bar);
    sink.finish(pipeline.sample_rate(), report.has_sound, context)?;
    report.note_length(seconds, context);
    context.note_device(&device, start);
    let name = path_text(&arguments.output.output);
    context.output.result(report.as_json(&name), &report.as_text(&name))?;
    Ok(())
}

/// The sound to go with the frames.
fn sound(arguments: &AutoencodeArguments, frames: &VideoFrames) -> Result<Option<Sound>> {
    match &arguments.audio {
        // A damaged file can make a decoder panic, which is not a bug of this program.
        Some(audio) => without_panic(|| read_sound(audio))
            .map_err(|reason| anyhow!("{}: {reason}", audio.display()))?
            .map(Some)
            .map_err(anyhow::Error::from),
        None if frames.info().has_sound => Ok(Some(read_video_sound(&arguments.video)?)),
        None => Ok(None),
    }
}

fn at_model_rate(sound: Sound, pipeline: &Autoencode, context: &Context) -> Result<Sound> {
    let (from, to) = (sound.rate, pipeline.sample_rate());
    if from != to {
        context.output.note(&format!("sound resampled from {from} to {to} Hz"));
    }
    Ok(sound.at_rate(to)?)
}

fn note_frame_rate(frames: &VideoFrames, context: &Context) {
    let wanted = Autoencode::FRAMES_PER_SECOND;
    match frames.info().frames_per_second {
        Some(rate) if (rate - wanted).abs() > 0.001 => {
            context.output.note(&format!("{rate:.2} frames per second resampled to {wanted}"))
        }
        _ => {}
    }
}

/// The destination of the reconstruction.
struct Sink {
    path: PathBuf,
    /// `None` if only sound is written.
    format: Option<VideoFormat>,
    video: Option<VideoFile>,
    samples: Vec<f32>,
}

impl Sink {
    fn of(path: &Path) -> Result<Self> {
        let is_sound = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("wav"));
        let is_sound = is_sound && !names_folder(path);
        let format = if is_sound { None } else { Some(VideoFormat::of(path)?) };
        Ok(Self { path: path.to_path_buf(), format, video: None, samples: Vec::new() })
    }

    fn open(&mut self) -> Result<()> {
        if self.format.is_some() {
            self.video = Some(VideoFile::create(&self.path, Autoencode::FRAMES_PER_SECOND)?);
        }
        Ok(())
    }

    fn write(&mut self, clip: &Reconstruction) -> Result<()> {
        self.samples.extend(&clip.samples);
        let Some(video) = &mut self.video else { return Ok(()) };
        clip.frames.iter().try_for_each(|frame| video.write(frame))
    }

    /// Completes the video, with sound if the input had any.
    fn finish(self, rate: u32, has_sound: bool, context: &Context) -> Result<()> {
        let sound = Sound { samples: self.samples, rate };
        let Some(video) = self.video else {
            let output = AtomicOutput::file(&self.path)?;
            sound.write_wav(output.path()).map_err(|error| output.failed(&error))?;
            return output.finish();
        };
        let holds_sound = self.format.is_some_and(VideoFormat::holds_sound);
        if has_sound && !holds_sound {
            context.output.note("this format does not support sound: .mp4, .wav and folders do");
        }
        video.finish((has_sound && holds_sound).then_some(&sound))?;
        Ok(())
    }
}

/// Summary of all clips.
struct Report {
    has_sound: bool,
    top_k: usize,
    frames: usize,
    picture_error: SquaredError,
    sound_error: SquaredError,
    /// Labels of each clip, best first.
    clips: Vec<Vec<ScoredLabel>>,
}

impl Report {
    fn new(has_sound: bool, top_k: usize) -> Self {
        let (picture_error, sound_error) = (SquaredError::default(), SquaredError::default());
        Self { has_sound, top_k, frames: 0, picture_error, sound_error, clips: Vec::new() }
    }

    fn add(&mut self, clip: Reconstruction) {
        self.frames += clip.frames.len();
        self.picture_error.merge(clip.picture_error);
        self.sound_error.merge(clip.sound_error);
        self.clips.push(clip.labels);
    }

    fn seconds(&self) -> f64 {
        self.frames as f64 / Autoencode::FRAMES_PER_SECOND
    }

    fn note_length(&self, sound: Option<f64>, context: &Context) {
        let pictures = self.seconds();
        let note = match sound {
            None => "no sound: the model heard silence".to_owned(),
            Some(sound) if (sound - pictures).abs() < 1.0 / Autoencode::FRAMES_PER_SECOND => return,
            Some(sound) => {
                let end = if sound < pictures { "ends in silence" } else { "was cut" };
                format!("{sound:.2} s of sound for {pictures:.2} s of pictures: it {end}")
            }
        };
        context.output.note(&note);
    }

    /// The most probable labels, averaged over all clips.
    fn labels(&self) -> Vec<ScoredLabel> {
        let mut labels = self.clips.first().cloned().unwrap_or_default();
        labels.sort_by_key(|label| label.index);
        labels.iter_mut().for_each(|label| label.score = 0.0);
        for label in self.clips.iter().flatten() {
            labels[label.index].score += label.score / self.clips.len() as f64;
        }
        labels.sort_by(|one, other| other.score.total_cmp(&one.score));
        labels.truncate(self.top_k);
        labels
    }

    fn as_json(&self, name: &str) -> Value {
        // The ratio without any error is infinite, which JSON writes as null.
        let clips =
            self.clips.iter().map(|labels| as_json(&labels[..self.top_k.min(labels.len())]));
        json!({
            "output": name,
            "frames": self.frames,
            "seconds": self.seconds(),
            "picture_psnr": self.picture_error.psnr(),
            "sound_psnr": self.has_sound.then(|| self.sound_error.psnr()),
            "labels": as_json(&self.labels()),
            "clips": clips.collect::<Vec<_>>(),
        })
    }

    fn as_text(&self, name: &str) -> String {
        let clips = self.clips.len();
        let clips = format!("{clips} clip{}", if clips == 1 { "" } else { "s" });
        let decibels = |error: SquaredError| format!("{:.2} dB", error.psnr());
        let mut rows = vec![[decibels(self.picture_error), "PSNR of the pictures".to_owned()]];
        if self.has_sound {
            rows.push([decibels(self.sound_error), "PSNR of the sound".to_owned()]);
        }
        let labels = self.labels();
        rows.extend(
            labels
                .iter()
                .map(|label| [format!("{:.2} %", label.score * 100.0), one_line(&label.name)]),
        );
        let (frames, seconds) = (self.frames, self.seconds());
        let frames = format!("{frames} frame{}", if frames == 1 { "" } else { "s" });
        format!("{}: {frames} in {clips}, {seconds:.2} s\n{}", one_line(name), table(&rows))
    }
}

fn as_json(labels: &[ScoredLabel]) -> Value {
    let label = |label: &ScoredLabel| json!({ "label": label.name, "index": label.index, "score": label.score });
    labels.iter().map(label).collect()
}
