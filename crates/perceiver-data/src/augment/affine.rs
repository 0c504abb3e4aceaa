use image::{Rgb, RgbImage};

/// From a pixel's place to that of what is shown there, rows of a matrix: `x` and `y` are counted
/// from the image's centre, in pixels.
pub(super) type Affine = [[f64; 3]; 2];

/// Moves pixels, between which is interpolated linearly. Outside the image is black.
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
            // Numbers too large become the largest, which is outside.
            let pixel = is_inside.then(|| image.get_pixel_checked(column as u32, row as u32));
            for (sum, value) in sums.iter_mut().zip(pixel.flatten().map_or([0; 3], |pixel| pixel.0))
            {
                *sum += f64::from(value) * row_share * column_share;
            }
        }
    }
    Rgb(sums.map(|sum| sum.round_ties_even() as u8))
}
