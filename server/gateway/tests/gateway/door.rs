//! Who gets in, who is turned away, and for which reason.

use crate::client::{TestClient, bytes, command, intents};
use crate::rig::{Rig, config};
use bytes::Bytes;
use myriad_gateway::{ClientInput, ConnId, LoginPolicy};
use myriad_wire::client::{ClientMessage, Hello, Join, Login};
use myriad_wire::limits::{CLIENT_MESSAGE_BYTES_MAX, DATAGRAM_BYTES_MAX, VERSION_MAX};
use myriad_wire::payload::Step;
use myriad_wire::{CloseReason, Generation, IntentSeq, SpaceId, SubjectRef, Tick};

fn hello() -> Bytes {
    TestClient::new(0, "").greeting()[0].clone()
}

fn login(account: &str, key: &str) -> Bytes {
    bytes(&ClientMessage::Login(Login {
        account: account.into(),
        key: key.into(),
    }))
}

fn join(space: u32) -> Bytes {
    bytes(&ClientMessage::Join(Join {
        space: SpaceId(space),
    }))
}

/// What a client says, and the reason with which it is closed within a tick.
fn check(what: &str, messages: &[Bytes], expected: Option<CloseReason>) {
    let mut rig = Rig::new();
    rig.step();
    let client = rig.connect("ada");
    for message in messages {
        rig.say(client, message.clone());
    }
    rig.step();
    assert_eq!(rig.closed(client), expected, "{what}");
    assert_eq!(
        rig.gateway.status().sessions,
        u32::from(expected.is_none()),
        "{what}"
    );
    if let Some(reason) = expected {
        assert_eq!(rig.gateway.counters().closed(reason), 1, "{what}");
    }
}

#[test]
fn each_wrong_word_at_the_door_has_its_own_answer() {
    use CloseReason::*;
    let version = |version_min, version_max| {
        bytes(&ClientMessage::Hello(Hello {
            version_min,
            version_max,
            features: 0,
            agent: String::new(),
        }))
    };
    check("nothing yet", &[], None);
    check("a greeting", &[hello(), login("ada", ""), join(1)], None);
    check(
        "a version from the future",
        &[version(VERSION_MAX + 1, 99)],
        Some(Version),
    );
    check("a version of the past", &[version(0, 0)], Some(Version));
    check("noise", &[Bytes::from_static(&[0xff; 40])], Some(Malformed));
    check("an empty message", &[Bytes::new()], Some(Malformed));
    check("a message cut short", &[hello().slice(..2)], Some(Malformed));
    check(
        "too long a message",
        &[vec![0; CLIENT_MESSAGE_BYTES_MAX + 1].into()],
        Some(Oversized),
    );
    check("a login first", &[login("ada", "")], Some(OutOfOrder));
    check("a join first", &[join(1)], Some(OutOfOrder));
    check("two hellos", &[hello(), hello()], Some(OutOfOrder));
    check(
        "two logins",
        &[hello(), login("ada", ""), login("eve", "")],
        Some(OutOfOrder),
    );
    check(
        "two joins",
        &[hello(), login("ada", ""), join(1), join(1)],
        Some(OutOfOrder),
    );
    check(
        "a command too early",
        &[hello(), login("ada", ""), join(1), command(1, "wave")],
        Some(OutOfOrder),
    );
    check(
        "an account without a name",
        &[hello(), login("", "")],
        Some(LoginRefused),
    );
    check(
        "no such space",
        &[hello(), login("ada", ""), join(2)],
        Some(NoSpace),
    );
    check("a goodbye", &[hello(), bytes(&ClientMessage::Leave)], Some(Left));
}

#[test]
fn a_login_key_is_asked_for_where_it_is_configured() {
    let mut config = config();
    config.login = LoginPolicy {
        key: Some("sesame".into()),
    };
    let mut rig = Rig::with(config);
    for (key, expected) in [("sesame", None), ("", Some(CloseReason::LoginRefused))] {
        let client = rig.connect("ada");
        rig.say(client, hello());
        rig.say(client, login("ada", key));
        rig.step();
        assert_eq!(rig.closed(client), expected);
    }
}

#[test]
fn a_client_that_greets_properly_gets_its_avatar_and_leaves_with_a_goodbye() {
    let mut rig = Rig::new();
    let client = rig.join("ada");
    let joined = rig.clients[client].joined.clone().unwrap();
    let slot = rig.lane.slot_of("ada").unwrap();
    assert_eq!(joined.avatar, rig.name_of(slot));
    assert_eq!(joined.entity, rig.lane.entities[&slot].entity);
    assert_eq!(
        joined.rules.radius_aoi,
        crate::lane::RADIUS_AOI,
        "the avatar's own radius, not the space's"
    );
    assert!(rig.sees(client, slot), "its own avatar is in its view at once");
    rig.say(client, bytes(&ClientMessage::Leave));
    rig.step();
    assert_eq!(rig.closed(client), Some(CloseReason::Left));
    let report = rig.lane.reports.last().unwrap();
    assert_eq!((report.detach.len(), report.detach[0].left), (1, true));
}

#[test]
fn a_connection_that_is_lost_leaves_its_avatar_to_the_grace_period() {
    for (reason, left) in [
        (CloseReason::Lost, false),
        (CloseReason::TimedOut, false),
        (CloseReason::Left, true),
    ] {
        let mut rig = Rig::new();
        let client = rig.join("ada");
        rig.gateway
            .handle_client(rig.clients[client].conn, ClientInput::Closed(reason));
        rig.step();
        assert_eq!(rig.closed(client), None, "who is gone is not told");
        assert_eq!(rig.gateway.counters().closed(reason), 1);
        assert_eq!(rig.lane.reports.last().unwrap().detach[0].left, left);
        assert_eq!(rig.gateway.status().sessions, 0);
    }
}

#[test]
fn who_is_slow_to_log_in_is_timed_out_and_who_finds_no_lane_is_told_so() {
    let mut rig = Rig::new();
    rig.lose_frames = true;
    let (idle, waiting) = (rig.connect("idle"), rig.enter("ada"));
    for _ in 0..100 {
        rig.tick();
    }
    assert_eq!((rig.closed(idle), rig.closed(waiting)), (None, None));
    for _ in 0..2 {
        rig.tick();
    }
    assert_eq!(rig.closed(idle), Some(CloseReason::TimedOut));
    assert_eq!(rig.closed(waiting), Some(CloseReason::NoSpace));
    assert_eq!(
        rig.lane.reports.last().unwrap().detach.len(),
        1,
        "the lane need not go on"
    );
}

#[test]
fn a_full_gateway_and_a_draining_one_refuse_newcomers() {
    let mut config = config();
    config.sessions_max = 1;
    let mut rig = Rig::with(config);
    let first = rig.join("ada");
    let second = rig.enter("eve");
    rig.step();
    assert_eq!(
        (rig.closed(first), rig.closed(second)),
        (None, Some(CloseReason::Full))
    );
    rig.gateway.drain(CloseReason::Shutdown);
    let third = rig.connect("bob");
    rig.step();
    assert_eq!(
        (rig.closed(first), rig.closed(third)),
        (Some(CloseReason::Shutdown), Some(CloseReason::Shutdown))
    );
    assert!(!rig.lane.reports.last().unwrap().detach[0].left);
}

#[test]
fn an_account_that_logs_in_again_replaces_its_older_session() {
    let mut rig = Rig::new();
    let older = rig.join("ada");
    let avatar = rig.clients[older].joined.as_ref().unwrap().avatar;
    let newer = rig.join("ada");
    assert_eq!(rig.closed(older), Some(CloseReason::Replaced));
    assert_eq!(
        rig.clients[newer].joined.as_ref().unwrap().avatar,
        avatar,
        "the avatar is the same"
    );
    rig.steps(3);
    assert_eq!(rig.closed(newer), None);
    assert_eq!(rig.lane.seats.len(), 1);
}

#[test]
fn a_session_that_the_lane_ends_is_closed_for_the_lanes_reason() {
    for reason in [CloseReason::Removed, CloseReason::Full, CloseReason::NoSpace] {
        let mut rig = Rig::new();
        let client = rig.join("ada");
        rig.lane.end(rig.clients[client].session.unwrap(), reason);
        rig.step();
        assert_eq!(rig.closed(client), Some(reason));
        assert!(
            rig.lane.reports.last().unwrap().detach.is_empty(),
            "the lane knows"
        );
    }
}

#[test]
fn messages_beyond_any_honest_rate_are_a_flood() {
    let mut rig = Rig::new();
    let client = rig.join("ada");
    // The burst is 80, and 4 more are earned each tick.
    for _ in 0..77 {
        rig.command(client, "wave");
    }
    rig.step();
    assert_eq!(rig.closed(client), None);
    for _ in 0..9 {
        rig.command(client, "wave");
    }
    rig.step();
    assert_eq!(rig.closed(client), Some(CloseReason::Flood));

    let mut rig = Rig::new();
    let client = rig.join("ada");
    for _ in 0..1000 {
        rig.say(client, command(1, "wave"));
    }
    rig.step();
    assert_eq!(rig.closed(client), Some(CloseReason::Flood));
}

#[test]
fn datagrams_beyond_a_ticks_limit_are_dropped_and_far_beyond_it_a_flood() {
    let mut rig = Rig::new();
    let client = rig.join("ada");
    for _ in 0..100 {
        rig.walk(client, 1, 0);
    }
    rig.step();
    assert_eq!(rig.closed(client), None);
    assert_eq!(rig.gateway.counters().datagrams_dropped, 92);
    for _ in 0..300 {
        rig.throw(client, Bytes::from_static(b"x"));
    }
    rig.step();
    assert!(rig.closed(client).is_some());
    let (mut rig, noise) = (Rig::new(), Bytes::from_static(b"noise"));
    let early = rig.connect("eve");
    for _ in 0..300 {
        rig.throw(early, noise.clone());
    }
    rig.step();
    assert!(rig.closed(early).is_some(), "before the login too");
}

#[test]
fn intents_move_the_own_avatar_once_each_and_nobody_elses() {
    let mut rig = Rig::new();
    let (ada, eve) = (rig.join("ada"), rig.join("eve"));
    for _ in 0..10 {
        rig.walk(ada, 100, -50);
        rig.step();
    }
    let position = rig.lane.entities[&rig.lane.slot_of("ada").unwrap()].position;
    assert_eq!(
        (position.x, position.z),
        (1000, -500),
        "every step is repeated in later datagrams, and counts once"
    );
    rig.step();
    assert_eq!(
        rig.clients[ada].payload.as_ref().unwrap().header.own.intent_seq,
        IntentSeq(10)
    );
    assert_eq!(rig.gateway.counters().intents_forwarded, 10);

    let others = rig.clients[ada].joined.as_ref().unwrap().avatar;
    rig.throw(
        eve,
        intents(others, Tick(0), IntentSeq(1), vec![Step { dx: 5, dz: 5 }]),
    );
    rig.step();
    assert_eq!(rig.closed(eve), Some(CloseReason::NotYours));
    assert_eq!(rig.closed(ada), None);
    let stale = SubjectRef {
        generation: Generation(others.generation.0 + 1),
        ..others
    };
    rig.throw(ada, intents(stale, Tick(0), IntentSeq(11), vec![Step::default()]));
    rig.step();
    assert_eq!(
        rig.closed(ada),
        Some(CloseReason::NotYours),
        "another life of the slot is somebody else"
    );
}

#[test]
fn datagrams_that_are_no_intents_close_and_early_ones_do_not() {
    let good = intents(
        SubjectRef::default(),
        Tick(0),
        IntentSeq(1),
        vec![Step::default()],
    );
    for (datagram, expected) in [
        (good.clone(), None),
        (Bytes::from_static(&[1, 2, 3]), Some(CloseReason::Malformed)),
        (good.slice(..3), Some(CloseReason::Malformed)),
        (
            vec![2; DATAGRAM_BYTES_MAX + 1].into(),
            Some(CloseReason::Oversized),
        ),
    ] {
        let mut rig = Rig::new();
        let client = rig.enter("ada");
        rig.throw(client, datagram.clone());
        rig.step();
        assert_eq!(rig.closed(client), expected, "{datagram:?}");
    }
}

#[test]
fn a_command_is_applied_once_and_answered_once() {
    let mut rig = Rig::new();
    let client = rig.join("ada");
    rig.command(client, "wave");
    rig.command(client, "no");
    rig.say(client, command(2, "no"));
    rig.say(client, command(1, "wave"));
    rig.steps(3);
    let answers: Vec<_> = rig.clients[client]
        .results
        .iter()
        .map(|result| (result.seq.0, result.refused.as_deref()))
        .collect();
    assert_eq!(answers, [(1, None), (2, Some("no"))]);
    assert_eq!(rig.lane.commands.len(), 2);
    assert_eq!(rig.gateway.counters().commands_repeated, 2);
}

#[test]
fn commands_that_nobody_answers_are_bounded_and_the_next_are_refused() {
    let mut rig = Rig::new();
    let client = rig.join("ada");
    rig.lane.mute = true;
    for _ in 0..40 {
        rig.command(client, "wave");
        rig.steps(3);
    }
    assert_eq!(rig.closed(client), None);
    assert_eq!(rig.clients[client].results.len(), 8);
    assert!(
        rig.clients[client]
            .results
            .iter()
            .all(|result| result.refused.is_some())
    );
}

#[test]
fn who_does_not_read_cannot_pile_up_answers() {
    let mut rig = Rig::new();
    let client = rig.join("ada");
    rig.set_backlog(client, 1 << 20);
    for sent in 0.. {
        rig.command(client, "wave");
        rig.steps(1);
        if rig.closed(client).is_some() {
            assert!((250..300).contains(&sent), "{sent}");
            break;
        }
    }
    assert_eq!(rig.closed(client), Some(CloseReason::Flood));
    assert!(rig.clients[client].results.is_empty());
}

#[test]
fn inputs_of_unknown_connections_are_counted_and_ignored() {
    let mut rig = Rig::new();
    let client = rig.join("ada");
    let stranger = ConnId(99);
    rig.gateway.handle_client(stranger, ClientInput::Message(hello()));
    rig.gateway
        .handle_client(stranger, ClientInput::Datagram(hello()));
    rig.gateway
        .handle_client(stranger, ClientInput::Closed(CloseReason::Lost));
    rig.gateway
        .handle_client(rig.clients[client].conn, ClientInput::Connected);
    rig.gateway.set_backlog(stranger, 1 << 30);
    rig.step();
    assert_eq!(rig.gateway.counters().inputs_unknown, 4);
    assert_eq!(rig.closed(client), None);
}

#[test]
fn an_attachment_that_nobody_wants_any_more_is_taken_back() {
    let mut rig = Rig::new();
    rig.steps(2);
    // The session ends in the tick in which it asks for its avatar: the lane never hears of it.
    let client = rig.enter("ada");
    rig.say(client, bytes(&ClientMessage::Leave));
    rig.steps(3);
    assert!(rig.lane.reports.iter().all(|report| report.attach.is_empty()));

    // The lane attaches a session after all, because it read two reports in one tick.
    let client = rig.join("eve");
    let session = rig.clients[client].session.unwrap();
    rig.gateway
        .handle_client(rig.clients[client].conn, ClientInput::Closed(CloseReason::Lost));
    rig.lose_reports = true;
    rig.step();
    rig.lose_reports = false;
    rig.steps(1);
    assert!(
        rig.lane.seats.contains_key(&session),
        "the lane lost the report that ended it"
    );
    rig.steps(3);
    assert!(rig.lane.seats.is_empty());
}
