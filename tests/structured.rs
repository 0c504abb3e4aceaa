//! Factored tokens give the same results as the same tokens written out, in both directions.
//!
//! A structured `TokenArray` takes the factored operations; `TokenArray::dense` of its `to_dense()`, with
//! attention maps, takes the plain one. Both are exact and differ only in the order of sums. Random tests
//! run in double precision: tokens with few channels may be normalised by the difference of two nearly
//! equal numbers, of which single precision keeps only a few digits.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Bool, DType, Device, Distribution, Int, Tensor, TensorData};
use perceiver_core::{
    AttentionConfig, Axis, Content, CrossAttention, Grid, Initialisation, KeyMask, LinearMap,
    Positions, Segment, TokenArray,
};
use perceiver_tests::{devices, difference};
use proptest::prelude::*;

/// Relative to the largest output: sums of up to a few hundred terms in another order, over tokens whose
/// normalisation may lose half of the digits of double precision.
const TOLERANCE_DOUBLE: f64 = 1e-8;
/// The same in single precision, for well-conditioned tokens.
const TOLERANCE_SINGLE: f64 = 1e-5;

/// The shape of one segment.
#[derive(Debug, Clone)]
struct Shape {
    grid: Vec<usize>,
    axis_channels: usize,
    content: usize,
    points: bool,
}

fn shapes(points: bool) -> impl Strategy<Value = Shape> {
    (prop::collection::vec(1usize..5, 1..4), 1usize..4, 0usize..4).prop_map(
        move |(grid, axis_channels, content)| Shape { grid, axis_channels, content, points },
    )
}

/// Device and precision of new tensors.
type Place<'a> = (&'a Device, DType);

fn double(device: &Device) -> Place<'_> {
    (device, DType::F64)
}

fn random<const D: usize>(shape: [usize; D], place: Place<'_>) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.5, 1.5), place)
}

/// Position channels interleaved across axes, like Fourier features.
fn grid(shape: &Shape, place: Place<'_>) -> Grid {
    let count = shape.grid.len();
    let axes = shape.grid.iter().enumerate().map(|(a, &length)| Axis {
        table: random([length, shape.axis_channels], place),
        channels: (0..shape.axis_channels).map(|c| c * count + a).collect(),
    });
    let cells: usize = shape.grid.iter().product();
    let points = shape.points.then(|| {
        // Out of order, and one cell twice.
        let points: Vec<i64> = (0..cells as i64).rev().chain([0]).collect();
        Tensor::<1, Int>::from_data(points.as_slice(), place.0)
    });
    Grid { axes: axes.collect(), points }
}

fn tokens(batch: usize, shapes: &[Shape], place: Place<'_>) -> TokenArray {
    let own = |shape: &Shape| shape.content + shape.axis_channels * shape.grid.len();
    let widest = shapes.iter().map(own).max().unwrap_or(0);
    let segments = shapes.iter().map(|shape| {
        let positions = Positions::Grid(grid(shape, place));
        let segment = if shape.content == 0 {
            Segment::from_positions(batch, positions)
        } else {
            Segment::from_content(random([batch, positions.tokens(), shape.content], place))
                .with_positions(positions)
        };
        segment.with_padding(random([widest + 1 - own(shape)], place))
    });
    TokenArray::new(segments.collect())
}

fn attention(
    query_channels: usize,
    input_channels: usize,
    heads: usize,
    (device, dtype): Place<'_>,
) -> CrossAttention {
    let config = AttentionConfig {
        query_channels,
        input_channels,
        qk_channels: 16 * heads,
        v_channels: 24 * heads,
        heads,
        query_residual: true,
        dropout: 0.0,
    };
    CrossAttention::new(&config, Initialisation { std: 0.2 }, device).map(&mut Cast(dtype))
}

struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| tensor.cast(self.0).detach())
    }
}

fn hidden(batch: usize, tokens: usize, device: &Device) -> KeyMask {
    let hidden: Vec<bool> = (0..batch * tokens).map(|i| i % tokens != 0 && i % 3 == 1).collect();
    let data = TensorData::new(hidden, [batch, tokens]);
    KeyMask::from_hidden(Tensor::<2, Bool>::from_data(data, device))
}

fn assert_same(found: Tensor<3>, expected: Tensor<3>, what: &str) {
    let single = found.dtype() != DType::F64;
    assert_close(found, expected, if single { TOLERANCE_SINGLE } else { TOLERANCE_DOUBLE }, what);
}

fn assert_close(found: Tensor<3>, expected: Tensor<3>, tolerance: f64, what: &str) {
    let difference = difference(&found.into_data(), &expected.into_data()).expect("comparable");
    assert!(difference <= tolerance, "{what} differs by {difference:.1e}");
}

fn check_gather(batch: usize, heads: usize, shapes: &[Shape], masked: bool, place: Place<'_>) {
    let inputs = tokens(batch, shapes, place);
    let [_, count, channels] = inputs.dims();
    let attention = attention(10, channels, heads, place);
    let latents = TokenArray::dense(random([batch, 3, 10], place));
    let mask = masked.then(|| hidden(batch, count, place.0));
    let dense = TokenArray::dense(inputs.to_dense());
    let (found, _) = attention.forward(&latents, &inputs, mask.as_ref(), false);
    let (expected, _) = attention.forward(&latents, &dense, mask.as_ref(), true);
    assert_same(found, expected, "gathering");
}

fn check_scatter(batch: usize, heads: usize, shapes: &[Shape], place: Place<'_>) {
    let queries = tokens(batch, shapes, place);
    let [_, _, channels] = queries.dims();
    let attention = attention(channels, 10, heads, place);
    let latents = TokenArray::dense(random([batch, 3, 10], place));
    let dense = TokenArray::dense(queries.to_dense());
    let (found, _) = attention.forward(&queries, &latents, None, false);
    let (expected, _) = attention.forward(&dense, &latents, None, true);
    assert_same(found, expected, "scattering");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn latents_read_factored_tokens_like_dense_ones(
        batch in 1usize..3,
        heads in 1usize..3,
        shapes in prop::collection::vec(shapes(false), 1..4),
        masked: bool,
    ) {
        check_gather(batch, heads, &shapes, masked, double(&Device::flex()));
    }

    #[test]
    fn factored_queries_are_answered_like_dense_ones(
        batch in 1usize..3,
        heads in 1usize..3,
        shapes in prop::collection::vec(prop_oneof![shapes(false), shapes(true)], 1..4),
    ) {
        check_scatter(batch, heads, &shapes, double(&Device::flex()));
    }
}

#[test]
fn every_backend_gathers_and_scatters_like_dense_attention() {
    let shapes = [
        Shape { grid: vec![3, 4, 2], axis_channels: 3, content: 2, points: false },
        Shape { grid: vec![5], axis_channels: 4, content: 0, points: false },
    ];
    let some = [Shape { points: true, ..shapes[0].clone() }, shapes[1].clone()];
    for (_, device) in devices() {
        check_gather(2, 1, &shapes, true, (&device, DType::F32));
        check_scatter(2, 1, &some, (&device, DType::F32));
    }
}

#[cfg(feature = "autodiff")]
#[test]
fn gradients_of_both_directions_are_the_dense_ones() {
    let device = Device::flex().autodiff();
    let place = double(&device);
    let shape = Shape { grid: vec![3, 4], axis_channels: 2, content: 3, points: false };
    let (raw, weight): (Tensor<3>, Tensor<2>) = (random([2, 12, 2], place), random([2, 3], place));
    let bias: Tensor<1> = random([3], place);
    let positions = grid(&shape, place);
    let attention = attention(7, 7, 1, place);
    let others = TokenArray::dense(random([2, 3, 7], place));
    let gradients = |factored: bool, gathers: bool| {
        let (raw, weight) = (raw.clone().require_grad(), weight.clone().require_grad());
        let content = Content::mapped(raw.clone(), LinearMap::new(weight.clone(), bias.clone()));
        let segment =
            Segment::from_content(content).with_positions(Positions::Grid(positions.clone()));
        let tokens = TokenArray::new(vec![segment]);
        let (output, _) = if gathers {
            attention.forward(&others, &tokens, None, !factored)
        } else {
            attention.forward(&tokens, &others, None, !factored)
        };
        // Squared, so that outputs have different gradients.
        let gradients = output.square().sum().backward();
        let of_weight = weight.grad(&gradients).expect("the weight was tracked");
        (raw.grad(&gradients).expect("the content was tracked"), of_weight.unsqueeze())
    };
    for (gathers, what) in [(true, "gradient of gathering"), (false, "gradient of scattering")] {
        let (found, expected) = (gradients(true, gathers), gradients(false, gathers));
        assert_same(found.0, expected.0, what);
        assert_same(found.1, expected.1, what);
    }
}

#[test]
fn tokens_beyond_one_slab_are_gathered_like_dense_ones() {
    // 64 queries fill the generic body's budget of scores at 16 384 tokens: two slabs.
    let shape = Shape { grid: vec![60, 500], axis_channels: 2, content: 1, points: false };
    let device = Device::flex();
    let place = double(&device);
    let inputs = tokens(1, &[shape], place);
    let [_, _, channels] = inputs.dims();
    let attention = attention(6, channels, 1, place);
    let latents = TokenArray::dense(random([1, 64, 6], place));
    let dense = TokenArray::dense(inputs.to_dense());
    let (found, _) = attention.forward(&latents, &inputs, None, false);
    let (expected, _) = attention.forward(&latents, &dense, None, true);
    assert_same(found, expected, "gathering");
}
