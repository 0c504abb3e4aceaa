//! Converts stored bytes to values, cast and transposed in one pass.

use burn::tensor::{DType, FloatDType, TensorData};
use half::{bf16, f16};

use super::TensorInfo;

/// A float type of files and tensors.
trait Float: burn::tensor::Element {
    const BYTES: usize;
    fn load(bytes: &[u8]) -> Self;
    fn store(self, bytes: &mut Vec<u8>);
    fn widen(self) -> f64;
    fn narrow(value: f64) -> Self;
}

macro_rules! float {
    ($type:ty, $widen:expr, $narrow:expr) => {
        impl Float for $type {
            const BYTES: usize = size_of::<Self>();

            fn load(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<Self>()];
                array.copy_from_slice(bytes);
                Self::from_le_bytes(array)
            }

            fn store(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }

            fn widen(self) -> f64 {
                $widen(self)
            }

            fn narrow(value: f64) -> Self {
                $narrow(value)
            }
        }
    };
}

float!(f64, |value| value, |value| value);
float!(f32, f64::from, |value| value as Self);
float!(f16, f64::from, Self::from_f64);
float!(bf16, f64::from, Self::from_f64);

/// Values for burn, and how many of them are NaN or infinite.
pub(super) struct Floats {
    pub(super) data: TensorData,
    pub(super) non_finite: usize,
}

/// Float values of `shape`, cast to `to`; `None` if `from` is not a float type. With `transpose`,
/// `bytes` hold the transposed matrix.
pub(super) fn floats(
    bytes: &[u8],
    from: DType,
    to: FloatDType,
    shape: &[usize],
    transpose: bool,
) -> Option<Floats> {
    fn with<T: Float>(bytes: &[u8], from: DType, shape: &[usize], flip: bool) -> Option<Floats> {
        let values: Vec<T> = values(bytes, from, shape, flip)?;
        let non_finite = values.iter().filter(|value| !value.widen().is_finite()).count();
        Some(Floats { data: TensorData::new(values, shape.to_vec()), non_finite })
    }
    match to {
        FloatDType::F64 => with::<f64>(bytes, from, shape, transpose),
        FloatDType::F32 | FloatDType::Flex32 => with::<f32>(bytes, from, shape, transpose),
        FloatDType::F16 => with::<f16>(bytes, from, shape, transpose),
        FloatDType::BF16 => with::<bf16>(bytes, from, shape, transpose),
    }
}

/// The little-endian bytes of float values of `shape`, cast to `to`, after transposing.
pub(super) fn float_bytes(
    bytes: &[u8],
    from: DType,
    to: DType,
    shape: &[usize],
    transpose: bool,
) -> Option<Vec<u8>> {
    fn with<T: Float>(bytes: &[u8], from: DType, shape: &[usize], flip: bool) -> Option<Vec<u8>> {
        let values: Vec<T> = values(bytes, from, shape, flip)?;
        let mut stored = Vec::with_capacity(values.len() * T::BYTES);
        values.into_iter().for_each(|value| value.store(&mut stored));
        Some(stored)
    }
    match to {
        DType::F64 => with::<f64>(bytes, from, shape, transpose),
        DType::F32 => with::<f32>(bytes, from, shape, transpose),
        DType::F16 => with::<f16>(bytes, from, shape, transpose),
        DType::BF16 => with::<bf16>(bytes, from, shape, transpose),
        _ => None,
    }
}

/// Integer values as the widest signed type; `None` if they are not integers or too large.
pub(super) fn integers(bytes: &[u8], from: DType) -> Option<Vec<i64>> {
    fn with<const N: usize>(
        bytes: &[u8],
        read: impl Fn([u8; N]) -> Option<i64>,
    ) -> Option<Vec<i64>> {
        let (values, []) = bytes.as_chunks::<N>() else {
            return None;
        };
        values.iter().map(|&value| read(value)).collect()
    }
    match from {
        DType::I64 => with(bytes, |b| Some(i64::from_le_bytes(b))),
        DType::I32 => with(bytes, |b| Some(i32::from_le_bytes(b).into())),
        DType::I16 => with(bytes, |b| Some(i16::from_le_bytes(b).into())),
        DType::I8 => with(bytes, |b| Some(i8::from_le_bytes(b).into())),
        DType::U64 => with(bytes, |b| u64::from_le_bytes(b).try_into().ok()),
        DType::U32 => with(bytes, |b| Some(u32::from_le_bytes(b).into())),
        DType::U16 => with(bytes, |b| Some(u16::from_le_bytes(b).into())),
        DType::U8 => with(bytes, |b| Some(u8::from_le_bytes(b).into())),
        _ => None,
    }
}

/// Values in their stored type; integers in the widest signed type.
pub(super) fn data(bytes: &[u8], info: &TensorInfo) -> Option<TensorData> {
    let shape = info.shape.clone();
    match info.dtype {
        DType::F64 => floats(bytes, info.dtype, FloatDType::F64, &shape, false),
        DType::F32 => floats(bytes, info.dtype, FloatDType::F32, &shape, false),
        DType::F16 => floats(bytes, info.dtype, FloatDType::F16, &shape, false),
        DType::BF16 => floats(bytes, info.dtype, FloatDType::BF16, &shape, false),
        DType::Bool(_) => {
            let values: Vec<bool> = bytes.iter().map(|&byte| byte != 0).collect();
            return Some(TensorData::new(values, shape));
        }
        dtype => return Some(TensorData::new(integers(bytes, dtype)?, shape)),
    }
    .map(|floats| floats.data)
}

fn values<T: Float>(bytes: &[u8], from: DType, shape: &[usize], flip: bool) -> Option<Vec<T>> {
    let flip = if flip {
        let &[rows, columns] = shape else { return None };
        Some((rows, columns))
    } else {
        None
    };
    Some(match from {
        // Without a cast, so that every bit pattern survives, even a signalling NaN.
        _ if from == T::dtype() => arrange(bytes, T::BYTES, flip, T::load),
        DType::F64 => arrange(bytes, 8, flip, |bytes| T::narrow(f64::load(bytes))),
        DType::F32 => arrange(bytes, 4, flip, |bytes| T::narrow(f32::load(bytes).widen())),
        DType::F16 => arrange(bytes, 2, flip, |bytes| T::narrow(f16::load(bytes).widen())),
        DType::BF16 => arrange(bytes, 2, flip, |bytes| T::narrow(bf16::load(bytes).widen())),
        _ => return None,
    })
}

/// Reads elements in order, or those of a `[columns, rows]` matrix as `[rows, columns]`.
fn arrange<T: Float>(
    bytes: &[u8],
    size: usize,
    flip: Option<(usize, usize)>,
    read: impl Fn(&[u8]) -> T,
) -> Vec<T> {
    /// Side of the squares in which a matrix is transposed, small enough for the first-level cache.
    const TILE: usize = 32;
    let Some((rows, columns)) = flip else {
        return bytes.chunks_exact(size).map(read).collect();
    };
    let mut values = vec![T::narrow(0.0); rows * columns];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for row in top..rows.min(top + TILE) {
                for column in left..columns.min(left + TILE) {
                    let from = (column * rows + row) * size;
                    values[row * columns + column] = read(&bytes[from..from + size]);
                }
            }
        }
    }
    values
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn a_transposed_matrix_keeps_every_bit() {
        // 2 rows of 3, with a signalling NaN.
        let nan = f32::from_bits(0x7fa0_0001);
        let stored = bytes(&[1.0, 2.0, nan, 4.0, 5.0, 6.0]);
        let flipped = floats(&stored, DType::F32, FloatDType::F32, &[3, 2], true).unwrap();
        assert_eq!(flipped.data.as_bytes(), bytes(&[1.0, 4.0, 2.0, 5.0, nan, 6.0]));
        assert_eq!(flipped.non_finite, 1);
        let back =
            float_bytes(flipped.data.as_bytes(), DType::F32, DType::F32, &[2, 3], true).unwrap();
        assert_eq!(back, stored);
    }

    #[test]
    fn matrices_larger_than_a_tile_are_transposed_whole() {
        let (rows, columns) = (45, 70);
        let values: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
        let floats = floats(&bytes(&values), DType::F32, FloatDType::F32, &[columns, rows], true);
        let data = floats.unwrap().data.try_to_vec::<f32>().unwrap();
        for row in 0..rows {
            for column in 0..columns {
                assert_eq!(data[column * rows + row], values[row * columns + column]);
            }
        }
    }

    #[test]
    fn half_precision_is_widened_exactly_and_rounded_to_the_nearest_even() {
        let half: Vec<u8> = [0x3c01u16, 0xfbff].iter().flat_map(|b| b.to_le_bytes()).collect();
        let wide = floats(&half, DType::F16, FloatDType::F32, &[2], false).unwrap().data;
        assert_eq!(wide.try_to_vec::<f32>().unwrap(), [1.000_976_6, -65504.0]);
        let brain: Vec<u8> = 0x3f81u16.to_le_bytes().to_vec();
        let wide = floats(&brain, DType::BF16, FloatDType::F32, &[1], false).unwrap().data;
        assert_eq!(wide.try_to_vec::<f32>().unwrap(), [1.007_812_5]);
        // Half way between 1 and the next bfloat16: to the even one, 1.
        let narrow = bytes(&[1.0 + 1.0 / 256.0]);
        let narrow = float_bytes(&narrow, DType::F32, DType::BF16, &[1], false).unwrap();
        assert_eq!(narrow, 0x3f80u16.to_le_bytes());
    }

    #[test]
    fn integers_are_not_floats() {
        assert!(floats(&[0; 8], DType::I64, FloatDType::F32, &[1], false).is_none());
        assert_eq!(integers(&[0xfe, 0xff], DType::I16), Some(vec![-2]));
        assert_eq!(integers(&u64::MAX.to_le_bytes(), DType::U64), None);
        assert_eq!(integers(&[0; 4], DType::F32), None);
    }
}
