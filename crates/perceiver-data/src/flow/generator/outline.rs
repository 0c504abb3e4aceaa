use std::f32::consts::{PI, TAU};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Number of directions in which an outline stores its distance from the centre.
const DIRECTIONS: usize = 64;

/// A star-shaped form around its centre: an ellipse, a polygon or a rounder shape.
#[derive(Debug, Clone)]
pub(super) struct Outline {
    pub(super) centre: [f32; 2],
    /// Largest distance from the centre, in pixels.
    pub(super) largest: f32,
    radii: [f32; DIRECTIONS],
    /// Width of its soft edge, in pixels.
    softness: f32,
}

impl Outline {
    /// A form around a random position in a frame of this height and width.
    pub(super) fn draw([height, width]: [usize; 2], random: &mut ChaCha8Rng) -> Self {
        let shorter = height.min(width) as f32;
        let radius = shorter * random.random_range(0.1..0.5);
        let start = random.random_range(0.0..TAU);
        let form = match random.random_range(0..3) {
            0 => Form::Ellipse { flatness: random.random_range(0.3..1.0) },
            1 => Form::polygon(random.random_range(3..=8), random),
            _ => Form::blob(random),
        };
        let radii = std::array::from_fn(|index| {
            radius * form.radius(index as f32 / DIRECTIONS as f32 * TAU, start)
        });
        let centre =
            [random.random_range(0.0..width as f32), random.random_range(0.0..height as f32)];
        Self::new(centre, radii, random.random_range(1.0..2.0))
    }

    fn new(centre: [f32; 2], radii: [f32; DIRECTIONS], softness: f32) -> Self {
        let largest = radii.into_iter().fold(0.0, f32::max) + softness / 2.0;
        Self { centre, largest, radii, softness }
    }

    /// How much of a position it covers, from 0 to 1.
    pub(super) fn cover(&self, [x, y]: [f32; 2]) -> f32 {
        let (x, y) = (x - self.centre[0], y - self.centre[1]);
        let distance = x.hypot(y);
        if distance >= self.largest {
            return 0.0;
        }
        let place = (y.atan2(x) / TAU).rem_euclid(1.0) * DIRECTIONS as f32;
        let (before, part) = (place as usize, place.fract());
        let radius = self.radii[before % DIRECTIONS] * (1.0 - part)
            + self.radii[(before + 1) % DIRECTIONS] * part;
        ((radius - distance) / self.softness + 0.5).clamp(0.0, 1.0)
    }
}

/// Kinds of outlines with a radius of about 1.
enum Form {
    Ellipse {
        /// Ratio of the shorter to the longer axis.
        flatness: f32,
    },
    /// Corners as direction, in increasing order, and distance.
    Polygon(Vec<[f32; 2]>),
    /// Waves around the circle: amplitude and phase of those with two and more periods.
    Blob([[f32; 2]; 4]),
}

impl Form {
    fn polygon(corners: usize, random: &mut ChaCha8Rng) -> Self {
        let mut corner = |index: usize| {
            // Neighbours stay less than half a turn apart.
            let place = index as f32 + random.random_range(-0.2..0.2);
            [place / corners as f32 * TAU, random.random_range(0.5..1.0)]
        };
        Self::Polygon((0..corners).map(&mut corner).collect())
    }

    fn blob(random: &mut ChaCha8Rng) -> Self {
        Self::Blob(std::array::from_fn(|_| {
            [random.random_range(0.0..0.2), random.random_range(0.0..TAU)]
        }))
    }

    /// Distance of the edge in a direction, with the form rotated by `start`.
    fn radius(&self, direction: f32, start: f32) -> f32 {
        let direction = (direction - start).rem_euclid(TAU);
        match self {
            Self::Ellipse { flatness } => {
                flatness / (flatness * direction.cos()).hypot(direction.sin())
            }
            Self::Blob(waves) => {
                let wave = |(index, [height, phase]): (usize, &[f32; 2])| {
                    height * ((index + 2) as f32 * direction + phase).cos()
                };
                1.0 + waves.iter().enumerate().map(wave).sum::<f32>()
            }
            Self::Polygon(corners) => {
                let next = corners.iter().position(|corner| corner[0] > direction).unwrap_or(0);
                let [to, far] = corners[next];
                let [from, near] = corners[(next + corners.len() - 1) % corners.len()];
                let angle = |from: f32, to: f32| (to - from).rem_euclid(TAU).min(PI);
                // The edge is the side between the two corners.
                let (before, behind) = (angle(from, direction), angle(direction, to));
                near * far * angle(from, to).sin() / (near * before.sin() + far * behind.sin())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_circle_covers_its_inside_and_fades_over_its_edge() {
        let outline = Outline::new([10.0, 5.0], [4.0; DIRECTIONS], 2.0);
        assert_eq!(outline.cover([10.0, 5.0]), 1.0);
        assert_eq!(outline.cover([12.9, 5.0]), 1.0);
        assert!((outline.cover([10.0, 1.0]) - 0.5).abs() < 1e-6);
        assert!((outline.cover([5.5, 5.0]) - 0.25).abs() < 1e-6);
        assert_eq!(outline.cover([10.0, 10.5]), 0.0);
    }

    /// A point of the straight line between two corners, whose distance is known from triangles.
    #[test]
    fn polygons_have_straight_edges() {
        let quarter = PI / 2.0;
        let square = Form::Polygon((0..4).map(|index| [index as f32 * quarter, 1.0]).collect());
        for turns in 0..4 {
            let middle = (turns as f32 + 0.5) * quarter;
            assert!((square.radius(middle, 0.0) - 0.5_f32.sqrt()).abs() < 1e-6);
            assert!((square.radius(turns as f32 * quarter, 0.0) - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn an_ellipse_has_its_axes() {
        let ellipse = Form::Ellipse { flatness: 0.25 };
        assert!((ellipse.radius(0.3, 0.3) - 1.0).abs() < 1e-6);
        assert!((ellipse.radius(0.3 + PI / 2.0, 0.3) - 0.25).abs() < 1e-6);
    }

    #[test]
    fn every_form_has_an_inside_and_ends() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..200 {
            let outline = Outline::draw([30, 50], &mut random);
            assert!(outline.radii.iter().all(|radius| (0.5..30.0).contains(radius)), "{outline:?}");
            let [x, y] = outline.centre;
            assert_eq!(outline.cover([x + outline.largest + 0.01, y]), 0.0);
        }
    }
}
