use image::{Rgb, RgbImage};

/// A matrix from the position of an output pixel to that of the input pixel it shows. `x` and `y`
/// are relative to the image's centre, in pixels.
pub(super) type Affine = [[f64; 3]; 2];

/// Transforms an image with bilinear interpolation. Pixels outside the image are black.
///
/// # Source
/// torchvision's `affine` and `rotate` of tensors with bilinear interpolation.
pub(super) fn transform(image: &RgbImage, [across, down]: Affine) -> RgbImage {
    let (width, height) = image.dimensions();
    let centre = |side: u32| f64::from(side) / 2.0 - 0.5;
    let (centre_x, centre_y) = (centre(width), centre(height));
    RgbImage::from_fn(width, height, |column, row| {
        let (x, y) = (f64::from(column) - centre_x, f64::from(row) - centre_y);
        let place = |[by_x, by_y, shift]: [f64; 3]| by_x * x + by_y * y + shift;
        sample(image, place(across) + centre_x, place(down) + centre_y)
    })
}

fn sample(image: &RgbImage, x: f64, y: f64) -> Rgb<u8> {
    let (left, top) = (x.floor(), y.floor());
    let (right_share, bottom_share) = (x - left, y - top);
    let mut sums = [0.0; 3];
    for (row, row_share) in [(top, 1.0 - bottom_share), (top + 1.0, bottom_share)] {
        for (column, column_share) in [(left, 1.0 - right_share), (left + 1.0, right_share)] {
            let is_inside = column >= 0.0 && row >= 0.0;
            // Numbers that are too large saturate, which is outside the image.
            let pixel = is_inside.then(|| image.get_pixel_checked(column as u32, row as u32));
            for (sum, value) in sums.iter_mut().zip(pixel.flatten().map_or([0; 3], |pixel| pixel.0))
            {
                *sum += f64::from(value) * row_share * column_share;
            }
        }
    }
    Rgb(sums.map(|sum| sum.round_ties_even() as u8))
}
