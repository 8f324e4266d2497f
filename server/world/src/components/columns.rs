//! The properties of an entity: one column per type, indexed by kind and property number.
//!
//! A kind says which cell of which column a property lives in ([`Kind`]); the columns know no names. So a hundred
//! kinds with different properties are still one table of the ECS.

use crate::components::Parts;
use crate::kinds::Kind;
use crate::record::Form;
use bevy_ecs::component::{Component, Mutable};
use bevy_ecs::world::EntityRef;
use myriad_wire::value::ValueType;
use myriad_wire::{PropertyIndex, Value};

/// The properties of one type of an entity.
pub(crate) trait Column: Component<Mutability = Mutable> {
    const TYPE: ValueType;
    fn get(&self, cell: usize) -> Value;
    /// Whether the value was another one. The value's type is the column's.
    fn set(&mut self, cell: usize, value: Value) -> bool;
    fn of(parts: &mut Parts) -> &mut Self;
}

macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident($inner:ty), $variant:ident, $field:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Component, Clone, Debug, PartialEq, Default)]
            pub struct $name(pub(crate) Vec<$inner>);

            impl Column for $name {
                const TYPE: ValueType = ValueType::$variant;
                fn get(&self, cell: usize) -> Value {
                    Value::$variant(self.0[cell].clone())
                }
                fn set(&mut self, cell: usize, value: Value) -> bool {
                    let Value::$variant(value) = value else {
                        unreachable!("the type was checked against the declaration")
                    };
                    let changed = self.0[cell] != value;
                    self.0[cell] = value;
                    changed
                }
                fn of(parts: &mut Parts) -> &mut Self {
                    &mut parts.$field
                }
            }
        )*

        /// The value of a property, by its type.
        pub(crate) fn get(entity: &EntityRef<'_>, value_type: ValueType, cell: usize) -> Value {
            match value_type {
                $(ValueType::$variant => entity
                    .get::<$name>()
                    .expect("every entity has all components")
                    .get(cell),)*
            }
        }

        /// Sets a property; whether it had another value.
        pub(crate) fn set(entity: &mut bevy_ecs::world::EntityWorldMut<'_>, cell: usize, value: Value) -> bool {
            match value.value_type() {
                $(ValueType::$variant => entity
                    .get_mut::<$name>()
                    .expect("every entity has all components")
                    .set(cell, value),)*
            }
        }

        /// Sets a property of an entity that is still being made.
        pub(crate) fn set_in(parts: &mut Parts, cell: usize, value: Value) {
            match value.value_type() {
                $(ValueType::$variant => $name::of(parts).set(cell, value),)*
            };
        }

        /// Appends the default of a property to its column: cells are numbered in that order.
        pub(crate) fn push(parts: &mut Parts, value: Value) {
            match value {
                $(Value::$variant(value) => parts.$field.0.push(value),)*
            }
        }
    };
}

columns! {
    /// Properties that are true or false.
    BoolColumn(bool), Bool, bools;
    /// Whole numbers.
    IntColumn(i64), Int, ints;
    /// Floating-point numbers.
    FloatColumn(f64), Float, floats;
    /// Texts.
    TextColumn(String), Text, texts;
}

pub(super) fn write<C: Column>(
    entity: &EntityRef<'_>,
    kind: &Kind,
    form: Form,
    out: &mut Vec<(String, Value)>,
) {
    let column: &C = entity.get().expect("every entity has all components");
    for (i, property) in kind.spec().properties.iter().enumerate() {
        if property.domain.value_type() == C::TYPE && (property.saved || form == Form::Handoff) {
            let cell = kind.cell(PropertyIndex(i as u8));
            out.push((property.name.clone(), column.get(cell)));
        }
    }
}

pub(super) fn read<C: Column>(parts: &mut Parts, kind: &Kind, name: &str, value: &Value) -> bool {
    let Some(index) = kind.property_index(name) else {
        return false;
    };
    let domain = kind.property(index).expect("an index of this kind").domain;
    if domain.value_type() != C::TYPE || domain.check(value).is_err() {
        return false;
    }
    C::of(parts).set(kind.cell(index), value.clone());
    true
}
