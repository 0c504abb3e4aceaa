//! Progress bars on stderr.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use perceiver_pipelines::Progress;

/// Work that ends sooner shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// All bars on the terminal; `output` suspends them to print lines.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A bar with rate and remaining time; hidden without a terminal.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    start: Instant,
    is_wanted: bool,
}

impl Bar {
    pub(crate) fn new(what: &'static str, unit: &str, is_wanted: bool) -> Self {
        let template =
            format!("{{msg}} {{bar:30}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left");
        let style = ProgressStyle::with_template(&template);
        let bar = ProgressBar::hidden()
            .with_message(what)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, start: Instant::now(), is_wanted }
    }

    /// Shows the progress.
    pub(crate) fn at(&mut self, progress: Progress) {
        if self.is_wanted && self.start.elapsed() > PATIENCE && progress.done < progress.total {
            self.is_wanted = false;
            self.bar = BARS.add(self.bar.clone());
        }
        self.bar.set_length(progress.total as u64);
        self.bar.set_position(progress.done as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Writes a line above the bars.
pub(crate) fn beside_bars<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}
