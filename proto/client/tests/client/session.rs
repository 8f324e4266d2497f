//! A session from the first byte: the handshake, steps and corrections, commands, and servers that mean harm.

use crate::server::{
    AVATAR, PERIOD_US, config, datagram, drain, framed, header, joined, own, payload, present, receive,
    subject, view_of, wire,
};
use myriad_client::limits::COMMANDS_MAX;
use myriad_client::{Client, ClientEvent, CommandError, IntentError};
use myriad_wire::client::{
    ClientMessage, CommandResult, Event, Joined, LoggedIn, OwnerUpdate, Rules, ServerMessage, ViewUpdate,
    Welcome,
};
use myriad_wire::codec;
use myriad_wire::limits::{CLIENT_MESSAGE_BYTES_MAX, INTENT_STEP_MAX, VERSION_MAX};
use myriad_wire::payload::{Intents, PayloadHeader, Step};
use myriad_wire::track::Level;
use myriad_wire::{
    CloseReason, CommandSeq, IntentSeq, Pos, PropertyIndex, SessionId, Slot, SpaceClock, Tick, Value,
};
use proptest::prelude::*;
use std::collections::VecDeque;

fn welcome(version: u16) -> ServerMessage {
    ServerMessage::Welcome(Welcome { version, features: 0 })
}

#[test]
fn the_handshake_has_these_bytes() {
    let mut client = Client::new(config());
    let hello = b"\x09\0\0\0\x00\x02\x02\x00\x04test";
    let login = b"\x0c\0\0\0\x01\x03ada\x06sesame";
    let join = b"\x02\0\0\0\x02\x01";
    let all = [&hello[..], login, join].concat();
    assert_eq!(client.poll_stream(), Some(all), "nothing waits for an answer");
    assert_eq!(client.poll_stream(), None);
    receive(&mut client, &welcome(VERSION_MAX));
    receive(
        &mut client,
        &ServerMessage::LoggedIn(LoggedIn {
            session: SessionId(9),
        }),
    );
    assert_eq!(client.poll_stream(), None);
    assert_eq!(client.step(1, 1), Err(IntentError::NotJoined));
    assert_eq!(client.command("wave", Vec::new()), Err(CommandError::NotJoined));
    receive(&mut client, &ServerMessage::Joined(Box::new(joined())));
    assert_eq!(drain(&mut client), [ClientEvent::Joined]);
    assert_eq!(client.step(1, -1), Ok(IntentSeq(1)));
    let intents = b"\x02\x00\x00\x00\x01\x01\x02\x01";
    assert_eq!(client.poll_datagram().as_deref(), Some(&intents[..]));
    assert_eq!(client.command("wave", vec![Value::Bool(true)]), Ok(CommandSeq(1)));
    let command = b"\x0a\0\0\0\x03\x01\x04wave\x01\x00\x01";
    assert_eq!(client.poll_stream().as_deref(), Some(&command[..]));
    client.leave();
    assert_eq!(client.poll_stream().as_deref(), Some(&b"\x01\0\0\0\x04"[..]));
    assert_eq!(client.step(1, 1), Err(IntentError::NotJoined));
}

#[test]
fn a_message_at_the_wrong_time_ends_the_session() {
    let view = ServerMessage::View(ViewUpdate::default());
    for early in [
        ServerMessage::LoggedIn(LoggedIn {
            session: SessionId(9),
        }),
        ServerMessage::Joined(Box::new(joined())),
        view,
        ServerMessage::Owner(OwnerUpdate::default()),
    ] {
        let mut client = Client::new(config());
        receive(&mut client, &early);
        assert_eq!(client.closed(), Some(CloseReason::OutOfOrder));
        assert_eq!(drain(&mut client), [ClientEvent::Closed(CloseReason::OutOfOrder)]);
    }
    let mut client = present(joined(), 0);
    receive(&mut client, &welcome(VERSION_MAX));
    assert_eq!(client.closed(), Some(CloseReason::OutOfOrder));
}

#[test]
fn a_version_not_offered_ends_the_session() {
    let mut client = Client::new(config());
    receive(&mut client, &welcome(VERSION_MAX + 1));
    assert_eq!(client.closed(), Some(CloseReason::Version));
}

#[test]
fn a_join_that_would_break_the_arithmetic_ends_the_session() {
    let no_clock = Joined {
        clock: SpaceClock {
            rate_mhz: 0,
            ..joined().clock
        },
        ..joined()
    };
    let rules = joined().rules;
    let no_bounds = Joined {
        rules: Rules {
            bounds_min: rules.bounds_max,
            bounds_max: rules.bounds_min,
            ..rules
        },
        ..joined()
    };
    for bad in [no_clock, no_bounds] {
        let mut client = Client::new(config());
        receive(&mut client, &welcome(VERSION_MAX));
        receive(
            &mut client,
            &ServerMessage::LoggedIn(LoggedIn {
                session: SessionId(9),
            }),
        );
        receive(&mut client, &ServerMessage::Joined(Box::new(bad)));
        assert_eq!(client.closed(), Some(CloseReason::Malformed));
    }
}

#[test]
fn what_was_read_before_the_end_is_told_before_it() {
    let mut client = present(joined(), 0);
    receive(&mut client, &view_of(1, 3));
    let waves = ViewUpdate {
        tick: Tick(2),
        events: vec![Event {
            subject: subject(1, 0),
            name: "wave".to_owned(),
            arguments: Vec::new(),
        }],
        ..ViewUpdate::default()
    };
    receive(&mut client, &ServerMessage::View(waves));
    client.handle_closed(CloseReason::Shutdown);
    client.handle_closed(CloseReason::Lost);
    let told = drain(&mut client);
    assert_eq!(told.len(), 5);
    assert!(matches!(told[3], ClientEvent::Event { .. }));
    assert_eq!(told[4], ClientEvent::Closed(CloseReason::Shutdown));
    assert_eq!(client.poll_event(), None);
}

// Steps and corrections.

#[test]
fn a_prediction_that_holds_is_not_corrected() {
    let mut client = present(joined(), 0);
    let at = joined().position;
    client.step(10, 20).unwrap();
    client.step(-3, 0).unwrap();
    let predicted = Pos {
        x: at.x + 7,
        z: at.z + 20,
        ..at
    };
    assert_eq!(client.own_position(), Some(predicted));
    datagram(
        &mut client,
        &own(
            1,
            1,
            Pos {
                x: at.x + 10,
                z: at.z + 20,
                ..at
            },
            0,
        ),
    );
    datagram(&mut client, &own(2, 2, predicted, 0));
    assert_eq!(drain(&mut client), []);
    assert_eq!(client.own_authoritative(), Some((IntentSeq(2), predicted)));
    assert_eq!(
        client.poll_datagram().map(|_| ()),
        None,
        "everything is acknowledged"
    );
}

#[test]
fn a_second_join_replaces_the_avatar_and_the_numbers_but_not_the_view() {
    let mut client = present(joined(), 0);
    receive(&mut client, &view_of(1, 3));
    datagram(&mut client, &own(5, 0, joined().position, 0));
    client.step(10, 0).unwrap();
    drain(&mut client);
    let position = Pos {
        x: joined().position.x + 500,
        ..joined().position
    };
    let again = Joined {
        avatar: subject(1, 0),
        position,
        intent_seq: IntentSeq(7),
        ..joined()
    };
    receive(&mut client, &ServerMessage::Joined(Box::new(again)));
    assert_eq!(drain(&mut client), [ClientEvent::Joined]);
    assert_eq!(client.own_position(), Some(position));
    assert_eq!(client.joined().map(|joined| joined.avatar), Some(subject(1, 0)));
    assert_eq!(client.view().len(), 3);
    for late in [4, 6] {
        let header = PayloadHeader {
            view_seq: 1,
            ..own(late, 1, joined().position, 0)
        };
        datagram(&mut client, &header);
        assert_eq!(
            client.own_position(),
            Some(position),
            "what was sent before is of the avatar before, however late it comes"
        );
    }
    assert_eq!(client.step(1, 0), Ok(IntentSeq(8)));
    assert_eq!(drain(&mut client), []);
    receive(&mut client, &view_of(7, 4));
    let after = Pos {
        x: position.x + 1,
        ..position
    };
    let header = PayloadHeader {
        view_seq: 2,
        ..own(7, 8, after, 0)
    };
    datagram(&mut client, &header);
    assert_eq!(client.own_authoritative(), Some((IntentSeq(8), after)));
}

#[test]
fn steps_go_on_from_a_correction() {
    let mut client = present(joined(), 0);
    let at = joined().position;
    client.step(10, 0).unwrap();
    client.step(5, 5).unwrap();
    let actual = Pos { x: at.x + 4, ..at };
    datagram(&mut client, &own(1, 1, actual, 1));
    let predicted = Pos { x: at.x + 10, ..at };
    assert_eq!(
        drain(&mut client),
        [ClientEvent::Corrected {
            tick: Tick(1),
            predicted,
            actual
        }]
    );
    assert_eq!(
        client.own_position(),
        Some(Pos {
            x: at.x + 9,
            z: at.z + 5,
            ..at
        })
    );
    // The count rises although the position agrees: told as well.
    datagram(&mut client, &own(2, 1, actual, 2));
    assert_eq!(drain(&mut client).len(), 1);
    // An older payload, and another part of the same tick, say nothing new.
    datagram(&mut client, &own(1, 1, at, 9));
    datagram(&mut client, &own(2, 1, at, 9));
    assert_eq!(drain(&mut client), []);
    assert_eq!(client.counters().corrections, 2);
}

#[test]
fn steps_beyond_the_bounds_are_held_like_the_server_does() {
    let mut client = present(joined(), 0);
    let (at, far) = (joined().position, joined().rules.bounds_max);
    for _ in 0..4 {
        client.step(INTENT_STEP_MAX, -INTENT_STEP_MAX).unwrap();
    }
    client.step(-1, 1).unwrap();
    assert_eq!(
        client.own_position(),
        Some(Pos {
            x: far.x - 1,
            y: at.y,
            z: -far.z + 1
        })
    );
    assert_eq!(client.step(INTENT_STEP_MAX + 1, 0), Err(IntentError::TooFar));
    assert_eq!(client.step(0, i32::MIN), Err(IntentError::TooFar));
}

#[test]
fn steps_are_sent_again_until_they_are_acknowledged() {
    let mut client = present(joined(), 0);
    for dx in 1..=20 {
        client.step(dx, 0).unwrap();
    }
    assert_eq!(client.counters().intents_lost, 4);
    let sent = Intents::decode(&client.poll_datagram().unwrap()).unwrap();
    let steps: Vec<Step> = (5..=20).map(|dx| Step { dx, dz: 0 }).collect();
    assert_eq!((sent.newest, sent.steps), (IntentSeq(20), steps));
    assert_eq!(client.poll_datagram(), None);
    assert_eq!(client.next_timeout_us(), Some(2 * PERIOD_US));
    client.advance(2 * PERIOD_US);
    let again = Intents::decode(&client.poll_datagram().unwrap()).unwrap();
    assert_eq!(again.newest, IntentSeq(20));
    let at = Pos {
        x: joined().position.x + 210,
        ..joined().position
    };
    datagram(&mut client, &own(3, 20, at, 0));
    client.advance(10 * PERIOD_US);
    assert_eq!(client.poll_datagram(), None);
    assert_eq!(drain(&mut client), []);
    assert_eq!(client.next_timeout_us(), None);
}

/// The server's side of movement: applies what arrives, in order, each step once.
struct Mover {
    at: Pos,
    applied: u32,
}

impl Mover {
    fn handle(&mut self, bytes: &[u8], rules: &Rules) {
        let intents = Intents::decode(bytes).expect("a client sends only well-formed intents");
        assert_eq!(
            (intents.slot, intents.generation),
            (AVATAR.slot, AVATAR.generation)
        );
        let first = intents.newest.0 + 1 - intents.steps.len() as u32;
        for (seq, step) in (first..).zip(&intents.steps) {
            if seq > self.applied {
                let axis = |at: i32, by: i32, min: i32, max: i32| {
                    (i64::from(at) + i64::from(by)).clamp(min.into(), max.into()) as i32
                };
                self.at.x = axis(self.at.x, step.dx, rules.bounds_min.x, rules.bounds_max.x);
                self.at.z = axis(self.at.z, step.dz, rules.bounds_min.z, rules.bounds_max.z);
                self.applied = seq;
            }
        }
    }
}

proptest! {
    #[test]
    fn an_honest_client_is_never_corrected_whatever_the_network_loses(
        rounds in prop::collection::vec(
            (prop::collection::vec((-16_384i32..=16_384, -16_384i32..=16_384), 0..3), any::<bool>(), any::<bool>(), 0usize..4),
            1..60,
        ),
    ) {
        let joined = joined();
        let rules = joined.rules;
        let mut server = Mover { at: joined.position, applied: 0 };
        let mut client = present(joined, 0);
        let (mut up, mut down) = (VecDeque::new(), VecDeque::new());
        for (tick, (steps, up_lost, down_lost, delay)) in (1..).zip(rounds) {
            for (dx, dz) in steps {
                client.step(dx, dz).unwrap();
            }
            client.advance(tick * PERIOD_US);
            up.extend(client.poll_datagram().filter(|_| !up_lost));
            while up.len() > delay {
                server.handle(&up.pop_front().unwrap(), &rules);
            }
            let header = own(tick, server.applied, server.at, 0);
            down.extend((!down_lost).then_some(header));
            while down.len() > delay {
                datagram(&mut client, &down.pop_front().unwrap());
            }
            if client.counters().intents_lost == 0 {
                prop_assert_eq!(drain(&mut client), []);
            }
        }
        if client.counters().intents_lost > 0 {
            return Ok(());
        }
        // Once everything has arrived, the prediction is the truth.
        let mut tick = 1_000;
        while client.own_authoritative().unwrap().0.0 != server.applied || !up.is_empty() || tick == 1_000 {
            client.advance(tick * PERIOD_US);
            up.extend(client.poll_datagram());
            up.drain(..).for_each(|bytes: Vec<u8>| server.handle(&bytes, &rules));
            datagram(&mut client, &own(tick, server.applied, server.at, 0));
            tick += 3;
        }
        prop_assert_eq!(drain(&mut client), []);
        prop_assert_eq!(client.own_position(), Some(server.at));
    }
}

// Commands.

#[test]
fn commands_are_checked_before_they_are_sent() {
    let mut client = present(joined(), 0);
    assert_eq!(client.command("", Vec::new()), Err(CommandError::Name));
    assert_eq!(
        client.command(&"n".repeat(33), Vec::new()),
        Err(CommandError::Name)
    );
    assert_eq!(
        client.command("say", vec![Value::Int(0); 9]),
        Err(CommandError::Arguments)
    );
    let long = |bytes| Value::Text("x".repeat(bytes));
    assert_eq!(
        client.command("say", vec![long(1025)]),
        Err(CommandError::Arguments)
    );
    assert_eq!(
        client.command("say", vec![Value::Float(f64::NAN)]),
        Err(CommandError::Arguments)
    );
    assert_eq!(
        client.command("say", vec![long(1024); 4]),
        Err(CommandError::TooLong)
    );
    assert_eq!(client.command("say", vec![long(1024); 3]), Ok(CommandSeq(1)));
    for _ in 1..COMMANDS_MAX {
        client.command("wave", Vec::new()).unwrap();
    }
    assert_eq!(client.command("wave", Vec::new()), Err(CommandError::Unanswered));
    let result = |seq| {
        ServerMessage::CommandResult(CommandResult {
            seq: CommandSeq(seq),
            refused: None,
        })
    };
    receive(&mut client, &result(2));
    receive(&mut client, &result(2));
    receive(&mut client, &result(1_000));
    assert_eq!(drain(&mut client).len(), 1, "each command is answered once");
    assert_eq!(client.counters().contradictions, 2);
    assert!(client.command("wave", Vec::new()).is_ok());
    let sent = client.poll_stream().unwrap();
    let mut deframer = codec::Deframer::new(CLIENT_MESSAGE_BYTES_MAX);
    deframer.handle_bytes(&sent);
    let mut count = 0;
    while let Some(message) = deframer.poll_message().unwrap() {
        let message: ClientMessage = codec::decode(&message, CLIENT_MESSAGE_BYTES_MAX).unwrap();
        count += usize::from(matches!(message, ClientMessage::Command(_)));
    }
    assert_eq!(count, COMMANDS_MAX + 1);
}

// The view and the clock.

#[test]
fn properties_change_and_owner_properties_are_told() {
    let mut client = present(joined(), 0);
    receive(&mut client, &view_of(1, 1));
    let change = |index, value| ViewUpdate {
        tick: Tick(2),
        changes: vec![myriad_wire::client::Change {
            subject: subject(0, 0),
            properties: vec![(PropertyIndex(index), value)],
        }],
        ..ViewUpdate::default()
    };
    receive(
        &mut client,
        &ServerMessage::View(change(0, Value::Text("else".to_owned()))),
    );
    receive(&mut client, &ServerMessage::View(change(3, Value::Int(4))));
    let owner = OwnerUpdate {
        tick: Tick(2),
        properties: vec![(PropertyIndex(1), Value::Int(5))],
    };
    receive(&mut client, &ServerMessage::Owner(owner));
    let told = drain(&mut client);
    assert!(matches!(told[3], ClientEvent::Owner { tick: Tick(2), .. }));
    let subject = client.view().get(subject(0, 0)).unwrap();
    assert_eq!(
        subject.property(PropertyIndex(0)),
        Some(&Value::Text("else".to_owned()))
    );
    assert_eq!(subject.property(PropertyIndex(3)), Some(&Value::Int(4)));
    assert_eq!(subject.property(PropertyIndex(1)), None);
    assert_eq!(client.told_tick(), Tick(2));
}

#[test]
fn subjects_are_shown_between_their_states_one_delay_late() {
    let mut client = present(joined(), 0);
    client.handle_stream(&framed(&view_of(8, 2)), 8 * PERIOD_US + 80_000);
    drain(&mut client);
    let (near, crowd) = (subject(0, 0), subject(1, 0));
    let level = Level::new(2).unwrap();
    // Both go 10 cells of the wire grid a tick; slot 1 is due every fourth tick. The way takes 30 ms.
    for tick in 9..=20 {
        let now_us = tick * PERIOD_US + 30_000;
        let at = wire(10 * (tick as i32 - 8));
        client.handle_datagram(payload(&header(tick, 1), Level::NEAR, &[(Slot(0), at)]), now_us);
        let second = PayloadHeader {
            part: 1,
            parts: 2,
            ..header(tick, 1)
        };
        client.handle_datagram(payload(&second, level, &[(Slot(1), at)]), now_us);
    }
    assert_eq!(client.offset_us(), Some(30_000));
    assert_eq!(client.delay_us(Some(Level::NEAR)), 2 * PERIOD_US);
    assert_eq!(client.delay_us(Some(level)), 5 * PERIOD_US);
    for late_us in [0, 10_000, 50_000, 99_000] {
        let now_us = 20 * PERIOD_US + 30_000 + late_us;
        for (subject, delay, grid) in [(near, 2.0, 16.0), (crowd, 5.0, 64.0)] {
            let shown = client.shown(subject, now_us).unwrap();
            let moment = 20.0 + late_us as f64 / PERIOD_US as f64 - delay;
            assert!((shown.tick - moment).abs() < 1e-6);
            assert!(!shown.extrapolated);
            let truth = (moment - 8.0) * 160.0;
            assert!(
                (f64::from(shown.position.x) - truth).abs() <= grid / 2.0 + 9.0,
                "{shown:?} for {truth}"
            );
        }
    }
    // When nothing comes any more, movement goes on for one tick and then stands still.
    let later = client.shown(near, 23 * PERIOD_US + 30_000).unwrap();
    assert!(later.extrapolated);
    assert_eq!(
        later,
        myriad_client::Shown {
            tick: later.tick,
            ..client.shown(near, 23 * PERIOD_US + 30_000).unwrap()
        }
    );
    assert_eq!(
        later.position,
        client.shown(near, 40 * PERIOD_US).unwrap().position
    );
    assert_eq!(later.position.x, 130 * 16 + 8);
}

#[test]
fn received_bytes_are_counted_by_kind() {
    let mut client = present(joined(), 0);
    let view = framed(&view_of(1, 4));
    client.handle_stream(&view, 0);
    drain(&mut client);
    let members: Vec<_> = (0..4).map(|slot| (Slot(slot), wire(slot as i32 * 500))).collect();
    for level in [Level::NEAR, Level::CROWD] {
        let datagram = payload(&header(2, 1), level, &members);
        client.handle_datagram(datagram, 0);
    }
    let counters = client.counters();
    assert_eq!(counters.bytes.view, view.len() as u64);
    assert!(counters.bytes.near > counters.bytes.crowd && counters.bytes.crowd > 0);
    assert_eq!(counters.states.applied, [4, 0, 0, 0]);
    assert_eq!(counters.datagrams_duplicate, 1, "the same part of the same tick");
}
