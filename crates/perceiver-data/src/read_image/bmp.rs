//! Bitmaps, decoded as Pillow decodes them.

use image::RgbImage;

use super::{FEWER_PIXELS, check_sides};

/// Bytes before the header of a file; a `.dib` file may lack them.
const FILE_HEADER: usize = 14;

/// Sizes of the headers of OS/2 and of every version of Windows.
const HEADERS: [u32; 7] = [12, 40, 52, 56, 64, 108, 124];

/// The colours of pixels that hold them, as bit masks of red, green and blue.
const MASKS_16: [[u32; 3]; 2] = [[0x7c00, 0x3e0, 0x1f], [0xf800, 0x7e0, 0x1f]];

/// Returns true if these bytes begin a bitmap, with or without the header of a file.
pub(super) fn is_bitmap(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"BM") {
        return true;
    }
    let header = word(bytes, 0).ok().filter(|size| HEADERS.contains(size));
    let planes = if header == Some(12) { 8 } else { 12 };
    let bits = short(bytes, planes + 2).ok();
    header.is_some() && short(bytes, planes) == Ok(1) && bits.is_some_and(|bits| bits <= 32)
}

/// Decodes a bitmap.
///
/// # Source
/// `BmpImagePlugin` of Pillow 13: alpha is dropped, and pixels that run-length encoding leaves out
/// have the first colour of the palette.
///
/// # Differences
/// Bitmaps of 16 and 32 bits may have any masks, and run-length encoded ones may end before their
/// last row.
pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let (header, offset) =
        if bytes.starts_with(b"BM") { (FILE_HEADER, word(bytes, 10)? as usize) } else { (0, 0) };
    let bitmap = Bitmap::read(bytes, header, offset)?;
    let pixels = bytes.get(bitmap.pixels..).unwrap_or_default();
    match bitmap.compression {
        1 if bitmap.bits == 8 => bitmap.indexed(&bitmap.run_lengths(pixels, false)?),
        2 if bitmap.bits == 4 => bitmap.indexed(&bitmap.run_lengths(pixels, true)?),
        0 if bitmap.bits <= 8 => bitmap.indexed(&bitmap.indices(pixels)?),
        0 | 3 if bitmap.bits >= 16 => bitmap.coloured(pixels),
        other => Err(format!(
            "bitmaps of {} bits with compression {other} are not supported",
            bitmap.bits
        )),
    }
}

/// A bitmap without its pixels.
struct Bitmap {
    width: u32,
    height: u32,
    is_upside_down: bool,
    bits: u16,
    compression: u32,
    masks: [u32; 3],
    /// Blue, green and red of each colour.
    palette: Vec<[u8; 3]>,
    /// Offset of the pixels in the file.
    pixels: usize,
}

/// Most pixels of a run-length encoded bitmap in a small file.
const MAX_RUN_PIXELS: usize = 1 << 24;

impl Bitmap {
    fn read(bytes: &[u8], header: usize, offset: usize) -> Result<Self, String> {
        let size = word(bytes, header)?;
        if !HEADERS.contains(&size) {
            let expected = HEADERS.map(|size| size.to_string()).join(", ");
            return Err(format!("a bitmap's header of {size} bytes, expected one of {expected}"));
        }
        let is_old = size == 12;
        let (width, height, bits) = if is_old {
            let side = |at| short(bytes, header + at).map(u32::from);
            (side(4)?, side(6)?, short(bytes, header + 10)?)
        } else {
            (word(bytes, header + 4)?, word(bytes, header + 8)?, short(bytes, header + 14)?)
        };
        // A negative height means that the first row is the top one.
        let is_upside_down = is_old || height < 0x8000_0000;
        let height = if is_upside_down { height } else { height.wrapping_neg() };
        check_sides(width, height)?;
        if ![1, 4, 8, 16, 24, 32].contains(&bits) {
            return Err(format!("a bitmap of {bits} bits, expected 1, 4, 8, 16, 24 or 32"));
        }
        let compression = if is_old { 0 } else { word(bytes, header + 16)? };
        let mut end = header + size as usize;
        let mut masks = if bits == 16 { MASKS_16[0] } else { [0xff_0000, 0xff00, 0xff] };
        if compression == 3 {
            // The masks follow the header, or are part of it.
            for (place, mask) in masks.iter_mut().enumerate() {
                *mask = word(bytes, header + 40 + 4 * place)?;
            }
            end = end.max(header + 52);
        }
        let colours = if is_old { 0 } else { word(bytes, header + 32)? };
        let colours = match (bits, colours) {
            (16.., _) => 0,
            (_, 0) => 1 << bits,
            (_, colours) => colours.min(65_536),
        };
        let entry = if is_old { 3 } else { 4 };
        let palette = bytes.get(end..).unwrap_or_default().chunks_exact(entry);
        let palette = palette.take(colours as usize).map(|entry| [entry[0], entry[1], entry[2]]);
        let palette: Vec<_> = palette.collect();
        end += colours as usize * entry;
        let is_palette_counted = offset == header + size as usize && bits <= 8;
        let pixels = if offset == 0 || is_palette_counted { end } else { offset };
        Ok(Self { width, height, is_upside_down, bits, compression, masks, palette, pixels })
    }

    /// The row of the picture that the row of the file holds.
    const fn row(&self, row: u32) -> u32 {
        if self.is_upside_down { self.height - 1 - row } else { row }
    }

    /// The rows of a bitmap that is not compressed, in the order of the file, without what fills
    /// them up to whole words.
    fn rows<'a>(&self, pixels: &'a [u8]) -> Result<impl Iterator<Item = &'a [u8]>, String> {
        let used = (u64::from(self.width) * u64::from(self.bits)).div_ceil(8) as usize;
        let stride = used.next_multiple_of(4);
        // The last row may end where its pixels end.
        let needed = stride * (self.height as usize - 1) + used;
        if pixels.len() < needed {
            return Err("it ends early".to_owned());
        }
        Ok(pixels[..needed].chunks(stride).map(move |row| &row[..used]))
    }

    /// Indices of the palette, in the order of the file.
    fn indices(&self, pixels: &[u8]) -> Result<Vec<u8>, String> {
        let width = self.width as usize;
        let bits = usize::from(self.bits);
        let rows = self.rows(pixels)?;
        let mut indices = Vec::with_capacity(width * self.height as usize);
        for row in rows {
            let index = |x: usize| {
                let first = x * bits;
                let byte = row[first / 8] >> (8 - bits - first % 8);
                byte & (0xff >> (8 - bits))
            };
            indices.extend((0..width).map(index));
        }
        Ok(indices)
    }

    /// Indices of a run-length encoded bitmap, in the order of the file.
    fn run_lengths(&self, pixels: &[u8], are_halves: bool) -> Result<Vec<u8>, String> {
        let width = self.width as usize;
        let total = width * self.height as usize;
        // A run of two bytes holds at most 255 pixels; only rows that are left out need fewer bytes.
        if total > MAX_RUN_PIXELS.max(1024 * pixels.len()) {
            let (height, bytes) = (self.height, pixels.len());
            return Err(format!("{width}x{height} run-length encoded pixels in {bytes} bytes"));
        }
        let mut indices: Vec<u8> = Vec::new();
        let (mut rest, mut x) = (pixels, 0);
        let halves = |byte: u8| if are_halves { [byte >> 4, byte & 15] } else { [byte; 2] };
        while indices.len() < total {
            let count = usize::from(byte(&mut rest)?);
            match (count, byte(&mut rest)?) {
                (0, 0) => {
                    indices.resize(indices.len().next_multiple_of(width), 0);
                    x = 0;
                }
                (0, 1) => break,
                (0, 2) => {
                    let [right, up] = [byte(&mut rest)?, byte(&mut rest)?].map(usize::from);
                    indices.resize(total.min(indices.len() + right + up * width), 0);
                    x = indices.len() % width;
                }
                (0, count) => {
                    let count = usize::from(count);
                    let wanted = count.min(total - indices.len());
                    let end = indices.len() + wanted;
                    for _ in 0..if are_halves { wanted.div_ceil(2) } else { wanted } {
                        let both = halves(byte(&mut rest)?);
                        indices.extend(&both[..if are_halves { 2 } else { 1 }]);
                    }
                    indices.truncate(end);
                    x += count;
                    // Runs begin at even offsets of the file.
                    if end < total && (self.pixels + pixels.len() - rest.len()) % 2 == 1 {
                        byte(&mut rest)?;
                    }
                }
                (count, value) => {
                    let count = count.min(width.saturating_sub(x));
                    indices.extend(halves(value).iter().cycle().take(count));
                    x += count;
                }
            }
        }
        indices.resize(total, 0);
        Ok(indices)
    }

    fn indexed(&self, indices: &[u8]) -> Result<RgbImage, String> {
        let colour = |index: &[u8]| match self.palette.get(usize::from(index[0])) {
            Some([blue, green, red]) => [*red, *green, *blue],
            None => [0; 3],
        };
        self.image(indices.chunks(self.width as usize), 1, colour)
    }

    fn coloured(&self, pixels: &[u8]) -> Result<RgbImage, String> {
        let rows = self.rows(pixels)?;
        let size = usize::from(self.bits / 8);
        // Without masks, colours are where those of 24 bits are.
        let usual = [0xff_0000, 0xff00, 0xff];
        if self.bits >= 24 && [usual, [0; 3]].contains(&self.masks) {
            return self.image(rows, size, |pixel| [pixel[2], pixel[1], pixel[0]]);
        }
        let masks = self.masks;
        if masks.iter().any(|mask| !is_channel(*mask)) {
            let [red, green, blue] = masks;
            let found = format!("{red:#x}, {green:#x} and {blue:#x}");
            return Err(format!("colours by the masks {found}, expected adjacent bits in each"));
        }
        self.image(rows, size, |pixel| {
            let pixel = pixel.iter().rev().fold(0, |value, byte| (value << 8) | u32::from(*byte));
            masks.map(|mask| (u64::from(pixel & mask) * 255 / u64::from(mask)) as u8)
        })
    }

    /// The picture, from the rows of the file with pixels of `size` bytes.
    fn image<'a>(
        &self,
        rows: impl Iterator<Item = &'a [u8]>,
        size: usize,
        colour: impl Fn(&[u8]) -> [u8; 3],
    ) -> Result<RgbImage, String> {
        let length = 3 * self.width as usize;
        let mut pixels = vec![0; length * self.height as usize];
        for (row, colours) in (0..self.height).zip(rows) {
            let start = self.row(row) as usize * length;
            let places = pixels[start..start + length].as_chunks_mut::<3>().0;
            for (place, pixel) in places.iter_mut().zip(colours.chunks_exact(size)) {
                *place = colour(pixel);
            }
        }
        RgbImage::from_raw(self.width, self.height, pixels).ok_or_else(|| FEWER_PIXELS.to_owned())
    }
}

/// Returns true if a mask selects bits that stand together.
const fn is_channel(mask: u32) -> bool {
    mask > 0 && (mask >> mask.trailing_zeros()).trailing_ones() == mask.count_ones()
}

fn byte(rest: &mut &[u8]) -> Result<u8, String> {
    let (first, others) = rest.split_first().ok_or("it ends early")?;
    *rest = others;
    Ok(*first)
}

fn word(bytes: &[u8], at: usize) -> Result<u32, String> {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map(u32::from_le_bytes).ok_or_else(|| "it ends inside its header".to_owned())
}

fn short(bytes: &[u8], at: usize) -> Result<u16, String> {
    let short = bytes.get(at..at + 2).and_then(|short| short.try_into().ok());
    short.map(u16::from_le_bytes).ok_or_else(|| "it ends inside its header".to_owned())
}
