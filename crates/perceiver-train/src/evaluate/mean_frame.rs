//! Baselines of autoencoders: one picture for all frames, and silence.

use image::RgbImage;
use perceiver_data::{Clip, Source};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::Baseline;
use crate::Metric;

/// PSNR of the mean of all `train` frames, and of silence, on `measured` clips.
pub(super) fn mean_frame_and_silence(
    train: &dyn Source<Example = Clip>,
    measured: &dyn Source<Example = Clip>,
) -> Vec<Baseline> {
    let mut mean = Vec::new();
    let mut frames = 0.0;
    for frame in clips(train).flat_map(|clip| clip.frames) {
        mean.resize(frame.as_raw().len(), 0.0);
        mean.iter_mut().zip(values(&frame)).for_each(|(mean, value)| *mean += value);
        frames += 1.0;
    }
    mean.iter_mut().for_each(|mean: &mut f64| *mean /= frames);
    let ([mut error, mut count], [mut loudness, mut samples]) = ([0.0; 2], [0.0; 2]);
    for clip in clips(measured) {
        for frame in &clip.frames {
            let errors = mean.iter().zip(values(frame)).map(|(mean, value)| (mean - value).powi(2));
            error += errors.sum::<f64>();
            count += mean.len() as f64;
        }
        loudness += clip.sound.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
        samples += clip.sound.len() as f64;
    }
    [
        ("the mean frame", Metric::PICTURE_PSNR, error, count),
        ("silence", Metric::SOUND_PSNR, loudness, samples),
    ]
    .into_iter()
    // Without a clip that can be read, there is no mean.
    .filter(|&(.., count)| count > 0.0)
    .map(|(method, metric, total, count)| {
        let value = metric.value(total, count);
        Baseline { method, metric, value }
    })
    // Silence is as good as it gets where there is no sound.
    .filter(|baseline| baseline.value.is_finite())
    .collect()
}

/// Skips clips that cannot be read: the evaluation reports them.
fn clips(source: &dyn Source<Example = Clip>) -> impl Iterator<Item = Clip> {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    (0..source.len()).filter_map(move |index| source.example(index, &mut random).ok())
}

fn values(frame: &RgbImage) -> impl Iterator<Item = f64> {
    frame.as_raw().iter().map(|level| f64::from(*level) / 255.0)
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use ndarray::Array1;

    use super::*;

    struct One(Clip);

    impl Source for One {
        type Example = Clip;

        fn len(&self) -> usize {
            1
        }

        fn example(&self, _: usize, _: &mut ChaCha8Rng) -> perceiver_data::Result<Clip> {
            Ok(self.0.clone())
        }
    }

    /// The mean of black and white is grey, from which white differs by a half, as sound of a half
    /// does from silence.
    #[test]
    fn the_mean_frame_is_that_of_the_training_part() {
        let clip = |levels: &[u8]| {
            let frame = |level: &u8| RgbImage::from_pixel(2, 2, Rgb([*level; 3]));
            let frames = levels.iter().map(frame).collect();
            One(Clip { frames, sound: Array1::from_elem(6, 0.5), label: None })
        };
        let found = mean_frame_and_silence(&clip(&[0, 255]), &clip(&[255, 255, 255]));
        let expected = -10.0 * 0.25_f64.log10();
        assert!(found.iter().all(|found| (found.value - expected).abs() < 1e-9), "{found:?}");
    }

    #[test]
    fn without_clips_there_is_no_mean_frame() {
        let none = Vec::<Clip>::new();
        let frames = vec![RgbImage::from_pixel(2, 2, Rgb([9; 3]))];
        let one = vec![Clip { frames, sound: Array1::from_elem(6, 0.5), label: None }];
        let methods = |train: &Vec<Clip>, measured: &Vec<Clip>| {
            let found = mean_frame_and_silence(train, measured);
            found.iter().map(|baseline| baseline.method).collect::<Vec<_>>()
        };
        assert_eq!(methods(&none, &one), ["silence"]);
        assert_eq!(methods(&one, &none), [""; 0]);
        let silent = vec![Clip { sound: Array1::zeros(6), ..one[0].clone() }];
        assert_eq!(methods(&silent, &silent), [""; 0]);
    }
}
