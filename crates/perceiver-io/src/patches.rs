use burn::tensor::Tensor;

/// Moves blocks of space and time into channels, which become the last axis.
///
/// The channels of a block are in the order (time, row, column, channel).
///
/// # Shapes
/// - `frames`: `[batch, time, channels, height, width]`
/// - returns: `[batch, time / temporal_block, height / spatial_block, width / spatial_block,
///   temporal_block · spatial_block² · channels]`
///
/// # Panics
/// If a block does not divide its axis.
///
/// # Source
/// `space_to_depth`; an image is a video of one frame.
#[must_use]
pub fn space_to_depth(frames: Tensor<5>, temporal_block: usize, spatial_block: usize) -> Tensor<5> {
    let [batch, time, channels, height, width] = frames.dims();
    assert!(
        time % temporal_block == 0 && height % spatial_block == 0 && width % spatial_block == 0,
        "{time} frames of {height}x{width} do not divide into blocks of \
         {temporal_block}x{spatial_block}x{spatial_block}"
    );
    let (times, rows, columns) =
        (time / temporal_block, height / spatial_block, width / spatial_block);
    // In two steps, because burn's ndarray backend has at most six axes: first the rows and columns
    // within a block move behind those of the blocks, then time moves before them.
    let split: Tensor<6> = frames.reshape([
        batch * times,
        temporal_block * channels,
        rows,
        spatial_block,
        columns,
        spatial_block,
    ]);
    let blocks: Tensor<4> = split.permute([0, 2, 4, 3, 5, 1]).reshape([
        batch * times * rows * columns,
        spatial_block * spatial_block,
        temporal_block,
        channels,
    ]);
    blocks.swap_dims(1, 2).reshape([
        batch,
        times,
        rows,
        columns,
        temporal_block * spatial_block * spatial_block * channels,
    ])
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, Int};

    use super::*;

    /// Compares every element with its index in the frames.
    #[test]
    fn channels_of_a_block_are_time_row_column_channel() {
        let shape = [2, 4, 3, 6, 9];
        let [batch, time, channels, height, width] = shape;
        let (temporal_block, block) = (2, 3);
        let count = shape.iter().product::<usize>() as i64;
        let frames = Tensor::<1, Int>::arange(0..count, &Device::flex()).float().reshape(shape);
        let blocks = space_to_depth(frames, temporal_block, block);
        assert_eq!(blocks.dims(), [2, 2, 2, 3, 54]);
        let blocks = blocks.into_data();
        let mut found = blocks.iter::<f32>().map(|element| element as usize);
        for b in 0..batch {
            for (t, y, x) in cells([time / temporal_block, height / block, width / block]) {
                for (dt, dy, dx) in cells([temporal_block, block, block]) {
                    let (t, y, x) = (t * temporal_block + dt, y * block + dy, x * block + dx);
                    for c in 0..channels {
                        let expected = (((b * time + t) * channels + c) * height + y) * width + x;
                        assert_eq!(found.next(), Some(expected));
                    }
                }
            }
        }
        assert_eq!(found.next(), None);
    }

    fn cells([times, rows, columns]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
        let count = times * rows * columns;
        (0..count).map(move |i| (i / columns / rows, i / columns % rows, i % columns))
    }

    #[test]
    #[should_panic(expected = "4 frames of 6x5 do not divide into blocks of 2x3x3")]
    fn frames_that_blocks_do_not_divide_are_refused() {
        let _ = space_to_depth(Tensor::zeros([1, 4, 3, 6, 5], &Device::flex()), 2, 3);
    }
}
