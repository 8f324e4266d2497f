//! What exists, what it is, and what changed.

mod common;

use common::*;
use myriad_wire::limits::{SLOT_REST_TICKS, TEXT_BYTES_MAX};
use myriad_wire::payload::Step;
use myriad_wire::value::ValueType;
use myriad_wire::{
    EntityId, EntityName, Generation, Hop, Incarnation, KindId, LaneEpoch, Pos, PropertyIndex, Slot, Tick,
    Value,
};
use myriad_world::{
    DomainError, EmitError, Form, Gone, HandedOver, Handle, Motion, PropertyError, PropertyMask, Space,
    Spawn, SpawnError, TimerError,
};
use proptest::prelude::*;

fn changed(space: &Space) -> Vec<(Handle, Vec<u8>)> {
    let changed = space.changes().changed();
    changed
        .map(|(handle, mask)| (handle, mask.iter().map(|i| i.0).collect()))
        .collect()
}

#[test]
fn a_new_entity_is_what_its_kind_declares() {
    let mut space = space();
    let handle = spawn_at(&mut space, 10, -20);
    assert_eq!(handle.slot, Slot(0));
    assert_eq!(space.id(handle), Some(EntityId::new(Incarnation(7), 0)));
    assert_eq!(space.position(handle), Some(Pos { x: 10, y: 0, z: -20 }));
    let sight = space.sight(handle).unwrap();
    assert_eq!((sight.layers, sight.sees), (1, 3));
    assert_eq!(space.motion(handle), Some(Motion::Idle));
    assert_eq!(space.timer(handle, "heal"), Ok(None));
    let values = space.properties(handle, PropertyMask::ALL);
    let expected = [
        Value::Bool(true),
        Value::Int(18),
        Value::Float(1.75),
        text(""),
        Value::Int(3),
    ];
    let expected: Vec<_> = (0..).map(PropertyIndex).zip(expected).collect();
    assert_eq!(values, expected);
    let kind = space.kind(handle).unwrap();
    assert_eq!((kind.id(), kind.radius_aoi()), (AVATAR, 3200));
    assert_eq!(space.find(EntityId::new(Incarnation(7), 0)), Some(handle));
}

#[test]
fn a_spawn_that_its_kind_does_not_allow_is_refused_and_leaves_nothing() {
    let mut space = space();
    let with = |name: &str, value| Spawn {
        properties: vec![(name.to_owned(), value)],
        ..Spawn::default()
    };
    assert_eq!(
        space.spawn(KindId(9), Spawn::default()),
        Err(SpawnError::NoSuchKind("9".to_owned()))
    );
    assert!(matches!(
        space.spawn(AVATAR, with("wings", Value::Int(2))),
        Err(SpawnError::Property(PropertyError::NoSuchProperty { .. }))
    ));
    assert!(matches!(
        space.spawn(AVATAR, with("age", Value::Int(200))),
        Err(SpawnError::Property(PropertyError::Domain { .. }))
    ));
    assert!(space.is_empty() && space.changes().joins().next().is_none());
    for _ in 0..5000 {
        space.spawn(ROCK, Spawn::default()).unwrap();
    }
    assert_eq!(space.spawn(ROCK, Spawn::default()), Err(SpawnError::Full(5000)));
    let handle = space.handles().next().unwrap();
    space.despawn(handle).unwrap();
    assert!(space.spawn(ROCK, Spawn::default()).is_ok());
}

#[test]
fn what_comes_and_goes_in_one_tick_does_not_make_slots_without_end() {
    let mut space = space();
    for _ in 0..2 * 5000 {
        let handle = spawn(&mut space);
        space.despawn(handle).unwrap();
    }
    assert_eq!(space.spawn(AVATAR, Spawn::default()), Err(SpawnError::Full(5000)));
    space.clear_changes();
    space.set_tick(Tick(SLOT_REST_TICKS));
    assert_eq!(spawn(&mut space).slot, Slot(0));
}

#[test]
fn every_property_error_is_named_and_changes_nothing() {
    let mut space = space();
    let handle = spawn(&mut space);
    space.clear_changes();
    let before = space.properties(handle, PropertyMask::ALL);
    let domain = |property: &str, error| {
        let property = property.to_owned();
        Err(PropertyError::Domain { property, error })
    };
    let wrong = |expected, found| DomainError::WrongType { expected, found };
    let cases = [
        (
            ALIVE,
            Value::Int(1),
            domain("alive", wrong(ValueType::Bool, ValueType::Int)),
        ),
        (
            AGE,
            Value::Float(1.0),
            domain("age", wrong(ValueType::Int, ValueType::Float)),
        ),
        (
            SIZE,
            Value::Int(1),
            domain("size", wrong(ValueType::Float, ValueType::Int)),
        ),
        (
            NAME,
            Value::Bool(true),
            domain("name", wrong(ValueType::Text, ValueType::Bool)),
        ),
        (
            NAME,
            text("ninebytes"),
            domain(
                "name",
                DomainError::TooLong {
                    bytes: 9,
                    bytes_max: 8,
                },
            ),
        ),
    ];
    for (index, value, expected) in cases {
        assert_eq!(space.set_property(handle, index, value), expected);
    }
    let out_of_range = [
        (AGE, Value::Int(-1)),
        (AGE, Value::Int(151)),
        (SIZE, Value::Float(0.49)),
        (SIZE, Value::Float(2.51)),
        (SIZE, Value::Float(f64::NAN)),
        (SIZE, Value::Float(f64::INFINITY)),
    ];
    for (index, value) in out_of_range {
        let set = space.set_property(handle, index, value.clone());
        let expected = matches!(
            set,
            Err(PropertyError::Domain {
                error: DomainError::OutOfRange { .. },
                ..
            })
        );
        assert!(expected, "{value:?}: {set:?}");
    }
    for index in [5, 63, 64, 255].map(PropertyIndex) {
        let error = PropertyError::NoSuchProperty {
            kind: "avatar".to_owned(),
            property: index.to_string(),
        };
        assert_eq!(
            space.set_property(handle, index, Value::Int(1)),
            Err(error.clone())
        );
        assert_eq!(space.property(handle, index), Err(error));
    }
    assert_eq!(space.properties(handle, PropertyMask::ALL), before);
    assert!(changed(&space).is_empty());
    space.despawn(handle).unwrap();
    assert_eq!(
        space.set_property(handle, AGE, Value::Int(1)),
        Err(PropertyError::Gone)
    );
    assert_eq!(space.property(handle, AGE), Err(PropertyError::Gone));
}

#[test]
fn bounds_belong_to_the_range() {
    let mut space = space();
    let handle = spawn(&mut space);
    for (index, value) in [
        (AGE, Value::Int(0)),
        (AGE, Value::Int(150)),
        (SIZE, Value::Float(0.5)),
        (SIZE, Value::Float(2.5)),
        (NAME, text("")),
        (NAME, text("ächtung")),
        (GOLD, Value::Int(i64::MIN)),
        (GOLD, Value::Int(i64::MAX)),
    ] {
        assert_eq!(space.set_property(handle, index, value.clone()), Ok(()));
        assert_eq!(space.property(handle, index), Ok(value));
    }
}

#[test]
fn a_property_is_dirty_once_however_often_it_changes_and_not_at_all_if_it_does_not() {
    let mut space = space();
    let (ada, bob) = (spawn(&mut space), spawn(&mut space));
    space.clear_changes();
    space.set_property(bob, AGE, Value::Int(18)).unwrap();
    assert!(changed(&space).is_empty(), "it was 18 already");
    for age in 0..50 {
        space.set_property(bob, AGE, Value::Int(age)).unwrap();
    }
    space.set_property(bob, NAME, text("bob")).unwrap();
    space.set_property(ada, GOLD, Value::Int(4)).unwrap();
    space.set_property(bob, AGE, Value::Int(7)).unwrap();
    assert_eq!(changed(&space), [(bob, vec![1, 3]), (ada, vec![4])]);
    space.clear_changes();
    assert!(changed(&space).is_empty());
    space.set_property(bob, AGE, Value::Int(8)).unwrap();
    assert_eq!(changed(&space), [(bob, vec![1])]);
}

#[test]
fn who_joined_is_told_with_all_it_has_and_not_as_changed() {
    let mut space = space();
    let ada = spawn(&mut space);
    space.set_property(ada, AGE, Value::Int(40)).unwrap();
    space.set_layers(ada, 8).unwrap();
    space.set_sees(ada, 8).unwrap();
    let changes = space.changes();
    assert_eq!(changes.joins().collect::<Vec<_>>(), [ada]);
    assert_eq!(
        changes.changed().count() + changes.layers().count() + changes.sees().count(),
        0
    );
    space.clear_changes();
    space.set_layers(ada, 8).unwrap();
    space.set_sees(ada, 8).unwrap();
    assert_eq!(
        space.changes().layers().count() + space.changes().sees().count(),
        0,
        "as before"
    );
    for mask in [4, 2] {
        space.set_layers(ada, mask).unwrap();
        space.set_sees(ada, mask).unwrap();
    }
    assert_eq!(space.changes().layers().collect::<Vec<_>>(), [ada]);
    assert_eq!(space.changes().sees().collect::<Vec<_>>(), [ada]);
    assert_eq!(space.changes().joins().count(), 0);
}

#[test]
fn who_came_and_went_within_a_tick_leaves_no_trace() {
    let mut space = space();
    let (ada, bob) = (spawn(&mut space), spawn(&mut space));
    space.emit(ada, "born", vec![]).unwrap();
    space.emit(bob, "born", vec![]).unwrap();
    space.set_property(ada, AGE, Value::Int(1)).unwrap();
    space.despawn(ada).unwrap();
    let changes = space.changes();
    assert_eq!(changes.joins().collect::<Vec<_>>(), [bob]);
    assert!(changes.leaves().is_empty());
    assert_eq!(changes.events().map(|e| e.subject).collect::<Vec<_>>(), [bob]);
}

#[test]
fn who_leaves_is_told_with_its_last_events_but_no_changes() {
    let mut space = space();
    let ada = spawn(&mut space);
    space.clear_changes();
    space.set_property(ada, AGE, Value::Int(1)).unwrap();
    space.set_layers(ada, 8).unwrap();
    space.emit(ada, "farewell", vec![Value::Int(3)]).unwrap();
    space.despawn(ada).unwrap();
    assert_eq!(space.despawn(ada), Err(Gone));
    let changes = space.changes();
    assert_eq!(changes.leaves().len(), 1);
    assert_eq!(changes.leaves()[0].handle, ada);
    assert_eq!(changes.changed().count() + changes.layers().count(), 0);
    assert_eq!(
        changes.events().map(|e| e.name.as_str()).collect::<Vec<_>>(),
        ["farewell"]
    );
    space.clear_changes();
    assert!(space.changes().leaves().is_empty());
}

#[test]
fn the_names_of_one_claim_mean_nobody_under_the_next() {
    let first_name = |incarnation| {
        let mut space = space_of(incarnation, 10_000);
        let first = spawn(&mut space);
        space.life(first).unwrap().name
    };
    let names: Vec<EntityName> = (1..100).map(|i| first_name(Incarnation(i))).collect();
    for (i, name) in names.iter().enumerate() {
        // Nor do those that follow it in its slot for a while.
        for other in &names[i + 1..] {
            let lives = other.generation.0.wrapping_sub(name.generation.0);
            assert!((100..u16::MAX - 100).contains(&lives), "{name:?} and {other:?}");
        }
    }
}

#[test]
fn who_is_handed_over_goes_on_by_its_name_with_all_that_it_is() {
    let (mut here, mut there) = (space_of(Incarnation(7), 10_000), space_of(Incarnation(8), 10_000));
    spawn(&mut there);
    let ada = spawn_at(&mut here, 1024, 2048);
    here.set_property(ada, GOLD, Value::Int(5)).unwrap();
    here.clear_changes();
    let before = here.record(ada, Form::Handoff).unwrap();
    let HandedOver {
        record,
        mut life,
        arrived,
    } = here.hand_over(ada).unwrap();
    assert_eq!((&record, arrived), (&before, false));
    assert_eq!(here.changes().leaves()[0].name, life.name);
    assert!(!here.alive(ada) && here.is_empty());
    assert_eq!(here.hand_over(ada), Err(Gone));

    life.hop = Hop(1);
    let handle = there.take_over(&record, life, arrived).unwrap().handle;
    assert_eq!(there.life(handle), Some(life));
    assert_eq!(there.record(handle, Form::Handoff), Some(before));
    assert_eq!(
        there.take_over(&record, life, false),
        Err(SpawnError::AlreadyHere(record.entity))
    );

    // The name stays given until the life is over, and then goes back to where it was given.
    let others: Vec<_> = (0..3).map(|_| spawn(&mut here)).collect();
    assert!(
        others
            .iter()
            .all(|other| here.life(*other).unwrap().name.slot != life.name.slot)
    );
    there.despawn(handle).unwrap();
    assert_eq!(there.take_freed(), [life.name]);
    assert_eq!(there.take_freed(), []);
    assert!(here.give_back(life.name));
    assert!(!here.give_back(life.name), "once");
    here.clear_changes();
    here.set_tick(here.tick() + SLOT_REST_TICKS);
    let next = spawn(&mut here);
    assert_eq!(here.life(next).unwrap().name.slot, life.name.slot);
}

#[test]
fn who_comes_home_has_its_own_name_and_gives_it_back_there() {
    let (mut here, mut there) = (space_of(Incarnation(7), 10_000), space_of(Incarnation(8), 10_000));
    let ada = spawn(&mut here);
    let HandedOver { record, life, .. } = here.hand_over(ada).unwrap();
    let away = there.take_over(&record, life, false).unwrap().handle;
    let back = there.hand_over(away).unwrap();
    here.clear_changes();
    let ada = here.take_over(&back.record, back.life, false).unwrap().handle;
    assert_eq!(here.life(ada), Some(life));
    here.despawn(ada).unwrap();
    assert!(here.take_freed().is_empty() && there.take_freed().is_empty());
}

#[test]
fn an_epoch_never_goes_back_over_a_restoring() {
    let mut space = space_of(Incarnation(7), 10_000);
    let ada = spawn(&mut space);
    let record = space.record(ada, Form::Saved).unwrap();
    let mut restored = |era: u64, hop: u32| {
        let ada = space.find(record.entity).unwrap();
        space.despawn(ada).unwrap();
        space.clear_changes();
        let ada = space.restore(&record, LaneEpoch(era), Hop(hop)).unwrap().handle;
        let life = space.life(ada).unwrap();
        assert_eq!(life.name.issuer, LaneEpoch(7));
        (life.era.0, life.hop.0)
    };
    // The lane's own epoch is 7.
    assert_eq!(restored(5, 9), (7, 0));
    assert_eq!(restored(7, 0), (7, 1));
    assert_eq!(restored(8, 3), (8, 4));
}

#[test]
fn an_arrival_that_was_not_told_is_told_by_the_next_lane() {
    let (mut here, mut there) = (space_of(Incarnation(7), 10_000), space_of(Incarnation(8), 10_000));
    let ada = spawn(&mut here);
    let to = Motion::MoveTo {
        x: 512,
        z: 0,
        speed: SPEED,
    };
    here.set_motion(ada, to).unwrap();
    for tick in 1..20 {
        here.set_tick(Tick(tick));
        here.simulate();
    }
    let HandedOver {
        record,
        life,
        arrived,
    } = here.hand_over(ada).unwrap();
    assert!(arrived);
    assert_eq!(here.next_arrived(), None);
    let ada = there.take_over(&record, life, arrived).unwrap().handle;
    assert_eq!(there.next_arrived(), Some(ada));
    assert_eq!(there.next_arrived(), None);
}

#[test]
fn events_have_limits() {
    let mut space = space();
    let ada = spawn(&mut space);
    let nobody = Handle {
        slot: Slot(99),
        generation: Generation(0),
    };
    assert_eq!(space.emit(nobody, "x", vec![]), Err(EmitError::Gone));
    assert_eq!(space.emit(ada, "", vec![]), Err(EmitError::BadName));
    assert_eq!(space.emit(ada, &"x".repeat(33), vec![]), Err(EmitError::BadName));
    assert_eq!(
        space.emit(ada, "x", vec![Value::Int(0); 9]),
        Err(EmitError::TooManyArguments)
    );
    let long = text(&"x".repeat(TEXT_BYTES_MAX + 1));
    assert_eq!(space.emit(ada, "x", vec![long]), Err(EmitError::TextTooLong));
    assert_eq!(space.changes().events().count(), 0);
    let event_count = myriad_world::changes::EVENTS_PER_TICK_MAX;
    for _ in 0..event_count {
        space.emit(ada, "x", vec![]).unwrap();
    }
    assert_eq!(space.emit(ada, "x", vec![]), Err(EmitError::TooManyEvents));
    space.clear_changes();
    assert_eq!(space.emit(ada, "x", vec![]), Ok(()));
}

#[test]
fn a_slot_rests_and_comes_back_in_another_life() {
    let mut space = space();
    let (ada, bob) = (spawn(&mut space), spawn(&mut space));
    space.clear_changes();
    space.set_tick(Tick(5));
    space.despawn(ada).unwrap();
    space.clear_changes();
    assert!(!space.alive(ada) && space.at(ada.slot).is_none());
    space.set_tick(Tick(5 + SLOT_REST_TICKS - 1));
    assert_eq!(spawn(&mut space).slot, Slot(2), "slot 0 rests");
    space.set_tick(Tick(5 + SLOT_REST_TICKS));
    let next = spawn(&mut space);
    assert_eq!(
        next,
        Handle {
            slot: ada.slot,
            generation: Generation(ada.generation.0.wrapping_add(1))
        }
    );
    assert!(!space.alive(ada), "the old handle stays dead");
    assert_eq!(space.position(ada), None);
    assert_ne!(space.id(next), Some(EntityId::new(Incarnation(7), 0)));
    assert_eq!(space.at(ada.slot), Some(next));
    assert!(space.alive(bob));
}

proptest! {
    #[test]
    fn handles_are_unique_and_slots_dense_whatever_comes_and_goes(
        deeds in prop::collection::vec((any::<u8>(), 0u64..30), 1..300),
    ) {
        let mut space = space();
        let (mut alive, mut dead): (Vec<Handle>, Vec<(Handle, Tick)>) = (Vec::new(), Vec::new());
        let mut most = 0;
        for (deed, wait) in deeds {
            space.set_tick(space.tick() + wait);
            let now = space.tick();
            if deed % 2 == 0 || alive.is_empty() {
                let new = spawn(&mut space);
                prop_assert!(!dead.iter().any(|(h, _)| *h == new), "a handle never lives twice");
                let rested = |(h, died): &(Handle, Tick)| h.slot != new.slot || now.since(*died) >= SLOT_REST_TICKS;
                prop_assert!(dead.iter().all(rested));
                alive.push(new);
            } else {
                let gone = alive.swap_remove(usize::from(deed) % alive.len());
                space.despawn(gone).unwrap();
                dead.push((gone, now));
            }
            let resting = dead.iter().filter(|(_, died)| now.since(*died) < SLOT_REST_TICKS).count();
            most = most.max(alive.len() + resting);
            space.clear_changes();
            alive.sort_unstable();
            prop_assert_eq!(space.handles().collect::<Vec<_>>(), alive.clone());
            prop_assert!(alive.iter().all(|h| (h.slot.0 as usize) < most), "no slot beyond what was needed");
            prop_assert!(dead.iter().all(|(h, _)| !space.alive(*h)));
            let mut subjects = Vec::new();
            space.collect_subjects(&mut subjects);
            prop_assert_eq!(subjects.iter().map(|s| s.handle).collect::<Vec<_>>(), alive.clone());
        }
    }
}

#[test]
fn positions_stay_in_bounds() {
    let mut space = space();
    let ada = spawn_at(&mut space, i32::MAX, i32::MIN);
    assert_eq!(
        space.position(ada),
        Some(Pos {
            x: REACH,
            y: 0,
            z: -REACH
        })
    );
    let moved = space.displace(ada, Step { dx: i32::MAX, dz: -5 });
    assert_eq!(
        moved,
        Ok(Pos {
            x: REACH,
            y: 0,
            z: -REACH
        })
    );
    let moved = space.displace(ada, Step { dx: -100, dz: 7 });
    assert_eq!(
        moved,
        Ok(Pos {
            x: REACH - 100,
            y: 0,
            z: 7 - REACH
        })
    );
    assert_eq!(space.position(ada), moved.ok());
    space.despawn(ada).unwrap();
    assert_eq!(space.displace(ada, Step::default()), Err(Gone));
}

#[test]
fn timers_are_due_in_order_once_and_later_than_now() {
    let mut space = space();
    let (ada, bob) = (spawn(&mut space), spawn(&mut space));
    assert_eq!(space.set_timer(ada, "heal", Tick(0)), Err(TimerError::NotLater));
    assert!(matches!(
        space.set_timer(ada, "x", Tick(1)),
        Err(TimerError::NoSuchTimer { .. })
    ));
    for (who, name, due) in [
        (bob, "boast", 2),
        (ada, "heal", 2),
        (ada, "boast", 2),
        (bob, "heal", 1),
    ] {
        space.set_timer(who, name, Tick(due)).unwrap();
    }
    space.set_timer(bob, "boast", Tick(3)).unwrap();
    assert_eq!(space.timer(bob, "boast"), Ok(Some(Tick(3))));
    assert_eq!(space.next_due(), None);
    space.set_tick(Tick(2));
    let mut due = Vec::new();
    while let Some(next) = space.next_due() {
        let kind = space.kind(next.handle).unwrap();
        due.push((next.handle, kind.spec().timers[usize::from(next.timer.0)].clone()));
        if due.len() < 9 {
            space.set_timer(bob, "heal", Tick(4)).unwrap();
        }
    }
    let expected = [(bob, "heal"), (ada, "boast"), (ada, "heal")];
    assert_eq!(due, expected.map(|(who, name)| (who, name.to_owned())));
    space.cancel_timer(bob, "boast").unwrap();
    space.despawn(bob).unwrap();
    space.set_tick(Tick(100));
    assert_eq!(space.next_due(), None, "the dead have no timers");
    assert_eq!(space.cancel_timer(bob, "boast"), Err(TimerError::Gone));
}
