/// How far a long piece of work has come.
///
/// Pipelines that take a while call a function of the caller's with it, in order, from the thread
/// that they were called on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Pieces that are done.
    pub done: usize,
    /// Pieces in all.
    pub total: usize,
}
