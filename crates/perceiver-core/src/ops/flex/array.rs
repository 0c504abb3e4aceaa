use faer::MatRef;

use super::matrix::strided;

/// A tensor `[batch, heads, rows, columns]` in memory. A stride is zero along an axis that repeats.
#[derive(Debug, Clone, Copy)]
pub(super) struct Array<'a> {
    pub(super) elements: &'a [f32],
    pub(super) shape: [usize; 4],
    pub(super) strides: [usize; 4],
}

impl<'a> Array<'a> {
    /// The matrix of one problem, `batch · heads + head`.
    pub(super) fn problem(&self, problem: usize) -> MatRef<'a, f32> {
        let [_, heads, rows, columns] = self.shape;
        let [batch_stride, head_stride, row_stride, column_stride] = self.strides;
        let start = problem / heads * batch_stride + problem % heads * head_stride;
        strided(&self.elements[start..], [rows, columns], [row_stride, column_stride])
    }

    /// A row of one problem.
    ///
    /// # Panics
    /// If its columns are not contiguous.
    pub(super) fn row(&self, problem: usize, row: usize) -> &'a [f32] {
        let [_, heads, _, columns] = self.shape;
        let [batch_stride, head_stride, row_stride, column_stride] = self.strides;
        assert!(column_stride == 1 || columns <= 1, "the row is not contiguous");
        let start =
            problem / heads * batch_stride + problem % heads * head_stride + row * row_stride;
        &self.elements[start..start + columns]
    }
}

impl Array<'_> {
    /// A range of the columns.
    pub(super) fn columns(&self, columns: std::ops::Range<usize>) -> Self {
        let [batch, heads, rows, _] = self.shape;
        let start = (columns.start * self.strides[3]).min(self.elements.len());
        Self {
            elements: &self.elements[start..],
            shape: [batch, heads, rows, columns.len()],
            strides: self.strides,
        }
    }
}

/// Flags of the keys, `[batch, keys]`, not zero where a key is hidden.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hidden<'a> {
    pub(super) flags: &'a [u8],
    pub(super) heads: usize,
    pub(super) keys: usize,
}

impl<'a> Hidden<'a> {
    pub(super) fn of(&self, problem: usize, keys: std::ops::Range<usize>) -> &'a [u8] {
        let start = problem / self.heads * self.keys;
        &self.flags[start + keys.start..start + keys.end]
    }

    /// True if all of these keys are hidden.
    pub(super) fn all(&self, problem: usize, keys: std::ops::Range<usize>) -> bool {
        self.of(problem, keys).iter().all(|&flag| flag != 0)
    }
}
