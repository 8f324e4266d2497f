//! How many datagrams a client may still send.

use std::time::{Duration, Instant};

/// Earned by time, saved up for at most a second.
#[derive(Debug)]
pub(crate) struct Allowance {
    per_s: u32,
    /// In thousandths of a datagram.
    saved: u64,
    since: Instant,
}

impl Allowance {
    pub(crate) fn new(per_s: u32) -> Self {
        Self {
            per_s,
            saved: u64::from(per_s) * 1000,
            since: Instant::now(),
        }
    }

    /// Whether one more may pass at `now`.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        // Whole milliseconds only, so that the rest of one is not lost to a client that sends often.
        let elapsed = now.saturating_duration_since(self.since).as_millis() as u64;
        self.since += Duration::from_millis(elapsed);
        let most = u64::from(self.per_s) * 1000;
        self.saved = elapsed
            .saturating_mul(u64::from(self.per_s))
            .saturating_add(self.saved)
            .min(most);
        let allowed = self.saved >= 1000;
        if allowed {
            self.saved -= 1000;
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_send_its_rate_and_a_second_of_it_at_once() {
        let mut allowance = Allowance::new(20);
        let start = allowance.since;
        let allowed = |allowance: &mut Allowance, now| (0..100).filter(|_| allowance.take(now)).count();
        assert_eq!(allowed(&mut allowance, start), 20);
        assert_eq!(allowed(&mut allowance, start + Duration::from_millis(500)), 10);
        assert_eq!(allowed(&mut allowance, start + Duration::from_secs(3600)), 20);
        let mut passed = 0;
        for step in 1..=10_000u64 {
            let now = start + Duration::from_secs(3600) + Duration::from_micros(step * 900);
            passed += usize::from(allowance.take(now));
        }
        assert_eq!(passed, 180, "nine seconds' worth, whatever the steps");
    }
}
