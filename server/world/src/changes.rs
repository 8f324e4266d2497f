//! What changed in a tick: the source of the lane's frame.
//!
//! Kept as lists in the order in which things happened, each entity at most once per list, so that publishing costs
//! as much as changed and no more. An entity that began and ended between two [`Changes::clear`] leaves no trace; of one
//! that came from another lane, whose readers know it, the end is told.

use crate::kinds::PropertyMask;
use crate::slots::Handle;
use myriad_wire::limits::{ARGUMENTS_MAX, NAME_BYTES_MAX, TEXT_BYTES_MAX};
use myriad_wire::{EntityName, Hop, PropertyIndex, Slot, Value};
use thiserror::Error;

/// Most events in one tick of one space. Further ones are refused.
pub const EVENTS_PER_TICK_MAX: usize = 16 * 1024;

/// Something happened to, or was done by, an entity.
#[derive(Clone, Debug, PartialEq)]
pub struct SpaceEvent {
    /// The entity. It may be gone by the end of the tick.
    pub subject: Handle,
    /// What it is called.
    pub entity_name: EntityName,
    /// The event's name.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<Value>,
}

/// An entity that was there before and is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The place that it had.
    pub handle: Handle,
    /// What it is called.
    pub name: EntityName,
    /// How often it had been handed off.
    pub hop: Hop,
}

/// Why an event was not emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EmitError {
    /// The entity is gone.
    #[error("the entity is gone")]
    Gone,
    /// An empty name, or one beyond [`NAME_BYTES_MAX`] bytes.
    #[error("an event's name has 1 to {NAME_BYTES_MAX} bytes")]
    BadName,
    /// More than [`ARGUMENTS_MAX`] arguments.
    #[error("an event has at most {ARGUMENTS_MAX} arguments")]
    TooManyArguments,
    /// A text argument beyond [`TEXT_BYTES_MAX`] bytes.
    #[error("a text has at most {TEXT_BYTES_MAX} bytes")]
    TextTooLong,
    /// More than [`EVENTS_PER_TICK_MAX`] events in one tick.
    #[error("more than {EVENTS_PER_TICK_MAX} events in one tick")]
    TooManyEvents,
}

/// What the lists say of a slot already. A slot rests longer than a tick, so within one it has one life at most.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    joined: bool,
    /// Joined from another lane, which readers know.
    arrived: bool,
    /// Joined, and then got other properties.
    touched: bool,
    left: bool,
    layers: bool,
    sees: bool,
    properties: PropertyMask,
}

/// What changed since the last clearing.
#[derive(Debug, Default)]
pub struct Changes {
    joins: Vec<Handle>,
    leaves: Vec<Left>,
    changed: Vec<Handle>,
    layers: Vec<Handle>,
    sees: Vec<Handle>,
    events: Vec<SpaceEvent>,
    /// Indexed by slot. All zero where nothing changed.
    marks: Vec<Marks>,
}

impl Changes {
    /// Entities that came into the space and are still there.
    pub fn joins(&self) -> impl Iterator<Item = Handle> {
        self.living(&self.joins)
    }

    /// Whether an entity that joined got other properties since.
    #[must_use]
    pub fn touched(&self, handle: Handle) -> bool {
        self.of(handle).touched
    }

    /// Entities that were there before, here or in another lane, and are gone.
    #[must_use]
    pub fn leaves(&self) -> &[Left] {
        &self.leaves
    }

    /// Living entities with changed properties, those that joined left out: all of theirs are new.
    pub fn changed(&self) -> impl Iterator<Item = (Handle, PropertyMask)> {
        self.living(&self.changed)
            .map(|handle| (handle, self.of(handle).properties))
    }

    /// Living entities whose layers changed, those that joined left out.
    pub fn layers(&self) -> impl Iterator<Item = Handle> {
        self.living(&self.layers)
    }

    /// Living entities that see other layers than before, those that joined left out.
    pub fn sees(&self) -> impl Iterator<Item = Handle> {
        self.living(&self.sees)
    }

    /// What happened, in its order.
    pub fn events(&self) -> impl Iterator<Item = &SpaceEvent> {
        let trace = |event: &&SpaceEvent| {
            let marks = self.of(event.subject);
            !(marks.joined && marks.left)
        };
        self.events.iter().filter(trace)
    }

    fn of(&self, handle: Handle) -> Marks {
        self.marks
            .get(handle.slot.0 as usize)
            .copied()
            .unwrap_or_default()
    }

    fn living(&self, list: &[Handle]) -> impl Iterator<Item = Handle> {
        list.iter().copied().filter(|handle| !self.of(*handle).left)
    }

    pub(crate) fn clear(&mut self) {
        for left in self.leaves.drain(..) {
            self.marks[left.handle.slot.0 as usize] = Marks::default();
        }
        for list in [
            &mut self.joins,
            &mut self.changed,
            &mut self.layers,
            &mut self.sees,
        ] {
            for handle in list.drain(..) {
                self.marks[handle.slot.0 as usize] = Marks::default();
            }
        }
        self.events.clear();
    }

    pub(crate) fn join(&mut self, handle: Handle) {
        let marks = self.marks(handle.slot);
        assert!(
            !marks.joined && !marks.left,
            "changes are cleared at least once while a slot rests"
        );
        marks.joined = true;
        self.joins.push(handle);
    }

    /// An entity came from another lane.
    pub(crate) fn arrive(&mut self, handle: Handle) {
        self.join(handle);
        self.marks(handle.slot).arrived = true;
    }

    pub(crate) fn leave(&mut self, left: Left) {
        let marks = self.marks(left.handle.slot);
        marks.left = true;
        if !marks.joined || marks.arrived {
            self.leaves.push(left);
        }
    }

    pub(crate) fn change(&mut self, handle: Handle, index: PropertyIndex) {
        let marks = self.marks(handle.slot);
        if marks.joined {
            marks.touched = true;
            return;
        }
        let first = marks.properties.is_empty();
        marks.properties.0 |= PropertyMask::of(index).0;
        if first {
            self.changed.push(handle);
        }
    }

    pub(crate) fn change_layers(&mut self, handle: Handle) {
        let marks = self.marks(handle.slot);
        if !marks.joined && !std::mem::replace(&mut marks.layers, true) {
            self.layers.push(handle);
        }
    }

    pub(crate) fn change_sees(&mut self, handle: Handle) {
        let marks = self.marks(handle.slot);
        if !marks.joined && !std::mem::replace(&mut marks.sees, true) {
            self.sees.push(handle);
        }
    }

    pub(crate) fn emit(&mut self, event: SpaceEvent) -> Result<(), EmitError> {
        if !(1..=NAME_BYTES_MAX).contains(&event.name.len()) {
            return Err(EmitError::BadName);
        }
        if event.arguments.len() > ARGUMENTS_MAX {
            return Err(EmitError::TooManyArguments);
        }
        let too_long = |v: &Value| matches!(v, Value::Text(text) if text.len() > TEXT_BYTES_MAX);
        if event.arguments.iter().any(too_long) {
            return Err(EmitError::TextTooLong);
        }
        if self.events.len() >= EVENTS_PER_TICK_MAX {
            return Err(EmitError::TooManyEvents);
        }
        self.events.push(event);
        Ok(())
    }

    fn marks(&mut self, slot: Slot) -> &mut Marks {
        let i = slot.0 as usize;
        if self.marks.len() <= i {
            self.marks.resize(i + 1, Marks::default());
        }
        &mut self.marks[i]
    }
}
