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
