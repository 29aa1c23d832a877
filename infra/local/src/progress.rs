use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use crate::stopwatch::Stopwatch;

/// Shows how far a long command is: a bar on a terminal, a plain line now and then elsewhere.
/// Always on standard error.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    started: Stopwatch,
    said: Duration,
    doing: &'static str,
    of: &'static str,
}

/// Between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

impl Progress {
    /// `total` is what `at` will count up to, where that is known.
    pub(crate) fn new(doing: &'static str, of: &'static str, total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let template = if total.is_some() {
                "{prefix:>10} [{bar:32}] {percent:>3}%  {msg}"
            } else {
                "{prefix:>10} {spinner} {msg}"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(doing);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            bar,
            started: Stopwatch::start(),
            said: Duration::ZERO,
            doing,
            of,
        }
    }

    /// Shows that the work stands at `at` of the total, with `count` things done.
    pub(crate) fn set(&mut self, at: u64, total: Option<u64>, count: u64) {
        let elapsed = self.started.elapsed();
        let rate = u128::from(count) * 1_000 / elapsed.as_millis().max(1);
        let mut message = format!(
            "{} {}, {}/s",
            HumanCount(count),
            self.of,
            HumanCount(u64::try_from(rate).unwrap_or(u64::MAX))
        );
        if let Some(left) = total.and_then(|total| left(elapsed, at, total)) {
            message = format!("{message}, {} left", HumanDuration(left));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(at);
            bar.set_message(message);
        } else if elapsed - self.said >= PLAIN_EVERY {
            self.said = elapsed;
            anstream::eprintln!("{}: {message}", self.doing);
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The time left at the present rate; `None` before anything can be said.
fn left(elapsed: Duration, at: u64, total: u64) -> Option<Duration> {
    if at == 0 || elapsed < Duration::from_secs(1) {
        return None;
    }
    let ms = elapsed.as_millis() * u128::from(total.saturating_sub(at)) / u128::from(at);
    Some(Duration::from_millis(u64::try_from(ms).ok()?))
}
