use burn::module::{Module, Param};
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor};
use perceiver_core::Initialisation;

/// One learned vector per position.
///
/// # Source
/// `PerceiverTrainablePositionEncoding`.
#[derive(Module, Debug)]
pub struct TrainablePositionEncoding {
    position_embeddings: Param<Tensor<2>>,
    dimensions: usize,
}

impl TrainablePositionEncoding {
    pub(crate) fn new(
        positions: usize,
        dimensions: usize,
        channels: usize,
        init: Initialisation,
        device: &Device,
    ) -> Self {
        Self { position_embeddings: init.parameter([positions, channels], device), dimensions }
    }

    pub(crate) const fn dimensions(&self) -> usize {
        self.dimensions
    }

    pub(crate) fn channels(&self) -> usize {
        self.position_embeddings.dims()[1]
    }

    /// `[positions, position_channels]`.
    pub(crate) fn table(&self) -> Tensor<2> {
        self.position_embeddings.val()
    }

    /// The positions of a square grid, resampled bicubically to `height` by `width`.
    ///
    /// # Shapes
    /// - returns: `[height · width, position_channels]`
    pub(crate) fn interpolate(&self, height: usize, width: usize) -> Tensor<2> {
        let table = self.table();
        let [positions, channels] = table.dims();
        let side = positions.isqrt();
        assert!(
            side * side == positions,
            "{positions} positions do not form a square grid, which interpolation needs"
        );
        if [height, width] == [side, side] {
            return table;
        }
        let plane = table.reshape([1, side, side, channels]).permute([0, 3, 1, 2]);
        let options = InterpolateOptions::new(InterpolateMode::Bicubic)
            .with_align_corners(false)
            .with_output_size([height, width]);
        interpolate(plane, options).reshape([channels, height * width]).swap_dims(0, 1)
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "6 positions do not form a square grid, which interpolation needs")]
    fn positions_that_form_no_square_do_not_interpolate() {
        let device = Device::flex();
        let encoding = TrainablePositionEncoding::new(6, 1, 2, Initialisation::default(), &device);
        let _ = encoding.interpolate(3, 3);
    }
}
