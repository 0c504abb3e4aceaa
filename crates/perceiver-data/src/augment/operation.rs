use image::RgbImage;

use super::affine::transform;
use super::tones::{blend, blurred, equalised, grey, mean_grey, remap, stretched};

/// The operations that [`RandAugment`](super::RandAugment) draws from.
///
/// # Source
/// `torchvision.transforms.RandAugment` on tensors, with bilinear interpolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// No change.
    Identity,
    /// Shifts rows in proportion to their distance from the top.
    ShearX,
    /// Shifts columns in proportion to their distance from the left.
    ShearY,
    /// Shifts to the right.
    TranslateX,
    /// Shifts down.
    TranslateY,
    /// Rotates counterclockwise.
    Rotate,
    /// Blends with black.
    Brightness,
    /// Blends with the grey image.
    Color,
    /// Blends with the mean grey.
    Contrast,
    /// Blends with a blurred image.
    Sharpness,
    /// Reduces the number of levels.
    Posterize,
    /// Inverts bright values.
    Solarize,
    /// Stretches each channel to 0 to 255.
    AutoContrast,
    /// Equalises each channel's histogram.
    Equalize,
}

impl Operation {
    /// All operations in torchvision's order.
    pub const ALL: [Self; 14] = [
        Self::Identity,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Brightness,
        Self::Color,
        Self::Contrast,
        Self::Sharpness,
        Self::Posterize,
        Self::Solarize,
        Self::AutoContrast,
        Self::Equalize,
    ];

    /// Returns true if the operation has a direction.
    #[must_use]
    pub const fn is_signed(self) -> bool {
        matches!(
            self,
            Self::ShearX
                | Self::ShearY
                | Self::TranslateX
                | Self::TranslateY
                | Self::Rotate
                | Self::Brightness
                | Self::Color
                | Self::Contrast
                | Self::Sharpness
        )
    }

    /// Applies the operation with a magnitude from 0 to 30. `is_negative` reverses operations that
    /// [have a direction](Self::is_signed). Pixels from outside the image are black.
    ///
    /// # Panics
    /// If the magnitude is above 30.
    #[must_use]
    pub fn apply(self, image: &RgbImage, magnitude: u32, is_negative: bool) -> RgbImage {
        assert!(magnitude <= MAX_MAGNITUDE, "a magnitude of {magnitude}, expected at most 30");
        let sign = if is_negative && self.is_signed() { -1.0 } else { 1.0 };
        let level = |most: f64| sign * level(magnitude, most);
        let (width, height) = (f64::from(image.width()), f64::from(image.height()));
        match self {
            Self::Identity => image.clone(),
            Self::ShearX => {
                let slope = level(0.3);
                transform(image, [[1.0, slope, slope * height / 2.0], [0.0, 1.0, 0.0]])
            }
            Self::ShearY => {
                let slope = level(0.3);
                transform(image, [[1.0, 0.0, 0.0], [slope, 1.0, slope * width / 2.0]])
            }
            Self::TranslateX => {
                transform(image, [[1.0, 0.0, -level(LONGEST_WAY * width).trunc()], [0.0, 1.0, 0.0]])
            }
            Self::TranslateY => transform(
                image,
                [[1.0, 0.0, 0.0], [0.0, 1.0, -level(LONGEST_WAY * height).trunc()]],
            ),
            Self::Rotate => {
                let (sine, cosine) = level(30.0).to_radians().sin_cos();
                transform(image, [[cosine, -sine, 0.0], [sine, cosine, 0.0]])
            }
            Self::Brightness => blend(image, |_, _| [0.0; 3], 1.0 + level(0.9)),
            Self::Color => {
                let grey = |x, y| [f32::from(grey(*image.get_pixel(x, y))); 3];
                blend(image, grey, 1.0 + level(0.9))
            }
            Self::Contrast => {
                let mean = mean_grey(image);
                blend(image, |_, _| [mean; 3], 1.0 + level(0.9))
            }
            Self::Sharpness => blend(image, |x, y| blurred(image, x, y), 1.0 + level(0.9)),
            Self::Posterize => {
                let lost_bits = (f64::from(magnitude) / 7.5).round() as u32;
                remap(image, |_| std::array::from_fn(|level| level as u8 >> lost_bits << lost_bits))
            }
            Self::Solarize => {
                let threshold = 255.0 - 8.5 * f64::from(magnitude);
                remap(image, |_| {
                    let inverted = |level| f64::from(level) >= threshold;
                    std::array::from_fn(|level| level as u8)
                        .map(|level: u8| if inverted(level) { 255 - level } else { level })
                })
            }
            Self::AutoContrast => remap(image, stretched),
            Self::Equalize => remap(image, equalised),
        }
    }
}

/// The largest magnitude.
const MAX_MAGNITUDE: u32 = 30;

/// Largest shift, as a share of the image's side.
const LONGEST_WAY: f64 = 150.0 / 331.0;

/// A linear scale from 0 to `most`, in single precision and computed from its nearer end as torch's
/// `linspace` does.
fn level(magnitude: u32, most: f64) -> f64 {
    let most = most as f32;
    let step = most / MAX_MAGNITUDE as f32;
    f64::from(if magnitude <= MAX_MAGNITUDE / 2 {
        step * magnitude as f32
    } else {
        most - step * (MAX_MAGNITUDE - magnitude) as f32
    })
}
