//! The one table of what an entity carries, and how it travels.
//!
//! Replication, saving and hand-off read this table; a component that is not in it is refused by a
//! test. To add a component: a file beside the others, a row here, a field
//! in [`Parts`].

pub mod columns;
pub mod motion;
pub mod position;
pub mod sight;
pub mod subject;
pub mod timers;

use crate::kinds::Kind;
use crate::record::Form;
use bevy_ecs::bundle::Bundle;
use bevy_ecs::component::Component;
use bevy_ecs::world::EntityRef;
use columns::{BoolColumn, Column, FloatColumn, IntColumn, TextColumn};
use motion::Leg;
use myriad_wire::Value;
use position::Position;
use sight::Sight;
use std::any::TypeId;
use subject::Identity;
use timers::Timers;

/// What clients and other nodes are told of a component in the lane's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replicated {
    /// Nothing.
    Never,
    /// Once, when the entity joins.
    AtJoin,
    /// Its latest value, in the tracks, every tick.
    Tracks,
    /// What changed in it, in the tick in which it did, to the audience that is declared.
    Changes,
}

/// How a component gets into a saved form or to another lane, and back.
#[derive(Clone, Copy)]
pub enum Carried {
    /// It is a field of [`crate::Record`] itself.
    Field,
    /// As attributes: appended by `write`, taken by `read`. A reader that does not know the attribute, or can't
    /// use its value, says `false`.
    Attributes {
        /// Appends what the component holds.
        write: fn(&EntityRef<'_>, &Kind, Form, &mut Vec<(String, Value)>),
        /// Takes one attribute.
        read: fn(&mut Parts, &Kind, &str, &Value) -> bool,
    },
}

/// One engine component's line in the table.
pub struct Row {
    /// The component's name.
    pub name: &'static str,
    type_id: fn() -> TypeId,
    /// What clients are told of it.
    pub replicated: Replicated,
    /// How it is saved and handed off.
    pub carried: Carried,
}

impl Row {
    /// The component's type.
    #[must_use]
    pub fn type_id(&self) -> TypeId {
        (self.type_id)()
    }
}

const fn row<C: Component>(name: &'static str, replicated: Replicated, carried: Carried) -> Row {
    Row {
        name,
        type_id: TypeId::of::<C>,
        replicated,
        carried,
    }
}

const fn column<C: Column>(name: &'static str) -> Row {
    row::<C>(
        name,
        Replicated::Changes,
        Carried::Attributes {
            write: columns::write::<C>,
            read: columns::read::<C>,
        },
    )
}

/// Every engine component.
pub const TABLE: &[Row] = &[
    row::<Identity>("identity", Replicated::AtJoin, Carried::Field),
    row::<Position>("position", Replicated::Tracks, Carried::Field),
    row::<Leg>(
        "motion",
        Replicated::Never,
        Carried::Attributes {
            write: motion::write,
            read: motion::read,
        },
    ),
    row::<Sight>(
        "sight",
        Replicated::Changes,
        Carried::Attributes {
            write: sight::write,
            read: sight::read,
        },
    ),
    row::<Timers>(
        "timers",
        Replicated::Never,
        Carried::Attributes {
            write: timers::write,
            read: timers::read,
        },
    ),
    column::<BoolColumn>("bool_column"),
    column::<IntColumn>("int_column"),
    column::<FloatColumn>("float_column"),
    column::<TextColumn>("text_column"),
];

/// All components of one entity. Every entity has all of them, so that all live in one table of the ECS and a
/// system walks through memory in one line.
#[derive(Bundle, Clone, Debug)]
pub struct Parts {
    /// Who it is.
    pub identity: Identity,
    /// Where it is.
    pub position: Position,
    /// Where it goes.
    pub leg: Leg,
    /// Who sees it, and what it sees.
    pub sight: Sight,
    /// What is to happen to it.
    pub timers: Timers,
    /// Its properties.
    pub bools: BoolColumn,
    /// See `bools`.
    pub ints: IntColumn,
    /// See `bools`.
    pub floats: FloatColumn,
    /// See `bools`.
    pub texts: TextColumn,
}
