//! The truth, for the load harness: only where it is enabled by name.

use super::properties;
use crate::avatars::Place;
use crate::lane::Lane;
use myriad_wire::schema::Audience;
use myriad_wire::truth::{TruthEntity, TruthTick};
use myriad_wire::{IntentSeq, Tick};
use myriad_world::{Handle, PropertyMask};
use std::collections::BTreeMap;

/// The truth of this tick; with `whole`, all properties of all entities.
pub(super) fn collect(lane: &Lane, now: Tick, whole: bool) -> TruthTick {
    let space = &lane.space;
    let mut applied: BTreeMap<Handle, IntentSeq> = BTreeMap::new();
    for (_, avatar) in lane.avatars.iter() {
        if let (Place::InWorld(handle), Some(session)) = (&avatar.place, &avatar.session) {
            applied.insert(*handle, session.applied);
        }
    }
    let entities = lane
        .subjects
        .iter()
        .map(|subject| TruthEntity {
            entity: subject.entity,
            name: subject.name,
            layers: subject.layers,
            position: subject.position,
            intent_seq: applied.get(&subject.handle).copied().unwrap_or_default(),
        })
        .collect();
    let departing = lane.subjects.iter().filter_map(|subject| {
        lane.departures.leaving_to(subject.handle)?;
        Some(subject.entity)
    });
    let departing = departing.collect();
    let all = |handle: Handle, mask| {
        let entity = space.id(handle).expect("the change log names the living");
        (entity, properties(lane, handle, Audience::All, mask))
    };
    let changes = if whole {
        lane.subjects
            .iter()
            .map(|subject| all(subject.handle, PropertyMask::ALL))
            .collect()
    } else {
        let joined = space
            .changes()
            .joins()
            .map(|handle| all(handle, PropertyMask::ALL));
        joined
            .chain(space.changes().changed().map(|(handle, mask)| all(handle, mask)))
            .collect()
    };
    TruthTick {
        lane: lane.config.lane,
        clock: lane.config.clock,
        tick: now,
        skipped_ticks: lane.counters.skipped_ticks,
        entities,
        departing,
        changes,
        events: u32::try_from(space.changes().events().count()).unwrap_or(u32::MAX),
        is_over: lane.is_over,
    }
}
