//! Which tick it is at the server, told from when payloads arrive. No clocks need to agree: the smallest
//! difference between arrival and due time over a window is taken for the way's length, so what is called *now*
//! here is one quickest journey behind the server's now.

use crate::limits::CLOCK_WINDOW_US;
use myriad_wire::{SpaceClock, Tick};

/// The mapping of one session.
#[derive(Clone, Debug)]
pub(crate) struct ClockMap {
    clock: SpaceClock,
    /// Smallest arrival minus due time in the running half window, and in the one before.
    current: Option<i64>,
    previous: Option<i64>,
    /// When the running half window began.
    began_us: u64,
}

impl ClockMap {
    /// For a space with this clock, whose rate must not be zero.
    pub(crate) fn new(clock: SpaceClock) -> Self {
        assert!(clock.rate_mhz > 0, "checked when the clock was decoded");
        Self {
            clock,
            current: None,
            previous: None,
            began_us: 0,
        }
    }

    pub(crate) fn period_us(&self) -> u64 {
        self.clock.period_us()
    }

    /// Something of `tick` arrived.
    pub(crate) fn note(&mut self, tick: Tick, now_us: u64) {
        if self.current.is_none() || now_us.saturating_sub(self.began_us) >= CLOCK_WINDOW_US / 2 {
            self.previous = self.current.take();
            self.began_us = now_us;
        }
        let difference = i128::from(now_us) - i128::from(self.clock.due_us(tick));
        let difference =
            i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX });
        self.current = Some(self.current.map_or(difference, |least| least.min(difference)));
    }

    /// Local time minus the space's time, the quickest journey included.
    pub(crate) fn offset_us(&self) -> Option<i64> {
        match (self.current, self.previous) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The tick at `now_us`, with its fraction. `None` before anything arrived.
    pub(crate) fn tick_now(&self, now_us: u64) -> Option<f64> {
        let space_us = i128::from(now_us) - i128::from(self.offset_us()?);
        let since_origin = (space_us - i128::from(self.clock.origin_us)) as f64;
        Some(self.clock.base.0 as f64 + since_origin * f64::from(self.clock.rate_mhz) / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: SpaceClock = SpaceClock {
        origin_us: 1_700_000_000_000_000,
        base: Tick(0),
        rate_mhz: 10_000,
    };

    #[test]
    fn the_quickest_arrival_of_the_window_sets_the_clock() {
        let mut map = ClockMap::new(CLOCK);
        assert_eq!(map.tick_now(0), None);
        // The local clock is entirely another one, and the journey takes 30 to 70 ms.
        for (tick, journey_us) in [(100, 50_000), (101, 30_000), (102, 70_000)] {
            map.note(Tick(tick), 5_000_000 + tick * 100_000 + journey_us);
        }
        let now = map
            .tick_now(5_000_000 + 30_000 + 10_350_000)
            .expect("something arrived");
        assert!((now - 103.5).abs() < 1e-6, "{now}");
    }

    #[test]
    fn a_slower_way_is_believed_after_the_window() {
        let mut map = ClockMap::new(CLOCK);
        let note = |map: &mut ClockMap, tick: u64, journey_us: u64| {
            map.note(Tick(tick), tick * 100_000 + journey_us);
            map.offset_us().expect("noted") + CLOCK.origin_us as i64
        };
        assert_eq!(note(&mut map, 10, 10_000), 10_000);
        let mut offset = 0;
        for tick in 11..11 + CLOCK_WINDOW_US / 100_000 + 1 {
            offset = note(&mut map, tick, 40_000);
        }
        assert_eq!(offset, 40_000);
    }

    #[test]
    fn absurd_ticks_and_clocks_do_no_harm() {
        let mut map = ClockMap::new(SpaceClock {
            origin_us: u64::MAX,
            base: Tick(u64::MAX),
            rate_mhz: 1,
        });
        map.note(Tick(0), u64::MAX);
        map.note(Tick(u64::MAX), 0);
        assert!(map.tick_now(u64::MAX).is_some());
    }
}
