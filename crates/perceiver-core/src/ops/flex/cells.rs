use std::ops::Range;

/// The places of tokens on their grid.
///
/// An entry is an index into the scores of all axes, which are concatenated. Tokens that differ only
/// along the innermost axis longer than one form a line, along which entries are consecutive.
#[derive(Debug)]
pub(super) struct Cells<'a> {
    lengths: &'a [usize],
    /// Flat indices of the cells that are tokens; every cell in order if absent.
    points: Option<Vec<usize>>,
    /// Index of the axis that lines run along.
    along: usize,
}

/// Consecutive tokens that share all entries except the one along their line.
#[derive(Debug)]
pub(super) struct Line {
    /// Indices within the requested range.
    pub(super) tokens: Range<usize>,
    /// Entries of the tokens along the line.
    pub(super) along: Range<usize>,
    /// One entry per other axis.
    pub(super) shared: Vec<usize>,
}

/// The place of one token.
#[derive(Debug)]
pub(super) struct Cell {
    /// Index of its line in the grid.
    pub(super) line: usize,
    /// Its entry along the line.
    pub(super) along: usize,
}

impl<'a> Cells<'a> {
    pub(super) fn new(lengths: &'a [usize], points: Option<Vec<usize>>) -> Self {
        let along = lengths.iter().rposition(|&length| length > 1).unwrap_or(0);
        Self { lengths, points, along }
    }

    /// Entries of all axes.
    pub(super) fn axes(&self) -> usize {
        self.lengths.iter().sum()
    }

    pub(super) fn cell(&self, token: usize) -> Cell {
        let cell = self.points.as_ref().map_or(token, |points| points[token]);
        let length = self.lengths[self.along];
        Cell { line: cell / length, along: self.offset(self.along) + cell % length }
    }

    /// The entries that the tokens of a line share.
    pub(super) fn shared(&self, line: usize) -> impl Iterator<Item = usize> {
        let inner: usize = self.lengths[..self.along].iter().product();
        let outer = (0..self.along).scan(inner, move |inner, axis| {
            *inner /= self.lengths[axis];
            Some(self.offset(axis) + line / *inner % self.lengths[axis])
        });
        // The axes inside a line have length one, so one entry each.
        outer.chain((self.along + 1..self.lengths.len()).map(|axis| self.offset(axis)))
    }

    /// Splits tokens of a whole grid into lines.
    pub(super) fn lines(&self, tokens: Range<usize>) -> impl Iterator<Item = Line> {
        let length = self.lengths[self.along];
        let offset = self.offset(self.along);
        (tokens.start / length..tokens.end.div_ceil(length)).map(move |line| {
            let start = (line * length).max(tokens.start);
            let end = ((line + 1) * length).min(tokens.end);
            Line {
                tokens: start - tokens.start..end - tokens.start,
                along: offset + start % length..offset + start % length + (end - start),
                shared: self.shared(line).collect(),
            }
        })
    }

    fn offset(&self, axis: usize) -> usize {
        self.lengths[..axis].iter().sum()
    }
}
