//! Entities that leave for other lanes: at the end of this tick, and those that left lately.

use myriad_wire::{EntityName, Hop, LaneId, Tick};
use myriad_world::Handle;
use std::collections::BTreeMap;

/// For how many ticks readers are told where an entity went, in case they missed it. As long as a slot rests: after that
/// its name may be another's.
const TOLD_TICKS: u64 = myriad_wire::limits::SLOT_REST_TICKS;

#[derive(Clone, Copy, Debug)]
struct Departed {
    /// How often it had been handed off before.
    hop: Hop,
    to: LaneId,
    since: Tick,
}

/// Who leaves, and who left.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    /// At the end of this tick.
    leaving: BTreeMap<Handle, LaneId>,
    left: BTreeMap<EntityName, Departed>,
}

impl Departures {
    /// The entity goes to a lane at the end of this tick.
    pub(crate) fn choose(&mut self, handle: Handle, to: LaneId) {
        self.leaving.insert(handle, to);
    }

    /// Where an entity goes at the end of this tick, if it does.
    pub(crate) fn leaving_to(&self, handle: Handle) -> Option<LaneId> {
        self.leaving.get(&handle).copied()
    }

    /// The tick ends: those who go, ascending.
    pub(crate) fn take_leaving(&mut self) -> BTreeMap<Handle, LaneId> {
        std::mem::take(&mut self.leaving)
    }

    /// It is gone, after as many hand-offs as `hop` says.
    pub(crate) fn note(&mut self, name: EntityName, hop: Hop, to: LaneId, now: Tick) {
        self.left.insert(name, Departed { hop, to, since: now });
    }

    /// It is back.
    pub(crate) fn forget(&mut self, name: EntityName) {
        self.left.remove(&name);
    }

    /// Where an entity went, if it went lately.
    pub(crate) fn to(&self, name: EntityName) -> Option<LaneId> {
        self.left.get(&name).map(|departed| departed.to)
    }

    /// Who went lately, ascending, and after how many hand-offs.
    pub(crate) fn lately(&self) -> impl Iterator<Item = (EntityName, Hop)> {
        self.left.iter().map(|(name, departed)| (*name, departed.hop))
    }

    /// Forgets those who left long ago.
    pub(crate) fn prune(&mut self, now: Tick) {
        self.left
            .retain(|_, departed| now.since(departed.since) <= TOLD_TICKS);
    }
}
