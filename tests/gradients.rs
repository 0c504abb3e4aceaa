//! Gradients of the attention operations, which recompute probabilities, equal those of the same
//! operations written out densely and those of finite differences. Gradients of the layers between them
//! equal those of burn's own layers.

use burn::backend::Dispatch;
use burn::module::Param;
use burn::nn::{LayerNorm, LayerNormConfig, Linear};
use burn::tensor::{Bool, DType, Device, Int, Shape, Tensor, TensorData, activation};
use perceiver_core::ops::{AttentionInput, FactoredTokens, GatherInput, ScatterInput};
use perceiver_core::{KeyMask, ops};
use perceiver_tests::devices;
use proptest::prelude::*;

/// Relative to the largest gradient of a case: the same sums of a few hundred terms in another order.
const TOLERANCE_DOUBLE: f64 = 1e-11;
/// The same in single precision.
const TOLERANCE_SINGLE: f64 = 1e-5;
/// Step of finite differences. Central differences are off by the square of the step times third
/// derivatives, and by 1e-16 times the loss over the step: 1e-10 and 1e-11 times numbers below a
/// thousand here.
const STEP: f64 = 1e-5;
const TOLERANCE_DIFFERENCES: f64 = 1e-7;

/// One operation at one shape, as a loss of flat inputs.
trait Case {
    fn shapes(&self) -> Vec<Shape>;
    /// Computed by the operation.
    fn found(&self, inputs: &[Tensor<1>]) -> Tensor<1>;
    /// Computed with every score written out.
    fn expected(&self, inputs: &[Tensor<1>]) -> Tensor<1>;
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mask {
    None,
    Some,
    /// Every key of the first example is hidden.
    Blind,
}

impl Mask {
    fn of(self, batch: usize, keys: usize, device: &Device) -> Option<KeyMask> {
        let blind = self == Self::Blind;
        let hides = |i: usize| (blind && i < keys) || (!i.is_multiple_of(keys) && i % 3 == 1);
        let hidden: Vec<bool> = (0..batch * keys).map(hides).collect();
        let hidden = Tensor::<2, Bool>::from_data(TensorData::new(hidden, [batch, keys]), device);
        (self != Self::None).then(|| KeyMask::from_hidden(hidden))
    }
}

fn masks() -> impl Strategy<Value = Mask> {
    prop_oneof![Just(Mask::None), Just(Mask::Some), Just(Mask::Blind)]
}

/// Hides scores like the operations.
fn hide(scores: Tensor<4>, mask: Option<&KeyMask>) -> Tensor<4> {
    let [batch, _, _, keys] = scores.dims();
    let dims = scores.dims();
    match mask {
        None => scores,
        Some(mask) => {
            let hidden = mask.hidden().reshape([batch, 1, 1, keys]).expand(dims);
            scores.mask_fill(hidden, f64::from(f32::MIN))
        }
    }
}

/// A sum that weights every output differently.
fn weigh<const D: usize>(output: Tensor<D>) -> Tensor<1> {
    let count = output.shape().num_elements();
    let weights: Vec<f64> = (0..count).map(|i| (0.7 * i as f64 + 0.3).sin()).collect();
    let weights = Tensor::from_data(weights.as_slice(), (&output.device(), output.dtype()));
    (output.reshape([count]) * weights).sum()
}

#[derive(Debug)]
struct Attention {
    batch: usize,
    heads: usize,
    queries: usize,
    keys: usize,
    channels: [usize; 2],
    mask: Mask,
}

impl Attention {
    fn inputs(&self, inputs: &[Tensor<1>]) -> ([Tensor<4>; 3], Option<KeyMask>) {
        let shapes = self.shapes();
        let [queries, keys, values] =
            [0, 1, 2].map(|i| inputs[i].clone().reshape(shapes[i].clone()));
        let mask = self.mask.of(self.batch, self.keys, &inputs[0].device());
        ([queries, keys, values], mask)
    }
}

impl Case for Attention {
    fn shapes(&self) -> Vec<Shape> {
        let Self { batch, heads, queries, keys, channels: [qk, v], .. } = *self;
        vec![
            Shape::new([batch, heads, queries, qk]),
            Shape::new([batch, heads, keys, qk]),
            Shape::new([batch, heads, keys, v]),
        ]
    }

    fn found(&self, inputs: &[Tensor<1>]) -> Tensor<1> {
        let ([queries, keys, values], mask) = self.inputs(inputs);
        let input = AttentionInput::new(queries, keys, values);
        weigh(ops::attention(input.mask(mask.as_ref()).scale(0.6)))
    }

    fn expected(&self, inputs: &[Tensor<1>]) -> Tensor<1> {
        let ([queries, keys, values], mask) = self.inputs(inputs);
        let scores = hide(queries.matmul(keys.swap_dims(2, 3)) * 0.6, mask.as_ref());
        weigh(activation::softmax(scores, 3).matmul(values))
    }
}

/// Tokens of the factored operations.
#[derive(Debug, Clone)]
struct Tokens {
    batch: usize,
    channels: usize,
    grid: Vec<usize>,
    points: Option<Vec<usize>>,
}

impl Tokens {
    fn cells(&self) -> Vec<usize> {
        let all = || (0..self.grid.iter().product()).collect();
        self.points.clone().unwrap_or_else(all)
    }

    fn axes(&self) -> usize {
        self.grid.iter().sum()
    }

    fn shapes(&self) -> [Shape; 2] {
        let count = self.cells().len();
        [Shape::new([self.batch, count, self.channels]), Shape::new([self.batch, count])]
    }

    fn factored(&self, content: Tensor<3>, scale: Tensor<2>) -> FactoredTokens<Dispatch> {
        let (content, scale) = (content.into_dispatch(), scale.into_dispatch());
        FactoredTokens { content, scale, grid: self.grid.clone() }
    }

    /// `[1, 1, axes, tokens]`: one at the place of each token on each axis.
    fn places(&self, like: &Tensor<1>) -> Tensor<4> {
        let cells = self.cells();
        let mut ones = vec![0.0; self.axes() * cells.len()];
        let (mut offset, mut inner) = (0, self.grid.iter().product::<usize>());
        for length in &self.grid {
            inner /= length;
            for (token, cell) in cells.iter().enumerate() {
                ones[(offset + cell / inner % length) * cells.len() + token] = 1.0;
            }
            offset += length;
        }
        let ones = TensorData::new(ones, [1, 1, self.axes(), cells.len()]);
        Tensor::from_data(ones, (&like.device(), like.dtype()))
    }

    /// `vectors · content` plus the terms of all axes, `[batch, heads, rows, tokens]`.
    fn products(&self, vectors: Tensor<4>, terms: Tensor<4>, content: Tensor<3>) -> Tensor<4> {
        let places = self.places(&content.clone().flatten(0, 2));
        let content = content.unsqueeze_dim::<4>(1).swap_dims(2, 3);
        vectors.matmul(content) + terms.matmul(places)
    }
}

#[derive(Debug)]
struct Gather {
    heads: usize,
    queries: usize,
    tokens: Tokens,
    mask: Mask,
}

type GatherInputs = (Tensor<4>, Tensor<4>, Tensor<3>, Tensor<2>, Option<KeyMask>);

impl Gather {
    fn inputs(&self, inputs: &[Tensor<1>]) -> GatherInputs {
        let shapes = self.shapes();
        let keys = self.tokens.cells().len();
        (
            inputs[0].clone().reshape(shapes[0].clone()),
            inputs[1].clone().reshape(shapes[1].clone()),
            inputs[2].clone().reshape(shapes[2].clone()),
            inputs[3].clone().reshape(shapes[3].clone()),
            self.mask.of(self.tokens.batch, keys, &inputs[0].device()),
        )
    }
}

impl Case for Gather {
    fn shapes(&self) -> Vec<Shape> {
        let Self { heads, queries, ref tokens, .. } = *self;
        let [content, token_scale] = tokens.shapes();
        vec![
            Shape::new([tokens.batch, heads, queries, tokens.channels]),
            Shape::new([tokens.batch, heads, queries, tokens.axes()]),
            content,
            token_scale,
        ]
    }

    fn found(&self, inputs: &[Tensor<1>]) -> Tensor<1> {
        let (vectors, terms, content, scale, mask) = self.inputs(inputs);
        let (sums, log_sum_exp) = ops::gather_attend(GatherInput {
            content_queries: vectors.into_dispatch(),
            axis_scores: terms.into_dispatch(),
            tokens: self.tokens.factored(content, scale),
            hidden: mask.as_ref().into(),
        });
        weigh(sums) + weigh(log_sum_exp)
    }

    fn expected(&self, inputs: &[Tensor<1>]) -> Tensor<1> {
        let (vectors, terms, content, scale, mask) = self.inputs(inputs);
        let places = self.tokens.places(&inputs[0]);
        let scale = scale.unsqueeze_dims::<4>(&[1, 2]);
        let products = self.tokens.products(vectors, terms, content.clone());
        let scores = hide(products * scale.clone(), mask.as_ref());
        let largest = scores.clone().detach().max_dim(3);
        let log_sum_exp = (scores.clone() - largest.clone()).exp().sum_dim(3).log() + largest;
        let weights = activation::softmax(scores, 3) * scale;
        let content = weights.clone().matmul(content.unsqueeze_dim::<4>(1));
        let marginals = weights.matmul(places.swap_dims(2, 3));
        weigh(Tensor::cat(vec![content, marginals], 3)) + weigh(log_sum_exp)
    }
}

#[derive(Debug)]
struct Scatter {
    heads: usize,
    keys: usize,
    v_channels: usize,
    tokens: Tokens,
}

type ScatterInputs = (Tensor<3>, Tensor<2>, Tensor<4>, Tensor<4>, Tensor<3>, Tensor<4>);

impl Scatter {
    fn inputs(&self, inputs: &[Tensor<1>]) -> ScatterInputs {
        let shapes = self.shapes();
        (
            inputs[0].clone().reshape(shapes[0].clone()),
            inputs[1].clone().reshape(shapes[1].clone()),
            inputs[2].clone().reshape(shapes[2].clone()),
            inputs[3].clone().reshape(shapes[3].clone()),
            inputs[4].clone().reshape(shapes[4].clone()),
            inputs[5].clone().reshape(shapes[5].clone()),
        )
    }
}

impl Case for Scatter {
    fn shapes(&self) -> Vec<Shape> {
        let Self { heads, keys, v_channels, ref tokens } = *self;
        let [content, token_scale] = tokens.shapes();
        vec![
            content,
            token_scale,
            Shape::new([tokens.batch, heads, keys, tokens.channels]),
            Shape::new([tokens.batch, heads, keys, tokens.axes()]),
            Shape::new([tokens.batch, heads, keys]),
            Shape::new([tokens.batch, heads, keys, v_channels]),
        ]
    }

    fn found(&self, inputs: &[Tensor<1>]) -> Tensor<1> {
        let (content, scale, vectors, terms, bias, values) = self.inputs(inputs);
        let points = self.tokens.points.as_ref().map(|points| {
            let points: Vec<i64> = points.iter().map(|&point| point as i64).collect();
            Tensor::<1, Int>::from_data(points.as_slice(), &inputs[0].device())
        });
        weigh(ops::scatter_attend(ScatterInput {
            tokens: self.tokens.factored(content, scale),
            points: points.into(),
            content_keys: vectors.into_dispatch(),
            axis_scores: terms.into_dispatch(),
            key_bias: bias.into_dispatch(),
            values: values.into_dispatch(),
        }))
    }

    fn expected(&self, inputs: &[Tensor<1>]) -> Tensor<1> {
        let (content, scale, vectors, terms, bias, values) = self.inputs(inputs);
        let scale = scale.unsqueeze_dims::<4>(&[1, 2]);
        let products = self.tokens.products(vectors, terms, content);
        let scores = products * scale + bias.unsqueeze_dim(3);
        weigh(activation::softmax(scores.swap_dims(2, 3), 3).matmul(values))
    }
}

/// The numbers of a case's inputs, spread around zero.
fn values(case: &impl Case) -> Vec<Vec<f64>> {
    let mut seed = 0.0;
    let mut number = || {
        seed += 1.0;
        1.5 * (seed * seed * 0.37_f64 + seed).sin()
    };
    let shapes = case.shapes();
    let count = |shape: &Shape| shape.num_elements();
    shapes.iter().map(|shape| (0..count(shape)).map(|_| number()).collect()).collect()
}

fn tensors(values: &[Vec<f64>], device: &Device, dtype: DType) -> Vec<Tensor<1>> {
    values.iter().map(|values| Tensor::from_data(values.as_slice(), (device, dtype))).collect()
}

fn gradients(inputs: Vec<Tensor<1>>, loss: impl Fn(&[Tensor<1>]) -> Tensor<1>) -> Vec<Vec<f64>> {
    let inputs: Vec<_> = inputs.into_iter().map(Tensor::require_grad).collect();
    let gradients = loss(&inputs).backward();
    let of = |input: &Tensor<1>| {
        let gradient = input.grad(&gradients).expect("every input is tracked");
        gradient.into_data().iter::<f64>().collect()
    };
    inputs.iter().map(of).collect()
}

fn central_differences(case: &impl Case, device: &Device) -> Vec<Vec<f64>> {
    let values = values(case);
    let loss_at = |input: usize, place: usize, step: f64| {
        let mut moved = values.clone();
        moved[input][place] += step;
        case.found(&tensors(&moved, device, DType::F64)).into_scalar::<f64>()
    };
    let along = |input: usize, place: usize| {
        (loss_at(input, place, STEP) - loss_at(input, place, -STEP)) / (2.0 * STEP)
    };
    let inputs = values.iter().enumerate();
    inputs.map(|(i, of)| (0..of.len()).map(|place| along(i, place)).collect()).collect()
}

fn assert_same(found: &[Vec<f64>], expected: &[Vec<f64>], tolerance: f64, what: &str) {
    let largest = expected.iter().flatten().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    for (input, (found, expected)) in found.iter().zip(expected).enumerate() {
        let differences = found.iter().zip(expected).map(|(found, expected)| found - expected);
        let furthest =
            differences.fold(
                0.0,
                |furthest: f64, x| {
                    if x.is_nan() { f64::INFINITY } else { furthest.max(x.abs()) }
                },
            );
        let furthest = furthest / largest;
        assert!(furthest <= tolerance, "{what}: gradient {input} differs by {furthest:.1e}");
    }
}

fn assert_dense(case: &impl Case, device: &Device, dtype: DType, what: &str) {
    let device = device.clone().autodiff();
    let inputs = || tensors(&values(case), &device, dtype);
    let found = gradients(inputs(), |inputs| case.found(inputs));
    let expected = gradients(inputs(), |inputs| case.expected(inputs));
    let tolerance = if dtype == DType::F64 { TOLERANCE_DOUBLE } else { TOLERANCE_SINGLE };
    assert_same(&found, &expected, tolerance, what);
}

/// On every backend that has double precision.
fn assert_dense_everywhere(case: &impl Case) {
    for (name, device) in devices() {
        if name != "wgpu" {
            assert_dense(case, &device, DType::F64, name);
        }
    }
}

fn assert_finite_differences(case: &impl Case, device: &Device) {
    let inputs = tensors(&values(case), &device.clone().autodiff(), DType::F64);
    let found = gradients(inputs, |inputs| case.found(inputs));
    assert_same(&found, &central_differences(case, device), TOLERANCE_DIFFERENCES, "differences");
}

/// A linear layer after a normalisation, and their input.
#[derive(Debug)]
struct Layers {
    linear: Linear,
    norm: LayerNorm,
    x: Tensor<3>,
}

impl Layers {
    fn new(channels_out: usize, device: &Device) -> Self {
        let leaf = |count: usize, step: f64| {
            let values: Vec<f64> = (0..count).map(|i| (step * (i + 1) as f64).sin()).collect();
            Tensor::<1>::from_data(values.as_slice(), (device, DType::F64))
        };
        let vector = |step| Param::from_tensor(leaf(4, step));
        let mut norm = LayerNormConfig::new(4).with_epsilon(1e-5).init(device);
        norm.gamma = vector(0.9);
        norm.beta = Some(vector(1.7));
        let weight = leaf(4 * channels_out, 1.3).reshape([4, channels_out]);
        let weight = Param::from_tensor(weight);
        let bias = Some(Param::from_tensor(leaf(channels_out, 2.1)));
        let x = leaf(40, 0.6).reshape([2, 5, 4]).detach().require_grad();
        Self { linear: Linear { weight, bias }, norm, x }
    }

    /// Gradients of the input and the parameters, from an output of both layers.
    fn gradients(&self, output: Tensor<3>) -> Vec<Vec<f64>> {
        let gradients = weigh(output).backward();
        let numbers = |data: TensorData| data.iter::<f64>().collect();
        let of_vector = |parameter: &Param<Tensor<1>>| {
            numbers(parameter.val().grad(&gradients).expect("it is tracked").into_data())
        };
        let weight = self.linear.weight.val().grad(&gradients).expect("it is tracked");
        let x = self.x.grad(&gradients).expect("it is tracked");
        let beta = self.norm.beta.as_ref().expect("it was set");
        let bias = self.linear.bias.as_ref().expect("it was set");
        vec![
            numbers(x.into_data()),
            numbers(weight.into_data()),
            of_vector(bias),
            of_vector(&self.norm.gamma),
            of_vector(beta),
        ]
    }
}

#[test]
fn linear_layers_and_normalisations_have_the_gradients_of_burn() {
    for (name, device) in devices() {
        if name == "wgpu" {
            continue;
        }
        for channels_out in [1, 3] {
            let layers = Layers::new(channels_out, &device.clone().autodiff());
            let Layers { linear, norm, x } = &layers;
            let found = ops::linear(linear, ops::layer_norm(norm, x.clone()));
            let expected = linear.forward(norm.forward(x.clone()));
            let (found, expected) = (layers.gradients(found), layers.gradients(expected));
            assert_same(&found, &expected, TOLERANCE_DOUBLE, name);
        }
    }
}

fn attentions() -> impl Strategy<Value = Attention> {
    (1usize..3, 1usize..3, 1usize..5, 1usize..6, [1usize..4, 1usize..4], masks()).prop_map(
        |(batch, heads, queries, keys, channels, mask)| Attention {
            batch,
            heads,
            queries,
            keys,
            channels,
            mask,
        },
    )
}

fn tokens(points: bool) -> impl Strategy<Value = Tokens> {
    (1usize..3, 1usize..4, prop::collection::vec(1usize..4, 1..4)).prop_map(
        move |(batch, channels, grid)| {
            let cells: usize = grid.iter().product();
            // Out of order, and one cell twice.
            let points = points.then(|| (0..cells).rev().chain([0]).collect());
            Tokens { batch, channels, grid, points }
        },
    )
}

fn gathers() -> impl Strategy<Value = Gather> {
    (1usize..3, 1usize..4, tokens(false), masks())
        .prop_map(|(heads, queries, tokens, mask)| Gather { heads, queries, tokens, mask })
}

fn scatters() -> impl Strategy<Value = Scatter> {
    (1usize..3, 1usize..4, 1usize..4, prop_oneof![tokens(false), tokens(true)])
        .prop_map(|(heads, keys, v_channels, tokens)| Scatter { heads, keys, v_channels, tokens })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn attention_has_the_dense_gradients(case in attentions()) {
        assert_dense_everywhere(&case);
    }

    #[test]
    fn gathering_has_the_dense_gradients(case in gathers()) {
        assert_dense_everywhere(&case);
    }

    #[test]
    fn scattering_has_the_dense_gradients(case in scatters()) {
        assert_dense_everywhere(&case);
    }
}

/// Two examples and heads, three axes.
fn small() -> (Attention, Gather, Scatter) {
    let tokens = |points| Tokens { batch: 2, channels: 2, grid: vec![2, 3, 1], points };
    (
        Attention { batch: 2, heads: 2, queries: 3, keys: 5, channels: [2, 3], mask: Mask::Some },
        Gather { heads: 2, queries: 3, tokens: tokens(None), mask: Mask::Some },
        Scatter { heads: 2, keys: 3, v_channels: 2, tokens: tokens(Some(vec![5, 0, 3, 0])) },
    )
}

#[test]
#[cfg(feature = "flex")]
fn keys_beyond_one_block_have_the_dense_gradients() {
    let channels = [2, 1];
    let mask = Mask::Some;
    let case = Attention { batch: 2, heads: 1, queries: 3, keys: 4096 + 5, channels, mask };
    assert_dense(&case, &Device::flex(), DType::F64, "attention");
}

/// With 1024 rows, more scores than the generic bodies hold at once.
#[cfg(feature = "flex")]
fn two_slabs() -> Tokens {
    Tokens { batch: 1, channels: 1, grid: vec![17, 8, 8], points: None }
}

#[test]
#[cfg(feature = "flex")]
fn gathering_more_than_one_slab_has_the_dense_gradients() {
    let case = Gather { heads: 1, queries: 1024, tokens: two_slabs(), mask: Mask::Some };
    assert_dense(&case, &Device::flex(), DType::F32, "gathering");
}

#[test]
#[cfg(feature = "flex")]
fn scattering_more_than_one_block_has_the_dense_gradients() {
    let tokens = Tokens { points: Some((0..17 * 64).rev().collect()), ..two_slabs() };
    let case = Scatter { heads: 1, keys: 1024, v_channels: 1, tokens };
    assert_dense(&case, &Device::flex(), DType::F32, "scattering");
}

#[test]
#[cfg(feature = "flex")]
fn gradients_are_those_of_finite_differences() {
    let (attention, gather, scatter) = small();
    let device = Device::flex();
    assert_finite_differences(&attention, &device);
    assert_finite_differences(&gather, &device);
    assert_finite_differences(&scatter, &device);
}

#[test]
fn every_backend_has_the_dense_gradients() {
    let (attention, gather, scatter) = small();
    for (name, device) in devices() {
        assert_dense(&attention, &device, DType::F32, name);
        assert_dense(&gather, &device, DType::F32, name);
        assert_dense(&scatter, &device, DType::F32, name);
    }
}
