//! The view of a client in a crowd, in which a subject's place is known to a quarter of a metre and as of its track's
//! last telling: who stays well inside the radius must be in view, who stays well outside must not.
//!
//! *Well* is the slack: the error of a cell, and how far somebody goes in one crowd period. Between the two circles
//! either is right. Whoever is on the wrong side for longer than a crowd period and two ticks was told late, if it was
//! told at last; never told, its edge is missing.
//!
//! Cost: nothing where everybody is well inside and in view; else a comparison of two distances per entity, tick and
//! client, some 1.5 us per 1,000 entities.

use super::ViewCounts;
use super::truth::{Sight, for_each_distance2, is_everybody_within, seen_word, within};
use crate::bits::{Bits, for_each_bit};
use crate::truth::{Row, TickTruth};
use myriad_wire::Tick;

/// By how much a cell may be off, and what own and other positions may differ by beside their motion, in metres.
const SLACK_M: f64 = 0.4;
/// How fast somebody goes at most, in metres per second.
const SLACK_M_S: f64 = 5.5;
/// Ticks that an edge may take beyond the crowd period.
const GRACE_TICKS: u64 = 2;
/// Interest units per metre.
const AOI_PER_METRE: f64 = 32.0;

/// What is tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tolerance {
    /// In interest units.
    slack: u64,
    /// Ticks for which somebody may be on the wrong side.
    pub(super) ticks: u64,
}

/// Somebody is on the wrong side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Wrong {
    row: Row,
    since: Tick,
    /// Should be in view and is not.
    lacks: bool,
}

/// Who is on the wrong side, and since when.
#[derive(Debug, Default)]
pub(super) struct Band {
    /// Ascending by row.
    wrong: Vec<Wrong>,
    /// At this [`TickTruth::alive_version`] and number of edges everybody is in view as it should be.
    right: Option<(u64, u64)>,
}

impl Tolerance {
    /// In a space with so many ticks per second, of which a track is told one in `period`.
    pub(crate) fn new(hz: f64, period: u32) -> Self {
        let slack_m = SLACK_M + SLACK_M_S * f64::from(period) / hz.max(0.01);
        Self {
            slack: (slack_m * AOI_PER_METRE).ceil() as u64,
            ticks: u64::from(period) + GRACE_TICKS,
        }
    }

    /// Squared distances in interest units: up to the first one must be in view, beyond the second one must not.
    fn limits2(self, sight: Sight) -> (u64, u64) {
        let inner = u64::from(sight.radius).saturating_sub(self.slack);
        let outer = (u64::from(sight.radius) * 11).div_ceil(10) + self.slack;
        (inner.pow(2), outer.saturating_pow(2))
    }
}

impl Band {
    /// Looks at who is in view after all that was told of `truth`'s tick. `edges` counts those told so far.
    pub(super) fn advance(
        &mut self,
        truth: &TickTruth,
        observer: Row,
        (sight, tolerance): (Sight, Tolerance),
        (known, edges): (&Bits, u64),
        measured_from: Option<Tick>,
        counts: &mut ViewCounts,
    ) {
        let inner = u64::from(sight.radius).saturating_sub(tolerance.slack);
        let everybody = truth.layers_common & sight.sees != 0 && is_everybody_within(truth, observer, inner);
        let state = (truth.alive_version, edges);
        if everybody && self.right == Some(state) {
            return;
        }
        let before = std::mem::take(&mut self.wrong);
        let mut old = before.iter().peekable();
        let mut judge = Judge {
            tick: truth.tick,
            tolerance,
            measured_from,
            counts,
        };
        let (inner2, outer2) = tolerance.limits2(sight);
        let (mut musts, mut mays) = (Bits::default(), Bits::default());
        let is_found = !everybody
            && within(truth, observer, outer2, |row, d2| {
                mays.insert(row);
                if d2 <= inner2 {
                    musts.insert(row);
                }
            });
        for i in 0..truth.alive.words().max(known.words()) {
            let (must, may) = if everybody {
                (truth.alive.word(i), truth.alive.word(i))
            } else {
                let (mut must, mut may) = (musts.word(i), mays.word(i));
                if !is_found {
                    for_each_distance2(truth, observer, i, |bit, d2| {
                        must |= if d2 <= inner2 { bit } else { 0 };
                        may |= if d2 <= outer2 { bit } else { 0 };
                    });
                }
                (seen_word(truth, sight, i, must), seen_word(truth, sight, i, may))
            };
            let (lacks, surplus) = (must & !known.word(i), known.word(i) & !may);
            for_each_bit(i, lacks | surplus, |row| {
                while let Some(gone) = old.next_if(|old| old.row < row) {
                    judge.resolved(gone, known);
                }
                let lacks = lacks >> (row % 64) & 1 == 1;
                let since = match old.next_if(|old| old.row == row) {
                    Some(old) if old.lacks == lacks => old.since,
                    Some(old) => {
                        judge.resolved(old, known);
                        truth.tick
                    }
                    None => truth.tick,
                };
                self.wrong.push(Wrong { row, since, lacks });
            });
        }
        old.for_each(|gone| judge.resolved(gone, known));
        self.right = (everybody && self.wrong.is_empty()).then_some(state);
    }

    /// Who should be in view and is not, and since when.
    pub(super) fn lacks(&self) -> impl Iterator<Item = (Row, Tick)> {
        let lacks = self.wrong.iter().filter(|wrong| wrong.lacks);
        lacks.map(|wrong| (wrong.row, wrong.since))
    }

    /// Who is wrong now stays so. Ghosts are those who are no more.
    pub(super) fn finish(self, truth: Option<&TickTruth>, tolerance: Tolerance, counts: &mut ViewCounts) {
        let Some(truth) = truth else { return };
        for wrong in self.wrong {
            if truth.tick.since(wrong.since) <= tolerance.ticks {
                continue;
            }
            if wrong.lacks {
                counts.missing += 1;
            } else {
                counts.extra += 1;
                counts.ghosts += u64::from(!truth.is_alive(wrong.row));
            }
        }
    }
}

/// Whether everybody is known who must be in view.
pub(super) fn knows_all(
    truth: &TickTruth,
    observer: Row,
    (sight, tolerance): (Sight, Tolerance),
    known: &Bits,
) -> bool {
    let (inner2, _) = tolerance.limits2(sight);
    let mut lacks = Bits::default();
    let is_found = within(truth, observer, inner2, |row, _| {
        if !known.contains(row) {
            lacks.insert(row);
        }
    });
    (0..truth.alive.words()).all(|i| {
        let lacks = if is_found {
            lacks.word(i)
        } else {
            let mut must = 0;
            for_each_distance2(truth, observer, i, |bit, d2| {
                must |= if d2 <= inner2 { bit } else { 0 }
            });
            must & !known.word(i)
        };
        seen_word(truth, sight, i, lacks) == 0
    })
}

/// Whether a told edge is one that the true view could have had.
pub(super) fn is_possible(
    truth: &TickTruth,
    observer: Row,
    (sight, tolerance): (Sight, Tolerance),
    row: Row,
    enter: bool,
) -> bool {
    if !truth.is_alive(observer) {
        return true;
    }
    if !truth.is_alive(row) || truth.layers[row as usize] & sight.sees == 0 {
        return !enter;
    }
    let (inner2, outer2) = tolerance.limits2(sight);
    let d2 = (0..3).fold(0u64, |sum, axis| {
        let axis = &truth.aoi[axis];
        sum.saturating_add(u64::from(axis[row as usize].abs_diff(axis[observer as usize])).pow(2))
    });
    if enter { d2 <= outer2 } else { d2 > inner2 }
}

struct Judge<'a> {
    tick: Tick,
    tolerance: Tolerance,
    measured_from: Option<Tick>,
    counts: &'a mut ViewCounts,
}

impl Judge<'_> {
    /// Somebody is not on the wrong side any more: because it was told, or because the truth has changed.
    fn resolved(&mut self, wrong: &Wrong, known: &Bits) {
        if self.tick.since(wrong.since) <= self.tolerance.ticks {
            return;
        }
        let was_told = known.contains(wrong.row) == wrong.lacks;
        let counts = &mut *self.counts;
        if self.measured_from.is_none_or(|from| wrong.since < from) {
            counts.late_joining += 1;
        } else if was_told {
            counts.late += 1;
            counts.late_crowd += 1;
        } else {
            counts.edges_missing += 1;
        }
    }
}
