use image::{Rgb, RgbImage};
use ndarray::{Array2, Array3};

use super::occlusion::hidden_pixels;
use super::warp::colour;

/// Makes the frame at a time between two frames, from 0 for the first to 1 for the second.
///
/// Every pixel of both frames is moved to the time; where several arrive, the one whose colour changes
/// least along its motion stays, and gaps take their neighbours' motion. A pixel is a mixture of the two
/// ends of its motion, or the end that its frame shows if the other one hides it.
///
/// # Shapes
/// - `forward`, `backward`: `[height, width, 2]`, from the first frame to the second and from the
///   second to the first; every number is finite
///
/// # Panics
/// If frames and flows differ in size, or `time` is not from 0 to 1.
///
/// # Source
/// The interpolation of Baker et al., "A database and evaluation methodology for optical flow" (2011),
/// section 3.3.
///
/// # Differences
/// The motion back takes part as well, so that what the first frame hides has a motion of its own.
#[must_use]
pub fn interpolate(
    frames: [&RgbImage; 2],
    forward: &Array3<f32>,
    backward: &Array3<f32>,
    time: f32,
) -> RgbImage {
    assert!((0.0..=1.0).contains(&time), "{time} is not between the frames, 0 to 1");
    let [first, second] = frames;
    let (width, height) = first.dimensions();
    let size = [height as usize, width as usize];
    assert_eq!(second.dimensions(), (width, height), "the frames differ in size");
    assert_eq!(forward.dim(), (size[0], size[1], 2), "the flow of the frames");
    let hidden = [hidden_pixels(forward, backward), hidden_pixels(backward, forward)];
    let motion = motion_at(frames, [forward, backward], time);
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
        let only_first = is_hidden(&hidden[0], from[0], from[1]);
        let only_second = is_hidden(&hidden[1], to[0], to[1]);
        let share = match (only_first, only_second) {
            (true, false) => 0.0,
            (false, true) => 1.0,
            _ => time,
        };
        let [start, end] = [colour(first, from[0], from[1]), colour(second, to[0], to[1])];
        Rgb([0, 1, 2].map(|channel| {
            let [start, end] = [start, end].map(|colour| f32::from(colour.0[channel]));
            (start + share * (end - start)).round() as u8
        }))
    })
}

/// The motion from the first frame to the second of what each pixel shows at a time.
fn motion_at(
    [first, second]: [&RgbImage; 2],
    [forward, backward]: [&Array3<f32>; 2],
    time: f32,
) -> Array2<[f32; 2]> {
    let (height, width, _) = forward.dim();
    let mut found = Array2::from_elem((height, width), None::<(u32, [f32; 2])>);
    let ends = [(first, second, forward, 1.0), (second, first, backward, -1.0)];
    for (from, to, flow, sign) in ends {
        let share = if sign > 0.0 { time } else { 1.0 - time };
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            let motion = [flow[[y, x, 0]], flow[[y, x, 1]]];
            let start = from.get_pixel(x as u32, y as u32);
            let end = colour(to, x as f32 + motion[0], y as f32 + motion[1]);
            let change: u32 =
                start.0.iter().zip(end.0).map(|(&a, b)| u32::from(a.abs_diff(b))).sum();
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
            let between = interpolate([&frame(0), &frame(4)], &forward, &backward, time);
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
            let between = interpolate([&frame(0), &frame(6)], &forward, &backward, time);
            assert_eq!(between, frame(right), "time {time}");
        }
    }

    #[test]
    fn identical_frames_have_the_same_frame_between_them() {
        let frame = RgbImage::from_fn(24, 12, |x, y| noise(x as i32, y as i32));
        let rest = field(|_, _| [0.0; 2]);
        assert_eq!(interpolate([&frame, &frame], &rest, &rest, 0.3), frame);
    }

    #[test]
    fn gaps_take_the_motion_around_them() {
        let mut motion = Array2::from_elem((5, 5), Some([2.0, -1.0]));
        motion.slice_mut(ndarray::s![1..4, 1..4]).fill(None);
        assert!(filled(motion).iter().all(|&motion| motion == [2.0, -1.0]));
        assert!(filled(Array2::from_elem((2, 2), None)).iter().all(|&motion| motion == [0.0; 2]));
    }
}
