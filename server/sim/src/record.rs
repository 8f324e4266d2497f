//! What a run leaves behind: the last things that happened, a digest of everything, and the outcome.

use crate::coverage::Coverage;
use std::collections::VecDeque;
use std::fmt;

/// How many of the last things are kept.
const LAST_MAX: usize = 60;

/// A run in which nothing was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The seed.
    pub seed: u64,
    /// A digest of every byte that was sent, and of when. The same seed gives the same digest.
    pub digest: u64,
    /// Events in virtual time.
    pub steps: u64,
    /// Ticks of the space.
    pub ticks: u64,
    /// What was exercised.
    pub coverage: Coverage,
}

/// A run in which something was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The event, counted from 1, after which it was noticed.
    pub step: u64,
    /// When, in microseconds of virtual time.
    pub at_us: u64,
    /// What was wrong.
    pub message: String,
    /// What happened last, oldest first.
    pub last: Vec<String>,
    /// What the simulator must be told beside the seed, to do it again.
    pub options: &'static str,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {} is wrong at step {}, {:.6} s: {}",
            self.seed,
            self.step,
            self.at_us as f64 / 1e6,
            self.message
        )?;
        for line in &self.last {
            writeln!(f, "    {line}")?;
        }
        write!(
            f,
            "to see it again: cargo xtask sim --seeds 1 --from {} {}",
            self.seed, self.options
        )
    }
}

impl std::error::Error for Failure {}

/// The last things that happened, in words.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    lines: VecDeque<String>,
}

impl Trail {
    pub(crate) fn note(&mut self, at_us: u64, what: fmt::Arguments) {
        if self.lines.len() == LAST_MAX {
            self.lines.pop_front();
        }
        let line = format!("{:>10.6} s  {what}", at_us as f64 / 1e6);
        self.lines.push_back(line);
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

/// FNV-1a over everything that was sent.
#[derive(Debug)]
pub(crate) struct Digest(u64);

impl Digest {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn put(&mut self, at_us: u64, bytes: &[u8]) {
        let eat = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        self.0 = at_us.to_le_bytes().iter().chain(bytes).fold(self.0, eat);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0
    }
}
