//! Merges the results of cubes that read different ranges of the keys.

use cubecl::prelude::*;

use super::tile::lines;

/// One unit per number. Each range is weighted by its share of the softmax.
///
/// # Shapes
/// - `partials`: `[splits, arrays, rows, channels]`, in any layout
/// - `statistics`: `[2, splits, arrays, rows]`, maximum and total
/// - `output`: `[batch, heads, rows, channels]`, in any layout with contiguous channels
/// - `log_sum_exp`: `[arrays, rows]`
#[cube(launch)]
pub(super) fn merge<O: Float>(
    partials: &Tensor<f32>,
    statistics: &Tensor<f32>,
    output: &mut Tensor<O>,
    log_sum_exp: &mut Tensor<O>,
    #[define(O)] _type: ElemType,
) {
    let (splits, arrays, rows) = (partials.shape(0), partials.shape(1), partials.shape(2));
    let channels = partials.shape(3);
    let line = ABSOLUTE_POS / channels;
    let channel = ABSOLUTE_POS % channels;
    if line >= arrays * rows {
        terminate!();
    }
    let mut maximum = f32::new(f32::MIN);
    for split in 0..splits {
        maximum = max(maximum, statistics[split * arrays * rows + line]);
    }
    let first = line / rows * partials.stride(1)
        + line % rows * partials.stride(2)
        + channel * partials.stride(3);
    let mut total = 0.0f32;
    let mut sum = 0.0f32;
    for split in 0..splits {
        let split_maximum = statistics[split * arrays * rows + line];
        let weight =
            (split_maximum - maximum).exp() * statistics[(splits + split) * arrays * rows + line];
        total += weight;
        sum += weight * partials[first + split * partials.stride(0)];
    }
    let (array, heads) = (line / rows, output.shape(1));
    let target = lines::<O>(&*output, array / heads, array % heads, line % rows);
    output[target.first + channel] = O::cast_from(sum / total);
    if channel == 0 {
        log_sum_exp[line] = O::cast_from(maximum + total.ln());
    }
}
