#![allow(unsafe_code, reason = "gemm takes pointers; views are checked against their slices")]

use std::ops::Range;

use gemm::Parallelism;

/// A matrix somewhere in a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    elements: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// # Panics
    /// If an element lies beyond the slice.
    pub(super) fn new(
        elements: &'a [f32],
        [rows, columns]: [usize; 2],
        [row_stride, column_stride]: [usize; 2],
    ) -> Self {
        if rows > 0 && columns > 0 {
            let last = (rows - 1) * row_stride + (columns - 1) * column_stride;
            assert!(last < elements.len(), "the matrix ends beyond its elements");
        }
        Self { elements, rows, columns, row_stride, column_stride }
    }

    /// Some of its rows.
    pub(super) fn rows(self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.rows, "the matrix has fewer rows");
        let elements = if rows.is_empty() || self.columns == 0 {
            &[]
        } else {
            &self.elements[rows.start * self.row_stride..]
        };
        Self { elements, rows: rows.len(), ..self }
    }

    pub(super) const fn row_count(&self) -> usize {
        self.rows
    }

    pub(super) const fn transposed(self) -> Self {
        Self {
            elements: self.elements,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// A matrix that is written, row by row.
#[derive(Debug)]
pub(super) struct MatrixMut<'a> {
    pub(super) elements: &'a mut [f32],
    pub(super) row_stride: usize,
}

/// `product = scale · left · right`, or `product +=` the same, on one thread.
///
/// # Panics
/// If the shapes disagree.
pub(super) fn multiply(
    scale: f32,
    left: Matrix<'_>,
    right: Matrix<'_>,
    product: &mut MatrixMut<'_>,
    accumulate: bool,
) {
    multiply_on(Parallelism::None, scale, left, right, product, accumulate);
}

/// The same on every core.
pub(super) fn multiply_in_parallel(
    left: Matrix<'_>,
    right: Matrix<'_>,
    product: &mut MatrixMut<'_>,
    accumulate: bool,
) {
    let threads = Parallelism::Rayon(rayon::current_num_threads());
    multiply_on(threads, 1.0, left, right, product, accumulate);
}

fn multiply_on(
    threads: Parallelism,
    scale: f32,
    left: Matrix<'_>,
    right: Matrix<'_>,
    product: &mut MatrixMut<'_>,
    accumulate: bool,
) {
    let (rows, columns) = (left.rows, right.columns);
    assert_eq!(left.columns, right.rows, "the inner sizes differ");
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(columns <= product.row_stride, "rows of the product overlap");
    assert!(
        (rows - 1) * product.row_stride + columns <= product.elements.len(),
        "the product ends beyond its elements"
    );
    // SAFETY: the views were checked to lie within their slices when they were made, the product
    // just now; the product is borrowed mutably, so nothing overlaps it.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            left.columns,
            product.elements.as_mut_ptr(),
            1,
            product.row_stride as isize,
            accumulate,
            left.elements.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.elements.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            threads,
        );
    }
}
