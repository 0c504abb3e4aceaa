//! Clouds of points on the surfaces of three shapes.

use burn::tensor::{Device, Tensor, TensorData};
use perceiver_train::ChaCha8Rng;
use perceiver_train::rand::{RngExt, SeedableRng};

use crate::CloudBatch;

/// Names of the classes.
pub const SHAPES: [&str; 3] = ["sphere", "cube", "line"];

/// Points of a cloud.
const POINTS: usize = 24;

/// Points on the surface of a shape.
#[derive(Debug, Clone)]
pub struct Cloud {
    /// Coordinates, in -1 to 1.
    pub points: Vec<[f32; 3]>,
    /// The index of its shape in [`SHAPES`].
    pub shape: usize,
}

/// Draws clouds of all shapes in turn.
#[must_use]
pub fn clouds(count: usize, seed: u64) -> Vec<Cloud> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let cloud = |index: usize| {
        let shape = index % SHAPES.len();
        let points = (0..POINTS).map(|_| point(shape, &mut random)).collect();
        Cloud { points, shape }
    };
    (0..count).map(cloud).collect()
}

fn point(shape: usize, random: &mut ChaCha8Rng) -> [f32; 3] {
    let drawn = [(); 3].map(|()| random.random_range(-1.0_f32..1.0));
    let length = drawn.map(|x| x * x).iter().sum::<f32>().sqrt().max(1e-3);
    let largest = drawn.map(f32::abs).into_iter().fold(1e-3, f32::max);
    match shape {
        0 => drawn.map(|x| x / length),
        1 => drawn.map(|x| x / largest),
        _ => [drawn[0]; 3],
    }
}

/// Puts clouds into a batch.
#[must_use]
pub fn batch(clouds: Vec<Cloud>, _random: &mut ChaCha8Rng, device: &Device) -> CloudBatch {
    let shapes: Vec<_> = clouds.iter().map(|cloud| cloud.shape as i64).collect();
    let numbers = clouds.iter().flat_map(|cloud| cloud.points.concat()).collect::<Vec<_>>();
    let points = TensorData::new(numbers, [clouds.len(), clouds[0].points.len(), 3]);
    CloudBatch {
        points: Tensor::from_data(points, device),
        shapes: Tensor::from_data(shapes.as_slice(), device),
    }
}
