//! Features of motion: pairs of frames, and clips of videos.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use perceiver_data::{
    FileKind, FolderFiles, passed_over_note, read_frames, read_video_sound, video_files,
};
use perceiver_pipelines::{Autoencode, OpticalFlow, Progress};

use super::{Collected, Take};
use crate::batch::Batch;
use crate::commands::flow::Pairs;
use crate::output::path_text;
use crate::paths::expand_patterns;

impl Take<'_> {
    /// Features of each pair of consecutive frames.
    pub(super) fn pairs(&self, collected: &mut Collected) -> Result<Batch> {
        self.refuse_texts("pairs of frames")?;
        let mut pairs = Pairs::open(self.arguments.inputs.paths(), self.context.output)?;
        let device = self.context.open_device()?;
        let start = Instant::now();
        let pipeline = OpticalFlow::from_pretrained(self.folder, &device.device)?;
        self.context.output.warnings(pipeline.warnings());

        let mut bar = self.context.output.progress("features", "pairs");
        let (mut batch, mut done) = (Batch::new(pairs.inputs()), 0);
        while let Some((name, pair)) = pairs.next() {
            bar.at(Progress { done, total: pairs.count().max(done + 1) });
            batch.run(&name, || {
                let pair = pair?;
                let [first, second] = &pair.frames;
                let latents = pipeline.latents(first, second)?;
                collected.add(pair.names.join(" to "), &latents)
            })?;
            done += 1;
        }
        drop(bar);
        self.context.note_device(&device, start);
        Ok(batch)
    }

    /// Features of each clip of each video.
    pub(super) fn clips(&self, collected: &mut Collected) -> Result<Batch> {
        self.refuse_texts("videos")?;
        let mut videos = Vec::new();
        for path in expand_patterns(self.arguments.inputs.paths())? {
            let FolderFiles { files, passed_over } = video_files(&path)?;
            if let Some(note) = passed_over_note(&path, FileKind::Video, &passed_over) {
                self.context.output.note(&note);
            }
            videos.extend(files);
        }
        let device = self.context.open_device()?;
        let start = Instant::now();
        let pipeline = Autoencode::from_pretrained(self.folder, &device.device)?;
        self.context.output.warnings(pipeline.warnings());

        let mut bar = self.context.output.progress("features", "videos");
        let mut batch = Batch::new(videos.len());
        for (done, video) in videos.iter().enumerate() {
            bar.at(Progress { done, total: videos.len() });
            let (name, shown) = (video.display().to_string(), path_text(video));
            batch.run(&name, || self.collect_video(&pipeline, video, &shown, collected))?;
        }
        drop(bar);
        self.context.note_device(&device, start);
        Ok(batch)
    }

    fn refuse_texts(&self, expected: &str) -> Result<()> {
        if self.arguments.inputs.are_texts() {
            bail!("{}: takes {expected}, not texts", self.folder.display());
        }
        Ok(())
    }

    fn collect_video(
        &self,
        pipeline: &Autoencode,
        video: &Path,
        name: &str,
        collected: &mut Collected,
    ) -> Result<()> {
        let frames = read_frames(video)?;
        if let Some(note) = frames.note() {
            self.context.output.note(note);
        }
        let samples = if frames.info().has_sound {
            read_video_sound(video)?.at_rate(pipeline.sample_rate())?.samples
        } else {
            Vec::new()
        };
        let frames = frames.at_rate(Autoencode::FRAMES_PER_SECOND);
        let mut first = 1;
        for clip in pipeline.clips(frames, samples) {
            let clip = clip?;
            let last = first + clip.frames.len() - 1;
            collected.add(format!("{name} frames {first} to {last}"), &pipeline.latents(&clip)?)?;
            first = last + 1;
        }
        Ok(())
    }
}
