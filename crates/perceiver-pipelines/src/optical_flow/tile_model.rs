use std::collections::VecDeque;

use burn::tensor::{Device, Tensor, TensorData};
use image::RgbImage;
use ndarray::Array3;
use perceiver_data::flow::{Tiles, patches};
use perceiver_models::{PerceiverForOpticalFlow, PerceiverHead as _};
use rayon::prelude::*;

/// A model and the tiles that it reads.
#[derive(Debug, Clone)]
pub(super) struct TileModel {
    model: PerceiverForOpticalFlow,
    /// Height and width of a tile in pixels.
    size: [usize; 2],
    device: Device,
}

impl TileModel {
    pub(super) fn new(model: PerceiverForOpticalFlow, size: [usize; 2], device: &Device) -> Self {
        Self { model, size, device: device.clone() }
    }

    pub(super) fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The flow of all tiles in pixels, blended. `on_tile` is called after each tile.
    pub(super) fn flow(
        &self,
        frames: [&RgbImage; 2],
        tiles: &Tiles,
        mut on_tile: impl FnMut(),
    ) -> Array3<f32> {
        let mut batches = tiles.starts().chunks(self.batch());
        let mut ready = VecDeque::new();
        tiles.blend(|_| {
            if ready.is_empty() {
                ready.extend(self.tile_flows(frames, batches.next().unwrap_or_default()));
            }
            on_tile();
            ready.pop_front().expect("one flow per tile")
        })
    }

    /// The latents of a tile, `[1, latents, latent_channels]`.
    pub(super) fn latents(&self, frames: [&RgbImage; 2], start: [usize; 2]) -> Tensor<3> {
        self.model.encode(self.patches(frames, start)).encoder.last_hidden_state
    }

    /// Number of tiles computed at once.
    fn batch(&self) -> usize {
        #[cfg(feature = "flex")]
        {
            /// Pixels of the largest tile that one core computes alone. The passes of larger tiles keep
            /// all cores busy, and several of them at once would need a multiple of their memory.
            const SMALL_TILE: usize = 1 << 12;
            /// Threads seldom wait for the last tile of a batch.
            const TILES_PER_THREAD: usize = 8;
            if self.device == Device::flex() && self.size[0] * self.size[1] <= SMALL_TILE {
                return rayon::current_num_threads() * TILES_PER_THREAD;
            }
        }
        1
    }

    fn tile_flows(&self, frames: [&RgbImage; 2], starts: &[[usize; 2]]) -> Vec<Array3<f32>> {
        match starts {
            [start] => vec![self.tile_flow(frames, *start)],
            starts => starts.par_iter().map(|start| self.tile_flow(frames, *start)).collect(),
        }
    }

    fn tile_flow(&self, frames: [&RgbImage; 2], start: [usize; 2]) -> Array3<f32> {
        let [height, width] = self.size;
        let output = self.model.forward(self.patches(frames, start));
        let flow = (output.logits * PerceiverForOpticalFlow::PIXELS).into_data();
        let flow = flow.iter::<f32>().collect();
        Array3::from_shape_vec((height, width, 2), flow).expect("one vector per pixel")
    }

    fn patches(&self, frames: [&RgbImage; 2], start: [usize; 2]) -> Tensor<5> {
        let [height, width] = self.size;
        let (patches, _) = patches(frames, start, self.size).into_raw_vec_and_offset();
        let (frames, channels) =
            (PerceiverForOpticalFlow::FRAMES, PerceiverForOpticalFlow::PATCH_CHANNELS);
        let patches = TensorData::new(patches, [1, frames, channels, height, width]);
        Tensor::from_data(patches, &self.device)
    }
}
