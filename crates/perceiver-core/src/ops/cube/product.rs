//! Products of linear layers on GPUs with a tensor memory accelerator (TMA: NVIDIA, since Hopper).
//!
//! Without its tuner, burn uses one strategy for all products, whose cubes wait for every tile that
//! they copy. The products of a Perceiver have few rows, so there is little other work meanwhile. The
//! strategy used here copies ahead: on an H200 it took 0.4 to 0.7 of the time for products of 256 to
//! 2048 rows.

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::Shape;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::features::Tma;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy;
use cubek::matmul::multi_level::components::tile::TileMatmulKind;
use cubek::matmul::multi_level::routines::batch::specialized::SpecializedStrategy;
use cubek::matmul::routine::BlueprintStrategy;
use cubek::std::InputBinding;

/// Rows and channels of the smallest product that was compared with burn's own on a GPU.
const SMALLEST: usize = 256;
/// Channels were multiples of this.
const CHANNELS: usize = 64;
/// Rows must begin at multiples of this, in bytes.
const ALIGNMENT: usize = 16;

/// `[rows, channels_in] · [channels_in, channels_out]`; none if the strategy does not apply.
pub(super) fn product(x: &CubeTensor, weight: &CubeTensor) -> Option<CubeTensor> {
    let ([rows, channels_in], [_, channels_out]) = (x.shape().dims(), weight.shape().dims());
    let large = [rows, channels_in, channels_out].into_iter().all(|size| size >= SMALLEST);
    let even = [channels_in, channels_out].iter().all(|size| size.is_multiple_of(CHANNELS));
    let copies_tiles = x.client.properties().features.tma.contains(Tma::Base);
    if !(copies_tiles && large && even && has_aligned_rows(x) && has_aligned_rows(weight)) {
        return None;
    }
    let (client, device, shape) = (x.client.clone(), x.device.clone(), [rows, channels_out]);
    let output = empty_device_contiguous_dtype(client, device, Shape::new(shape), x.dtype);
    let specialized = SpecializedStrategy { tile_matmul: TileMatmulKind::Mma };
    let strategy = Strategy::SpecializedTmaMma(BlueprintStrategy::Inferred(specialized));
    let [lhs, rhs, out] = [x, weight, &output].map(|x| dtype_to_storage_type(x.dtype));
    let mut types = MatmulElems::from_globals(&MatmulGlobalElems { lhs, rhs, out });
    let x_binding = InputBinding::new(x.clone().binding(), lhs);
    let weight_binding = InputBinding::new(weight.clone().binding(), rhs);
    let target = output.clone().binding();
    // If it refuses, it does so before anything is launched.
    launch_ref(&strategy.into(), &x.client, x_binding, weight_binding, target, &mut types).ok()?;
    Some(output)
}

/// True if tiles of a matrix can be copied row by row. Columns could be copied, too, but were not
/// compared with burn's products on a GPU.
fn has_aligned_rows(matrix: &CubeTensor) -> bool {
    let (row_stride, column_stride) = (matrix.meta.strides()[0], matrix.meta.strides()[1]);
    let lies_at = matrix.handle.offset_start.unwrap_or_default();
    column_stride == 1
        && (row_stride * matrix.dtype.size()).is_multiple_of(ALIGNMENT)
        && lies_at.is_multiple_of(ALIGNMENT as u64)
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::DType;
    use burn_cubecl::{CubeBackend, CubeDevice};

    use super::*;

    #[test]
    fn rows_begin_at_multiples_of_sixteen_bytes() {
        let device = CubeDevice::default();
        for (dtype, channels, aligned) in
            [(DType::F32, 8, true), (DType::F32, 6, false), (DType::F16, 12, false)]
        {
            let shape = Shape::new([4, channels]);
            let matrix = CubeBackend::float_zeros(shape, &device, dtype.into());
            assert_eq!(has_aligned_rows(&matrix), aligned, "{channels} channels in {dtype:?}");
            let turned = CubeBackend::float_swap_dims(matrix, 0, 1);
            assert!(!has_aligned_rows(&turned), "{channels} rows in {dtype:?}");
        }
    }
}
