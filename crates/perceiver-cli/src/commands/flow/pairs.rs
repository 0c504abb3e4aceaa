//! Pairs of consecutive frames, from images or a video.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use image::RgbImage;
use perceiver_data::{
    FileKind, FolderFiles, VideoFrames, list_frames, passed_over_note, read_frames, read_image,
};

use crate::output::{Output, path_text};
use crate::paths::expand_patterns;

/// Two consecutive frames.
#[derive(Debug)]
pub(in crate::commands) struct Pair {
    pub(in crate::commands) names: [String; 2],
    /// Name of the pair's output file without extension: that of the first frame.
    pub(in crate::commands) stem: OsString,
    pub(in crate::commands) frames: [RgbImage; 2],
}

/// The pairs of the input, in order; one pair is in memory at a time.
#[derive(Debug)]
pub(in crate::commands) enum Pairs {
    Images { paths: Vec<PathBuf>, index: usize, last: Option<RgbImage> },
    Video { name: String, frames: Box<VideoFrames>, index: usize, last: RgbImage },
}

impl Pairs {
    /// Opens frames or a video. A note says which files of a folder were passed over.
    pub(in crate::commands) fn open(inputs: &[PathBuf], output: Output) -> Result<Self> {
        let inputs = &expand_patterns(inputs)?[..];
        if let Some(missing) = inputs.iter().find(|input| !input.exists()) {
            bail!("{}: does not exist, expected frames or a video", missing.display());
        }
        let paths = match inputs {
            [folder] if folder.is_dir() => {
                let FolderFiles { files, passed_over } = list_frames(folder)?;
                if let Some(note) = passed_over_note(folder, FileKind::Image, &passed_over) {
                    output.note(&note);
                }
                files
            }
            [video] => return Self::video(video),
            images => images.to_vec(),
        };
        if let Some(folder) = paths.iter().find(|path| path.is_dir()) {
            bail!("{}: is a folder, expected images, or a single folder", folder.display());
        }
        if let [only] = &paths[..] {
            bail!("{}: is one frame, expected two or more", only.display());
        }
        Ok(Self::Images { paths, index: 0, last: None })
    }

    fn video(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let mut frames = Box::new(read_frames(path)?);
        match frames.next().transpose()? {
            Some(last) => Ok(Self::Video { name, frames, index: 0, last }),
            None => bail!("{name}: has no frames"),
        }
    }

    /// Number of pairs as far as it is known, at least one.
    pub(in crate::commands) fn count(&self) -> usize {
        let frames = match self {
            Self::Images { paths, .. } => paths.len(),
            Self::Video { frames, .. } => frames.info().frames.unwrap_or(0),
        };
        frames.max(2) - 1
    }

    /// Number of inputs that can fail on their own: nothing after a damaged frame of a video can be
    /// read.
    pub(in crate::commands) fn inputs(&self) -> usize {
        match self {
            Self::Images { .. } => self.count(),
            Self::Video { .. } => 1,
        }
    }

    /// Returns true if there are exactly two images.
    pub(in crate::commands) fn is_one(&self) -> bool {
        matches!(self, Self::Images { paths, .. } if paths.len() == 2)
    }

    pub(in crate::commands) fn frames_per_second(&self) -> Option<f64> {
        match self {
            Self::Images { .. } => None,
            Self::Video { frames, .. } => frames.info().frames_per_second,
        }
    }

    /// Output names of the pairs of images.
    pub(in crate::commands) fn stems(&self) -> Vec<OsString> {
        match self {
            Self::Images { paths, .. } => {
                paths[..paths.len() - 1].iter().map(|path| stem(path)).collect()
            }
            Self::Video { .. } => Vec::new(),
        }
    }

    /// A name for errors, and the next pair.
    pub(in crate::commands) fn next(&mut self) -> Option<(String, Result<Pair>)> {
        match self {
            Self::Images { paths, index, last } => {
                let first = paths.get(*index)?;
                let second = paths.get(*index + 1)?;
                *index += 1;
                let pair = images([first, second], last.take());
                *last = pair.as_ref().ok().map(|pair| pair.frames[1].clone());
                Some((format!("{} to {}", first.display(), second.display()), pair))
            }
            Self::Video { name, frames, index, last } => {
                let second = match frames.next() {
                    Some(Ok(second)) => second,
                    Some(Err(error)) => return Some((name.clone(), Err(error.into()))),
                    None if *index > 0 => return None,
                    None => {
                        *index += 1;
                        let error = anyhow!("{name}: is one frame, expected two or more");
                        return Some((name.clone(), Err(error)));
                    }
                };
                *index += 1;
                let frame = |index: usize| format!("{name} frame {index}");
                let names = [frame(*index), frame(*index + 1)];
                let first = std::mem::replace(last, second.clone());
                let stem = format!("{index:06}").into();
                Some((names[0].clone(), Ok(Pair { names, stem, frames: [first, second] })))
            }
        }
    }
}

fn images(paths: [&PathBuf; 2], first: Option<RgbImage>) -> Result<Pair> {
    let first = first.map_or_else(|| read_image(paths[0]), Ok)?;
    let second = read_image(paths[1])?;
    let names = paths.map(|path| path_text(path));
    Ok(Pair { names, stem: stem(paths[0]), frames: [first, second] })
}

fn stem(path: &Path) -> OsString {
    path.file_stem().unwrap_or_default().to_os_string()
}
