//! Sessions whose avatars are handed off, or are at another lane than they were looked for.

use crate::handoff::ORDERS;
use crate::lane::TestLane;
use crate::rig::{Rig, config};
use myriad_wire::fabric::Report;
use myriad_wire::{CommandSeq, LaneId, SessionId};

/// Two lanes, of which the first has the client's avatar.
fn space(lanes: [LaneId; 2]) -> (Rig, usize, SessionId) {
    for number in 0.. {
        let mut rig = Rig::of_two(lanes, config());
        let account = format!("player {number}");
        let client = rig.join(&account);
        rig.steps(2);
        if rig.lane.slot_of(&account).is_some() {
            let session = rig.clients[client].session.unwrap();
            return (rig, client, session);
        }
    }
    unreachable!()
}

/// So many steps and commands of the last report.
fn told(lane: &TestLane) -> (usize, usize) {
    let report: &Report = lane.reports.last().unwrap();
    let steps = report.intents.iter().map(|intents| intents.steps.len()).sum();
    (steps, report.commands.len())
}

fn hand_off(rig: &mut Rig, client: usize) {
    let avatar = rig.lane.slot_of(&rig.clients[client].account).unwrap();
    rig.lane.hand_off(avatar, &mut rig.others[0]);
}

fn position(lane: &TestLane, account: &str) -> i32 {
    lane.entities[&lane.slot_of(account).unwrap()].position.x
}

#[test]
fn intents_and_commands_go_to_the_new_lane_from_the_next_report_on() {
    for lanes in ORDERS {
        let (mut rig, client, session) = space(lanes);
        let account = rig.clients[client].account.clone();
        let own = rig.clients[client].joined.as_ref().unwrap().avatar;
        let edges = |rig: &Rig| {
            let counters = rig.gateway.counters();
            (counters.enters_sent, counters.leaves_sent)
        };
        let before = edges(&rig);
        for _ in 0..3 {
            rig.walk(client, 100, 0);
            rig.step();
            assert_eq!(told(&rig.lane), (1, 0));
        }
        rig.walk(client, 100, 0);
        rig.command(client, "wave");
        rig.publish_moves(&account);
        hand_off(&mut rig, client);
        rig.tick();
        assert_eq!((told(&rig.lane), told(&rig.others[0])), ((0, 0), (1, 1)));
        for tick in 0..4 {
            rig.walk(client, 100, 0);
            rig.step();
            // Under the epoch before, the command was not taken.
            let commands = usize::from(tick == 0);
            assert_eq!((told(&rig.lane), told(&rig.others[0])), ((0, 0), (1, commands)));
            let payload = rig.clients[client].payload.as_ref();
            let header = &payload.expect("the own record in every tick").header;
            assert!(header.own.intent_seq.0 >= 4);
        }
        assert_eq!(position(&rig.others[0], &account), 800);
        assert_eq!(rig.others[0].commands, [(session, CommandSeq(1))]);
        assert_eq!(rig.clients[client].results.len(), 1);
        assert_eq!((rig.clients[client].joins, rig.closed(client)), (1, None));
        assert!(rig.clients[client].view.contains_key(&own));
        assert_eq!(edges(&rig), before);
        assert!(rig.lane.reports.iter().all(|report| report.detach.is_empty()));
        // Its end is told to the lane that has it.
        rig.say(
            client,
            crate::client::bytes(&myriad_wire::client::ClientMessage::Leave),
        );
        rig.step();
        assert_eq!(rig.others[0].reports.last().unwrap().detach.len(), 1);
        assert_eq!(rig.lane.reports.last().unwrap().detach.len(), 0);
    }
}

#[test]
fn a_command_that_is_under_way_is_sent_again_to_the_new_lane_and_has_its_effect_once() {
    // Whether the lane before had it in its queue when the avatar went, and whether the first report to the next is lost.
    let cases = [(true, false), (true, true), (false, false), (false, true)];
    for (lanes, (queued, lost)) in ORDERS
        .into_iter()
        .flat_map(|lanes| cases.map(|case| (lanes, case)))
    {
        let (mut rig, client, session) = space(lanes);
        let account = rig.clients[client].account.clone();
        rig.lane.mute = true;
        rig.lose_reports_to = (!queued).then_some(lanes[0]);
        rig.walk(client, 100, 0);
        rig.command(client, "wave");
        rig.step();
        rig.publish_moves(&account);
        hand_off(&mut rig, client);
        rig.lose_reports_to = lost.then_some(lanes[1]);
        rig.walk(client, 100, 0);
        rig.tick();
        if !lost {
            // The lane knows it by its number; steps it knows by theirs.
            assert_eq!(told(&rig.others[0]), (if queued { 1 } else { 2 }, 1));
        }
        rig.lose_reports_to = None;
        for _ in 0..8 {
            rig.walk(client, 100, 0);
            rig.step();
        }
        assert_eq!(told(&rig.others[0]), (1, 0), "nothing is sent for ever");
        assert_eq!(position(&rig.others[0], &account), 1000);
        assert_eq!(rig.lane.commands, []);
        assert_eq!(rig.others[0].commands, [(session, CommandSeq(1))]);
        assert_eq!(rig.clients[client].results.len(), 1);
        assert_eq!(rig.clients[client].results[0].refused, None);
        assert_eq!((rig.clients[client].joins, rig.closed(client)), (1, None));
    }
}

#[test]
fn a_session_moves_to_the_lane_that_announces_a_later_hand_off_and_not_to_one_that_lost_it() {
    for lanes in ORDERS {
        let (mut rig, client, session) = space(lanes);
        let account = rig.clients[client].account.clone();
        rig.walk(client, 100, 0);
        rig.step();
        let seat = rig.lane.seats[&session].clone();
        let avatar = rig.lane.entities[&seat.slot].clone();
        // The word that it goes there was lost, and so is what is sent to the old lane until the new one is heard.
        hand_off(&mut rig, client);
        rig.late.insert(lanes[1]);
        rig.walk(client, 100, 0);
        rig.command(client, "wave");
        rig.step();
        assert_eq!((told(&rig.lane), told(&rig.others[0])), ((1, 1), (0, 0)));
        rig.late.clear();
        rig.steps(2);
        rig.walk(client, 100, 0);
        rig.step();
        assert_eq!((told(&rig.lane), told(&rig.others[0])), ((0, 0), (2, 0)));
        assert_eq!(rig.others[0].commands, [(session, CommandSeq(1))]);
        // The old lane does not know, and tells everything.
        rig.lane.adopt(avatar);
        rig.lane.seats.insert(session, seat);
        rig.lane.wants_full = true;
        for _ in 0..3 {
            rig.walk(client, 100, 0);
            rig.step();
            assert_eq!((told(&rig.lane), told(&rig.others[0])), ((0, 0), (1, 0)));
        }
        assert_eq!(position(&rig.others[0], &account), 600);
        assert_eq!((rig.clients[client].joins, rig.closed(client)), (1, None));
    }
}

#[test]
fn a_session_is_sent_on_to_the_lane_that_has_its_avatar() {
    for lanes in ORDERS {
        let (rig, client, _) = space(lanes);
        let account = rig.clients[client].account.clone();
        let mut rig = Rig::of_two(lanes, config());
        rig.lane.elsewhere.insert(account.clone(), lanes[1]);
        let client = rig.join(&account);
        assert!(rig.others[0].slot_of(&account).is_some());
        rig.walk(client, 100, 0);
        rig.steps(2);
        assert_eq!(position(&rig.others[0], &account), 100);
        assert_eq!(asked(&rig), (1, 1));
    }
}

#[test]
fn a_session_that_has_joined_is_sent_on_without_being_told() {
    for lanes in ORDERS {
        let (mut rig, client, session) = space(lanes);
        let account = rig.clients[client].account.clone();
        let view = rig.clients[client].view.len();
        // No word of the hand-off came through, and the old lane's full routes do not name the session.
        hand_off(&mut rig, client);
        rig.others[0].seats.get_mut(&session).unwrap().announce = false;
        rig.lane.wants_full = true;
        rig.steps(6);
        assert_eq!(rig.clients[client].view.len(), view);
        assert_eq!((rig.clients[client].joins, rig.closed(client)), (1, None));
        rig.walk(client, 100, 0);
        rig.step();
        assert_eq!((told(&rig.lane), told(&rig.others[0])), ((0, 0), (1, 0)));
        assert_eq!(position(&rig.others[0], &account), 100);
    }
}

/// How often sessions were asked for: of the first lane and of the other.
fn asked(rig: &Rig) -> (usize, usize) {
    let of = |lane: &TestLane| lane.reports.iter().map(|report| report.attach.len()).sum();
    (of(&rig.lane), of(&rig.others[0]))
}

#[test]
fn a_session_that_its_lane_names_no_more_is_asked_for_again_after_some_ticks() {
    for lanes in ORDERS {
        let (mut rig, client, session) = space(lanes);
        let account = rig.clients[client].account.clone();
        let view = rig.clients[client].view.len();
        let before = asked(&rig);
        // Every word of the hand-off was lost.
        hand_off(&mut rig, client);
        rig.others[0].seats.get_mut(&session).unwrap().announce = false;
        rig.steps(7);
        assert_eq!(asked(&rig), before);
        rig.step();
        assert_eq!(asked(&rig), (before.0 + 1, before.1));
        // The lane says where it is, which is asked then and answers.
        rig.step();
        assert_eq!(asked(&rig), (before.0 + 1, before.1 + 1));
        rig.step();
        rig.walk(client, 100, 0);
        rig.steps(20);
        assert_eq!(position(&rig.others[0], &account), 100);
        assert_eq!(asked(&rig), (before.0 + 1, before.1 + 1));
        assert_eq!(rig.clients[client].view.len(), view);
        assert_eq!((rig.clients[client].joins, rig.closed(client)), (1, None));
    }
}

#[test]
fn a_session_that_its_lane_names_again_in_time_is_not_asked_for() {
    let (mut rig, client, session) = space(ORDERS[0]);
    let before = asked(&rig);
    for _ in 0..3 {
        let seat = rig.lane.seats.remove(&session).unwrap();
        rig.steps(7);
        rig.lane.seats.insert(session, seat);
        rig.step();
    }
    assert_eq!(asked(&rig), before);
    assert_eq!((rig.clients[client].joins, rig.closed(client)), (1, None));
}

#[test]
fn two_lanes_that_both_send_a_session_away_are_asked_once_a_tick() {
    for lanes in ORDERS {
        let (rig, client, _) = space(lanes);
        let account = rig.clients[client].account.clone();
        let mut rig = Rig::of_two(lanes, config());
        rig.lane.elsewhere.insert(account.clone(), lanes[1]);
        rig.others[0].elsewhere.insert(account.clone(), lanes[0]);
        let client = rig.enter(&account);
        for _ in 0..10 {
            rig.step();
            let asked = rig.lanes().map(|lane| lane.reports.last().unwrap().attach.len());
            assert!(asked.sum::<usize>() <= 1);
        }
        // In one tick both do, first the one where it is looked for.
        let session = rig.clients[client].session.unwrap();
        for _ in 0..2 {
            rig.lane.send_away(session, lanes[1]);
            rig.others[0].send_away(session, lanes[0]);
            rig.step();
            let asked = rig.lanes().map(|lane| lane.reports.last().unwrap().attach.len());
            assert!(asked.sum::<usize>() <= 1);
        }
        rig.lane.elsewhere.clear();
        rig.steps(3);
        assert!(rig.lane.slot_of(&account).is_some());
    }
}

#[test]
fn an_avatar_whose_issuer_was_forgotten_meanwhile_has_another_name_to_clients() {
    for lanes in ORDERS {
        let (mut rig, client, _) = space(lanes);
        let account = rig.clients[client].account.clone();
        let before = rig.clients[client].joined.clone().unwrap();
        rig.publish_moves(&account);
        hand_off(&mut rig, client);
        rig.tick();
        // Nobody with a name of the source is left, and the destination is not heard for long.
        rig.late.insert(lanes[1]);
        rig.step();
        let tick = rig.lane.tick;
        rig.lane = TestLane::new(lanes[0], 20);
        rig.lane.tick = tick;
        rig.steps(80);
        assert_eq!(rig.gateway.counters().transits_ended, 1);
        rig.late.clear();
        for _ in 0..8 {
            rig.step();
            while rig.gateway.frames_ready() {
                rig.tick();
            }
        }
        let after = rig.clients[client].joined.clone().unwrap();
        assert_eq!((rig.clients[client].joins, after.entity), (2, before.entity));
        assert_ne!(after.avatar, before.avatar);
        assert_eq!(
            rig.clients[client].view.keys().copied().collect::<Vec<_>>(),
            [after.avatar]
        );
        rig.walk(client, 100, 0);
        rig.steps(2);
        assert_eq!(position(&rig.others[0], &account), 100);
        assert_eq!(rig.closed(client), None);
    }
}

#[test]
fn a_lane_that_nobody_knows_is_counted() {
    let (mut rig, client, session) = space(ORDERS[0]);
    rig.lane.seats.get_mut(&session).unwrap().moves_to = Some(LaneId(77));
    rig.walk(client, 100, 0);
    rig.step();
    assert_eq!(told(&rig.lane), (1, 0), "it stays where it is");
    assert_eq!(rig.gateway.counters().lanes_unknown, 1);
}
