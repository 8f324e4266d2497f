//! Who is told what of whom: against the oracle, and by example.

use crate::lane::{Birth, RADIUS_AOI, at};
use crate::rig::{Rig, config};
use myriad_aoi::oracle::Oracle;
use myriad_aoi::{Observer, ObserverId, Subject, SubjectId};
use myriad_wire::client::{ClientMessage, LeaveReason};
use myriad_wire::{Generation, Pos, SubjectRef, Value, codec};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// What happens between two ticks. Numbers pick one of those who are there.
#[derive(Clone, Debug)]
enum Deed {
    Move(usize, i32, i32),
    Spawn(i32, i32, u32),
    Despawn(usize),
    Layers(usize, u32),
    Change(usize, i64),
    Event(usize),
    Sees(usize, u32),
    Keyframe,
    Backlog(usize, bool),
}

fn deed() -> impl Strategy<Value = Deed> {
    let place = || (-60..60i32, -60..60i32);
    prop_oneof![
        8 => (any::<usize>(), place()).prop_map(|(who, (x, z))| Deed::Move(who, x, z)),
        3 => (place(), 1..4u32).prop_map(|((x, z), layers)| Deed::Spawn(x, z, layers)),
        2 => any::<usize>().prop_map(Deed::Despawn),
        2 => (any::<usize>(), 0..4u32).prop_map(|(who, layers)| Deed::Layers(who, layers)),
        4 => (any::<usize>(), any::<i64>()).prop_map(|(who, value)| Deed::Change(who, value)),
        4 => any::<usize>().prop_map(Deed::Event),
        1 => (any::<usize>(), 0..4u32).prop_map(|(who, sees)| Deed::Sees(who, sees)),
        1 => Just(Deed::Keyframe),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(who, frozen)| Deed::Backlog(who, frozen)),
    ]
}

/// The same world in the oracle.
struct Truth {
    oracle: Oracle,
    lives: BTreeMap<u32, Generation>,
    observers: BTreeSet<usize>,
}

impl Truth {
    fn new() -> Self {
        Self {
            oracle: Oracle::new(myriad_aoi::Config::default()),
            lives: BTreeMap::new(),
            observers: BTreeSet::new(),
        }
    }

    /// Takes the lane and the joined clients as they are now.
    fn update(&mut self, rig: &Rig) {
        let lives: BTreeMap<u32, Generation> = rig
            .lane
            .entities
            .iter()
            .map(|(slot, entity)| (*slot, entity.generation))
            .collect();
        for (slot, generation) in &self.lives {
            if lives.get(slot) != Some(generation) {
                self.oracle.remove_subject(SubjectId(*slot));
            }
        }
        for (slot, entity) in &rig.lane.entities {
            let (id, position, layers) = (SubjectId(*slot), entity.position.to_aoi(), entity.layers);
            if self.lives.get(slot) == Some(&entity.generation) {
                self.oracle.move_subject(id, position);
                self.oracle.set_layers(id, layers);
            } else {
                self.oracle.insert_subject(
                    id,
                    Subject {
                        position,
                        layers,
                        appeal: 0,
                    },
                );
            }
        }
        self.lives = lives;
        for (number, client) in rig
            .clients
            .iter()
            .enumerate()
            .filter(|(_, client)| client.joined.is_some())
        {
            let (id, sees) = (ObserverId(number as u32), rig.lane.birth(&client.account).sees);
            let avatar = rig.lane.slot_of(&client.account).unwrap();
            let position = rig.lane.entities[&avatar].position.to_aoi();
            if self.observers.insert(number) {
                let observer = Observer {
                    position,
                    radius: RADIUS_AOI,
                    sees,
                    avatar: None,
                };
                self.oracle.insert_observer(id, observer);
            } else {
                self.oracle.move_observer(id, position);
                self.oracle.set_sees(id, sees);
            }
        }
        self.oracle.update();
    }

    fn view(&self, rig: &Rig, client: usize) -> BTreeSet<SubjectRef> {
        self.oracle
            .view(ObserverId(client as u32))
            .map(|id| rig.name_of(id.0))
            .collect()
    }
}

fn pick<T: Copy>(from: impl Iterator<Item = T>, number: usize) -> Option<T> {
    let all: Vec<T> = from.collect();
    (!all.is_empty()).then(|| all[number % all.len()])
}

/// What a run of deeds has done to its clients, beside the lane's own state.
struct Run {
    rig: Rig,
    truth: Truth,
    frozen: BTreeSet<usize>,
}

impl Run {
    fn new(accounts: &[&str]) -> Self {
        let (mut rig, mut truth) = (Rig::new(), Truth::new());
        for (account, sees) in accounts.iter().zip([1, 2, 3]) {
            rig.lane.births.insert(
                (*account).into(),
                Birth {
                    position: at(0, 0),
                    layers: 1,
                    sees,
                },
            );
        }
        for slot in 0..30 {
            rig.lane.spawn(at(slot * 4 - 60, slot % 7), 1 + slot as u32 % 3);
        }
        for account in accounts {
            rig.enter(account);
        }
        while rig.clients.iter().any(|client| client.joined.is_none()) {
            rig.step();
            truth.update(&rig);
        }
        Self {
            rig,
            truth,
            frozen: BTreeSet::new(),
        }
    }

    fn apply(&mut self, deed: &Deed) {
        let lane = &mut self.rig.lane;
        let clients = self.rig.clients.len();
        let someone = |number| pick(lane.entities.keys().copied(), number);
        match *deed {
            Deed::Move(who, x, z) => {
                let Some(slot) = someone(who) else { return };
                // Quarters of a metre reach both sides of the radius; steps below a wire unit test the grid.
                let near = Pos {
                    x: x * 256 + who as i32 % 16,
                    y: 0,
                    z: z * 1024,
                };
                lane.entities.get_mut(&slot).unwrap().position = near;
            }
            Deed::Spawn(x, z, layers) => _ = lane.spawn(at(x, z), layers),
            Deed::Despawn(who) => {
                let avatars: BTreeSet<u32> = lane.seats.values().map(|seat| seat.slot).collect();
                let others = lane
                    .entities
                    .keys()
                    .copied()
                    .filter(|slot| !avatars.contains(slot));
                let Some(slot) = pick(others, who) else { return };
                // The slot may have its next life in the same tick, to which an event would seem to belong.
                lane.events.retain(|event| event.slot.0 != slot);
                lane.despawn(slot);
            }
            Deed::Layers(who, layers) => {
                let Some(slot) = someone(who) else { return };
                lane.set_layers(slot, layers);
            }
            Deed::Change(who, value) => {
                let Some(slot) = someone(who) else { return };
                lane.change(slot, Value::Int(value));
            }
            Deed::Event(who) => {
                let Some(slot) = someone(who) else { return };
                lane.event(slot, "wave");
            }
            Deed::Sees(who, sees) => {
                let account = self.rig.clients[who % clients].account.clone();
                lane.set_sees(&account, sees);
            }
            Deed::Keyframe => lane.wants_full = true,
            Deed::Backlog(who, frozen) => {
                let client = who % clients;
                self.rig.set_backlog(client, if frozen { 1 << 20 } else { 0 });
                if frozen {
                    self.frozen.insert(client)
                } else {
                    self.frozen.remove(&client)
                };
            }
        }
    }

    fn step(&mut self) {
        let waved: BTreeMap<u32, usize> =
            self.rig
                .lane
                .events
                .iter()
                .fold(BTreeMap::new(), |mut waved, event| {
                    *waved.entry(event.slot.0).or_default() += 1;
                    waved
                });
        self.rig.step();
        self.truth.update(&self.rig);
        for client in 0..self.rig.clients.len() {
            self.check_payload(client);
            if self.frozen.contains(&client) {
                assert_eq!(
                    self.rig.clients[client].update, None,
                    "a frozen client is told nothing"
                );
            } else {
                self.check_view(client, &waved);
            }
        }
    }

    fn check_view(&self, client: usize, waved: &BTreeMap<u32, usize>) {
        let expected = self.truth.view(&self.rig, client);
        let told = &self.rig.clients[client].view;
        assert_eq!(
            told.keys().copied().collect::<BTreeSet<_>>(),
            expected,
            "client {client}"
        );
        for (name, seen) in told {
            let entity = &self.rig.lane.entities[&name.slot.0];
            assert_eq!(
                (seen.entity, &seen.properties),
                (entity.entity, &entity.properties)
            );
        }
        let mut waves: Vec<SubjectRef> = Vec::new();
        for name in expected {
            waves.extend(std::iter::repeat_n(
                name,
                waved.get(&name.slot.0).copied().unwrap_or(0),
            ));
        }
        // Those of one subject come in order, subjects in any.
        let mut told = self.rig.clients[client].events("wave");
        told.sort_unstable();
        assert_eq!(told, waves, "client {client}");
    }

    /// Nothing about whom the client must not see, and everything about whom it does.
    fn check_payload(&self, client: usize) {
        let client = &self.rig.clients[client];
        let sees = self.rig.lane.birth(&client.account).sees;
        let payload = client.payload.as_ref().expect("a payload each tick");
        let near: BTreeSet<u32> = payload.states.iter().map(|(.., state)| state.slot.0).collect();
        for slot in &near {
            assert_ne!(
                self.rig.lane.entities[slot].layers & sees,
                0,
                "a state of whom it must not see"
            );
        }
        let own = self.rig.lane.entities[&self.rig.lane.slot_of(&client.account).unwrap()].position;
        assert_eq!(payload.header.own.position, own);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn views_are_those_of_the_oracle_in_every_tick(
        ticks in prop::collection::vec(prop::collection::vec(deed(), 0..8), 1..25),
    ) {
        let mut run = Run::new(&["ada", "eve", "bob"]);
        for deeds in ticks {
            for deed in &deeds {
                run.apply(deed);
            }
            run.step();
        }
        // Whoever was frozen catches up at once.
        for client in 0..3 {
            run.apply(&Deed::Backlog(client, false));
        }
        run.step();
        prop_assert_eq!(run.rig.gateway.counters().enters_deferred, 0);
    }
}

#[test]
fn an_edge_is_told_in_its_tick_with_hysteresis() {
    let mut rig = Rig::new();
    let npc = rig.lane.spawn(at(50, 0), 1);
    let ada = rig.join("ada");
    // The radius is 40 m, so it leaves beyond 44 m.
    for (x, visible) in [
        (41, false),
        (40, true),
        (43, true),
        (44, true),
        (45, false),
        (42, false),
        (39, true),
    ] {
        rig.lane.entities.get_mut(&npc).unwrap().position = at(x, 0);
        rig.step();
        assert_eq!(rig.sees(ada, npc), visible, "at {x} m");
        let tick = rig.lane.tick;
        assert!(
            rig.clients[ada]
                .update
                .as_ref()
                .is_none_or(|update| update.tick == tick)
        );
    }
    rig.steps(3);
    assert_eq!(
        rig.clients[ada].update, None,
        "nothing changed, so there is no view"
    );
}

#[test]
fn a_despawn_is_a_leave_and_its_last_event_is_told_before() {
    let mut rig = Rig::new();
    let (npc, hidden) = (rig.lane.spawn(at(5, 0), 1), rig.lane.spawn(at(5, 5), 2));
    let ada = rig.join("ada");
    let name = rig.name_of(npc);
    for slot in [npc, hidden] {
        rig.lane.event(slot, "burst");
        rig.lane.despawn(slot);
    }
    rig.step();
    assert_eq!(rig.clients[ada].events("burst"), [name]);
    assert_eq!(rig.clients[ada].leave_reasons(), [LeaveReason::Despawned]);
    let back = rig.lane.spawn(at(5, 0), 1);
    rig.step();
    assert_eq!(back, npc, "the slot has its next life");
    assert!(rig.sees(ada, back));
}

#[test]
fn the_events_of_a_slots_next_life_are_not_the_last_words_of_the_one_before() {
    let mut rig = Rig::new();
    let npc = rig.lane.spawn(at(5, 0), 1);
    let ada = rig.join("ada");
    let name = rig.name_of(npc);
    rig.lane.despawn(npc);
    assert_eq!(rig.lane.spawn(at(90, 0), 1), npc);
    rig.lane.event(npc, "far away");
    rig.step();
    let update = rig.clients[ada].update.clone().unwrap();
    assert_eq!((update.events.len(), update.leaves.len()), (0, 1));
    assert_eq!(update.leaves[0].subject, name);
}

#[test]
fn whoever_hides_leaves_and_what_it_does_then_is_not_told() {
    let mut rig = Rig::new();
    let npc = rig.lane.spawn(at(5, 0), 1);
    let ada = rig.join("ada");
    rig.lane.set_layers(npc, 2);
    rig.lane.event(npc, "gone");
    rig.lane.change(npc, Value::Text("secret".into()));
    rig.step();
    let update = rig.clients[ada].update.clone().unwrap();
    assert_eq!(
        (update.changes.len(), update.events.len(), update.leaves.len()),
        (0, 0, 1)
    );
    rig.lane.despawn(npc);
    rig.step();
    assert_eq!(rig.clients[ada].update, None);
}

#[test]
fn who_loses_sight_in_a_tick_does_not_hear_the_last_words_of_that_tick() {
    let mut rig = Rig::new();
    let npc = rig.lane.spawn(at(5, 0), 1);
    rig.lane.births.insert(
        "ada".into(),
        Birth {
            position: at(0, 0),
            layers: 3,
            sees: 3,
        },
    );
    let ada = rig.join("ada");
    assert!(rig.sees(ada, npc));
    rig.lane.set_sees("ada", 2);
    rig.lane.event(npc, "burst");
    rig.lane.despawn(npc);
    rig.step();
    let update = rig.clients[ada].update.clone().unwrap();
    assert_eq!((update.events.len(), update.leaves.len()), (0, 1));
}

#[test]
fn a_frozen_client_catches_up_with_one_view() {
    let mut rig = Rig::new();
    let npcs: Vec<u32> = (0..10).map(|i| rig.lane.spawn(at(i, 3), 1)).collect();
    let ada = rig.join("ada");
    let names: Vec<SubjectRef> = npcs.iter().map(|npc| rig.name_of(*npc)).collect();
    rig.set_backlog(ada, config().backlog_bytes_max + 1);
    // While it does not read: one dies and its slot lives again, one walks off, one comes, one changes, one waves.
    rig.lane.despawn(npcs[0]);
    rig.step();
    assert_eq!(rig.lane.spawn(at(1, 1), 1), npcs[0]);
    rig.lane.entities.get_mut(&npcs[1]).unwrap().position = at(90, 0);
    let new = rig.lane.spawn(at(2, 2), 1);
    rig.lane.change(npcs[2], Value::Int(5));
    rig.lane.event(npcs[3], "wave");
    rig.lane
        .set_owner(rig.clients[ada].session.unwrap(), Value::Int(1));
    rig.step();
    rig.lane.change(npcs[2], Value::Int(6));
    rig.steps(2);
    assert_eq!(rig.clients[ada].update, None);
    assert_eq!(rig.gateway.status().frozen, 1);
    assert!(rig.clients[ada].payload.is_some(), "states go on");
    assert_eq!(rig.gateway.counters().events_dropped, 1);

    rig.set_backlog(ada, config().backlog_bytes_max / 2 + 1);
    rig.step();
    assert_eq!(rig.clients[ada].update, None, "it thaws at half of what froze it");
    rig.set_backlog(ada, 0);
    rig.step();
    let update = rig.clients[ada].update.clone().unwrap();
    let entered: Vec<SubjectRef> = update.enters.iter().map(|enter| enter.subject).collect();
    assert_eq!(entered, [rig.name_of(npcs[0]), rig.name_of(new)]);
    let left: Vec<SubjectRef> = update.leaves.iter().map(|leave| leave.subject).collect();
    assert_eq!(left, [names[0], names[1]]);
    assert_eq!(update.changes.len(), 1);
    assert_eq!(rig.clients[ada].view[&names[2]].properties[0].1, Value::Int(6));
    assert_eq!(rig.clients[ada].owner.len(), 1);
    assert_eq!(
        (rig.gateway.counters().freezes, rig.gateway.counters().catch_ups),
        (1, 1)
    );
    assert_eq!(rig.closed(ada), None, "nobody is kicked for being slow");
}

#[test]
fn a_session_that_gets_a_former_ones_place_begins_with_an_empty_view() {
    let mut rig = Rig::new();
    let (near, far) = (rig.lane.spawn(at(5, 0), 1), rig.lane.spawn(at(70, 0), 1));
    let ada = rig.join("ada");
    assert!(rig.sees(ada, near) && !rig.sees(ada, far));
    rig.say(ada, codec::encode(&ClientMessage::Leave).into());
    rig.steps(2);
    let seat = Birth {
        position: at(72, 0),
        layers: 1,
        sees: 1,
    };
    rig.lane.births.insert("eve".into(), seat);
    let eve = rig.join("eve");
    assert!(rig.sees(eve, far) && !rig.sees(eve, near));
    let back = rig.join("ada");
    assert!(rig.sees(back, near) && !rig.sees(back, far));
}

#[test]
fn enters_beyond_a_views_budget_come_in_the_next_ticks_own_avatar_first() {
    let mut config = config();
    config.view_bytes_max = 1024;
    let mut rig = Rig::with(config);
    for i in 0..200 {
        rig.lane.spawn(at(i % 20, i / 20), 1);
    }
    let ada = rig.join("ada");
    let own = rig.clients[ada].joined.as_ref().unwrap().avatar;
    assert_eq!(rig.clients[ada].update.as_ref().unwrap().enters[0].subject, own);
    let first = rig.clients[ada].view.len();
    assert!((10..100).contains(&first), "{first}");
    // What is not entered yet is told neither changes nor events.
    for slot in 0..200 {
        rig.lane.change(slot, Value::Int(3));
        rig.lane.event(slot, "wave");
    }
    rig.steps(20);
    assert_eq!(rig.clients[ada].view.len(), 201);
    assert!(rig.gateway.counters().enters_deferred > 2);
    let moods = rig.clients[ada]
        .view
        .values()
        .filter(|seen| seen.properties[0].1 == Value::Int(3))
        .count();
    assert_eq!(moods, 200);
}

#[test]
fn changes_and_events_beyond_a_message_wait_or_are_dropped() {
    let mut config = config();
    config.crowd_from = u32::MAX;
    let mut rig = Rig::with(config);
    for i in 0..400 {
        rig.lane.spawn(at(i % 20, i / 20), 1);
    }
    let ada = rig.join("ada");
    for slot in 0..400 {
        rig.lane.change(slot, Value::Text("x".repeat(1000)));
        for _ in 0..40 {
            rig.lane.event(slot, "shout");
        }
    }
    rig.step();
    let counters = rig.gateway.counters();
    assert!(counters.changes_deferred > 100 && counters.events_dropped > 1000);
    assert_eq!(counters.events_dropped + counters.events_sent, 400 * 40);
    rig.steps(3);
    let long = rig.clients[ada]
        .view
        .values()
        .filter(|seen| matches!(&seen.properties[0].1, Value::Text(_)));
    assert_eq!(long.count(), 400, "every change is told in the end");
}

#[test]
fn nothing_of_another_layer_is_in_any_byte_that_a_client_receives() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    let secret = rig.lane.spawn(
        Pos {
            x: 12_345_678,
            y: 0,
            z: 7,
        },
        2,
    );
    let entity = rig.lane.entities[&secret].entity;
    rig.lane.change(secret, Value::Text("planted".into()));
    for i in 0..30 {
        // It walks right through the one who must not see it.
        rig.lane.entities.get_mut(&secret).unwrap().position = at(15 - i, 0);
        rig.lane.event(secret, "planted");
        if i == 10 {
            rig.lane.wants_full = true;
        }
        rig.step();
        let states = &rig.clients[ada].payload.as_ref().unwrap().states;
        assert!(states.iter().all(|(.., state)| state.slot.0 != secret));
    }
    rig.lane.despawn(secret);
    rig.step();
    let id = codec::encode(&entity);
    let received = rig.clients[ada].received.concat();
    assert!(!received.windows(7).any(|bytes| bytes == b"planted"));
    assert!(!received.windows(id.len()).any(|bytes| bytes == id));
    assert!(
        received.windows(3).any(|bytes| bytes == b"npc"),
        "the search finds what is there"
    );
}

#[test]
fn a_track_that_mixes_classes_is_shown_to_nobody() {
    let mut rig = Rig::new();
    let ada = rig.join("ada");
    let npc = rig.lane.spawn(at(3, 3), 1);
    rig.steps(2);
    // The lane forgets to say that the layers changed, and keeps the track's class.
    rig.lane.entities.get_mut(&npc).unwrap().layers = 3;
    rig.step();
    assert!(rig.gateway.counters().chunks_refused > 0);
    let payload = rig.clients[ada].payload.as_ref().unwrap();
    assert!(payload.states.iter().all(|(.., state)| state.slot.0 != npc));
}
