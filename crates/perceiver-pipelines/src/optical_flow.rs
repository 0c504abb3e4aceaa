use std::borrow::Cow;
use std::iter;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use ndarray::{Array2, Array3, s};
use perceiver_data::flow::{Tiles, patches};
use perceiver_models::{Head, LoadReport, PerceiverForOpticalFlow, PerceiverHead as _, hub};

use crate::latent_rows::latent_rows;
use crate::model_files::{ModelFiles, Opened};
use crate::{Error, Progress, Result};

/// Estimates the motion of every pixel from one frame to the next.
///
/// Frames larger than the model's are split into tiles, whose flow is blended. The model runs on one
/// tile at a time, so memory does not grow with their number.
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
/// Perceiver IO section 4.2; DeepMind's notebook, because transformers has only the model.
///
/// # Differences
/// Tiles are placed as [`Tiles`] says: none twice, and none past the end of the frame.
#[derive(Debug, Clone)]
pub struct OpticalFlow {
    model: PerceiverForOpticalFlow,
    tile: [usize; 2],
    report: LoadReport,
    warnings: Vec<String>,
    device: Device,
    pad: bool,
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
        let warnings = report.warnings();
        let tile = [config.train_size[0], config.train_size[1]];
        Ok(Self { model, tile, report, warnings, device: device.clone(), pad: false })
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
        self.tile
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
        let (frames, tiles) = self.framed([first, second])?;
        let flow = self.blended([&frames[0], &frames[1]], &tiles, on_progress);
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
        let (frames, tiles) = self.framed([first, second])?;
        let latents = tiles.starts().iter().map(|start| {
            let patches = self.tile_patches([&frames[0], &frames[1]], *start);
            self.model.encode(patches).encoder.last_hidden_state
        });
        let rows = latent_rows(Tensor::cat(latents.collect(), 1));
        self.report.check_outputs(rows.iter().copied())?;
        Ok(rows)
    }

    /// Frames at least as large as the model's, and their tiles.
    fn framed<'a>(&self, frames: [&'a RgbImage; 2]) -> Result<([Cow<'a, RgbImage>; 2], Tiles)> {
        let [first, second] = frames;
        let (width, height) = first.dimensions();
        if first.dimensions() != second.dimensions() {
            return Err(Error::FrameSizes { first: (width, height), second: second.dimensions() });
        }
        let (rows, columns) = (height as usize, width as usize);
        let [minimum_height, minimum_width] = self.tile;
        let frame = if self.pad && rows > 0 && columns > 0 {
            [rows.max(minimum_height), columns.max(minimum_width)]
        } else {
            [rows, columns]
        };
        let Some(tiles) = Tiles::new(frame, self.tile) else {
            return Err(Error::FrameTooSmall { width, height, minimum_width, minimum_height });
        };
        if frame == [rows, columns] {
            return Ok((frames.map(Cow::Borrowed), tiles));
        }
        Ok((frames.map(|image| Cow::Owned(padded(image, frame))), tiles))
    }

    fn blended(
        &self,
        frames: [&RgbImage; 2],
        tiles: &Tiles,
        mut on_progress: impl FnMut(Progress),
    ) -> Array3<f32> {
        let total = tiles.starts().len();
        let mut done = 0;
        on_progress(Progress { done, total });
        tiles.blend(|start| {
            let flow = self.tile_flow(frames, start);
            done += 1;
            on_progress(Progress { done, total });
            flow
        })
    }

    fn tile_flow(&self, frames: [&RgbImage; 2], start: [usize; 2]) -> Array3<f32> {
        let [height, width] = self.tile;
        let patches = self.tile_patches(frames, start);
        let output = self.model.forward(patches);
        let flow = (output.logits * PerceiverForOpticalFlow::PIXELS).into_data();
        let flow = flow.iter::<f32>().collect();
        Array3::from_shape_vec((height, width, 2), flow).expect("one vector per pixel")
    }

    fn tile_patches(&self, frames: [&RgbImage; 2], start: [usize; 2]) -> Tensor<5> {
        let [height, width] = self.tile;
        let (patches, _) = patches(frames, start, self.tile).into_raw_vec_and_offset();
        let (frames, channels) =
            (PerceiverForOpticalFlow::FRAMES, PerceiverForOpticalFlow::PATCH_CHANNELS);
        let patches = TensorData::new(patches, [1, frames, channels, height, width]);
        Tensor::from_data(patches, &self.device)
    }
}

/// The image, extended by repeating its last column and row.
fn padded(image: &RgbImage, [height, width]: [usize; 2]) -> RgbImage {
    let (last_column, last_row) = (image.width() - 1, image.height() - 1);
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        *image.get_pixel(x.min(last_column), y.min(last_row))
    })
}
