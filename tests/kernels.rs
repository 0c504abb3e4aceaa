//! The CubeCL kernels give the results of the generic bodies in double precision, called directly or
//! through Fusion. So do the linear layers, which are burn's.
#![cfg(all(any(feature = "wgpu", feature = "vulkan", feature = "cuda"), feature = "flex"))]

use std::fmt::Debug;

use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Cube, Flex, get_device_settings};
use burn::tensor::{DType, Device, Distribution, Shape, Tensor, TensorData, read_sync};
use burn_cubecl::cubecl::ir::{ElemType, FloatKind};
#[cfg(any(feature = "wgpu", feature = "vulkan"))]
use burn_cubecl::cubecl::wgpu::WgpuDeviceKind;
use burn_cubecl::{CubeBackend, CubeDevice};
use perceiver_core::ops::{
    AttentionInput, AttentionOutput, FactoredTokens, GatherInput, GridPoints, HiddenKeys,
    PerceiverOps, ScatterInput,
};
use perceiver_tests::{backends, difference};
use proptest::prelude::*;

/// Relative to the largest number of a result: sums of a few hundred terms in single precision.
const SINGLE: f64 = 1e-5;
/// The same for input and output in half precision, whose relative precision is 2^-11.
const HALF: f64 = 1e-3;
/// The same in bfloat16, whose relative precision is 2^-8.
const BRAIN: f64 = 8e-3;
/// For products with factors in TF32, whose relative precision is 2^-11, through a few layers.
const TENSOR: f64 = 2e-3;

/// An operation on arrays of certain shapes.
trait Operation: Debug {
    /// The inputs; arrays with heads are `[batch, tokens, heads, channels]`.
    fn input(&self) -> Vec<TensorData>;

    /// The results.
    fn run<B: PerceiverOps>(
        &self,
        input: &[FloatTensor<B>],
        device: &B::Device,
    ) -> Vec<FloatTensor<B>>;
}

fn check(operation: &impl Operation) {
    check_in(DType::F32, SINGLE, operation);
}

/// For burn's own products, which are in TF32 if the runtime has it.
fn check_products(operation: &impl Operation) {
    let tf32 = ElemType::Float(FloatKind::TF32);
    let has_tf32 = |device: &CubeDevice| device.client().properties().supports_type(tf32);
    for device in runtimes() {
        let tolerance = if has_tf32(&device) { TENSOR } else { SINGLE };
        check_on(&device, DType::F32, tolerance, operation);
    }
}

/// Checks every compiled runtime; bfloat16 only if the runtime has it.
fn check_in(dtype: DType, tolerance: f64, operation: &impl Operation) {
    for device in runtimes() {
        let known = device.client().properties().supports_type(dtype_to_storage_type(dtype));
        if dtype != DType::BF16 || known {
            check_on(&device, dtype, tolerance, operation);
        }
    }
}

fn check_on(device: &CubeDevice, dtype: DType, tolerance: f64, operation: &impl Operation) {
    let input = operation.input();
    let expected = run::<Flex>(operation, &input, &Default::default(), DType::F64);
    let directly = run::<CubeBackend>(operation, &input, device, dtype);
    let fused = run::<Cube>(operation, &input, device, dtype);
    let mut failures = String::new();
    for (way, found) in [("directly", directly), ("fused", fused)] {
        for (result, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let difference = difference(found, expected).expect("comparable");
            if difference > tolerance {
                failures += &format!("\nresult {result}, {way}, by {difference:.1e}");
            }
        }
    }
    assert!(failures.is_empty(), "{operation:?} on {device:?} differs in{failures}");
}

fn runtimes() -> Vec<CubeDevice> {
    let runtimes = backends().into_iter().filter_map(|name| match name {
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(CubeDevice::wgpu(WgpuDeviceKind::DefaultDevice)),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(CubeDevice::vulkan(WgpuDeviceKind::DefaultDevice)),
        #[cfg(feature = "cuda")]
        "cuda" => Some(CubeDevice::cuda(0)),
        _ => None,
    });
    runtimes.map(|device| device.expect("the runtime exists")).collect()
}

fn run<B: PerceiverOps>(
    operation: &impl Operation,
    input: &[TensorData],
    device: &B::Device,
    dtype: DType,
) -> Vec<TensorData> {
    let input: Vec<_> = input
        .iter()
        .map(|data| {
            let tensor = B::float_from_data(data.clone().convert_dtype(dtype), device);
            // Heads first, but interleaved in memory, as in projected arrays.
            if data.rank() == 4 { B::float_swap_dims(tensor, 1, 2) } else { tensor }
        })
        .collect();
    let output = operation.run::<B>(&input, device);
    output.into_iter().map(|x| read_sync(B::float_into_data(x)).expect("readable")).collect()
}

/// Numbers that both half precisions represent exactly.
fn random<const D: usize>(shape: [usize; D], distribution: Distribution) -> TensorData {
    let numbers: Tensor<D> = Tensor::random(shape, distribution, &Device::flex());
    numbers.into_data().convert_dtype(DType::BF16).convert_dtype(DType::F16)
}

fn normal<const D: usize>(shape: [usize; D]) -> TensorData {
    random(shape, Distribution::Normal(0.0, 1.0))
}

/// Inverse deviations.
fn scales(shape: [usize; 2]) -> TensorData {
    random(shape, Distribution::Uniform(0.5, 1.5))
}

/// The keys that a mask hides.
#[derive(Debug, Clone, Copy)]
enum Hidden {
    None,
    EveryThird,
    First(usize),
}

impl Hidden {
    fn mask<B: Backend>(self, batch: usize, keys: usize, device: &B::Device) -> HiddenKeys<B> {
        let hides = |key| match self {
            Self::None => false,
            Self::EveryThird => key % 3 == 1,
            Self::First(count) => key < count,
        };
        if matches!(self, Self::None) {
            return HiddenKeys::None;
        }
        let hidden: Vec<bool> = (0..batch * keys).map(|i| hides(i % keys)).collect();
        let dtype = get_device_settings::<B>(device).bool_dtype;
        let hidden = TensorData::new(hidden, [batch, keys]).convert_dtype(dtype.into());
        HiddenKeys::Some(B::bool_from_data(hidden, device))
    }
}

#[derive(Debug, Clone)]
struct Attention {
    batch: usize,
    heads: usize,
    queries: usize,
    keys: usize,
    qk_channels: usize,
    v_channels: usize,
    hidden: Hidden,
}

impl Operation for Attention {
    fn input(&self) -> Vec<TensorData> {
        let Self { batch, heads, queries, keys, qk_channels, v_channels, .. } = *self;
        vec![
            normal([batch, queries, heads, qk_channels]),
            normal([batch, keys, heads, qk_channels]),
            normal([batch, keys, heads, v_channels]),
        ]
    }

    fn run<B: PerceiverOps>(
        &self,
        input: &[FloatTensor<B>],
        device: &B::Device,
    ) -> Vec<FloatTensor<B>> {
        let [queries, keys, values] = input else { panic!("three arrays") };
        let AttentionOutput { output, log_sum_exp } = B::attention_forward(AttentionInput {
            queries: queries.clone(),
            keys: keys.clone(),
            values: values.clone(),
            hidden: self.hidden.mask::<B>(self.batch, self.keys, device),
            scale: 1.0 / (self.qk_channels as f64).sqrt(),
        });
        vec![output, log_sum_exp]
    }
}

#[derive(Debug, Clone)]
struct Gather {
    batch: usize,
    heads: usize,
    queries: usize,
    content_channels: usize,
    grid: Vec<usize>,
    hidden: Hidden,
}

impl Operation for Gather {
    fn input(&self) -> Vec<TensorData> {
        let Self { batch, heads, queries, content_channels, .. } = *self;
        let tokens = self.grid.iter().product();
        vec![
            normal([batch, queries, heads, content_channels]),
            normal([batch, queries, heads, self.grid.iter().sum()]),
            normal([batch, tokens, content_channels]),
            scales([batch, tokens]),
        ]
    }

    fn run<B: PerceiverOps>(
        &self,
        input: &[FloatTensor<B>],
        device: &B::Device,
    ) -> Vec<FloatTensor<B>> {
        let [content_queries, axis_scores, content, scale] = input else { panic!("four arrays") };
        let tokens = self.grid.iter().product();
        let packed = B::gather_attend(GatherInput {
            content_queries: content_queries.clone(),
            axis_scores: axis_scores.clone(),
            tokens: FactoredTokens {
                content: content.clone(),
                scale: scale.clone(),
                grid: self.grid.clone(),
            },
            hidden: self.hidden.mask::<B>(self.batch, tokens, device),
        });
        vec![packed]
    }
}

#[derive(Debug, Clone)]
struct Scatter {
    batch: usize,
    heads: usize,
    keys: usize,
    content_channels: usize,
    v_channels: usize,
    grid: Vec<usize>,
    /// If true, only some cells are queries, out of order and one of them twice.
    points: bool,
}

impl Scatter {
    fn tokens(&self) -> usize {
        self.grid.iter().product::<usize>() + usize::from(self.points)
    }
}

impl Operation for Scatter {
    fn input(&self) -> Vec<TensorData> {
        let Self { batch, heads, keys, content_channels, v_channels, .. } = *self;
        vec![
            normal([batch, self.tokens(), content_channels]),
            scales([batch, self.tokens()]),
            normal([batch, keys, heads, content_channels]),
            normal([batch, keys, heads, self.grid.iter().sum()]),
            normal([batch, heads, keys]),
            normal([batch, keys, heads, v_channels]),
        ]
    }

    fn run<B: PerceiverOps>(
        &self,
        input: &[FloatTensor<B>],
        device: &B::Device,
    ) -> Vec<FloatTensor<B>> {
        let [content, scale, content_keys, axis_scores, key_bias, values] = input else {
            panic!("six arrays")
        };
        let points = if self.points {
            let points: Vec<i64> = (0..self.tokens() as i64 - 1).rev().chain([0]).collect();
            let points = TensorData::new(points, [self.tokens()]);
            let dtype = get_device_settings::<B>(device).int_dtype;
            GridPoints::Some(B::int_from_data(points.convert_dtype(dtype.into()), device))
        } else {
            GridPoints::All
        };
        let AttentionOutput { output, log_sum_exp } = B::scatter_attend_forward(ScatterInput {
            tokens: FactoredTokens {
                content: content.clone(),
                scale: scale.clone(),
                grid: self.grid.clone(),
            },
            points,
            content_keys: content_keys.clone(),
            axis_scores: axis_scores.clone(),
            key_bias: key_bias.clone(),
            values: values.clone(),
        });
        vec![output, log_sum_exp]
    }
}

/// A linear layer, and one whose weight is a view, like that of a 1x1 convolution. Both use the products
/// of the backend.
#[derive(Debug)]
struct Affine {
    rows: usize,
    channels_in: usize,
    channels_out: usize,
}

impl Operation for Affine {
    fn input(&self) -> Vec<TensorData> {
        let Self { rows, channels_in, channels_out } = *self;
        vec![
            normal([rows, channels_in]),
            normal([channels_in, channels_out]),
            normal([channels_out, channels_in]),
            normal([channels_out]),
        ]
    }

    fn run<B: PerceiverOps>(
        &self,
        input: &[FloatTensor<B>],
        _device: &B::Device,
    ) -> Vec<FloatTensor<B>> {
        let [x, weight, turned, bias] = input else { panic!("four arrays") };
        let weights = [weight.clone(), B::float_transpose(turned.clone())];
        weights.map(|weight| B::affine(x.clone(), weight, bias.clone())).into()
    }
}

#[derive(Debug)]
struct Normalise {
    rows: usize,
    channels: usize,
}

impl Operation for Normalise {
    fn input(&self) -> Vec<TensorData> {
        let Self { rows, channels } = *self;
        vec![normal([rows, channels]), normal([channels]), normal([channels])]
    }

    fn run<B: PerceiverOps>(
        &self,
        input: &[FloatTensor<B>],
        _device: &B::Device,
    ) -> Vec<FloatTensor<B>> {
        let [x, gamma, beta] = input else { panic!("three arrays") };
        vec![B::normalise(x.clone(), gamma.clone(), beta.clone(), 1e-5)]
    }
}

/// The tokens, keys and scores of the image head with learned positions: a 1x1 convolution of pixels
/// whose channels come first in memory, next to a projected table of positions that all examples share;
/// a normalisation; a linear layer; and the scores of queries that all examples share, too.
#[derive(Debug)]
struct ImageTokens {
    batch: usize,
    size: [usize; 2],
    channels: usize,
    key_channels: usize,
    queries: usize,
}

impl Operation for ImageTokens {
    fn input(&self) -> Vec<TensorData> {
        let Self { batch, size: [height, width], channels, key_channels, queries } = *self;
        vec![
            normal([batch, 3 * height * width]),
            normal([channels, 3]),
            normal([channels]),
            normal([height * width, channels]),
            normal([channels, channels]),
            normal([channels]),
            normal([2 * channels]),
            normal([2 * channels]),
            normal([2 * channels, key_channels]),
            normal([key_channels]),
            normal([queries, key_channels]),
        ]
    }

    fn run<B: PerceiverOps>(
        &self,
        input: &[FloatTensor<B>],
        _device: &B::Device,
    ) -> Vec<FloatTensor<B>> {
        let Self { batch, size: [height, width], channels, key_channels, queries } = *self;
        let (sources, [gamma, beta, of_key, key_bias, asked]) = input.split_at(6) else {
            panic!("five arrays for keys and scores")
        };
        let [pixels, of_pixel, pixel_bias, table, of_place, place_bias] = sources else {
            panic!("six arrays for tokens")
        };
        let tokens = height * width;
        let rows = |x, channels| B::float_reshape(x, Shape::new([batch * tokens, channels]));
        let examples = |x| B::float_reshape(x, Shape::new([batch, tokens, channels]));

        let image = B::float_reshape(pixels.clone(), Shape::new([batch, 3, height, width]));
        let pixels = rows(B::float_permute(image, &[0, 2, 3, 1]), 3);
        let of_pixel = B::float_transpose(of_pixel.clone());
        let content = examples(B::affine(pixels, of_pixel, pixel_bias.clone()));

        let positions = B::affine(table.clone(), of_place.clone(), place_bias.clone());
        let shared = B::float_reshape(positions.clone(), Shape::new([1, tokens, channels]));
        let shared = B::float_expand(shared, Shape::new([batch, tokens, channels]));

        let joined = B::float_cat(vec![content.clone(), shared], 2);
        let joined = rows(joined, 2 * channels);
        let normalised = B::normalise(joined.clone(), gamma.clone(), beta.clone(), 1e-5);
        let keys = B::affine(normalised.clone(), of_key.clone(), key_bias.clone());

        let per_head = |x, rows| B::float_reshape(x, Shape::new([batch, 1, rows, key_channels]));
        let asked = B::float_reshape(asked.clone(), Shape::new([1, queries, key_channels]));
        let asked = B::float_expand(asked, Shape::new([batch, queries, key_channels]));
        let turned = B::float_swap_dims(per_head(keys.clone(), tokens), 2, 3);
        let scores = B::float_matmul(per_head(asked, queries), turned);
        vec![content, positions, joined, normalised, keys, scores]
    }
}

/// Queries and keys that end within the second tile.
const ATTENTION: Attention = Attention {
    batch: 2,
    heads: 3,
    queries: 33,
    keys: 70,
    qk_channels: 5,
    v_channels: 7,
    hidden: Hidden::None,
};

fn gather(grid: &[usize]) -> Gather {
    Gather {
        batch: 2,
        heads: 3,
        queries: 33,
        content_channels: 5,
        grid: grid.to_vec(),
        hidden: Hidden::None,
    }
}

fn scatter(grid: &[usize]) -> Scatter {
    Scatter {
        batch: 2,
        heads: 3,
        keys: 70,
        content_channels: 5,
        v_channels: 7,
        grid: grid.to_vec(),
        points: false,
    }
}

#[test]
fn attention_hides_what_the_mask_hides() {
    for hidden in [Hidden::EveryThird, Hidden::First(66)] {
        check(&Attention { hidden, ..ATTENTION });
    }
}

#[test]
fn a_row_whose_keys_are_all_hidden_attends_to_all() {
    check(&Attention { hidden: Hidden::First(70), ..ATTENTION });
    check(&Gather { hidden: Hidden::First(90), ..gather(&[9, 10]) });
}

#[test]
fn attention_takes_head_sizes_that_do_not_fill_vectors() {
    check(&Attention { qk_channels: 261, v_channels: 322, ..ATTENTION });
}

#[test]
fn enough_rows_keep_every_cube_busy_without_splitting_keys() {
    check(&Attention { heads: 8, queries: 512, ..ATTENTION });
    check(&Gather { heads: 8, queries: 512, ..gather(&[9, 10]) });
    check(&Scatter { heads: 1, ..scatter(&[60, 70]) });
}

#[test]
fn an_axis_may_be_shorter_or_longer_than_a_tile() {
    for grid in [[50, 3], [2, 100]] {
        check(&gather(&grid));
        check(&scatter(&grid));
    }
}

#[test]
fn a_grid_may_have_many_axes() {
    check(&gather(&[3, 2, 4, 2, 5]));
    check(&scatter(&[3, 2, 4, 2, 5]));
}

#[test]
fn content_and_values_may_be_wider_than_a_cube_sums() {
    check(&Gather { content_channels: 300, ..gather(&[9, 10]) });
    check(&Scatter { v_channels: 300, ..scatter(&[9, 10]) });
}

#[test]
fn some_cells_can_be_queried_out_of_order() {
    check(&Scatter { points: true, ..scatter(&[9, 10]) });
}

#[test]
fn half_precisions_are_summed_in_single_precision() {
    let hidden = Hidden::EveryThird;
    for (dtype, tolerance) in [(DType::F16, HALF), (DType::BF16, BRAIN)] {
        check_in(dtype, tolerance, &Attention { hidden, ..ATTENTION });
        check_in(dtype, tolerance, &Gather { hidden, ..gather(&[9, 10]) });
        check_in(dtype, tolerance, &Scatter { points: true, ..scatter(&[9, 10]) });
        check_in(dtype, tolerance, &Normalise { rows: 3, channels: 300 });
    }
}

#[test]
fn rows_are_normalised_whether_a_cube_has_more_units_or_fewer() {
    for (rows, channels) in [(0, 5), (1, 1), (70, 5), (3, 256), (2, 1000)] {
        check(&Normalise { rows, channels });
    }
}

#[test]
fn linear_layers_take_few_channels() {
    for (channels_in, channels_out) in [(3, 256), (1, 5), (5, 1), (3, 1), (24, 24)] {
        check_products(&Affine { rows: 72, channels_in, channels_out });
    }
}

/// Some of them by a faster product, if there is one that applies.
#[test]
fn linear_layers_take_many_channels() {
    for (rows, channels_in, channels_out) in [(300, 256, 320), (261, 261, 322)] {
        let operation = Affine { rows, channels_in, channels_out };
        check_products(&operation);
        check_in(DType::BF16, BRAIN, &operation);
    }
}

#[test]
fn linear_layers_turn_pixels_and_a_table_into_scores() {
    for size in [[6, 6], [5, 4], [9, 13]] {
        check_products(&ImageTokens {
            batch: 2,
            size,
            channels: 256,
            key_channels: 24,
            queries: 7,
        });
    }
}

fn hidden() -> impl Strategy<Value = Hidden> {
    prop_oneof![Just(Hidden::None), Just(Hidden::EveryThird)]
}

fn grids() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1usize..14, 2..=2)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn attention_takes_any_shape(
        operation in (1usize..3, 1usize..3, 1usize..70, 1usize..200, 1usize..40, 1usize..120, hidden())
            .prop_map(|(batch, heads, queries, keys, qk_channels, v_channels, hidden)| Attention {
                batch, heads, queries, keys, qk_channels, v_channels, hidden,
            }),
    ) {
        check(&operation);
    }

    #[test]
    fn gathering_takes_any_shape(
        operation in (1usize..3, 1usize..3, 1usize..70, 1usize..120, grids(), hidden())
            .prop_map(|(batch, heads, queries, content_channels, grid, hidden)| Gather {
                batch, heads, queries, content_channels, grid, hidden,
            }),
    ) {
        check(&operation);
    }

    #[test]
    fn scattering_takes_any_shape(
        operation in (1usize..3, 1usize..3, 1usize..200, 1usize..40, 1usize..120, grids(), any::<bool>())
            .prop_map(|(batch, heads, keys, content_channels, v_channels, grid, points)| Scatter {
                batch, heads, keys, content_channels, v_channels, grid, points,
            }),
    ) {
        check(&operation);
    }
}
