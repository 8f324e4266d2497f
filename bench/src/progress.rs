//! What people see while a run lasts: a bar on a terminal, a line every few seconds elsewhere, or nothing.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Time between two plain lines.
const LINE_PERIOD: Duration = Duration::from_secs(5);

/// Shows a run's progress.
#[derive(Debug)]
pub struct Progress {
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    Silent,
    Lines(Mutex<Option<Instant>>),
    Bar(ProgressBar),
}

/// A run, as it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Live {
    /// What it does now.
    pub phase: Phase,
    /// Seconds of this phase that are over.
    pub elapsed_s: f64,
    /// Seconds that this phase lasts, or may last.
    pub total_s: f64,
    /// Clients whose avatar is in the world.
    pub joined: u32,
    /// Clients asked for.
    pub clients: u32,
    /// Clients that were lost.
    pub lost: u32,
    /// Staleness in the last second in ms: median and 99th percentile.
    pub staleness_ms: Option<(f64, f64)>,
    /// Bytes received in the last second by all clients.
    pub bytes_per_s: f64,
}

/// What a run does now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Clients connect and join.
    #[default]
    Joining,
    /// Everybody walks; nothing is measured yet.
    Warmup,
    /// The measurement.
    Measuring,
    /// Everybody stands; what is still under way arrives.
    Settling,
}

impl Phase {
    /// For people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Warmup => "warming up",
            Self::Measuring => "measuring",
            Self::Settling => "settling",
        }
    }
}

impl Progress {
    /// A bar if the error stream is a terminal, else plain lines on it.
    #[must_use]
    pub fn for_people() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self {
                sink: Sink::Lines(Mutex::new(None)),
            };
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(5));
        let style = ProgressStyle::with_template("{prefix:>10} [{bar:30}] {msg}")
            .expect("the template is well-formed")
            .progress_chars("=> ");
        bar.set_style(style);
        Self { sink: Sink::Bar(bar) }
    }

    /// Nothing is shown.
    #[must_use]
    pub fn silent() -> Self {
        Self { sink: Sink::Silent }
    }

    /// Shows how the run stands. A few times a second is enough.
    pub fn show(&self, live: &Live) {
        match &self.sink {
            Sink::Silent => {}
            Sink::Bar(bar) => {
                bar.set_prefix(live.phase.label());
                bar.set_length((live.total_s * 10.0) as u64);
                bar.set_position((live.elapsed_s * 10.0) as u64);
                bar.set_message(live.to_string());
            }
            Sink::Lines(last) => {
                let mut last = last.lock().expect("nothing panics while it holds this lock");
                if last.is_none_or(|at| at.elapsed() >= LINE_PERIOD) {
                    *last = Some(Instant::now());
                    eprintln!(
                        "{} {:.0}/{:.0} s: {live}",
                        live.phase.label(),
                        live.elapsed_s,
                        live.total_s
                    );
                }
            }
        }
    }

    /// Takes the bar off the terminal.
    pub fn finish(&self) {
        if let Sink::Bar(bar) = &self.sink {
            bar.finish_and_clear();
        }
    }
}

impl std::fmt::Display for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} joined", self.joined, self.clients)?;
        if self.lost > 0 {
            write!(f, ", {} LOST", self.lost)?;
        }
        if let Some((p50, p99)) = self.staleness_ms {
            write!(f, ", staleness p50 {p50:.0} ms p99 {p99:.0} ms")?;
        }
        write!(f, ", {:.2} MB/s", self.bytes_per_s / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_people_want_to_know() {
        let live = Live {
            joined: 9,
            clients: 10,
            lost: 1,
            staleness_ms: Some((51.0, 120.0)),
            bytes_per_s: 2_500_000.0,
            ..Live::default()
        };
        let text = live.to_string();
        assert_eq!(
            text,
            "9/10 joined, 1 LOST, staleness p50 51 ms p99 120 ms, 2.50 MB/s"
        );
    }
}
