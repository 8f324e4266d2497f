//! The truth as the lanes told it: where everybody was in each of the last seconds' ticks, which properties they
//! had, how fast they went, whether the ticks kept their order, and whether each entity was in one lane.
//!
//! Entities stand in *rows*, dense numbers given here in order of appearance and never reused, so that a tick is a
//! few arrays and an entity is found in all of them by one number. This module knows neither the network
//! ([`crate::feed`] reads the trace) nor the clients; [`crate::view`] and [`crate::sample`] compare.
//!
//! Cost: one tick of 2,000 entities is 64 KiB and some 20 us, once for all clients. With several lanes each of their
//! ticks is copied once, to wait for the others.

mod grid;
mod handoffs;
mod lanes;
mod names;

pub(crate) use grid::Grid;
pub(crate) use handoffs::HandoffStats;

use crate::bits::Bits;
use crate::histogram::Histogram;
use crate::properties::Properties;
use crate::speed::Speeds;
use handoffs::Owners;
use lanes::Lanes;
use myriad_wire::truth::TruthTick;
use myriad_wire::{EntityId, Generation, IntentSeq, Pos, Slot, SpaceClock, SubjectRef, Tick};
use names::Names;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Seconds of ticks that are remembered. A state older than that is not compared with its tick's truth.
const REMEMBERED_S: f64 = 8.0;
/// Wider than so many interest units a space is looked at by squares: 256 m.
const WIDE_AOI: i32 = 8192;
/// Most entities over a whole run. A run that reaches it ends with an error.
pub(crate) const ROWS_MAX: usize = 1 << 21;

/// The dense number of an entity in a trace.
pub(crate) type Row = u32;

/// Where everybody was in one tick. The arrays go by row; of rows that were not alive only `layers` says so.
#[derive(Debug, Default)]
pub(crate) struct TickTruth {
    pub(crate) tick: Tick,
    pub(crate) positions: Vec<Pos>,
    /// Zero where the row is not alive: nobody sees it.
    pub(crate) layers: Vec<u32>,
    pub(crate) intents: Vec<IntentSeq>,
    /// Positions in interest units, an array per axis.
    pub(crate) aoi: [Vec<i32>; 3],
    pub(crate) alive: Bits,
    /// Lowest and highest position of the living in interest units, per axis.
    pub(crate) low: [i32; 3],
    pub(crate) high: [i32; 3],
    /// The layers that all the living have.
    pub(crate) layers_common: u32,
    /// The same in two ticks only if the same rows are alive, on the same layers.
    pub(crate) alive_version: u64,
    /// Where the living are not all close together.
    pub(crate) grid: Option<Grid>,
}

/// What the lanes told so far.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    clock: Option<SpaceClock>,
    lanes: Lanes,
    owners: Owners,
    rows: HashMap<EntityId, Row, BuildHasherDefault<IdHasher>>,
    names: Names,
    /// Ascending by tick; ticks that all lanes jumped over are absent.
    ring: VecDeque<TickTruth>,
    /// So many [`TickTruth::alive_version`]s were given.
    alive_versions: u64,
    pub(crate) properties: Properties,
    pub(crate) speeds: Speeds,
    pub(crate) stats: TraceStats,
    /// Most entities alive at once.
    pub(crate) entities_max: u32,
}

/// Hashes entity ids, which the server hands out and nobody chooses, by one multiplication: a client's view is
/// looked up anew after every enter and leave.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, id: u64) {
        // The golden ratio's fraction spreads counters over the high bits, which choose the bucket's tag.
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// How the ticks came, since the last [`Truth::restart_stats`].
#[derive(Clone, Debug, Default)]
pub(crate) struct TraceStats {
    pub(crate) told: u64,
    /// By the lane that skipped most.
    pub(crate) skipped: u64,
    pub(crate) disordered: u64,
    pub(crate) handoffs: HandoffStats,
    /// From due to arrival.
    pub(crate) late_ms: Histogram,
}

/// A trace that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadTrace(pub(crate) String);

impl Truth {
    /// The next tick of the trace, which arrived at `now_us` (since the Unix epoch).
    pub(crate) fn handle_tick(&mut self, told: &TruthTick, now_us: u64) -> Result<(), BadTrace> {
        self.clock = Some(told.clock);
        let due_us = told.clock.due_us(told.tick);
        let late_us = now_us.saturating_sub(due_us);
        self.stats.late_ms.record(late_us as f64 / 1000.0, 1);
        let Some(teller) = self.lanes.note(told, &mut self.stats)? else {
            return Ok(());
        };
        if self.lanes.len() == 1 {
            return self.handle_whole(told.clock, told.tick, &[(teller.number, told)]);
        }
        let done = self.ring.back().map(|last| last.tick);
        if teller.is_missed {
            // What was there without this lane was not the truth.
            self.ring.clear();
        }
        if done.is_some_and(|done| told.tick <= done) {
            return self.handle_changes(told);
        }
        self.lanes.wait(teller.number, told)?;
        while let Some((tick, parts)) = self.lanes.poll() {
            let parts: Vec<(u8, &TruthTick)> = parts.iter().map(|(lane, told)| (*lane, told)).collect();
            self.handle_whole(told.clock, tick, &parts)?;
        }
        Ok(())
    }

    /// All lanes have told of a tick, or passed it over.
    fn handle_whole(
        &mut self,
        clock: SpaceClock,
        tick: Tick,
        parts: &[(u8, &TruthTick)],
    ) -> Result<(), BadTrace> {
        self.stats.told += 1;
        let entities = parts.iter().map(|(_, told)| told.entities.len()).sum();
        let mut truth = self.reuse(clock, tick, entities);
        truth.tick = tick;
        let are_several = self.lanes.len() > 1;
        self.owners.begin();
        for (lane, told) in parts {
            for entity in &told.entities {
                let row = self.add_row(entity.entity)?;
                self.names.note(entity.name, row);
                if are_several {
                    let stats = &mut self.stats.handoffs;
                    self.owners.put(row, entity.name, *lane, stats);
                }
                truth.put(row as usize, entity.position, entity.layers, entity.intent_seq);
            }
        }
        if parts.len() < self.lanes.len()
            && let Some(last) = self.ring.back()
        {
            let is_silent = |lane: &u8| parts.iter().all(|(teller, _)| teller != lane);
            let silent: Vec<u8> = (0..self.lanes.len() as u8).filter(is_silent).collect();
            self.owners.carry_over(&silent, last, &mut truth);
        }
        if let Some(last) = self.ring.back().filter(|_| are_several) {
            self.owners.hold(last, &mut truth, &mut self.stats.handoffs);
        }
        for entity in parts.iter().flat_map(|(_, told)| &told.departing) {
            let row = self.add_row(*entity)?;
            self.owners.depart(row);
        }
        self.entities_max = self.entities_max.max(entities as u32);
        for (_, told) in parts {
            self.handle_changes(told)?;
        }
        let is_wide = (0..3).any(|axis| truth.high[axis].saturating_sub(truth.low[axis]) > WIDE_AOI);
        truth.grid = is_wide.then(|| truth.make_grid()).flatten();
        let is_as = |last: &&TickTruth| last.alive == truth.alive && last.layers == truth.layers;
        if self.ring.back().filter(is_as).is_none() {
            self.alive_versions += 1;
        }
        truth.alive_version = self.alive_versions;
        if let Some(last) = self.ring.back() {
            let seconds = tick.since(last.tick) as f64 / clock.hz();
            self.speeds.handle_tick(last, &truth, seconds);
        }
        self.ring.push_back(truth);
        self.properties.forget_before(tick - clock.ticks_in(REMEMBERED_S));
        Ok(())
    }

    fn handle_changes(&mut self, told: &TruthTick) -> Result<(), BadTrace> {
        for (entity, properties) in &told.changes {
            let row = self.add_row(*entity)?;
            self.properties.handle_change(row, told.tick, properties);
        }
        Ok(())
    }

    /// An empty tick, made of the oldest one's memory once enough are remembered.
    fn reuse(&mut self, clock: SpaceClock, tick: Tick, entities: usize) -> TickTruth {
        let remembered = clock.ticks_in(REMEMBERED_S);
        let mut truth = TickTruth::default();
        while self
            .ring
            .front()
            .is_some_and(|oldest| tick.since(oldest.tick) > remembered)
        {
            truth = self.ring.pop_front().expect("it has a front");
        }
        truth.clear(self.rows.len() + entities);
        truth
    }

    fn add_row(&mut self, entity: EntityId) -> Result<Row, BadTrace> {
        let next = self.rows.len();
        if next >= ROWS_MAX {
            return Err(BadTrace(format!("more than {ROWS_MAX} entities came and went")));
        }
        Ok(*self.rows.entry(entity).or_insert(next as Row))
    }

    /// The row of the entity that has, or had lately, this life of a slot.
    #[inline]
    pub(crate) fn row_in(&self, slot: Slot, generation: Generation) -> Option<Row> {
        self.names.row_in(slot, generation)
    }

    /// The row of a subject: by its identity if that is known.
    pub(crate) fn row_of(&self, entity: Option<EntityId>, subject: SubjectRef) -> Option<Row> {
        match entity {
            Some(entity) => self.row(entity),
            None => self.row_in(subject.slot, subject.generation),
        }
    }

    /// The row of an entity that the trace has told of.
    pub(crate) fn row(&self, entity: EntityId) -> Option<Row> {
        self.rows.get(&entity).copied()
    }

    /// How many lanes have told something.
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn clock(&self) -> Option<&SpaceClock> {
        self.clock.as_ref()
    }

    pub(crate) fn newest(&self) -> Option<&TickTruth> {
        self.ring.back()
    }

    pub(crate) fn oldest(&self) -> Option<&TickTruth> {
        self.ring.front()
    }

    /// The truth of `tick`, if it is remembered.
    pub(crate) fn at(&self, tick: Tick) -> Option<&TickTruth> {
        self.since(tick).next().filter(|truth| truth.tick == tick)
    }

    /// The remembered ticks from `tick` on, ascending.
    pub(crate) fn since(&self, tick: Tick) -> impl Iterator<Item = &TickTruth> {
        let start = self.ring.partition_point(|truth| truth.tick < tick);
        self.ring.range(start..)
    }

    /// The remembered truths by how many ticks they are older than the newest; `None` where there was no tick.
    pub(crate) fn by_age<'a>(&'a self, out: &mut Vec<Option<&'a TickTruth>>) {
        out.clear();
        let Some(newest) = self.newest() else { return };
        for truth in self.ring.iter().rev() {
            out.resize(newest.tick.since(truth.tick) as usize, None);
            out.push(Some(truth));
        }
    }

    /// The two remembered ticks around `tick` with its fraction, and where between them it lies, 0 to 1.
    pub(crate) fn around(&self, tick: f64) -> Option<(&TickTruth, &TickTruth, f64)> {
        let after = self.ring.partition_point(|truth| truth.tick.0 as f64 <= tick);
        let (older, newer) = (self.ring.get(after.checked_sub(1)?)?, self.ring.get(after)?);
        let (start, end) = (older.tick.0 as f64, newer.tick.0 as f64);
        Some((older, newer, (tick - start) / (end - start)))
    }

    /// Counts anew from here: what was before belongs to no measurement.
    pub(crate) fn restart_stats(&mut self) {
        self.stats = TraceStats::default();
        self.lanes.restart_stats();
        self.speeds.restart();
    }
}

impl TickTruth {
    fn make_grid(&self) -> Option<Grid> {
        let alive = (0..self.positions.len() as Row).filter(|row| self.alive.contains(*row));
        Grid::new(alive, &self.aoi, (self.low, self.high))
    }

    /// Nobody is alive, and there is room for `rows`.
    fn clear(&mut self, rows: usize) {
        self.positions.clear();
        self.positions.reserve(rows);
        self.intents.clear();
        self.layers.clear();
        self.aoi.iter_mut().for_each(Vec::clear);
        self.alive = Bits::default();
        self.low = [i32::MAX; 3];
        self.high = [i32::MIN; 3];
        self.layers_common = u32::MAX;
        self.grid = None;
    }

    fn put(&mut self, row: usize, position: Pos, layers: u32, intent: IntentSeq) {
        if self.positions.len() <= row {
            self.positions.resize(row + 1, Pos::default());
            self.intents.resize(row + 1, IntentSeq(0));
            self.layers.resize(row + 1, 0);
            self.aoi.iter_mut().for_each(|axis| axis.resize(row + 1, 0));
        }
        self.positions[row] = position;
        self.intents[row] = intent;
        self.layers[row] = layers;
        self.alive.insert(row as u32);
        self.layers_common &= layers;
        for (axis, at) in position.to_aoi().into_iter().enumerate() {
            self.aoi[axis][row] = at;
            self.low[axis] = self.low[axis].min(at);
            self.high[axis] = self.high[axis].max(at);
        }
    }

    pub(crate) fn is_alive(&self, row: Row) -> bool {
        self.alive.contains(row)
    }

    /// Where the entity in `row` was, if it was alive.
    pub(crate) fn position(&self, row: Row) -> Option<Pos> {
        self.is_alive(row).then(|| self.positions[row as usize])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use myriad_wire::truth::TruthEntity;
    use myriad_wire::{EntityName, Generation, LaneEpoch, LaneId, Slot};

    pub(crate) const CLOCK: SpaceClock = SpaceClock {
        origin_us: 1_700_000_000_000_000,
        base: Tick(0),
        rate_mhz: 10_000,
    };

    /// A truth tick with entity `i + 1` at `metres[i]` (x, z), all on layer 1.
    pub(crate) fn told(tick: u64, metres: &[(f64, f64)]) -> TruthTick {
        let entity = |(i, (x, z)): (usize, &(f64, f64))| TruthEntity {
            entity: EntityId(i as u64 + 1),
            name: EntityName {
                issuer: LaneEpoch(1),
                slot: Slot(i as u32),
                generation: Generation(0),
            },
            layers: 1,
            position: Pos {
                x: (x * 1024.0).round() as i32,
                y: 0,
                z: (z * 1024.0).round() as i32,
            },
            intent_seq: IntentSeq(0),
        };
        TruthTick {
            lane: LaneId(1),
            clock: CLOCK,
            tick: Tick(tick),
            skipped_ticks: 0,
            entities: metres.iter().enumerate().map(entity).collect(),
            departing: Vec::new(),
            changes: Vec::new(),
            events: 0,
            is_over: false,
        }
    }

    /// A truth that was told `ticks`, each in time.
    pub(crate) fn truth(ticks: &[TruthTick]) -> Truth {
        let mut truth = Truth::default();
        for told in ticks {
            let due_us = told.clock.due_us(told.tick);
            truth.handle_tick(told, due_us + 2_000).expect("a good trace");
        }
        truth
    }

    #[test]
    fn ticks_are_found_by_age_even_with_a_gap() {
        let truth = truth(&[
            told(5, &[(0.0, 0.0)]),
            told(6, &[(1.0, 0.0)]),
            told(9, &[(4.0, 0.0)]),
        ]);
        assert_eq!(truth.since(Tick(6)).next().expect("told").positions[0].x, 1024);
        let mut ages = Vec::new();
        truth.by_age(&mut ages);
        let ticks: Vec<_> = ages.iter().map(|truth| truth.map(|truth| truth.tick.0)).collect();
        assert_eq!(ticks, [Some(9), None, None, Some(6), Some(5)]);
        assert_eq!(truth.since(Tick(6)).count(), 2);
    }

    #[test]
    fn a_moment_lies_between_the_ticks_around_it() {
        let truth = truth(&[told(5, &[(0.0, 0.0)]), told(6, &[]), told(8, &[])]);
        let around = |tick| {
            truth
                .around(tick)
                .map(|(a, b, share)| (a.tick.0, b.tick.0, share))
        };
        assert_eq!(around(5.25), Some((5, 6, 0.25)));
        assert_eq!(around(6.0), Some((6, 8, 0.0)));
        assert_eq!(around(7.0), Some((6, 8, 0.5)));
        assert_eq!((around(4.5), around(8.0)), (None, None));
    }

    #[test]
    fn who_is_not_told_of_is_not_alive() {
        let mut second = told(6, &[(0.0, 0.0), (1.0, 0.0)]);
        second.entities.remove(0);
        let truth = truth(&[told(5, &[(0.0, 0.0), (1.0, 0.0)]), second]);
        let newest = truth.newest().expect("told");
        assert!(!newest.is_alive(0) && newest.is_alive(1));
        assert_eq!(newest.layers, [0, 1]);
        assert_eq!(newest.low, [32, 0, 0]);
    }

    #[test]
    fn a_missing_a_doubled_and_an_older_tick_are_disorder() {
        let at = [(0.0, 0.0)];
        assert_eq!(truth(&[told(5, &at), told(6, &at)]).stats.disordered, 0);
        assert_eq!(truth(&[told(5, &at), told(7, &at)]).stats.disordered, 1);
        assert_eq!(truth(&[told(5, &at), told(5, &at)]).stats.disordered, 1);
        assert_eq!(truth(&[told(5, &at), told(4, &at)]).stats.disordered, 1);
    }

    #[test]
    fn a_jump_that_the_lane_owns_up_to_is_skipped_ticks() {
        let at = [(0.0, 0.0)];
        let mut late = told(9, &at);
        late.skipped_ticks = 3;
        let stats = truth(&[told(5, &at), late]).stats;
        assert_eq!((stats.skipped, stats.disordered), (3, 0));
    }

    #[test]
    fn old_ticks_are_forgotten_and_their_memory_holds_nobody_over() {
        let mut ticks: Vec<_> = (0..100)
            .map(|tick| told(tick, &[(0.0, 0.0), (1.0, 0.0)]))
            .collect();
        for told in &mut ticks[50..] {
            told.entities.truncate(1);
        }
        let truth = truth(&ticks);
        assert_eq!(truth.oldest().expect("told").tick, Tick(19));
        assert!(!truth.newest().expect("told").is_alive(1));
    }
}
