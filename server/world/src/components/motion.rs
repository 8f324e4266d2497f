//! Where an entity goes by itself.
//!
//! A leg is a straight line at a constant speed. How far it is gone is kept as one whole number, and each tick's
//! position follows from it and the two ends: no error adds up over ticks, at any tick rate, and a leg never ends
//! beyond its target. Floats live only inside one step.

use crate::components::Parts;
use crate::kinds::Kind;
use crate::record::Form;
use bevy_ecs::component::Component;
use bevy_ecs::world::EntityRef;
use myriad_wire::{Pos, Value};

/// Fractional bits of the distance gone.
const FRACTION_BITS: u32 = 16;
/// Attributes of a saved leg: target and speed, in position units (per second).
const TO_X: &str = "@motion.x";
const TO_Z: &str = "@motion.z";
const SPEED: &str = "@motion.speed";

/// Where an entity goes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Motion {
    /// Nowhere. Avatars that a client steers are idle in this sense.
    #[default]
    Idle,
    /// Straight to a point on its own height.
    MoveTo {
        /// East, in position units.
        x: i32,
        /// South, in position units.
        z: i32,
        /// In position units per second, at least 1.
        speed: u32,
    },
}

/// A [`Motion`] under way.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Leg {
    motion: Motion,
    /// Where it began: `[x, z]`.
    from: [i32; 2],
    /// How far it is gone, in 1/65,536 position unit.
    gone: u64,
}

impl Leg {
    /// A leg that begins at `from`.
    pub(crate) fn new(motion: Motion, from: Pos) -> Self {
        Self {
            motion,
            from: [from.x, from.z],
            gone: 0,
        }
    }

    /// What was asked for, [`Motion::Idle`] once it is done.
    #[must_use]
    pub fn motion(&self) -> Motion {
        self.motion
    }

    /// One tick of `1000 / rate_mhz` seconds. Returns whether it arrived in it.
    #[inline]
    pub(crate) fn advance(&mut self, position: &mut Pos, rate_mhz: u32) -> bool {
        let Motion::MoveTo { x, z, speed } = self.motion else {
            return false;
        };
        self.gone += ((u64::from(speed) * 1000) << FRACTION_BITS) / u64::from(rate_mhz);
        let [from_x, from_z] = self.from;
        // Exact: differences of i32 fit a double, and so does every position between.
        let (dx, dz) = (f64::from(x) - f64::from(from_x), f64::from(z) - f64::from(from_z));
        let length = (dx * dx + dz * dz).sqrt();
        let gone = self.gone as f64 / f64::from(1u32 << FRACTION_BITS);
        if gone >= length {
            (position.x, position.z) = (x, z);
            *self = Self::default();
            return true;
        }
        let part = gone / length;
        position.x = (f64::from(from_x) + dx * part).round() as i32;
        position.z = (f64::from(from_z) + dz * part).round() as i32;
        false
    }
}

pub(super) fn write(entity: &EntityRef<'_>, _: &Kind, _: Form, out: &mut Vec<(String, Value)>) {
    let leg: &Leg = entity.get().expect("every entity has all components");
    if let Motion::MoveTo { x, z, speed } = leg.motion {
        for (name, value) in [
            (TO_X, i64::from(x)),
            (TO_Z, i64::from(z)),
            (SPEED, i64::from(speed)),
        ] {
            out.push((name.to_owned(), Value::Int(value)));
        }
    }
}

/// Reads one attribute; the leg begins anew where the entity is. Target and speed are checked against the space
/// and the kind when all are read.
pub(super) fn read(parts: &mut Parts, _: &Kind, name: &str, value: &Value) -> bool {
    let &Value::Int(value) = value else { return false };
    let position = parts.position.0;
    let (mut x, mut z, mut speed) = match parts.leg.motion {
        Motion::Idle => (position.x, position.z, 1),
        Motion::MoveTo { x, z, speed } => (x, z, speed),
    };
    let read = match name {
        TO_X => i32::try_from(value).map(|v| x = v).is_ok(),
        TO_Z => i32::try_from(value).map(|v| z = v).is_ok(),
        SPEED => u32::try_from(value).map(|v| speed = v.max(1)).is_ok(),
        _ => false,
    };
    if read {
        parts.leg = Leg::new(Motion::MoveTo { x, z, speed }, position);
    }
    read
}
