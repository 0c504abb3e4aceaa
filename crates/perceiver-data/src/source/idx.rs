use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use image::RgbImage;
use rand_chacha::ChaCha8Rng;

use super::{LabelledImage, Source, only_class};
use crate::error::{Error, Result};

/// Most unpacked values of a file, in bytes.
const MAX_VALUES: u64 = 1 << 32;

/// Largest ratio of unpacked to compressed size that is accepted; deflate's limit is 1032.
const MAX_COMPRESSION: u64 = 1100;

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// First bytes of a file of unsigned bytes, without the number of dimensions.
const UNSIGNED_BYTES: u32 = 0x0800;

/// Grey images and their labels in two IDX files, the format of MNIST and Fashion-MNIST, plain or
/// gzipped.
///
/// Grey values become three channels. Opening reads everything into memory, so no example fails
/// later.
///
/// # Source
/// "The IDX file format" on yann.lecun.com/exdb/mnist.
#[derive(Debug, Clone)]
pub struct IdxImages {
    /// `[images, height, width]`
    pixels: Vec<u8>,
    labels: Vec<u8>,
    height: u32,
    width: u32,
}

impl IdxImages {
    /// Reads both files.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, is not an IDX file of unsigned bytes, or is
    /// shorter or longer than its header says; if images have no pixels; or if there are no images
    /// or their number differs from that of the labels.
    pub fn open(images: impl AsRef<Path>, labels: impl AsRef<Path>) -> Result<Self> {
        let (images, labels) = (images.as_ref(), labels.as_ref());
        let ([pictures, height, width], pixels) = read(images)?;
        let ([label_count], label_values) = read(labels)?;
        if pixels.is_empty() {
            let reason = format!(
                "{pictures} images of {width}x{height} pixels, expected at least one of each"
            );
            return Err(Error::data(images, reason));
        }
        if label_count != pictures {
            let images = images.display();
            let reason =
                format!("{label_count} labels, expected {pictures}, one per image in {images}");
            return Err(Error::data(labels, reason));
        }
        Ok(Self { pixels, labels: label_values, height, width })
    }

    /// The highest label plus one.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.labels.iter().max().map_or(0, |label| usize::from(*label) + 1)
    }

    /// The class of all images, if they have only one: there is then nothing to learn.
    #[must_use]
    pub fn only_class(&self) -> Option<usize> {
        only_class(self.labels.iter().map(|label| usize::from(*label)))
    }
}

impl Source for IdxImages {
    type Example = LabelledImage;

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn example(&self, index: usize, _random: &mut ChaCha8Rng) -> Result<LabelledImage> {
        let size = self.pixels.len() / self.labels.len();
        let grey = &self.pixels[index * size..][..size];
        let spread = grey.iter().flat_map(|&value| [value; 3]).collect();
        let image = RgbImage::from_raw(self.width, self.height, spread).unwrap_or_default();
        Ok(LabelledImage { image, label: self.labels[index].into() })
    }
}

/// A file's dimensions and its values.
fn read<const RANK: usize>(path: &Path) -> Result<([u32; RANK], Vec<u8>)> {
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    let size = file.metadata().map_err(Error::io(path, "read"))?.len();
    let mut file = BufReader::new(file);
    if file.fill_buf().map_err(Error::io(path, "read"))?.starts_with(&GZIP) {
        read_unpacked(path, MultiGzDecoder::new(file), size.saturating_mul(MAX_COMPRESSION))
    } else {
        read_unpacked(path, file, size)
    }
}

/// Reads a file that has at most `size` bytes.
fn read_unpacked<const RANK: usize>(
    path: &Path,
    mut file: impl Read,
    size: u64,
) -> Result<([u32; RANK], Vec<u8>)> {
    let mut number = || -> Result<u32> {
        let mut bytes = [0; 4];
        file.read_exact(&mut bytes).map_err(Error::io(path, "read the IDX header"))?;
        Ok(u32::from_be_bytes(bytes))
    };
    let magic = number()?;
    let expected = UNSIGNED_BYTES | RANK as u32;
    if magic != expected {
        let reason = format!(
            "it begins with {magic:#010x}, expected {expected:#010x}: an IDX file of unsigned bytes \
             in {RANK} {}",
            if RANK == 1 { "dimension" } else { "dimensions" }
        );
        return Err(Error::data(path, reason));
    }
    let mut extents = [0; RANK];
    for extent in &mut extents {
        *extent = number()?;
    }
    let promise = extents.map(|extent| extent.to_string()).join("x");
    let values = extents
        .iter()
        .try_fold(1u64, |product, &extent| product.checked_mul(extent.into()))
        .filter(|values| *values <= size.min(MAX_VALUES))
        .ok_or_else(|| {
            let reason =
                format!("its header declares {promise} values, more than the file can hold");
            Error::data(path, reason)
        })?;
    let mut found = Vec::new();
    file.take(values + 1).read_to_end(&mut found).map_err(Error::io(path, "read"))?;
    if found.len() as u64 != values {
        let other = if found.len() as u64 > values { "more" } else { "fewer" };
        let reason = format!("{other} values, expected the {promise} that its header declares");
        return Err(Error::data(path, reason));
    }
    Ok((extents, found))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::io::Write;
    use std::path::PathBuf;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use image::Rgb;
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng;
    use tempfile::TempDir;

    use super::*;

    fn idx(extents: &[u32], values: &[u8]) -> Vec<u8> {
        let mut file = (UNSIGNED_BYTES | extents.len() as u32).to_be_bytes().to_vec();
        file.extend(extents.iter().flat_map(|extent| extent.to_be_bytes()));
        file.extend(values);
        file
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn open(images: &[u8], labels: &[u8]) -> Result<IdxImages> {
        let folder = TempDir::new().unwrap();
        let file = |name: &str, content: &[u8]| -> PathBuf {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        IdxImages::open(file("images", images), file("labels", labels))
    }

    fn refusal(images: &[u8], labels: &[u8]) -> String {
        open(images, labels).err().unwrap().to_string()
    }

    fn two_pictures() -> Vec<u8> {
        idx(&[2, 1, 3], &[0, 10, 20, 30, 40, 255])
    }

    #[test]
    fn pictures_come_with_their_labels() {
        let source = open(&two_pictures(), &idx(&[2], &[7, 4])).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let second = source.example(1, &mut random).unwrap();
        let colours: Vec<Rgb<u8>> = second.image.pixels().copied().collect();
        assert_eq!(colours, [Rgb([30; 3]), Rgb([40; 3]), Rgb([255; 3])]);
        assert_eq!((second.image.dimensions(), second.label), ((3, 1), 4));
        assert_eq!((source.len(), source.classes()), (2, 8));
        assert_eq!(source.only_class(), None);
        let alike = open(&two_pictures(), &idx(&[2], &[7, 7])).unwrap();
        assert_eq!(alike.only_class(), Some(7));
    }

    #[test]
    fn gzipped_files_hold_the_same() {
        let plain = open(&two_pictures(), &idx(&[2], &[7, 4])).unwrap();
        let packed = open(&gzip(&two_pictures()), &gzip(&idx(&[2], &[7, 4]))).unwrap();
        assert_eq!((packed.pixels, packed.labels), (plain.pixels, plain.labels));
    }

    #[test]
    fn swapped_files_are_refused() {
        let message = refusal(&idx(&[2], &[7, 4]), &two_pictures());
        assert!(message.contains("begins with 0x00000801, expected 0x00000803"), "{message}");
    }

    #[test]
    fn as_many_labels_as_pictures_are_asked_for() {
        let message = refusal(&two_pictures(), &idx(&[3], &[7, 4, 1]));
        assert!(message.contains("labels: 3 labels, expected 2"), "{message}");
    }

    #[test]
    fn pictures_without_pixels_are_refused() {
        let message = refusal(&idx(&[2, 0, 3], &[]), &idx(&[2], &[7, 4]));
        assert!(message.contains("2 images of 3x0 pixels"), "{message}");
    }

    #[test]
    fn a_header_that_promises_more_than_a_file_can_hold_allocates_nothing() {
        for extents in [[u32::MAX; 3], [1 << 20, 1 << 8, 1 << 4]] {
            for file in [idx(&extents, &[1; 9]), gzip(&idx(&extents, &[1; 9]))] {
                let message = refusal(&file, &idx(&[2], &[7, 4]));
                assert!(message.contains("more than the file can hold"), "{message}");
            }
        }
    }

    #[test]
    fn files_cut_short_or_with_more_behind_are_refused() {
        let whole = two_pictures();
        let longer = [whole.as_slice(), &[0]].concat();
        let labels = idx(&[2], &[7, 4]);
        assert!(
            refusal(&gzip(&whole[..21]), &labels).contains("fewer values, expected the 2x1x3 that")
        );
        assert!(refusal(&longer, &labels).contains("more values, expected the 2x1x3 that"));
        assert!(refusal(&whole[..10], &labels).contains("cannot read the IDX header"));
        assert!(refusal(&gzip(&whole)[..30], &labels).contains("cannot read"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            mut images in proptest::collection::vec(any::<u8>(), 0..40),
            labels in proptest::collection::vec(any::<u8>(), 0..12),
            has_magic in any::<bool>(),
            is_packed in any::<bool>(),
        ) {
            if has_magic {
                images.splice(0..0, [0, 0, 8, 3]);
            }
            let images = if is_packed { gzip(&images) } else { images };
            let labels = [&[0, 0, 8, 1], labels.as_slice()].concat();
            if let Ok(source) = open(&images, &labels) {
                prop_assert!(!source.is_empty());
            }
        }
    }
}
