//! Calls of scripts: on their way to the lanes that have whom they are for, and waiting for their tick here.
//!
//! ```text
//! tick n       a script calls; at the end, when those who leave have left, the call goes where the entity is: it stays here,
//!              or follows it to its lane, behind it. An area call goes to every lane that may have somebody there
//! n + 1        runs, before timers do; in a lane that hears of it late, as soon as it does
//! ```
//! So nobody is called twice: parcels are taken once, an entity is in one lane in each tick, and an area call is for those
//! who were a lane's own in the tick that it names. Whom a call does not find is gone, or, of an area, may be missed where a
//! lane is late.

use crate::counters::Counters;
use myriad_wire::lane::{AreaCall, EntityCall};
use myriad_wire::{Pos, Tick};
use myriad_world::Handle;
use std::collections::BTreeMap;

/// Most calls that wait for the next tick; more are dropped and counted.
const WAITING_MAX: usize = 16_384;
/// How often a call follows an entity that goes from lane to lane.
pub(crate) const SENT_ON_MAX: u8 = 8;
/// For how many ticks it is remembered when an entity came. An area call that is later is dropped.
const LATE_TICKS_MAX: u64 = myriad_wire::limits::SLOT_REST_TICKS;

/// A call that waits for its tick here.
#[derive(Debug)]
pub(crate) enum Waiting {
    Entity(EntityCall),
    Area(AreaCall),
}

/// What a lane knows of calls.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    waiting: Vec<Waiting>,
    /// Since when those have been here who came from other lanes lately.
    came: BTreeMap<Handle, Tick>,
}

impl Calls {
    /// This runs in the next tick, or in this one if none has run yet.
    pub(crate) fn wait(&mut self, call: Waiting, counters: &mut Counters) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push(call);
        } else {
            counters.calls_dropped += 1;
        }
    }

    /// What runs in tick `now`, in the order in which it came. Of an area call that is ahead of a late lane whoever it is for
    /// may still be elsewhere when its tick comes: it waits.
    pub(crate) fn take(&mut self, now: Tick) -> Vec<Waiting> {
        let is_due = |call: &mut Waiting| !matches!(call, Waiting::Area(call) if call.tick > now);
        self.waiting.extract_if(.., is_due).collect()
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// An entity came from another lane; it was that lane's in all earlier ticks.
    pub(crate) fn note_came(&mut self, handle: Handle, now: Tick) {
        self.came.insert(handle, now);
    }

    /// An entity went, or is gone: its place may be another's.
    pub(crate) fn forget(&mut self, handle: Handle) {
        self.came.remove(&handle);
    }

    /// Who came in tick `now`.
    pub(crate) fn came_in(&self, now: Tick) -> impl Iterator<Item = Handle> {
        let came = self.came.iter().filter(move |(_, since)| **since == now);
        came.map(|(handle, _)| *handle)
    }

    /// Whether an entity was this lane's own in a tick.
    pub(crate) fn was_here(&self, handle: Handle, tick: Tick) -> bool {
        self.came.get(&handle).is_none_or(|since| *since <= tick)
    }

    /// Whether a call for `tick` comes so late that it is not known any more who was here then.
    pub(crate) fn is_too_late(tick: Tick, now: Tick) -> bool {
        now.since(tick) >= LATE_TICKS_MAX
    }

    /// Forgets when those came who have been here for long.
    pub(crate) fn prune(&mut self, now: Tick) {
        self.came.retain(|_, since| now.since(*since) <= LATE_TICKS_MAX);
    }
}

/// Whether an area call is for somebody at `position`.
pub(crate) fn reaches(call: &AreaCall, position: Pos) -> bool {
    let [dx, dz] =
        [position.x - call.center[0], position.z - call.center[1]].map(|way| i64::from(way) * i64::from(way));
    dx + dz <= i64::from(call.radius) * i64::from(call.radius)
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::{EntityId, EntityName, Generation, LaneEpoch, Slot};

    fn area(tick: u64) -> Waiting {
        Waiting::Area(AreaCall {
            tick: Tick(tick),
            center: [0, 0],
            radius: 5,
            name: "hit".into(),
            arguments: Vec::new(),
        })
    }

    fn ticks(calls: &[Waiting]) -> Vec<Option<u64>> {
        let tick = |call: &Waiting| match call {
            Waiting::Area(call) => Some(call.tick.0),
            Waiting::Entity(_) => None,
        };
        calls.iter().map(tick).collect()
    }

    #[test]
    fn what_is_ahead_of_a_late_lane_waits_for_its_tick_and_the_rest_keeps_its_order() {
        let mut calls = Calls::default();
        let mut counters = Counters::default();
        let entity_name = EntityName {
            issuer: LaneEpoch(1),
            slot: Slot(1),
            generation: Generation(1),
        };
        let entity = Waiting::Entity(EntityCall {
            entity: EntityId(1),
            entity_name,
            name: "hit".into(),
            arguments: Vec::new(),
            sent_on: 0,
        });
        for call in [area(9), area(7), entity, area(8)] {
            calls.wait(call, &mut counters);
        }
        assert_eq!(ticks(&calls.take(Tick(7))), [Some(7), None]);
        assert_eq!(ticks(&calls.take(Tick(9))), [Some(9), Some(8)]);
        assert!(calls.is_empty());
    }

    #[test]
    fn calls_are_bounded_and_what_is_too_much_is_counted() {
        let mut calls = Calls::default();
        let mut counters = Counters::default();
        for _ in 0..WAITING_MAX + 3 {
            calls.wait(area(1), &mut counters);
        }
        assert_eq!(
            (calls.take(Tick(1)).len(), counters.calls_dropped),
            (WAITING_MAX, 3)
        );
    }

    #[test]
    fn who_has_come_is_called_only_for_ticks_in_which_it_was_here() {
        let mut calls = Calls::default();
        let handle = Handle {
            slot: Slot(4),
            generation: Generation(2),
        };
        assert!(calls.was_here(handle, Tick(1)), "always, as far as is known");
        calls.note_came(handle, Tick(10));
        assert_eq!(
            [9, 10].map(|tick| calls.was_here(handle, Tick(tick))),
            [false, true]
        );
        assert_eq!(calls.came_in(Tick(10)).collect::<Vec<_>>(), [handle]);
        calls.prune(Tick(10 + LATE_TICKS_MAX));
        assert!(!calls.was_here(handle, Tick(9)));
        assert!(Calls::is_too_late(Tick(9), Tick(9 + LATE_TICKS_MAX)));
        calls.prune(Tick(11 + LATE_TICKS_MAX));
        assert!(calls.was_here(handle, Tick(9)), "so late a call does not run");
    }
}
