//! Where flow is written.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use image::{GenericImage, ImageFormat, Rgb, RgbImage};
use ndarray::{Array3, Axis, Zip};
use perceiver_data::flow::{Colours, Palette, arrows, encode_flo, encode_kitti, largest_motion};
use perceiver_data::names_folder;
use perceiver_pipelines::Interpolation;

use super::pairs::{Pair, Pairs};
use super::tracks::Tracks;
use super::{Estimated, Form};
use crate::atomic_output::write_whole;
use crate::video_file::VideoFile;

/// Motion that DeepMind's notebook gives the strongest colour, in pixels.
const NOTEBOOK_MOTION: f32 = 24.0;

#[derive(Debug)]
pub(super) enum Target {
    Nothing,
    /// The file of a single pair.
    File {
        path: PathBuf,
        form: Form,
        style: Style,
    },
    /// A file per pair, in a folder per form if there are several.
    Folder {
        path: PathBuf,
        forms: Vec<Form>,
        style: Style,
    },
    /// The frames themselves, with more between every two.
    Between {
        video: VideoFile,
        /// Number of frames between two.
        between: usize,
        last: Option<RgbImage>,
    },
    /// Points followed through the frames.
    Tracks(Box<Tracks>),
    /// A picture for each pair.
    Video {
        video: VideoFile,
        form: Form,
        style: Style,
    },
}

/// The look of pictures.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) palette: Palette,
    pub(super) max_motion: Option<f32>,
    pub(super) has_legend: bool,
    /// If true, files of numbers hold unknown motion where the second frame hides a pixel.
    pub(super) marks_hidden: bool,
}

impl Target {
    /// Checks that everything can be written, before there is anything to write.
    pub(super) fn open(
        path: &Path,
        formats: &[Form],
        style: Style,
        pairs: &Pairs,
        fps: f64,
    ) -> Result<Self> {
        if names_folder(path) {
            return Self::folder(path, formats, style, pairs);
        }
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some(ending @ ("flo" | "png")) => {
                let form = one_form(path, ending, formats)?;
                if !pairs.is_one() {
                    let path = path.display();
                    bail!("{path}: holds the flow of two frames, expected a folder or a video");
                }
                Ok(Self::File { path: path.to_path_buf(), form, style })
            }
            Some(ending @ ("mp4" | "webp" | "gif")) => {
                let form = one_form(path, ending, formats)?;
                Ok(Self::Video { video: VideoFile::create(path, fps)?, form, style })
            }
            ending => bail!(
                "{}: unknown extension .{}, expected .flo, .png, .mp4, .webp, .gif or a folder's name",
                path.display(),
                ending.unwrap_or_default()
            ),
        }
    }

    fn folder(path: &Path, formats: &[Form], style: Style, pairs: &Pairs) -> Result<Self> {
        let (stems, mut seen) = (pairs.stems(), HashSet::new());
        if let Some(twice) = stems.iter().find(|stem| !seen.insert(*stem)) {
            let (path, twice) = (path.display(), twice.display());
            bail!("{path}: two frames are named {twice}, expected distinct names");
        }
        let forms = if formats.is_empty() { vec![Form::Colours] } else { formats.to_vec() };
        Ok(Self::Folder { path: path.to_path_buf(), forms, style })
    }

    /// Frames with `between` more between every two.
    pub(super) fn between(path: &Path, between: usize, fps: f64) -> Result<Self> {
        Ok(Self::Between { video: VideoFile::create(path, fps)?, between, last: None })
    }

    /// The forms that are written.
    pub(super) fn forms(&self) -> &[Form] {
        match self {
            Self::Nothing | Self::Between { .. } | Self::Tracks(_) => &[],
            Self::File { form, .. } | Self::Video { form, .. } => std::slice::from_ref(form),
            Self::Folder { forms, .. } => forms,
        }
    }

    /// Writes the flow of a pair; returns the written files.
    pub(super) fn write(&mut self, pair: &Pair, flow: Estimated<'_>) -> Result<Vec<PathBuf>> {
        match self {
            Self::Nothing => Ok(Vec::new()),
            Self::File { path, form, style } => {
                write_whole(path, &style.bytes(*form, pair, flow)?)?;
                Ok(vec![path.clone()])
            }
            Self::Folder { path, forms, style } => {
                let mut written = Vec::new();
                for &form in &*forms {
                    let folder =
                        if forms.len() == 1 { path.clone() } else { path.join(form.name()) };
                    let is_new = !folder.exists();
                    let created = fs::create_dir_all(&folder);
                    created.with_context(|| format!("{}: cannot create", folder.display()))?;
                    let ending = if form == Form::Flo { "flo" } else { "png" };
                    let mut name = pair.stem.clone();
                    name.push(".");
                    name.push(ending);
                    let file = folder.join(name);
                    // Only a folder that is still empty can be removed.
                    write_whole(&file, &style.bytes(form, pair, flow)?).inspect_err(|_| {
                        if is_new && fs::remove_dir(&folder).is_ok() && folder != *path {
                            let _ = fs::remove_dir(&*path);
                        }
                    })?;
                    written.push(file);
                }
                Ok(written)
            }
            Self::Tracks(tracks) => tracks.write(pair, flow).map(|()| Vec::new()),
            Self::Between { video, between, last } => {
                let [first, second] = &pair.frames;
                let backward = flow.backward.expect("the motion back was estimated");
                // The frame before one that cannot be read.
                if let Some(last) = last.take().filter(|last| last != first) {
                    video.write(&last)?;
                }
                video.write(first)?;
                let motion = Interpolation::new([first, second], flow.flow, backward);
                for index in 1..=*between {
                    video.write(&motion.at(index as f32 / (*between + 1) as f32))?;
                }
                *last = Some(second.clone());
                Ok(Vec::new())
            }
            Self::Video { video, form, style } => {
                video.write(&style.picture(*form, pair, flow)).map(|()| Vec::new())
            }
        }
    }

    /// Moves a video to its destination, if it has frames.
    pub(super) fn finish(self) -> Result<Option<(PathBuf, usize)>> {
        match self {
            Self::Tracks(tracks) => tracks.finish(),
            Self::Between { mut video, last: Some(last), .. } => {
                video.write(&last)?;
                video.finish(None).map(Some)
            }
            Self::Video { video, .. } if video.frames() > 0 => video.finish(None).map(Some),
            _ => Ok(None),
        }
    }
}

/// The form for a file with this extension.
fn one_form(path: &Path, ending: &str, formats: &[Form]) -> Result<Form> {
    let form = match (formats, ending) {
        ([], "flo") => Form::Flo,
        ([], "png") => Form::Colours,
        ([], _) => Form::SideBySide,
        ([form], _) => *form,
        _ => bail!("{}: is one file, expected a folder for several forms", path.display()),
    };
    let fits = match ending {
        "flo" => form == Form::Flo,
        "png" => form != Form::Flo,
        _ => !matches!(form, Form::Flo | Form::Kitti),
    };
    if !fits {
        bail!("{}: does not support the form {}", path.display(), form.name());
    }
    Ok(form)
}

impl Style {
    fn bytes(&self, form: Form, pair: &Pair, flow: Estimated<'_>) -> Result<Vec<u8>> {
        match form {
            Form::Flo => Ok(encode_flo(self.marked(flow).view())),
            Form::Kitti => Ok(encode_kitti(self.marked(flow).view())),
            Form::Colours | Form::Arrows | Form::SideBySide | Form::Occlusion => {
                let mut bytes = Cursor::new(Vec::new());
                self.picture(form, pair, flow).write_to(&mut bytes, ImageFormat::Png)?;
                Ok(bytes.into_inner())
            }
        }
    }

    /// The flow for a file of numbers, in which NaN is unknown.
    fn marked<'a>(&self, estimated: Estimated<'a>) -> Cow<'a, Array3<f32>> {
        let Some(hidden) = estimated.hidden.filter(|_| self.marks_hidden) else {
            return Cow::Borrowed(estimated.flow);
        };
        let mut flow = estimated.flow.clone();
        Zip::from(flow.lanes_mut(Axis(2))).and(hidden).for_each(|mut vector, &hidden| {
            if hidden {
                vector.fill(f32::NAN);
            }
        });
        Cow::Owned(flow)
    }

    fn picture(&self, form: Form, pair: &Pair, estimated: Estimated<'_>) -> RgbImage {
        let flow = estimated.flow;
        if form == Form::Occlusion {
            let hidden = estimated.hidden.expect("hidden pixels were found");
            let (height, width) = hidden.dim();
            return RgbImage::from_fn(width as u32, height as u32, |x, y| {
                Rgb([if hidden[[y as usize, x as usize]] { 255 } else { 0 }; 3])
            });
        }
        let largest = || largest_motion(flow.view());
        let notebook = form != Form::Arrows && self.palette == Palette::Hsv;
        let largest = if notebook { NOTEBOOK_MOTION } else { largest() };
        let colours = Colours::new(self.palette, self.max_motion.unwrap_or(largest));
        let frame = &pair.frames[0];
        let mut picture = match form {
            Form::Arrows => arrows(frame, flow.view(), &colours),
            _ => colours.picture(flow.view()),
        };
        if self.has_legend {
            colours.draw_legend(&mut picture);
        }
        if form != Form::SideBySide {
            return picture;
        }
        let mut both = RgbImage::new(frame.width() * 2, frame.height());
        both.copy_from(frame, 0, 0).expect("it fits the left half");
        both.copy_from(&picture, frame.width(), 0).expect("it fits the right half");
        both
    }
}
