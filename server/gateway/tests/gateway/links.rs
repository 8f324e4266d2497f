//! Links to lanes: loss, restarts, dead owners, and what sessions and views make of them.

use crate::client::intents;
use crate::lane::{GATEWAY, TestLane, at};
use crate::rig::{LANE, Rig, config};
use bytes::Bytes;
use myriad_gateway::{ClientInput, Gateway, Outputs};
use myriad_wire::fabric::{Envelope, RoleId, ToGateway};
use myriad_wire::payload::Step;
use myriad_wire::{CloseReason, GatewayId, IntentSeq, LaneEpoch, LaneId, SessionEpoch, Value};
use proptest::prelude::*;

#[test]
fn the_first_report_subscribes_and_every_tick_brings_one() {
    let mut rig = Rig::new();
    rig.lose_frames = true;
    rig.steps(3);
    let full: Vec<bool> = rig.lane.reports.iter().map(|report| report.full).collect();
    assert_eq!(full, [true, false, false]);
    assert_eq!(rig.lane.reports[0].epoch, LaneEpoch(0));
    rig.lose_frames = false;
}

#[test]
fn a_lost_frame_is_repaired_by_a_keyframe_and_only_the_difference_is_told() {
    let mut rig = Rig::new();
    let npcs: Vec<u32> = (0..10).map(|i| rig.lane.spawn(at(i, 3), 1)).collect();
    let ada = rig.join("ada");
    rig.steps(2);
    let keyframes = rig.gateway.counters().keyframes_applied;
    rig.lose_frames = true;
    rig.lane.despawn(npcs[4]);
    rig.step();
    rig.lose_frames = false;
    assert_eq!(rig.lane.spawn(at(4, 4), 1), npcs[4]);
    rig.lane.change(npcs[5], Value::Int(9));
    rig.step();
    assert_eq!(rig.clients[ada].update, None, "behind a gap nothing is taken");
    assert!(rig.clients[ada].payload.is_none());
    rig.step();
    let update = rig.clients[ada].update.clone().unwrap();
    assert_eq!(
        (update.enters.len(), update.leaves.len(), update.changes.len()),
        (1, 1, 1)
    );
    assert_eq!(rig.gateway.counters().keyframes_applied, keyframes + 1);
    assert_eq!(rig.clients[ada].joins, 1, "the session did not notice");
    assert_eq!(rig.closed(ada), None);
}

#[test]
fn what_was_lost_on_the_way_to_the_lane_is_told_again() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    rig.lose_reports = true;
    rig.walk(ada, 100, 0);
    rig.command(ada, "wave");
    let eve = rig.enter("eve");
    rig.step();
    rig.lose_reports = false;
    rig.walk(ada, 100, 0);
    rig.steps(2);
    rig.walk(ada, 100, 0);
    rig.steps(3);
    assert!(rig.gateway.counters().resyncs >= 1);
    assert!(rig.lane.reports.iter().filter(|report| report.full).count() >= 2);
    assert_eq!(rig.lane.commands.len(), 1, "once");
    assert_eq!(rig.clients[ada].results.len(), 1);
    assert_eq!(
        rig.lane.entities[&rig.lane.slot_of("ada").unwrap()].position.x,
        300
    );
    assert!(rig.clients[eve].joined.is_some());
}

#[test]
fn steps_that_a_lost_report_held_are_not_skipped_by_the_full_one_that_repairs_it() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    rig.lose_reports = true;
    rig.walk(ada, 100, 0);
    rig.step();
    rig.lose_reports = false;
    for _ in 0..4 {
        rig.walk(ada, 100, 0);
        rig.step();
    }
    rig.steps(3);
    let slot = rig.lane.slot_of("ada").unwrap();
    assert_eq!(rig.lane.entities[&slot].position.x, 500);
}

#[test]
fn a_session_that_the_lane_lost_is_over() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    let session = rig.clients[ada].session.unwrap();
    // The end is said in a message that is lost; the full routes after it do not name the session.
    rig.lose_frames = true;
    rig.lane.end(session, CloseReason::Replaced);
    rig.step();
    rig.lose_frames = false;
    rig.steps(4);
    assert_eq!(rig.closed(ada), Some(CloseReason::Replaced), "and is told why");
}

#[test]
fn a_lane_of_a_higher_epoch_takes_over_and_the_dead_one_is_refused() {
    let mut rig = Rig::new();
    for i in 0..5 {
        rig.lane.spawn(at(i, 3), 1);
    }
    let ada = rig.join("ada");
    rig.steps(2);
    let before = rig.clients[ada].joined.clone().unwrap();
    rig.lane.mute = true;
    rig.command(ada, "wave");
    rig.steps(2);
    let mut dead = std::mem::replace(&mut rig.lane, TestLane::new(LANE, 2));
    rig.lane = dead.restarted();
    for i in 0..5 {
        rig.lane.spawn(at(i, 3), 1);
    }
    rig.lane.change(0, Value::Int(77));
    let mut ticks = 0;
    while rig.clients[ada].joins < 2 {
        // The old owner has not noticed its death.
        for message in dead.publish() {
            rig.gateway.handle_fabric(&message.0, message.1);
        }
        rig.step();
        ticks += 1;
        assert!(ticks < 8);
    }
    rig.steps(2);
    let after = rig.clients[ada].joined.clone().unwrap();
    assert_ne!(
        before.avatar.lane, after.avatar.lane,
        "to clients it is another lane"
    );
    assert_eq!(
        rig.clients[ada].view.len(),
        6,
        "nobody is there twice, nobody is left over"
    );
    assert!(
        rig.clients[ada]
            .view
            .keys()
            .all(|name| name.lane == after.avatar.lane)
    );
    assert_eq!(
        rig.lane.commands.len(),
        0,
        "the dead lane may have run the command without an answer, so it did not go out again"
    );
    let result = &rig.clients[ada].results[..];
    assert!(
        matches!(result, [lost] if lost.refused.is_some()),
        "the player is told that the answer was lost"
    );
    assert_eq!(rig.gateway.status().lanes[0].epoch, LaneEpoch(2));

    let refused = rig.gateway.counters().epochs_refused + rig.gateway.counters().fabric_dropped;
    assert!(refused > 0);
    rig.walk(ada, 50, 0);
    rig.steps(2);
    assert_eq!(
        rig.lane.entities[&rig.lane.slot_of("ada").unwrap()].position.x,
        50
    );
}

#[test]
fn intents_under_way_when_the_avatar_is_renamed_are_no_crime() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    rig.steps(2);
    let avatar = rig.clients[ada].joined.as_ref().unwrap().avatar;
    let seen = rig.lane.tick;
    let old = intents(avatar, seen, IntentSeq(40), vec![Step { dx: 9, dz: 9 }]);
    rig.lane = rig.lane.restarted();
    // Somebody else is there first, so the avatar gets another slot.
    rig.lane.spawn(at(1, 1), 1);
    while rig.clients[ada].joins < 2 {
        rig.throw(ada, old.clone());
        rig.step();
    }
    rig.throw(ada, old);
    rig.throw(
        ada,
        intents(avatar, rig.lane.tick, IntentSeq(41), vec![Step { dx: 9, dz: 9 }]),
    );
    rig.steps(2);
    assert_eq!(
        rig.closed(ada),
        None,
        "a payload may overtake the message that renames the avatar"
    );
    assert_ne!(rig.clients[ada].joined.as_ref().unwrap().avatar.slot, avatar.slot);
    let seat = rig.lane.seats.values().next().unwrap();
    assert_eq!((seat.applied, seat.epoch), (IntentSeq(0), SessionEpoch(1)));
    rig.walk(ada, 5, 0);
    rig.steps(2);
    assert_eq!(rig.lane.seats.values().next().unwrap().applied, IntentSeq(1));
}

#[test]
fn an_avatar_that_is_renamed_to_the_same_slot_starts_its_intents_anew() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    for _ in 0..5 {
        rig.walk(ada, 1, 0);
        rig.step();
    }
    let late = rig.clients[ada].step(1, 0);
    rig.lane = rig.lane.restarted();
    while rig.clients[ada].joins < 2 {
        rig.step();
    }
    rig.throw(ada, late);
    rig.steps(2);
    assert_eq!(
        rig.lane.seats.values().next().unwrap().applied,
        IntentSeq(0),
        "numbered as before"
    );
    rig.walk(ada, 1, 0);
    rig.steps(2);
    assert_eq!(rig.lane.seats.values().next().unwrap().applied, IntentSeq(1));
}

#[test]
fn a_view_stands_still_while_the_lane_knows_nothing_of_its_session() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    rig.lose_reports = true;
    rig.lane.forget_gateway();
    // The lane tells everything, but not what ada sees: that may be another layer by now.
    let other = rig.lane.spawn(at(1, 1), 1);
    rig.steps(3);
    assert!(!rig.sees(ada, other));
    rig.lose_reports = false;
    rig.steps(4);
    assert!(rig.sees(ada, other));
    assert_eq!(rig.closed(ada), None);
}

#[test]
fn steps_taken_before_a_session_is_attached_again_are_not_skipped() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    rig.lane.forget_gateway();
    for _ in 0..8 {
        rig.walk(ada, 10, 0);
        rig.step();
    }
    rig.steps(2);
    let slot = rig.lane.slot_of("ada").unwrap();
    assert_eq!(rig.lane.entities[&slot].position.x, 80);
}

#[test]
fn an_end_that_a_session_missed_before_it_was_attached_is_told_again() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    let session = rig.clients[ada].session.unwrap();
    rig.lane = rig.lane.restarted();
    while rig.lane.seats.is_empty() {
        rig.step();
    }
    rig.lose_frames = true;
    rig.lane.end(session, CloseReason::NoSpace);
    rig.step();
    rig.lose_frames = false;
    rig.steps(5);
    assert_eq!(rig.closed(ada), Some(CloseReason::NoSpace));
}

#[test]
fn a_lane_that_took_the_gateway_for_dead_gets_its_sessions_back() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    rig.walk(ada, 10, 0);
    rig.steps(2);
    rig.lose_frames = true;
    rig.lose_reports = true;
    rig.steps(50);
    rig.lane.forget_gateway();
    rig.steps(3);
    rig.lose_frames = false;
    rig.lose_reports = false;
    rig.steps(6);
    assert_eq!(rig.closed(ada), None);
    assert_eq!(
        rig.clients[ada].joins, 1,
        "the avatar has the name that the client knows"
    );
    assert_eq!(rig.lane.seats.len(), 1);
    rig.walk(ada, 10, 0);
    rig.command(ada, "wave");
    rig.steps(2);
    assert_eq!(
        rig.lane.entities[&rig.lane.slot_of("ada").unwrap()].position.x,
        20
    );
    assert_eq!(rig.clients[ada].results.len(), 1);
}

#[test]
fn a_silent_lane_leaves_sessions_and_views_as_they_are() {
    let mut rig = Rig::new();
    rig.lane.spawn(at(2, 2), 1);
    let ada = rig.join("ada");
    rig.lose_frames = true;
    rig.lose_reports = true;
    for _ in 0..300 {
        rig.step();
        assert_eq!(
            (
                rig.clients[ada].update.clone(),
                rig.clients[ada].payload.is_none()
            ),
            (None, true)
        );
    }
    assert_eq!(rig.closed(ada), None);
    assert_eq!(rig.clients[ada].view.len(), 2);
    assert_eq!(rig.gateway.status().lanes[0].silent_ticks, 300);
    rig.lose_frames = false;
    rig.lose_reports = false;
    rig.steps(3);
    assert!(rig.clients[ada].payload.is_some());
}

#[test]
fn frames_that_come_all_at_once_are_told_one_tick_after_the_other() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    assert!(!rig.gateway.frames_ready());
    for _ in 0..3 {
        for message in rig.lane.publish() {
            rig.gateway.handle_fabric(&message.0, message.1);
        }
    }
    let mut ticks = 0;
    while rig.gateway.frames_ready() {
        rig.tick();
        ticks += 1;
        assert_eq!(
            rig.clients[ada].payload.as_ref().unwrap().header.tick.0,
            rig.lane.tick.0 - 3 + ticks
        );
    }
    assert_eq!(ticks, 3);
}

#[test]
fn frames_that_nobody_takes_are_bounded_and_then_repaired() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    for _ in 0..100 {
        for message in rig.lane.publish() {
            rig.gateway.handle_fabric(&message.0, message.1);
        }
    }
    assert!(rig.gateway.counters().fabric_overflows > 0);
    while rig.gateway.frames_ready() {
        rig.tick();
    }
    rig.steps(3);
    assert_eq!(
        rig.clients[ada].payload.as_ref().unwrap().header.tick,
        rig.lane.tick
    );
}

#[test]
fn strangers_and_noise_on_the_fabric_are_counted_and_change_nothing() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    let messages = rig.lane.publish();
    let (envelope, body) = messages[0].clone();
    let noise = Bytes::from_static(&[9; 30]);
    let strangers = [
        Envelope {
            from: RoleId::Lane(LaneId(99)),
            ..envelope
        },
        Envelope {
            from: RoleId::Gateway(GATEWAY),
            ..envelope
        },
        Envelope {
            to: RoleId::Gateway(GatewayId(8)),
            ..envelope
        },
    ];
    for stranger in strangers {
        rig.gateway.handle_fabric(&stranger, body.clone());
    }
    rig.gateway.handle_fabric(&envelope, noise);
    assert_eq!(
        (
            rig.gateway.counters().fabric_strangers,
            rig.gateway.counters().fabric_malformed
        ),
        (3, 1)
    );
    for message in messages {
        rig.gateway.handle_fabric(&message.0, message.1);
    }
    rig.tick();
    assert!(
        rig.clients[ada].payload.is_some(),
        "what was refused unread left no gap"
    );

    // A frame for another lane, and one whose tick goes back.
    let post = |rig: &mut Rig, change: fn(&mut myriad_wire::fabric::Frame)| {
        let mut frame = myriad_wire::fabric::Frame {
            lane: LANE,
            epoch: LaneEpoch(1),
            tick: rig.lane.tick,
            ..myriad_wire::fabric::Frame::default()
        };
        change(&mut frame);
        let message = rig.lane.post(&ToGateway::Frame(Box::new(frame)));
        rig.gateway.handle_fabric(&message.0, message.1);
        rig.tick();
    };
    post(&mut rig, |frame| frame.lane = LaneId(4));
    post(&mut rig, |_| ());
    assert_eq!(rig.gateway.counters().frames_refused, 2);
    // A dead owner whose link is sound all the same.
    post(&mut rig, |frame| {
        frame.tick = frame.tick + 1;
        frame.epoch = LaneEpoch(0);
    });
    assert_eq!(rig.gateway.counters().epochs_refused, 1);
}

#[test]
fn several_lanes_are_one_view() {
    let mut config = config();
    config.lanes = vec![LaneId(4), LANE];
    let mut gateway = Gateway::new(config);
    let mut lanes = [TestLane::new(LANE, 1), TestLane::new(LaneId(4), 2)];
    lanes[1].tick = lanes[0].tick;
    lanes[0].spawn(at(1, 0), 1);
    lanes[0].spawn(at(2, 0), 1);
    lanes[1].spawn(at(3, 0), 1);
    lanes[1].spawn(at(90, 0), 1);
    // Enough accounts that both lanes have some.
    let mut clients: Vec<_> = (0..8)
        .map(|i| crate::client::TestClient::new(i, &format!("player {i}")))
        .collect();
    for client in &clients {
        gateway.handle_client(client.conn, ClientInput::Connected);
        for message in client.greeting() {
            gateway.handle_client(client.conn, ClientInput::Message(message));
        }
    }
    let mut out = Outputs::default();
    for tick in 0..8 {
        for lane in &mut lanes {
            for message in lane.publish() {
                gateway.handle_fabric(&message.0, message.1);
            }
        }
        assert!(gateway.frames_ready());
        gateway.tick(&mut out);
        for (envelope, body) in out.fabric.drain(..) {
            let lane = lanes
                .iter_mut()
                .find(|lane| envelope.to == RoleId::Lane(lane.id))
                .unwrap();
            lane.handle(&envelope, &body);
        }
        for client in &mut clients {
            client.begin_step();
        }
        for output in out.clients.drain(..) {
            match output {
                myriad_gateway::ClientOutput::Message(conn, bytes) => {
                    clients[conn.0 as usize].handle_message(&bytes)
                }
                myriad_gateway::ClientOutput::Datagram(conn, bytes) => {
                    clients[conn.0 as usize].handle_datagram(&bytes)
                }
                myriad_gateway::ClientOutput::Close(..) => panic!("nobody is closed"),
            }
        }
        for client in &mut clients {
            client.end_step();
            assert!(
                tick < 6 || client.payload.as_ref().unwrap().states.len() >= 11,
                "states of both lanes"
            );
        }
    }
    assert!(lanes.iter().all(|lane| !lane.seats.is_empty()));
    for client in &clients {
        assert_eq!(client.view.len(), 8 + 3, "{:?}", client.view.keys());
    }

    // One lane falls silent: the other's clients go on without it.
    for _ in 0..8 {
        for message in lanes[0].publish() {
            gateway.handle_fabric(&message.0, message.1);
        }
        if gateway.frames_ready() {
            gateway.tick(&mut out);
        }
    }
    assert!(gateway.frames_ready() || gateway.status().lanes[0].tick == lanes[0].tick);
}

/// What goes wrong in one tick.
#[derive(Clone, Debug)]
enum Fault {
    None,
    LoseFrames,
    LoseReports,
    LoseBoth,
    Restart,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn whatever_is_lost_views_stay_consistent_and_are_right_in_the_end(
        faults in prop::collection::vec((prop_oneof![
            6 => Just(Fault::None), 1 => Just(Fault::LoseFrames), 1 => Just(Fault::LoseReports),
            1 => Just(Fault::LoseBoth), 1 => Just(Fault::Restart),
        ], any::<u32>(), any::<bool>()), 1..40),
    ) {
        let mut rig = Rig::new();
        rig.enter("ada");
        rig.enter("eve");
        for (number, (fault, seed, frozen)) in faults.into_iter().enumerate() {
            rig.lose_frames = matches!(fault, Fault::LoseFrames | Fault::LoseBoth);
            rig.lose_reports = matches!(fault, Fault::LoseReports | Fault::LoseBoth);
            if matches!(fault, Fault::Restart) {
                rig.lane = rig.lane.restarted();
            }
            rig.set_backlog(0, if frozen { 1 << 20 } else { 0 });
            // Near or far, never where hysteresis would depend on what was lost.
            let avatars: Vec<u32> = rig.lane.seats.values().map(|seat| seat.slot).collect();
            let x = if seed % 3 == 0 { 80 } else { seed as i32 % 7 };
            match rig.lane.entities.keys().copied().find(|slot| slot % 5 == seed % 5 && !avatars.contains(slot)) {
                Some(slot) if seed % 2 == 0 => rig.lane.despawn(slot),
                Some(slot) => {
                    rig.lane.entities.get_mut(&slot).unwrap().position = at(x, 3);
                    rig.lane.change(slot, Value::Int(number as i64));
                    rig.lane.event(slot, "wave");
                }
                None => _ = rig.lane.spawn(at(x, 3), 1),
            }
            if rig.clients[1].joined.is_some() && rig.clients[1].closed.is_none() {
                rig.command(1, "wave");
            }
            rig.step();
        }
        rig.lose_frames = false;
        rig.lose_reports = false;
        rig.set_backlog(0, 0);
        rig.steps(12);
        let near: usize = rig.lane.entities.values().filter(|entity| entity.position.x < 40 * 1024).count();
        for client in rig.clients.iter().filter(|client| client.closed.is_none()) {
            prop_assert_eq!(client.view.len(), near, "{}", client.account);
            for (name, seen) in &client.view {
                let entity = &rig.lane.entities[&name.slot.0];
                prop_assert_eq!((seen.entity, &seen.properties), (entity.entity, &entity.properties));
            }
            prop_assert_eq!(client.payload.as_ref().unwrap().header.tick, rig.lane.tick);
        }
        let open = rig.clients.iter().filter(|client| client.closed.is_none()).count();
        prop_assert_eq!(rig.lane.seats.len(), open, "the lane has exactly the sessions that are open");
    }
}
