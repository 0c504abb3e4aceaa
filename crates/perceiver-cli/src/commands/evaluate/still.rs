//! What an autoencoder has to beat: one picture for all frames, and silence.

use std::collections::BTreeMap;

use perceiver_data::{Clip, Source};
use perceiver_train::Quantity;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// PSNR of the mean of all clips' frames, and of silence.
pub(super) fn still_psnr(clips: &dyn Source<Example = Clip>) -> BTreeMap<Quantity, f64> {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    // Of each value of a frame, the sum and the sum of squares over all frames.
    let (mut sums, mut frames) = (Vec::new(), 0.0);
    let (mut loudness, mut samples) = (0.0, 0.0);
    // What cannot be read is told by the evaluation itself.
    for clip in (0..clips.len()).filter_map(|index| clips.example(index, &mut random).ok()) {
        for frame in &clip.frames {
            sums.resize(frame.as_raw().len(), [0.0; 2]);
            for (sum, level) in sums.iter_mut().zip(frame.as_raw()) {
                let value = f64::from(*level) / 255.0;
                *sum = [sum[0] + value, sum[1] + value * value];
            }
            frames += 1.0;
        }
        loudness += clip.sound.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
        samples += clip.sound.len() as f64;
    }
    let errors: f64 = sums.iter().map(|[sum, squares]| squares - sum * sum / frames).sum();
    let values = frames * sums.len() as f64;
    [
        (Quantity::PictureError, Quantity::PictureError.value(errors, values)),
        (Quantity::SoundError, Quantity::SoundError.value(loudness, samples)),
    ]
    .into()
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};
    use ndarray::Array1;

    use super::*;

    struct Two([Clip; 2]);

    impl Source for Two {
        type Example = Clip;

        fn len(&self) -> usize {
            2
        }

        fn example(&self, index: usize, _: &mut ChaCha8Rng) -> perceiver_data::Result<Clip> {
            Ok(self.0[index].clone())
        }
    }

    /// Black and white differ from grey by a half, and so does sound of a half from silence.
    #[test]
    fn the_mean_frame_is_the_same_for_all_clips() {
        let clip = |level| Clip {
            frames: vec![RgbImage::from_pixel(2, 2, Rgb([level; 3])); 3],
            sound: Array1::from_elem(6, 0.5),
            label: None,
        };
        let psnr = still_psnr(&Two([clip(0), clip(255)]));
        let expected = -10.0 * 0.25_f64.log10();
        assert!(psnr.values().all(|value| (value - expected).abs() < 1e-9), "{psnr:?}");
    }
}
