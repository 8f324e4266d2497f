//! How much a script call may still use: counted, never timed, so that a replay decides alike.
//!
//! The VM interrupts itself at each turn of a loop, each function call and each step of a pattern match. Each
//! interrupt costs one, and more once the call has grown the VM's memory beyond [`GROWTH_FREE_BYTES`]: one turn of
//! a loop that copies megabytes is not one step. Library functions whose work can be large in a single step charge
//! for it beforehand ([`Budget::charge`]).

use crate::fault::Place;
use std::cell::{Cell, RefCell};

/// By how much a call may grow the VM's memory before its interrupts cost more.
const GROWTH_FREE_BYTES: usize = 1024 * 1024;
/// Beyond that each interrupt costs one more per this many bytes.
const GROWTH_STEP_BYTES: usize = 64 * 1024;

/// What is left to the present call.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    limit: Cell<u32>,
    left: Cell<u32>,
    memory_at_start: Cell<usize>,
    /// Where the call was when nothing was left.
    ended_at: RefCell<Option<Place>>,
}

impl Budget {
    /// A new call may use `limit`.
    pub(crate) fn begin(&self, limit: u32, memory_bytes: usize) {
        self.limit.set(limit);
        self.left.set(limit);
        self.memory_at_start.set(memory_bytes);
        self.ended_at.take();
    }

    /// One interrupt, with that much memory in use. Whether the call may go on.
    pub(crate) fn interrupt(&self, memory_bytes: usize) -> bool {
        let growth = memory_bytes.saturating_sub(self.memory_at_start.get());
        let cost = 1 + growth.saturating_sub(GROWTH_FREE_BYTES) / GROWTH_STEP_BYTES;
        self.charge(cost)
    }

    /// Takes `cost`, all that is left if it is less. Whether the call may go on.
    pub(crate) fn charge(&self, cost: usize) -> bool {
        let left = (self.left.get() as usize).saturating_sub(cost);
        self.left.set(left as u32);
        left > 0
    }

    /// Remembers where the call was when nothing was left, the first time.
    pub(crate) fn end_at(&self, place: impl FnOnce() -> Place) {
        self.ended_at.borrow_mut().get_or_insert_with(place);
    }

    /// Where the call was when nothing was left, and what to say about it.
    pub(crate) fn verdict(&self) -> Option<(Place, String)> {
        let place = self.ended_at.borrow().clone()?;
        Some((
            place,
            format!("the call used up its budget of {} steps", self.limit.get()),
        ))
    }
}
