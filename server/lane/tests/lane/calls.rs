//! Calls of scripts: they reach whom they are for in whichever lane, and nobody twice.

use crate::lanes::*;
use myriad_wire::EntityId;

/// A walker that crosses the border in about two seconds, and stands still 5 m beyond it; beside it somebody who pays.
const PAY_WHO_LEAVES: &str = r#"
    payee = myriad.spawn("walker", { x = -5 })
    payee:move_to(5, 0, 5)
    myriad.spawn("payer", { x = -9 }):after("each", 0)
"#;

/// The same, and two more who stand on either side; all are paid who are within 12 m of the border.
const PAY_ALL: &str = r#"
    myriad.spawn("walker", { x = -5 }):move_to(5, 0, 5)
    myriad.spawn("payer", { x = -40 }):after("all", 0)
    myriad.spawn("walker", { x = -8, z = 1 })
    myriad.spawn("walker", { x = 8, z = 1 })
    myriad.spawn("walker", { x = 30 })
"#;

/// By kind, in the order in which they were spawned.
fn spawned(lanes: &Lanes, kind: &str) -> Vec<EntityId> {
    let mut all: Vec<EntityId> = lanes
        .lanes
        .iter()
        .flat_map(|lane| {
            let space = lane.space();
            let of_kind = space
                .handles()
                .filter(|handle| space.kind(*handle).is_some_and(|other| other.spec().name == kind));
            of_kind.filter_map(|handle| space.id(handle)).collect::<Vec<_>>()
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_call_follows_whoever_goes_to_another_lane() {
    let mut lanes = Lanes::new(PAY_WHO_LEAVES, 1000);
    let (payer, walker) = (spawned(&lanes, "payer")[0], lanes.walker());
    assert_eq!(lanes.whereabouts(walker), [WEST]);
    for _ in 0..60 {
        lanes.idle(1);
        // Between two lanes it is in none.
        if lanes.whereabouts(walker).len() == 1 {
            // What is paid in one tick comes in the next.
            let (paid, gold) = (lanes.int(payer, "paid"), lanes.int(walker, "gold"));
            assert!((paid - 1..=paid).contains(&gold), "{gold} of {paid}");
        }
    }
    assert_eq!(lanes.whereabouts(walker), [EAST]);
    let paid = lanes.int(payer, "paid");
    assert!(paid > 10, "{paid}");
    assert_eq!(lanes.int(walker, "gold"), paid, "and it was called until it went");
    let counters = lanes.lanes[WEST].counters();
    assert_eq!(
        (counters.calls_sent, counters.calls_gone),
        (1, 0),
        "the last one followed it"
    );
}

#[test]
fn an_area_call_reaches_everybody_there_in_each_lane_once() {
    let mut lanes = Lanes::new(PAY_ALL, 1000);
    let walkers = spawned(&lanes, "walker");
    // Those who were spawned beyond the border are being handed over.
    lanes.idle(10);
    let gold = |lanes: &Lanes| {
        let gold = walkers.iter().map(|walker| lanes.int(*walker, "gold"));
        gold.collect::<Vec<_>>()
    };
    let before = gold(&lanes);
    for tick in 1..=60 {
        lanes.idle(1);
        if lanes.whereabouts(walkers[0]).len() == 1 {
            let now = gold(&lanes);
            let paid: Vec<i64> = now
                .iter()
                .zip(&before)
                .map(|(now, before)| now - before)
                .collect();
            assert_eq!(paid, [tick, tick, tick, 0]);
        }
    }
    assert_eq!(lanes.whereabouts(walkers[0]), [EAST]);
}

/// A walker that is spawned beyond the border and comes back.
const PAY_WHO_COMES_BACK: &str = r#"
    myriad.spawn("walker", { x = 5 }):move_to(-8, 0, 3)
    myriad.spawn("payer", { x = -40 }):after("all", 0)
"#;

#[test]
fn a_lane_that_is_late_calls_nobody_a_second_time() {
    for (script, from, to) in [(PAY_ALL, WEST, EAST), (PAY_WHO_COMES_BACK, EAST, WEST)] {
        let mut lanes = Lanes::new(script, 1000);
        let walker = spawned(&lanes, "walker")[0];
        lanes.idle(6);
        assert_eq!(lanes.whereabouts(walker), [from]);
        lanes.behind = 2;
        let before = lanes.int(walker, "gold");
        let ticks = 60;
        for tick in 1..=ticks {
            lanes.idle(1);
            if lanes.whereabouts(walker).len() == 1 {
                let paid = lanes.int(walker, "gold") - before;
                // The late lane begins with ticks that it has computed already.
                assert!(
                    (tick - 5..=tick).contains(&paid),
                    "{paid} in {tick} ticks to lane {to}"
                );
            }
        }
        assert_eq!(lanes.whereabouts(walker), [to]);
    }
}
