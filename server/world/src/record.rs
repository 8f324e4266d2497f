//! An entity as plain data: for storage, and for another lane.
//!
//! All state of an entity is declared, so a record is all there is of it. Which component gets in, and how, stands
//! in the table ([`crate::components::TABLE`]); a name that begins with `@` is the engine's, every other one is a
//! property's.

use crate::slots::Handle;
use myriad_wire::{EntityId, Pos, Value};

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Storage: only properties that are declared as saved.
    Saved,
    /// Another lane: all of them.
    Handoff,
}

/// An entity as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Who it is.
    pub entity: EntityId,
    /// Its kind's name.
    pub kind: String,
    /// Where it is.
    pub position: Pos,
    /// Its properties and the engine's attributes, by name.
    pub attributes: Vec<(String, Value)>,
}

/// An entity that was restored from a [`Record`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The entity.
    pub handle: Handle,
    /// Attributes of the record that its kind does not have any more, or not with such a value: they were left
    /// out, the declared default stands.
    pub ignored: Vec<String>,
}
