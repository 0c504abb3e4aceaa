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
    // In two steps, because burn's ndarray backend knows six axes: the rows and columns of a block
    // go behind those of the blocks, then time goes before them.
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
