//! Time is a tick number; a space's clock says when each tick is due.

use bincode::de::Decoder;
use bincode::error::DecodeError;
use bincode::{Decode, Encode};
use std::fmt;
use std::ops::{Add, Sub};

/// The number of a tick of a space. Never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Tick(pub u64);

impl Tick {
    /// Ticks from `earlier` to `self`, zero if it is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Debug for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Add<u64> for Tick {
    type Output = Self;
    /// Saturates at the last tick: a number that a peer made up must not stop us.
    fn add(self, ticks: u64) -> Self {
        Self(self.0.saturating_add(ticks))
    }
}

impl Sub<u64> for Tick {
    type Output = Self;
    /// Saturates at tick 0.
    fn sub(self, ticks: u64) -> Self {
        Self(self.0.saturating_sub(ticks))
    }
}

/// Slowest and fastest rate of a space, in thousandths of a tick per second: 0.1 to 1000 Hz.
pub const RATE_MHZ: std::ops::RangeInclusive<u32> = 100..=1_000_000;

/// When each tick of a space is due: the same on every node and client. One with a rate out of [`RATE_MHZ`]
/// can't be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub struct SpaceClock {
    /// When tick `base` is due, in microseconds since the Unix epoch.
    pub origin_us: u64,
    /// The tick due at `origin_us`. Greater than zero once the rate of a living space has been changed.
    pub base: Tick,
    /// Ticks per second, in thousandths (10 Hz is 10,000), in [`RATE_MHZ`].
    pub rate_mhz: u32,
}

impl<Context> Decode<Context> for SpaceClock {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let clock = Self {
            origin_us: Decode::decode(decoder)?,
            base: Decode::decode(decoder)?,
            rate_mhz: Decode::decode(decoder)?,
        };
        if RATE_MHZ.contains(&clock.rate_mhz) {
            Ok(clock)
        } else {
            Err(DecodeError::Other("a tick rate lies between 0.1 and 1000 Hz"))
        }
    }
}

bincode::impl_borrow_decode!(SpaceClock);

impl SpaceClock {
    /// A clock whose tick 0 is due at `origin_us`, at `hz` ticks per second.
    ///
    /// # Panics
    /// If `hz` is not in `0.1..=1000`.
    #[must_use]
    pub fn new(origin_us: u64, hz: f64) -> Self {
        assert!(
            (0.1..=1000.0).contains(&hz),
            "a tick rate lies between 0.1 and 1000 Hz"
        );
        Self {
            origin_us,
            base: Tick(0),
            rate_mhz: (hz * 1000.0).round() as u32,
        }
    }

    /// When `tick` is due, in microseconds since the Unix epoch. Saturates at the ends of time.
    #[must_use]
    pub fn due_us(&self, tick: Tick) -> u64 {
        let ticks = i128::from(tick.0) - i128::from(self.base.0);
        let offset = (ticks * 1_000_000_000).div_euclid(i128::from(self.rate_mhz));
        (i128::from(self.origin_us) + offset).clamp(0, i128::from(u64::MAX)) as u64
    }

    /// The last tick that is due at `now_us`; `base` before the origin.
    #[must_use]
    pub fn tick_at(&self, now_us: u64) -> Tick {
        let elapsed = u128::from(now_us.saturating_sub(self.origin_us));
        let guess = self.base + (elapsed * u128::from(self.rate_mhz) / 1_000_000_000) as u64;
        // The due times are rounded down to whole microseconds; the next tick may already be due.
        if self.due_us(guess + 1) <= now_us {
            guess + 1
        } else {
            guess
        }
    }

    /// The length of a tick in microseconds, rounded down.
    #[must_use]
    pub fn period_us(&self) -> u64 {
        1_000_000_000 / u64::from(self.rate_mhz)
    }

    /// Ticks per second.
    #[must_use]
    pub fn hz(&self) -> f64 {
        f64::from(self.rate_mhz) / 1000.0
    }

    /// How many ticks `seconds` are, rounded up.
    #[must_use]
    pub fn ticks_in(&self, seconds: f64) -> u64 {
        (seconds * self.hz()).ceil().max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_tick_is_current_from_its_due_time_to_the_next(
            base in 0u64..1 << 40,
            elapsed in 0u64..1 << 40,
            rate_mhz in RATE_MHZ,
        ) {
            let clock = SpaceClock { origin_us: 1_700_000_000_000_000, base: Tick(base), rate_mhz };
            let tick = Tick(base + elapsed);
            prop_assert_eq!(clock.tick_at(clock.due_us(tick)), tick);
            prop_assert_eq!(clock.tick_at(clock.due_us(tick + 1) - 1), tick);
        }

        #[test]
        fn no_tick_or_time_that_a_peer_makes_up_stops_a_clock(origin_us: u64, base: u64, rate_mhz in RATE_MHZ, at: u64) {
            let clock = SpaceClock { origin_us, base: Tick(base), rate_mhz };
            prop_assert!(clock.tick_at(at) >= clock.base);
            prop_assert_eq!(clock.due_us(Tick(at)) >= origin_us, at >= base || origin_us == 0);
        }

        #[test]
        fn a_clock_that_could_divide_by_zero_can_not_be_decoded(rate_mhz: u32) {
            let clock = SpaceClock { origin_us: 1, base: Tick(2), rate_mhz };
            let decoded = codec::decode::<SpaceClock>(&codec::encode(&clock), 100);
            prop_assert_eq!(decoded.ok(), RATE_MHZ.contains(&rate_mhz).then_some(clock));
        }
    }

    #[test]
    fn a_clock_of_no_rate_is_refused() {
        let clock = SpaceClock {
            origin_us: 1,
            base: Tick(2),
            rate_mhz: 0,
        };
        assert!(codec::decode::<SpaceClock>(&codec::encode(&clock), 100).is_err());
    }

    #[test]
    fn ten_hertz_is_one_tick_every_hundred_milliseconds() {
        let clock = SpaceClock::new(5_000_000, 10.0);
        assert_eq!(clock.due_us(Tick(3)), 5_300_000);
        assert_eq!(clock.period_us(), 100_000);
        assert_eq!(clock.ticks_in(0.25), 3);
        assert_eq!(
            clock.tick_at(0),
            Tick(0),
            "before the origin it is the first tick"
        );
    }
}
