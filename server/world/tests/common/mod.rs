//! A space with one of everything, for tests.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test file uses a part of it"
)]

use myriad_wire::schema::Audience;
use myriad_wire::{Incarnation, KindId, LaneEpoch, Pos, PropertyIndex, Value};
use myriad_world::{Domain, Handle, KindSpec, Kinds, Origin, PropertySpec, Space, SpaceConfig, Spawn};

pub(crate) const AVATAR: KindId = KindId(0);
pub(crate) const ROCK: KindId = KindId(1);

pub(crate) const ALIVE: PropertyIndex = PropertyIndex(0);
pub(crate) const AGE: PropertyIndex = PropertyIndex(1);
pub(crate) const SIZE: PropertyIndex = PropertyIndex(2);
pub(crate) const NAME: PropertyIndex = PropertyIndex(3);
pub(crate) const GOLD: PropertyIndex = PropertyIndex(4);

/// The space reaches from minus to plus this on each axis.
pub(crate) const REACH: i32 = 50 * 1024;
/// The avatars' highest speed, in units per second.
pub(crate) const SPEED: u32 = 5 * 1024;

pub(crate) fn property(
    name: &str,
    domain: Domain,
    default: Value,
    audience: Audience,
    saved: bool,
) -> PropertySpec {
    let name = name.to_owned();
    PropertySpec {
        name,
        domain,
        default,
        audience,
        saved,
    }
}

pub(crate) fn avatar() -> KindSpec {
    let age = Domain::Int { min: 0, max: 150 };
    let size = Domain::Float { min: 0.5, max: 2.5 };
    let gold = Domain::Int {
        min: i64::MIN,
        max: i64::MAX,
    };
    KindSpec {
        name: "avatar".to_owned(),
        avatar: true,
        layers: 1,
        sees: 3,
        radius_m: 100.0,
        notice_m: 0.0,
        speed_max_m_s: 5.0,
        properties: vec![
            property("alive", Domain::Bool, Value::Bool(true), Audience::Nobody, true),
            property("age", age, Value::Int(18), Audience::All, false),
            property("size", size, Value::Float(1.75), Audience::All, true),
            property(
                "name",
                Domain::Text { bytes_max: 8 },
                Value::Text(String::new()),
                Audience::All,
                true,
            ),
            property("gold", gold, Value::Int(3), Audience::Owner, true),
        ],
        timers: vec!["heal".to_owned(), "boast".to_owned()],
    }
}

pub(crate) fn rock() -> KindSpec {
    KindSpec {
        name: "rock".to_owned(),
        avatar: false,
        layers: 2,
        sees: 0,
        radius_m: 0.0,
        notice_m: 0.0,
        speed_max_m_s: 0.0,
        properties: Vec::new(),
        timers: Vec::new(),
    }
}

pub(crate) fn space_at(rate_mhz: u32) -> Space {
    space_of(Incarnation(7), rate_mhz)
}

/// Of a node of this incarnation.
pub(crate) fn space_of(incarnation: Incarnation, rate_mhz: u32) -> Space {
    let kinds = Kinds::new(vec![avatar(), rock()]).expect("the declarations are right");
    let corner = |v| Pos { x: v, y: v, z: v };
    let config = SpaceConfig {
        bounds_min: corner(-REACH),
        bounds_max: corner(REACH),
        rate_mhz,
        entities_max: 5000,
        share: myriad_world::Share::WHOLE,
    };
    let origin = Origin {
        incarnation,
        share: 0,
        spawned: 0,
        epoch: LaneEpoch(u64::from(incarnation.0)),
    };
    Space::new(config, kinds, origin)
}

pub(crate) fn space() -> Space {
    space_at(10_000)
}

pub(crate) fn spawn_at(space: &mut Space, x: i32, z: i32) -> Handle {
    let position = Pos { x, y: 0, z };
    let spawn = Spawn {
        position,
        ..Spawn::default()
    };
    space.spawn(AVATAR, spawn).expect("there is room")
}

pub(crate) fn spawn(space: &mut Space) -> Handle {
    spawn_at(space, 0, 0)
}

pub(crate) fn text(v: &str) -> Value {
    Value::Text(v.to_owned())
}
