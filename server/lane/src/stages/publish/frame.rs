//! The frame: the same bytes for every reader.

use super::properties;
use crate::issuers::Issuers;
use crate::lane::Lane;
use myriad_wire::fabric::{
    ChangeRecord, CrowdRecord, EventRecord, Frame, JoinRecord, Keyframe, LayersRecord, LeaveRecord,
    TrackRecord,
};
use myriad_wire::schema::Audience;
use myriad_wire::track::Told;
use myriad_wire::{EntityName, Hop, Tick};
use myriad_world::{Handle, PropertyMask};

/// Counts the versions of public properties on to those after this tick's changes.
pub(super) fn versions(lane: &mut Lane) {
    let (space, versions) = (&lane.space, &mut lane.versions);
    versions.begin();
    for handle in space.changes().joins() {
        versions.begin_life(handle.slot, space.changes().touched(handle));
    }
    for (handle, mask) in space.changes().changed() {
        let kind = space.kind(handle).expect("the change log names the living");
        if !kind.audience(Audience::All).and(mask).is_empty() {
            versions.count(handle.slot);
        }
    }
}

/// The states of all entities, encoded once.
pub(super) fn tracks(lane: &mut Lane, now: Tick, issuers: &mut Issuers) -> Vec<TrackRecord> {
    lane.tracks.clear();
    for subject in &lane.subjects {
        let place = subject.handle.slot;
        let told = Told {
            slot: subject.name.slot,
            position: subject.position.to_wire(),
            version: lane.versions.version(place),
            changed: lane.versions.changed_of_late(place),
        };
        let issuer = issuers.index(subject.name.issuer);
        lane.tracks.add(subject.layers, issuer, subject.position, told);
    }
    lane.tracks.build(now)
}

/// A frame with everything that can be told of it without looking at entities. The table of issuers comes last.
fn head(
    lane: &Lane,
    now: Tick,
    tracks: Vec<TrackRecord>,
    crowd: Vec<CrowdRecord>,
    issuers: &mut Issuers,
) -> Frame {
    let event = |event: &myriad_world::SpaceEvent| EventRecord {
        issuer: issuers.index(event.entity_name.issuer),
        slot: event.entity_name.slot,
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
pub(super) fn delta(
    lane: &Lane,
    now: Tick,
    tracks: Vec<TrackRecord>,
    crowd: Vec<CrowdRecord>,
    issuers: &mut Issuers,
) -> Frame {
    let space = &lane.space;
    let changes = space.changes();
    let joins = changes
        .joins()
        .map(|handle| join_record(lane, handle, issuers))
        .collect();
    let mut changed = Vec::new();
    for (handle, mask) in changes.changed() {
        let properties = properties(lane, handle, Audience::All, mask);
        if !properties.is_empty() {
            let name = name(lane, handle);
            changed.push(ChangeRecord {
                issuer: issuers.index(name.issuer),
                slot: name.slot,
                properties,
            });
        }
    }
    let layers = |handle: Handle| {
        let name = name(lane, handle);
        LayersRecord {
            issuer: issuers.index(name.issuer),
            slot: name.slot,
            layers: space.sight(handle).expect(LIVING).layers,
        }
    };
    let layers = changes.layers().map(layers).collect();
    let leaves = changes
        .leaves()
        .iter()
        .map(|left| leave_record(lane, (left.name, left.hop), issuers))
        .collect();
    let mut frame = Frame {
        joins,
        changes: changed,
        layers,
        leaves,
        ..head(lane, now, tracks, crowd, issuers)
    };
    frame.issuers = issuers.table();
    frame
}

/// Everything there is.
pub(super) fn keyframe(lane: &Lane, now: Tick, tracks: Vec<TrackRecord>, issuers: &mut Issuers) -> Frame {
    let keyframe = Keyframe {
        space: lane.config.space,
        clock: lane.config.clock,
        rules: lane.rules(),
        kinds: lane.space.kinds().schema(),
    };
    let joins = lane
        .subjects
        .iter()
        .map(|subject| join_record(lane, subject.handle, issuers))
        .collect();
    let departed = lane.departures.lately();
    let leaves = departed.map(|life| leave_record(lane, life, issuers)).collect();
    let crowd = lane.crowd.keyframes(now, issuers);
    let mut frame = Frame {
        keyframe: Some(keyframe),
        joins,
        leaves,
        ..head(lane, now, tracks, crowd, issuers)
    };
    frame.issuers = issuers.table();
    frame
}

const LIVING: &str = "the change log and the list of subjects name the living";

fn name(lane: &Lane, handle: Handle) -> EntityName {
    lane.space.life(handle).expect(LIVING).name
}

fn join_record(lane: &Lane, handle: Handle, issuers: &mut Issuers) -> JoinRecord {
    let life = lane.space.life(handle).expect(LIVING);
    JoinRecord {
        issuer: issuers.index(life.name.issuer),
        slot: life.name.slot,
        generation: life.name.generation,
        hop: life.hop,
        entity: lane.space.id(handle).expect(LIVING),
        kind: lane.space.kind(handle).expect(LIVING).id(),
        layers: lane.space.sight(handle).expect(LIVING).layers,
        position: lane.space.position(handle).expect(LIVING).to_wire(),
        properties: properties(lane, handle, Audience::All, PropertyMask::ALL),
        version: lane.versions.version(handle.slot),
    }
}

fn leave_record(lane: &Lane, (name, hop): (EntityName, Hop), issuers: &mut Issuers) -> LeaveRecord {
    LeaveRecord {
        issuer: issuers.index(name.issuer),
        slot: name.slot,
        generation: name.generation,
        hop,
        to: lane.departures.to(name),
    }
}
