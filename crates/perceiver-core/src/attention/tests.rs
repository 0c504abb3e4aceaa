//! Every form of cross-attention gives the result of the plain one, in double precision.

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
        // Away from zeros and ones, so that a missing bias or norm is noticed.
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

/// Every subset of `count` elements.
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

/// If all keys are hidden by the lowest number, the log-sum-exp of a segment has no digits left for the
/// number of its tokens.
#[test]
fn an_example_whose_keys_are_all_hidden_weighs_segments_by_their_tokens() {
    let inputs = TokenArray::new(segments());
    let [_, tokens, _] = inputs.dims();
    let hidden: Vec<bool> = (0..BATCH * tokens).map(|i| i < tokens).collect();
    let hidden = TensorData::new(hidden, [BATCH, tokens]);
    let mask = KeyMask::from_hidden(Tensor::<2, Bool>::from_data(hidden, &Device::flex()));
    let queries = TokenArray::dense(random([BATCH, 3, 4]));
    let attention = attention(2, 4, CHANNELS);
    let (expected, _) = attention.forward(&queries, &inputs, Some(&mask), true);
    for absorbs in [[false; 6], [true; 6]] {
        let found = attention.gather(&queries, &inputs, &absorbs, Some(&mask));
        assert_same(found, expected.clone());
    }
}

#[test]
#[should_panic(expected = "shape of the mask is [2, 41], expected [2, 40]")]
fn a_mask_with_more_tokens_is_refused_by_segments_too() {
    let inputs = TokenArray::new(segments());
    let [_, tokens, _] = inputs.dims();
    let nothing = Tensor::<2, Bool>::full([BATCH, tokens + 1], false, &Device::flex());
    let queries = TokenArray::dense(random([BATCH, 3, 4]));
    let mask = KeyMask::from_hidden(nothing);
    let _ = attention(1, 4, CHANNELS).gather(&queries, &inputs, &[true; 6], Some(&mask));
}

#[test]
#[should_panic(expected = "inputs of cross-attention have 6 channels, expected 11")]
fn inputs_with_fewer_channels_are_refused() {
    let [queries, inputs] = [4, 6].map(|channels| TokenArray::dense(random([BATCH, 3, channels])));
    let _ = attention(1, 4, CHANNELS).forward(&queries, &inputs, None, false);
}

#[test]
#[should_panic(expected = "queries of cross-attention have 2 examples, inputs have 1")]
fn queries_of_more_examples_are_refused() {
    let (queries, inputs) = (random([BATCH, 3, 4]), TokenArray::dense(random([1, 9, CHANNELS])));
    let _ = attention(1, 4, CHANNELS).forward(&TokenArray::dense(queries), &inputs, None, false);
}

#[test]
#[should_panic(expected = "cross-attention needs at least one input token, found 0")]
fn inputs_without_tokens_are_refused() {
    let (queries, inputs) =
        (random([BATCH, 3, 4]), Segment::from_padding(BATCH, 0, random([CHANNELS])));
    let inputs = TokenArray::new(vec![inputs]);
    let _ = attention(1, 4, CHANNELS).forward(&TokenArray::dense(queries), &inputs, None, false);
}

/// The segments, and the same segments with empty ones among them.
fn without_and_with_empty() -> [TokenArray; 2] {
    let empty = || Segment::from_padding(BATCH, 0, random([CHANNELS]));
    let some = segments();
    let mut with_empty = some.clone();
    with_empty.insert(1, empty());
    with_empty.push(empty());
    [some, with_empty].map(TokenArray::new)
}

#[test]
fn reading_segments_without_tokens_changes_nothing() {
    let [some, with_empty] = without_and_with_empty();
    let queries = TokenArray::dense(random([BATCH, 3, 4]));
    let attention = attention(1, 4, CHANNELS);
    let (expected, _) = attention.forward(&queries, &some, None, true);
    for absorbs in [[false; 8], [true; 8]] {
        assert_same(attention.gather(&queries, &with_empty, &absorbs, None), expected.clone());
    }
}

#[test]
fn querying_segments_without_tokens_changes_nothing() {
    let [some, with_empty] = without_and_with_empty();
    let inputs = TokenArray::dense(random([BATCH, 3, 6]));
    let attention = attention(1, CHANNELS, 6);
    assert!(
        attention.prefers_decoder_form(&with_empty, &inputs),
        "queries are answered segment by segment"
    );
    let (answers, _) = attention.forward(&with_empty, &inputs, None, false);
    assert_same(answers, attention.forward(&some, &inputs, None, true).0);
}

#[cfg(feature = "autodiff")]
#[test]
fn gradients_of_segments_read_in_any_form_are_the_dense_ones() {
    let device = Device::flex().autodiff();
    let arrays = [[BATCH, 12, 5], [BATCH, 7, CHANNELS], [BATCH, 3, 4]].map(random::<3>);
    let table = random([12, CHANNELS - 5]);
    let attention = attention(2, 4, CHANNELS).to_device(&device);
    let hidden = TensorData::new((0..BATCH * 19).map(|i| i % 5 == 2).collect(), [BATCH, 19]);
    let mask = KeyMask::from_hidden(Tensor::<2, Bool>::from_data(hidden, &device));
    let gradients = |absorbs: Option<[bool; 2]>| {
        let tracked = |x: Tensor<3>| Tensor::<3>::from_data(x.into_data(), (&device, DType::F64));
        let [first, second, queries] = arrays.clone().map(tracked).map(Tensor::require_grad);
        let table = Tensor::<2>::from_data(table.to_data(), (&device, DType::F64));
        let inputs = TokenArray::new(vec![
            Segment::from_content(first.clone()).with_positions(Positions::Table(table)),
            Segment::from_content(second.clone()),
        ]);
        let asked = TokenArray::dense(queries.clone());
        let answers = match absorbs {
            Some(absorbs) => attention.gather(&asked, &inputs, &absorbs, Some(&mask)),
            None => attention.forward(&asked, &inputs, Some(&mask), true).0,
        };
        let found = answers.square().sum().backward();
        [first, second, queries].map(|x| x.grad(&found).expect("a gradient"))
    };
    let expected = gradients(None);
    for absorbs in [[false, false], [true, false], [false, true]] {
        for (found, expected) in gradients(Some(absorbs)).into_iter().zip(expected.clone()) {
            assert_same(found, expected);
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
fn a_block_of_queries_is_answered_like_all_queries_at_once() {
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

/// If the mean of a token's channels is 10 000 times their deviation, a difference of two squares would
/// leave no digits in single precision.
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

/// The square of 400 overflows in half precision.
#[test]
fn moments_of_half_precision_are_finite() {
    let tokens = random([BATCH, 6, 8]).mul_scalar(400.0);
    let (_, expected) = moments(&Segment::from_content(tokens.clone()));
    let (mean, found) = moments(&Segment::from_content(tokens.cast(DType::F16)));
    assert_eq!((mean.dtype(), found.dtype()), (DType::F16, DType::F16));
    let found = found.cast(DType::F64).into_data();
    found.assert_approx_eq::<f64>(&expected.into_data(), Tolerance::relative(5e-3));
}
