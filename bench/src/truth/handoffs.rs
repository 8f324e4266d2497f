//! Which lane has whom: whether entities that go from lane to lane are in exactly one of them in every tick.
//!
//! Only where there are several lanes. An entity goes by its name, so one that left the world and came back is another.

use super::{Row, TickTruth};
use myriad_wire::EntityName;
use myriad_wire::limits::SLOT_REST_TICKS;
use std::collections::BTreeMap;

/// For how many ticks an entity may be on its way: as long gateways let clients see it where it was.
const AWAY_TICKS_MAX: u64 = SLOT_REST_TICKS;

/// What was found of hand-offs.
#[derive(Clone, Debug, Default)]
pub(crate) struct HandoffStats {
    /// Entities that came to a lane from another one.
    pub(crate) count: u64,
    /// Entities and ticks in two lanes.
    pub(crate) doubled: u64,
    /// Entities that went to another lane and never came there.
    pub(crate) lost: u64,
    /// For how many ticks they were in no lane meanwhile, each with how often.
    pauses: BTreeMap<u64, u64>,
}

impl HandoffStats {
    /// For how many ticks at most the `share`-th (0 to 1) of the entities was in no lane.
    pub(crate) fn pause_quantile(&self, share: f64) -> u64 {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (ticks, count) in &self.pauses {
            seen += count;
            if seen >= rank {
                return *ticks;
            }
        }
        0
    }

    /// The longest pause.
    pub(crate) fn pause_max(&self) -> u64 {
        self.pauses.keys().next_back().copied().unwrap_or(0)
    }
}

/// Who was in which lane. In each tick [`Self::begin`], [`Self::put`] for everybody, [`Self::carry_over`] if a lane is
/// absent, [`Self::hold`], and [`Self::depart`] for those who go.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// By row.
    rows: Vec<Option<Owner>>,
    /// Those who are on their way to another lane.
    away: Vec<Row>,
    /// Counts the ticks that were told.
    serial: u64,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    name: EntityName,
    lane: u8,
    seen: u64,
}

impl Owners {
    /// A tick begins.
    pub(super) fn begin(&mut self) {
        self.serial += 1;
    }

    /// The entity in `row`, called `name`, is in `lane`.
    pub(super) fn put(&mut self, row: Row, name: EntityName, lane: u8, stats: &mut HandoffStats) {
        let at = row as usize;
        if self.rows.len() <= at {
            self.rows.resize(at + 1, None);
        }
        let owner = Owner {
            name,
            lane,
            seen: self.serial,
        };
        let Some(before) = self.rows[at].replace(owner) else {
            return;
        };
        if before.name != name {
            return;
        }
        if before.seen == self.serial {
            stats.doubled += 1;
            return;
        }
        let pause = self.serial - before.seen - 1;
        if before.lane != lane || pause > 0 {
            stats.count += 1;
            *stats.pauses.entry(pause).or_insert(0) += 1;
        }
    }

    /// Those who are on their way to another lane, and in none, are where they were last.
    pub(super) fn hold(&mut self, last: &TickTruth, truth: &mut TickTruth, stats: &mut HandoffStats) {
        let (rows, serial) = (&self.rows, self.serial);
        self.away.retain(|row| {
            let at = *row as usize;
            let seen = rows.get(at).copied().flatten().map_or(serial, |owner| owner.seen);
            if seen == serial {
                return false;
            }
            let is_lost = serial - seen > AWAY_TICKS_MAX;
            stats.lost += u64::from(is_lost);
            if !is_lost && last.is_alive(*row) {
                truth.put(at, last.positions[at], last.layers[at], last.intents[at]);
            }
            !is_lost
        });
    }

    /// The entity in `row` goes to another lane after this tick.
    pub(super) fn depart(&mut self, row: Row) {
        self.away.push(row);
    }

    /// A lane that jumps over a tick does nothing in it: who was in one of `silent` in the tick before, and is in no other
    /// now, stays where it was.
    pub(super) fn carry_over(&mut self, silent: &[u8], last: &TickTruth, truth: &mut TickTruth) {
        for (row, owner) in self.rows.iter_mut().enumerate() {
            let Some(owner) = owner else { continue };
            let is_there = owner.seen + 1 == self.serial && last.is_alive(row as Row);
            if is_there && silent.contains(&owner.lane) && !self.away.contains(&(row as Row)) {
                truth.put(row, last.positions[row], last.layers[row], last.intents[row]);
                owner.seen = self.serial;
            }
        }
    }
}
