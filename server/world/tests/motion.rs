//! Who goes by himself gets there, on time, and nowhere else.

mod common;

use common::*;
use myriad_wire::{Pos, Tick};
use myriad_world::{Motion, MotionError};
use proptest::prelude::*;

fn distance(a: Pos, b: Pos) -> f64 {
    let (dx, dz) = (f64::from(a.x) - f64::from(b.x), f64::from(a.z) - f64::from(b.z));
    dx.hypot(dz)
}

proptest! {
    #[test]
    fn a_leg_is_straight_at_its_speed_and_ends_at_its_target_on_time(
        from in (-REACH..=REACH, -REACH..=REACH),
        to in (-REACH..=REACH, -REACH..=REACH),
        speed in 1024..=SPEED,
        rate_mhz in 1000u32..100_000,
    ) {
        let mut space = space_at(rate_mhz);
        let ada = spawn_at(&mut space, from.0, from.1);
        let start = space.position(ada).unwrap();
        let target = Pos { x: to.0, y: 0, z: to.1 };
        space.set_motion(ada, Motion::MoveTo { x: to.0, z: to.1, speed }).unwrap();
        let length = distance(start, target);
        let per_tick = f64::from(speed) * 1000.0 / f64::from(rate_mhz);
        let ticks = (length / per_tick).ceil().max(1.0) as u64;
        let mut last = start;
        for tick in 1..=ticks + 1 {
            space.simulate();
            let now = space.position(ada).unwrap();
            // Rounding to the grid moves a place by at most 0.71 units.
            prop_assert!(distance(last, now) <= per_tick + 1.5);
            prop_assert!(distance(start, now) <= length + 0.001, "never beyond the target");
            let expected = (per_tick * tick as f64).min(length);
            prop_assert!((distance(start, now) - expected).abs() < 1.5, "no drift");
            let detour = distance(start, now) + distance(now, target) - length;
            prop_assert!(detour < 3.0, "straight: {detour}");
            prop_assert!(now.x.abs() <= REACH && now.z.abs() <= REACH);
            last = now;
            if let Some(arrived) = space.next_arrived() {
                prop_assert_eq!(arrived, ada);
                prop_assert_eq!(now, target);
                // The distance gone is rounded down each tick by less than 1/65536 unit.
                prop_assert!(tick >= ticks && tick <= ticks + 1);
                prop_assert_eq!(space.motion(ada), Some(Motion::Idle));
                return Ok(());
            }
        }
        prop_assert!(false, "never arrived");
    }

    #[test]
    fn a_target_out_of_bounds_is_the_nearest_within(x: i32, z: i32) {
        let mut space = space_at(1000);
        let ada = spawn(&mut space);
        space.set_motion(ada, Motion::MoveTo { x, z, speed: SPEED }).unwrap();
        let target = (x.clamp(-REACH, REACH), z.clamp(-REACH, REACH));
        prop_assert_eq!(space.motion(ada), Some(Motion::MoveTo { x: target.0, z: target.1, speed: SPEED }));
        for _ in 0..30 {
            space.simulate();
        }
        let end = space.position(ada).unwrap();
        prop_assert_eq!((end.x, end.z), target);
    }
}

#[test]
fn a_very_slow_leg_is_as_fast_as_it_says_at_a_thousand_hertz() {
    let mut space = space_at(1_000_000);
    let ada = spawn(&mut space);
    space
        .set_motion(
            ada,
            Motion::MoveTo {
                x: 1000,
                z: 0,
                speed: 7,
            },
        )
        .unwrap();
    for _ in 0..10_000 {
        space.simulate();
    }
    assert_eq!(space.position(ada).unwrap().x, 70, "ten seconds of seven units");
}

#[test]
fn arrivals_are_told_once_ascending_by_slot_and_not_to_the_dead() {
    let mut space = space();
    let all: Vec<_> = (0..20).map(|_| spawn(&mut space)).collect();
    // The ECS moves its last row into the place of a removed one: its order is not the slots'.
    space.despawn(all[3]).unwrap();
    for handle in &all {
        let _ = space.set_motion(
            *handle,
            Motion::MoveTo {
                x: 1,
                z: 1,
                speed: 100,
            },
        );
    }
    space.set_motion(all[5], Motion::Idle).unwrap();
    space.displace(all[6], Default::default()).unwrap();
    space.simulate();
    space.despawn(all[7]).unwrap();
    let arrived: Vec<u32> = std::iter::from_fn(|| space.next_arrived())
        .map(|h| h.slot.0)
        .collect();
    let expected: Vec<u32> = (0..20).filter(|slot| ![3, 5, 6, 7].contains(slot)).collect();
    assert_eq!(arrived, expected);
    space.set_tick(Tick(1));
    space.simulate();
    assert_eq!(space.next_arrived(), None);
}

#[test]
fn a_speed_of_nought_or_beyond_the_kinds_is_refused() {
    let mut space = space();
    let ada = spawn(&mut space);
    let rock = space.spawn(ROCK, Default::default()).unwrap();
    let to = |speed| Motion::MoveTo { x: 9, z: 9, speed };
    let bad = |speed_max| Err(MotionError::BadSpeed { speed_max });
    assert_eq!(space.set_motion(ada, to(0)), bad(SPEED));
    assert_eq!(space.set_motion(ada, to(SPEED + 1)), bad(SPEED));
    assert_eq!(space.set_motion(rock, to(1)), bad(0));
    assert_eq!(space.set_motion(ada, to(SPEED)), Ok(()));
    space.despawn(ada).unwrap();
    assert_eq!(space.set_motion(ada, to(1)), Err(MotionError::Gone));
}

#[test]
fn simulating_two_thousand_takes_far_less_than_a_tick() {
    let mut space = space();
    for i in 0..2000 {
        let ada = spawn_at(&mut space, i, i);
        space
            .set_motion(
                ada,
                Motion::MoveTo {
                    x: -REACH,
                    z: REACH,
                    speed: 1024,
                },
            )
            .unwrap();
    }
    let best = (0..20)
        .map(|_| {
            let begin = std::time::Instant::now();
            space.simulate();
            begin.elapsed()
        })
        .min();
    // About 30 us unoptimised; the best of many, for machines that do other things too.
    assert!(best.unwrap().as_micros() < 1000, "{best:?}");
}
