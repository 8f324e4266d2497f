//! Who sees an entity, and what it sees.

use crate::components::Parts;
use crate::kinds::Kind;
use crate::record::Form;
use bevy_ecs::component::Component;
use bevy_ecs::world::EntityRef;
use myriad_wire::Value;

const LAYERS: &str = "@layers";
const SEES: &str = "@sees";

/// The layers of a subject and of an observer: one sees the other if `observer.sees & subject.layers != 0`.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// On which layers it is. None: nobody sees it.
    pub layers: u32,
    /// Which layers it sees.
    pub sees: u32,
}

impl Sight {
    pub(super) fn of(entity: &EntityRef<'_>) -> Self {
        *entity.get().expect("every entity has all components")
    }
}

pub(super) fn write(entity: &EntityRef<'_>, _: &Kind, _: Form, out: &mut Vec<(String, Value)>) {
    let sight = Sight::of(entity);
    out.push((LAYERS.to_owned(), Value::Int(i64::from(sight.layers))));
    out.push((SEES.to_owned(), Value::Int(i64::from(sight.sees))));
}

pub(super) fn read(parts: &mut Parts, _: &Kind, name: &str, value: &Value) -> bool {
    let field = match name {
        LAYERS => &mut parts.sight.layers,
        SEES => &mut parts.sight.sees,
        _ => return false,
    };
    let &Value::Int(value) = value else { return false };
    u32::try_from(value).map(|mask| *field = mask).is_ok()
}
