//! Payloads: what comes first, how much, how often, and at which level.

use crate::lane::at;
use crate::rig::{Rig, config};
use myriad_wire::limits::DATAGRAM_BYTES_MAX;
use myriad_wire::track::Level;
use std::collections::{BTreeMap, BTreeSet};

/// A rig with a crowd on a square of 60 m, all in view of the client in its middle.
fn crowd(entities: i32, near_target: u32, budget_bytes_per_s: u32) -> (Rig, usize) {
    let mut config = config();
    config.crowd_from = u32::MAX;
    config.near_target = near_target;
    config.budget_bytes_per_s = budget_bytes_per_s;
    let mut rig = Rig::with(config);
    for i in 0..entities {
        rig.lane.spawn(at(i * 7 % 60 - 30, i / 8 % 50 - 25), 1);
    }
    let client = rig.join("ada");
    (rig, client)
}

/// Ticks since each entity was told, over some ticks: the longest per entity.
fn longest_silence(rig: &mut Rig, client: usize, ticks: u64) -> BTreeMap<u32, u64> {
    let start = rig.lane.tick.0;
    let mut last: BTreeMap<u32, u64> = rig.lane.entities.keys().map(|slot| (*slot, start)).collect();
    let mut longest: BTreeMap<u32, u64> = rig.lane.entities.keys().map(|slot| (*slot, 0)).collect();
    for _ in 0..ticks {
        rig.step();
        let now = rig.lane.tick.0;
        let payload = rig.clients[client].payload.clone().unwrap();
        let mut told = BTreeSet::new();
        for (_, level, state) in payload.states {
            assert!(told.insert(state.slot), "an entity is told once a tick");
            assert!(level.is_due(payload.header.tick, state.slot));
            last.insert(state.slot.0, now);
        }
        for (slot, longest) in &mut longest {
            *longest = (*longest).max(now - last[slot]);
        }
    }
    longest
}

#[test]
fn the_nearest_are_told_every_tick_and_the_others_every_second() {
    let (mut rig, client) = crowd(1000, 100, 10_000_000);
    let silence = longest_silence(&mut rig, client, 16);
    let near = silence.values().filter(|ticks| **ticks == 0).count();
    assert!((100..300).contains(&near), "{near}");
    assert!(silence.values().all(|ticks| *ticks <= 1));
    let own = rig.lane.slot_of("ada").unwrap();
    assert_eq!(silence[&own], 0);
    assert_eq!(rig.gateway.counters().tracks_degraded, 0);
}

#[test]
fn few_entities_are_all_near() {
    let (mut rig, client) = crowd(50, 100, 10_000_000);
    rig.step();
    let states = &rig.clients[client].payload.as_ref().unwrap().states;
    assert_eq!(states.len(), 51);
    assert!(states.iter().all(|(_, level, _)| *level == Level::NEAR));
    assert_eq!(rig.clients[client].payload.as_ref().unwrap().datagrams, 1);
}

#[test]
fn a_small_budget_makes_the_farthest_staler_and_is_kept() {
    let (mut rig, client) = crowd(4000, 100, 10_000_000);
    rig.step();
    let full = rig.clients[client].payload.as_ref().unwrap().chunk_bytes as u32;
    // Ten ticks a second: half of what is asked for.
    let budget = full / 2;
    let (mut rig, client) = crowd(4000, 100, budget * 10);
    let silence = longest_silence(&mut rig, client, 24);
    assert!(
        silence.values().all(|ticks| *ticks < Level::LAST.period_ticks()),
        "nobody is left out"
    );
    let own = rig.lane.slot_of("ada").unwrap();
    assert_eq!(silence[&own], 0, "the near are degraded last");
    assert!(silence.values().any(|ticks| *ticks >= 3), "the far are");
    for _ in 0..8 {
        rig.step();
        let bytes = rig.clients[client].payload.as_ref().unwrap().chunk_bytes as u32;
        assert!(bytes <= budget, "{bytes} of {budget}");
    }
    assert!(rig.gateway.counters().tracks_degraded > 0);
    assert_eq!(rig.gateway.counters().tracks_dropped, 0);
}

#[test]
fn a_budget_of_next_to_nothing_still_brings_the_own_record_and_the_nearest() {
    let (mut rig, client) = crowd(4000, 1000, 1);
    rig.steps(4);
    let payload = rig.clients[client].payload.clone().unwrap();
    assert!(payload.chunk_bytes <= DATAGRAM_BYTES_MAX);
    assert!(!payload.states.is_empty());
    assert!(rig.gateway.counters().tracks_dropped > 0);
    let own = rig.lane.entities[&rig.lane.slot_of("ada").unwrap()].position;
    assert_eq!(payload.header.own.position, own);
}

#[test]
fn a_frozen_client_gets_states_at_the_last_level_only() {
    let (mut rig, client) = crowd(300, 100, 10_000_000);
    rig.set_backlog(client, 1 << 20);
    for _ in 0..8 {
        rig.step();
        let payload = rig.clients[client].payload.clone().unwrap();
        assert!(payload.states.iter().all(|(_, level, _)| *level == Level::LAST));
    }
}

#[test]
fn datagrams_are_well_filled_and_tracks_out_of_reach_are_not_sent() {
    let (mut rig, client) = crowd(2000, 100, 10_000_000);
    for i in 0..200 {
        rig.lane.spawn(at(300 + i, 0), 1);
    }
    rig.steps(2);
    let payload = rig.clients[client].payload.clone().unwrap();
    let least = payload.chunk_bytes.div_ceil(DATAGRAM_BYTES_MAX);
    assert!(
        payload.datagrams <= least + 1,
        "{} datagrams for {} bytes",
        payload.datagrams,
        payload.chunk_bytes
    );
    assert!(payload.states.iter().all(|(.., state)| state.slot.0 <= 2000));
}

#[test]
fn states_of_a_slots_next_life_are_not_told_to_a_client_that_still_knows_the_last() {
    let mut rig = Rig::new();
    let npc = rig.lane.spawn(at(3, 3), 1);
    let ada = rig.join("ada");
    rig.set_backlog(ada, config().backlog_bytes_max + 1);
    rig.lane.despawn(npc);
    rig.step();
    assert_eq!(rig.lane.spawn(at(9, 9), 1), npc);
    let mut frozen_then_told = Vec::new();
    for backlog in [config().backlog_bytes_max + 1, 0, 0] {
        rig.set_backlog(ada, backlog);
        // At the last level each is due every eighth tick.
        for _ in 0..8 {
            let knows_the_last = rig.clients[ada].view.keys().any(|name| name.slot.0 == npc);
            let knew_it = knows_the_last && !rig.sees(ada, npc);
            rig.step();
            let payload = rig.clients[ada].payload.clone().expect("the own record at least");
            let is_told = payload.states.iter().any(|(_, _, state)| state.slot.0 == npc);
            frozen_then_told.push((knew_it, is_told));
        }
    }
    assert!(frozen_then_told.contains(&(true, false)) && frozen_then_told.contains(&(false, true)));
    assert!(!frozen_then_told.contains(&(true, true)), "{frozen_then_told:?}");
}
