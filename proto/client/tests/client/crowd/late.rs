//! What a stream that is far behind, or a switch back to the list, must not leave in the view.

use super::stage::{Stage, edges};
use crate::server::{AVATAR, own, subject};
use myriad_client::Tier;
use myriad_wire::limits::SLOT_REST_TICKS;
use myriad_wire::payload::PayloadHeader;

#[test]
fn near_states_that_may_be_of_a_slots_next_life_are_not_taken_for_those_of_the_one_in_view() {
    let mut stage = Stage::crowded(&[(5, 0, [12.0, 2.0])], 1);
    stage.tick(4);
    let told = stage.tick;
    let mut tier_after = |ticks: u64| {
        let header = PayloadHeader {
            view_seq: 0,
            ..own(told + ticks, 0, stage.beings[&0].at, 0)
        };
        stage.tick = told + ticks;
        stage.datagram(&header, &[5]);
        let held = stage.client.view().get(subject(5, 0)).expect("it is in view");
        (held.tier(), held.state_tick().0)
    };
    // Whoever lived when the stream was read last may have the slot's next life behind it by then.
    assert_eq!(tier_after(SLOT_REST_TICKS), (Tier::Near, told + SLOT_REST_TICKS));
    assert_eq!(tier_after(SLOT_REST_TICKS + 8), (Tier::Crowd, told));
    assert_eq!(stage.client.counters().states.stale, 1);
}

#[test]
fn the_own_avatar_leaves_like_any_other_when_the_list_does_not_name_it() {
    for is_dropped in [false, true] {
        let mut stage = Stage::crowded(&[(5, 1, [12.0, 2.0])], 2);
        stage.tick(4);
        assert!(stage.view().contains(&AVATAR));
        if is_dropped {
            // It does not see its own layers any more, and stays.
            stage.wanted.remove(&0);
            assert_eq!(edges(&stage.tick(4)), (vec![], vec![]));
            assert!(stage.view().contains(&AVATAR));
        }
        stage.tick += 1;
        stage.listed(false);
        stage.enters(&[subject(5, 0)]);
        stage.listed(true);
        assert_eq!(edges(&stage.drain()), (vec![], vec![AVATAR]));
        // It comes back like any other, too.
        stage.tick += 1;
        stage.enters(&[AVATAR]);
        assert_eq!(edges(&stage.drain()), (vec![AVATAR], vec![]));
        assert_eq!(stage.client.counters().contradictions, 0);
    }
}
