use image::RgbImage;
use image::imageops::{crop_imm, flip_horizontal_in_place, flip_vertical_in_place};
use ndarray::{Array2, Array3, Axis, s};

/// Two frames and the motion of every pixel of the first, for training or evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowPair {
    /// The first frame, whose pixels move.
    pub first: RgbImage,
    /// The next frame, of the same size.
    pub second: RgbImage,
    /// `[height, width, 2]` in pixels, first to the right; zero if unknown.
    pub flow: Array3<f32>,
    /// `[height, width]`: true for pixels that count in the loss or error.
    pub valid: Array2<bool>,
}

impl FlowPair {
    /// The part of this height and width that starts at a row and column.
    pub(super) fn crop(&self, [top, left]: [usize; 2], [height, width]: [usize; 2]) -> Self {
        let [x, y, columns, rows] = [left, top, width, height].map(|side| side as u32);
        let area = |image: &RgbImage| crop_imm(image, x, y, columns, rows).to_image();
        let (rows, columns) = (top..top + height, left..left + width);
        Self {
            first: area(&self.first),
            second: area(&self.second),
            flow: self.flow.slice(s![rows.clone(), columns.clone(), ..]).to_owned(),
            valid: self.valid.slice(s![rows, columns]).to_owned(),
        }
    }

    /// Flips the pair horizontally: motion to the right becomes motion to the left.
    pub(super) fn flip_horizontal(&mut self) {
        self.flip(1);
        flip_horizontal_in_place(&mut self.first);
        flip_horizontal_in_place(&mut self.second);
    }

    /// Flips the pair vertically: motion down becomes motion up.
    pub(super) fn flip_vertical(&mut self) {
        self.flip(0);
        flip_vertical_in_place(&mut self.first);
        flip_vertical_in_place(&mut self.second);
    }

    /// Flips the ground truth along an axis and negates the direction along it.
    fn flip(&mut self, axis: usize) {
        self.flow.invert_axis(Axis(axis));
        self.flow.index_axis_mut(Axis(2), 1 - axis).mapv_inplace(|motion| -motion);
        self.valid.invert_axis(Axis(axis));
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// Every number names its place.
    fn pair() -> FlowPair {
        let frame = |plus: u8| RgbImage::from_fn(4, 3, |x, y| Rgb([plus + x as u8, y as u8, 0]));
        FlowPair {
            first: frame(0),
            second: frame(100),
            flow: Array3::from_shape_fn((3, 4, 2), |(y, x, axis)| [x, 10 * y][axis] as f32),
            valid: Array2::from_shape_fn((3, 4), |(y, x)| (y, x) == (0, 3)),
        }
    }

    #[test]
    fn a_part_keeps_what_was_at_its_places() {
        let part = pair().crop([0, 2], [2, 2]);
        assert_eq!(
            part.flow,
            ndarray::array![[[2.0, 0.0], [3.0, 0.0]], [[2.0, 10.0], [3.0, 10.0]]]
        );
        assert_eq!(part.valid, ndarray::array![[false, true], [false, false]]);
        assert_eq!(part.first.get_pixel(1, 1), &Rgb([3, 1, 0]));
        assert_eq!(part.second.get_pixel(0, 1), &Rgb([102, 1, 0]));
    }

    #[test]
    fn mirrored_motion_goes_the_other_way() {
        let mut flipped = pair();
        flipped.flip_horizontal();
        // The first place is what was the last of its row, three to the right.
        assert_eq!(flipped.first.get_pixel(0, 2), &Rgb([3, 2, 0]));
        assert_eq!(flipped.second.get_pixel(0, 2), &Rgb([103, 2, 0]));
        assert_eq!([flipped.flow[[2, 0, 0]], flipped.flow[[2, 0, 1]]], [-3.0, 20.0]);
        assert!(flipped.valid[[0, 0]]);

        let mut turned = pair();
        turned.flip_vertical();
        assert_eq!(turned.first.get_pixel(3, 0), &Rgb([3, 2, 0]));
        assert_eq!(turned.second.get_pixel(3, 0), &Rgb([103, 2, 0]));
        assert_eq!([turned.flow[[0, 3, 0]], turned.flow[[0, 3, 1]]], [3.0, -20.0]);
        assert!(turned.valid[[2, 3]]);
    }
}
