//! From images to the pixel values that image classifiers take.

mod config;

use std::borrow::Cow;
use std::path::Path;
use std::slice;

use image::{Rgb, RgbImage};
use ndarray::Array4;
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::json::SettingsFiles;
use crate::resample::{Backend, Resample, resize};

/// Crops and resized images have at most this many pixels.
pub(crate) const MAX_PIXELS: u64 = 1 << 28;

const CHANNELS: usize = 3;

/// Crops images around their centre, resizes them, and normalises their pixel values.
///
/// The crop is `size / crop_size` of the shorter side in each direction, by default 224/256;
/// pixels outside the image are black. The crop is then resized to `size`, multiplied by
/// `rescale_factor`, shifted by `-image_mean` and divided by `image_std`. The settings file can
/// turn off each step.
///
/// [`Backend`] selects one of the reference's two variants. They round differently when resizing.
/// If a crop exceeds the image by an odd number of pixels, [`Backend::Pil`] puts the odd one on
/// the left and top, [`Backend::Torchvision`] on the right and bottom.
///
/// ```
/// use image::RgbImage;
/// use perceiver_data::PerceiverImageProcessor;
///
/// let processor = PerceiverImageProcessor::default();
/// let photos = [RgbImage::new(640, 480), RgbImage::new(300, 400)];
/// assert_eq!(processor.preprocess(&photos)?.dim(), (2, 3, 224, 224));
/// # Ok::<(), perceiver_data::Error>(())
/// ```
///
/// # Source
/// `PerceiverImageProcessor` and `PerceiverImageProcessorPil` of transformers 5.23.
///
/// # Differences
/// Images are RGB, as [`read_image`](crate::read_image) returns them; the reference accepts grey
/// images too but cannot normalise them. An empty crop is an error for both backends. torchvision
/// has no box or Hamming filter; [`Backend::Torchvision`] computes these two at torchvision's
/// precision.
#[derive(Debug, Clone, PartialEq)]
#[doc(alias = "PerceiverImageProcessorPil")]
#[doc(alias = "PerceiverFeatureExtractor")]
pub struct PerceiverImageProcessor {
    backend: Backend,
    do_center_crop: bool,
    crop_size: Size,
    do_resize: bool,
    size: Size,
    resample: Resample,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    image_mean: [f64; CHANNELS],
    image_std: [f64; CHANNELS],
    /// Other fields of the settings file, kept for saving.
    other_settings: Map<String, Value>,
}

/// The size that images are resized to, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Size {
    /// Exactly this size, ignoring the aspect ratio.
    Exact {
        /// New height.
        height: u32,
        /// New width.
        width: u32,
    },
    /// The shorter side gets this length; the aspect ratio is kept.
    ShortestEdge {
        /// Length of the shorter side.
        shortest: u32,
        /// Longest the longer side may become; the shorter side shrinks to meet it.
        longest: Option<u32>,
    },
    /// The largest size within these limits; the aspect ratio is kept.
    Within {
        /// Largest height.
        max_height: u32,
        /// Largest width.
        max_width: u32,
    },
}

impl Default for PerceiverImageProcessor {
    fn default() -> Self {
        let square = |side| Size::Exact { height: side, width: side };
        Self {
            backend: Backend::default(),
            do_center_crop: true,
            crop_size: square(256),
            do_resize: true,
            size: square(224),
            resample: Resample::Bicubic,
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: [0.485, 0.456, 0.406],
            image_std: [0.229, 0.224, 0.225],
            other_settings: Map::new(),
        }
    }
}

impl PerceiverImageProcessor {
    /// Reads a checkpoint folder's `preprocessor_config.json`, or the image settings in its
    /// `processor_config.json` if that has any.
    ///
    /// Older forms are accepted: a number for `size` or `crop_size`, and the class under
    /// `feature_extractor_type`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, is not JSON, belongs to another processor or
    /// has an invalid field.
    pub fn from_pretrained(folder: impl AsRef<Path>) -> Result<Self> {
        config::read(SettingsFiles::Folder(folder.as_ref()))
    }

    /// Like [`from_pretrained`](Self::from_pretrained), with `None` for a folder without image
    /// settings.
    ///
    /// # Errors
    /// As [`from_pretrained`](Self::from_pretrained), except that both files may be absent.
    pub fn from_pretrained_if_present(folder: impl AsRef<Path>) -> Result<Option<Self>> {
        config::read_if_present(SettingsFiles::Folder(folder.as_ref()))
    }

    /// Like [`from_pretrained`](Self::from_pretrained), from files in memory: pairs of name and
    /// content. Other files are ignored.
    ///
    /// ```
    /// use perceiver_data::PerceiverImageProcessor;
    ///
    /// let settings = br#"{"size": 28, "crop_size": 28}"#;
    /// let processor =
    ///     PerceiverImageProcessor::from_files(&[("preprocessor_config.json", settings)])?;
    /// # Ok::<(), perceiver_data::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`from_pretrained`](Self::from_pretrained), with the file's name for its path.
    pub fn from_files(files: &[(&str, &[u8])]) -> Result<Self> {
        config::read(SettingsFiles::Memory(files))
    }

    /// Like [`from_files`](Self::from_files), with `None` if there are no image settings.
    ///
    /// # Errors
    /// As [`from_files`](Self::from_files), except that both files may be absent.
    pub fn from_files_if_present(files: &[(&str, &[u8])]) -> Result<Option<Self>> {
        config::read_if_present(SettingsFiles::Memory(files))
    }

    /// Writes `preprocessor_config.json` into a folder, creating the folder if needed.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written; an existing file then stays unchanged.
    pub fn save_pretrained(&self, folder: impl AsRef<Path>) -> Result<()> {
        config::write(self, folder.as_ref())
    }

    /// Resizes whole images without cropping, scales values to 0 to 1 and normalises each channel.
    #[must_use]
    pub fn resizing(height: u32, width: u32, mean: [f64; 3], deviation: [f64; 3]) -> Self {
        Self {
            do_center_crop: false,
            size: Size::Exact { height, width },
            image_mean: mean,
            image_std: deviation,
            ..Self::default()
        }
    }

    /// Follows the arithmetic of the given variant of the reference.
    #[must_use]
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// The size that images are resized to.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// Turns images into the model's input.
    ///
    /// # Shapes
    /// - returns: `[images, 3, height, width]`
    ///
    /// # Errors
    /// Returns an error if an image has no pixels, its crop is empty, the result would exceed 2²⁸
    /// pixels, images of the batch end up with different sizes, or no image is given.
    pub fn preprocess(&self, images: &[RgbImage]) -> Result<Array4<f32>> {
        let mut processed = Vec::with_capacity(images.len());
        for (index, image) in images.iter().enumerate() {
            let image = self.crop_and_resize(image);
            processed.push(image.map_err(|reason| refusal(images, index, reason))?);
        }
        self.values(&processed)
    }

    /// Crops and resizes one image, without normalising its values.
    ///
    /// # Errors
    /// Returns an error if the image has no pixels, its crop is empty, or the result would exceed
    /// 2²⁸ pixels.
    pub fn fit(&self, image: &RgbImage) -> Result<RgbImage> {
        self.crop_and_resize(image).map_err(|reason| refusal(slice::from_ref(image), 0, reason))
    }

    /// Normalises the values of images that already have the model's size.
    ///
    /// # Shapes
    /// - returns: `[images, 3, height, width]`
    ///
    /// # Errors
    /// Returns an error if images of the batch differ in size, or no image is given.
    pub fn values(&self, images: &[RgbImage]) -> Result<Array4<f32>> {
        let (first_width, first_height) = images.first().ok_or(Error::EmptyBatch)?.dimensions();
        for (index, image) in images.iter().enumerate() {
            let (width, height) = image.dimensions();
            if (first_width, first_height) != (width, height) {
                return Err(Error::UnequalSizes {
                    index,
                    width,
                    height,
                    first_width,
                    first_height,
                });
            }
        }
        let [width, height] = [first_width, first_height].map(|side| side as usize);
        let tables = self.value_tables();
        Ok(Array4::from_shape_fn(
            (images.len(), CHANNELS, height, width),
            |(index, channel, row, column)| {
                let place = (row * width + column) * CHANNELS + channel;
                tables[channel][usize::from(images[index].as_raw()[place])]
            },
        ))
    }

    /// The part of an image that the model sees, at the image's own resolution: the centre crop.
    ///
    /// # Errors
    /// Returns an error if the image has no pixels, or its crop is empty or exceeds 2²⁸ pixels.
    pub fn crop<'a>(&self, image: &'a RgbImage) -> Result<Cow<'a, RgbImage>> {
        self.cropped(image).map_err(|reason| refusal(slice::from_ref(image), 0, reason))
    }

    fn cropped<'a>(&self, image: &'a RgbImage) -> Result<Cow<'a, RgbImage>, String> {
        if image.width() == 0 || image.height() == 0 {
            return Err("it has no pixels".to_owned());
        }
        Ok(match (self.do_center_crop, self.size, self.crop_size) {
            (
                true,
                Size::Exact { height, width },
                Size::Exact { height: crop_height, width: crop_width },
            ) => {
                let shorter = f64::from(image.width().min(image.height()));
                let side = |size, crop| (f64::from(size) / f64::from(crop) * shorter) as u64;
                let size = (side(width, crop_width), side(height, crop_height));
                let size = check_size("centre crop", size)?;
                Cow::Owned(center_crop(image, size, self.backend))
            }
            _ => Cow::Borrowed(image),
        })
    }

    fn crop_and_resize(&self, image: &RgbImage) -> Result<RgbImage, String> {
        let image = self.cropped(image)?;
        if !self.do_resize {
            return Ok(image.into_owned());
        }
        let size = check_size("resized image", self.size.of(image.dimensions()))?;
        Ok(resize(&image, size, self.resample, self.backend))
    }

    /// The normalised value of each of the 256 levels, per channel.
    fn value_tables(&self) -> [[f32; 256]; CHANNELS] {
        std::array::from_fn(|channel| {
            let mean = self.image_mean[channel] as f32;
            let std = self.image_std[channel] as f32;
            std::array::from_fn(|level| {
                let level = level as f32;
                match (self.backend, self.do_rescale, self.do_normalize) {
                    (_, false, false) => level,
                    (_, false, true) => (level - mean) / std,
                    (Backend::Torchvision, true, false) => level * self.rescale_factor as f32,
                    (Backend::Torchvision, true, true) => {
                        // Mean and deviation absorb the scaling, in single precision.
                        let inverse = (1.0 / self.rescale_factor) as f32;
                        (level - mean * inverse) / (std * inverse)
                    }
                    (Backend::Pil, true, normalize) => {
                        let rescaled = (f64::from(level) * self.rescale_factor) as f32;
                        if normalize { (rescaled - mean) / std } else { rescaled }
                    }
                }
            })
        })
    }
}

impl Size {
    /// New `(width, height)` of an image of this `(width, height)`.
    fn of(self, (width, height): (u32, u32)) -> (u64, u64) {
        let (old_width, old_height) = (f64::from(width), f64::from(height));
        let longer_over_shorter = old_width.max(old_height) / old_width.min(old_height);
        match self {
            Self::Exact { height, width } => (width.into(), height.into()),
            Self::ShortestEdge { shortest, longest } => {
                let mut short = f64::from(shortest);
                let mut exact_short = short;
                if let Some(longest) = longest.map(f64::from)
                    && longer_over_shorter * short > longest
                {
                    exact_short = longest * old_width.min(old_height) / old_width.max(old_height);
                    short = exact_short.round_ties_even();
                }
                // The reference leaves such an image alone even if its longer side is too long.
                if short == old_width.min(old_height) {
                    return (width.into(), height.into());
                }
                if old_width < old_height {
                    let long = (exact_short * old_height / old_width) as u64;
                    (short as u64, long)
                } else {
                    let long = (exact_short * old_width / old_height) as u64;
                    (long, short as u64)
                }
            }
            Self::Within { max_height, max_width } => {
                let height_scale = f64::from(max_height) / old_height;
                let width_scale = f64::from(max_width) / old_width;
                let scale = height_scale.min(width_scale);
                ((old_width * scale) as u64, (old_height * scale) as u64)
            }
        }
    }
}

fn refusal(images: &[RgbImage], index: usize, reason: String) -> Error {
    let (width, height) = images[index].dimensions();
    Error::Preprocess { index, width, height, reason }
}

fn check_size(what: &str, (width, height): (u64, u64)) -> Result<(u32, u32), String> {
    if width == 0 || height == 0 {
        return Err(format!("its {what} of {width}x{height} pixels is empty"));
    }
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(width), Ok(height)) if u64::from(width) * u64::from(height) <= MAX_PIXELS => {
            Ok((width, height))
        }
        _ => Err(format!(
            "its {what} would have {width}x{height} pixels, expected at most {MAX_PIXELS}"
        )),
    }
}

fn center_crop(image: &RgbImage, (width, height): (u32, u32), backend: Backend) -> RgbImage {
    let place = |old: u32, new: u32| {
        let missing = new.saturating_sub(old);
        let before = match backend {
            Backend::Torchvision => missing / 2,
            Backend::Pil => missing.div_ceil(2),
        };
        (old.saturating_sub(new) / 2, before)
    };
    let (left, black_left) = place(image.width(), width);
    let (top, black_top) = place(image.height(), height);
    let kept_width = image.width().min(width);
    let kept_height = image.height().min(height);

    let view = image::imageops::crop_imm(image, left, top, kept_width, kept_height);
    if (kept_width, kept_height) == (width, height) {
        return view.to_image();
    }
    let mut cropped = RgbImage::from_pixel(width, height, Rgb([0; CHANNELS]));
    image::imageops::replace(&mut cropped, &*view, black_left.into(), black_top.into());
    cropped
}

#[cfg(test)]
mod tests;
