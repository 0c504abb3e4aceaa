//! The operations on the CPU: tiles of scores that stay in the cache, matrix products by `faer`,
//! vectorised exponentials, and work for every core even with one example and one head.
//!
//! In single precision only; other types take the generic bodies.

mod affine;
mod array;
mod cells;
mod dense;
mod dense_backward;
mod gather;
mod gather_backward;
mod lanes;
mod matrix;
mod normalise;
mod scatter;
mod stream;
#[cfg(test)]
mod tests;
mod views;

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};
use multiversion::multiversion;
use rayon::prelude::*;

use self::cells::Cells;
use self::matrix::product;
use self::stream::{Kernel, Size, stream};
use self::views::{
    as_rows, cells, flags, for_heads, matrix, numbers, tensor, view, whole, with_contiguous_lines,
    with_contiguous_rows,
};
use super::affine::{rows, with_channels};
use super::attention::cat;
use super::blocks::slice;
use super::{
    AttentionGradients, AttentionInput, AttentionOutput, GatherGradients, GatherInput, HiddenKeys,
    PerceiverOps, ScatterInput, TokenGradients,
};

impl PerceiverOps for Flex {
    fn attention_forward(input: AttentionInput<Self>) -> AttentionOutput<Self> {
        if input.queries.dtype() != DType::F32 {
            return super::attention::generic(input);
        }
        let AttentionInput { queries, keys, values, hidden, scale } = input;
        let heads = queries.layout().shape()[1];
        let [queries, keys, values] = [queries, keys, values].map(with_contiguous_lines);
        let hidden = flags(hidden);
        run(&dense::Dense {
            queries: whole(&queries),
            keys: whole(&keys),
            values: whole(&values),
            hidden: view(hidden.as_ref(), heads),
            scale: scale as f32,
        })
    }

    fn attention_backward(
        input: AttentionInput<Self>,
        output: AttentionOutput<Self>,
        output_gradient: FlexTensor,
    ) -> AttentionGradients<Self> {
        let [batch, heads, ..] = input.queries.layout().shape().dims::<4>();
        let tiled =
            input.queries.dtype() == DType::F32 && batch * heads >= rayon::current_num_threads();
        if !tiled {
            return super::backward::attention::generic(input, output, output_gradient);
        }
        let AttentionInput { queries, keys, values, hidden, scale } = input;
        let AttentionOutput { output, log_sum_exp } = output;
        let inputs = [queries, keys, values];
        let [output, gradient] = [output, output_gradient].map(with_contiguous_rows);
        let log_sum_exp = log_sum_exp.to_contiguous();
        let shapes = inputs.each_ref().map(|tensor| tensor.layout().shape().clone());
        let [queries, keys, values] = inputs.map(with_contiguous_lines);
        let hidden = flags(hidden);
        let [queries, keys, values] = dense_backward::DenseBackward {
            queries: whole(&queries),
            keys: whole(&keys),
            values: whole(&values),
            output: whole(&output),
            log_sum_exp: whole(&log_sum_exp),
            output_gradient: whole(&gradient),
            hidden: view(hidden.as_ref(), heads),
            scale: scale as f32,
        }
        .run();
        let [queries_shape, keys_shape, values_shape] = shapes;
        AttentionGradients {
            queries: tensor(queries, queries_shape),
            keys: tensor(keys, keys_shape),
            values: tensor(values, values_shape),
        }
    }

    fn gather_attend(input: GatherInput<Self>) -> FlexTensor {
        if input.content_queries.dtype() != DType::F32 {
            return super::gather::generic(input);
        }
        let GatherInput { content_queries, axis_scores, tokens, hidden } = input;
        let heads = content_queries.layout().shape()[1];
        let [content_queries, content] =
            [content_queries, tokens.content].map(with_contiguous_lines);
        let axis_scores = axis_scores.to_contiguous();
        let token_scale = as_rows(tokens.scale);
        let hidden = flags(hidden);
        let AttentionOutput { output, log_sum_exp } = run(&gather::Gather {
            content_queries: whole(&content_queries),
            axis_scores: whole(&axis_scores),
            content: for_heads(&content, heads),
            token_scale: for_heads(&token_scale, heads),
            hidden: view(hidden.as_ref(), heads),
            cells: Cells::new(&tokens.grid, None),
        });
        cat::<Self>(vec![output, log_sum_exp], 3)
    }

    fn gather_attend_backward(
        input: GatherInput<Self>,
        packed: FlexTensor,
        packed_gradient: FlexTensor,
        tracked_tokens: bool,
    ) -> GatherGradients<Self> {
        let tiled = input.content_queries.dtype() == DType::F32
            && matches!(input.hidden, HiddenKeys::None)
            && !tracked_tokens;
        if !tiled {
            return super::backward::gather::generic(
                input,
                packed,
                packed_gradient,
                tracked_tokens,
            );
        }
        let GatherInput { content_queries, axis_scores, tokens, .. } = input;
        let [batch, heads, queries, channels] = content_queries.layout().shape().dims();
        let axes = axis_scores.layout().shape()[3];
        let [content_queries, content] =
            [content_queries, tokens.content].map(with_contiguous_lines);
        let [axis_scores, packed, packed_gradient] =
            [axis_scores, packed, packed_gradient].map(|tensor| tensor.to_contiguous());
        let token_scale = as_rows(tokens.scale);
        let gather = |content_queries, axis_scores| gather::Gather {
            content_queries,
            axis_scores,
            content: for_heads(&content, heads),
            token_scale: for_heads(&token_scale, heads),
            hidden: None,
            cells: Cells::new(&tokens.grid, None),
        };
        let gradient = whole(&packed_gradient);
        let sums = gather_backward::GatherBackward {
            forward: gather(whole(&content_queries), whole(&axis_scores)),
            received: gather(
                gradient.columns(0..channels),
                gradient.columns(channels..channels + axes),
            ),
            packed: whole(&packed),
            packed_gradient: gradient,
        }
        .run();
        let sums = tensor(sums, Shape::new([batch, heads, queries, channels + axes]));
        GatherGradients {
            content_queries: slice::<Self>(&sums, 3, 0, channels),
            axis_scores: slice::<Self>(&sums, 3, channels, channels + axes),
            tokens: TokenGradients::None,
        }
    }

    fn scatter_attend_forward(input: ScatterInput<Self>) -> AttentionOutput<Self> {
        if input.tokens.content.dtype() != DType::F32 {
            return super::scatter::generic(input);
        }
        let ScatterInput { tokens, points, content_keys, axis_scores, key_bias, values } = input;
        let heads = content_keys.layout().shape()[1];
        let [content, content_keys, values] =
            [tokens.content, content_keys, values].map(with_contiguous_lines);
        let [token_scale, key_bias] = [tokens.scale, key_bias].map(as_rows);
        let axis_scores = axis_scores.transpose(2, 3).to_contiguous();
        run(&scatter::Scatter {
            content: for_heads(&content, heads),
            token_scale: for_heads(&token_scale, heads),
            content_keys: whole(&content_keys),
            axis_scores: whole(&axis_scores),
            key_bias: whole(&key_bias),
            values: whole(&values),
            cells: Cells::new(&tokens.grid, cells(points)),
        })
    }

    fn exact_gelu(x: FlexTensor) -> FlexTensor {
        if x.dtype() != DType::F32 {
            return super::backend::generic_gelu::<Self>(x);
        }
        let mut x = numbers(x);
        gelu(x.storage_mut());
        x
    }

    fn exact_gelu_backward(x: FlexTensor, output_gradient: FlexTensor) -> FlexTensor {
        if x.dtype() != DType::F32 {
            return super::backend::generic_gelu_backward::<Self>(x, output_gradient);
        }
        let x = numbers(x);
        let mut gradient = numbers(output_gradient);
        gelu_backward(x.storage(), gradient.storage_mut());
        gradient
    }

    fn affine(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        if x.dtype() != DType::F32 {
            return super::affine::generic::<Self>(x, weight, bias);
        }
        let bias = numbers(bias);
        let shape = with_channels(x.layout().shape().clone(), bias.layout().num_elements());
        let [x, weight] = [rows::<Self>(x), weight].map(with_contiguous_lines);
        tensor(product(matrix(&x), matrix(&weight), bias.storage()), shape)
    }

    fn affine_input_backward(weight: FlexTensor, output_gradient: FlexTensor) -> FlexTensor {
        if weight.dtype() != DType::F32 {
            return super::affine::generic_input_backward::<Self>(weight, output_gradient);
        }
        let shape =
            with_channels(output_gradient.layout().shape().clone(), weight.layout().shape()[0]);
        let [weight, gradient] = [weight, rows::<Self>(output_gradient)].map(with_contiguous_lines);
        tensor(affine::input_backward(matrix(&weight), matrix(&gradient)), shape)
    }

    fn affine_parameters_backward(
        x: FlexTensor,
        output_gradient: FlexTensor,
    ) -> (FlexTensor, FlexTensor) {
        if x.dtype() != DType::F32 {
            return super::affine::generic_parameters_backward::<Self>(x, output_gradient);
        }
        let x = with_contiguous_lines(rows::<Self>(x));
        let gradient = numbers(rows::<Self>(output_gradient));
        let channels_in = x.layout().shape()[1];
        let channels_out = gradient.layout().shape()[1];
        let (weight, bias) =
            affine::parameters_backward(matrix(&x), gradient.storage(), channels_out);
        let shape = Shape::new([channels_in, channels_out]);
        (tensor(weight, shape), tensor(bias, Shape::new([channels_out])))
    }

    fn normalise(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, epsilon: f64) -> FlexTensor {
        if x.dtype() != DType::F32 {
            return super::normalise::generic::<Self>(x, gamma, beta, epsilon);
        }
        let shape = x.layout().shape().clone();
        let [x, gamma, beta] = [x, gamma, beta].map(numbers);
        let [x, gamma, beta] = [&x, &gamma, &beta].map(FlexTensor::storage);
        tensor(normalise::normalise(x, gamma, beta, epsilon as f32), shape)
    }

    fn normalise_backward(
        x: FlexTensor,
        gamma: FlexTensor,
        output_gradient: FlexTensor,
        epsilon: f64,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        if x.dtype() != DType::F32 {
            return super::normalise::generic_backward::<Self>(x, gamma, output_gradient, epsilon);
        }
        let shape = x.layout().shape().clone();
        let channels = gamma.layout().shape().clone();
        let [x, gamma, gradient] = [x, gamma, output_gradient].map(numbers);
        let [x, gamma, gradient] = [&x, &gamma, &gradient].map(FlexTensor::storage);
        let found = normalise::normalise_backward(x, gamma, gradient, epsilon as f32);
        (tensor(found.0, shape), tensor(found.1, channels.clone()), tensor(found.2, channels))
    }
}

/// Numbers per task: 16 KiB.
const TASK: usize = 1 << 12;

/// Replaces every number by its GELU, on every core.
fn gelu(numbers: &mut [f32]) {
    #[multiversion(targets = "simd")]
    fn task(numbers: &mut [f32]) {
        for x in numbers {
            *x = lanes::gelu(*x);
        }
    }
    numbers.par_chunks_mut(TASK).for_each(task);
}

/// Multiplies every gradient by the slope of the GELU, on every core.
fn gelu_backward(numbers: &[f32], gradients: &mut [f32]) {
    #[multiversion(targets = "simd")]
    fn task(numbers: &[f32], gradients: &mut [f32]) {
        for (gradient, &x) in gradients.iter_mut().zip(numbers) {
            *gradient *= lanes::gelu_slope(x);
        }
    }
    let tasks = gradients.par_chunks_mut(TASK).zip(numbers.par_chunks(TASK));
    tasks.for_each(|(gradients, numbers)| task(numbers, gradients));
}

/// Streams over all scores: the sums of every row, `[batch, heads, rows, channels]`, and its log-sum-exp,
/// `[batch, heads, rows, 1]`.
fn run(kernel: &impl Kernel) -> AttentionOutput<Flex> {
    let Size { batch, heads, rows, channels, .. } = kernel.size();
    let streamed = stream(kernel);
    // Heads are adjacent in memory, ready to be joined.
    let row_stride = heads * channels;
    let strides = [rows * row_stride, channels, row_stride, 1].map(|stride| stride as isize);
    let sums = Layout::new(Shape::new([batch, heads, rows, channels]), strides.to_vec(), 0);
    AttentionOutput {
        output: FlexTensor::new(Bytes::from_elems(streamed.sums), sums, DType::F32),
        log_sum_exp: tensor(streamed.log_sum_exp, Shape::new([batch, heads, rows, 1])),
    }
}
