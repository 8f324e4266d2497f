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
pub struct SpaceRecord {
    /// The clock.
    pub clock: SpaceClock,
    /// The last tick known to have run.
    pub watermark: Tick,
    /// The space has not been closed: ticks above the watermark may have run.
    pub running: bool,
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
        let wanted = SpaceClock::new(now_us, hz);
        let clock = if wanted.rate_mhz == self.clock.rate_mhz && current > self.ceiling() {
            self.clock
        } else {
            SpaceClock {
                base: self.ceiling().max(current) + 1,
                ..wanted
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
