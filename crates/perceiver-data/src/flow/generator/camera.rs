use image::RgbImage;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Changes a frame as other light and another camera would: brightness, contrast, colours, noise
/// and sometimes blur.
pub(super) fn change(frame: &mut RgbImage, random: &mut ChaCha8Rng) {
    expose(frame, random);
    if random.random_bool(0.25) {
        *frame = blurred(frame);
    }
    // Squared, so that most frames have little noise.
    let noise = 15.0 * random.random::<f32>().powi(2);
    for level in frame.iter_mut() {
        // The sum of two uniform draws is a triangle, close enough to a bell curve.
        let draw = random.random_range(-noise..=noise) + random.random_range(-noise..=noise);
        *level = (f32::from(*level) + draw).round() as u8;
    }
}

/// `gain · level^gamma + offset`, with a gain per colour.
fn expose(frame: &mut RgbImage, random: &mut ChaCha8Rng) {
    let gamma = random.random_range(-0.3_f32..0.3).exp();
    let gain = random.random_range(-0.2_f32..0.2).exp();
    let offset = random.random_range(-20.0_f32..20.0);
    let tables: [[u8; 256]; 3] = std::array::from_fn(|_| {
        let gain = gain * random.random_range(-0.1_f32..0.1).exp();
        std::array::from_fn(|level| {
            let level = (level as f32 / 255.0).powf(gamma);
            (255.0 * gain * level + offset).round() as u8
        })
    });
    for pixel in frame.pixels_mut() {
        for (level, table) in pixel.0.iter_mut().zip(&tables) {
            *level = table[usize::from(*level)];
        }
    }
}

/// Each pixel blended with a quarter of both neighbours, along rows and then along columns.
fn blurred(frame: &RgbImage) -> RgbImage {
    let pass = |frame: &RgbImage, [dx, dy]: [u32; 2]| {
        let (last_x, last_y) = (frame.width() - 1, frame.height() - 1);
        RgbImage::from_fn(frame.width(), frame.height(), |x, y| {
            let before = frame.get_pixel(x.saturating_sub(dx), y.saturating_sub(dy));
            let behind = frame.get_pixel((x + dx).min(last_x), (y + dy).min(last_y));
            let mut pixel = *frame.get_pixel(x, y);
            for (channel, level) in pixel.0.iter_mut().enumerate() {
                let [before, behind] = [before, behind].map(|pixel| u16::from(pixel[channel]));
                *level = ((before + 2 * u16::from(*level) + behind + 2) / 4) as u8;
            }
            pixel
        })
    };
    pass(&pass(frame, [1, 0]), [0, 1])
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn blur_spreads_a_point_and_keeps_what_is_even() {
        let mut frame = RgbImage::from_pixel(5, 4, Rgb([16; 3]));
        assert_eq!(blurred(&frame), frame);
        frame.put_pixel(2, 1, Rgb([176, 16, 16]));
        let red = |x, y| blurred(&frame).get_pixel(x, y)[0];
        assert_eq!([red(2, 1), red(1, 1), red(2, 2), red(3, 0)], [56, 36, 36, 26]);
        assert_eq!([red(4, 1), red(2, 3)], [16, 16]);
    }
}
