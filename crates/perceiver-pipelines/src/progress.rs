/// Progress of a long run.
///
/// `run_with_progress` passes it to the caller's function, in order and on the caller's thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Number of finished pieces of work.
    pub done: usize,
    /// Number of all pieces.
    pub total: usize,
}
