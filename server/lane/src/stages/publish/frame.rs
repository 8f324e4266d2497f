//! The frame: the same bytes for every reader.

use super::properties;
use crate::lane::Lane;
use myriad_wire::Tick;
use myriad_wire::fabric::{
    ChangeRecord, CrowdRecord, EventRecord, Frame, JoinRecord, Keyframe, LayersRecord, LeaveRecord,
    TrackRecord,
};
use myriad_wire::schema::Audience;
use myriad_wire::track::Told;
use myriad_world::{Handle, PropertyMask};

/// Counts the versions of public properties on to those after this tick's changes.
pub(super) fn versions(lane: &mut Lane) {
    let (space, versions) = (&lane.space, &mut lane.versions);
    versions.begin();
    for handle in space.changes().joins() {
        versions.reset(handle.slot);
    }
    for (handle, mask) in space.changes().changed() {
        let kind = space.kind(handle).expect("the change log names the living");
        if !kind.audience(Audience::All).and(mask).is_empty() {
            versions.count(handle.slot);
        }
    }
}

/// The states of all entities, encoded once.
pub(super) fn tracks(lane: &mut Lane, now: Tick) -> Vec<TrackRecord> {
    lane.tracks.clear();
    for subject in &lane.subjects {
        let slot = subject.handle.slot;
        let told = Told {
            slot,
            position: subject.position.to_wire(),
            version: lane.versions.version(slot),
            changed: lane.versions.changed_of_late(slot),
        };
        lane.tracks.add(subject.layers, subject.position, told);
    }
    lane.tracks.build(now)
}

/// A frame with everything that can be told of it without looking at entities.
fn head(lane: &Lane, now: Tick, tracks: Vec<TrackRecord>, crowd: Vec<CrowdRecord>) -> Frame {
    let event = |event: &myriad_world::SpaceEvent| EventRecord {
        slot: event.subject.slot,
        name: event.name.clone(),
        arguments: event.arguments.clone(),
    };
    Frame {
        lane: lane.config.lane,
        epoch: lane.config.epoch,
        tick: now,
        skipped_ticks: lane.counters.skipped_ticks,
        events: lane.space.changes().events().map(event).collect(),
        tracks,
        crowd,
        ..Frame::default()
    }
}

/// What changed in this tick. `crowd` is what did in the crowd tracks.
pub(super) fn delta(lane: &Lane, now: Tick, tracks: Vec<TrackRecord>, crowd: Vec<CrowdRecord>) -> Frame {
    let space = &lane.space;
    let changes = space.changes();
    let changed = |(handle, mask)| {
        let properties = properties(lane, handle, Audience::All, mask);
        (!properties.is_empty()).then_some(ChangeRecord {
            slot: handle.slot,
            properties,
        })
    };
    let layers = |handle: Handle| {
        let sight = space.sight(handle).expect("the change log names the living");
        LayersRecord {
            slot: handle.slot,
            layers: sight.layers,
        }
    };
    Frame {
        joins: changes.joins().map(|handle| join_record(lane, handle)).collect(),
        changes: changes.changed().filter_map(changed).collect(),
        layers: changes.layers().map(layers).collect(),
        leaves: changes
            .leaves()
            .iter()
            .map(|handle| LeaveRecord {
                slot: handle.slot,
                generation: handle.generation,
            })
            .collect(),
        ..head(lane, now, tracks, crowd)
    }
}

/// Everything there is.
pub(super) fn keyframe(lane: &Lane, now: Tick, tracks: Vec<TrackRecord>) -> Frame {
    let keyframe = Keyframe {
        space: lane.config.space,
        clock: lane.config.clock,
        rules: lane.rules(),
        kinds: lane.space.kinds().schema(),
    };
    let joins = lane
        .subjects
        .iter()
        .map(|subject| join_record(lane, subject.handle))
        .collect();
    Frame {
        keyframe: Some(keyframe),
        joins,
        ..head(lane, now, tracks, lane.crowd.keyframes(now))
    }
}

fn join_record(lane: &Lane, handle: Handle) -> JoinRecord {
    let living = "the change log and the list of subjects name the living";
    JoinRecord {
        slot: handle.slot,
        generation: handle.generation,
        entity: lane.space.id(handle).expect(living),
        kind: lane.space.kind(handle).expect(living).id(),
        layers: lane.space.sight(handle).expect(living).layers,
        position: lane.space.position(handle).expect(living).to_wire(),
        properties: properties(lane, handle, Audience::All, PropertyMask::ALL),
        version: lane.versions.version(handle.slot),
    }
}
