//! When a space must get a new clock so that its tick numbers never go back: pure decisions over one record.

use bincode::{Decode, Encode};
use myriad_wire::{SpaceClock, Tick};

/// A running space tells the directory its tick at least this often, in seconds.
pub const CLOCK_NOTE_SECONDS_MAX: f64 = 1.0;

/// Ticks may have run for this long after the last that was noted, in seconds: the interval of the notes, and
/// as much again for a note that was late.
const UNNOTED_SECONDS: f64 = 2.0 * CLOCK_NOTE_SECONDS_MAX;

/// What the directory remembers of a space's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SpaceRecord {
    /// The clock.
    pub(crate) clock: SpaceClock,
    /// The last tick known to have run.
    pub(crate) watermark: Tick,
    /// The space has not been closed: ticks above the watermark may have run.
    pub(crate) running: bool,
}

impl SpaceRecord {
    /// A new space, whose tick 0 is due now.
    pub(crate) fn new(hz: f64, now_us: u64) -> Self {
        Self {
            clock: SpaceClock::new(now_us, hz),
            watermark: Tick(0),
            running: true,
        }
    }

    /// Whether `hz` is the clock's rate, to the thousandth.
    pub(crate) fn runs_at(&self, hz: f64) -> bool {
        SpaceClock::new(self.clock.origin_us, hz).rate_mhz == self.clock.rate_mhz
    }

    /// The highest tick that may have run.
    pub(crate) fn ceiling(&self) -> Tick {
        if self.running {
            self.watermark + self.clock.ticks_in(UNNOTED_SECONDS)
        } else {
            self.watermark
        }
    }

    /// The record for a space that starts again at `now_us`, after all who ran it have ended.
    pub(crate) fn restarted(self, hz: f64, now_us: u64) -> Self {
        let current = self.clock.tick_at(now_us);
        let clock = if self.runs_at(hz) && current > self.ceiling() {
            self.clock
        } else {
            SpaceClock {
                base: self.ceiling().max(current) + 1,
                ..SpaceClock::new(now_us, hz)
            }
        };
        Self {
            clock,
            watermark: clock.tick_at(now_us),
            running: true,
        }
    }

    /// The record after `tick` has run.
    pub(crate) fn noted(self, tick: Tick) -> Self {
        Self {
            watermark: self.watermark.max(tick),
            running: true,
            ..self
        }
    }

    /// The record after a clean stop, with `tick` the last that ran.
    pub(crate) fn closed(self, tick: Tick) -> Self {
        Self {
            watermark: self.watermark.max(tick),
            running: false,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW_US: u64 = 1_700_000_000_000_000;
    const SECOND_US: u64 = 1_000_000;

    /// A space that started at [`NOW_US`] with 10 Hz and was last heard of ten seconds later.
    fn ten_seconds_old() -> SpaceRecord {
        SpaceRecord::new(10.0, NOW_US).noted(Tick(100))
    }

    #[test]
    fn a_restart_keeps_the_clock() {
        let record = ten_seconds_old();
        let again = record.restarted(10.0, NOW_US + 13 * SECOND_US);
        assert_eq!(again.clock, record.clock);
        assert!(again.running);
    }

    #[test]
    fn a_clean_stop_keeps_the_clock_even_over_a_quick_restart() {
        let record = ten_seconds_old().closed(Tick(101));
        let again = record.restarted(10.0, NOW_US + 10 * SECOND_US + 200_000);
        assert_eq!(again.clock, record.clock);
    }

    #[test]
    fn a_quick_restart_after_a_crash_leaves_out_the_ticks_that_may_have_run() {
        let record = ten_seconds_old();
        let now_us = NOW_US + 11 * SECOND_US;
        let again = record.restarted(10.0, now_us);
        assert_eq!(again.clock.base, Tick(121));
        assert_eq!(again.clock.origin_us, now_us);
        assert_eq!(again.clock.rate_mhz, 10_000);
    }

    #[test]
    fn another_rate_goes_on_above_the_ticks_of_the_old_one() {
        let now_us = NOW_US + 60 * SECOND_US;
        let again = ten_seconds_old().restarted(30.0, now_us);
        assert_eq!(again.clock.base, Tick(601));
        assert_eq!(again.clock.due_us(Tick(602)), now_us + 33_333);
        let back = again.closed(Tick(700)).restarted(10.0, now_us + 10 * SECOND_US);
        assert_eq!(
            back.clock.base,
            Tick(902),
            "the 901st is due at that rate, though only 700 ran"
        );
    }

    #[test]
    fn a_wall_clock_that_went_back_an_hour_costs_no_ticks() {
        let again = ten_seconds_old().restarted(10.0, NOW_US - 3600 * SECOND_US);
        assert_eq!(again.clock.base, Tick(121));
        assert_eq!(again.clock.tick_at(NOW_US - 3600 * SECOND_US), Tick(121));
    }

    /// One run of a space: how long since the last, how far the wall clock jumps meanwhile, its rate, for how
    /// long it runs, and how it ends.
    #[derive(Clone, Debug)]
    struct Run {
        pause_us: u64,
        wall_jump_us: i64,
        hz: f64,
        runs_us: u64,
        clean: bool,
    }

    fn any_run() -> impl Strategy<Value = Run> {
        let seconds = 120 * SECOND_US;
        let jump = prop_oneof![3 => Just(0i64), 1 => -7_200_000_000i64..7_200_000_000];
        let rate = prop_oneof![Just(10.0), Just(20.0), 0.1..1000.0];
        (0..seconds, jump, rate, 0..seconds, any::<bool>()).prop_map(
            |(pause_us, wall_jump_us, hz, runs_us, clean)| Run {
                pause_us,
                wall_jump_us,
                hz,
                runs_us,
                clean,
            },
        )
    }

    proptest! {
        #[test]
        fn numbers_never_go_back(runs in proptest::collection::vec(any_run(), 1..12)) {
            let mut now_us = NOW_US;
            let mut record: Option<SpaceRecord> = None;
            let mut highest: Option<Tick> = None;
            for run in runs {
                now_us = (now_us + run.pause_us).checked_add_signed(run.wall_jump_us).expect("far from the ends");
                let mut current = match record {
                    None => SpaceRecord::new(run.hz, now_us),
                    Some(record) => record.restarted(run.hz, now_us),
                };
                let first = current.clock.tick_at(now_us);
                prop_assert!(highest.is_none_or(|highest| first > highest), "{first} after {highest:?}");
                // The rate is the one asked for, to the thousandth.
                prop_assert!((current.clock.hz() - run.hz).abs() < 0.001);
                // It notes its tick each second, and may run for almost another second after the last note.
                let note_us = (CLOCK_NOTE_SECONDS_MAX * 1e6) as u64;
                let noted_us = now_us + run.runs_us / note_us * note_us;
                current = current.noted(current.clock.tick_at(noted_us));
                now_us += run.runs_us;
                let last = current.clock.tick_at(now_us);
                if run.clean {
                    current = current.closed(last);
                }
                highest = Some(last.max(first));
                record = Some(current);
            }
        }
    }
}
