//! What people see while a measurement lasts: a bar on a terminal, a line every few seconds elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between two plain lines, and before the first: short runs say nothing.
const LINE_PERIOD: Duration = Duration::from_secs(5);

/// Counts the ticks of one part of a run.
#[derive(Debug)]
pub(super) struct Ticks {
    what: String,
    done: u64,
    total: u64,
    bar: Option<ProgressBar>,
    line: Instant,
}

impl Ticks {
    pub(super) fn new(what: impl Into<String>, total: u32) -> Self {
        let what = what.into();
        let bar = std::io::stderr().is_terminal().then(|| bar(&what, total));
        Self {
            what,
            done: 0,
            total: total.into(),
            bar,
            line: Instant::now(),
        }
    }

    /// One tick is over.
    pub(super) fn step(&mut self) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.line.elapsed() >= LINE_PERIOD {
            self.line = Instant::now();
            eprintln!("{}: {} of {} ticks", self.what, self.done, self.total);
        }
    }
}

impl Drop for Ticks {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &str, total: u32) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total.into()), ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template("{prefix:>24} [{bar:30}] {pos} of {len} ticks, {eta} left")
        .expect("the template is well-formed")
        .progress_chars("=> ");
    bar.set_style(style);
    bar.set_prefix(what.to_owned());
    bar
}
