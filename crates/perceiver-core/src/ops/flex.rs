//! The operations on the CPU: tiles of scores that stay in the cache, matrix products by `faer`,
//! vectorised exponentials, every core at work also for one example and one head.
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
use super::{GridPoints, HiddenKeys, PerceiverOps, TokenGradients};

impl PerceiverOps for Flex {
    fn attention_forward(
        queries: FlexTensor,
        keys: FlexTensor,
        values: FlexTensor,
        hidden: HiddenKeys<Self>,
        scale: f64,
    ) -> (FlexTensor, FlexTensor) {
        if queries.dtype() != DType::F32 {
            return super::attention::generic::<Self>(queries, keys, values, hidden, scale);
        }
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
        queries: FlexTensor,
        keys: FlexTensor,
        values: FlexTensor,
        output: FlexTensor,
        log_sum_exp: FlexTensor,
        output_gradient: FlexTensor,
        hidden: HiddenKeys<Self>,
        scale: f64,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let [batch, heads, ..] = queries.layout().shape().dims::<4>();
        let tiled = queries.dtype() == DType::F32 && batch * heads >= rayon::current_num_threads();
        if !tiled {
            return super::backward::attention::generic::<Self>(
                queries,
                keys,
                values,
                output,
                log_sum_exp,
                output_gradient,
                hidden,
                scale,
            );
        }
        let inputs = [queries, keys, values];
        let [output, gradient] = [output, output_gradient].map(with_contiguous_rows);
        let log_sum_exp = log_sum_exp.to_contiguous();
        let shapes = inputs.each_ref().map(|tensor| tensor.layout().shape().clone());
        let [queries, keys, values] = inputs.map(with_contiguous_lines);
        let hidden = flags(hidden);
        let found = dense_backward::DenseBackward {
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
        let [queries, keys, values] = found.map(Bytes::from_elems);
        let [of_queries, of_keys, of_values] = shapes.map(Layout::contiguous);
        (
            FlexTensor::new(queries, of_queries, DType::F32),
            FlexTensor::new(keys, of_keys, DType::F32),
            FlexTensor::new(values, of_values, DType::F32),
        )
    }

    fn gather_attend(
        content_queries: FlexTensor,
        axis_scores: FlexTensor,
        content: FlexTensor,
        token_scale: FlexTensor,
        hidden: HiddenKeys<Self>,
        grid: Vec<usize>,
    ) -> FlexTensor {
        if content_queries.dtype() != DType::F32 {
            return super::gather::generic::<Self>(
                content_queries,
                axis_scores,
                content,
                token_scale,
                hidden,
                grid,
            );
        }
        let heads = content_queries.layout().shape()[1];
        let [content_queries, content] = [content_queries, content].map(with_contiguous_lines);
        let axis_scores = axis_scores.to_contiguous();
        let token_scale = as_rows(token_scale);
        let hidden = flags(hidden);
        let (sums, log_sum_exp) = run(&gather::Gather {
            content_queries: whole(&content_queries),
            axis_scores: whole(&axis_scores),
            content: for_heads(&content, heads),
            token_scale: for_heads(&token_scale, heads),
            hidden: view(hidden.as_ref(), heads),
            cells: Cells::new(&grid, None),
        });
        cat::<Self>(vec![sums, log_sum_exp], 3)
    }

    fn gather_attend_backward(
        content_queries: FlexTensor,
        axis_scores: FlexTensor,
        content: FlexTensor,
        token_scale: FlexTensor,
        packed: FlexTensor,
        packed_gradient: FlexTensor,
        hidden: HiddenKeys<Self>,
        grid: Vec<usize>,
        tracked_tokens: bool,
    ) -> (FlexTensor, FlexTensor, TokenGradients<Self>) {
        let tiled = content_queries.dtype() == DType::F32
            && matches!(hidden, HiddenKeys::None)
            && !tracked_tokens;
        if !tiled {
            return super::backward::gather::generic::<Self>(
                content_queries,
                axis_scores,
                content,
                token_scale,
                packed,
                packed_gradient,
                hidden,
                grid,
                tracked_tokens,
            );
        }
        let [batch, heads, queries, channels] = content_queries.layout().shape().dims();
        let axes = axis_scores.layout().shape()[3];
        let [content_queries, content] = [content_queries, content].map(with_contiguous_lines);
        let [axis_scores, packed, packed_gradient] =
            [axis_scores, packed, packed_gradient].map(|tensor| tensor.to_contiguous());
        let token_scale = as_rows(token_scale);
        let gather = |content_queries, axis_scores| gather::Gather {
            content_queries,
            axis_scores,
            content: for_heads(&content, heads),
            token_scale: for_heads(&token_scale, heads),
            hidden: None,
            cells: Cells::new(&grid, None),
        };
        let gradient = whole(&packed_gradient);
        let sums = gather_backward::GatherBackward {
            asked: gather(whole(&content_queries), whole(&axis_scores)),
            received: gather(
                gradient.columns(0..channels),
                gradient.columns(channels..channels + axes),
            ),
            packed: whole(&packed),
            packed_gradient: gradient,
        }
        .run();
        let sums = tensor(sums, Shape::new([batch, heads, queries, channels + axes]));
        (
            slice::<Self>(&sums, 3, 0, channels),
            slice::<Self>(&sums, 3, channels, channels + axes),
            TokenGradients::None,
        )
    }

    fn scatter_attend_forward(
        content: FlexTensor,
        token_scale: FlexTensor,
        content_keys: FlexTensor,
        axis_scores: FlexTensor,
        key_bias: FlexTensor,
        values: FlexTensor,
        points: GridPoints<Self>,
        grid: Vec<usize>,
    ) -> (FlexTensor, FlexTensor) {
        if content.dtype() != DType::F32 {
            return super::scatter::generic::<Self>(
                content,
                token_scale,
                content_keys,
                axis_scores,
                key_bias,
                values,
                points,
                grid,
            );
        }
        let heads = content_keys.layout().shape()[1];
        let [content, content_keys, values] =
            [content, content_keys, values].map(with_contiguous_lines);
        let [token_scale, key_bias] = [token_scale, key_bias].map(as_rows);
        let axis_scores = axis_scores.transpose(2, 3).to_contiguous();
        run(&scatter::Scatter {
            content: for_heads(&content, heads),
            token_scale: for_heads(&token_scale, heads),
            content_keys: whole(&content_keys),
            axis_scores: whole(&axis_scores),
            key_bias: whole(&key_bias),
            values: whole(&values),
            cells: Cells::new(&grid, cells(points)),
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
        let [of_x, of_gamma, of_beta] = [&x, &gamma, &beta].map(FlexTensor::storage);
        tensor(normalise::normalise(of_x, of_gamma, of_beta, epsilon as f32), shape)
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

/// Numbers a task takes: 16 KiB.
const TASK: usize = 1 << 12;

/// Replaces every number by its GELU, on every core.
fn gelu(numbers: &mut [f32]) {
    #[multiversion(targets = "simd")]
    fn of_task(numbers: &mut [f32]) {
        for x in numbers {
            *x = lanes::gelu(*x);
        }
    }
    numbers.par_chunks_mut(TASK).for_each(of_task);
}

/// Multiplies every gradient by the slope of the GELU, on every core.
fn gelu_backward(numbers: &[f32], gradients: &mut [f32]) {
    #[multiversion(targets = "simd")]
    fn of_task(numbers: &[f32], gradients: &mut [f32]) {
        for (gradient, &x) in gradients.iter_mut().zip(numbers) {
            *gradient *= lanes::gelu_slope(x);
        }
    }
    let tasks = gradients.par_chunks_mut(TASK).zip(numbers.par_chunks(TASK));
    tasks.for_each(|(gradients, numbers)| of_task(numbers, gradients));
}

/// Streams over all scores: what every row attends to, `[batch, heads, rows, channels]`, and its
/// log-sum-exp, `[batch, heads, rows, 1]`.
fn run(kernel: &impl Kernel) -> (FlexTensor, FlexTensor) {
    let Size { batch, heads, rows, channels, .. } = kernel.size();
    let streamed = stream(kernel);
    // Heads lie side by side in memory, as whoever joins them wants them.
    let row_stride = heads * channels;
    let strides = [rows * row_stride, channels, row_stride, 1].map(|stride| stride as isize);
    let sums = Layout::new(Shape::new([batch, heads, rows, channels]), strides.to_vec(), 0);
    let per_row = Layout::contiguous(Shape::new([batch, heads, rows, 1]));
    (
        FlexTensor::new(Bytes::from_elems(streamed.sums), sums, DType::F32),
        FlexTensor::new(Bytes::from_elems(streamed.log_sum_exp), per_row, DType::F32),
    )
}
