//! Frames of GIF files, composed as Pillow composes them.

use std::io::{Chain, Read};

use gif::{ColorOutput, DecodeOptions, Decoder, DisposalMethod, MemoryLimit};
use image::{Rgb, RgbImage};

use super::check_sides;

/// The colour of every index; one beyond the palette is black.
fn colours(palette: &[u8]) -> [[u8; 3]; 256] {
    let mut colours = [[0; 3]; 256];
    for (colour, entry) in colours.iter_mut().zip(palette.as_chunks::<3>().0) {
        *colour = *entry;
    }
    colours
}

/// The frames of a GIF file, each with all that shows of the earlier ones. Transparency is dropped,
/// and the colour under it shows.
///
/// # Source
/// `GifImagePlugin` of Pillow 13, with each frame converted to RGB: the first one lies on its
/// transparent colour or, without one, on the first of its palette, and enlarges the canvas if it
/// exceeds it.
///
/// # Differences
/// Later frames that exceed the canvas are cropped.
pub(crate) struct GifFrames<R: Read> {
    decoder: Decoder<Chain<R, &'static [u8]>>,
    canvas: RgbImage,
    is_first: bool,
    disposal: DisposalMethod,
    /// The area of the last frame and what replaces it before the next one.
    disposed: Option<(Area, Filling)>,
    /// The first frame's transparent index, which the second one's disposal looks up.
    transparent: Option<u8>,
    is_over: bool,
}

/// An area of the canvas: left, top, right, bottom.
type Area = [u32; 4];

enum Filling {
    Colour(Rgb<u8>),
    /// The pixels of the area, row by row.
    Pixels(Vec<Rgb<u8>>),
}

impl<R: Read> GifFrames<R> {
    pub(crate) fn new(file: R) -> Result<Self, String> {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::Indexed);
        // Sides are checked here.
        options.set_memory_limit(MemoryLimit::Unlimited);
        // The last byte may be missing.
        let decoder =
            options.read_info(file.chain(&b";"[..])).map_err(|error| error.to_string())?;
        Ok(Self {
            decoder,
            canvas: RgbImage::default(),
            is_first: true,
            disposal: DisposalMethod::Any,
            disposed: None,
            transparent: None,
            is_over: false,
        })
    }

    fn next_frame(&mut self) -> Result<Option<RgbImage>, String> {
        let text = |error: gif::DecodingError| error.to_string();
        let Some(frame) = self.decoder.next_frame_info().map_err(text)? else { return Ok(None) };
        let [left, top, width, height] =
            [frame.left, frame.top, frame.width, frame.height].map(u32::from);
        let (transparent, local, disposal) =
            (frame.transparent, frame.palette.clone(), frame.dispose);
        check_sides(width, height)?;
        // The decoder refuses a frame without either.
        let palette = local.as_deref().or(self.decoder.global_palette()).unwrap_or_default();
        let colours = colours(palette);
        let colour = |index: u8| Rgb(colours[usize::from(index)]);
        if self.is_first {
            let [columns, rows] = [self.decoder.width(), self.decoder.height()].map(u32::from);
            let (columns, rows) = (columns.max(left + width), rows.max(top + height));
            check_sides(columns, rows)?;
            self.canvas = RgbImage::from_pixel(columns, rows, colour(transparent.unwrap_or(0)));
        }
        if let Some((area, filling)) = self.disposed.take() {
            self.fill(area, &filling);
        }
        let (columns, rows) = self.canvas.dimensions();
        let area = [
            left.min(columns),
            top.min(rows),
            (left + width).min(columns),
            (top + height).min(rows),
        ];
        // A frame that leaves the method open keeps the last one's.
        if disposal != DisposalMethod::Any {
            self.disposal = disposal;
        }
        let first_transparent = self.transparent.take();
        self.disposed = match self.disposal {
            DisposalMethod::Any | DisposalMethod::Keep => None,
            DisposalMethod::Background => {
                let index = first_transparent.or(transparent);
                let background = self.decoder.bg_color().and_then(|index| u8::try_from(index).ok());
                let index = index.or(background).unwrap_or(0);
                Some((area, Filling::Colour(colour(index))))
            }
            DisposalMethod::Previous if !self.is_first => {
                Some((area, Filling::Pixels(self.pixels(area))))
            }
            DisposalMethod::Previous => {
                transparent.map(|index| (area, Filling::Colour(colour(index))))
            }
        };
        let mut indices = vec![0; self.decoder.buffer_size()];
        self.decoder.read_into_buffer(&mut indices).map_err(text)?;
        let across = (area[2] - area[0]) as usize;
        for y in area[1]..area[3] {
            let indices = &indices[((y - top) * width) as usize..][..across];
            let start = 3 * (y * columns + area[0]) as usize;
            let places = (*self.canvas)[start..start + 3 * across].as_chunks_mut::<3>().0;
            for (place, index) in places.iter_mut().zip(indices) {
                if self.is_first || Some(*index) != transparent {
                    *place = colours[usize::from(*index)];
                }
            }
        }
        self.is_first = false;
        Ok(Some(self.canvas.clone()))
    }

    fn pixels(&self, [left, top, right, bottom]: Area) -> Vec<Rgb<u8>> {
        let row = |y| (left..right).map(move |x| *self.canvas.get_pixel(x, y));
        (top..bottom).flat_map(row).collect()
    }

    fn fill(&mut self, [left, top, right, bottom]: Area, filling: &Filling) {
        let places = (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y)));
        for (place, (x, y)) in places.enumerate() {
            let pixel = match filling {
                Filling::Colour(colour) => *colour,
                Filling::Pixels(pixels) => pixels[place],
            };
            self.canvas.put_pixel(x, y, pixel);
        }
    }
}

impl<R: Read> Iterator for GifFrames<R> {
    type Item = Result<RgbImage, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let frame = self.next_frame().transpose();
        self.is_over = !matches!(frame, Some(Ok(_)));
        frame
    }
}
