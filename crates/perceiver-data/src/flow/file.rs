use std::path::Path;

use ndarray::{Array2, Array3};

use super::{flo, kitti};
use crate::error::{Error, Result};
use crate::json::read_bounded;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 29;

/// Flow read from a file, such as ground truth.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowFile {
    /// `[height, width, 2]` in pixels, first to the right; zero if unknown.
    pub flow: Array3<f32>,
    /// `[height, width]`: true if the pixel's flow is known.
    pub known: Array2<bool>,
}

/// Reads a Middlebury `.flo` file or a 16-bit KITTI PNG, distinguished by their content.
///
/// A pixel is unknown if a number in a `.flo` file is not finite or exceeds 10⁹, or if the third
/// channel of a PNG is zero. Files may have up to 512 MiB.
///
/// # Errors
/// Returns an error if the file cannot be read, has neither format, is damaged, or is shorter or
/// longer than its header says.
///
/// # Source
/// `flowIO.cpp` of Middlebury's flow code; `io_flow.h` of KITTI's development kit.
pub fn read_flow(path: impl AsRef<Path>) -> Result<FlowFile> {
    let path = path.as_ref();
    let bytes = read_bounded(path, MAX_FILE)?;
    decode(&bytes).map_err(|reason| Error::Flow { path: path.to_owned(), reason })
}

fn decode(bytes: &[u8]) -> Result<FlowFile, String> {
    if bytes.starts_with(flo::MAGIC) {
        flo::decode(bytes)
    } else if bytes.starts_with(b"\x89PNG") {
        kitti::decode(bytes)
    } else {
        Err("expected a .flo file, which begins with PIEH, or a 16-bit PNG of KITTI".to_owned())
    }
}

impl FlowFile {
    /// Flow with the vector that `vector_at` returns for each pixel (row, column).
    pub(super) fn new(
        [height, width]: [usize; 2],
        vector_at: impl Fn(usize, usize) -> Option<[f32; 2]>,
    ) -> Self {
        let mut file = Self {
            flow: Array3::zeros((height, width, 2)),
            known: Array2::from_elem((height, width), false),
        };
        for ((y, x), known) in file.known.indexed_iter_mut() {
            if let Some([right, down]) = vector_at(y, x) {
                *known = true;
                file.flow[[y, x, 0]] = right;
                file.flow[[y, x, 1]] = down;
            }
        }
        file
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::super::{encode_flo, encode_kitti};
    use super::*;

    fn flo(width: i32, height: i32, numbers: &[f32]) -> Vec<u8> {
        let mut bytes = b"PIEH".to_vec();
        bytes.extend(width.to_le_bytes());
        bytes.extend(height.to_le_bytes());
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        bytes
    }

    #[test]
    fn numbers_that_mean_unknown_are() {
        let numbers = [1.0, 2.0, f32::NAN, 0.0, 0.0, 1.1e9, -1e10, 3.0, f32::INFINITY, 0.0];
        let file = decode(&flo(1, 5, &numbers)).unwrap();
        assert_eq!(
            file.known.iter().copied().collect::<Vec<_>>(),
            [true, false, false, false, false]
        );
        let flow: Vec<f32> = file.flow.iter().copied().collect();
        assert_eq!(flow, [1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn hostile_files_are_refused_with_the_reason() {
        let cut = flo(2, 1, &[1.0, 2.0, 3.0]);
        let cases: [(&[u8], &str); 9] = [
            (b"", "expected a .flo file"),
            (b"HEIP\x01\0\0\0\x01\0\0\0", "expected a .flo file"),
            (b"PIEH\x01\0", "is 6 bytes long, expected a header of 12"),
            (
                &flo(i32::MAX, i32::MAX, &[]),
                "2147483647x2147483647 pixels, expected sides from 1 to 99999",
            ),
            (&flo(-1, 2, &[]), "4294967295x2 pixels, expected"),
            (&flo(0, 2, &[]), "0x2 pixels, expected"),
            (&flo(99_999, 99_999, &[]), "is 12 bytes long, 99999x99999 pixels make 79998400020"),
            (&cut, "is 24 bytes long, 2x1 pixels make 28"),
            (b"\x89PNG\r\n\x1a\n", "cannot read the PNG"),
        ];
        for (bytes, expected) in cases {
            let reason = decode(bytes).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
            assert!(!reason.contains('\n'), "{reason}");
        }
    }

    #[test]
    fn pictures_are_no_flow() {
        let mut bytes = std::io::Cursor::new(Vec::new());
        let image = image::DynamicImage::new_rgb8(3, 2);
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        let reason = decode(bytes.get_ref()).unwrap_err();
        assert_eq!(reason, "is a PNG of Rgb8 pixels, expected KITTI's Rgb16");
    }

    /// A header that promises what no memory holds.
    #[test]
    fn a_huge_png_is_refused_before_it_is_decoded() {
        let mut bytes = encode_kitti(Array3::zeros((1, 1, 2)).view());
        bytes[16..20].copy_from_slice(&i32::MAX.to_be_bytes());
        bytes[20..24].copy_from_slice(&i32::MAX.to_be_bytes());
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        let reason = decode(&bytes).unwrap_err();
        assert!(reason.starts_with("cannot read the PNG: "), "{reason}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
        })
    }

    fn flow() -> impl Strategy<Value = Array3<f32>> {
        (1_usize..6, 1_usize..6).prop_flat_map(|(height, width)| {
            let number = prop_oneof![8 => -511.0_f32..511.0, 1 => Just(f32::NAN)];
            proptest::collection::vec(number, height * width * 2).prop_map(move |numbers| {
                Array3::from_shape_vec((height, width, 2), numbers).unwrap()
            })
        })
    }

    /// Checks that known flow comes back within `tolerance`, and that no other flow does.
    fn check(
        found: &FlowFile,
        expected: &Array3<f32>,
        tolerance: f32,
    ) -> Result<(), TestCaseError> {
        prop_assert_eq!(found.flow.dim(), expected.dim());
        for ((y, x), &known) in found.known.indexed_iter() {
            let vector = [expected[[y, x, 0]], expected[[y, x, 1]]];
            prop_assert_eq!(known, vector.iter().all(|number| number.is_finite()));
            for (direction, number) in vector.into_iter().enumerate().filter(|_| known) {
                prop_assert!((found.flow[[y, x, direction]] - number).abs() <= tolerance);
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn flo_files_keep_every_bit(flow in flow()) {
            check(&decode(&encode_flo(flow.view())).unwrap(), &flow, 0.0)?;
        }

        /// KITTI's steps are 1/64 pixel, so the nearest is at most half of that away.
        #[test]
        fn kitti_files_keep_the_nearest_64th(flow in flow()) {
            check(&decode(&encode_kitti(flow.view())).unwrap(), &flow, 1.0 / 128.0)?;
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), kind in 0..3) {
            let start: &[u8] = match kind { 0 => b"", 1 => flo::MAGIC, _ => b"\x89PNG\r\n\x1a\n" };
            let _ = decode(&[start, &bytes].concat());
        }
    }

    /// Beyond ±512 pixels KITTI's 16 bits end.
    #[test]
    fn motion_too_fast_for_kitti_becomes_unknown() {
        let flow = Array3::from_shape_vec((1, 3, 2), vec![0.0, 512.0, -512.0, 511.98, 0.0, -513.0]);
        let file = decode(&encode_kitti(flow.unwrap().view())).unwrap();
        assert_eq!(file.known.iter().copied().collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(file.flow[[0, 1, 0]], -512.0);
    }
}
