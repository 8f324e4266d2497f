//! Counts of milliseconds in fixed steps: cheap to fill, and merged by adding.
//!
//! A run records some ten million stalenesses a second, so a sample is one increment of an array. The step is
//! the resolution: a percentile is told as the upper end of its step, never better than it was. What lies beyond
//! the last step counts there, and the largest sample is kept exactly.

use serde::Serialize;

/// Steps of a histogram. With the default step of 1 ms it reaches 20 s; what is beyond counts as that much.
const STEPS: usize = 20_000;

/// Counts by milliseconds (or any other unit that its owner says), in steps of one.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Empty until the first sample: an idle histogram of a thousand clients costs nothing.
    counts: Vec<u64>,
    total: u64,
    max: f64,
}

/// Three figures of a histogram, as the report tells them. In the histogram's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half of the samples are at most this.
    pub p50: f64,
    /// 99 % of the samples are at most this.
    pub p99: f64,
    /// No sample is larger.
    pub max: f64,
}

impl Histogram {
    /// Without samples.
    #[must_use]
    pub fn new() -> Self {
        Self {
            counts: Vec::new(),
            total: 0,
            max: 0.0,
        }
    }

    /// `count` samples of `value`. A negative one counts as zero.
    pub fn record(&mut self, value: f64, count: u64) {
        if count == 0 {
            return;
        }
        if self.counts.is_empty() {
            self.counts = vec![0; STEPS];
        }
        // `as` saturates: a negative value lands in the first step, a huge one in the last.
        let step = (value as usize).min(STEPS - 1);
        self.counts[step] += count;
        self.total += count;
        self.max = self.max.max(value);
    }

    /// All samples of `other`, too.
    pub fn merge(&mut self, other: &Self) {
        if other.total == 0 {
            return;
        }
        if self.counts.is_empty() {
            self.counts = vec![0; STEPS];
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many samples there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest sample, exact; zero without samples.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The upper end of the step that holds the `share`-th (0 to 1) sample, never above the largest one. `None`
    /// without samples.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        if self.total == 0 {
            return None;
        }
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total);
        let mut seen = 0;
        for (step, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let last = step + 1 == STEPS;
                return Some(if last {
                    self.max
                } else {
                    self.max.min((step + 1) as f64)
                });
            }
        }
        unreachable!("the counts add up to the total")
    }

    /// Median, 99th percentile and maximum, `None` without samples, each times `unit`.
    #[must_use]
    pub fn percentiles(&self, unit: f64) -> Option<Percentiles> {
        Some(Percentiles {
            p50: self.quantile(0.5)? * unit,
            p99: self.quantile(0.99)? * unit,
            max: self.max * unit,
        })
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_upper_end_of_its_step() {
        let mut histogram = Histogram::new();
        histogram.record(10.2, 98);
        histogram.record(250.0, 1);
        histogram.record(900.5, 1);
        assert_eq!(histogram.quantile(0.5), Some(11.0));
        assert_eq!(histogram.quantile(0.99), Some(251.0));
        assert_eq!(histogram.quantile(1.0), Some(900.5));
    }

    #[test]
    fn samples_beyond_the_last_step_are_told_by_the_largest_one() {
        let mut histogram = Histogram::new();
        histogram.record(1e9, 3);
        assert_eq!(histogram.quantile(0.5), Some(1e9));
    }

    #[test]
    fn merging_is_the_same_as_recording_into_one() {
        let (mut a, mut b, mut both) = (Histogram::new(), Histogram::new(), Histogram::new());
        for value in 0..1000u32 {
            let value = f64::from(value * 7 % 501);
            if value < 200.0 { &mut a } else { &mut b }.record(value, 1);
            both.record(value, 1);
        }
        a.merge(&b);
        assert_eq!(a.percentiles(1.0), both.percentiles(1.0));
        assert_eq!(a.total(), 1000);
    }

    #[test]
    fn without_samples_there_is_no_percentile() {
        assert_eq!(Histogram::new().percentiles(1.0), None);
    }
}
