//! Whatever is handed off, whenever frames come: a client has in view whoever there is.

use crate::handoff::{CROWD, LISTED, ORDERS, Space};
use crate::lane::at;
use myriad_wire::Hop;
use proptest::prelude::*;

/// What happens between two ticks.
#[derive(Clone, Debug)]
enum Deed {
    HandOff(bool, usize),
    Move(bool, usize, i32),
    Spawn(bool, i32),
    Despawn(bool, usize),
    Keyframe(bool),
    Late(bool),
    InTime,
    Backlog(bool),
}

fn deed() -> impl Strategy<Value = Deed> {
    let (lane, who) = (any::<bool>, any::<usize>);
    prop_oneof![
        8 => (lane(), who()).prop_map(|(lane, who)| Deed::HandOff(lane, who)),
        4 => (lane(), who(), -30..30i32).prop_map(|(lane, who, x)| Deed::Move(lane, who, x)),
        2 => (lane(), -30..30i32).prop_map(|(lane, x)| Deed::Spawn(lane, x)),
        2 => (lane(), who()).prop_map(|(lane, who)| Deed::Despawn(lane, who)),
        1 => lane().prop_map(Deed::Keyframe),
        1 => lane().prop_map(Deed::Late),
        2 => Just(Deed::InTime),
        1 => any::<bool>().prop_map(Deed::Backlog),
    ]
}

fn act(space: &mut Space, deed: &Deed) {
    let rig = &mut space.rig;
    let (mut one, mut other) = (&mut rig.lane, &mut rig.others[0]);
    if let Deed::HandOff(true, _)
    | Deed::Move(true, ..)
    | Deed::Spawn(true, _)
    | Deed::Despawn(true, _)
    | Deed::Keyframe(true)
    | Deed::Late(true) = deed
    {
        std::mem::swap(&mut one, &mut other);
    }
    let avatar = one.slot_of("ada");
    // Who came may die before it is told that it came.
    let dies = matches!(deed, Deed::Despawn(..));
    let is_free =
        |key: &u32| Some(*key) != avatar && (!one.is_new(*key) || dies && one.entities[key].hop > Hop(0));
    let keys: Vec<u32> = one.entities.keys().copied().filter(is_free).collect();
    let someone = |who: usize| (!keys.is_empty()).then(|| keys[who % keys.len()]);
    match *deed {
        Deed::HandOff(_, who) => {
            if let Some(who) = someone(who) {
                one.hand_off(who, other);
            }
        }
        Deed::Move(_, who, x) => {
            if let Some(who) = someone(who) {
                one.entities.get_mut(&who).unwrap().position = at(x, 3);
            }
        }
        Deed::Spawn(_, x) => _ = one.spawn(at(x, 3), 1),
        Deed::Despawn(_, who) => {
            if let Some(who) = someone(who) {
                one.despawn(who);
            }
        }
        Deed::Keyframe(_) => one.wants_full = true,
        Deed::Late(_) => _ = rig.late.insert(one.id),
        Deed::InTime => rig.late.clear(),
        Deed::Backlog(frozen) => rig.set_backlog(space.client, if frozen { 1 << 20 } else { 0 }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Everybody is in reach, so there is no edge but by spawn and despawn.
    #[test]
    fn whatever_is_handed_off_a_client_has_everybody_in_the_end(
        order in 0..2usize,
        crowd in any::<bool>(),
        ticks in prop::collection::vec(prop::collection::vec(deed(), 0..5), 1..40),
    ) {
        let mut space = Space::new(ORDERS[order], if crowd { CROWD } else { LISTED });
        let (mut enters, mut leaves) = (0, 0);
        for deeds in ticks {
            for deed in &deeds {
                act(&mut space, deed);
                enters += u64::from(matches!(deed, Deed::Spawn(..)));
                leaves += u64::from(matches!(deed, Deed::Despawn(..)));
            }
            space.rig.step();
        }
        space.rig.late.clear();
        space.rig.set_backlog(space.client, 0);
        space.rig.step();
        while space.rig.gateway.frames_ready() {
            space.rig.tick();
        }
        // A lane that waited too long was asked for everything; who came there and died in between is in transit yet.
        for _ in 0..70 {
            space.rig.step();
            while space.rig.gateway.frames_ready() {
                space.rig.tick();
            }
        }
        prop_assert!(space.told().crowd.in_two.is_empty());
        let everybody: usize = space.rig.lanes().map(|lane| lane.entities.len()).sum();
        prop_assert_eq!(space.in_view().len(), everybody);
        prop_assert_eq!(space.subjects().iter().sum::<u32>() as usize, everybody);
        let counters = space.rig.gateway.counters();
        if !crowd {
            prop_assert!(counters.enters_sent <= 11 + enters, "{} {}", counters.enters_sent, enters);
            prop_assert!(counters.leaves_sent <= leaves, "{} {}", counters.leaves_sent, leaves);
            for seen in space.told().view.values() {
                let mut lanes = space.rig.lanes().flat_map(|lane| lane.entities.values());
                prop_assert!(lanes.any(|entity| entity.entity == seen.entity));
            }
        }
    }
}
