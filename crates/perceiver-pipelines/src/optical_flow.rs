mod interpolate;
mod occlusion;
mod pyramid;
mod smoothing;
mod tile_model;
mod warp;

use std::borrow::Cow;
use std::iter;
use std::path::Path;

use burn::tensor::{Device, Tensor};
use image::RgbImage;
use ndarray::{Array2, Array3, Axis, Zip, s};
use perceiver_data::flow::Tiles;
use perceiver_models::{Head, LoadReport, PerceiverForOpticalFlow, hub};

pub use self::interpolate::Interpolation;
pub use self::occlusion::{follow_point, hidden_pixels};
use self::pyramid::{resized_flow, resized_frame, sizes};
use self::smoothing::median;
use self::tile_model::TileModel;
use self::warp::warped;
use crate::latent_rows::latent_rows;
use crate::model_files::{ModelFiles, Opened};
use crate::{Error, Progress, Result};

/// Estimates the motion of every pixel from one frame to the next.
///
/// Frames larger than the model's are split into tiles, whose flow is blended. The model runs on a few
/// tiles at a time, so memory does not grow with their number.
///
/// A model whose configuration names its largest motion follows larger ones coarse to fine: it reads
/// the frames at a small size, moves the second one back by the flow it found, reads them again for what
/// is left, and repeats this at larger sizes up to the frames' own. Identical frames then have exactly
/// zero flow. Other models read each tile once, as the reference does, unless
/// [`levels`](Self::levels) or [`passes`](Self::passes) is set.
///
/// ```no_run
/// use burn::tensor::Device;
/// use perceiver_pipelines::{OpticalFlow, read_image};
///
/// # fn main() -> perceiver_pipelines::Result<()> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = OpticalFlow::from_pretrained("optical-flow-perceiver", &Device::flex())?;
/// let (first, second) = (read_image("first.png")?, read_image("second.png")?);
/// let flow = pipeline.run(&first, &second)?;
/// println!("the first pixel moves {} to the right, {} down", flow[[0, 0, 0]], flow[[0, 0, 1]]);
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # Source
/// Perceiver IO section 4.2; DeepMind's notebook, because transformers has only the model. Coarse to
/// fine: SpyNet (Ranjan and Black 2017), with one model for all levels.
///
/// # Differences
/// Tiles are placed as [`Tiles`] says: none twice, and none past the end of the frame.
#[derive(Debug, Clone)]
pub struct OpticalFlow {
    model: TileModel,
    /// The largest motion that the model was trained on, in pixels.
    trained_motion: Option<f32>,
    levels: Option<usize>,
    passes: Option<usize>,
    report: LoadReport,
    warnings: Vec<String>,
    pad: bool,
}

/// Passes of a level, unless they are set: the second one corrects the first.
const PASSES: usize = 2;

/// Tiles overlap by this part of their sides where later passes correct what their borders get wrong.
const OVERLAP: usize = 4;

/// Most passes of a level: later ones change nothing.
const MAX_PASSES: usize = 100;

/// A size of the frames, the tiles of that size, and how often they are read.
struct Level {
    size: [usize; 2],
    tiles: Tiles,
    passes: usize,
}

impl OpticalFlow {
    /// Loads a model from a folder, or by a hub id such as `deepmind/optical-flow-perceiver`.
    ///
    /// # Errors
    /// [`Error::WrongHead`] if the model is not for optical flow; [`Error::Model`] if it cannot be
    /// loaded.
    pub fn from_pretrained(source: impl AsRef<Path>, device: &Device) -> Result<Self> {
        Self::load(ModelFiles::folder(&hub::folder(source)?), device)
    }

    /// Loads a model from files in memory: names and contents of `config.json` and
    /// `model.safetensors`.
    ///
    /// # Errors
    /// As [`from_pretrained`](Self::from_pretrained).
    pub fn from_files(files: &[(&str, &[u8])], device: &Device) -> Result<Self> {
        Self::load(ModelFiles::memory(files), device)
    }

    fn load(files: ModelFiles<'_>, device: &Device) -> Result<Self> {
        files.config(|head| head == Head::OpticalFlow, "a PerceiverForOpticalFlow")?;
        let Opened { head: model, config, report } = files.open(device)?;
        let trained_motion = PerceiverForOpticalFlow::trained_motion(&config);
        let trained_motion = trained_motion.map_err(|error| files.named(error))?;
        let warnings = report.warnings();
        let tile = [config.train_size[0], config.train_size[1]];
        let model = TileModel::new(model, tile, device);
        Ok(Self { model, trained_motion, levels: None, passes: None, report, warnings, pad: false })
    }

    /// Sets the number of sizes at which frames are read, at least 1: their own and smaller ones, as
    /// many as hold a tile. With 1, frames are read at their own size only, and once unless
    /// [`passes`](Self::passes) is set.
    ///
    /// By default, as many as fit if the model's configuration names its largest motion, otherwise 1.
    #[must_use]
    pub fn levels(mut self, levels: usize) -> Self {
        self.levels = Some(levels.max(1));
        self
    }

    /// Sets how often frames of each size are read, from 1 to 100 times: each pass estimates the motion
    /// that the previous ones left. By default twice, but once at the frames' own size after smaller
    /// ones, where most of the time would go, and once with a single level that is asked for.
    #[must_use]
    pub fn passes(mut self, passes: usize) -> Self {
        self.passes = Some(passes.clamp(1, MAX_PASSES));
        self
    }

    /// If `pad` is true, extends frames smaller than the model's by repeating their last row and
    /// column. By default, such frames are an error.
    #[must_use]
    pub fn pad(mut self, pad: bool) -> Self {
        self.pad = pad;
        self
    }

    /// Warnings about the model's files, one line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Height and width of the model's input in pixels: the smallest size of a frame.
    #[must_use]
    pub fn tile(&self) -> [usize; 2] {
        self.model.size()
    }

    /// Estimates the motion from the first frame to the second, in pixels.
    ///
    /// # Shapes
    /// - returns: `[height, width, 2]`, first to the right, then down
    ///
    /// # Errors
    /// [`Error::FrameSizes`] if the frames differ in size; [`Error::FrameTooSmall`] if they are
    /// smaller than the model's, unless [`pad`](Self::pad) is set.
    pub fn run(&self, first: &RgbImage, second: &RgbImage) -> Result<Array3<f32>> {
        self.run_with_progress(first, second, |_| ())
    }

    /// Like [`run`](Self::run); `on_progress` counts tiles.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with_progress(
        &self,
        first: &RgbImage,
        second: &RgbImage,
        on_progress: impl FnMut(Progress),
    ) -> Result<Array3<f32>> {
        let (frames, size) = self.framed([first, second])?;
        let flow = self.estimate([&frames[0], &frames[1]], size, on_progress);
        self.report.check_outputs(flow.iter().copied())?;
        Ok(flow.slice_move(s![..first.height() as usize, ..first.width() as usize, ..]))
    }

    /// Estimates the motion from each frame to the next, for example through a video that
    /// [`read_frames`](crate::read_frames) reads. A single frame gives no flow.
    ///
    /// # Errors
    /// Each pair has its own result, with the errors of [`run`](Self::run). An error of `frames`
    /// is passed on and ends the iterator.
    pub fn run_all<I, E>(
        &self,
        frames: I,
    ) -> impl Iterator<Item = Result<Array3<f32>>> + use<'_, I, E>
    where
        I: IntoIterator<Item = Result<RgbImage, E>>,
        E: Into<Error>,
    {
        let mut frames = frames.into_iter().fuse();
        let mut first: Option<RgbImage> = None;
        let mut is_over = false;
        iter::from_fn(move || {
            if is_over {
                return None;
            }
            loop {
                let second = match frames.next()? {
                    Ok(second) => second,
                    Err(error) => {
                        is_over = true;
                        return Some(Err(error.into()));
                    }
                };
                let flow = first.as_ref().map(|first| self.run(first, &second));
                first = Some(second);
                if flow.is_some() {
                    return flow;
                }
            }
        })
    }

    /// Encodes two frames into the model's latents, tile after tile from left to right and down.
    ///
    /// # Shapes
    /// - returns: `[tiles · latents, latent_channels]`
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn latents(&self, first: &RgbImage, second: &RgbImage) -> Result<Array2<f32>> {
        let (frames, size) = self.framed([first, second])?;
        let frames = [frames[0].as_ref(), frames[1].as_ref()];
        let tiles = self.tiles(size);
        let latents =
            tiles.starts().iter().map(|start| self.model.latents(frames, *start)).collect();
        let rows = latent_rows(Tensor::cat(latents, 1));
        self.report.check_outputs(rows.iter().copied())?;
        Ok(rows)
    }

    /// Frames at least as large as the model's, and their height and width.
    fn framed<'a>(
        &self,
        frames: [&'a RgbImage; 2],
    ) -> Result<([Cow<'a, RgbImage>; 2], [usize; 2])> {
        let [first, second] = frames;
        let (width, height) = first.dimensions();
        if first.dimensions() != second.dimensions() {
            return Err(Error::FrameSizes { first: (width, height), second: second.dimensions() });
        }
        let (rows, columns) = (height as usize, width as usize);
        let [minimum_height, minimum_width] = self.model.size();
        let size = if self.pad && rows > 0 && columns > 0 {
            [rows.max(minimum_height), columns.max(minimum_width)]
        } else {
            [rows, columns]
        };
        if size[0] < minimum_height || size[1] < minimum_width {
            return Err(Error::FrameTooSmall { width, height, minimum_width, minimum_height });
        }
        if size == [rows, columns] {
            return Ok((frames.map(Cow::Borrowed), size));
        }
        Ok((frames.map(|image| Cow::Owned(padded(image, size))), size))
    }

    /// The flow of frames of this height and width.
    fn estimate(
        &self,
        frames: [&RgbImage; 2],
        size: [usize; 2],
        mut on_progress: impl FnMut(Progress),
    ) -> Array3<f32> {
        let sizes = self.sizes(size);
        let own = sizes.len() - 1;
        let level = |(index, size)| self.level(size, index > 0 && index == own);
        let levels: Vec<_> = sizes.into_iter().enumerate().map(level).collect();
        let total = levels.iter().map(|level| level.passes * level.tiles.starts().len()).sum();
        if self.is_refined() && frames[0] == frames[1] {
            on_progress(Progress { done: total, total });
            return Array3::zeros((size[0], size[1], 2));
        }
        let mut done = 0;
        on_progress(Progress { done, total });
        let mut on_tile = || {
            done += 1;
            on_progress(Progress { done, total });
        };
        match &levels[..] {
            [level] if !self.is_refined() => self.model.flow(frames, &level.tiles, on_tile),
            levels => levels.iter().fold(Array3::zeros((1, 1, 2)), |flow, level| {
                self.refined(flow, frames, level, &mut on_tile)
            }),
        }
    }

    /// Adds to the flow of the next coarser level what is left at this one.
    fn refined(
        &self,
        coarse: Array3<f32>,
        frames: [&RgbImage; 2],
        level: &Level,
        on_tile: &mut impl FnMut(),
    ) -> Array3<f32> {
        let [first, second] = frames.map(|frame| resized_frame(frame, level.size));
        let mut flow = resized_flow(coarse.view(), level.size);
        for _ in 0..level.passes {
            let back = warped(&second, flow.view());
            let left = self.model.flow([&first, &back], &level.tiles, &mut *on_tile);
            self.add(&mut flow, &left);
            flow = median(flow.view());
        }
        flow
    }

    /// Adds what is left of the motion. Vectors longer than those that the model knows are guesses, and
    /// are shortened to that.
    fn add(&self, flow: &mut Array3<f32>, left: &Array3<f32>) {
        let limit = self.trained_motion.unwrap_or(f32::INFINITY);
        let (vectors, left) = (flow.lanes_mut(Axis(2)), left.lanes(Axis(2)));
        Zip::from(vectors).and(left).for_each(|mut vector, left| {
            let length = left[0].hypot(left[1]);
            vector.scaled_add(if length > limit { limit / length } else { 1.0 }, &left);
        });
    }

    /// Returns true if frames are read more than once.
    fn is_refined(&self) -> bool {
        self.levels.map_or(self.trained_motion.is_some(), |levels| levels > 1)
            || self.passes.is_some_and(|passes| passes > 1)
    }

    /// The sizes at which frames are read, the coarsest first.
    fn sizes(&self, frame: [usize; 2]) -> Vec<[usize; 2]> {
        let by_rule = if self.trained_motion.is_some() { usize::MAX } else { 1 };
        sizes(frame, self.model.size(), self.levels.unwrap_or(by_rule))
    }

    fn level(&self, size: [usize; 2], follows_coarser: bool) -> Level {
        let passes = |by_rule| self.passes.unwrap_or(by_rule);
        if !self.is_refined() {
            return Level { size, tiles: self.tiles(size), passes: passes(1) };
        }
        let tile = self.model.size();
        let tiles = Tiles::overlapping(size, tile, tile.map(|side| side / OVERLAP));
        let tiles = tiles.expect("every level holds a tile");
        Level { size, tiles, passes: passes(if follows_coarser { 1 } else { PASSES }) }
    }

    /// The tiles of the reference.
    fn tiles(&self, size: [usize; 2]) -> Tiles {
        Tiles::new(size, self.model.size()).expect("every level holds a tile")
    }
}

/// The image, extended by repeating its last column and row.
fn padded(image: &RgbImage, [height, width]: [usize; 2]) -> RgbImage {
    let (last_column, last_row) = (image.width() - 1, image.height() - 1);
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        *image.get_pixel(x.min(last_column), y.min(last_row))
    })
}
