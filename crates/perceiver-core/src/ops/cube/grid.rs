//! The axis scores of a cell of a grid.

use cubecl::prelude::*;

/// The columns of `[.., axes]` that belong to a cell, one per axis, fastest axis first.
#[cube]
pub(super) fn columns(cell: usize, axes: usize, grid: &Sequence<usize>) -> Sequence<usize> {
    let mut columns = Sequence::<usize>::new();
    let mut rest = cell;
    let mut end = axes;
    #[unroll]
    for i in 0..grid.len() {
        let length = grid[comptime!(grid.len() - 1 - i)];
        end -= length;
        columns.push(end + rest % length);
        rest /= length;
    }
    columns
}
