use burn::tensor::Tensor;

/// Moves blocks of space and time into channels, which come last.
///
/// Within a token the order is (time, row, column, channel).
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
    let split: Tensor<8> = frames.reshape([
        batch,
        times,
        temporal_block,
        channels,
        rows,
        spatial_block,
        columns,
        spatial_block,
    ]);
    split.permute([0, 1, 4, 6, 2, 5, 7, 3]).reshape([
        batch,
        times,
        rows,
        columns,
        temporal_block * spatial_block * spatial_block * channels,
    ])
}
