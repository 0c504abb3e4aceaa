use burn::tensor::{DType, FloatDType, Int, Tensor};

use crate::init::LAYER_NORM_EPSILON;
use crate::{Axis, Grid, LinearMap, Positions, Segment};

/// Mean over a part of a token's channels, and the sum of their squared distances from it.
///
/// Parts join about their common mean, without a difference of large numbers: content may be far
/// from zero. Half precision is widened to single, because the square of 400 overflows in it.
struct Part {
    channels: usize,
    /// Type of the tokens.
    dtype: DType,
    /// `[batch, tokens]`, or 1 along an axis that it does not vary over.
    mean: Tensor<2>,
    /// The same shape.
    scatter: Tensor<2>,
}

/// Mean and inverse deviation of every token over all its channels, as layer normalisation takes
/// them, without writing positions or padding out.
///
/// # Shapes
/// - returns: `[batch, tokens]` both, or `[1, tokens]` where examples do not differ
pub(super) fn moments(segment: &Segment) -> (Tensor<2>, Tensor<2>) {
    let mut parts = Vec::new();
    if let Some(content) = segment.content() {
        parts.push(match content.fewest_channels() {
            (content, None) => Part::dense(content),
            (raw, Some(map)) => Part::mapped(&raw, &map),
        });
    }
    match segment.positions() {
        Some(Positions::Table(table)) => parts.push(Part::dense(table.clone().unsqueeze())),
        Some(Positions::Grid(grid)) => {
            parts.extend(grid.axes.iter().enumerate().map(|(a, axis)| Part::axis(grid, a, axis)));
        }
        None => {}
    }
    parts.extend(segment.padding().map(|padding| Part::dense(padding.clone().unsqueeze())));

    // A factor, not a divisor: in gradients, burn rounds the inverse of a divisor to single precision.
    let inverse = (segment.channels() as f64).recip();
    let share = |part: &Part| part.channels as f64 * inverse;
    let mean = parts.iter().map(|part| part.mean.clone() * share(part));
    let mean = mean.reduce(|sum, part| sum + part).expect("a token has channels");
    let variance = parts.iter().map(|part| {
        let distance = part.mean.clone() - mean.clone();
        part.scatter.clone() * inverse + distance.square() * share(part)
    });
    let variance = variance.reduce(|sum, part| sum + part).expect("a token has channels");
    let scale = (variance + LAYER_NORM_EPSILON).sqrt().recip();
    let [batch, _] = mean.dims();
    let shape = [batch, segment.tokens()];
    let dtype = parts[0].dtype;
    (mean.cast(dtype).expand(shape), scale.cast(dtype).expand(shape))
}

impl Part {
    /// The part of channels that are written out, `[batch, tokens, channels]`.
    fn dense(tokens: Tensor<3>) -> Self {
        let ([.., channels], dtype) = (tokens.dims(), tokens.dtype());
        let tokens = widened(tokens);
        let mean = tokens.clone().mean_dim(2);
        let scatter = (tokens - mean.clone()).square().sum_dim(2).squeeze_dim(2);
        Self { channels, dtype, mean: mean.squeeze_dim(2), scatter }
    }

    /// The part of a linear map's results. Once the map is centred, its results are the distances from
    /// the mean.
    fn mapped(raw: &Tensor<3>, map: &LinearMap) -> Self {
        let ([_, channels], dtype) = (map.dims(), raw.dtype());
        let raw = widened(raw.clone());
        let (weights, biases) = (widened(map.weight()), widened(map.bias()));
        let (weight, bias) = (weights.clone().mean_dim(1), biases.clone().mean());
        let centred = LinearMap::new(weights - weight.clone(), biases - bias.clone());
        let mean = LinearMap::new(weight, bias).forward(raw.clone()).squeeze_dim(2);
        let scatter = centred.forward(raw).square().sum_dim(2).squeeze_dim(2);
        Self { channels, dtype, mean, scatter }
    }

    /// The part of the channels that vary along one axis.
    fn axis(grid: &Grid, a: usize, axis: &Axis) -> Self {
        let along = Self::dense(axis.table.clone().unsqueeze());
        let lengths = grid.lengths();
        let [outer, inner] =
            [&lengths[..a], &lengths[a + 1..]].map(|l| l.iter().product::<usize>());
        let at_tokens = |along_axis: Tensor<2>| match &grid.points {
            Some(points) => {
                let index: Tensor<1, Int> = (points.clone() / inner as i64) % lengths[a] as i64;
                along_axis.select(1, index)
            }
            None => along_axis
                .reshape([1, lengths[a], 1])
                .expand([outer, lengths[a], inner])
                .reshape([1, outer * lengths[a] * inner]),
        };
        Self { mean: at_tokens(along.mean), scatter: at_tokens(along.scatter), ..along }
    }
}

/// Half precision converted to single.
fn widened<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    match tensor.dtype() {
        DType::F16 | DType::BF16 => tensor.cast(FloatDType::F32),
        _ => tensor,
    }
}
