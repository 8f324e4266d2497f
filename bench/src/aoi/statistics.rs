//! Figures of a list of samples, exact.

/// Samples in ascending order.
#[derive(Clone, Debug)]
pub(super) struct Sorted(Vec<f64>);

impl Sorted {
    /// # Panics
    /// Without samples.
    pub(super) fn new(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        assert!(!samples.is_empty(), "there is something to tell of");
        samples.sort_unstable_by(f64::total_cmp);
        Self(samples)
    }

    /// The smallest sample that at least this share (0 to 1) of them does not exceed.
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let rank = (self.0.len() as f64 * share).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    pub(super) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(super) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    pub(super) fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_few_samples_are_exact() {
        let few = Sorted::new([3.0, 1.0, 2.0]);
        assert_eq!((few.median(), few.mean(), few.max()), (2.0, 2.0, 3.0));
        assert_eq!(few.quantile(0.0), 1.0);
    }

    #[test]
    fn the_999th_of_a_thousand_is_the_second_largest() {
        let many = Sorted::new((1..=2000).map(f64::from));
        assert_eq!(many.quantile(0.999), 1998.0);
    }
}
