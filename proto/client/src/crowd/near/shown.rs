//! Where a near subject, or one of the crowd, is shown, and of which moment.
//!
//! **Which moment is shown.** A near subject is shown [`NEAR_DELAY_TICKS`] late, one of the crowd a period and a tick,
//! and a subject that goes from one to the other must neither jump nor run backwards. So it is shown on one line
//! through all that is known of it, near states where there are some and the track's cells before and behind them, and
//! only the moment on that line differs: when near states begin, it catches up by half a tick per tick; when they end,
//! it waits at the last one until the crowd's moment has come there. Chunks are kept for so long, though the subject
//! counts as one of the crowd again as soon as a newer tick was heard of without it.

use crate::motion::{NEAR_DELAY_TICKS, Shown};
use myriad_wire::crowd::SAMPLES;
use myriad_wire::{Pos, Tick};

/// By how much the moment shown catches up, in ticks per tick.
const CATCH_UP: f64 = 0.5;
/// Most ticks beyond the newest cell for which movement is assumed to go on.
const EXTRAPOLATION_TICKS_MAX: f64 = 4.0;
/// Near states that a subject is shown between: with the crowd's delay, the moment shown lies behind so many.
const STATES_MAX: usize = 12;

/// A cell or state on the way of a subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waypoint {
    pub(crate) tick: f64,
    pub(crate) position: Pos,
}

/// The near states of one subject.
#[derive(Clone, Copy, Debug)]
pub(crate) struct States {
    /// Newest first; the first `count` are valid.
    states: [Waypoint; STATES_MAX],
    count: usize,
    /// From when on the moment shown catches up: a tick with its fraction.
    since: f64,
}

impl States {
    /// Of ticks and positions, newest first; the moment shown begins to catch up with the first of them or `began`.
    /// `None` if there are none.
    pub(super) fn of(
        samples: impl Iterator<Item = (Tick, Pos)>,
        began: Option<f64>,
        period: u32,
    ) -> Option<Self> {
        let mut states = [Waypoint {
            tick: 0.0,
            position: Pos::default(),
        }; STATES_MAX];
        let (mut count, mut runs) = (0, Runs::default());
        for (tick, position) in samples {
            if let Some(place) = states.get_mut(count) {
                *place = Waypoint {
                    tick: tick.0 as f64,
                    position,
                };
                count += 1;
            }
            runs.add(tick.0 as f64);
            if runs.is_settled(period) {
                break;
            }
        }
        (count > 0).then(|| Self {
            states,
            count,
            since: runs.since(began, period),
        })
    }
}

/// The runs of ticks of a subject's states, from the newest back: between two of them more than
/// [`NEAR_DELAY_TICKS`] are missing.
#[derive(Default)]
struct Runs {
    /// First and last tick of each, newest first; of older ones than these nothing is shown any more.
    runs: [(f64, f64); 4],
    count: usize,
}

impl Runs {
    fn add(&mut self, tick: f64) {
        if let Some((first, _)) = self.count.checked_sub(1).and_then(|last| self.runs.get_mut(last))
            && *first - tick <= NEAR_DELAY_TICKS as f64
        {
            *first = tick;
        } else {
            if let Some(run) = self.runs.get_mut(self.count) {
                *run = (tick, tick);
            }
            self.count += 1;
        }
    }

    /// The moment shown has caught up, and lies behind the first state looked at: no older ones matter.
    fn is_settled(&self, period: u32) -> bool {
        let (first, last) = self.runs[0];
        let caught_up = (crowd_delay(period) - NEAR_DELAY_TICKS as f64) / CATCH_UP;
        self.count == 1 && last - first >= caught_up.max(NEAR_DELAY_TICKS as f64 + 1.0)
    }

    /// From when on the moment shown catches up: from the first state on, or `began`, and after a gap from where the
    /// subject has been shown in the meantime.
    fn since(&self, began: Option<f64>, period: u32) -> f64 {
        let known = &self.runs[..self.count.min(self.runs.len())];
        let mut before: Option<(f64, f64)> = None;
        for (first, last) in known.iter().rev() {
            let since = match before {
                None => began.unwrap_or(*first),
                Some((since, ended)) => {
                    let delay = first - moment(*first, ended, since, period);
                    first - (crowd_delay(period) - delay) / CATCH_UP
                }
            };
            before = Some((since, *last));
        }
        before.map_or(0.0, |(since, _)| since)
    }
}

/// By how many ticks members of tracks are shown late: for the next telling, and jitter.
pub(crate) fn crowd_delay(period: u32) -> f64 {
    f64::from(period) + 1.0
}

/// The moment shown of a subject whose newest near state is of `newest`, and whose near states began in `since`.
fn moment(now: f64, newest: f64, since: f64, period: u32) -> f64 {
    let crowd = crowd_delay(period);
    let delay =
        (crowd - (now - since) * CATCH_UP).clamp(NEAR_DELAY_TICKS as f64, crowd.max(NEAR_DELAY_TICKS as f64));
    (now - delay).min(newest.max(now - crowd))
}

/// Where a member of a track is shown at `now`. `cells` are the track's, newest first, at least one; `near` what is
/// known of it as a near one.
pub(crate) fn shown(cells: &[Waypoint], near: Option<&States>, now: f64, period: u32) -> Shown {
    let Some(near) = near else {
        let tick = now - crowd_delay(period);
        let beyond = f64::from(period).min(EXTRAPOLATION_TICKS_MAX);
        return along(cells, tick, beyond);
    };
    let states = &near.states[..near.count];
    // Between states that do not follow each other the track's cells know better.
    let apart = |pair: &[Waypoint]| pair[0].tick - pair[1].tick > NEAR_DELAY_TICKS as f64;
    let run = states
        .windows(2)
        .position(apart)
        .map_or(states.len(), |at| at + 1);
    let states = &states[..run];
    let (last, first) = (states[0].tick, states[run - 1].tick);
    let mut way = [cells[0]; STATES_MAX + SAMPLES];
    let newer = cells.iter().filter(|cell| cell.tick > last);
    let older = cells.iter().filter(|cell| cell.tick < first);
    let mut length = 0;
    for waypoint in newer.chain(states).chain(older) {
        way[length] = *waypoint;
        length += 1;
    }
    let tick = moment(now, last, near.since, period);
    let follow = |pair: &[Waypoint]| {
        pair[0].tick - pair[1].tick <= 1.0 && (pair[1].tick..=pair[0].tick).contains(&tick)
    };
    let is_newest = tick >= last && way[0].tick == last;
    Shown {
        near: is_newest || states.windows(2).any(follow),
        ..along(&way[..length], tick, 0.0)
    }
}

/// On the line through `way`, newest first, and up to `beyond` ticks straight on.
fn along(way: &[Waypoint], tick: f64, beyond: f64) -> Shown {
    let last = way[0];
    let extrapolated = tick > last.tick;
    let pair = if extrapolated && beyond > 0.0 {
        way.first().zip(way.get(1))
    } else {
        way.windows(2)
            .map(|pair| (&pair[0], &pair[1]))
            .find(|(_, older)| tick >= older.tick)
    };
    let position = match pair {
        Some((newer, older)) => {
            let reach = if extrapolated { beyond } else { 0.0 };
            let span = (newer.tick - older.tick).max(1.0);
            between(older, newer, (tick.min(newer.tick + reach) - older.tick) / span)
        }
        None if extrapolated => last.position,
        None => way[way.len() - 1].position,
    };
    Shown {
        position,
        tick,
        extrapolated,
        near: false,
    }
}

fn between(older: &Waypoint, newer: &Waypoint, at: f64) -> Pos {
    let axis = |a: i32, b: i32| (f64::from(a) + (f64::from(b) - f64::from(a)) * at).round() as i32;
    Pos {
        x: axis(older.position.x, newer.position.x),
        y: axis(older.position.y, newer.position.y),
        z: axis(older.position.z, newer.position.z),
    }
}
