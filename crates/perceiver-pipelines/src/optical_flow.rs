use std::borrow::Cow;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use ndarray::{Array2, Array3, s};
use perceiver_data::flow::{Tiles, patches};
use perceiver_models::{
    Head, PerceiverConfig, PerceiverForOpticalFlow, PerceiverHead as _, Pretrained,
};

use crate::latent_rows::latent_rows;
use crate::{Error, Progress, Result};

/// Finds where every pixel of a frame goes until the next.
///
/// Frames larger than the model's are taken in tiles, one at a time, whose answers are blended, so
/// that memory does not grow with their number.
///
/// ```no_run
/// use burn::tensor::Device;
/// use perceiver_data::read_image;
/// use perceiver_pipelines::{OpticalFlow, OpticalFlowOptions};
///
/// # fn main() -> perceiver_pipelines::Result<()> {
/// # #[cfg(feature = "flex")] {
/// let pipeline = OpticalFlow::from_pretrained("optical-flow-perceiver", &Device::flex())?;
/// let (first, second) = (read_image("first.png")?, read_image("second.png")?);
/// let flow = pipeline.run(&first, &second, &OpticalFlowOptions::default(), &mut |_| {})?;
/// println!("the first pixel moves {} to the right, {} down", flow[[0, 0, 0]], flow[[0, 0, 1]]);
/// # }
/// # Ok(())
/// # }
/// ```
///
/// # Source
/// Perceiver IO section 4.2; DeepMind's notebook, as transformers has the model alone.
///
/// # Differences
/// Tiles are placed as [`Tiles`] says: none twice, and none beyond the frame's end.
#[derive(Debug)]
pub struct OpticalFlow {
    model: PerceiverForOpticalFlow,
    tile: [usize; 2],
    warnings: Vec<String>,
    device: Device,
}

/// How frames are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OpticalFlowOptions {
    /// Whether frames smaller than the model's are continued with their last row and column.
    pub pad: bool,
}

impl OpticalFlowOptions {
    /// Continues frames smaller than the model's with their last row and column, instead of
    /// refusing them.
    #[must_use]
    pub fn with_pad(mut self, pad: bool) -> Self {
        self.pad = pad;
        self
    }
}

impl OpticalFlow {
    /// Loads the model of a folder onto a device.
    ///
    /// # Errors
    /// [`Error::WrongHead`] where the folder's model does another job; [`Error::Model`] where it
    /// cannot be loaded.
    pub fn from_pretrained(folder: impl AsRef<Path>, device: &Device) -> Result<Self> {
        let folder = folder.as_ref();
        let config = PerceiverConfig::from_pretrained(folder)?;
        if let Ok(head) = config.head()
            && head != Head::OpticalFlow
        {
            let path = folder.to_path_buf();
            return Err(Error::WrongHead { path, head, expected: "a PerceiverForOpticalFlow" });
        }
        let Pretrained { model, config, report } =
            PerceiverForOpticalFlow::from_pretrained(folder, device)?;
        let tile = [config.train_size[0], config.train_size[1]];
        Ok(Self { model, tile, warnings: report.warnings(), device: device.clone() })
    }

    /// What was suspicious about the weights, a line each.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Height and width in pixels of what the model takes at once: frames are at least as large.
    #[must_use]
    pub fn tile(&self) -> [usize; 2] {
        self.tile
    }

    /// Finds the motion from the first frame to the second, in pixels; `progress` counts tiles.
    ///
    /// # Shapes
    /// - returns: `[height, width, 2]`, to the right first, down second
    ///
    /// # Errors
    /// [`Error::FrameSizes`] when the frames differ in size; [`Error::FrameTooSmall`] when they
    /// are smaller than the model's and not to be padded.
    pub fn run(
        &self,
        first: &RgbImage,
        second: &RgbImage,
        options: &OpticalFlowOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Array3<f32>> {
        let (frames, tiles) = self.framed([first, second], options)?;
        let flow = self.blended([&frames[0], &frames[1]], &tiles, progress);
        Ok(flow.slice_move(s![..first.height() as usize, ..first.width() as usize, ..]))
    }

    /// Reads two frames into the model's latents, those of one tile after the other, from left to
    /// right and down; `progress` counts tiles.
    ///
    /// # Shapes
    /// - returns: `[tiles · latents, latent_channels]`
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn latents(
        &self,
        first: &RgbImage,
        second: &RgbImage,
        options: &OpticalFlowOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Array2<f32>> {
        let (frames, tiles) = self.framed([first, second], options)?;
        let total = tiles.starts().len();
        let of_tiles = tiles.starts().iter().enumerate().map(|(done, start)| {
            progress(Progress { done, total });
            let patches = self.tile_patches([&frames[0], &frames[1]], *start);
            self.model.encode(patches).encoder.last_hidden_state
        });
        let latents = Tensor::cat(of_tiles.collect(), 1);
        progress(Progress { done: total, total });
        Ok(latent_rows(latents))
    }

    /// Frames no smaller than the model's, and the tiles that they are taken in.
    fn framed<'a>(
        &self,
        frames: [&'a RgbImage; 2],
        options: &OpticalFlowOptions,
    ) -> Result<([Cow<'a, RgbImage>; 2], Tiles)> {
        let [first, second] = frames;
        let (width, height) = first.dimensions();
        if first.dimensions() != second.dimensions() {
            return Err(Error::FrameSizes { first: (width, height), second: second.dimensions() });
        }
        let (rows, columns) = (height as usize, width as usize);
        let [minimum_height, minimum_width] = self.tile;
        let frame = if options.pad && rows > 0 && columns > 0 {
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
        progress: &mut dyn FnMut(Progress),
    ) -> Array3<f32> {
        let total = tiles.starts().len();
        let mut done = 0;
        progress(Progress { done, total });
        tiles.blend(|start| {
            let flow = self.tile_flow(frames, start);
            done += 1;
            progress(Progress { done, total });
            flow
        })
    }

    fn tile_flow(&self, frames: [&RgbImage; 2], start: [usize; 2]) -> Array3<f32> {
        let [height, width] = self.tile;
        let patches = self.tile_patches(frames, start);
        let output = self.model.forward(patches);
        let flow = (output.logits * PerceiverForOpticalFlow::PIXELS).into_data();
        let flow = flow.iter::<f32>().collect();
        Array3::from_shape_vec((height, width, 2), flow).expect("a vector for every pixel")
    }

    fn tile_patches(&self, frames: [&RgbImage; 2], start: [usize; 2]) -> Tensor<5> {
        let [height, width] = self.tile;
        let (patches, _) = patches(frames, start, self.tile).into_raw_vec_and_offset();
        let patches = TensorData::new(patches, [1, 2, 27, height, width]);
        Tensor::from_data(patches, &self.device)
    }
}

/// The image, continued with its last column and row.
fn padded(image: &RgbImage, [height, width]: [usize; 2]) -> RgbImage {
    let (last_column, last_row) = (image.width() - 1, image.height() - 1);
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        *image.get_pixel(x.min(last_column), y.min(last_row))
    })
}
