//! One subject's last states, and where it is shown between them.
//!
//! It is shown a little late, so that the moment shown lies between two states rather than behind the last one:
//! two ticks in the near tier, one period and a tick in the crowd.

use myriad_wire::track::Level;
use myriad_wire::{Pos, Tick};

/// States remembered. With a delay of a period and a tick, the moment shown lies behind the third last.
const SAMPLES: usize = 3;
/// Ticks by which a near subject is shown late.
pub(crate) const NEAR_DELAY_TICKS: u64 = 2;
/// Ticks by which a crowd subject is shown late, beyond the period of its level: for jitter.
const CROWD_SLACK_TICKS: u64 = 1;
/// Most ticks beyond the newest state for which movement is assumed to go on, also at most one period.
const EXTRAPOLATION_TICKS_MAX: u64 = 4;

/// Where a subject is shown, and of which moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// Where.
    pub position: Pos,
    /// The moment shown, as a tick with its fraction: now less the subject's interpolation delay.
    pub tick: f64,
    /// The moment lies behind the newest state: movement is assumed to go on for a while.
    pub extrapolated: bool,
    /// The moment lies between states of the near tier that follow each other, or behind the newest of all. A subject that has just come near is shown by the crowd's a while
    /// longer.
    pub near: bool,
}

/// By how many ticks a subject is shown late whose states come in `level` (`None`: not yet known).
#[must_use]
pub(crate) fn delay_ticks(level: Option<Level>) -> u64 {
    match level {
        None | Some(Level::NEAR) => NEAR_DELAY_TICKS,
        Some(level) => level.period_ticks() + CROWD_SLACK_TICKS,
    }
}

/// A state not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The state of this very tick is known.
    Duplicate,
    /// Older than the last, or than what has been told of the subject.
    Stale,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    position: Pos,
    /// The low half of the tick.
    tick: u32,
}

const NOT_YET: u8 = u8::MAX;

/// One subject's last states: one cache line. Ticks are the low halves of the real ones, compared by wrapping
/// distance.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Motion {
    /// Newest first; the first `count` are valid.
    samples: [Sample; SAMPLES],
    /// Only states of later ticks are taken: that of the newest sample, or of what has been told since.
    floor: u32,
    count: u8,
    /// Of the newest sample, or [`NOT_YET`].
    level: u8,
}

const _: () = assert!(size_of::<Motion>() == 64, "a state touches one cache line");

impl Motion {
    /// Entered at `position` in `tick`, which counts as its state of that tick.
    pub(crate) fn new(tick: Tick, position: Pos) -> Self {
        let tick = tick.0 as u32;
        Self {
            samples: [Sample { position, tick }; SAMPLES],
            floor: tick,
            count: 1,
            level: NOT_YET,
        }
    }

    /// Known from one state.
    pub(crate) fn of_state(tick: Tick, level: Level, position: Pos) -> Self {
        Self {
            level: level.index() as u8,
            ..Self::new(tick, position)
        }
    }

    /// Takes a state, unless it comes too late.
    #[inline]
    pub(crate) fn apply(&mut self, tick: u32, level: Level, position: Pos) -> Result<(), Refused> {
        if !is_later(tick, self.floor) {
            return Err(if tick == self.samples[0].tick {
                Refused::Duplicate
            } else {
                Refused::Stale
            });
        }
        self.samples[2] = self.samples[1];
        self.samples[1] = self.samples[0];
        self.samples[0] = Sample { position, tick };
        self.count = (self.count + 1).min(SAMPLES as u8);
        self.floor = tick;
        self.level = level.index() as u8;
        Ok(())
    }

    /// States of `tick` and before come too late from now on.
    pub(crate) fn refuse_through(&mut self, tick: Tick) {
        let tick = tick.0 as u32;
        if is_later(tick, self.floor) {
            self.floor = tick;
        }
    }

    /// States before `tick` come too late from now on.
    pub(crate) fn refuse_before(&mut self, tick: Tick) {
        self.refuse_through(tick - 1);
    }

    #[inline]
    pub(crate) fn position(&self) -> Pos {
        self.samples[0].position
    }

    #[inline]
    pub(crate) fn level(&self) -> Option<Level> {
        Level::new(self.level)
    }

    /// The newest sample's tick, which is not later than `newest`.
    #[inline]
    pub(crate) fn tick(&self, newest: Tick) -> Tick {
        newest - u64::from((newest.0 as u32).wrapping_sub(self.samples[0].tick))
    }

    /// The states known, newest first.
    pub(crate) fn samples(&self, newest: Tick) -> impl Iterator<Item = (Tick, Pos)> {
        let valid = &self.samples[..usize::from(self.count)];
        valid.iter().map(move |sample| {
            let age = (newest.0 as u32).wrapping_sub(sample.tick);
            (newest - u64::from(age), sample.position)
        })
    }

    /// Where it is shown at `tick_now`, of which the newest tick heard of is `newest`.
    #[inline]
    pub(crate) fn shown(&self, newest: Tick, tick_now: f64) -> Shown {
        let level = self.level();
        let near = level == Some(Level::NEAR);
        let tick = tick_now - delay_ticks(level) as f64;
        let last = &self.samples[0];
        // Ticks behind (negative: before) the newest sample.
        let beyond = tick - self.tick(newest).0 as f64;
        let valid = &self.samples[..usize::from(self.count)];
        let [_, older, ..] = valid else {
            return Shown {
                position: last.position,
                tick,
                extrapolated: beyond > 0.0,
                near,
            };
        };
        if beyond > 0.0 {
            let period = level.map_or(1, Level::period_ticks).min(EXTRAPOLATION_TICKS_MAX);
            return Shown {
                position: between(older, last, 1.0 + beyond.min(period as f64) / span(older, last)),
                tick,
                extrapolated: true,
                near,
            };
        }
        let before = -beyond;
        let pair = valid
            .windows(2)
            .map(|pair| (&pair[1], &pair[0]))
            .find(|(older, _)| before <= span(older, last));
        let position = match pair {
            Some((older, newer)) => {
                let back = before - f64::from(last.tick.wrapping_sub(newer.tick));
                between(older, newer, 1.0 - back / span(older, newer))
            }
            None => valid[valid.len() - 1].position,
        };
        Shown {
            position,
            tick,
            extrapolated: false,
            near,
        }
    }
}

/// Asks for a cache line that will be touched soon.
#[inline]
pub(crate) fn prefetch<T>(soon: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, and it is only a hint: it reads and writes nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(soon.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = soon;
}

/// Whether `tick` comes after `other`.
#[inline]
fn is_later(tick: u32, other: u32) -> bool {
    tick.wrapping_sub(other) as i32 > 0
}

/// Ticks from one sample to a later one: at least 1.
fn span(older: &Sample, newer: &Sample) -> f64 {
    f64::from(newer.tick.wrapping_sub(older.tick))
}

/// On the line through two samples, `at` 0 at the older and 1 at the newer.
fn between(older: &Sample, newer: &Sample, at: f64) -> Pos {
    let axis = |a: i32, b: i32| (f64::from(a) + (f64::from(b) - f64::from(a)) * at).round() as i32;
    Pos {
        x: axis(older.position.x, newer.position.x),
        y: axis(older.position.y, newer.position.y),
        z: axis(older.position.z, newer.position.z),
    }
}
