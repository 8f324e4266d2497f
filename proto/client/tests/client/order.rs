//! What is told, and in which order, whatever the packets do: a random history of one view is cut into packets,
//! which arrive in any order, twice, or never. The stream arrives in pieces, in order, at any time between them.

use crate::server::{PERIOD_US, drain, framed, header, joined, payload, present, subject, wire};
use bytes::Bytes;
use myriad_client::{Client, ClientEvent};
use myriad_wire::client::{Change, Enter, Event, Leave, LeaveReason, ServerMessage, ViewUpdate};
use myriad_wire::payload::PayloadHeader;
use myriad_wire::track::Level;
use myriad_wire::{EntityId, Generation, KindId, PropertyIndex, Slot, SubjectRef, Tick, Value, WirePos};
use proptest::prelude::*;
use std::collections::BTreeMap;

const SLOTS: u32 = 6;
const FIRST_TICK: u64 = 10;

/// What happens to one slot in one tick, as far as it can.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Nothing,
    /// Enters, or leaves.
    Toggle,
    Change,
    Event,
    /// All of it: changes, has an event, leaves.
    Finish,
    /// Leaves, and the slot's next life enters in the same tick, as after a pause of the stream.
    Replace,
}

fn acts() -> impl Strategy<Value = Vec<[Act; SLOTS as usize]>> {
    let act = prop_oneof![
        4 => Just(Act::Nothing),
        2 => Just(Act::Toggle),
        2 => Just(Act::Change),
        2 => Just(Act::Event),
        1 => Just(Act::Finish),
        1 => Just(Act::Replace),
    ];
    prop::collection::vec(prop::array::uniform6(act), 1..12)
}

fn truth(slot: u32, tick: u64) -> WirePos {
    wire((slot * 1_000) as i32 + tick as i32)
}

/// A history as the server tells it.
#[derive(Debug)]
struct History {
    /// What the stream carries, each piece with its tick.
    views: Vec<(u64, Vec<u8>)>,
    datagrams: Vec<(u64, Bytes)>,
    /// What must be told, in this order.
    told: Vec<ClientEvent>,
    last_tick: u64,
}

struct Teller {
    alive: BTreeMap<u32, u16>,
    generations: [u16; SLOTS as usize],
    told: Vec<ClientEvent>,
}

impl Teller {
    fn enter(&mut self, tick: u64, slot: u32, update: &mut ViewUpdate) {
        self.generations[slot as usize] += 1;
        let generation = self.generations[slot as usize];
        self.alive.insert(slot, generation);
        update.enters.push(Enter {
            subject: subject(slot, generation),
            entity: entity(subject(slot, generation)),
            kind: KindId(0),
            position: truth(slot, tick),
            properties: vec![(PropertyIndex(1), Value::Int(0))],
        });
    }

    fn view(&mut self, tick: u64, acts: &[Act]) -> ViewUpdate {
        let mut update = ViewUpdate {
            tick: Tick(tick),
            ..ViewUpdate::default()
        };
        for (slot, act) in (0u32..).zip(acts) {
            let Some(&generation) = self.alive.get(&slot) else {
                if *act == Act::Toggle {
                    self.enter(tick, slot, &mut update);
                }
                continue;
            };
            let subject = subject(slot, generation);
            if matches!(act, Act::Change | Act::Finish) {
                let properties = vec![(PropertyIndex(1), Value::Int(tick as i64))];
                update.changes.push(Change { subject, properties });
            }
            if matches!(act, Act::Event | Act::Finish) {
                update.events.push(Event {
                    subject,
                    name: "wave".to_owned(),
                    arguments: vec![Value::Int(tick as i64)],
                });
            }
            if matches!(act, Act::Toggle | Act::Finish | Act::Replace) {
                self.alive.remove(&slot);
                let reason = LeaveReason::OutOfView;
                update.leaves.push(Leave { subject, reason });
            }
            if *act == Act::Replace {
                self.enter(tick, slot, &mut update);
            }
        }
        self.expect(&update);
        update
    }

    fn expect(&mut self, update: &ViewUpdate) {
        let tick = update.tick;
        let enters = update.enters.iter().map(|enter| ClientEvent::Enter {
            tick,
            subject: enter.subject,
            entity: Some(enter.entity),
            kind: enter.kind,
            position: enter.position.centre(),
        });
        let changes = update.changes.iter().map(|change| ClientEvent::Change {
            tick,
            subject: change.subject,
            properties: change.properties.clone(),
        });
        let events = update.events.iter().map(|event| ClientEvent::Event {
            tick,
            subject: event.subject,
            name: event.name.clone(),
            arguments: event.arguments.clone(),
        });
        let leaves = update.leaves.iter().map(|leave| ClientEvent::Leave {
            tick,
            subject: leave.subject,
            entity: Some(entity(leave.subject)),
            reason: leave.reason,
        });
        self.told
            .extend(enters.chain(changes).chain(events).chain(leaves));
    }
}

fn entity(subject: SubjectRef) -> EntityId {
    EntityId(u64::from(subject.slot.0) * 100 + u64::from(subject.generation.0))
}

fn history(ticks: &[[Act; SLOTS as usize]]) -> History {
    let mut teller = Teller {
        alive: BTreeMap::new(),
        generations: [0; SLOTS as usize],
        told: Vec::new(),
    };
    let (mut views, mut datagrams, mut view_seq) = (Vec::new(), Vec::new(), 0);
    for (tick, acts) in (FIRST_TICK..).zip(ticks) {
        let before = teller.told.len();
        let update = teller.view(tick, acts);
        if teller.told.len() > before {
            view_seq += 1;
            views.push((tick, framed(&ServerMessage::View(update))));
        }
        // Two parts: the even slots, and the odd ones. All slots have states, in view or not.
        for part in 0..2u8 {
            let slots = (0..SLOTS).filter(|slot| slot % 2 == u32::from(part));
            let members: Vec<_> = slots.map(|slot| (Slot(slot), truth(slot, tick))).collect();
            let header = PayloadHeader {
                part,
                parts: 2,
                ..header(tick, view_seq)
            };
            datagrams.push((tick, payload(&header, Level::NEAR, &members)));
        }
    }
    History {
        views,
        datagrams,
        told: teller.told,
        last_tick: FIRST_TICK + ticks.len() as u64 - 1,
    }
}

/// What has been told of each subject, and what the view said of it then.
#[derive(Default)]
struct Witness {
    log: Vec<ClientEvent>,
    /// Subjects of which an event was told: its tick, and the state at that moment.
    events: BTreeMap<SubjectRef, (Tick, Tick)>,
    /// Subjects of which a change was told: its tick.
    changes: BTreeMap<SubjectRef, Tick>,
}

impl Witness {
    fn drain(&mut self, client: &mut Client) {
        while let Some(event) = client.poll_event() {
            self.note(client, &event);
            self.log.push(event);
            self.check(client);
        }
        self.check(client);
    }

    fn note(&mut self, client: &Client, event: &ClientEvent) {
        match event {
            ClientEvent::Enter { tick, subject, .. } => {
                let entered = client.view().get(*subject).expect("just entered");
                assert_eq!((entered.entered(), entered.state_tick()), (Some(*tick), *tick));
            }
            ClientEvent::Change {
                tick,
                subject,
                properties,
            } => {
                let changed = client.view().get(*subject).expect("it is in view");
                assert!(
                    changed.state_tick() < *tick,
                    "a state was told before a change of its tick"
                );
                assert_eq!(changed.properties(), properties.as_slice());
                self.changes.insert(*subject, *tick);
            }
            ClientEvent::Event { tick, subject, .. } => {
                let state = client.view().get(*subject).expect("it is in view").state_tick();
                assert!(
                    state <= *tick,
                    "a state was told before an event of an earlier tick"
                );
                self.events.insert(*subject, (*tick, state));
            }
            ClientEvent::Leave { subject, .. } => assert!(client.view().get(*subject).is_none()),
            other => panic!("the server told nothing of {other:?}"),
        }
    }

    fn check(&self, client: &Client) {
        for subject in client.view().iter() {
            let state = subject.state_tick();
            let name = subject.subject();
            assert_eq!(
                subject.position(),
                truth(name.slot.0, state.0).centre(),
                "{name:?} in {state}"
            );
            assert!(Some(state) >= subject.entered());
            if let Some((tick, then)) = self.events.get(&name) {
                assert!(
                    state == *then || state > *tick,
                    "a state of an event's tick came after it"
                );
            }
        }
    }
}

/// One thing that reaches the client, or the time that passes.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many bytes of the stream.
    Stream(usize),
    /// That datagram, modulo their number.
    Datagram(usize),
    Time(u64),
    /// One event is taken, though more may be there.
    Poll,
    /// All events are taken.
    Drain,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1usize..200).prop_map(Step::Stream),
        5 => any::<usize>().prop_map(Step::Datagram),
        1 => (0u64..200_000).prop_map(Step::Time),
        2 => Just(Step::Poll),
        2 => Just(Step::Drain),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_same_is_told_in_the_same_order_whatever_the_packets_do(ticks in acts(), steps in steps()) {
        let history = history(&ticks);
        let mut now_us = FIRST_TICK * PERIOD_US;
        let mut client = present(joined(), now_us);
        let mut witness = Witness::default();
        let bytes: Vec<u8> = history.views.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let mut stream = bytes.as_slice();
        for step in steps {
            match step {
                Step::Stream(count) => {
                    let (piece, rest) = stream.split_at(count.min(stream.len()));
                    client.handle_stream(piece, now_us);
                    stream = rest;
                }
                Step::Datagram(which) => {
                    let datagram = history.datagrams[which % history.datagrams.len()].1.clone();
                    client.handle_datagram(datagram, now_us);
                }
                Step::Time(passed_us) => {
                    now_us += passed_us;
                    client.advance(now_us);
                }
                Step::Poll => {
                    if let Some(event) = client.poll_event() {
                        witness.note(&client, &event);
                        witness.log.push(event);
                    }
                    witness.check(&client);
                }
                Step::Drain => witness.drain(&mut client),
            }
        }
        client.handle_stream(stream, now_us);
        witness.drain(&mut client);
        // Nothing is waited for without end.
        client.advance(now_us + PERIOD_US);
        witness.drain(&mut client);
        prop_assert_eq!(&witness.log, &history.told);
        prop_assert_eq!(client.counters().contradictions, 0);
        prop_assert_eq!(client.counters().malformed, 0);
    }

    #[test]
    fn every_state_is_applied_when_nothing_is_lost(ticks in acts(), stall in 0u64..12, length in 0u64..12) {
        let history = history(&ticks);
        let now_us = FIRST_TICK * PERIOD_US;
        let mut client = present(joined(), now_us);
        let mut witness = Witness::default();
        // The stream stands still for a while, as after a loss, and then comes all at once.
        let mut views = history.views.iter().peekable();
        let mut datagrams = history.datagrams.iter().peekable();
        let stalled = FIRST_TICK + stall..FIRST_TICK + stall + length;
        for now in FIRST_TICK..=history.last_tick.max(stalled.end) {
            while views.peek().is_some_and(|(tick, _)| *tick <= now && !stalled.contains(&now)) {
                client.handle_stream(&views.next().unwrap().1, now_us);
            }
            while datagrams.peek().is_some_and(|(tick, _)| *tick <= now) {
                client.handle_datagram(datagrams.next().unwrap().1.clone(), now_us);
                witness.drain(&mut client);
            }
            witness.drain(&mut client);
        }
        prop_assert_eq!(&witness.log, &history.told, "no time passed: nothing was waited for");
        for subject in client.view().iter() {
            prop_assert_eq!(subject.state_tick(), Tick(history.last_tick));
        }
        let counters = client.counters();
        prop_assert_eq!((counters.states.stale, counters.waits_expired), (0, 0));
    }
}

fn enter(tick: u64, subject: SubjectRef) -> ViewUpdate {
    ViewUpdate {
        tick: Tick(tick),
        enters: vec![Enter {
            subject,
            entity: entity(subject),
            kind: KindId(0),
            position: truth(subject.slot.0, tick),
            properties: Vec::new(),
        }],
        ..ViewUpdate::default()
    }
}

fn wave(tick: u64, subject: SubjectRef) -> ViewUpdate {
    ViewUpdate {
        tick: Tick(tick),
        events: vec![Event {
            subject,
            name: "wave".to_owned(),
            arguments: Vec::new(),
        }],
        ..ViewUpdate::default()
    }
}

fn tell(client: &mut Client, update: ViewUpdate, now_us: u64) {
    client.handle_stream(&framed(&ServerMessage::View(update)), now_us);
}

fn state(client: &mut Client, tick: u64, view_seq: u64, slot: u32) {
    let members = [(Slot(slot), truth(slot, tick))];
    let datagram = payload(&header(tick, view_seq), Level::NEAR, &members);
    client.handle_datagram(datagram, tick * PERIOD_US);
}

#[test]
fn an_event_waits_for_the_states_of_its_tick_but_not_for_long() {
    let (who, now_us) = (subject(3, 1), 20 * PERIOD_US);
    let mut client = present(joined(), now_us);
    tell(&mut client, enter(19, who), now_us);
    assert_eq!(drain(&mut client).len(), 1);
    tell(&mut client, wave(20, who), now_us);
    assert_eq!(client.poll_event(), None);
    assert_eq!(client.next_timeout_us(), Some(now_us + PERIOD_US));
    client.advance(now_us + PERIOD_US - 1);
    assert_eq!(client.poll_event(), None);
    client.advance(now_us + PERIOD_US);
    let told = drain(&mut client);
    assert!(
        matches!(told[..], [ClientEvent::Event { tick: Tick(20), .. }]),
        "{told:?}"
    );
    assert_eq!(client.counters().waits_expired, 1);
    // The state of the event's tick comes too late for this subject; the next one does not.
    state(&mut client, 20, 2, 3);
    assert_eq!(client.view().get(who).unwrap().state_tick(), Tick(19));
    state(&mut client, 21, 2, 3);
    assert_eq!(client.view().get(who).unwrap().state_tick(), Tick(21));
}

#[test]
fn a_late_state_of_a_subject_of_which_nothing_was_told_since_is_taken() {
    let (who, now_us) = (subject(3, 1), 20 * PERIOD_US);
    let mut client = present(joined(), now_us);
    tell(&mut client, enter(19, who), now_us);
    tell(&mut client, enter(21, subject(4, 1)), now_us);
    assert_eq!(drain(&mut client).len(), 2);
    state(&mut client, 21, 2, 4);
    state(&mut client, 20, 1, 3);
    assert_eq!(client.view().get(who).unwrap().state_tick(), Tick(20));
}

#[test]
fn the_next_life_of_a_slot_may_enter_before_the_last_one_leaves() {
    let (old, new, now_us) = (subject(3, 1), subject(3, 2), 20 * PERIOD_US);
    let mut client = present(joined(), now_us);
    tell(&mut client, enter(19, old), now_us);
    let update = ViewUpdate {
        leaves: vec![Leave {
            subject: old,
            reason: LeaveReason::Despawned,
        }],
        ..enter(90, new)
    };
    tell(&mut client, update, now_us);
    client.poll_event();
    assert!(matches!(client.poll_event(), Some(ClientEvent::Enter { .. })));
    assert!(client.view().get(old).is_some() && client.view().get(new).is_some());
    state(&mut client, 90, 2, 3);
    let told = drain(&mut client);
    assert!(matches!(told[..], [ClientEvent::Leave { .. }]), "{told:?}");
    state(&mut client, 91, 2, 3);
    assert_eq!(client.view().len(), 1);
    let subject = client.view().get(new).unwrap();
    assert_eq!(
        (subject.state_tick(), subject.entity()),
        (Tick(91), Some(entity(new)))
    );
    assert_eq!(client.counters().contradictions, 0);
}

#[test]
fn states_of_a_slot_after_its_leave_reach_nobody() {
    let (who, now_us) = (subject(3, 1), 20 * PERIOD_US);
    let mut client = present(joined(), now_us);
    tell(&mut client, enter(19, who), now_us);
    let update = ViewUpdate {
        tick: Tick(20),
        leaves: vec![Leave {
            subject: who,
            reason: LeaveReason::Despawned,
        }],
        ..ViewUpdate::default()
    };
    tell(&mut client, update, now_us);
    state(&mut client, 20, 2, 3);
    assert_eq!(drain(&mut client).len(), 2);
    state(&mut client, 21, 2, 3);
    assert_eq!(client.counters().states.unknown, 1);
    let again = SubjectRef {
        generation: Generation(2),
        ..who
    };
    tell(&mut client, enter(90, again), now_us);
    assert_eq!(drain(&mut client).len(), 1);
    state(&mut client, 22, 2, 3);
    assert_eq!(
        client.view().get(again).unwrap().state_tick(),
        Tick(90),
        "a state of the last life"
    );
}
