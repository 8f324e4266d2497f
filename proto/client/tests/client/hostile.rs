//! Servers that mean harm: nothing they send makes a client panic, stall or grow without bound.

use crate::server::{
    config, datagram, drain, framed, joined, own, payload, present, receive, subject, view_of,
};
use myriad_client::limits::{HELD_DATAGRAMS_MAX, PROPERTY_BYTES_MAX, QUEUE_BYTES_PAUSE, SLOTS_MAX};
use myriad_client::{Client, ClientEvent};
use myriad_wire::client::{Change, Enter, Event, Joined, Leave, LeaveReason, ServerMessage, ViewUpdate};
use myriad_wire::limits::{SERVER_MESSAGE_BYTES_MAX, TEXT_BYTES_MAX};
use myriad_wire::payload::{OwnRecord, PayloadHeader};
use myriad_wire::track::Level;
use myriad_wire::{
    CloseReason, EntityId, IntentSeq, KindId, Pos, PropertyIndex, Slot, SpaceClock, SubjectRef, Tick, Value,
    WirePos,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn a_client_that_takes_no_events_asks_for_a_pause_and_is_bounded() {
    let mut client = present(joined(), 0);
    let mut tick = 0;
    while client.wants_stream() {
        tick += 1;
        receive(&mut client, &view_of(tick, 1_000));
    }
    assert!(client.counters().bytes.view as usize >= QUEUE_BYTES_PAUSE);
    assert_eq!(client.closed(), None);
    while client.closed().is_none() {
        receive(&mut client, &view_of(tick, 1_000));
    }
    assert_eq!(client.closed(), Some(CloseReason::Oversized));
}

#[test]
fn a_slot_beyond_all_reason_ends_the_session() {
    let mut client = present(joined(), 0);
    let ServerMessage::View(mut view) = view_of(1, 2) else {
        unreachable!()
    };
    view.enters[1].subject.slot = Slot(SLOTS_MAX as u32);
    receive(&mut client, &ServerMessage::View(view));
    let told = drain(&mut client);
    assert_eq!(told.last(), Some(&ClientEvent::Closed(CloseReason::Oversized)));
}

#[test]
fn property_values_without_end_end_the_session() {
    let mut client = present(joined(), 0);
    let text = Value::Text("x".repeat(TEXT_BYTES_MAX));
    let enters = |first: u32| {
        (first..first + 900).map(|slot| Enter {
            subject: subject(slot, 0),
            entity: EntityId(0),
            kind: KindId(0),
            position: WirePos::default(),
            properties: vec![(PropertyIndex(0), text.clone())],
        })
    };
    let mut first = 0;
    while client.closed().is_none() {
        let update = ViewUpdate {
            tick: Tick(1),
            enters: enters(first).collect(),
            ..ViewUpdate::default()
        };
        receive(&mut client, &ServerMessage::View(update));
        drain(&mut client);
        first += 900;
    }
    assert_eq!(client.closed(), Some(CloseReason::Oversized));
    assert!(client.view().len() * TEXT_BYTES_MAX <= PROPERTY_BYTES_MAX);
}

#[test]
fn datagrams_that_wait_in_vain_are_bounded() {
    let mut client = present(joined(), 0);
    for tick in 0..HELD_DATAGRAMS_MAX as u64 + 10 {
        datagram(
            &mut client,
            &PayloadHeader {
                view_seq: u64::MAX,
                ..own(tick, 0, joined().position, 0)
            },
        );
    }
    assert_eq!(client.counters().datagrams_dropped, 10);
}

#[test]
fn what_cannot_be_is_counted_and_left_out() {
    let mut client = present(joined(), 0);
    receive(&mut client, &view_of(5, 1));
    receive(&mut client, &view_of(4, 1));
    let nobody = subject(77, 0);
    receive(
        &mut client,
        &ServerMessage::View(ViewUpdate {
            tick: Tick(6),
            changes: vec![Change {
                subject: nobody,
                properties: Vec::new(),
            }],
            events: vec![Event {
                subject: nobody,
                name: "wave".to_owned(),
                arguments: Vec::new(),
            }],
            leaves: vec![Leave {
                subject: nobody,
                reason: LeaveReason::OutOfView,
            }],
            ..ViewUpdate::default()
        }),
    );
    client.handle_closed(CloseReason::Lost);
    assert_eq!(drain(&mut client).len(), 2, "one enter and the end");
    // A tick that goes back, a second enter, and three about nobody.
    assert_eq!(client.counters().contradictions, 5);
    assert_eq!(client.view().len(), 1);
}

fn any_subject() -> impl Strategy<Value = SubjectRef> {
    (0u32..4, 0u16..2).prop_map(|(slot, generation)| subject(slot, generation))
}

prop_compose! {
    fn any_view()(
        tick in prop_oneof![40 => 0u64..20, 1 => any::<u64>()],
        enters in prop::collection::vec((any_subject(), any::<[i32; 3]>()), 0..4),
        changes in prop::collection::vec((any_subject(), prop::collection::btree_set(0u8..4, 0..4)), 0..4),
        events in prop::collection::vec(any_subject(), 0..3),
        leaves in prop::collection::vec(any_subject(), 0..4),
    ) -> ServerMessage {
        let values = |indices: BTreeSet<u8>| indices.into_iter().map(|i| (PropertyIndex(i), Value::Text("v".repeat(i.into()))));
        ServerMessage::View(ViewUpdate {
            tick: Tick(tick),
            enters: enters.into_iter().map(|(subject, [x, y, z])| Enter {
                subject,
                entity: EntityId(0),
                kind: KindId(0),
                position: WirePos { x, y, z },
                properties: values([1, 2].into()).collect(),
            }).collect(),
            changes: changes.into_iter().map(|(subject, indices)| Change {
                subject,
                properties: values(indices).collect(),
            }).collect(),
            events: events.into_iter().map(|subject| Event { subject, name: "wave".to_owned(), arguments: Vec::new() }).collect(),
            leaves: leaves.into_iter().map(|subject| Leave {
                subject,
                reason: LeaveReason::Despawned,
            }).collect(),
        })
    }
}

prop_compose! {
    fn any_payload()(
        tick in prop_oneof![40 => 0u64..20, 1 => any::<u64>()],
        (part, parts) in (any::<u8>(), any::<u8>()),
        view_seq in prop_oneof![0u64..6, any::<u64>()],
        intent_seq in prop_oneof![0u32..6, any::<u32>()],
        position in any::<[i32; 3]>(),
        corrections in any::<u32>(),
        level in 0u8..4,
        states in prop::collection::btree_map(0u32..6, any::<[i32; 3]>(), 0..6),
    ) -> Vec<u8> {
        let header = PayloadHeader {
            tick: Tick(tick),
            part,
            parts,
            view_seq,
            own: OwnRecord {
                intent_seq: IntentSeq(intent_seq),
                position: Pos { x: position[0], y: position[1], z: position[2] },
                corrections,
            },
        };
        let members: Vec<_> = states
            .into_iter()
            .map(|(slot, [x, y, z])| (Slot(slot), WirePos { x, y, z }))
            .collect();
        let tick_0 = PayloadHeader { tick: Tick(tick & !7), ..header };
        payload(&tick_0, Level::new(level).expect("below four"), &members).to_vec()
    }
}

/// What a malicious server, or the player, does.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Message(ServerMessage),
    Stream(Vec<u8>),
    Datagram(Vec<u8>),
    /// A datagram with one byte changed.
    Damaged(Vec<u8>, usize, u8),
    Time(u64),
    Poll(u8),
    Step(i32, i32),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => any_view().prop_map(Op::Message),
        6 => any_payload().prop_map(Op::Datagram),
        2 => (any_payload(), any::<usize>(), any::<u8>()).prop_map(|(bytes, at, byte)| Op::Damaged(bytes, at, byte)),
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(Op::Datagram),
        2 => any::<u64>().prop_map(Op::Time),
        4 => any::<u8>().prop_map(Op::Poll),
        2 => (any::<i32>(), any::<i32>()).prop_map(|(dx, dz)| Op::Step(dx, dz)),
        1 => (-9i32..9, -9i32..9).prop_map(|(dx, dz)| Op::Step(dx, dz)),
    ]
}

pub(crate) fn exercise(client: &mut Client, ops: Vec<Op>) {
    let mut now_us = 0;
    for op in ops {
        match op {
            Op::Message(message) => client.handle_stream(&framed(&message), now_us),
            Op::Stream(bytes) => client.handle_stream(&bytes, now_us),
            Op::Datagram(bytes) => client.handle_datagram(bytes.into(), now_us),
            Op::Damaged(mut bytes, at, byte) => {
                let at = at % bytes.len();
                bytes[at] = byte;
                client.handle_datagram(bytes.into(), now_us);
            }
            Op::Time(now) => {
                now_us = now;
                client.advance(now);
            }
            Op::Poll(times) => (0..times).for_each(|_| drop(client.poll_event())),
            Op::Step(dx, dz) => drop(client.step(dx, dz)),
        }
        drop(client.poll_datagram());
        for subject in client.view().iter() {
            let _shown = (
                subject.shown(client.tick_now(now_us).unwrap_or(0.0)),
                subject.state_tick(),
            );
            assert!(client.view().get(subject.subject()).is_some());
        }
        assert_eq!(client.view().iter().count(), client.view().len());
    }
    client.handle_closed(CloseReason::Lost);
    assert!(matches!(
        drain(client).last(),
        None | Some(ClientEvent::Closed(_))
    ));
}

proptest! {
    #[test]
    fn no_server_makes_the_client_panic(
        intent_seq in prop_oneof![Just(0), any::<u32>()],
        rate_mhz in 100u32..=1_000_000,
        origin_us in any::<u64>(),
        base in any::<u64>(),
        position in any::<[i32; 3]>(),
        ops in prop::collection::vec(any_op(), 0..60),
    ) {
        let clock = SpaceClock { origin_us, base: Tick(base), rate_mhz };
        let position = Pos { x: position[0], y: position[1], z: position[2] };
        let joined = Joined { intent_seq: IntentSeq(intent_seq), clock, position, ..joined() };
        exercise(&mut present(joined, 0), ops);
    }

    #[test]
    fn random_bytes_never_panic(
        has_joined: bool,
        stream in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8),
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8),
    ) {
        let mut client = if has_joined { present(joined(), 0) } else { Client::new(config()) };
        let datagrams = datagrams.into_iter().map(|mut bytes| {
            // Most would be refused for their first byte.
            bytes.insert(0, 1);
            Op::Datagram(bytes)
        });
        exercise(&mut client, datagrams.chain(stream.into_iter().map(Op::Stream)).collect());
    }

    #[test]
    fn a_random_message_of_honest_length_never_panics(body in prop::collection::vec(any::<u8>(), 0..80), kind in 0u8..10) {
        let mut bytes = (body.len() as u32 + 1).to_le_bytes().to_vec();
        bytes.push(kind);
        bytes.extend(body);
        exercise(&mut present(joined(), 0), vec![Op::Stream(bytes), Op::Poll(9)]);
    }
}

#[test]
fn a_message_longer_than_allowed_ends_the_session_before_it_is_read() {
    let mut client = present(joined(), 0);
    client.handle_stream(&(SERVER_MESSAGE_BYTES_MAX as u32 + 1).to_le_bytes(), 0);
    assert_eq!(client.closed(), Some(CloseReason::Oversized));
}
