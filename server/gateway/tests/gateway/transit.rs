//! Crowds while somebody is between two lanes: the gateway's own tracks of those in transit.

use crate::crowd_check::from;
use crate::handoff::{CROWD, NPC, ORDERS, Space};
use crate::lane::{Birth, Entity, TestLane};
use crate::rig::Rig;
use myriad_wire::crowd::message::Form;
use myriad_wire::crowd::{TrackId, told_cell_of};
use myriad_wire::fabric::{Frame, Issuer, JoinRecord, LeaveRecord, ToGateway};
use myriad_wire::{KindId, LaneId, Pos, Slot};

/// The one track that holds the npc. It holds nobody else.
fn own_track(space: &Space) -> TrackId {
    let crowd = &space.told().crowd;
    let tracks = crowd.tracks_of(space.npc());
    assert_eq!(tracks.len(), 1);
    assert_eq!(crowd.track(tracks[0]).len(), 1);
    tracks[0]
}

/// The source lets the npc go, and nobody has it.
fn let_go(space: &mut Space) -> Entity {
    let to = space.rig.others[0].id;
    space.rig.lane.let_go(NPC, to);
    space.rig.lane.entities.remove(&NPC).unwrap()
}

fn in_transit(lanes: [LaneId; 2]) -> (Space, Entity) {
    let mut space = Space::new(lanes, CROWD);
    let entity = let_go(&mut space);
    space.steps(1);
    (space, entity)
}

#[test]
fn who_is_in_transit_waits_in_a_track_that_ends_with_the_message_in_which_the_destinations_has_it() {
    for lanes in ORDERS {
        for ticks in [1, 9] {
            let mut space = Space::new(lanes, CROWD);
            space.rig.late.insert(lanes[1]);
            let place = space.rig.lane.entities[&NPC].position;
            space.hand_off();
            space.steps(1);
            let waiting = own_track(&space);
            let crowd = &space.told().crowd;
            assert!(crowd.forms(Form::Keyframe).contains(&waiting));
            let cell = crowd.track(waiting).cell(0, 0);
            assert_eq!(cell, told_cell_of(place.to_wire().centre()));
            for _ in 1..ticks {
                space.steps(1);
                assert_eq!(own_track(&space), waiting);
                let told = &space.told().crowd.records;
                assert!(told.iter().all(|record| record.1 != waiting), "it stays as it is");
            }
            space.rig.late.clear();
            space.rig.publish();
            loop {
                space.rig.tick();
                space.check();
                let there = own_track(&space);
                let ends = space.told().crowd.forms(Form::Drop).contains(&waiting);
                assert_eq!(there != waiting, ends);
                if ends {
                    break;
                }
                assert!(space.rig.gateway.frames_ready(), "it was never claimed");
            }
            space.catch_up();
            space.steps(2);
            let counters = space.rig.gateway.counters();
            assert_eq!((counters.crowd_withheld, counters.transits_ended), (0, 0));
        }
    }
}

#[test]
fn the_track_of_whom_nobody_claims_ends_with_it() {
    for lanes in ORDERS {
        let (mut space, mut lost) = in_transit(lanes);
        let waiting = own_track(&space);
        space.steps(63);
        assert_eq!(own_track(&space), waiting);
        let npc = space.npc();
        space.rig.step();
        assert_eq!(space.told().crowd.forms(Form::Drop), [waiting]);
        assert_eq!(space.rig.gateway.counters().transits_ended, 1);
        let all = space.names.clone();
        space.names.remove(&npc);
        space.steps(3);
        // If it turns up after all a track of that lane has it.
        lost.hop.0 += 1;
        space.rig.others[0].adopt(lost);
        space.names = all;
        space.steps(3);
    }
}

#[test]
fn a_client_that_comes_meanwhile_is_told_of_the_track_too() {
    for lanes in ORDERS {
        let (mut space, _) = in_transit(lanes);
        let waiting = own_track(&space);
        let bob = space.rig.join("bob");
        space.rig.steps(2);
        let crowd = &space.rig.clients[bob].crowd;
        assert!(crowd.complete);
        assert_eq!(crowd.tracks_of(space.npc()), [waiting]);
        assert_eq!(crowd.track(waiting).len(), 1);
        space.rig.steps(61);
        let crowd = &space.rig.clients[bob].crowd;
        assert_eq!(crowd.tracks_of(space.npc()), []);
        assert!(!crowd.tracks.keys().any(|(_, track)| *track == waiting));
    }
}

/// The next frame of a lane: the entity came there as one of these layers and went on in the same tick.
fn passes_through(rig: &mut Rig, entity: &Entity, layers: u32) {
    let to = rig.lane.id;
    let source = rig.lane.publish();
    let lane: &mut TestLane = &mut rig.others[0];
    lane.tick = lane.tick + 1;
    let (slot, generation, mut hop) = (Slot(entity.slot), entity.generation, entity.hop);
    hop.0 += 1;
    let frame = Frame {
        lane: lane.id,
        epoch: lane.epoch,
        tick: lane.tick,
        issuers: vec![entity.issuer],
        joins: vec![JoinRecord {
            issuer: Issuer(0),
            slot,
            generation,
            hop,
            entity: entity.entity,
            kind: KindId(0),
            layers,
            position: entity.position.to_wire(),
            properties: Vec::new(),
            version: 0,
        }],
        leaves: vec![LeaveRecord {
            issuer: Issuer(0),
            slot,
            generation,
            hop,
            to: Some(to),
        }],
        ..Frame::default()
    };
    let message = lane.post(&ToGateway::Frame(Box::new(frame)));
    for message in source.into_iter().chain([message]) {
        rig.gateway.handle_fabric(&message.0, message.1);
    }
    rig.tick();
}

#[test]
fn the_track_is_another_when_its_member_is_of_another_class() {
    for lanes in ORDERS {
        let (mut space, mut entity) = in_transit(lanes);
        let waiting = own_track(&space);
        // Still of a class that the client sees: it never has nobody.
        passes_through(&mut space.rig, &entity, 3);
        space.check();
        let next = own_track(&space);
        assert_eq!(space.told().crowd.forms(Form::Drop), [waiting]);
        assert_eq!(space.told().crowd.forms(Form::Keyframe), [next]);
        assert_ne!(next, waiting);
        space.steps(2);
        assert_eq!(own_track(&space), next);
        // And of one that it does not see.
        entity.hop.0 += 1;
        passes_through(&mut space.rig, &entity, 2);
        assert_eq!(space.told().crowd.forms(Form::Drop), [next]);
        let npc = space.npc();
        assert!(!space.in_view().contains(&npc));
        assert_eq!(space.rig.gateway.counters().crowd_withheld, 0);
    }
}

#[test]
fn who_is_in_transit_at_the_very_edge_of_the_grid_is_told_too() {
    let corners = [i32::MIN, i32::MAX];
    for at in corners
        .into_iter()
        .flat_map(|x| corners.map(|z| Pos { x, y: x, z }))
    {
        let mut rig = Rig::of_two(ORDERS[0], from(CROWD));
        let birth = Birth {
            position: at,
            layers: 1,
            sees: 1,
        };
        for lane in std::iter::once(&mut rig.lane).chain(&mut rig.others) {
            lane.births.insert("ada".into(), birth);
        }
        let npc = rig.lane.spawn(at, 1);
        let ada = rig.join("ada");
        rig.steps(2);
        let before = rig.clients[ada].crowd.names();
        assert_eq!(before.len(), 2);
        let to = rig.others[0].id;
        rig.lane.let_go(npc, to);
        rig.lane.entities.remove(&npc);
        rig.steps(2);
        let crowd = &rig.clients[ada].crowd;
        assert_eq!(crowd.names(), before);
        for track in crowd.tracks.values() {
            assert_eq!(track.len(), 1);
            assert_eq!(track.cell(0, 0), told_cell_of(at.to_wire().centre()));
        }
    }
}
