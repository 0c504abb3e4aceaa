use std::f32::consts::TAU;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The motion of a piece: bent by a wave, rotated and scaled about its centre, and shifted.
///
/// Every step has a closed-form inverse, so that positions map forth and back without error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Motion {
    centre: [f32; 2],
    wave: Wave,
    /// A complex number: its angle rotates, its length scales.
    turn: [f32; 2],
    shift: [f32; 2],
}

/// Moves positions along lines of constant phase, which it maps to themselves: the wave of opposite
/// height is its inverse.
#[derive(Debug, Clone, Copy)]
struct Wave {
    /// Wave vector across the lines, in radians per pixel.
    number: [f32; 2],
    phase: f32,
    /// Amplitude along the lines, in pixels.
    height: [f32; 2],
}

impl Motion {
    /// A motion that moves no position within `radius` of the centre further than `limit`.
    pub(super) fn draw(centre: [f32; 2], radius: f32, limit: f32, random: &mut ChaCha8Rng) -> Self {
        /// Rotation by a third of a radian, or scaling by a third.
        const MAX_TURN: f32 = 0.35;
        /// Steepest slope that a wave gives to straight lines.
        const MAX_BEND: f32 = 0.35;
        let radius = radius.max(1.0);
        let limit = limit * random.random::<f32>();
        // Cubes let one kind of motion dominate.
        let parts: [f32; 3] = std::array::from_fn(|_| random.random_range(0.1_f32..1.0).powi(3));
        let [shift, turn, height] = parts.map(|part| limit * part / parts.iter().sum::<f32>());

        let number = TAU / (radius * random.random_range(1.0..3.0));
        let height = height.min(MAX_BEND / number);
        let turn = (turn / (radius + height)).min(MAX_TURN);
        let across = direction(random);
        let [real, imaginary] = direction(random);
        Self {
            centre,
            wave: Wave {
                number: across.map(|part| part * number),
                phase: random.random_range(0.0..TAU),
                height: [-across[1] * height, across[0] * height],
            },
            turn: [1.0 + real * turn, imaginary * turn],
            shift: direction(random).map(|part| part * shift),
        }
    }

    /// Maps a position in the first frame to the second.
    pub(super) fn forward(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let [x, y] = self.wave.apply([x - self.centre[0], y - self.centre[1]], 1.0);
        let [real, imaginary] = self.turn;
        [
            real * x - imaginary * y + self.centre[0] + self.shift[0],
            imaginary * x + real * y + self.centre[1] + self.shift[1],
        ]
    }

    /// Maps a position in the second frame to the first.
    pub(super) fn backward(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let x = x - self.centre[0] - self.shift[0];
        let y = y - self.centre[1] - self.shift[1];
        let [real, imaginary] = self.turn;
        let length = real * real + imaginary * imaginary;
        let turned = [(real * x + imaginary * y) / length, (real * y - imaginary * x) / length];
        let [x, y] = self.wave.apply(turned, -1.0);
        [x + self.centre[0], y + self.centre[1]]
    }
}

impl Wave {
    fn apply(&self, [x, y]: [f32; 2], sign: f32) -> [f32; 2] {
        let height = sign * (self.number[0] * x + self.number[1] * y + self.phase).sin();
        [x + height * self.height[0], y + height * self.height[1]]
    }
}

/// A random unit vector.
fn direction(random: &mut ChaCha8Rng) -> [f32; 2] {
    let (sine, cosine) = random.random_range(0.0..TAU).sin_cos();
    [cosine, sine]
}

#[cfg(test)]
impl Motion {
    pub(super) fn shift(shift: [f32; 2]) -> Self {
        Self::turn([0.0; 2], 0.0, shift)
    }

    pub(super) fn turn(centre: [f32; 2], angle: f32, shift: [f32; 2]) -> Self {
        let wave = Wave { number: [0.0; 2], phase: 0.0, height: [0.0; 2] };
        Self { centre, wave, turn: [angle.cos(), angle.sin()], shift }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Places of a disc of this radius around a centre.
    fn places(centre: [f32; 2], radius: f32) -> impl Iterator<Item = [f32; 2]> {
        (0..400).map(move |index| {
            let (sine, cosine) = (index as f32).sin_cos();
            let distance = radius * (index as f32 / 399.0).sqrt();
            [centre[0] + cosine * distance, centre[1] + sine * distance]
        })
    }

    #[test]
    fn what_goes_forth_comes_back() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..50 {
            let motion = Motion::draw([40.0, 20.0], 30.0, 25.0, &mut random);
            for [x, y] in places([40.0, 20.0], 60.0) {
                let [back_x, back_y] = motion.backward(motion.forward([x, y]));
                assert!((back_x - x).hypot(back_y - y) < 1e-4, "{motion:?} at {x}, {y}");
            }
        }
    }

    #[test]
    fn no_place_moves_further_than_the_limit() {
        let mut random = ChaCha8Rng::seed_from_u64(2);
        let mut longest = 0.0_f32;
        for _ in 0..200 {
            let motion = Motion::draw([5.0, -3.0], 12.0, 4.0, &mut random);
            for [x, y] in places([5.0, -3.0], 12.0) {
                let [right, down] = motion.forward([x, y]);
                longest = longest.max((right - x).hypot(down - y));
            }
        }
        assert!((3.0..=4.0).contains(&longest), "{longest}");
    }

    #[test]
    fn a_turn_keeps_the_distance_from_its_centre() {
        let motion = Motion::turn([3.0, 4.0], 0.5, [0.0; 2]);
        let [x, y] = motion.forward([5.0, 4.0]);
        assert!((x - (3.0 + 2.0 * 0.5_f32.cos())).abs() < 1e-6, "{x}");
        assert!((y - (4.0 + 2.0 * 0.5_f32.sin())).abs() < 1e-6, "{y}");
    }
}
