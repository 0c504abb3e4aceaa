use image::{Rgb, RgbImage};
use ndarray::{Array2, Array3};

use super::occlusion::hidden_pixels;
use super::warp::colour;

/// Makes frames between two frames, by the motion between them.
///
/// Every pixel of both frames is moved to the time; where several arrive, the one whose colour changes
/// least along its motion stays, and gaps take their neighbours' motion. A pixel is a mixture of the two
/// ends of its motion, or the end that its frame shows if the other one hides it.
///
/// # Source
/// The interpolation of Baker et al., "A database and evaluation methodology for optical flow" (2011),
/// section 3.3.
///
/// # Differences
/// The motion back takes part as well, so that a pixel that the first frame hides has a motion of its own.
#[derive(Debug)]
pub struct Interpolation<'a> {
    /// From the first frame, and from the second one.
    ends: [End<'a>; 2],
}

/// A frame and the motion of its pixels to the other one.
#[derive(Debug)]
struct End<'a> {
    frame: &'a RgbImage,
    motion: &'a Array3<f32>,
    /// Pixels that the other frame hides.
    hidden: Array2<bool>,
    /// By how much the colour of a pixel changes along its motion.
    change: Array2<u32>,
}

impl<'a> Interpolation<'a> {
    /// Compares the frames along their motion.
    ///
    /// # Shapes
    /// - `forward`, `backward`: `[height, width, 2]`, in pixels to the right and down, from the first frame
    ///   to the second and from the second to the first; every number is finite
    ///
    /// # Panics
    /// If frames and flows differ in size.
    #[must_use]
    pub fn new(
        frames: [&'a RgbImage; 2],
        forward: &'a Array3<f32>,
        backward: &'a Array3<f32>,
    ) -> Self {
        let [first, second] = frames;
        let (width, height) = first.dimensions();
        assert_eq!(second.dimensions(), (width, height), "the frames differ in size");
        let size = (height as usize, width as usize, 2);
        assert_eq!(forward.dim(), size, "the flow of the frames");
        let end = |frame, other, motion, back| End {
            frame,
            motion,
            hidden: hidden_pixels(motion, back),
            change: changes(frame, other, motion),
        };
        Self {
            ends: [end(first, second, forward, backward), end(second, first, backward, forward)],
        }
    }

    /// The frame at a time from 0, that of the first frame, to 1, that of the second.
    ///
    /// # Panics
    /// If `time` is not from 0 to 1.
    #[must_use]
    pub fn at(&self, time: f32) -> RgbImage {
        assert!((0.0..=1.0).contains(&time), "{time} is not between the frames, 0 to 1");
        let [first, second] = &self.ends;
        let (width, height) = first.frame.dimensions();
        let size = [height as usize, width as usize];
        let motion = self.motion_at(time);
        let is_hidden = |hidden: &Array2<bool>, x: f32, y: f32| {
            let place = |place: f32, side: usize| (place.round().max(0.0) as usize).min(side - 1);
            hidden[[place(y, size[0]), place(x, size[1])]]
        };
        RgbImage::from_fn(width, height, |x, y| {
            let [right, down] = motion[[y as usize, x as usize]];
            let (x, y) = (x as f32, y as f32);
            let from = [x - time * right, y - time * down];
            let to = [x + (1.0 - time) * right, y + (1.0 - time) * down];
            // What one frame hides, only the other one shows.
            let only_first = is_hidden(&first.hidden, from[0], from[1]);
            let only_second = is_hidden(&second.hidden, to[0], to[1]);
            let share = match (only_first, only_second) {
                (true, false) => 0.0,
                (false, true) => 1.0,
                _ => time,
            };
            let [start, end] =
                [colour(first.frame, from[0], from[1]), colour(second.frame, to[0], to[1])];
            Rgb([0, 1, 2].map(|channel| {
                let [start, end] = [start, end].map(|colour| f32::from(colour.0[channel]));
                (start + share * (end - start)).round() as u8
            }))
        })
    }

    /// The motion from the first frame to the second of the point that each pixel shows at a time.
    fn motion_at(&self, time: f32) -> Array2<[f32; 2]> {
        let (height, width) = self.ends[0].change.dim();
        let mut found = Array2::from_elem((height, width), None::<(u32, [f32; 2])>);
        for (end, share, sign) in [(&self.ends[0], time, 1.0), (&self.ends[1], 1.0 - time, -1.0)] {
            for ((y, x), &change) in end.change.indexed_iter() {
                let motion = [end.motion[[y, x, 0]], end.motion[[y, x, 1]]];
                let place = [x as f32 + share * motion[0], y as f32 + share * motion[1]];
                // The pixels that it touches.
                let near = |place: f32, side: usize| {
                    [place.floor(), place.ceil()]
                        .map(|at| (0.0..side as f32).contains(&at).then_some(at as usize))
                };
                for row in near(place[1], height).into_iter().flatten() {
                    for column in near(place[0], width).into_iter().flatten() {
                        let found = &mut found[[row, column]];
                        if found.is_none_or(|(least, _)| change < least) {
                            *found = Some((change, motion.map(|part| sign * part)));
                        }
                    }
                }
            }
        }
        filled(found.mapv(|found| found.map(|(_, motion)| motion)))
    }
}

/// By how much the colour of each pixel differs from that of the other frame at the end of its motion:
/// the sum of the differences of the three channels.
fn changes(frame: &RgbImage, other: &RgbImage, motion: &Array3<f32>) -> Array2<u32> {
    let (height, width, _) = motion.dim();
    Array2::from_shape_fn((height, width), |(y, x)| {
        let start = frame.get_pixel(x as u32, y as u32);
        let end = colour(other, x as f32 + motion[[y, x, 0]], y as f32 + motion[[y, x, 1]]);
        start.0.iter().zip(end.0).map(|(&a, b)| u32::from(a.abs_diff(b))).sum()
    })
}

/// Gives pixels without a motion the mean of their neighbours', from the border of a gap inwards.
fn filled(mut motion: Array2<Option<[f32; 2]>>) -> Array2<[f32; 2]> {
    let (height, width) = motion.dim();
    let mut gaps: Vec<_> =
        motion.indexed_iter().filter(|(_, found)| found.is_none()).map(|(at, _)| at).collect();
    while !gaps.is_empty() {
        let mean = |&(y, x): &(usize, usize)| {
            let rows = y.saturating_sub(1)..(y + 2).min(height);
            let columns = x.saturating_sub(1)..(x + 2).min(width);
            let near: Vec<_> = rows
                .flat_map(|y| columns.clone().map(move |x| (y, x)))
                .filter_map(|at| motion[at])
                .collect();
            let sum = near.iter().fold([0.0; 2], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
            (!near.is_empty()).then(|| sum.map(|part| part / near.len() as f32))
        };
        let means: Vec<_> = gaps.iter().map(mean).collect();
        if means.iter().all(Option::is_none) {
            break;
        }
        for (&at, mean) in gaps.iter().zip(means) {
            motion[at] = mean;
        }
        gaps.retain(|&at| motion[at].is_none());
    }
    motion.mapv(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(x: i32, y: i32) -> Rgb<u8> {
        Rgb([x * 53 + y * 101, x * 97 + y * 31, x * 17 + y * 71].map(|i| (i.rem_euclid(241)) as u8))
    }

    fn field(motion: impl Fn(usize, usize) -> [f32; 2]) -> Array3<f32> {
        Array3::from_shape_fn((12, 24, 2), |(y, x, axis)| motion(x, y)[axis])
    }

    #[test]
    fn a_moving_scene_is_shifted_by_its_share_of_the_motion() {
        let frame =
            |right: i32| RgbImage::from_fn(24, 12, |x, y| noise(x as i32 - right, y as i32));
        let (forward, backward) = (field(|_, _| [4.0, 0.0]), field(|_, _| [-4.0, 0.0]));
        for (time, right) in [(0.0, 0), (0.25, 1), (0.5, 2), (1.0, 4)] {
            let between = Interpolation::new([&frame(0), &frame(4)], &forward, &backward).at(time);
            let expected = frame(right);
            for (x, y, pixel) in between.enumerate_pixels().filter(|(x, ..)| (4..20).contains(x)) {
                assert_eq!(pixel, expected.get_pixel(x, y), "at {x}, {y}, time {time}");
            }
        }
    }

    /// The background is at rest; what the square hides in one frame comes from the other.
    #[test]
    fn a_square_moves_over_its_background() {
        let inside =
            |x: i32, y: i32, right: i32| (4 + right..9 + right).contains(&x) && (3..8).contains(&y);
        let frame = |right: i32| {
            RgbImage::from_fn(24, 12, |x, y| {
                let (x, y) = (x as i32, y as i32);
                if inside(x, y, right) { noise(x - right + 100, 40 - y) } else { noise(x, y) }
            })
        };
        let moving = |right: i32, motion: f32| {
            field(
                move |x, y| {
                    if inside(x as i32, y as i32, right) { [motion, 0.0] } else { [0.0; 2] }
                },
            )
        };
        let (forward, backward) = (moving(0, 6.0), moving(6, -6.0));
        for (time, right) in [(0.0, 0), (0.5, 3), (1.0, 6)] {
            let between = Interpolation::new([&frame(0), &frame(6)], &forward, &backward).at(time);
            assert_eq!(between, frame(right), "time {time}");
        }
    }

    #[test]
    fn identical_frames_have_the_same_frame_between_them() {
        let frame = RgbImage::from_fn(24, 12, |x, y| noise(x as i32, y as i32));
        let rest = field(|_, _| [0.0; 2]);
        assert_eq!(Interpolation::new([&frame, &frame], &rest, &rest).at(0.3), frame);
    }

    #[test]
    fn gaps_take_the_motion_around_them() {
        let mut motion = Array2::from_elem((5, 5), Some([2.0, -1.0]));
        motion.slice_mut(ndarray::s![1..4, 1..4]).fill(None);
        assert!(filled(motion).iter().all(|&motion| motion == [2.0, -1.0]));
        assert!(filled(Array2::from_elem((2, 2), None)).iter().all(|&motion| motion == [0.0; 2]));
    }
}
