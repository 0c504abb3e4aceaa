//! How images are prepared for training.

use perceiver_data::augment::{Augmentation, RandAugment};
use serde::{Deserialize, Serialize};

use crate::recipe::{SHARE, numbers};

/// Preparation of images.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageOptions {
    /// Height and width, to which images are resized.
    pub size: [u32; 2],
    /// Means of the channels, for values from 0 to 1.
    #[serde(default = "image_mean")]
    pub mean: [f64; 3],
    /// Standard deviations of the channels.
    #[serde(default = "image_deviation")]
    pub deviation: [f64; 3],
    /// Share of a target that is spread over all classes.
    #[serde(default)]
    pub label_smoothing: f32,
    /// Applies MixUp to half of a batch and CutMix to the other half.
    #[serde(default)]
    pub mixed: bool,
    /// Random changes, drawn anew each time an image is used for training.
    #[serde(default)]
    pub augmentation: AugmentationSettings,
}

/// The reference's means for ImageNet.
const fn image_mean() -> [f64; 3] {
    [0.485, 0.456, 0.406]
}

/// The reference's standard deviations for ImageNet.
const fn image_deviation() -> [f64; 3] {
    [0.229, 0.224, 0.225]
}

/// Random changes of training images.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentationSettings {
    /// Crops 8 to 100 percent of the area at random, and resizes the crop.
    pub random_resized_crop: bool,
    /// Mirrors images half of the time.
    pub flip: bool,
    /// Largest shift in pixels.
    pub shift: u32,
    /// Number of RandAugment's operations, 0 by default.
    pub rand_augment_layers: usize,
    /// Strength of RandAugment's operations, from 0 to 30.
    pub rand_augment_magnitude: u32,
}

impl AugmentationSettings {
    /// The augmentation.
    pub(in crate::recipe) fn augmentation(&self) -> Augmentation {
        let (layers, magnitude) = (self.rand_augment_layers, self.rand_augment_magnitude);
        Augmentation {
            random_resized_crop: self.random_resized_crop,
            shift: self.shift,
            flip: self.flip,
            rand_augment: (layers > 0).then_some(RandAugment { layers, magnitude }),
        }
    }
}

impl ImageOptions {
    pub(super) fn check(&self) -> Result<(), String> {
        let [height, width] = self.size;
        if !(1..=4096).contains(&height) || !(1..=4096).contains(&width) {
            return Err(format!("`data.images.size` is {height}x{width}, expected 1 to 4096"));
        }
        if !self.mean.iter().chain(&self.deviation).all(|number| number.is_finite()) {
            return Err("`data.images` has a mean or deviation that is not finite".into());
        }
        if !self.deviation.iter().all(|deviation| *deviation > 0.0) {
            return Err("`data.images.deviation` holds a number that is not positive".into());
        }
        let smoothing = numbers::decimal(self.label_smoothing);
        let is_share = (0.0..1.0).contains(&smoothing);
        numbers::check("data.images.label_smoothing", smoothing, is_share, SHARE)?;
        if self.augmentation.rand_augment_magnitude > 30 {
            let found = self.augmentation.rand_augment_magnitude;
            return Err(format!(
                "`data.images.augmentation.rand_augment_magnitude` is {found}, expected at most 30"
            ));
        }
        Ok(())
    }
}
