//! The lanes of a trace: each tells its own part of a tick, when it comes to it, and the truth is all of them.
//!
//! The lanes of a space count the same ticks. So the truth of one is complete once every lane that has spoken has told
//! it or a later one; until then it waits here. Which lanes there are nobody says: when one speaks for the first time and has
//! somebody, what was taken for complete before was not. One that begins with nobody has been added, and nothing was missed;
//! one that says that it is over is waited for no longer.

use super::{BadTrace, REMEMBERED_S, TraceStats};
use myriad_wire::truth::TruthTick;
use myriad_wire::{LaneId, Tick};
use std::collections::BTreeMap;

/// Most lanes of a trace.
const LANES_MAX: usize = 256;

/// What the lanes told of a tick, each with its number here. A lane that jumped over the tick is absent.
pub(super) type Parts<T> = Vec<(u8, T)>;

/// See the module. Call [`Self::note`] for every tick of the trace; then, if there are several lanes, [`Self::wait`] and
/// [`Self::poll`] until nothing is complete.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// In order of appearance.
    lanes: Vec<LaneTrace>,
    /// Told, but not yet by all.
    waiting: BTreeMap<Tick, Parts<TruthTick>>,
}

#[derive(Debug)]
struct LaneTrace {
    lane: LaneId,
    last: Tick,
    is_over: bool,
    skipped_last: u64,
    /// Since [`Lanes::restart_stats`].
    skipped: u64,
}

/// A lane that has told a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Teller {
    pub(super) number: u8,
    /// It has not spoken before, and has somebody: what was told without it was not all.
    pub(super) is_missed: bool,
}

impl Lanes {
    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// A lane told a tick. `None` if it had told that or a later one already.
    pub(super) fn note(
        &mut self,
        told: &TruthTick,
        stats: &mut TraceStats,
    ) -> Result<Option<Teller>, BadTrace> {
        let number = self.lanes.iter().position(|lane| lane.lane == told.lane);
        let Some(number) = number else {
            if self.lanes.len() >= LANES_MAX {
                return Err(BadTrace(format!("the trace is of more than {LANES_MAX} lanes")));
            }
            self.lanes.push(LaneTrace {
                lane: told.lane,
                last: told.tick,
                is_over: told.is_over,
                skipped_last: told.skipped_ticks,
                skipped: 0,
            });
            return Ok(Some(Teller {
                number: (self.lanes.len() - 1) as u8,
                is_missed: !told.entities.is_empty(),
            }));
        };
        let lane = &mut self.lanes[number];
        if told.tick <= lane.last {
            stats.disordered += 1;
            return Ok(None);
        }
        let absent = told.tick.since(lane.last) - 1;
        let skipped = told.skipped_ticks.saturating_sub(lane.skipped_last);
        stats.disordered += absent.saturating_sub(skipped);
        lane.skipped += skipped;
        stats.skipped = stats.skipped.max(lane.skipped);
        lane.skipped_last = told.skipped_ticks;
        lane.last = told.tick;
        lane.is_over = told.is_over;
        Ok(Some(Teller {
            number: number as u8,
            is_missed: false,
        }))
    }

    /// Keeps a part until the others are there.
    pub(super) fn wait(&mut self, number: u8, told: &TruthTick) -> Result<(), BadTrace> {
        let part = (number, told.clone());
        self.waiting.entry(told.tick).or_default().push(part);
        if self.waiting.len() as u64 > told.clock.ticks_in(REMEMBERED_S) {
            let silent = self.expected().min_by_key(|lane| lane.last);
            let silent = silent.expect("who is over had the last word").lane;
            return Err(BadTrace(format!(
                "lane {silent} has told nothing for {REMEMBERED_S} s"
            )));
        }
        Ok(())
    }

    /// The earliest tick that waits, if it is complete.
    pub(super) fn poll(&mut self) -> Option<(Tick, Parts<TruthTick>)> {
        let through = self.expected().map(|lane| lane.last).min()?;
        let first = self.waiting.first_entry()?;
        (*first.key() <= through).then(|| first.remove_entry())
    }

    /// Those that are waited for.
    fn expected(&self) -> impl Iterator<Item = &LaneTrace> {
        self.lanes.iter().filter(|lane| !lane.is_over)
    }

    /// Counts anew.
    pub(super) fn restart_stats(&mut self) {
        for lane in &mut self.lanes {
            lane.skipped = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::truth::tests::{told, truth};
    use crate::truth::{HandoffStats, Truth};
    use myriad_wire::truth::TruthTick;
    use myriad_wire::{EntityId, IntentSeq, LaneId, Tick};

    /// What lane `lane` tells of a tick: of entities 0 to 4, at one metre each, those it has.
    fn part(lane: u32, tick: u64, has: &[u64]) -> TruthTick {
        let mut part = told(tick, &[(1.0, 0.0); 5]);
        part.lane = LaneId(lane);
        part.entities
            .retain(|entity| has.contains(&(entity.entity.0 - 1)));
        part
    }

    fn departing(mut part: TruthTick, entity: u64) -> TruthTick {
        part.departing.push(EntityId(entity + 1));
        part
    }

    /// The remembered ticks, each with who is alive.
    fn alive(truth: &Truth) -> Vec<(u64, Vec<u64>)> {
        let of = |tick: &crate::truth::TickTruth| {
            let alive = (1..6).filter(|id| truth.row(EntityId(*id)).is_some_and(|row| tick.is_alive(row)));
            (tick.tick.0, alive.map(|id| id - 1).collect())
        };
        truth.since(Tick(0)).map(of).collect()
    }

    fn found(stats: &HandoffStats) -> (u64, u64, u64, u64) {
        (stats.count, stats.doubled, stats.lost, stats.pause_max())
    }

    /// Two lanes that have told tick 5 and 6.
    fn begun() -> [TruthTick; 4] {
        [
            part(1, 5, &[0, 1]),
            part(2, 5, &[2]),
            part(2, 6, &[2]),
            part(1, 6, &[0, 1]),
        ]
    }

    #[test]
    fn the_truth_is_that_of_all_lanes_from_when_all_have_spoken() {
        let truth = truth(&begun());
        assert_eq!(alive(&truth), [(6, vec![0, 1, 2])]);
        assert_eq!((truth.stats.told, truth.stats.disordered), (2, 0));
        assert_eq!((truth.lanes(), found(&truth.stats.handoffs)), (2, (0, 0, 0, 0)));
    }

    #[test]
    fn a_tick_waits_for_the_lane_that_is_late() {
        let mut truth = truth(&begun());
        for tick in 7..=9 {
            truth.handle_tick(&part(1, tick, &[0, 1]), 0).expect("good");
        }
        assert_eq!(truth.newest().expect("told").tick, Tick(6));
        truth.handle_tick(&part(2, 7, &[2]), 0).expect("good");
        truth.handle_tick(&part(2, 8, &[2]), 0).expect("good");
        let all = vec![0, 1, 2];
        assert_eq!(alive(&truth), [(6, all.clone()), (7, all.clone()), (8, all)]);
        assert_eq!(truth.stats.disordered, 0);
    }

    #[test]
    fn a_lane_that_falls_silent_ends_the_trace() {
        let mut truth = truth(&begun());
        let bad = (7..200).find_map(|tick| truth.handle_tick(&part(1, tick, &[0, 1]), 0).err());
        let bad = bad.expect("it does not wait for ever").0;
        assert_eq!(bad, "lane 2 has told nothing for 8 s");
    }

    #[test]
    fn a_lane_that_is_added_takes_nothing_back_and_one_that_is_over_is_not_waited_for() {
        let mut truth = truth(&begun());
        truth.handle_tick(&part(3, 7, &[]), 0).expect("good");
        truth
            .handle_tick(&departing(part(1, 7, &[0, 1]), 1), 0)
            .expect("good");
        truth.handle_tick(&part(2, 7, &[2]), 0).expect("good");
        for part in [part(1, 8, &[0]), part(2, 8, &[2]), part(3, 8, &[1])] {
            truth.handle_tick(&part, 0).expect("good");
        }
        let all = vec![0, 1, 2];
        assert_eq!(
            alive(&truth),
            [(6, all.clone()), (7, all.clone()), (8, all.clone())]
        );
        let mut last = part(2, 9, &[]);
        last.is_over = true;
        for part in [last, part(1, 9, &[0, 2]), part(3, 9, &[1])] {
            truth.handle_tick(&part, 0).expect("good");
        }
        for tick in 10..12 {
            truth.handle_tick(&part(1, tick, &[0, 2]), 0).expect("good");
            truth.handle_tick(&part(3, tick, &[1]), 0).expect("good");
        }
        assert_eq!(alive(&truth).last(), Some(&(11, all)));
        assert_eq!((truth.stats.handoffs.lost, truth.stats.handoffs.doubled), (0, 0));
    }

    #[test]
    fn who_changes_lanes_stays_who_it_was() {
        let mut truth = truth(&begun());
        let mut goes = departing(part(1, 7, &[0, 1]), 1);
        goes.entities[1].intent_seq = IntentSeq(7);
        let mut comes = part(2, 8, &[1, 2]);
        comes.entities[0].intent_seq = IntentSeq(8);
        let row = truth.row(EntityId(2)).expect("told");
        for part in [goes, part(2, 7, &[2]), comes, part(1, 8, &[0])] {
            truth.handle_tick(&part, 0).expect("good");
        }
        assert_eq!(truth.row(EntityId(2)), Some(row));
        assert_eq!(found(&truth.stats.handoffs), (1, 0, 0, 0));
        let applied: Vec<u32> = truth
            .since(Tick(7))
            .map(|tick| tick.intents[row as usize].0)
            .collect();
        assert_eq!(applied, [7, 8]);
    }

    #[test]
    fn who_is_in_two_lanes_is_found() {
        let mut truth = truth(&begun());
        for part in [part(1, 7, &[0, 1]), part(2, 7, &[1, 2])] {
            truth.handle_tick(&part, 0).expect("good");
        }
        assert_eq!(truth.stats.handoffs.doubled, 1);
    }

    #[test]
    fn who_is_held_up_on_its_way_pauses_where_it_was() {
        let mut truth = truth(&begun());
        for part in [
            departing(part(1, 7, &[0, 1]), 1),
            part(2, 7, &[2]),
            part(1, 8, &[0]),
            part(2, 8, &[2]),
            part(1, 9, &[0]),
            part(2, 9, &[2]),
            part(1, 10, &[0]),
            part(2, 10, &[1, 2]),
        ] {
            truth.handle_tick(&part, 0).expect("good");
        }
        assert!(truth.since(Tick(7)).all(|tick| tick.is_alive(1)));
        assert_eq!(found(&truth.stats.handoffs), (1, 0, 0, 2));
        assert_eq!(truth.stats.handoffs.pause_quantile(0.99), 2);
    }

    #[test]
    fn who_never_comes_where_it_went_is_lost() {
        let mut truth = truth(&begun());
        truth
            .handle_tick(&departing(part(1, 7, &[0, 1]), 1), 0)
            .expect("good");
        truth.handle_tick(&part(2, 7, &[2]), 0).expect("good");
        for tick in 8..80 {
            truth.handle_tick(&part(1, tick, &[0]), 0).expect("good");
            truth.handle_tick(&part(2, tick, &[2]), 0).expect("good");
        }
        assert_eq!(found(&truth.stats.handoffs), (0, 0, 1, 0));
        assert!(!truth.newest().expect("told").is_alive(1));
    }

    #[test]
    fn who_leaves_the_world_is_neither_held_nor_lost() {
        let mut truth = truth(&begun());
        for part in [
            part(1, 7, &[0]),
            part(2, 7, &[2]),
            part(1, 8, &[0, 1]),
            part(2, 8, &[2]),
        ] {
            truth.handle_tick(&part, 0).expect("good");
        }
        assert!(!truth.at(Tick(7)).expect("told").is_alive(1));
        assert_eq!(truth.stats.handoffs.lost, 0);
    }

    #[test]
    fn a_lane_that_jumps_leaves_its_entities_where_they_were() {
        let mut truth = truth(&begun());
        let mut late = part(2, 9, &[2]);
        late.skipped_ticks = 2;
        for part in [7, 8, 9].map(|tick| part(1, tick, &[0, 1])) {
            truth.handle_tick(&part, 0).expect("good");
        }
        truth.handle_tick(&late, 0).expect("good");
        let all = vec![0, 1, 2];
        let ticks = [6, 7, 8, 9].map(|tick| (tick, all.clone()));
        assert_eq!(alive(&truth), ticks);
        assert_eq!((truth.stats.skipped, truth.stats.disordered), (2, 0));
        assert_eq!(found(&truth.stats.handoffs), (0, 0, 0, 0));
        truth.restart_stats();
        late = part(1, 12, &[0, 1]);
        late.skipped_ticks = 1;
        truth.handle_tick(&late, 0).expect("good");
        assert_eq!((truth.stats.skipped, truth.stats.disordered), (1, 1));
    }
}
