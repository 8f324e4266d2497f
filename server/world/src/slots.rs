//! Slots: the dense numbers that the entities in one lane's hands have there, and their lives. Nobody outside knows them:
//! between roles an entity goes by its name.

use bevy_ecs::entity::Entity;
use myriad_wire::limits::SLOT_REST_TICKS;
use myriad_wire::{Generation, Slot, Tick};
use std::collections::VecDeque;

/// An entity of one space: its slot, and which life of the slot. A handle of a dead entity never comes alive again
/// within 65,536 lives of the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    /// The slot.
    pub slot: Slot,
    /// Which life of the slot.
    pub generation: Generation,
}

#[derive(Debug)]
struct Entry {
    generation: Generation,
    entity: Option<Entity>,
}

/// Gives slots out and takes them back. A freed slot rests [`SLOT_REST_TICKS`] before its next life.
#[derive(Debug)]
pub(crate) struct Slots {
    entries: Vec<Entry>,
    /// Freed slots with the tick from which each may be used again, ascending.
    resting: VecDeque<(Tick, Slot)>,
    alive: usize,
}

impl Slots {
    /// All slots free.
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            resting: VecDeque::new(),
            alive: 0,
        }
    }

    /// The handle that the next [`Self::insert`] at `now` will use.
    pub(crate) fn next(&self, now: Tick) -> Handle {
        match self.resting.front() {
            Some(&(ready, slot)) if ready <= now => Handle {
                slot,
                generation: self.entries[slot.0 as usize].generation,
            },
            _ => Handle {
                slot: Slot(
                    u32::try_from(self.entries.len()).expect("a space holds fewer than 2^32 entities"),
                ),
                generation: Generation(0),
            },
        }
    }

    /// Gives `handle`, which must come from [`Self::next`] in the same tick, to `entity`.
    pub(crate) fn insert(&mut self, handle: Handle, entity: Entity) {
        let i = handle.slot.0 as usize;
        if i == self.entries.len() {
            self.entries.push(Entry {
                generation: handle.generation,
                entity: None,
            });
        } else {
            let rested = self.resting.pop_front().map(|(_, slot)| slot);
            assert_eq!(
                rested,
                Some(handle.slot),
                "the slot that rested longest comes next"
            );
        }
        assert!(self.entries[i].entity.is_none(), "a free slot holds no entity");
        self.entries[i].entity = Some(entity);
        self.alive += 1;
    }

    /// Ends the life of a handle that is alive.
    pub(crate) fn remove(&mut self, handle: Handle, now: Tick) {
        let entry = &mut self.entries[handle.slot.0 as usize];
        assert!(
            entry.entity.is_some() && entry.generation == handle.generation,
            "only a living entity dies"
        );
        entry.entity = None;
        entry.generation = Generation(entry.generation.0.wrapping_add(1));
        self.resting.push_back((now + SLOT_REST_TICKS, handle.slot));
        self.alive -= 1;
    }

    /// The entity behind a handle, if it is alive.
    pub(crate) fn get(&self, handle: Handle) -> Option<Entity> {
        let entry = self.entries.get(handle.slot.0 as usize)?;
        entry.entity.filter(|_| entry.generation == handle.generation)
    }

    /// The living entity in a slot.
    pub(crate) fn at(&self, slot: Slot) -> Option<Handle> {
        let entry = self.entries.get(slot.0 as usize)?;
        entry.entity.map(|_| Handle {
            slot,
            generation: entry.generation,
        })
    }

    /// How many slots there will be, living and resting, after the next [`Self::insert`] at `now`.
    pub(crate) fn next_len(&self, now: Tick) -> usize {
        self.entries.len().max(self.next(now).slot.0 as usize + 1)
    }

    /// How many are alive.
    pub(crate) fn alive(&self) -> usize {
        self.alive
    }

    /// The living, ascending by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Handle> {
        (0..self.entries.len()).filter_map(|i| self.at(Slot(i as u32)))
    }
}
