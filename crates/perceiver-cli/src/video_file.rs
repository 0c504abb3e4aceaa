use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use image::RgbImage;
use perceiver_data::{Sound, VideoFormat, VideoWriter};

use crate::atomic_output::AtomicOutput;

/// A video, an animation or a folder of frames, which appears at its path only once it is complete.
#[derive(Debug)]
pub(crate) struct VideoFile {
    path: PathBuf,
    format: VideoFormat,
    output: AtomicOutput,
    writer: Box<VideoWriter>,
    frames: usize,
}

impl VideoFile {
    pub(crate) fn create(path: &Path, frames_per_second: f64) -> Result<Self> {
        let format = VideoFormat::of(path)?;
        let output = match format {
            VideoFormat::Folder => AtomicOutput::folder(path)?,
            _ => AtomicOutput::file(path)?,
        };
        let writer = VideoWriter::create(output.path(), format, frames_per_second);
        let writer = Box::new(writer.map_err(|error| output.named(&error))?);
        Ok(Self { path: path.to_path_buf(), format, output, writer, frames: 0 })
    }

    pub(crate) fn write(&mut self, frame: &RgbImage) -> Result<()> {
        self.writer.write(frame).map_err(|error| self.output.failed(&error))?;
        self.frames += 1;
        Ok(())
    }

    /// Number of frames so far.
    pub(crate) fn frames(&self) -> usize {
        self.frames
    }

    /// Completes the video; returns its path and its number of frames.
    pub(crate) fn finish(self, sound: Option<&Sound>) -> Result<(PathBuf, usize)> {
        let Self { path, format, output, writer, frames } = self;
        writer.finish(sound).map_err(|error| output.failed(&error))?;
        output.finish()?;
        if format == VideoFormat::Folder {
            remove_rest(&path, frames, sound.is_some())?;
        }
        Ok((path, frames))
    }
}

/// Removes frames and sound that an earlier, longer video left in the same folder.
fn remove_rest(folder: &Path, frames: usize, has_sound: bool) -> Result<()> {
    let cannot = || format!("{}: cannot remove older frames", folder.display());
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_suffix(".png").filter(|digits| digits.len() == 6);
        let number = number.and_then(|digits| digits.parse::<usize>().ok());
        if number.is_some_and(|number| number > frames) || (name == "sound.wav" && !has_sound) {
            fs::remove_file(entry.path()).with_context(cannot)?;
        }
    }
    Ok(())
}
