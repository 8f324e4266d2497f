//! What the VM's functions share with the host.
//!
//! During a call the lane's space is *in here*: [`Shared::lend`] swaps it with an empty one and swaps it back at the
//! end. So API functions reach it through a plain `RefCell`, without lifetimes or unsafe code, for the price of
//! moving two structs of about a kilobyte per call from outside.

use crate::api::kind::Declarations;
use crate::budget::Budget;
use mlua::prelude::LuaError;
use myriad_wire::{EntityId, EntityName, Incarnation, LaneEpoch, Pos, Value};
use myriad_world::{Handle, Kinds, Origin, Share, Space, SpaceConfig};
use rand_pcg::Pcg64;
use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeSet, VecDeque};

/// Longest line that scripts log, in bytes. Longer ones end in an ellipsis.
const LINE_BYTES_MAX: usize = 1024;

/// Most calls of scripts that wait for the lane to take them.
pub(crate) const CALLS_MAX: usize = 4096;

/// A script calls entities, in whichever lane they are.
#[derive(Clone, Debug, PartialEq)]
pub struct ScriptCall {
    /// Whom.
    pub to: Callee,
    /// Which of the calls that kinds declare.
    pub name: String,
    /// At most [`myriad_wire::limits::ARGUMENTS_MAX`].
    pub arguments: Vec<Value>,
}

/// Whom a script calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callee {
    /// One entity, which was here when it was called.
    Entity(EntityId, EntityName),
    /// All within a distance.
    Area {
        /// From this place on the ground: x and z, in position units.
        center: [i32; 2],
        /// In position units.
        radius: u32,
    },
}

/// What the VM's functions share with the host.
pub(crate) struct Shared {
    pub(crate) budget: Budget,
    pub(crate) random: RefCell<Pcg64>,
    /// `Some` while the scripts load.
    pub(crate) declarations: RefCell<Option<Declarations>>,
    /// Entities that scripts spawned and whose `spawned` has not run yet.
    pub(crate) newborn: RefCell<VecDeque<Handle>>,
    pub(crate) lines: RefCell<Bounded<String>>,
    /// Names of the calls that some kind declares.
    pub(crate) call_names: RefCell<BTreeSet<String>>,
    /// What scripts called since the lane took it.
    pub(crate) calls: RefCell<Vec<ScriptCall>>,
    /// The lane's space during a call, an empty one else.
    space: RefCell<Space>,
    lent: Cell<bool>,
}

impl Shared {
    pub(crate) fn new(random: Pcg64, lines_max: usize) -> Self {
        let nowhere = SpaceConfig {
            bounds_min: Pos::default(),
            bounds_max: Pos::default(),
            rate_mhz: 1,
            entities_max: 0,
            share: Share::WHOLE,
        };
        let kinds = Kinds::new(Vec::new()).expect("no kinds are no mistake");
        let nobody = Origin {
            incarnation: Incarnation(0),
            share: 0,
            spawned: 0,
            epoch: LaneEpoch(0),
        };
        Self {
            budget: Budget::default(),
            random: RefCell::new(random),
            declarations: RefCell::new(Some(Declarations::default())),
            newborn: RefCell::default(),
            lines: RefCell::new(Bounded::new(lines_max)),
            call_names: RefCell::default(),
            calls: RefCell::default(),
            space: RefCell::new(Space::new(nowhere, kinds, nobody)),
            lent: Cell::new(false),
        }
    }

    /// Has `space` in here until the guard is dropped.
    pub(crate) fn lend<'a>(&'a self, space: &'a mut Space) -> Lent<'a> {
        assert!(!self.lent.replace(true), "one call at a time");
        std::mem::swap(&mut *self.space.borrow_mut(), space);
        Lent { shared: self, space }
    }

    /// The lane's space.
    ///
    /// # Errors
    /// While the scripts load: there is none yet.
    pub(crate) fn space(&self) -> Result<RefMut<'_, Space>, LuaError> {
        if self.lent.get() {
            Ok(self.space.borrow_mut())
        } else {
            let text = "there is no space while the scripts load: use myriad.on_start";
            Err(LuaError::RuntimeError(text.to_owned()))
        }
    }

    /// Keeps a call for the lane. `false` if there are too many.
    pub(crate) fn call(&self, call: ScriptCall) -> bool {
        let mut calls = self.calls.borrow_mut();
        let has_room = calls.len() < CALLS_MAX;
        if has_room {
            calls.push(call);
        }
        has_room
    }

    /// Keeps a line for the log.
    pub(crate) fn log(&self, mut line: String) {
        if line.len() > LINE_BYTES_MAX {
            line.truncate(line.floor_char_boundary(LINE_BYTES_MAX));
            line.push('…');
        }
        self.lines.borrow_mut().push(line);
    }
}

/// A space that is lent to the VM.
pub(crate) struct Lent<'a> {
    shared: &'a Shared,
    space: &'a mut Space,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        std::mem::swap(&mut *self.shared.space.borrow_mut(), self.space);
        self.shared.lent.set(false);
    }
}

/// A list that keeps the first few and counts the rest.
#[derive(Debug)]
pub(crate) struct Bounded<T> {
    kept: Vec<T>,
    max: usize,
    dropped: u64,
}

impl<T> Bounded<T> {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            kept: Vec::new(),
            max,
            dropped: 0,
        }
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.kept.len() < self.max {
            self.kept.push(item);
        } else {
            self.dropped += 1;
        }
    }

    /// Takes what was kept, and how many were not.
    pub(crate) fn take(&mut self) -> (Vec<T>, u64) {
        (std::mem::take(&mut self.kept), std::mem::take(&mut self.dropped))
    }
}
