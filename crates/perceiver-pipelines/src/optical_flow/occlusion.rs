use ndarray::{Array2, Array3};

/// Finds the pixels of the first frame that the second does not show: they leave the frame, or the
/// motion back from where they arrive does not return to them.
///
/// ```no_run
/// # use perceiver_pipelines::{OpticalFlow, Result, RgbImage, hidden_pixels};
/// # fn show(pipeline: &OpticalFlow, first: &RgbImage, second: &RgbImage) -> Result<()> {
/// let forward = pipeline.run(first, second)?;
/// let hidden = hidden_pixels(&forward, &pipeline.run(second, first)?);
/// # Ok(())
/// # }
/// ```
///
/// # Shapes
/// - `forward`, `backward`: `[height, width, 2]`, from the first frame to the second and from the
///   second to the first
/// - returns: `[height, width]`, true if hidden
///
/// # Panics
/// If one flow is not `[height, width, 2]`, or they differ in size.
///
/// # Source
/// Sundaram, Brox and Keutzer, "Dense point trajectories by GPU-accelerated large displacement optical
/// flow" (2010), equation 5.
#[must_use]
pub fn hidden_pixels(forward: &Array3<f32>, backward: &Array3<f32>) -> Array2<bool> {
    assert_eq!(forward.dim(), backward.dim(), "the two flows differ in size");
    assert_eq!(forward.dim().2, 2, "flow is [height, width, 2]");
    let (height, width, _) = forward.dim();
    Array2::from_shape_fn((height, width), |(y, x)| {
        let motion = [forward[[y, x, 0]], forward[[y, x, 1]]];
        arrival([x as f32, y as f32], motion, backward).is_none()
    })
}

/// Follows a point of the first frame to the second; `None` if the second does not show it, or the
/// point lies outside the frame.
///
/// `point` is a position in pixels, to the right and down, with 0 in the middle of the first pixel. The
/// flows are those of [`hidden_pixels`].
///
/// # Panics
/// If one flow is not `[height, width, 2]`, or they differ in size.
#[must_use]
pub fn follow_point(
    point: [f32; 2],
    forward: &Array3<f32>,
    backward: &Array3<f32>,
) -> Option<[f32; 2]> {
    assert_eq!(forward.dim(), backward.dim(), "the two flows differ in size");
    assert_eq!(forward.dim().2, 2, "flow is [height, width, 2]");
    arrival(point, vector(forward, point)?, backward)
}

/// The end of a motion, if the motion back from there returns.
fn arrival(point: [f32; 2], motion: [f32; 2], backward: &Array3<f32>) -> Option<[f32; 2]> {
    let end = [point[0] + motion[0], point[1] + motion[1]];
    let back = vector(backward, end)?;
    let square = |[x, y]: [f32; 2]| x * x + y * y;
    let apart = square([motion[0] + back[0], motion[1] + back[1]]);
    (apart <= 0.01 * (square(motion) + square(back)) + 0.5).then_some(end)
}

/// The vector at a place, interpolated from four pixels; `None` outside the frame, which ends half a
/// pixel beyond the middles of its outermost pixels.
fn vector(flow: &Array3<f32>, [x, y]: [f32; 2]) -> Option<[f32; 2]> {
    let (height, width, _) = flow.dim();
    let [last_x, last_y] = [width, height].map(|side| side as f32 - 1.0);
    if !((-0.5..=last_x + 0.5).contains(&x) && (-0.5..=last_y + 0.5).contains(&y)) {
        return None;
    }
    let (x, y) = (x.clamp(0.0, last_x), y.clamp(0.0, last_y));
    let (left, top) = (x as usize, y as usize);
    let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
    let (across, down) = (x.fract(), y.fract());
    Some([0, 1].map(|axis| {
        let row = |row: usize| {
            let [from, to] = [flow[[row, left, axis]], flow[[row, right, axis]]];
            from + across * (to - from)
        };
        let [from, to] = [row(top), row(bottom)];
        from + down * (to - from)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole frame moves by two pixels to the right: two columns leave it.
    #[test]
    fn pixels_that_leave_the_frame_are_hidden() {
        let forward = Array3::from_shape_fn((4, 8, 2), |(_, _, axis)| [2.0, 0.0][axis]);
        let found = hidden_pixels(&forward, &-&forward);
        assert!(found.indexed_iter().all(|((_, x), &hidden)| hidden == (x >= 6)));
    }

    #[test]
    fn the_frame_ends_half_a_pixel_beyond_the_middle_of_its_last_one() {
        let shift =
            |motion: f32| Array3::from_shape_fn((3, 5, 2), |(.., axis)| [motion, 0.0][axis]);
        assert!(hidden_pixels(&shift(-0.4), &shift(0.4)).iter().all(|&hidden| !hidden));
        let found = hidden_pixels(&shift(0.75), &shift(-0.75));
        assert!(found.indexed_iter().all(|((_, x), &hidden)| hidden == (x == 4)));
    }

    /// A square of columns 2 to 4 moves right by 3 over a background at rest, so it covers columns 5 to
    /// 7 of it. The second frame's motion back is -3 there.
    #[test]
    fn background_behind_a_moving_square_is_hidden() {
        let square = |from: usize, motion: f32| {
            Array3::from_shape_fn((5, 12, 2), |(_, x, axis)| {
                if axis == 0 && (from..from + 3).contains(&x) { motion } else { 0.0 }
            })
        };
        let found = hidden_pixels(&square(2, 3.0), &square(5, -3.0));
        assert!(found.indexed_iter().all(|((_, x), &hidden)| hidden == (5..8).contains(&x)));
    }

    #[test]
    fn points_follow_the_motion_between_pixels_until_they_are_gone() {
        let forward = Array3::from_shape_fn((4, 8, 2), |(_, x, axis)| [0.5 * x as f32, 0.0][axis]);
        // What arrives at 1.5 x came from x.
        let backward =
            Array3::from_shape_fn((4, 8, 2), |(_, x, axis)| [-(x as f32) / 3.0, 0.0][axis]);
        let follow = |point| follow_point(point, &forward, &backward);
        assert_eq!(follow([2.5, 1.25]), Some([3.75, 1.25]));
        assert_eq!(follow([0.0, 3.0]), Some([0.0, 3.0]));
        assert_eq!(follow([6.0, 1.0]), None);
        assert_eq!(follow([-1.0, 1.0]), None);
        assert_eq!(follow([0.0, -0.25]), Some([0.0, -0.25]));
        assert_eq!(follow([f32::NAN, 1.0]), None);
        let rest = Array3::zeros((4, 8, 2));
        assert_eq!(follow_point([4.0, 1.0], &forward, &rest), None);
    }

    #[test]
    fn unknown_motion_is_hidden() {
        let unknown = Array3::from_elem((2, 2, 2), f32::NAN);
        let found = hidden_pixels(&unknown, &Array3::zeros((2, 2, 2)));
        assert!(found.iter().all(|&hidden| hidden));
    }
}
