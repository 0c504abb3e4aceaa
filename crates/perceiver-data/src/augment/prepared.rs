use image::RgbImage;
use rand_chacha::ChaCha8Rng;

use super::{RandAugment, flip, random_resized_crop, shift};
use crate::error::{Error, Result};
use crate::image_processor::PerceiverImageProcessor;
use crate::source::{LabelledImage, Remarks, Source};

/// Random changes of a training image, in this order; none by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Augmentation {
    /// Crops at random instead of around the centre.
    pub random_resized_crop: bool,
    /// Largest shift in each direction, in pixels.
    pub shift: u32,
    /// Flips horizontally with probability 0.5.
    pub flip: bool,
    /// Random operations.
    pub rand_augment: Option<RandAugment>,
}

/// Images at the size of a model's input.
#[derive(Debug, Clone)]
pub struct PreparedImages<S> {
    /// The source of images.
    pub source: S,
    /// Crops and resizes images that are not cropped at random.
    pub processor: PerceiverImageProcessor,
    /// Height and width of the model's input, in pixels.
    pub size: [u32; 2],
    /// Random changes; none for evaluation.
    pub augmentation: Augmentation,
}

impl<S: Source<Example = LabelledImage>> Source for PreparedImages<S> {
    type Example = LabelledImage;

    fn len(&self) -> usize {
        self.source.len()
    }

    /// # Errors
    /// Returns an error if the source does, or if the processor does not produce the model's size.
    fn example(&self, index: usize, random: &mut ChaCha8Rng) -> Result<LabelledImage> {
        let LabelledImage { image, label } = self.source.example(index, random)?;
        match self.prepare(&image, random) {
            Ok(image) => Ok(LabelledImage { image, label }),
            // The processor saw a batch of one image; name its index in the source.
            Err(Error::Preprocess { width, height, reason, .. }) => {
                Err(Error::Preprocess { index, width, height, reason })
            }
            Err(error) => Err(error),
        }
    }

    fn remarks(&self) -> Remarks {
        self.source.remarks()
    }
}

impl<S> PreparedImages<S> {
    fn prepare(&self, image: &RgbImage, random: &mut ChaCha8Rng) -> Result<RgbImage> {
        let [height, width] = self.size;
        let Augmentation { random_resized_crop: is_cropped, .. } = self.augmentation;
        let mut image = if is_cropped && image.width() > 0 && image.height() > 0 {
            random_resized_crop(image, (width, height), random)
        } else {
            self.processor.fit(image)?
        };
        let (found_width, found_height) = image.dimensions();
        if (found_width, found_height) != (width, height) {
            let reason = format!("after processing, expected the model's {width}x{height}");
            let (width, height) = (found_width, found_height);
            return Err(Error::Preprocess { index: 0, width, height, reason });
        }
        if self.augmentation.shift > 0 {
            image = shift(&image, self.augmentation.shift, random);
        }
        if self.augmentation.flip {
            image = flip(image, random);
        }
        if let Some(rand_augment) = self.augmentation.rand_augment {
            image = rand_augment.apply(image, random);
        }
        Ok(image)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use image::Rgb;
    use rand::SeedableRng;

    use super::*;

    /// One image that is brighter to the right.
    struct One(u32, u32);

    impl Source for One {
        type Example = LabelledImage;

        fn len(&self) -> usize {
            1
        }

        fn example(&self, _index: usize, _random: &mut ChaCha8Rng) -> Result<LabelledImage> {
            let image = RgbImage::from_fn(self.0, self.1, |x, _| Rgb([x as u8 * 9; 3]));
            Ok(LabelledImage { image, label: 3 })
        }
    }

    fn prepared(source: One, augmentation: Augmentation, seed: u64) -> Result<LabelledImage> {
        let folder = tempfile::tempdir().unwrap();
        let settings = r#"{"size": 6, "crop_size": 6}"#;
        std::fs::write(folder.path().join("preprocessor_config.json"), settings).unwrap();
        let processor = PerceiverImageProcessor::from_pretrained(folder.path()).unwrap();
        let images = PreparedImages { source, processor, size: [6, 6], augmentation };
        images.example(0, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn without_augmentation_an_image_is_what_inference_makes_of_it() {
        let prepared = prepared(One(8, 6), Augmentation::default(), 0).unwrap();
        let centre = RgbImage::from_fn(6, 6, |x, _| Rgb([(x + 1) as u8 * 9; 3]));
        assert_eq!((prepared.image, prepared.label), (centre, 3));
    }

    #[test]
    fn augmented_images_have_the_model_s_size_and_repeat_with_their_seed() {
        let rand_augment = Some(RandAugment { layers: 2, magnitude: 15 });
        let all = Augmentation { random_resized_crop: true, shift: 1, flip: true, rand_augment };
        let image = |seed| prepared(One(20, 9), all, seed).unwrap().image;
        assert_eq!(image(1).dimensions(), (6, 6));
        assert_eq!(image(1), image(1));
        assert_ne!(image(1), image(2));
    }

    #[test]
    fn an_image_of_another_size_is_named() {
        let images = PreparedImages {
            source: One(8, 6),
            processor: PerceiverImageProcessor::default(),
            size: [6, 6],
            augmentation: Augmentation::default(),
        };
        let error = images.example(0, &mut ChaCha8Rng::seed_from_u64(0)).unwrap_err().to_string();
        let expected = "image 0 of 224x224 pixels: after processing, expected the model's 6x6";
        assert_eq!(error, expected);
    }
}
