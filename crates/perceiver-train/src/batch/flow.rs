use burn::tensor::{Device, Tensor, TensorData};
use perceiver_data::flow::{FlowPair, patches};
use rand_chacha::ChaCha8Rng;

use crate::loader::Collate;
use crate::objective::FlowBatch;

/// Makes batches of pairs of the model's size, as 3x3 patches in `[-1, 1]`.
///
/// # Source
/// The preparation of DeepMind's notebook, see [`patches`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowBatcher;

impl Collate<FlowPair> for FlowBatcher {
    type Batch = FlowBatch;

    /// # Panics
    /// If pairs differ in size.
    fn batch(
        &self,
        examples: Vec<FlowPair>,
        _random: &mut ChaCha8Rng,
        device: &Device,
    ) -> FlowBatch {
        let batch = examples.len();
        let (height, width) = examples.first().map_or((0, 0), |pair| pair.valid.dim());
        let (mut values, mut flow, mut known) = (Vec::new(), Vec::new(), Vec::new());
        for pair in examples {
            assert_eq!(pair.valid.dim(), (height, width), "pairs of a batch differ in size");
            values.extend(patches([&pair.first, &pair.second], [0, 0], [height, width]));
            flow.extend(pair.flow);
            known.extend(pair.valid);
        }
        let values = TensorData::new(values, [batch, 2, 27, height, width]);
        let flow = TensorData::new(flow, [batch, height, width, 2]);
        let known = TensorData::new(known, [batch, height, width]);
        FlowBatch {
            patches: Tensor::from_data(values, device),
            flow: Tensor::from_data(flow, device),
            known: Tensor::from_data(known, device),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use image::{Rgb, RgbImage};
    use ndarray::{Array2, Array3};
    use rand::SeedableRng;

    use super::*;

    fn pair(number: u8) -> FlowPair {
        let frame = |plus: u8| {
            RgbImage::from_fn(4, 3, |x, y| Rgb([plus + x as u8, plus + y as u8, number]))
        };
        FlowPair {
            first: frame(0),
            second: frame(200),
            flow: Array3::from_shape_fn((3, 4, 2), |(y, x, axis)| {
                f32::from(number) + [x, 10 * y][axis] as f32
            }),
            valid: Array2::from_shape_fn((3, 4), |(y, x)| x + y == usize::from(number)),
        }
    }

    fn batch(pairs: Vec<FlowPair>) -> FlowBatch {
        FlowBatcher.batch(pairs, &mut ChaCha8Rng::seed_from_u64(0), &Device::flex())
    }

    #[test]
    fn every_number_is_at_its_place() {
        let FlowBatch { patches, flow, known } = batch(vec![pair(1), pair(4)]);
        assert_eq!(patches.dims(), [2, 2, 27, 3, 4]);
        // Channels 12 to 14 are the pixel itself: here row 2 and column 1 of the second frame of the
        // second pair.
        let pixel = patches.slice([1..2, 1..2, 12..15, 2..3, 1..2]).into_data();
        let levels = [201.0_f32, 202.0, 4.0];
        assert_eq!(
            pixel.try_to_vec::<f32>().unwrap(),
            levels.map(|level| level / 255.0 * 2.0 - 1.0)
        );

        let vector = flow.slice([1..2, 2..3, 1..2, 0..2]).into_data();
        assert_eq!(vector.try_to_vec::<f32>().unwrap(), [5.0, 24.0]);
        let counts = |index: usize| {
            known.clone().narrow(0, index, 1).into_data().iter::<bool>().collect::<Vec<_>>()
        };
        let expected = |number| (0..12).map(|at| at / 4 + at % 4 == number).collect::<Vec<_>>();
        assert_eq!([counts(0), counts(1)], [expected(1), expected(4)]);
    }

    #[test]
    #[should_panic(expected = "pairs of a batch differ in size")]
    fn pairs_of_different_sizes_are_the_caller_s_mistake() {
        let small = FlowPair { valid: Array2::from_elem((2, 4), true), ..pair(1) };
        let _ = batch(vec![pair(1), small]);
    }
}
