//! The operations as CubeCL kernels, one set for every CubeCL runtime.
//!
//! A cube takes a tile of rows and streams over a range of the keys. If rows are few, as in the encoder
//! direction, the keys are split over more cubes, and a small second kernel merges their results.
//! All sums are in single precision.
//!
//! Double precision, arrays of more than 2³² numbers and devices too small for a tile take the generic
//! bodies.
#![allow(clippy::too_many_arguments, reason = "kernels take this many tensors and sizes")]

mod attention;
mod gather;
mod grid;
mod merge;
mod normalise;
#[cfg(not(feature = "autotune"))]
mod product;
mod scatter;
mod softmax;
mod tile;

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype, zeros_client};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeDevice};
use cubecl::calculate_cube_count_elemwise;
use cubecl::client::Client;
use cubecl::ir::{ElemType, UIntKind};
use cubecl::prelude::*;

use self::tile::{KEYS, ROWS, SHARED, SLAB, UNITS};
use super::affine::rows;
use super::attention::cat;
use super::blocks::lowest_finite;
use super::{
    AttentionInput, AttentionOutput, FactoredTokens, GatherInput, GridPoints, HiddenKeys,
    PerceiverOps, ScatterInput,
};

/// Slabs of sums that the units of a cube hold.
const SLABS: usize = 2;
/// Cubes that keep a streaming multiprocessor busy.
const CUBES: usize = 4;
/// Streaming multiprocessors, if the runtime does not report them.
const PROCESSORS: u32 = 64;

impl PerceiverOps for CubeBackend {
    fn attention_forward(input: AttentionInput<Self>) -> AttentionOutput<Self> {
        let [batch, heads, rows, _] = input.queries.shape().dims::<4>();
        let [_, _, key_count, channels] = input.values.shape().dims::<4>();
        let tensors = [&input.queries, &input.keys, &input.values];
        if !supports(&tensors, batch * heads * rows * channels) {
            return super::attention::generic(input);
        }
        let AttentionInput { queries, keys, values, hidden, scale } = input;
        let plan = Plan::new(&queries, [batch, heads], rows, key_count, channels);
        let (output, statistics) = plan.results();
        let (hidden, truths) = mask(hidden);
        let types = [plan.dtype, output.dtype].map(dtype_to_storage_type);
        attention::attention::launch(
            &plan.client,
            plan.cubes(),
            CubeDim::new_1d(UNITS as u32),
            with_neighbouring_channels(queries).into_tensor_arg(),
            with_neighbouring_channels(keys).into_tensor_arg(),
            with_neighbouring_channels(values).into_tensor_arg(),
            hidden.map(CubeTensor::into_buffer_arg).into(),
            output.clone().into_tensor_arg(),
            statistics.clone().into_tensor_arg(),
            scale as f32,
            lowest_finite(plan.dtype) as f32,
            plan.splits,
            plan.split_keys,
            plan.slabs,
            plan.splits > 1,
            [types[0], types[1], truths],
        );
        plan.finish(output, statistics)
    }

    fn gather_attend(input: GatherInput<Self>) -> CubeTensor {
        let [batch, heads, rows, channels] = input.content_queries.shape().dims::<4>();
        let columns = channels + input.axis_scores.shape()[3];
        let tensors = [
            &input.content_queries,
            &input.axis_scores,
            &input.tokens.content,
            &input.tokens.scale,
        ];
        if !supports(&tensors, batch * heads * rows * columns) {
            return super::gather::generic(input);
        }
        let GatherInput { content_queries, axis_scores, tokens, hidden } = input;
        let FactoredTokens { content, scale, grid } = tokens;
        let tokens = content.shape()[1];
        let plan = Plan::new(&content_queries, [batch, heads], rows, tokens, channels);
        let arrays = batch * heads;
        // Allocated with one dimension, so that no runtime pads the rows.
        let shape = Shape::new([plan.splits, arrays, columns, rows]);
        let partials = zeros_client(
            plan.client.clone(),
            plan.device.clone(),
            Shape::new([shape.num_elements()]),
            DType::F32,
        );
        let partials = Self::float_reshape(partials, shape);
        let statistics = plan.empty([2, plan.splits, arrays, rows], DType::F32);
        let (hidden, truths) = mask(hidden);
        gather::gather::launch(
            &plan.client,
            plan.cubes(),
            CubeDim::new_1d(UNITS as u32),
            into_contiguous(content_queries).into_tensor_arg(),
            into_contiguous(axis_scores).into_tensor_arg(),
            into_contiguous(content).into_tensor_arg(),
            into_contiguous(scale).into_tensor_arg(),
            hidden.map(CubeTensor::into_buffer_arg).into(),
            partials.clone().into_tensor_arg(),
            statistics.clone().into_tensor_arg(),
            grid.into_iter().collect(),
            lowest_finite(plan.dtype) as f32,
            plan.splits,
            plan.split_keys,
            plan.slabs,
            [dtype_to_storage_type(plan.dtype), truths],
        );
        let partials = Self::float_swap_dims(partials, 2, 3);
        let AttentionOutput { output, log_sum_exp } = plan.merge(partials, statistics);
        cat::<Self>(vec![output, log_sum_exp], 3)
    }

    fn scatter_attend_forward(input: ScatterInput<Self>) -> AttentionOutput<Self> {
        let [batch, heads, key_count, channels] = input.values.shape().dims::<4>();
        let rows = input.tokens.content.shape()[1];
        let tensors = [
            &input.tokens.content,
            &input.tokens.scale,
            &input.content_keys,
            &input.axis_scores,
            &input.key_bias,
            &input.values,
        ];
        if !supports(&tensors, batch * heads * rows * channels) {
            return super::scatter::generic(input);
        }
        let ScatterInput { tokens, points, content_keys, axis_scores, key_bias, values } = input;
        let FactoredTokens { content, scale, grid } = tokens;
        let plan = Plan::new(&content, [batch, heads], rows, key_count, channels);
        let (output, statistics) = plan.results();
        let (points, integers) = match points {
            GridPoints::All => optional(None),
            GridPoints::Some(points) => optional(Some(points)),
        };
        let types = [plan.dtype, output.dtype].map(dtype_to_storage_type);
        scatter::scatter::launch(
            &plan.client,
            plan.cubes(),
            CubeDim::new_1d(UNITS as u32),
            into_contiguous(content).into_tensor_arg(),
            into_contiguous(scale).into_tensor_arg(),
            into_contiguous(content_keys).into_tensor_arg(),
            into_contiguous(axis_scores).into_tensor_arg(),
            into_contiguous(key_bias).into_tensor_arg(),
            into_contiguous(values).into_tensor_arg(),
            points.map(CubeTensor::into_buffer_arg).into(),
            output.clone().into_tensor_arg(),
            statistics.clone().into_tensor_arg(),
            grid.into_iter().collect(),
            plan.splits,
            plan.split_keys,
            plan.slabs,
            plan.splits > 1,
            [types[0], types[1], integers],
        );
        plan.finish(output, statistics)
    }

    /// With `autotune`, burn's tuner chooses the kernel.
    #[cfg(not(feature = "autotune"))]
    fn product(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
        product::product(&x, &weight).unwrap_or_else(|| Self::float_matmul(x, weight))
    }

    fn normalise(x: CubeTensor, gamma: CubeTensor, beta: CubeTensor, epsilon: f64) -> CubeTensor {
        let shape = x.shape();
        if !supports(&[&x, &gamma, &beta], shape.num_elements()) {
            return super::normalise::generic::<Self>(x, gamma, beta, epsilon);
        }
        let x = rows::<Self>(x);
        let (client, device, dtype) = (x.client.clone(), x.device.clone(), x.dtype);
        let output = empty_device_contiguous_dtype(client.clone(), device, x.shape(), dtype);
        let dim = CubeDim::new_1d(UNITS as u32);
        normalise::normalise::launch(
            &client,
            calculate_cube_count_elemwise(&client, x.shape()[0] * UNITS, dim),
            dim,
            into_contiguous(x).into_tensor_arg(),
            into_contiguous(gamma).into_tensor_arg(),
            into_contiguous(beta).into_tensor_arg(),
            output.clone().into_tensor_arg(),
            epsilon as f32,
            dtype_to_storage_type(dtype),
        );
        Self::float_reshape(output, shape)
    }
}

/// True if a kernel supports these arrays and an output of `output` numbers.
fn supports(tensors: &[&CubeTensor], output: usize) -> bool {
    let properties = tensors[0].client.properties();
    let hardware = &properties.hardware;
    let dtype = tensors[0].dtype;
    // A kernel also has one optional array and two results.
    let buffers = tensors.len() + 3;
    let countable = |numbers| u32::try_from(numbers).is_ok();
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
        && properties.supports_type(dtype_to_storage_type(dtype))
        && tensors.iter().all(|x| x.dtype == dtype && countable(x.shape().num_elements()))
        && countable(output)
        && hardware.max_units_per_cube as usize >= UNITS
        && hardware.max_shared_memory_size >= SHARED
        && hardware.max_bindings as usize >= buffers
}

/// Makes channels contiguous. Heads may be interleaved, as they are in projected arrays.
fn with_neighbouring_channels(x: CubeTensor) -> CubeTensor {
    if x.meta.strides()[3] == 1 { x } else { into_contiguous(x) }
}

/// The array of the mask and its type.
fn mask(hidden: HiddenKeys<CubeBackend>) -> (Option<CubeTensor>, ElemType) {
    match hidden {
        HiddenKeys::None => optional(None),
        HiddenKeys::Some(hidden) => optional(Some(hidden)),
    }
}

/// An optional array, and its type, which a kernel needs in any case.
fn optional(tensor: Option<CubeTensor>) -> (Option<CubeTensor>, ElemType) {
    let absent = ElemType::UInt(UIntKind::U32);
    let element = tensor.as_ref().map_or(absent, |tensor| dtype_to_storage_type(tensor.dtype));
    (tensor.map(into_contiguous), element)
}

/// Divides the work among cubes.
struct Plan {
    client: Client,
    device: CubeDevice,
    dtype: DType,
    batch: usize,
    heads: usize,
    rows: usize,
    channels: usize,
    /// Slabs of channels that a cube sums.
    slabs: usize,
    /// Ranges that the keys are split into.
    splits: usize,
    /// Keys of every range except the last.
    split_keys: usize,
}

impl Plan {
    fn new(
        like: &CubeTensor,
        [batch, heads]: [usize; 2],
        rows: usize,
        keys: usize,
        channels: usize,
    ) -> Self {
        let slabs = channels.div_ceil(SLAB).clamp(1, SLABS);
        let mut plan = Self {
            client: like.client.clone(),
            device: like.device.clone(),
            dtype: like.dtype,
            batch,
            heads,
            rows,
            channels,
            slabs,
            splits: 1,
            split_keys: keys,
        };
        let hardware = &plan.client.properties().hardware;
        let processors = hardware.num_streaming_multiprocessors.unwrap_or(PROCESSORS) as usize;
        let wanted = (processors * CUBES).div_ceil(plan.cube_count().max(1));
        plan.split_keys = keys.div_ceil(KEYS).div_ceil(wanted) * KEYS;
        plan.splits = keys.div_ceil(plan.split_keys);
        plan
    }

    fn cube_count(&self) -> usize {
        let tiles = self.rows.div_ceil(ROWS) * self.channels.div_ceil(self.slabs * SLAB);
        self.batch * self.heads * self.splits * tiles
    }

    fn cubes(&self) -> CubeCount {
        let units = self.cube_count() * UNITS;
        calculate_cube_count_elemwise(&self.client, units, CubeDim::new_1d(UNITS as u32))
    }

    fn empty<const D: usize>(&self, shape: [usize; D], dtype: DType) -> CubeTensor {
        let (client, device) = (self.client.clone(), self.device.clone());
        empty_device_contiguous_dtype(client, device, Shape::new(shape), dtype)
    }

    /// Output and statistics for the kernels of dense values to write: the final ones if a cube sees
    /// all keys, partial ones otherwise.
    fn results(&self) -> (CubeTensor, CubeTensor) {
        let (splits, arrays) = (self.splits, self.batch * self.heads);
        if splits == 1 {
            (self.output(self.channels), self.log_sum_exp())
        } else {
            let partials = self.empty([splits, arrays, self.rows, self.channels], DType::F32);
            (partials, self.empty([2, splits, arrays, self.rows], DType::F32))
        }
    }

    /// Heads are adjacent in memory, ready for the linear layer that follows.
    fn output(&self, channels: usize) -> CubeTensor {
        let together = self.empty([self.batch, self.rows, self.heads, channels], self.dtype);
        CubeBackend::float_swap_dims(together, 1, 2)
    }

    fn log_sum_exp(&self) -> CubeTensor {
        self.empty([self.batch, self.heads, self.rows, 1], self.dtype)
    }

    fn finish(&self, output: CubeTensor, statistics: CubeTensor) -> AttentionOutput<CubeBackend> {
        if self.splits > 1 {
            return self.merge(output, statistics);
        }
        AttentionOutput { output, log_sum_exp: statistics }
    }

    /// Merges partial sums, `[splits, arrays, rows, channels]`, by their statistics.
    fn merge(&self, partials: CubeTensor, statistics: CubeTensor) -> AttentionOutput<CubeBackend> {
        let (output, log_sum_exp) = (self.output(partials.shape()[3]), self.log_sum_exp());
        let units = output.shape().num_elements();
        let dim = CubeDim::new(&self.client, units);
        merge::merge::launch(
            &self.client,
            calculate_cube_count_elemwise(&self.client, units, dim),
            dim,
            partials.into_tensor_arg(),
            statistics.into_tensor_arg(),
            output.clone().into_tensor_arg(),
            log_sum_exp.clone().into_tensor_arg(),
            dtype_to_storage_type(self.dtype),
        );
        AttentionOutput { output, log_sum_exp }
    }
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use super::*;

    /// Otherwise, tests of the kernels would compare the generic bodies with themselves.
    #[test]
    fn the_default_device_takes_the_kernels() {
        let device = CubeDevice::default();
        for (dtype, expected) in [(DType::F32, true), (DType::F16, true), (DType::F64, false)] {
            let tensor = CubeBackend::float_zeros(Shape::new([2]), &device, dtype.into());
            assert_eq!(supports(&[&tensor], 1), expected, "{dtype:?}");
        }
    }
}
