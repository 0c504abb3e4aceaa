//! Every form of cross-attention gives what the plain one gives, in double precision.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Bool, DType, Device, Distribution, Int, Tensor, TensorData, Tolerance};

use super::CrossAttention;
use super::cost::Form;
use super::moments::moments;
use crate::{
    AttentionConfig, Axis, Content, Grid, Initialisation, KeyMask, LinearMap, Positions, Segment,
    TokenArray,
};

const BATCH: usize = 2;
const CHANNELS: usize = 11;

fn place() -> (Device, DType) {
    (Device::flex(), DType::F64)
}

pub(crate) fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let (device, dtype) = place();
    Tensor::random(shape, Distribution::Normal(0.3, 1.2), (&device, dtype))
}

/// Turns a fresh module into one of double precision.
pub(crate) struct Double;

impl ModuleMapper for Double {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // Away from zeros and ones, so that no bias or norm can be left out unseen.
        param.map(|tensor| {
            let shape = tensor.dims();
            (tensor.cast(DType::F64) + random(shape) * 0.3).detach()
        })
    }
}

fn attention(heads: usize, query_channels: usize, input_channels: usize) -> CrossAttention {
    let config = AttentionConfig {
        query_channels,
        input_channels,
        qk_channels: 3 * heads,
        v_channels: 5 * heads,
        heads,
        query_residual: true,
        dropout: 0.0,
    };
    CrossAttention::new(&config, Initialisation { std: 0.3 }, &Device::flex()).map(&mut Double)
}

/// Rows of 4 by 3 cells, with channels that alternate between the axes.
fn grid(points: Option<&[i64]>) -> Positions {
    let axes = vec![
        Axis { table: random([4, 3]), channels: vec![0, 2, 4] },
        Axis { table: random([3, 2]), channels: vec![1, 3] },
    ];
    let points = points.map(|points| Tensor::<1, Int>::from_data(points, &Device::flex()));
    Positions::Grid(Grid { axes, points })
}

fn mapped(tokens: usize, raw: usize, channels: usize) -> Content {
    let map = LinearMap::new(random([raw, channels]), random([channels]));
    Content::mapped(random([BATCH, tokens, raw]), map)
}

/// One segment of every kind.
fn segments() -> Vec<Segment> {
    vec![
        Segment::from_content(random([BATCH, 12, 2])).with_positions(grid(None)),
        Segment::from_content(mapped(7, 2, 6)).with_positions(Positions::Table(random([7, 3]))),
        Segment::from_positions(BATCH, Positions::Table(random([5, 4]))),
        Segment::from_content(mapped(12, 2, 5)).with_positions(grid(None)),
        Segment::from_content(mapped(3, CHANNELS + 2, CHANNELS)),
        Segment::from_padding(BATCH, 1, random([CHANNELS])),
    ]
    .into_iter()
    .map(|segment| match CHANNELS - segment.channels() {
        0 => segment,
        rest => segment.with_padding(random([rest])),
    })
    .collect()
}

fn assert_same<const D: usize>(found: Tensor<D>, expected: Tensor<D>) {
    let tolerance = Tolerance::<f64>::rel_abs(1e-9, 1e-10);
    found.into_data().assert_approx_eq::<f64>(&expected.into_data(), tolerance);
}

/// Every way to choose among so many.
fn choices(count: usize) -> impl Iterator<Item = Vec<bool>> {
    (0..1 << count).map(move |bits| (0..count).map(|i| bits >> i & 1 == 1).collect())
}

#[test]
fn any_choice_of_absorbed_segments_reads_the_same() {
    let inputs = TokenArray::new(segments());
    let [_, tokens, _] = inputs.dims();
    let hidden: Vec<bool> = (0..BATCH * tokens).map(|i| i % 5 == 2).collect();
    let hidden = TensorData::new(hidden, [BATCH, tokens]);
    let mask = KeyMask::from_hidden(Tensor::<2, Bool>::from_data(hidden, &Device::flex()));
    let latents = Positions::Table(random([3, 4]));
    let same = TokenArray::new(vec![Segment::from_positions(BATCH, latents)]);
    for (heads, queries) in [(1, same), (2, TokenArray::dense(random([BATCH, 3, 4])))] {
        let attention = attention(heads, 4, CHANNELS);
        let mask = (heads == 2).then_some(&mask);
        let (expected, _) = attention.forward(&queries, &inputs, mask, true);
        for absorbs in choices(inputs.segments().len()) {
            assert_same(attention.gather(&queries, &inputs, &absorbs, mask), expected.clone());
        }
    }
}

#[test]
fn any_choice_of_factored_queries_is_answered_the_same() {
    let mut segments = segments();
    segments.push({
        let some = Segment::from_positions(BATCH, grid(Some(&[11, 0, 5, 5])));
        some.with_padding(random([CHANNELS - 5]))
    });
    let queries = TokenArray::new(segments);
    let inputs = random([BATCH, 3, 6]);
    for heads in [1, 2] {
        let attention = attention(heads, CHANNELS, 6);
        let dense = TokenArray::dense(inputs.clone());
        let (expected, _) = attention.forward(&queries, &dense, None, true);
        for factored in choices(queries.segments().len()) {
            for output_in_values in [false, true] {
                let factored = factored.clone();
                let form = Form { factored, output_in_values, multiplications: 0 };
                let prepared = attention.prepare_form(&queries, inputs.clone(), form);
                let answers = prepared.segments().map(|(s, count)| prepared.attend(s, 0, count));
                assert_same(Tensor::cat(answers.collect(), 1), expected.clone());
            }
        }
    }
}

#[test]
fn a_block_of_queries_is_answered_as_among_all() {
    let queries = TokenArray::new(segments());
    let attention = attention(1, CHANNELS, 6);
    for factored in [false, true] {
        let factored = vec![factored; queries.segments().len()];
        let form = Form { factored, output_in_values: true, multiplications: 0 };
        let prepared = attention.prepare_form(&queries, random([BATCH, 3, 6]), form);
        for (s, count) in prepared.segments() {
            let whole = prepared.attend(s, 0, count);
            let cut = count.div_ceil(3);
            let blocks = (0..count).step_by(cut);
            let blocks = blocks.map(|start| prepared.attend(s, start, cut.min(count - start)));
            assert_same(Tensor::cat(blocks.collect(), 1), whole);
        }
    }
}

/// Where the mean of a token's channels is 10 000 times their deviation, the difference of two
/// squares would leave single precision no digit.
#[test]
fn moments_far_from_zero_keep_their_digits() {
    let single = |tensor: Tensor<2>| tensor.cast(DType::F32);
    let raw = (random([BATCH, 6, 3]) + 10_000.0).cast(DType::F32);
    let nearly_alike = random([3, 1]).repeat_dim(1, 8) + random([3, 8]) * 1e-4;
    for weight in [single(random([3, 8])), single(nearly_alike)] {
        let tokens = |dtype: DType| {
            let map = LinearMap::new(
                weight.clone().cast(dtype),
                Tensor::<1>::zeros([8], (&raw.device(), dtype)),
            );
            Segment::from_content(Content::mapped(raw.clone().cast(dtype), map))
        };
        let (variance, _) = tokens(DType::F64).to_dense().var_mean_bias(2);
        let expected = (variance + 1e-5).sqrt().recip().squeeze_dim::<2>(2);
        let (_, found) = moments(&tokens(DType::F32));
        let found = found.cast(DType::F64).into_data();
        found.assert_approx_eq::<f64>(&expected.into_data(), Tolerance::relative(1e-4));
    }
}
