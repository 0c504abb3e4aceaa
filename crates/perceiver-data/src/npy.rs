//! Reads `.npy`, the file format of NumPy's arrays.

use std::path::{Path, PathBuf};

use half::f16;

use crate::error::{Error, Result};
use crate::json::read_bounded;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 32;
/// Longest header that is read, NumPy's own limit, in bytes.
const MAX_HEADER: usize = 10_000;
/// Most axes of an array in NumPy.
const MAX_RANK: usize = 64;
const MAGIC: &[u8] = b"\x93NUMPY";

/// An array in NumPy's file format, `.npy`, of numbers or strings in either byte order and either
/// order of axes. Elements are decoded when they are asked for, and counted in C order.
///
/// # Source
/// "A simple file format for NumPy arrays" (NEP 1), and `numpy.lib.format` for versions 2 and 3.
#[derive(Debug, Clone)]
pub(crate) struct NpyArray {
    pub(crate) path: PathBuf,
    pub(crate) shape: Vec<usize>,
    element: Element,
    /// Bytes of an element.
    size: usize,
    is_big_endian: bool,
    is_fortran: bool,
    bytes: Vec<u8>,
    /// The offset of the first element in `bytes`.
    start: usize,
}

/// The type of all elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Element {
    Bool,
    Signed,
    Unsigned,
    Float,
    /// UTF-32, filled up with zeros.
    Unicode,
    /// Bytes, filled up with zeros.
    Bytes,
}

impl NpyArray {
    /// Reads a file. Memory is taken for the bytes that it has, not for those that its header claims.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = read_bounded(path, MAX_FILE)?;
        Self::parse(path, bytes).map_err(|reason| Error::data(path, reason))
    }

    fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self, String> {
        let (header, start) = header(&bytes)?;
        let (element, size, is_big_endian) = element(field(header, "descr")?)?;
        let is_fortran = match field(header, "fortran_order")? {
            text if text.starts_with("True") => true,
            text if text.starts_with("False") => false,
            _ => return Err("`fortran_order` of the header is neither True nor False".into()),
        };
        let shape = shape(field(header, "shape")?)?;
        let length = shape.iter().try_fold(size, |product, &side| product.checked_mul(side));
        let found = bytes.len() - start;
        if length != Some(found) {
            let expected =
                length.map_or_else(|| "more than fit in memory".into(), |n| n.to_string());
            return Err(format!(
                "{found} bytes of elements, but an array of shape {shape:?} has {expected}"
            ));
        }
        let path = path.to_owned();
        Ok(Self { path, shape, element, size, is_big_endian, is_fortran, bytes, start })
    }

    pub(crate) const fn element(&self) -> Element {
        self.element
    }

    /// Number of elements of each entry along the first axis.
    pub(crate) fn stride(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// The bytes of an element, the least significant one first, padded to eight. Strings excepted.
    fn word(&self, index: usize) -> u64 {
        let bytes = self.element_bytes(index);
        let join = |word: u64, byte: &u8| word << 8 | u64::from(*byte);
        if self.is_big_endian {
            bytes.iter().fold(0, join)
        } else {
            bytes.iter().rev().fold(0, join)
        }
    }

    fn element_bytes(&self, index: usize) -> &[u8] {
        let place = if self.is_fortran { self.fortran_place(index) } else { index };
        &self.bytes[self.start + place * self.size..][..self.size]
    }

    /// The place in Fortran order of an element whose place in C order is `index`.
    fn fortran_place(&self, mut index: usize) -> usize {
        let mut step: usize = self.shape.iter().product();
        let mut place = 0;
        for &side in self.shape.iter().rev() {
            step /= side;
            place += index % side * step;
            index /= side;
        }
        place
    }

    /// A whole number and its sign.
    fn integer(&self, index: usize) -> i128 {
        let word = self.word(index);
        if self.element == Element::Signed {
            let unused = 64 - 8 * self.size as u32;
            return ((word << unused) as i64 >> unused).into();
        }
        word.into()
    }

    /// An element as a number. Strings are not numbers.
    pub(crate) fn number(&self, index: usize) -> f32 {
        match self.element {
            Element::Float => match self.size {
                2 => f16::from_bits(self.word(index) as u16).to_f32(),
                4 => f32::from_bits(self.word(index) as u32),
                _ => f64::from_bits(self.word(index)) as f32,
            },
            Element::Unicode | Element::Bytes => f32::NAN,
            Element::Bool | Element::Signed | Element::Unsigned => self.integer(index) as f32,
        }
    }

    /// An element as the name of a class, or the reason why it is none. Negative numbers and empty
    /// strings name no class.
    pub(crate) fn name(&self, index: usize) -> Result<Option<String>, String> {
        let name = match self.element {
            Element::Bool => if self.word(index) == 0 { "False" } else { "True" }.to_owned(),
            Element::Float => self.number(index).to_string(),
            Element::Signed | Element::Unsigned => match self.integer(index) {
                ..0 => return Ok(None),
                number => number.to_string(),
            },
            Element::Bytes => {
                let text = std::str::from_utf8(self.element_bytes(index));
                text.map_err(|_| "is not UTF-8")?.trim_end_matches('\0').to_owned()
            }
            Element::Unicode => {
                let (units, _) = self.element_bytes(index).as_chunks::<4>();
                let decode =
                    if self.is_big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
                let text: Option<String> =
                    units.iter().map(|unit| char::from_u32(decode(*unit))).collect();
                text.ok_or("is not Unicode")?.trim_end_matches('\0').to_owned()
            }
        };
        Ok((!name.is_empty()).then_some(name))
    }
}

/// The header, and where elements begin.
fn header(bytes: &[u8]) -> Result<(&str, usize), String> {
    let cut = || "ends within its header".to_owned();
    let rest = bytes.strip_prefix(MAGIC).ok_or("is not a .npy file of NumPy")?;
    let (length, before) = match rest {
        [1, _, low, high, ..] => (u32::from_le_bytes([*low, *high, 0, 0]), MAGIC.len() + 4),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]), MAGIC.len() + 6),
        [0 | 4.., ..] => return Err(format!("version {}, expected 1 to 3", rest[0])),
        _ => return Err(cut()),
    };
    let length = length as usize;
    if length > MAX_HEADER {
        return Err(format!("a header of {length} bytes, expected at most {MAX_HEADER}"));
    }
    let header = bytes.get(before..before + length).ok_or_else(cut)?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is not UTF-8")?;
    Ok((header, before + length))
}

/// The header from the value of a key on.
fn field<'a>(header: &'a str, key: &str) -> Result<&'a str, String> {
    let value = ["'", "\""].iter().find_map(|quote| {
        let (_, rest) = header.split_once(&format!("{quote}{key}{quote}"))?;
        Some(rest.trim_start().strip_prefix(':')?.trim_start())
    });
    value.ok_or_else(|| format!("the header has no `{key}`"))
}

/// The type of an element, its size in bytes, and true if the first byte is the most significant.
fn element(descr: &str) -> Result<(Element, usize, bool), String> {
    if descr.starts_with(['[', '(']) {
        return Err("holds records of several fields, expected an array of numbers".into());
    }
    let quote = descr.chars().next().filter(|first| ['\'', '"'].contains(first));
    let name = quote.and_then(|quote| descr[1..].split(quote).next()).unwrap_or_default();
    let refused = || {
        let short: String = name.chars().take(20).collect();
        format!("elements are {short:?}, expected real numbers or strings")
    };
    let (order, rest) = match name.as_bytes().first() {
        Some(b'<' | b'>' | b'|' | b'=') => name.split_at(1),
        _ => ("<", name),
    };
    let kind = rest.chars().next().ok_or_else(refused)?;
    if kind == 'O' {
        return Err("holds pickled Python objects, which may run code: expected numbers".into());
    }
    let size = rest.get(1..).and_then(|size| size.parse::<usize>().ok()).ok_or_else(refused)?;
    let (element, size) = match (kind, size) {
        ('b', 1) => (Element::Bool, 1),
        ('i', 1 | 2 | 4 | 8) => (Element::Signed, size),
        ('u', 1 | 2 | 4 | 8) => (Element::Unsigned, size),
        ('f', 2 | 4 | 8) => (Element::Float, size),
        ('U', 1..) => (Element::Unicode, size.checked_mul(4).ok_or_else(refused)?),
        ('S', 1..) => (Element::Bytes, size),
        _ => return Err(refused()),
    };
    Ok((element, size, order == ">"))
}

fn shape(text: &str) -> Result<Vec<usize>, String> {
    let invalid = || "`shape` of the header is not a tuple of numbers".to_owned();
    let inside = text.strip_prefix('(').and_then(|rest| rest.split(')').next());
    let mut sides: Vec<&str> = inside.ok_or_else(invalid)?.split(',').map(str::trim).collect();
    if sides.last() == Some(&"") {
        sides.pop();
    }
    if sides.len() > MAX_RANK {
        return Err(format!("{} axes, expected at most {MAX_RANK}", sides.len()));
    }
    // Python 2 wrote `3L`.
    let side = |side: &&str| side.trim_end_matches('L').parse().map_err(|_| invalid());
    sides.iter().map(side).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(header: &str, elements: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [MAGIC, &[1, 0], &length, header.as_bytes(), elements].concat()
    }

    fn parse(bytes: Vec<u8>) -> Result<NpyArray, String> {
        NpyArray::parse(Path::new("a.npy"), bytes)
    }

    fn refusal(descr: &str, shape: &str) -> String {
        let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
        parse(file(&header, &[0; 8])).unwrap_err()
    }

    #[test]
    fn files_that_are_no_arrays_of_numbers_are_refused_in_one_line() {
        assert!(refusal("'|O'", "(1,)").starts_with("holds pickled Python objects"));
        assert!(refusal("[('a', '<f4')]", "(1,)").starts_with("holds records of several fields"));
        assert_eq!(
            refusal("'<c8'", "(1,)"),
            "elements are \"<c8\", expected real numbers or strings"
        );
        assert_eq!(refusal("'<f8'", "1"), "`shape` of the header is not a tuple of numbers");
        assert_eq!(refusal("'<f8'", "(-1,)"), "`shape` of the header is not a tuple of numbers");
        assert_eq!(parse(b"PK\x03\x04".to_vec()).unwrap_err(), "is not a .npy file of NumPy");
        assert_eq!(parse(b"\x93NUMPY\x01\0\xff".to_vec()).unwrap_err(), "ends within its header");
        assert_eq!(parse(file("{}", &[])).unwrap_err(), "the header has no `descr`");
    }

    #[test]
    fn a_shape_that_the_file_does_not_hold_is_refused_before_memory_is_taken() {
        let expected = "8 bytes of elements, but an array of shape [2] has 16";
        assert_eq!(refusal("'<f8'", "(2,)"), expected);
        let huge = refusal("'<f8'", "(4294967296, 4294967296)");
        assert!(huge.ends_with("has more than fit in memory"), "{huge}");
        assert!(refusal("'<U4611686018427387905'", "(1,)").starts_with("elements are"));
        let long = [MAGIC, &[2, 0], &u32::MAX.to_le_bytes()].concat();
        assert!(parse(long).unwrap_err().starts_with("a header of 4294967295 bytes"));
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic(
            header in "\\{('descr'|'shape'|'fortran_order'|:|,|'<f4'|'|u1'|'>U1'|True|False|\\(|\\)|[0-9]| ){0,20}",
            elements in prop::collection::vec(any::<u8>(), 0..16),
        ) {
            if let Ok(array) = parse(file(&header, &elements)) {
                for index in 0..array.shape.iter().product() {
                    let _ = (array.number(index), array.name(index));
                }
            }
        }
    }
}
