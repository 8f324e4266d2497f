//! Where a client shows a subject, compared with where it truly was at the moment that the client says it shows
//! ([`myriad_client::Shown::tick`]): now less the interpolation delay, and less the quickest journey, by which a client
//! that shares no clock with its server is behind it. By how much that is, is told beside it.

use super::{Moment, STEPS_PER_METRE, Tally, UNITS};
use crate::truth::{Row, TickTruth};
use myriad_client::Subject;

/// What stays the same for all subjects of one client at one moment.
pub(super) struct ShownNow {
    /// The client's clock: one quickest journey behind the space's.
    tick_now: f64,
}

impl ShownNow {
    pub(super) fn new(moment: &Moment<'_>) -> Option<Self> {
        Some(Self {
            tick_now: moment.client.tick_now(moment.now_us)?,
        })
    }

    /// By how many milliseconds the client's clock is behind the space's.
    pub(super) fn behind_ms(&self, moment: &Moment<'_>) -> f64 {
        let tick = moment.clock.tick_at(moment.now_us);
        let (start_us, end_us) = (moment.clock.due_us(tick), moment.clock.due_us(tick + 1));
        let period_us = end_us.saturating_sub(start_us).max(1) as f64;
        let share = moment.now_us.saturating_sub(start_us) as f64 / period_us;
        (tick.0 as f64 + share - self.tick_now).max(0.0) * period_us / 1000.0
    }

    /// Compares one. `rings`: also by its distance from the own avatar.
    pub(super) fn compare(
        &self,
        moment: &Moment<'_>,
        (subject, row): (Subject<'_>, Row),
        (all, rings): (bool, bool),
        tally: &mut Tally,
    ) {
        let shown = subject.shown(self.tick_now);
        let around = moment.truth.around(shown.tick);
        let Some(truth) = around.and_then(|(older, newer, share)| between(older, newer, share, row)) else {
            return;
        };
        let at = [shown.position.x, shown.position.y, shown.position.z].map(f64::from);
        let d2: f64 = (0..3).map(|axis| (at[axis] - truth[axis]).powi(2)).sum();
        let error_m = d2.sqrt() / UNITS;
        if all {
            tally.shown_all.record(error_m * STEPS_PER_METRE, 1);
        }
        if shown.near {
            tally.shown_near.record(error_m * STEPS_PER_METRE, 1);
        }
        if rings && let Some(distance_m) = distance_m(moment, row) {
            let due_us = moment.clock.due_us(subject.state_tick());
            let staleness_ms = moment.now_us.saturating_sub(due_us) as f64 / 1000.0;
            tally.record_ring(distance_m, staleness_ms, error_m);
        }
    }
}

/// From the own avatar to the entity in `row`, by the newest truth.
fn distance_m(moment: &Moment<'_>, row: Row) -> Option<f64> {
    let newest = moment.truth.newest()?;
    let (own, other) = (newest.position(moment.own?)?, newest.position(row)?);
    let axis = |a: i32, b: i32| (f64::from(a) - f64::from(b)).powi(2);
    let d2 = axis(own.x, other.x) + axis(own.y, other.y) + axis(own.z, other.z);
    Some(d2.sqrt() / UNITS)
}

/// Where the entity in `row` was, in position units. `None` if it was not alive in both ticks.
fn between(older: &TickTruth, newer: &TickTruth, share: f64, row: Row) -> Option<[f64; 3]> {
    let (a, b) = (older.position(row)?, newer.position(row)?);
    let axis = |a: i32, b: i32| f64::from(a) + (f64::from(b) - f64::from(a)) * share;
    Some([axis(a.x, b.x), axis(a.y, b.y), axis(a.z, b.z)])
}
