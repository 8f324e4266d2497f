//! Whatever happens, clients in a crowd hold what their lane holds.

use crate::crowd_check::{check, from};
use crate::lane::{Birth, at};
use crate::rig::Rig;
use myriad_wire::Pos;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What happens between two ticks. Numbers pick one of those who are there.
#[derive(Clone, Debug)]
enum Deed {
    Move(usize, i32, i32),
    Spawn(i32, i32, u32),
    Despawn(usize),
    Layers(usize, u32),
    Event(usize),
    Sees(usize, u32),
    Backlog(usize, bool),
    Lose,
    Keyframe,
}

fn deed() -> impl Strategy<Value = Deed> {
    let place = || (-70..70i32, -70..70i32);
    prop_oneof![
        12 => (any::<usize>(), place()).prop_map(|(who, (x, z))| Deed::Move(who, x, z)),
        4 => (place(), 1..4u32).prop_map(|((x, z), layers)| Deed::Spawn(x, z, layers)),
        3 => any::<usize>().prop_map(Deed::Despawn),
        3 => (any::<usize>(), 0..4u32).prop_map(|(who, layers)| Deed::Layers(who, layers)),
        3 => any::<usize>().prop_map(Deed::Event),
        2 => (any::<usize>(), 0..4u32).prop_map(|(who, sees)| Deed::Sees(who, sees)),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(who, frozen)| Deed::Backlog(who, frozen)),
        1 => Just(Deed::Lose),
        1 => Just(Deed::Keyframe),
    ]
}

fn act(rig: &mut Rig, deed: &Deed) {
    let avatars: BTreeSet<u32> = rig.lane.seats.values().map(|seat| seat.slot).collect();
    let slots: Vec<u32> = rig.lane.entities.keys().copied().collect();
    let someone = |number: usize| slots[number % slots.len()];
    match *deed {
        Deed::Move(who, x, z) => {
            let (x, y, z) = (x * 1024 + who as i32 % 64, 0, z * 1024);
            rig.lane.entities.get_mut(&someone(who)).unwrap().position = Pos { x, y, z };
        }
        Deed::Spawn(x, z, layers) => _ = rig.lane.spawn(at(x, z), layers),
        Deed::Despawn(who) if !avatars.contains(&someone(who)) => rig.lane.despawn(someone(who)),
        Deed::Layers(who, layers) => rig.lane.set_layers(someone(who), layers),
        Deed::Event(who) => rig.lane.event(someone(who), "wave"),
        Deed::Sees(who, sees) => {
            let account = rig.clients[who % 2].account.clone();
            rig.lane.set_sees(&account, sees);
        }
        Deed::Backlog(who, frozen) => rig.set_backlog(who % 2, if frozen { 1 << 20 } else { 0 }),
        Deed::Lose => rig.lose_frames = true,
        Deed::Keyframe => rig.lane.wants_full = true,
        Deed::Despawn(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_client_holds_what_the_lane_holds_whatever_happens(
        crowd_from in prop_oneof![Just(0u32), Just(20)],
        ticks in prop::collection::vec(prop::collection::vec(deed(), 0..6), 1..40),
    ) {
        let mut config = from(crowd_from);
        config.keyframe_bytes_max = 1024;
        let mut rig = Rig::with(config);
        for (account, sees) in [("ada", 1), ("eve", 3)] {
            let (position, layers) = (at(0, 0), 1);
            rig.lane.births.insert(account.into(), Birth { position, layers, sees });
        }
        for i in 0..40 {
            rig.lane.spawn(at(i * 3 - 60, i % 9), 1 + i as u32 % 3);
        }
        let clients = ["ada", "eve"].map(|account| rig.join(account));
        for deeds in ticks {
            deeds.iter().for_each(|deed| act(&mut rig, deed));
            rig.step();
            rig.lose_frames = false;
            for client in clients {
                if rig.clients[client].crowd.message.is_some() {
                    let told = rig.clients[client].crowd.head.unwrap().tick;
                    prop_assert_eq!(told, rig.lane.tick);
                    check(&rig, client);
                }
            }
        }
        for client in clients {
            rig.set_backlog(client, 0);
        }
        rig.steps(12);
        for client in clients {
            check(&rig, client);
            let account = rig.clients[client].account.clone();
            prop_assert!(rig.clients[client].crowd.complete || crowd_from > 0, "{}", account);
            prop_assert_eq!(rig.closed(client), None);
        }
    }
}
