//! Clients that are told their view as a crowd.

use crate::client::identify;
use crate::crowd_check::{alone, check, distance2, from, rig};
use crate::lane::{Birth, at};
use crate::rig::{Rig, config};
use myriad_wire::crowd::TrackId;
use myriad_wire::crowd::message::Form;
use myriad_wire::fabric::{Issuer, LayersRecord};
use myriad_wire::limits::DATAGRAM_BYTES_MAX;
use myriad_wire::track::Level;
use myriad_wire::{PropertyIndex, Slot, Value};
use std::collections::BTreeSet;

#[test]
fn a_client_with_many_in_view_is_told_a_crowd_until_it_has_fewer_than_five_eighths() {
    let mut rig = Rig::with(from(16));
    let npcs: Vec<u32> = (0..15).map(|i| rig.lane.spawn(at(i, 3), 1)).collect();
    let ada = rig.join("ada");
    assert_eq!(
        (rig.clients[ada].view.len(), rig.clients[ada].crowd.begins),
        (16, 0)
    );
    let more = rig.lane.spawn(at(1, 1), 1);
    rig.step();
    let head = rig.clients[ada].crowd.head.unwrap();
    assert_eq!(
        (head.begins, head.complete, head.tick),
        (true, true, rig.lane.tick)
    );
    let views = rig.clients[ada].views;
    for slot in [&npcs[..], &[more]].concat() {
        assert!(rig.clients[ada].crowd.has(slot));
    }
    rig.lane.despawn(more);
    for slot in &npcs[..5] {
        rig.lane.despawn(*slot);
    }
    rig.lane.change(npcs[9], Value::Int(7));
    rig.steps(3);
    check(&rig, ada);
    assert_eq!(
        (rig.clients[ada].views, rig.clients[ada].crowd.begins),
        (views, 1),
        "11 are a crowd still"
    );
    rig.lane.despawn(npcs[5]);
    rig.step();
    assert_eq!(rig.clients[ada].crowd.begins, 1, "10 of 16 are too");
    rig.lane.despawn(npcs[6]);
    rig.step();
    let listed: Vec<bool> = rig.clients[ada]
        .listed
        .iter()
        .map(|listed| listed.complete)
        .collect();
    assert_eq!(listed, [false, true]);
    assert_eq!(rig.clients[ada].view.len(), 9);
    let changed = &rig.clients[ada].view[&rig.name_of(npcs[9])].properties[0];
    assert_eq!(*changed, (PropertyIndex(0), Value::Int(7)));
    assert_eq!(rig.gateway.counters().crowds_left, 1);
    rig.steps(3);
    assert!(rig.clients[ada].listed.is_empty() && rig.clients[ada].crowd.head.is_none());
}

#[test]
fn a_view_that_is_told_again_in_parts_is_complete_with_the_last_of_them() {
    let mut config = from(100);
    config.view_bytes_max = 1024;
    let mut rig = Rig::with(config);
    for i in 0..110 {
        rig.lane.spawn(at(i % 10, i / 10), 1);
    }
    let ada = rig.join("ada");
    assert!(rig.clients[ada].crowd.complete);
    for slot in 0..50 {
        rig.lane.despawn(slot);
    }
    rig.step();
    let (mut parts, mut frozen) = (1, false);
    assert_eq!(rig.clients[ada].listed.len(), 1);
    while rig.clients[ada].listed.iter().all(|listed| !listed.complete) {
        assert!(rig.clients[ada].view.len() < 61 && parts < 10);
        // One that does not read in the middle of it is not told that it is over.
        frozen = parts == 1;
        rig.set_backlog(ada, if frozen { 1 << 20 } else { 0 });
        rig.step();
        assert!(!frozen || rig.clients[ada].listed.is_empty());
        parts += 1;
    }
    assert!(parts > 2 && !frozen);
    assert_eq!(rig.clients[ada].view.len(), 61);
}

#[test]
fn a_lane_without_crowd_tracks_lists_its_views() {
    let mut rig = rig(config());
    rig.lane.without_crowd = true;
    rig.lane.spawn(at(1, 1), 1);
    let ada = rig.join("ada");
    assert_eq!(
        (rig.clients[ada].view.len(), rig.clients[ada].crowd.begins),
        (2, 0)
    );
}

#[test]
fn a_track_is_told_from_the_radius_on_and_dropped_beyond_the_leave_radius() {
    let mut rig = rig(config());
    rig.lane.crowd.tile_of = Some(alone);
    let npc = rig.lane.spawn(at(41, 0), 1);
    let far = rig.lane.spawn(at(90, 0), 1);
    let ada = rig.join("ada");
    let go = |rig: &mut Rig, x: i32, told: bool| {
        rig.lane.entities.get_mut(&npc).unwrap().position.x = x;
        rig.step();
        check(rig, ada);
        assert_eq!(rig.clients[ada].crowd.has(npc), told, "{x}");
    };
    // One unit of interest is 32 of position; the radius is 40 m.
    go(&mut rig, 40 * 1024 + 32, false);
    go(&mut rig, 40 * 1024 + 31, true);
    go(&mut rig, 40 * 1024 + 32, true);
    go(&mut rig, 44 * 1024 + 31, true);
    go(&mut rig, 44 * 1024 + 32, false);
    go(&mut rig, 44 * 1024, false);
    assert!(!rig.clients[ada].crowd.has(far));
    // The same when nobody else is out of reach.
    rig.lane.entities.get_mut(&far).unwrap().position.x = 0;
    go(&mut rig, 40 * 1024 + 31, true);
    go(&mut rig, 44 * 1024 + 31, true);
    go(&mut rig, 44 * 1024 + 32, false);
    assert_eq!(rig.clients[ada].crowd.begins, 1);
    assert_eq!(rig.gateway.counters().crowd_drops_sent, 2);
}

#[test]
fn keyframes_keep_to_their_budget_the_own_track_first_and_then_the_nearest() {
    let mut config = config();
    config.keyframe_bytes_max = 1024;
    let mut rig = rig(config);
    for i in 0..1200 {
        rig.lane.spawn(at(i % 40 - 20, i / 40 - 15), 1);
    }
    let position = at(14, 14);
    let (layers, sees) = (1, 1);
    rig.lane.births.insert(
        "ada".into(),
        Birth {
            position,
            layers,
            sees,
        },
    );
    let ada = rig.join("ada");
    let own = rig.lane.slot_of("ada").unwrap();
    let (mut told, mut farthest) = (0, 0);
    for ticks in 0.. {
        let crowd = &rig.clients[ada].crowd;
        let keyframes = crowd.records.iter().filter(|record| record.0 == Form::Keyframe);
        let bytes: Vec<usize> = keyframes.map(|record| record.2).collect();
        assert!(
            bytes.len() == 1 || bytes.iter().sum::<usize>() <= 1024,
            "{bytes:?}"
        );
        let begun = crowd.forms(Form::Keyframe).into_iter();
        let distances: Vec<i64> = begun
            .map(|id| distance2(&rig, crowd.track(id), position.to_aoi()))
            .collect();
        assert!(distances.iter().all(|distance2| *distance2 >= farthest));
        farthest = *distances.iter().max().unwrap();
        told += distances.len();
        if ticks == 0 {
            assert!(crowd.has(own), "the own track first");
        }
        if crowd.complete {
            assert!(ticks > 2, "{ticks}");
            break;
        }
        assert!(!bytes.is_empty());
        rig.step();
        check(&rig, ada);
    }
    assert_eq!(told, rig.lane.crowd.tracks.len());
    assert!(farthest > 0);
}

#[test]
fn a_client_that_does_not_read_is_told_its_own_record_only_and_then_begins_anew() {
    let mut rig = rig(config());
    for i in 0..50 {
        rig.lane.spawn(at(i % 10, i / 10), 1);
    }
    let ada = rig.join("ada");
    rig.set_backlog(ada, 1 << 20);
    for _ in 0..5 {
        rig.lane.event(3, "wave");
        rig.step();
        assert!(rig.clients[ada].crowd.message.is_none());
        let payload = rig.clients[ada].payload.clone().unwrap();
        assert_eq!((payload.states.len(), payload.header.tick), (0, rig.lane.tick));
    }
    rig.set_backlog(ada, 0);
    rig.step();
    let crowd = &rig.clients[ada].crowd;
    assert!(crowd.head.unwrap().begins && crowd.complete && crowd.begins == 2);
    check(&rig, ada);
}

#[test]
fn a_restarted_lane_begins_anew_under_its_new_name() {
    let mut rig = rig(config());
    for i in 0..5 {
        rig.lane.spawn(at(i, 0), 1);
    }
    let ada = rig.join("ada");
    let before = *rig.clients[ada].crowd.tracks.keys().next().unwrap();
    rig.lane = rig.lane.restarted();
    rig.lane.spawn(at(1, 1), 1);
    rig.steps(4);
    let crowd = &rig.clients[ada].crowd;
    assert!(crowd.complete && crowd.begins >= 2);
    assert!(!crowd.tracks.is_empty() && crowd.tracks.keys().all(|key| key.0 != before.0));
    check(&rig, ada);
}

#[test]
fn a_record_that_cant_be_applied_is_repaired_by_a_keyframe() {
    type Spoil = fn(&mut Vec<myriad_wire::fabric::CrowdRecord>);
    let faults: [Spoil; 5] = [
        |records| records.iter_mut().for_each(|record| record.bytes.push(0)),
        |records| records.iter_mut().for_each(|record| record.bytes.clear()),
        |records| records.iter_mut().for_each(|record| record.track.0 += 500),
        |records| records.iter_mut().for_each(|record| record.layers ^= 2),
        |records| records.iter_mut().for_each(|record| record.form = Form::Events),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let mut rig = rig(config());
        for i in 0..30 {
            rig.lane.spawn(at(i, 0), 1);
        }
        let ada = rig.join("ada");
        rig.lane.crowd.spoil = Some(fault);
        while rig.gateway.counters().crowd_streams_lost == 0 {
            rig.step();
        }
        rig.lane.crowd.spoil = None;
        let crowd = &rig.clients[ada].crowd;
        assert!(crowd.head.unwrap().begins && !crowd.complete, "{number}");
        assert!(crowd.tracks.is_empty(), "{number}");
        rig.steps(2);
        assert!(
            rig.clients[ada].crowd.complete,
            "{number}: the keyframe was asked for"
        );
        check(&rig, ada);
        // A keyframe that is as bad is not asked for again, or there would be one every tick.
        rig.lane.crowd.spoil = Some(fault);
        rig.steps(12);
        rig.lane.crowd.spoil = None;
        rig.lane.wants_full = true;
        rig.steps(6);
        let counters = rig.gateway.counters();
        assert!((2..=3).contains(&counters.crowd_streams_lost), "{number}");
        assert!(
            rig.clients[ada].crowd.complete && rig.clients[ada].crowd.begins >= 2,
            "{number}"
        );
        check(&rig, ada);
        assert_eq!(rig.closed(ada), None);
    }
}

#[test]
fn nothing_of_a_class_that_a_client_does_not_see_reaches_it() {
    let mut rig = rig(config());
    let (position, layers) = (at(0, 0), 1);
    rig.lane.births.insert(
        "ada".into(),
        Birth {
            position,
            layers,
            sees: 1,
        },
    );
    rig.lane.births.insert(
        "eve".into(),
        Birth {
            position,
            layers,
            sees: 3,
        },
    );
    let hidden = rig.lane.spawn(at(2, 2), 2);
    let shown = rig.lane.spawn(at(2, 3), 1);
    let (ada, eve) = (rig.join("ada"), rig.join("eve"));
    let plant = |rig: &mut Rig| {
        rig.lane.event(hidden, "planted");
        rig.lane.change(hidden, Value::Text("planted".into()));
        let question = identify(&[rig.name_of(hidden), rig.name_of(shown)]);
        for client in [ada, eve] {
            rig.say(client, question.clone());
        }
        rig.step();
        let names = |client: usize| {
            let records = rig.clients[client].identities.iter().flat_map(|i| &i.records);
            records.map(|record| record.subject.slot.0).collect::<Vec<_>>()
        };
        (names(ada), names(eve))
    };
    for _ in 0..5 {
        assert_eq!(plant(&mut rig), (vec![shown], vec![hidden, shown]));
        check(&rig, ada);
        check(&rig, eve);
    }
    let leaked = |rig: &Rig, client: usize| {
        rig.clients[client]
            .received
            .concat()
            .windows(7)
            .any(|bytes| bytes == b"planted")
    };
    assert!(!leaked(&rig, ada) && leaked(&rig, eve));
    // From one tick to the next it sees no more: not one record of the class comes after that.
    assert!(rig.clients[eve].crowd.has(hidden));
    rig.lane.set_sees("eve", 1);
    rig.clients[eve].received.clear();
    for _ in 0..5 {
        assert_eq!(plant(&mut rig), (vec![shown], vec![shown]));
        check(&rig, eve);
        assert!(!rig.clients[eve].crowd.has(hidden));
    }
    assert!(!leaked(&rig, eve));
    // The one hides before everybody's eyes.
    rig.lane.set_layers(shown, 2);
    rig.lane.event(shown, "planted");
    rig.step();
    assert!(!rig.clients[ada].crowd.has(shown) && !leaked(&rig, ada));
    check(&rig, ada);
}

#[test]
fn a_track_with_a_member_of_another_class_is_withheld_whole() {
    let mut rig = rig(config());
    let (one, other) = (rig.lane.spawn(at(2, 2), 1), rig.lane.spawn(at(3, 2), 1));
    rig.lane.crowd.tile_of = Some(|_| (1, 0, 0));
    let ada = rig.join("ada");
    assert!(rig.clients[ada].crowd.has(one));
    // A lane that forgets to move it to a track of its class; in a tick in which the track is told.
    rig.lane.set_layers(other, 2);
    rig.lane.spawn(at(4, 2), 1);
    for _ in 0..5 {
        rig.step();
        let crowd = &rig.clients[ada].crowd;
        assert!(crowd.tracks.is_empty() && crowd.forms(Form::Delta).is_empty());
    }
    assert!(rig.gateway.counters().crowd_withheld >= 5);
    rig.lane.set_layers(other, 1);
    rig.step();
    assert!(rig.clients[ada].crowd.has(other));
    check(&rig, ada);
}

#[test]
fn clients_that_are_told_the_same_are_sent_the_same_bytes() {
    let mut rig = rig(config());
    for i in 0..200 {
        rig.lane.spawn(at(i % 20, i / 20), 1);
    }
    let clients: Vec<usize> = ["ada", "eve", "joe"].map(|name| rig.join(name)).into();
    rig.lane
        .entities
        .get_mut(&rig.lane.slot_of("joe").unwrap())
        .unwrap()
        .position = at(60, 5);
    rig.steps(10);
    for _ in 0..8 {
        rig.lane.event(3, "wave");
        rig.step();
        let messages: Vec<_> = clients
            .iter()
            .map(|client| rig.clients[*client].crowd.message.clone())
            .collect();
        let address = |i: usize| messages[i].as_ref().map(|message| message.as_ptr());
        assert_eq!(address(0), address(1));
        assert!(address(0).is_some() && address(0) != address(2));
        clients.iter().for_each(|client| check(&rig, *client));
    }
}

#[test]
fn who_is_asked_about_is_told_within_a_budget_and_with_its_version() {
    let mut config = config();
    config.identity_bytes_per_tick = 60;
    let mut rig = rig(config);
    let npcs: Vec<u32> = (0..10).map(|i| rig.lane.spawn(at(i, 0), 1)).collect();
    let far = rig.lane.spawn(at(300, 0), 1);
    let ada = rig.join("ada");
    rig.lane.change(npcs[0], Value::Int(5));
    rig.step();
    rig.lane.change(npcs[0], Value::Int(6));
    rig.step();
    let mut stranger = rig.name_of(npcs[1]);
    stranger.generation.0 += 1;
    let nobody = myriad_wire::SubjectRef {
        slot: Slot(9999),
        ..stranger
    };
    let mut all = vec![rig.name_of(far), stranger, nobody];
    all.extend(npcs.iter().map(|slot| rig.name_of(*slot)));
    // What came late comes together; but no more than one question may hold.
    let questions = 64 / all.len() as u64;
    for _ in 0..=questions {
        rig.say(ada, identify(&all));
    }
    rig.step();
    let counters = rig.gateway.counters();
    assert_eq!(counters.identities_asked, questions * all.len() as u64);
    assert_eq!(counters.identifies_refused, 1);
    let records = rig.clients[ada].identities[0].records.clone();
    assert!((1..10).contains(&records.len()), "{}", records.len());
    let first = &records[0];
    let truth = &rig.lane.entities[&npcs[0]];
    assert_eq!(
        (first.subject, first.entity),
        (rig.name_of(npcs[0]), truth.entity)
    );
    assert_eq!((first.version, &first.properties), (2, &truth.properties));
    // A keyframe says the version; a change in the frame of a join is in it already.
    rig.lane.wants_full = true;
    rig.lane.change(npcs[0], Value::Int(7));
    let new = rig.lane.spawn(at(1, 1), 1);
    rig.step();
    let newer = rig.lane.spawn(at(2, 1), 1);
    rig.lane.change(newer, Value::Int(1));
    rig.step();
    for (slot, version) in [(npcs[0], 3), (new, 0), (newer, 1)] {
        rig.say(ada, identify(&[rig.name_of(slot)]));
        rig.step();
        assert_eq!(
            rig.clients[ada].identities[0].records[0].version, version,
            "{slot}"
        );
    }
    // One a tick costs nothing of the allowance for messages.
    for _ in 0..200 {
        rig.say(ada, identify(&all));
        rig.step();
    }
    assert_eq!(rig.closed(ada), None);
}

#[test]
fn events_come_from_the_nearest_tracks_as_far_as_their_budget_goes() {
    let mut rig = rig(config());
    rig.lane.crowd.tile_of = Some(alone);
    let npcs: Vec<u32> = (0..30).map(|i| rig.lane.spawn(at(1 + i, 0), 1)).collect();
    let ada = rig.join("ada");
    let (near, far) = (npcs[0], npcs[29]);
    rig.lane.event(far, "one");
    rig.lane.event(near, "two");
    rig.lane.event(near, "three");
    rig.step();
    let told = |rig: &Rig| -> Vec<(u32, String)> {
        let happenings = rig.clients[ada].crowd.happenings.iter();
        happenings.map(|h| (h.slot.0, h.name.clone())).collect()
    };
    let mut all = told(&rig);
    all.sort();
    assert_eq!(
        all,
        [(near, "three".into()), (near, "two".into()), (far, "one".into())]
    );
    let dropped = rig.gateway.counters().events_dropped;
    assert_eq!(dropped, 0);
    for slot in npcs.iter().rev() {
        rig.lane.event(*slot, "a rather long name of an event");
    }
    rig.step();
    let slots: Vec<u32> = told(&rig).iter().map(|told| told.0).collect();
    assert_eq!(slots, npcs[..slots.len()], "the nearest first");
    let bytes: usize = rig.clients[ada]
        .crowd
        .records
        .iter()
        .filter(|record| record.0 == Form::Events)
        .map(|record| record.2)
        .sum();
    assert!(bytes <= 512 && slots.len() > 5, "{bytes} {}", slots.len());
    assert_eq!(rig.gateway.counters().events_dropped, 30 - slots.len() as u64);
    check(&rig, ada);
}

#[test]
fn last_words_are_told_by_the_track_that_the_entity_left() {
    let mut rig = rig(config());
    let (npc, _other) = (rig.lane.spawn(at(1, 1), 1), rig.lane.spawn(at(2, 1), 1));
    let ada = rig.join("ada");
    rig.lane.event(npc, "alas");
    rig.lane.despawn(npc);
    rig.step();
    assert_eq!(rig.clients[ada].crowd.happenings.len(), 1);
    assert!(!rig.clients[ada].crowd.has(npc));
}

#[test]
fn whoever_hides_and_dies_in_one_tick_has_no_last_words() {
    let mut rig = rig(config());
    let (npc, _other) = (rig.lane.spawn(at(1, 1), 1), rig.lane.spawn(at(2, 1), 1));
    let ada = rig.join("ada");
    rig.lane.event(npc, "planted");
    rig.lane.despawn(npc);
    let (slot, layers) = (Slot(npc), 2);
    rig.lane.layers.push(LayersRecord {
        issuer: Issuer(0),
        slot,
        layers,
    });
    rig.step();
    assert!(rig.clients[ada].crowd.happenings.is_empty());
    assert_eq!(rig.gateway.counters().events_untold, 1);
}

#[test]
fn a_track_with_a_member_of_another_life_is_withheld_whole() {
    let mut rig = rig(config());
    let npc = rig.lane.spawn(at(1, 1), 1);
    let ada = rig.join("ada");
    // A lane that forgets to say that the one left and another came.
    rig.lane.crowd.spoil = Some(Vec::clear);
    rig.lane.despawn(npc);
    assert_eq!(rig.lane.spawn(at(1, 1), 1), npc);
    rig.step();
    assert!(rig.clients[ada].crowd.tracks.is_empty());
    assert_eq!(rig.gateway.counters().crowd_withheld, 1);
}

#[test]
fn near_states_are_those_of_the_nearest_and_give_way_to_the_crowd() {
    let mut config = config();
    config.near_target = 40;
    let mut near = rig(config.clone());
    for i in 0..1600 {
        near.lane
            .spawn(at(i % 40 - 20, i / 40 - 20), 1 + u32::from(i % 5 == 0));
    }
    let ada = near.join("ada");
    near.steps(3);
    let payload = near.clients[ada].payload.clone().unwrap();
    let slots: BTreeSet<u32> = payload.states.iter().map(|(.., state)| state.slot.0).collect();
    assert!((40..600).contains(&slots.len()), "{}", slots.len());
    assert!(payload.datagrams <= 2 && payload.chunk_bytes <= 2 * DATAGRAM_BYTES_MAX);
    assert!(payload.states.iter().all(|(_, level, _)| *level == Level::NEAR));
    assert!(
        slots.iter().all(|slot| near.lane.entities[slot].layers == 1),
        "only what it sees"
    );
    assert!(slots.contains(&near.lane.slot_of("ada").unwrap()));
    assert_eq!(near.gateway.counters().crowds_degraded, 0);
    config.near_target = 400;
    config.budget_bytes_per_s = 1;
    let mut poor = rig(config);
    for i in 0..1600 {
        poor.lane.spawn(at(i % 40 - 20, i / 40 - 20), 1);
    }
    let ada = poor.join("ada");
    poor.lane.event(3, "wave");
    poor.steps(3);
    assert!(poor.gateway.counters().crowds_degraded > 0);
    check(&poor, ada);
    let states = poor.clients[ada].payload.as_ref().unwrap().states.len();
    assert!((1..400).contains(&states), "{states}");
}

#[test]
fn a_number_of_a_track_that_ended_may_be_another_tracks_at_once() {
    let mut rig = rig(config());
    rig.lane.crowd.tile_of = Some(alone);
    let ada = rig.join("ada");
    let mut seen = BTreeSet::<TrackId>::new();
    let mut of_the_lane = BTreeSet::<TrackId>::new();
    for _ in 0..100 {
        let npc = rig.lane.spawn(at(1, 1), 1);
        rig.step();
        check(&rig, ada);
        assert!(rig.clients[ada].crowd.has(npc));
        seen.extend(rig.clients[ada].crowd.tracks.keys().map(|key| key.1));
        of_the_lane.extend(rig.lane.crowd.tracks.keys());
        rig.lane.despawn(npc);
    }
    assert!(of_the_lane.len() > 60, "the lane lets its numbers rest");
    assert!(seen.len() < 5, "the gateway gives its own");
    assert_eq!(rig.clients[ada].crowd.begins, 1);
}
