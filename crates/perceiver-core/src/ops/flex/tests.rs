//! Compares the tiled bodies with the generic ones, which run in double precision here.

use burn::tensor::{Device, Distribution, Tensor, TensorData};
use proptest::prelude::*;

use super::super::{FactoredTokens, GridPoints, affine, normalise};
use super::*;

/// Largest error of a tiled body relative to the largest number of the exact result: single precision
/// rounds scores of up to about 30, and probabilities inherit the error as a factor.
const BOUND: f64 = 1e-5;

fn random<const D: usize>(shape: [usize; D], deviation: f64) -> FlexTensor {
    let distribution = Distribution::Normal(0.0, deviation);
    let tensor = Tensor::<D>::random(shape, distribution, &Device::flex());
    FlexTensor::from_data(tensor.into_data())
}

fn double(tensor: &FlexTensor) -> FlexTensor {
    FlexTensor::from_data(tensor.clone().into_data().convert::<f64>())
}

/// Scores are multiplied by 0.7.
fn attention_input(
    [queries, keys, values]: [FlexTensor; 3],
    hidden: HiddenKeys<Flex>,
) -> AttentionInput<Flex> {
    AttentionInput { queries, keys, values, hidden, scale: 0.7 }
}

impl AttentionInput<Flex> {
    fn double(&self) -> Self {
        let [queries, keys, values] = [&self.queries, &self.keys, &self.values].map(double);
        Self { queries, keys, values, ..self.clone() }
    }
}

impl FactoredTokens<Flex> {
    fn double(&self) -> Self {
        let [content, scale] = [&self.content, &self.scale].map(double);
        Self { content, scale, grid: self.grid.clone() }
    }
}

impl GatherInput<Flex> {
    fn random(
        [batch, heads, queries, content_channels]: [usize; 4],
        grid: Vec<usize>,
        masked: bool,
    ) -> Self {
        let (tokens, axes) = (grid.iter().product(), grid.iter().sum());
        Self {
            content_queries: random([batch, heads, queries, content_channels], 1.0),
            axis_scores: random([batch, heads, queries, axes], 1.0),
            tokens: FactoredTokens {
                content: random([batch, tokens, content_channels], 1.0),
                scale: random([batch, tokens], 0.5),
                grid,
            },
            hidden: hidden(batch, tokens, masked),
        }
    }

    fn double(&self) -> Self {
        Self {
            content_queries: double(&self.content_queries),
            axis_scores: double(&self.axis_scores),
            tokens: self.tokens.double(),
            hidden: self.hidden.clone(),
        }
    }
}

impl ScatterInput<Flex> {
    fn double(&self) -> Self {
        Self {
            tokens: self.tokens.double(),
            points: self.points.clone(),
            content_keys: double(&self.content_keys),
            axis_scores: double(&self.axis_scores),
            key_bias: double(&self.key_bias),
            values: double(&self.values),
        }
    }
}

/// Hides every third key, never the first.
fn hidden(batch: usize, keys: usize, some: bool) -> HiddenKeys<Flex> {
    if !some {
        return HiddenKeys::None;
    }
    let flags = (0..batch * keys).map(|i| i % keys % 3 == 1).collect();
    HiddenKeys::Some(FlexTensor::from_data(TensorData::new(flags, [batch, keys])))
}

fn assert_close(found: FlexTensor, exact: FlexTensor) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.layout().shape(), exact.layout().shape());
    let (found, exact) = (found.into_data(), exact.into_data());
    let largest = exact.iter::<f64>().fold(f64::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
    for (found, exact) in found.iter::<f64>().zip(exact.iter::<f64>()) {
        let difference = (found - exact).abs() / largest;
        prop_assert!(difference <= BOUND, "{found} differs from {exact} by {difference:.1e}");
    }
    Ok(())
}

fn grids() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        prop::collection::vec(1usize..6, 1..4),
        // Longer than a vector, and several tiles of keys.
        Just(vec![3, 37, 1]),
        Just(vec![2, 5, 133]),
        Just(vec![1300]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn dense_attention_is_the_generic_one(
        [batch, heads] in [1usize..3, 1usize..4],
        queries in prop_oneof![1usize..5, 120usize..140],
        keys in prop_oneof![1usize..40, 500usize..530],
        qk_channels in 1usize..20,
        v_channels in 1usize..20,
        masked: bool,
        heads_last: bool,
    ) {
        let array = |rows, channels| if heads_last {
            random([batch, rows, heads, channels], 1.0).transpose(1, 2)
        } else {
            random([batch, heads, rows, channels], 1.0)
        };
        let arrays =
            [array(queries, qk_channels), array(keys, qk_channels), array(keys, v_channels)];
        let input = attention_input(arrays, hidden(batch, keys, masked));
        let exact = super::super::attention::generic(input.double());
        let found = Flex::attention_forward(input);
        assert_close(found.output, exact.output)?;
        assert_close(found.log_sum_exp, exact.log_sum_exp)?;
    }

    #[test]
    fn gathering_is_the_generic_one(
        [batch, heads] in [1usize..3, 1usize..3],
        queries in prop_oneof![1usize..5, 120usize..140],
        content_channels in 1usize..9,
        grid in grids(),
        masked: bool,
    ) {
        let input = GatherInput::random([batch, heads, queries, content_channels], grid, masked);
        let exact = super::super::gather::generic(input.double());
        assert_close(Flex::gather_attend(input), exact)?;
    }

    #[test]
    fn gradients_of_gathering_are_the_generic_ones(
        [batch, heads] in [1usize..3, 1usize..3],
        queries in prop_oneof![1usize..5, 120usize..140],
        content_channels in 1usize..9,
        grid in grids(),
    ) {
        let input = GatherInput::random([batch, heads, queries, content_channels], grid, false);
        let packed = super::super::gather::generic(input.double());
        let gradient = random(packed.layout().shape().dims::<4>(), 1.0);
        let exact = super::super::backward::gather::generic(
            input.double(), packed.clone(), double(&gradient), false,
        );
        let packed = FlexTensor::from_data(packed.into_data().convert::<f32>());
        let found = Flex::gather_attend_backward(input, packed, gradient, false);
        assert_close(found.content_queries, exact.content_queries)?;
        assert_close(found.axis_scores, exact.axis_scores)?;
        prop_assert!(matches!(found.tokens, TokenGradients::None));
    }

    #[test]
    fn scattering_is_the_generic_one(
        [batch, heads] in [1usize..3, 1usize..3],
        keys in prop_oneof![1usize..5, 500usize..530],
        content_channels in 1usize..9,
        v_channels in 1usize..20,
        grid in grids(),
        some: bool,
    ) {
        let cells: usize = grid.iter().product();
        let axes = grid.iter().sum();
        // Out of order, and one cell twice.
        let points: Vec<i64> = (0..cells as i64).rev().chain([0]).collect();
        let tokens = if some { points.len() } else { cells };
        let points = if some {
            let points = TensorData::new(points, [tokens]).convert::<i32>();
            GridPoints::Some(FlexTensor::from_data(points))
        } else {
            GridPoints::All
        };
        let input = ScatterInput {
            tokens: FactoredTokens {
                content: random([batch, tokens, content_channels], 1.0),
                scale: random([batch, tokens], 0.5),
                grid,
            },
            points,
            content_keys: random([batch, heads, keys, content_channels], 1.0),
            axis_scores: random([batch, heads, keys, axes], 1.0),
            key_bias: random([batch, heads, keys], 1.0),
            values: random([batch, heads, keys, v_channels], 1.0),
        };
        let exact = super::super::scatter::generic(input.double());
        let found = Flex::scatter_attend_forward(input);
        assert_close(found.output, exact.output)?;
        assert_close(found.log_sum_exp, exact.log_sum_exp)?;
    }

    #[test]
    fn a_linear_layer_and_its_gradients_are_the_generic_ones(
        rows in prop_oneof![1usize..5, 120usize..140],
        [channels_in, channels_out] in [1usize..70, 1usize..70],
        transposed: bool,
    ) {
        // Transposed in memory or not.
        let array = |rows, columns| if transposed {
            random([columns, rows], 1.0).transpose(0, 1)
        } else {
            random([rows, columns], 1.0)
        };
        let [x, gradient] = [array(rows, channels_in), array(rows, channels_out)];
        let (weight, bias) = (array(channels_in, channels_out), random([channels_out], 1.0));
        let [x64, gradient64, weight64, bias64] = [&x, &gradient, &weight, &bias].map(double);

        let exact = affine::generic::<Flex>(x64.clone(), weight64.clone(), bias64);
        assert_close(Flex::affine(x.clone(), weight.clone(), bias), exact)?;
        let exact = affine::generic_input_backward::<Flex>(weight64, gradient64.clone());
        assert_close(Flex::affine_input_backward(weight, gradient.clone()), exact)?;
        let exact = affine::generic_parameters_backward::<Flex>(x64, gradient64);
        let found = Flex::affine_parameters_backward(x, gradient);
        assert_close(found.0, exact.0)?;
        assert_close(found.1, exact.1)?;
    }

    #[test]
    fn a_normalisation_and_its_gradients_are_the_generic_ones(
        rows in 1usize..40,
        // With very few channels, a gradient cancels almost completely.
        channels in 8usize..70,
        mean in -3.0..3.0f64,
    ) {
        const EPSILON: f64 = 1e-5;
        // Single precision loses rows whose channels are nearly equal.
        let noise = Tensor::<2>::random([rows, channels], Distribution::Default, &Device::flex());
        let side = Tensor::arange(0..channels as i64, &Device::flex()).remainder_scalar(2);
        let x = noise + side.float().unsqueeze() * 4.0 + mean;
        let x = FlexTensor::from_data(x.into_data());
        let [gamma, beta] = [random([channels], 1.0), random([channels], 1.0)];
        let gradient = random([rows, channels], 1.0);
        let [x64, gamma64, beta64, gradient64] = [&x, &gamma, &beta, &gradient].map(double);

        let exact = normalise::generic::<Flex>(x64.clone(), gamma64.clone(), beta64, EPSILON);
        let found = Flex::normalise(x.clone(), gamma.clone(), beta, EPSILON);
        assert_close(found, exact)?;
        let exact = normalise::generic_backward::<Flex>(x64, gamma64, gradient64, EPSILON);
        let found = Flex::normalise_backward(x, gamma, gradient, EPSILON);
        assert_close(found.0, exact.0)?;
        assert_close(found.1, exact.1)?;
        assert_close(found.2, exact.2)?;
    }
}

/// More rows and keys than a tile, and enough problems for every thread.
fn assert_gradients_of_dense_attention_are_the_generic_ones(
    batch: usize,
    hidden: impl Fn(usize) -> HiddenKeys<Flex>,
) {
    let (heads, keys) = (rayon::current_num_threads(), 270);
    let array = |rows, channels| random([batch, rows, heads, channels], 1.0).transpose(1, 2);
    let input = attention_input([array(300, 5), array(keys, 5), array(keys, 3)], hidden(keys));
    let gradient = array(300, 3);
    let exact = super::super::backward::attention::generic(
        input.double(),
        Flex::attention_forward(input.double()),
        double(&gradient),
    );
    let output = Flex::attention_forward(input.clone());
    let found = Flex::attention_backward(input, output, gradient);
    for (found, exact) in
        [(found.queries, exact.queries), (found.keys, exact.keys), (found.values, exact.values)]
    {
        assert_close(found, exact).expect("the generic gradient");
    }
}

#[test]
fn gradients_of_dense_attention_are_the_generic_ones() {
    assert_gradients_of_dense_attention_are_the_generic_ones(1, |_| HiddenKeys::None);
}

#[test]
fn gradients_of_dense_attention_with_hidden_keys_are_the_generic_ones() {
    assert_gradients_of_dense_attention_are_the_generic_ones(3, |keys| {
        // Some keys, a whole tile of padding, and all keys.
        let hides = |example, key| [key % 3 == 1, key >= 200, true][example];
        let flags = (0..3 * keys).map(|i| hides(i / keys, i % keys)).collect();
        HiddenKeys::Some(FlexTensor::from_data(TensorData::new(flags, [3, keys])))
    });
}

#[test]
fn scores_whose_exponential_overflows_leave_a_finite_result() {
    let [q, k] = [random([1, 1, 3, 4], 60.0), random([1, 1, 1100, 4], 60.0)];
    let input = attention_input([q, k, random([1, 1, 1100, 2], 1.0)], HiddenKeys::None);
    let found = Flex::attention_forward(AttentionInput { scale: 1.0, ..input });
    assert!(found.output.into_data().iter::<f32>().all(f32::is_finite));
}

#[test]
fn attention_to_padded_keys_is_the_generic_one() {
    // One example is padded by more than a tile, one hides more keys than the share of another thread,
    // one hides all.
    let keys = 1100;
    let hides = |example, key: usize| [key >= 300, key < 800, true][example];
    let flags = (0..3 * keys).map(|i| hides(i / keys, i % keys)).collect();
    let hidden = HiddenKeys::Some(FlexTensor::from_data(TensorData::new(flags, [3, keys])));
    let arrays =
        [(2, 5), (keys, 5), (keys, 3)].map(|(rows, channels)| random([3, 1, rows, channels], 1.0));
    let input = attention_input(arrays, hidden);
    let exact = super::super::attention::generic(input.double());
    let found = Flex::attention_forward(input);
    assert_close(found.output, exact.output).expect("the generic output");
}

#[test]
fn a_row_whose_keys_are_all_hidden_attends_to_all_equally() {
    let keys = 1100;
    let values = random([1, 1, keys, 2], 1.0);
    let mean: Tensor<4> = Tensor::from_data(values.clone().into_data(), &Device::flex());
    let mean = FlexTensor::from_data(mean.mean_dim(2).into_data());
    let flags = TensorData::new(vec![true; keys], [1, keys]);
    let everything = HiddenKeys::Some(FlexTensor::from_data(flags));
    let [q, k] = [random([1, 1, 1, 4], 1.0), random([1, 1, keys, 4], 1.0)];
    let found = Flex::attention_forward(attention_input([q, k, values], everything));
    assert_close(found.output, mean).expect("the mean of all values");
}

/// As in a plain softmax, which subtracts the overall largest score.
#[test]
fn scores_of_minus_infinity_weigh_nothing_even_where_they_fill_the_first_tile() {
    let lines = |numbers: Vec<f32>| {
        FlexTensor::from_data(TensorData::new(numbers.clone(), [1, 1, numbers.len(), 1]))
    };
    let keys = (0..300).map(|key| if key < 256 { -1e20 } else { 0.0 }).collect();
    let values = (0..300).map(|key| if key < 256 { 9.0 } else { 2.0 }).collect();
    let arrays = [lines(vec![1e20]), lines(keys), lines(values)];
    let input = attention_input(arrays, HiddenKeys::None);
    let found = Flex::attention_forward(AttentionInput { scale: 1.0, ..input });
    assert_close(found.output, lines(vec![2.0])).expect("the values of the other keys");
}

#[test]
fn attention_of_no_queries_is_empty() {
    let [none, keys] = [random([2, 1, 0, 4], 1.0), random([2, 1, 9, 4], 1.0)];
    let input = attention_input([none, keys.clone(), keys], HiddenKeys::None);
    let found = Flex::attention_forward(input);
    assert_eq!(found.output.into_data().shape(), &Shape::new([2, 1, 0, 4]));
}

#[test]
#[should_panic(expected = "attention needs at least one key")]
fn attention_to_no_keys_is_refused() {
    let [queries, none] = [random([2, 1, 3, 4], 1.0), random([2, 1, 0, 4], 1.0)];
    let input = attention_input([queries, none.clone(), none], HiddenKeys::None);
    let _ = Flex::attention_forward(input);
}
