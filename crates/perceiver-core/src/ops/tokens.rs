//! Factored tokens in blocks: products with them, and sums over them.

use std::ops::Range;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, TensorMetadata};
use burn::tensor::{IndexingUpdateOp, Shape, Slice};

use super::attention::cat;
use super::blocks::{rows_that_fit, slice};
use super::{FactoredTokens, GridPoints};

/// Consecutive tokens, few enough that their scores fit the budget.
pub(super) struct TokenBlock<B: Backend> {
    pub(super) start: usize,
    pub(super) end: usize,
    /// `[batch, 1, block, content_channels]`
    pub(super) content: FloatTensor<B>,
    /// `[batch, 1, 1, block]`
    pub(super) scale: FloatTensor<B>,
    cells: Cells<B>,
    grid: Vec<usize>,
}

/// Cells of the tokens in a block.
enum Cells<B: Backend> {
    /// Every cell whose place on the slowest axis is in the range.
    Slab(Range<usize>),
    /// `[block]`, flat indices into the grid.
    Points(IntTensor<B>),
}

impl<B: Backend> FactoredTokens<B> {
    /// Blocks in order, for `rows` scores per token: whole slabs of the grid, or ranges of points.
    pub(super) fn blocks(
        &self,
        points: &GridPoints<B>,
        rows: usize,
    ) -> impl Iterator<Item = TokenBlock<B>> {
        let tokens = self.content.shape()[1];
        let fit = rows_that_fit(rows);
        let slab = match points {
            GridPoints::All => tokens / self.grid[0],
            GridPoints::Some(_) => 1,
        };
        let step = (fit / slab).max(1) * slab;
        (0..tokens).step_by(step).map(move |start| {
            let end = (start + step).min(tokens);
            let cells = match points {
                GridPoints::All => Cells::Slab(start / slab..end / slab),
                GridPoints::Some(points) => {
                    Cells::Points(B::int_slice(points.clone(), &[Slice::from(start..end)]))
                }
            };
            self.block(start, end, cells)
        })
    }

    fn block(&self, start: usize, end: usize, cells: Cells<B>) -> TokenBlock<B> {
        let [batch, _, channels] = self.content.shape().dims::<3>();
        let content = slice::<B>(&self.content, 1, start, end);
        let scale = slice::<B>(&self.scale, 1, start, end);
        TokenBlock {
            start,
            end,
            content: B::float_reshape(content, Shape::new([batch, 1, end - start, channels])),
            scale: B::float_reshape(scale, Shape::new([batch, 1, 1, end - start])),
            cells,
            grid: self.grid.clone(),
        }
    }
}

impl<B: Backend> TokenBlock<B> {
    /// `vectors · content` plus the terms of all axes, for each row and token.
    ///
    /// `vectors` is `[batch, 1, rows, content_channels]`, `axis_terms` is `[batch, 1, rows, axes]`, and
    /// the result is `[batch, 1, rows, block]`.
    pub(super) fn products(
        &self,
        vectors: &FloatTensor<B>,
        axis_terms: &FloatTensor<B>,
    ) -> FloatTensor<B> {
        let products = B::float_matmul(vectors.clone(), B::float_transpose(self.content.clone()));
        let shape = products.shape();
        let [batch, _, rows, tokens] = shape.dims::<4>();
        let axes = axis_terms.shape()[3];
        let terms = B::float_reshape(axis_terms.clone(), Shape::new([batch * rows, axes]));
        let products = match &self.cells {
            Cells::Slab(slab) => self.add_to_slab(products, &terms, slab),
            Cells::Points(cells) => {
                let flat = B::float_reshape(products, Shape::new([batch * rows, tokens]));
                self.axes().fold(flat, |products, (axis, inner)| {
                    let index = axis_indices::<B>(cells.clone(), axis.len(), inner);
                    let terms = slice::<B>(&terms, 1, axis.start, axis.end);
                    B::float_add(products, B::float_select(terms, 1, index))
                })
            }
        };
        B::float_reshape(products, shape)
    }

    /// The transpose of [`products`](Self::products): sums of content under `weights`, followed by
    /// the marginals over each axis.
    ///
    /// `weights` is `[batch, 1, rows, block]`, the result is
    /// `[batch, 1, rows, content_channels + axes]`.
    pub(super) fn sums(&self, weights: FloatTensor<B>) -> FloatTensor<B> {
        let [batch, _, rows, tokens] = weights.shape().dims::<4>();
        let mut parts = vec![B::float_matmul(weights.clone(), self.content.clone())];
        let flat = B::float_reshape(weights, Shape::new([batch * rows, tokens]));
        let marginals = match &self.cells {
            Cells::Slab(slab) => self.slab_marginals(flat, slab),
            Cells::Points(cells) => self.point_marginals(&flat, cells),
        };
        parts.extend(marginals.into_iter().map(|marginal| {
            let length = marginal.shape()[1];
            B::float_reshape(marginal, Shape::new([batch, 1, rows, length]))
        }));
        cat::<B>(parts, 3)
    }

    /// The range of each axis' terms, and the cells that one step along the axis skips.
    fn axes(&self) -> impl Iterator<Item = (Range<usize>, usize)> {
        let mut inner: usize = self.grid.iter().product();
        let mut end = 0;
        self.grid.iter().map(move |&length| {
            inner /= length;
            end += length;
            (end - length..end, inner)
        })
    }

    /// Adds from the fastest axis outwards, so that only the last two sums are as large as the products.
    fn add_to_slab(
        &self,
        products: FloatTensor<B>,
        terms: &FloatTensor<B>,
        slab: &Range<usize>,
    ) -> FloatTensor<B> {
        let rows = terms.shape()[0];
        let axes: Vec<_> = self.axes().collect();
        let mut spread: Option<FloatTensor<B>> = None;
        for (axis, inner) in axes[1..].iter().rev() {
            let own = slice::<B>(terms, 1, axis.start, axis.end);
            let own = B::float_reshape(own, Shape::new([rows, axis.len(), 1]));
            let sum = match spread {
                Some(spread) => B::float_add(own, spread),
                None => own,
            };
            spread = Some(B::float_reshape(sum, Shape::new([rows, 1, axis.len() * inner])));
        }
        let slowest = slice::<B>(terms, 1, slab.start, slab.end);
        let slowest = B::float_reshape(slowest, Shape::new([rows, slab.len(), 1]));
        let inner = axes[0].1;
        let products = B::float_reshape(products, Shape::new([rows, slab.len(), inner]));
        let products = B::float_add(products, slowest);
        match spread {
            Some(spread) => B::float_add(products, spread),
            None => products,
        }
    }

    /// Sums out the slowest axis first, so that only two sums read all weights.
    fn slab_marginals(&self, weights: FloatTensor<B>, slab: &Range<usize>) -> Vec<FloatTensor<B>> {
        let rows = weights.shape()[0];
        let mut rest = weights;
        let axes = self.axes().enumerate().map(|(place, (axis, inner))| {
            let length = if place == 0 { slab.len() } else { axis.len() };
            let spread = B::float_reshape(rest.clone(), Shape::new([rows, length, inner]));
            rest = B::float_sum_dim(spread.clone(), 1);
            let marginal = B::float_sum_dim(spread, 2);
            let marginal = B::float_reshape(marginal, Shape::new([rows, length]));
            if place == 0 { embed::<B>(marginal, slab.start, axis.len()) } else { marginal }
        });
        axes.collect()
    }

    fn point_marginals(
        &self,
        weights: &FloatTensor<B>,
        cells: &IntTensor<B>,
    ) -> Vec<FloatTensor<B>> {
        let axes = self.axes().map(|(axis, inner)| {
            let index = axis_indices::<B>(cells.clone(), axis.len(), inner);
            let zeros = zeros::<B>(axis.len(), weights);
            B::float_select_assign(zeros, 1, index, weights.clone(), IndexingUpdateOp::Add)
        });
        axes.collect()
    }
}

/// Places along an axis of `length` cells, each spanning `inner` flat indices, from flat indices into
/// the grid.
pub(super) fn axis_indices<B: Backend>(
    cells: IntTensor<B>,
    length: usize,
    inner: usize,
) -> IntTensor<B> {
    let index = B::int_div_scalar(cells, (inner as i64).into());
    B::int_remainder_scalar(index, (length as i64).into())
}

/// A slab's marginals over the slowest axis, with zeros for the other slabs.
fn embed<B: Backend>(marginal: FloatTensor<B>, first: usize, length: usize) -> FloatTensor<B> {
    let after = length - first - marginal.shape()[1];
    let zeros = |count: usize| (count > 0).then(|| zeros::<B>(count, &marginal));
    let parts = [zeros(first), Some(marginal.clone()), zeros(after)];
    cat::<B>(parts.into_iter().flatten().collect(), 1)
}

/// Zeros with as many rows as `like` and `columns` columns.
fn zeros<B: Backend>(columns: usize, like: &FloatTensor<B>) -> FloatTensor<B> {
    let shape = Shape::new([like.shape()[0], columns]);
    B::float_zeros(shape, &like.device(), like.dtype().into())
}
