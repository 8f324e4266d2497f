//! What is to happen to an entity, and when.
//!
//! A timer is data: a declared name and the tick in which it is due. So it survives a save, a restart and a
//! hand-off, and a reload finds the new function under the old name. The space keeps an index of what is due next.

use crate::components::Parts;
use crate::kinds::Kind;
use crate::record::Form;
use bevy_ecs::component::Component;
use bevy_ecs::world::EntityRef;
use myriad_wire::{Tick, Value};

/// Goes before a timer's name in a saved form.
const PREFIX: &str = "@timer.";

/// A timer's number within its kind, in the order of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerIndex(pub u8);

/// The timers of an entity.
#[derive(Component, Clone, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Indexed by [`TimerIndex`]: when each is due, if it is set.
    pub due: Box<[Option<Tick>]>,
}

impl Timers {
    pub(crate) fn none(kind: &Kind) -> Self {
        Self {
            due: vec![None; kind.spec().timers.len()].into(),
        }
    }

    pub(super) fn of<'a>(entity: &'a EntityRef<'_>) -> &'a Self {
        entity.get().expect("every entity has all components")
    }
}

pub(super) fn write(entity: &EntityRef<'_>, kind: &Kind, _: Form, out: &mut Vec<(String, Value)>) {
    for (name, due) in kind.spec().timers.iter().zip(&Timers::of(entity).due) {
        if let Some(due) = due {
            let due = i64::try_from(due.0).expect("a space lives for less than 2^63 ticks");
            out.push((format!("{PREFIX}{name}"), Value::Int(due)));
        }
    }
}

pub(super) fn read(parts: &mut Parts, kind: &Kind, name: &str, value: &Value) -> bool {
    let Some(index) = name.strip_prefix(PREFIX).and_then(|name| kind.timer_index(name)) else {
        return false;
    };
    let &Value::Int(due) = value else { return false };
    let Ok(due) = u64::try_from(due) else { return false };
    parts.timers.due[usize::from(index.0)] = Some(Tick(due));
    true
}
