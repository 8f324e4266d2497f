//! Entities as plain data, and declarations that are wrong.

mod common;

use common::*;
use myriad_wire::schema::Audience;
use myriad_wire::{EntityId, Hop, Incarnation, LaneEpoch, Pos, PropertyIndex, Tick, Value};
use myriad_world::{
    Domain, Form, Handle, KindError, KindSpec, Kinds, Motion, PropertyMask, Record, Space, SpawnError,
};
use proptest::prelude::*;

fn any_value(domain: Domain) -> BoxedStrategy<Value> {
    match domain {
        Domain::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Domain::Int { min, max } => (min..=max).prop_map(Value::Int).boxed(),
        Domain::Float { min, max } => (min..=max).prop_map(Value::Float).boxed(),
        Domain::Text { .. } => "[a-zäß]{0,4}".prop_map(Value::Text).boxed(),
    }
}

fn any_values() -> impl Strategy<Value = Vec<Value>> {
    let domains = avatar().properties.into_iter().map(|p| any_value(p.domain));
    domains.collect::<Vec<_>>()
}

type AnyState = (
    Vec<Value>,
    (i32, i32, i32),
    (u32, u32),
    [Option<u64>; 2],
    Option<(i32, i32, u32)>,
);

fn any_state() -> impl Strategy<Value = AnyState> {
    let axis = || -REACH..=REACH;
    let due = || prop::option::of(1u64..1 << 50);
    (
        any_values(),
        (axis(), axis(), axis()),
        any::<(u32, u32)>(),
        [due(), due()],
        prop::option::of((axis(), axis(), 1..=SPEED)),
    )
}

fn with_state(space: &mut Space, state: AnyState) -> Handle {
    let (values, (x, y, z), (layers, sees), due, leg) = state;
    let ada = spawn(space);
    for (i, value) in values.into_iter().enumerate() {
        space.set_property(ada, PropertyIndex(i as u8), value).unwrap();
    }
    space.set_position(ada, Pos { x, y, z }).unwrap();
    space.set_layers(ada, layers).unwrap();
    space.set_sees(ada, sees).unwrap();
    for (name, due) in ["heal", "boast"].into_iter().zip(due) {
        if let Some(due) = due {
            space.set_timer(ada, name, Tick(due)).unwrap();
        }
    }
    if let Some((x, z, speed)) = leg {
        space.set_motion(ada, Motion::MoveTo { x, z, speed }).unwrap();
    }
    ada
}

proptest! {
    #[test]
    fn all_declared_state_survives_a_round_trip_to_another_lane(state in any_state()) {
        let mut here = space();
        let ada = with_state(&mut here, state);
        let record = here.record(ada, Form::Handoff).unwrap();
        let mut there = space_of(Incarnation(8), 10_000);
        spawn(&mut there);
        let restored = there.restore(&record, LaneEpoch(0), Hop(0)).unwrap();
        prop_assert_eq!(restored.ignored, Vec::<String>::new());
        let again = restored.handle;
        prop_assert_eq!(there.record(again, Form::Handoff), Some(record));
        prop_assert_eq!(there.id(again), here.id(ada));
        prop_assert_eq!(there.position(again), here.position(ada));
        prop_assert_eq!(there.sight(again), here.sight(ada));
        prop_assert_eq!(there.motion(again), here.motion(ada));
        let all = PropertyMask::ALL;
        prop_assert_eq!(there.properties(again, all), here.properties(ada, all));
        for name in ["heal", "boast"] {
            prop_assert_eq!(there.timer(again, name), here.timer(ada, name));
        }
        // And goes on alike: the same timers are due, the same leg ends.
        here.set_tick(Tick(1 << 51));
        there.set_tick(Tick(1 << 51));
        loop {
            let (a, b) = (here.next_due(), there.next_due());
            prop_assert_eq!(a.map(|due| due.timer), b.map(|due| due.timer));
            if a.is_none() {
                break;
            }
        }
        for _ in 0..3 {
            here.simulate();
            there.simulate();
            prop_assert_eq!(there.position(again), here.position(ada));
        }
    }

    #[test]
    fn the_saved_form_holds_what_is_declared_as_saved_and_the_rest_has_its_default(state in any_state()) {
        let mut here = space();
        let ada = with_state(&mut here, state);
        let record = here.record(ada, Form::Saved).unwrap();
        let mut there = space();
        let again = there.restore(&record, LaneEpoch(0), Hop(0)).unwrap().handle;
        let kind = here.kind(ada).unwrap();
        let saved = kind.saved();
        prop_assert_eq!(there.properties(again, saved), here.properties(ada, saved));
        prop_assert_eq!(there.property(again, AGE), Ok(Value::Int(18)));
        prop_assert_eq!(there.sight(again), here.sight(ada));
        prop_assert_eq!(there.position(again), here.position(ada));
        prop_assert!(!record.attributes.iter().any(|(name, _)| name == "age"));
    }

    #[test]
    fn no_record_panics_or_gets_past_the_declaration(
        names in prop::collection::vec("@?[a-z.]{1,14}|@layers|@sees|@motion\\.(x|z|speed)|@timer\\.(heal|boast)|age|size|name", 0..12),
        ints in prop::collection::vec(any::<i64>(), 12),
        as_text in prop::collection::vec(any::<bool>(), 12),
    ) {
        let values = ints.iter().zip(as_text).map(|(v, t)| if t { text(&v.to_string()) } else { Value::Int(*v) });
        let record = Record {
            entity: EntityId(1),
            kind: "avatar".to_owned(),
            position: Pos { x: i32::MAX, y: 0, z: 0 },
            attributes: names.into_iter().zip(values).collect(),
        };
        let mut space = space();
        let handle = space.restore(&record, LaneEpoch(0), Hop(0)).unwrap().handle;
        for (index, value) in space.properties(handle, PropertyMask::ALL) {
            let kind = space.kind(handle).unwrap();
            prop_assert_eq!(kind.property(index).unwrap().domain.check(&value), Ok(()));
        }
        for _ in 0..3 {
            space.set_tick(space.tick() + 1);
            while space.next_due().is_some() {}
            space.simulate();
            let p = space.position(handle).unwrap();
            prop_assert!(p.x.abs() <= REACH && p.z.abs() <= REACH);
        }
        if let Some(Motion::MoveTo { speed, .. }) = space.motion(handle) {
            prop_assert!((1..=SPEED).contains(&speed));
        }
    }
}

#[test]
fn a_record_of_an_older_declaration_keeps_what_still_fits() {
    let mut space = space();
    let record = Record {
        entity: EntityId(99),
        kind: "avatar".to_owned(),
        position: Pos {
            x: 0,
            y: 0,
            z: 2 * REACH,
        },
        attributes: vec![
            ("gold".to_owned(), Value::Int(8)),
            ("wings".to_owned(), Value::Int(2)),
            ("size".to_owned(), Value::Float(99.0)),
            ("name".to_owned(), Value::Int(3)),
            ("@timer.fly".to_owned(), Value::Int(3)),
        ],
    };
    let restored = space.restore(&record, LaneEpoch(0), Hop(0)).unwrap();
    assert_eq!(restored.ignored, ["wings", "size", "name", "@timer.fly"]);
    let handle = restored.handle;
    assert_eq!(space.property(handle, GOLD), Ok(Value::Int(8)));
    assert_eq!(space.property(handle, SIZE), Ok(Value::Float(1.75)));
    assert_eq!(space.position(handle).unwrap().z, REACH);
    assert_eq!(
        space.restore(&record, LaneEpoch(0), Hop(0)),
        Err(SpawnError::AlreadyHere(EntityId(99)))
    );
    let unknown = Record {
        kind: "dragon".to_owned(),
        entity: EntityId(100),
        ..record
    };
    assert_eq!(
        space.restore(&unknown, LaneEpoch(0), Hop(0)),
        Err(SpawnError::NoSuchKind("dragon".to_owned()))
    );
}

#[test]
fn the_schema_tells_clients_no_name_that_is_for_nobody() {
    let schema = space().kinds().schema();
    assert_eq!(
        schema.iter().map(|k| k.name.as_str()).collect::<Vec<_>>(),
        ["avatar", "rock"]
    );
    let names: Vec<&str> = schema[0].properties.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["", "age", "size", "name", "gold"]);
    let audiences: Vec<Audience> = schema[0].properties.iter().map(|p| p.audience).collect();
    assert_eq!(
        audiences,
        [
            Audience::Nobody,
            Audience::All,
            Audience::All,
            Audience::All,
            Audience::Owner
        ]
    );
    let mut other = avatar();
    other.properties[0].saved = false;
    let other = Kinds::new(vec![other]).unwrap().schema();
    assert_ne!(other[0].hash, schema[0].hash);
}

#[test]
fn a_kind_knows_who_is_told_what() {
    let kinds = Kinds::new(vec![avatar(), rock()]).unwrap();
    let kind = kinds.avatar().unwrap();
    let of = |audience| kind.audience(audience).iter().map(|i| i.0).collect::<Vec<_>>();
    assert_eq!(of(Audience::Nobody), [0]);
    assert_eq!(of(Audience::Owner), [4]);
    assert_eq!(of(Audience::All), [1, 2, 3]);
    assert_eq!(kind.saved().iter().map(|i| i.0).collect::<Vec<_>>(), [0, 2, 3, 4]);
    assert_eq!(kind.property_index("gold"), Some(GOLD));
    assert_eq!(
        kind.spec().timers,
        ["boast", "heal"],
        "in the order of their names"
    );
    assert_eq!(kinds.find("rock").map(|k| k.id()), Some(ROCK));
}

#[test]
fn wrong_declarations_are_named() {
    let check = |change: fn(&mut KindSpec), expected: &str| {
        let mut spec = avatar();
        change(&mut spec);
        let error = Kinds::new(vec![spec]).err().map(|e| e.to_string());
        assert!(
            error.as_deref().is_some_and(|e| e.contains(expected)),
            "{error:?}"
        );
    };
    check(|k| k.name = "Avatar".to_owned(), "'Avatar' is not a name");
    check(|k| k.name = "a".repeat(33), "is not a name");
    check(|k| k.radius_m = 1000.5, "radius must be between 0 and 1000");
    check(|k| k.notice_m = -1.0, "notice must be between 0 and 60");
    check(|k| k.speed_max_m_s = f64::NAN, "speed must be between 0 and 1000");
    check(
        |k| k.properties[1].name = "name".to_owned(),
        "declares property 'name' twice",
    );
    check(
        |k| k.properties[1].default = Value::Bool(true),
        "the default of property 'age' takes a whole number",
    );
    check(
        |k| k.properties[1].default = Value::Int(-1),
        "the default of property 'age' is -1",
    );
    check(
        |k| k.properties[1].domain = Domain::Int { min: 2, max: 1 },
        "the bounds of property 'age' are impossible",
    );
    check(
        |k| {
            k.properties[2].domain = Domain::Float {
                min: 0.0,
                max: f64::INFINITY,
            }
        },
        "the bounds of property 'size' are impossible",
    );
    check(
        |k| k.properties[3].domain = Domain::Text { bytes_max: 1025 },
        "the bounds of property 'name' are impossible",
    );
    check(
        |k| k.timers.push("heal".to_owned()),
        "declares timer 'heal' twice",
    );
    check(
        |k| k.timers = (0..33).map(|i| format!("t{i}")).collect(),
        "more than 32 timers",
    );
    check(|k| k.timers[0] = "@x".to_owned(), "'@x' is not a name");
    check(
        |k| {
            let first = k.properties[0].clone();
            k.properties = (0..65)
                .map(|i| {
                    common::property(
                        &format!("p{i}"),
                        first.domain,
                        first.default.clone(),
                        first.audience,
                        false,
                    )
                })
                .collect();
        },
        "more than 64 properties",
    );
    let mut second = avatar();
    assert_eq!(
        Kinds::new(vec![avatar(), second.clone()]).err(),
        Some(KindError::DuplicateKind("avatar".to_owned()))
    );
    second.name = "hero".to_owned();
    assert_eq!(
        Kinds::new(vec![avatar(), second]).err(),
        Some(KindError::TwoAvatars("avatar".to_owned(), "hero".to_owned()))
    );
}
