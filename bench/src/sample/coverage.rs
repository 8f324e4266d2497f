//! One client's coverage: the share of its view that is fresh, and its worst second.

/// One client's coverage, second by second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coverage {
    second: u64,
    fresh: u64,
    pairs: u64,
    /// Of the seconds that are over.
    min: f64,
    fresh_total: u64,
    pairs_total: u64,
}

/// What one client's coverage came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CoverageCounts {
    /// Share of the fresh in the worst second.
    pub(crate) min: f64,
    pub(crate) fresh: u64,
    pub(crate) pairs: u64,
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            second: 0,
            fresh: 0,
            pairs: 0,
            min: 1.0,
            fresh_total: 0,
            pairs_total: 0,
        }
    }
}

impl Coverage {
    /// Of `pairs` entities in view `fresh` were fresh, at `now_us`.
    pub(crate) fn record(&mut self, now_us: u64, fresh: u64, pairs: u64) {
        let second = now_us / 1_000_000;
        if second != self.second {
            self.close_second();
            self.second = second;
        }
        self.fresh += fresh;
        self.pairs += pairs;
    }

    fn close_second(&mut self) {
        if self.pairs > 0 {
            self.min = self.min.min(self.fresh as f64 / self.pairs as f64);
        }
        self.fresh_total += std::mem::take(&mut self.fresh);
        self.pairs_total += std::mem::take(&mut self.pairs);
    }

    /// The outcome. `None` if nothing was ever in view.
    pub(crate) fn finish(mut self) -> Option<CoverageCounts> {
        self.close_second();
        (self.pairs_total > 0).then_some(CoverageCounts {
            min: self.min,
            fresh: self.fresh_total,
            pairs: self.pairs_total,
        })
    }
}
