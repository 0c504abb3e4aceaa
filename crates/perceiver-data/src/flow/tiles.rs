use ndarray::{Array2, Array3, Axis, Zip, s};

/// Fewest pixels that neighbouring tiles share.
const OVERLAP: usize = 20;

/// Positions of equal tiles that cover a frame, for models with a fixed frame size.
///
/// # Source
/// Perceiver IO section 4.2 and DeepMind's notebook: tiles overlap by at least 20 pixels, the last
/// one ends with the frame, and a pixel's weight grows with its distance from the tile's border.
///
/// # Differences
/// Where the notebook would place the same tile twice, it is placed once. Where the notebook would
/// place a tile past the end of the frame, which makes its model fail, the tile ends with the
/// frame. Tiles smaller than 40 pixels overlap by half: the notebook refuses tiles of 20 and would
/// place tiles of 24 at every fourth pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiles {
    frame: [usize; 2],
    tile: [usize; 2],
    starts: Vec<[usize; 2]>,
}

impl Tiles {
    /// Tiles for frames of this height and width, row by row; `None` if a tile is larger than the
    /// frame or has no pixels.
    #[must_use]
    pub fn new(frame: [usize; 2], tile: [usize; 2]) -> Option<Self> {
        Self::overlapping(frame, tile, tile.map(|side| OVERLAP.min(side / 2)))
    }

    /// Like [`new`](Self::new), but neighbours share at least these numbers of rows and columns.
    ///
    /// # Panics
    /// If the overlap is not smaller than the tile.
    #[must_use]
    pub fn overlapping(frame: [usize; 2], tile: [usize; 2], overlap: [usize; 2]) -> Option<Self> {
        if tile.contains(&0) || tile[0] > frame[0] || tile[1] > frame[1] {
            return None;
        }
        let columns = starts(frame[1], tile[1], overlap[1]);
        let rows = starts(frame[0], tile[0], overlap[0]).into_iter();
        let starts = rows.flat_map(|y| columns.iter().map(move |&x| [y, x])).collect();
        Some(Self { frame, tile, starts })
    }

    /// Row and column of every tile's first pixel.
    #[must_use]
    pub fn starts(&self) -> &[[usize; 2]] {
        &self.starts
    }

    /// Blends the flow of all tiles into that of the frame, `[height, width, 2]`, one tile at a
    /// time.
    ///
    /// A pixel is the mean of the tiles' flow, weighted by its distance from the tile's border in
    /// pixels, which is 1 at the border.
    ///
    /// # Panics
    /// If a tile's flow has another size.
    pub fn blend(&self, mut flow_at: impl FnMut([usize; 2]) -> Array3<f32>) -> Array3<f32> {
        let ([height, width], [rows, columns]) = (self.frame, self.tile);
        let weights = self.weights();
        let mut total = Array3::<f32>::zeros((height, width, 2));
        let mut weight = Array2::<f32>::zeros((height, width));
        for &[y, x] in &self.starts {
            let flow = flow_at([y, x]);
            assert_eq!(flow.dim(), (rows, columns, 2), "the flow of a tile");
            let mut area = total.slice_mut(s![y..y + rows, x..x + columns, ..]);
            Zip::from(area.lanes_mut(Axis(2)))
                .and(flow.lanes(Axis(2)))
                .and(&weights)
                .for_each(|mut total, flow, &weight| total.scaled_add(weight, &flow));
            weight.slice_mut(s![y..y + rows, x..x + columns]).scaled_add(1.0, &weights);
        }
        total / weight.insert_axis(Axis(2))
    }

    fn weights(&self) -> Array2<f32> {
        let [rows, columns] = self.tile;
        Array2::from_shape_fn((rows, columns), |(y, x)| {
            (x + 1).min(columns - x).min(y + 1).min(rows - y) as f32
        })
    }
}

/// First pixels of the tiles along one side.
fn starts(side: usize, tile: usize, overlap: usize) -> Vec<usize> {
    assert!(overlap < tile, "tiles of {tile} pixels cannot overlap by {overlap}");
    let step = tile - overlap;
    let mut starts: Vec<_> = (0..side).step_by(step).map(|start| start.min(side - tile)).collect();
    starts.dedup();
    starts
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn published_tiles_of_a_sintel_frame() {
        let tiles = Tiles::new([436, 1024], [368, 496]).unwrap();
        let expected = [[0, 0], [0, 476], [0, 528], [68, 0], [68, 476], [68, 528]];
        assert_eq!(tiles.starts(), expected);
    }

    #[test]
    fn a_frame_of_a_tile_s_size_has_one() {
        assert_eq!(Tiles::new([368, 496], [368, 496]).unwrap().starts(), [[0, 0]]);
    }

    /// The notebook starts a tile at 348 and is left with 352 of its 368 rows.
    #[test]
    fn no_tile_leaves_the_frame() {
        assert_eq!(starts(700, 368, 20), [0, 332]);
    }

    #[test]
    fn small_tiles_overlap_by_half() {
        let starts = |frame, tile| {
            let tiles = Tiles::new([1, frame], [1, tile]).unwrap();
            tiles.starts().iter().map(|[_, x]| *x).collect::<Vec<_>>()
        };
        assert_eq!(starts(60, 24), [0, 12, 24, 36]);
        assert_eq!(starts(60, 40), [0, 20]);
        assert_eq!(starts(3, 1), [0, 1, 2]);
    }

    #[test]
    fn the_overlap_is_that_asked_for() {
        let tiles = Tiles::overlapping([16, 60], [16, 24], [4, 6]).unwrap();
        assert_eq!(tiles.starts(), [[0, 0], [0, 18], [0, 36]]);
    }

    #[test]
    #[should_panic(expected = "tiles of 24 pixels cannot overlap by 24")]
    fn tiles_that_would_not_move_on_are_refused() {
        let _ = Tiles::overlapping([16, 60], [16, 24], [4, 24]);
    }

    #[test]
    fn a_smaller_frame_has_no_tiles() {
        assert_eq!(Tiles::new([367, 496], [368, 496]), None);
        assert_eq!(Tiles::new([368, 495], [368, 496]), None);
        assert_eq!(Tiles::new([5, 5], [0, 5]), None);
    }

    /// Two tiles of 3x30 whose answers are 1 and 2.
    #[test]
    fn weights_fall_towards_the_border_of_a_tile() {
        let tiles = Tiles::new([3, 40], [3, 30]).unwrap();
        assert_eq!(tiles.starts(), [[0, 0], [0, 10]]);
        let flow = tiles.blend(|[_, x]| Array3::from_elem((3, 30, 2), 1.0 + x as f32 / 10.0));
        assert_eq!(flow[[1, 9, 0]], 1.0);
        // The first tile is left behind the middle row, 2 pixels away; the second begins here.
        assert_eq!(flow[[1, 10, 0]], (2.0 * 1.0 + 1.0 * 2.0) / 3.0);
        assert_eq!(flow[[1, 20, 1]], 1.5);
        assert_eq!(flow[[1, 30, 0]], 2.0);
    }

    fn frames_and_tiles() -> impl Strategy<Value = ([usize; 2], [usize; 2])> {
        let sides = || [1_usize..60, 1_usize..60];
        (sides(), sides()).prop_map(|(tile, more)| {
            let frame = [tile[0] + more[0] - 1, tile[1] + more[1] - 1];
            (frame, tile)
        })
    }

    proptest! {
        /// Blending of places gives every pixel its own place: all are covered, in their order.
        #[test]
        fn every_pixel_is_covered((frame, tile) in frames_and_tiles()) {
            let tiles = Tiles::new(frame, tile).unwrap();
            let flow = tiles.blend(|[y, x]| {
                Array3::from_shape_fn((tile[0], tile[1], 2), |(row, column, direction)| {
                    if direction == 0 { (x + column) as f32 } else { (y + row) as f32 }
                })
            });
            for ((y, x, direction), &found) in flow.indexed_iter() {
                let expected = if direction == 0 { x } else { y } as f32;
                prop_assert!((found - expected).abs() <= 1e-5 * expected, "{found} at {y}, {x}");
            }
        }

        #[test]
        fn no_tile_comes_twice((frame, tile) in frames_and_tiles()) {
            let tiles = Tiles::new(frame, tile).unwrap();
            prop_assert!(tiles.starts().is_sorted_by(|one, other| one < other));
        }
    }
}
