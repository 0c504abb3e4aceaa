//! Pairs of frames with exact flow, made of moving photos.

mod camera;
mod motion;
mod outline;
mod photo;

use std::path::Path;

use image::{Rgb, RgbImage};
use ndarray::{Array2, Array3};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use self::motion::Motion;
use self::outline::Outline;
use self::photo::{Photo, View};
use super::FlowPair;
use crate::error::{Error, Result};
use crate::folder_files::{FileKind, FolderFiles, passed_over_note};
use crate::source::{Remarks, Source};
use crate::video::list_frames;

/// Most pixels of a frame: 367 times those of the published model.
const MAX_PIXELS: usize = 1 << 26;

/// Most moving pieces: more than a frame can show.
const MAX_PIECES: usize = 1000;

/// Approximate memory limit for all photos together, in bytes.
const MAX_MEMORY: usize = 1 << 30;

/// Random pairs of frames made of photos: pieces of some move over another one, each rotating,
/// scaling and bending on its own.
///
/// Both frames sample the photos at exact positions, interpolating between pixels if needed, so the
/// flow is exactly that of the topmost piece. Photos are read once.
///
/// # Source
/// In the spirit of AutoFlow (Sun et al. 2021), with which Perceiver IO's model was trained.
///
/// # Differences
/// AutoFlow searches for the settings that suit a test set; here they are fixed, and motion is a
/// shift, a rotation, a scaling and a wave.
#[derive(Debug)]
pub struct FlowGenerator {
    photos: Vec<Photo>,
    options: FlowGeneratorOptions,
    remarks: Remarks,
}

/// Settings of a [`FlowGenerator`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlowGeneratorOptions {
    /// Number of pairs per epoch.
    pub pairs: usize,
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// Most pieces that move over the background; each pair draws the number.
    pub pieces: usize,
    /// Largest motion of a pixel, in pixels.
    pub max_motion: f32,
    /// Gives the second frame other light, noise and blur than the first.
    pub changes_light: bool,
    /// Counts pixels that the second frame does not show because they are covered or leave it.
    /// Their flow is known anyway.
    pub counts_hidden: bool,
}

impl FlowGeneratorOptions {
    /// Pairs of this height and width with up to six pieces, motion of at most a fifth of the
    /// shorter side, changes of light, and hidden pixels counted.
    #[must_use]
    pub fn new(pairs: usize, size: [usize; 2]) -> Self {
        let max_motion = size[0].min(size[1]) as f32 / 5.0;
        Self { pairs, size, pieces: 6, max_motion, changes_light: true, counts_hidden: true }
    }
}

impl FlowGenerator {
    /// Reads all photos of a folder.
    ///
    /// If the photos would take more than a gigabyte, large ones are reduced. Leaves out photos that
    /// cannot be read; [`remarks`](Source::remarks) names them.
    ///
    /// # Errors
    /// Returns an error if the folder holds no image that can be read, or if the options are invalid.
    pub fn new(folder: impl AsRef<Path>, options: FlowGeneratorOptions) -> Result<Self> {
        let folder = folder.as_ref();
        options.check().map_err(|reason| Error::Flow { path: folder.to_owned(), reason })?;
        let FolderFiles { files, passed_over } = list_frames(folder)?;
        let note = passed_over_note(folder, FileKind::Image, &passed_over);
        let share = MAX_MEMORY / files.len();
        let (mut photos, mut errors) = (Vec::new(), Vec::new());
        for file in files {
            match crate::read_image(file) {
                Ok(image) => photos.push(Photo::new(image, share)),
                Err(error) => errors.push(error),
            }
        }
        if photos.is_empty() && !errors.is_empty() {
            return Err(errors.swap_remove(0));
        }
        let left_out = errors.iter().map(Error::to_string).collect();
        let remarks = Remarks { left_out, notes: note.into_iter().collect() };
        Ok(Self { photos, options, remarks })
    }

    /// The background and the pieces that move over it, the topmost last.
    fn draw(&self, random: &mut ChaCha8Rng) -> Vec<Piece<'_>> {
        let FlowGeneratorOptions { size, pieces, max_motion, .. } = self.options;
        let [height, width] = size.map(|side| side as f32);
        let mut scene = Vec::new();
        for index in 0..=random.random_range(0..=pieces) {
            let outline = (index > 0).then(|| Outline::draw(size, random));
            let (centre, radius) = match &outline {
                Some(outline) => (outline.centre, outline.largest),
                None => ([(width - 1.0) / 2.0, (height - 1.0) / 2.0], width.hypot(height) / 2.0),
            };
            let photo = &self.photos[random.random_range(0..self.photos.len())];
            let view = photo.draw_view(centre, radius, random);
            let motion = Motion::draw(centre, radius, max_motion, random);
            scene.push(Piece { outline, view, motion });
        }
        scene
    }
}

impl Source for FlowGenerator {
    type Example = FlowPair;

    fn len(&self) -> usize {
        self.options.pairs
    }

    fn example(&self, _index: usize, random: &mut ChaCha8Rng) -> Result<FlowPair> {
        let scene = self.draw(random);
        let mut pair = pair(&scene, self.options.size);
        if self.options.counts_hidden {
            pair.valid.fill(true);
        }
        if self.options.changes_light {
            camera::change(&mut pair.second, random);
        }
        Ok(pair)
    }

    fn remarks(&self) -> Remarks {
        self.remarks.clone()
    }
}

impl FlowGeneratorOptions {
    fn check(&self) -> Result<(), String> {
        let Self { pairs, size: [height, width], pieces, max_motion, .. } = *self;
        if pairs == 0 {
            return Err("0 pairs, expected at least one".to_owned());
        }
        if !(1..=MAX_PIXELS).contains(&height.saturating_mul(width)) {
            return Err(format!("pairs of {height}x{width} pixels, expected 1 to {MAX_PIXELS}"));
        }
        if pieces > MAX_PIECES {
            return Err(format!("{pieces} moving pieces, expected at most {MAX_PIECES}"));
        }
        if !(max_motion.is_finite() && max_motion >= 0.0) {
            return Err(format!("motion of {max_motion} pixels, expected at least 0"));
        }
        Ok(())
    }
}

/// A piece of a scene: the part of a photo inside an outline, or all of it, and its motion.
#[derive(Debug)]
struct Piece<'a> {
    outline: Option<Outline>,
    view: View<'a>,
    motion: Motion,
}

impl Piece<'_> {
    /// How much of a position in the first frame it covers, from 0 to 1.
    fn cover(&self, place: [f32; 2]) -> f32 {
        self.outline.as_ref().map_or(1.0, |outline| outline.cover(place))
    }

    /// Returns true if it hides the pieces below.
    fn hides(&self, place: [f32; 2]) -> bool {
        self.cover(place) >= 0.5
    }
}

/// Two frames of a scene; a pixel is valid if the second frame shows it.
fn pair(scene: &[Piece<'_>], [height, width]: [usize; 2]) -> FlowPair {
    let first = frame(scene, [height, width], |_, place| place);
    let second = frame(scene, [height, width], |piece, place| piece.motion.backward(place));
    let mut flow = Array3::zeros((height, width, 2));
    let mut valid = Array2::from_elem((height, width), false);
    for ((y, x), valid) in valid.indexed_iter_mut() {
        let place = [x as f32, y as f32];
        let topmost = scene.iter().rposition(|piece| piece.hides(place)).unwrap_or_default();
        let [right, down] = scene[topmost].motion.forward(place);
        flow[[y, x, 0]] = right - place[0];
        flow[[y, x, 1]] = down - place[1];
        let inside = (0.0..=(width - 1) as f32).contains(&right)
            && (0.0..=(height - 1) as f32).contains(&down);
        let covers = |piece: &Piece<'_>| piece.hides(piece.motion.backward([right, down]));
        *valid = inside && !scene[topmost + 1..].iter().any(covers);
    }
    FlowPair { first, second, flow, valid }
}

/// The view of a scene in which each piece shows, at every position, its content at `origin`.
fn frame(
    scene: &[Piece<'_>],
    [height, width]: [usize; 2],
    origin: impl Fn(&Piece<'_>, [f32; 2]) -> [f32; 2],
) -> RgbImage {
    /// Smaller contributions are lost in rounding.
    const DARK: f32 = 1.0 / 512.0;
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let (mut colour, mut unseen) = ([0.0; 3], 1.0);
        for piece in scene.iter().rev() {
            let place = origin(piece, [x as f32, y as f32]);
            let share = unseen * piece.cover(place);
            if share > 0.0 {
                let of_piece = piece.view.colour(place);
                (0..3).for_each(|channel| colour[channel] += share * of_piece[channel]);
                unseen -= share;
            }
            if unseen < DARK {
                break;
            }
        }
        Rgb(colour.map(|level| level.round() as u8))
    })
}

#[cfg(test)]
mod tests;
