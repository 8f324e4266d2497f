//! Who gives names: what a frame may say of them, and how long clients know them by one handle.

use crate::crowd_check::from;
use crate::handoff::*;
use crate::lane::at;
use crate::rig::Rig;
use myriad_wire::fabric::{Frame, Issuer, JoinRecord, LeaveRecord, ToGateway};
use myriad_wire::{EntityId, Generation, Hop, KindId, Slot, SubjectRef};
use std::collections::BTreeSet;

#[test]
fn a_frame_that_names_an_issuer_beyond_its_table_is_refused_there_and_one_that_names_it_twice_is_not() {
    let mut rig = Rig::with(from(LISTED));
    let npc = rig.lane.spawn(at(1, 1), 1);
    let ada = rig.join("ada");
    rig.steps(2);
    let counted = rig.gateway.counters().records_refused;
    rig.lane.tick = rig.lane.tick + 1;
    let (slot, generation) = (Slot(40), Generation(1));
    let join = |issuer: u16, slot: Slot| JoinRecord {
        issuer: Issuer(issuer),
        slot,
        generation,
        hop: Hop(0),
        entity: EntityId(1000 + u64::from(slot.0)),
        kind: KindId(0),
        layers: 1,
        position: at(2, 2).to_wire(),
        properties: Vec::new(),
        version: 0,
    };
    let leave = |issuer: u16, slot: Slot, generation: Generation| LeaveRecord {
        issuer: Issuer(issuer),
        slot,
        generation,
        hop: Hop(0),
        to: None,
    };
    let first = rig.lane.entities[&npc].generation;
    let frame = Frame {
        lane: rig.lane.id,
        epoch: rig.lane.epoch,
        tick: rig.lane.tick,
        issuers: vec![rig.lane.epoch; 2],
        joins: vec![join(2, Slot(41)), join(1, slot)],
        leaves: vec![leave(7, Slot(npc), first), leave(1, Slot(npc), first)],
        ..Frame::default()
    };
    let message = rig.lane.post(&ToGateway::Frame(Box::new(frame)));
    rig.gateway.handle_fabric(&message.0, message.1);
    rig.tick();
    assert_eq!(rig.gateway.counters().records_refused, counted + 2);
    let update = rig.clients[ada].update.as_ref().unwrap();
    let entered: Vec<Slot> = update.enters.iter().map(|enter| enter.subject.slot).collect();
    let left: Vec<Slot> = update.leaves.iter().map(|leave| leave.subject.slot).collect();
    assert_eq!((entered, left), (vec![slot], vec![Slot(npc)]));
}

#[test]
fn an_issuers_handle_is_given_up_and_given_again_after_all_others() {
    // The client is at the lane that stays.
    let mut lanes = ORDERS.into_iter().map(|lanes| Space::new(lanes, LISTED));
    let at_the_other = |space: &Space| space.rig.others[0].slot_of("ada").is_some();
    let mut space = lanes.find(at_the_other).unwrap();
    let there = space.hand_off();
    space.steps(2);
    let npc = space.npc();
    let mut handles = BTreeSet::new();
    for life in 0..300 {
        let mut next = crate::lane::TestLane::new(space.rig.lane.id, 100 + life);
        next.tick = space.rig.lane.tick;
        space.rig.lane = next;
        space.rig.lane.spawn(at(1, 1), 1);
        space.rig.step();
        let view = &space.told().view;
        assert!(view.contains_key(&npc), "its name outlives its issuer");
        let new: Vec<SubjectRef> = view
            .keys()
            .copied()
            .filter(|name| name.lane != npc.lane && !space.names.contains(name))
            .collect();
        assert_eq!(new.len(), 1, "in life {life}");
        assert_ne!(new[0].lane, npc.lane);
        handles.insert(new[0].lane);
    }
    assert_eq!(
        handles.len(),
        254,
        "all but that of the npc and of the other lane"
    );
    // Nobody has a name of it any more.
    space.rig.others[0].despawn(there);
    space.rig.steps(100);
    for life in 400..700 {
        let mut next = crate::lane::TestLane::new(space.rig.lane.id, life);
        next.tick = space.rig.lane.tick;
        space.rig.lane = next;
        space.rig.lane.spawn(at(1, 1), 1);
        space.rig.step();
        handles.extend(space.told().view.keys().map(|name| name.lane));
    }
    assert!(handles.contains(&npc.lane));
    assert_eq!(space.rig.gateway.counters().issuers_refused, 0);
}
