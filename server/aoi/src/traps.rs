//! Traps: areas that report which subjects come in and go out.

use crate::engine::Engine;
use crate::grid::Grid;
use crate::points::Reach;
use crate::types::{Edge, SubjectId};
use crate::watch::Watch;

/// A trap's dense index, chosen by the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrapId(pub u32);

/// A subject came into a trap, or went out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrapEvent {
    /// Which trap.
    pub trap: TrapId,
    /// Who.
    pub subject: SubjectId,
    /// Came in, or went out.
    pub edge: Edge,
}

/// One trap and who is in it.
#[derive(Debug, Default)]
pub(crate) struct Trap {
    /// `None` while the id is not in use; the buffers wait for the next trap.
    reach: Option<Reach>,
    inside: Watch,
}

impl Trap {
    pub(crate) fn update(&mut self, grid: &Grid, dead: Option<&[u64]>) {
        let Some(reach) = &self.reach else { return };
        self.inside
            .advance(grid.words_len(), dead, |old, next| grid.search(reach, old, next));
    }
}

/// Traps are balls without hysteresis: inside is `d² <= R²`. Neither appeal nor the limit of height changes them.
impl Engine {
    /// Sets a trap for subjects whose `layers` have a bit in common with `layers`, `radius` AOI units around
    /// `centre`. Whoever is inside at the next update is reported as coming in.
    ///
    /// # Panics
    /// If the id is in use, or not below [`Config::traps_max`](crate::Config::traps_max).
    pub fn insert_trap(&mut self, id: TrapId, centre: [i32; 3], radius: u32, layers: u32) {
        assert!(id.0 < self.config.traps_max, "{id:?} is beyond traps_max");
        let index = id.0 as usize;
        if index >= self.traps.len() {
            self.traps.resize_with(index + 1, Trap::default);
        }
        let trap = &mut self.traps[index];
        assert!(trap.reach.is_none(), "{id:?} is inserted already");
        trap.reach = Some(Reach::ball(centre, radius, layers));
    }

    /// Puts a trap somewhere else. The next update reports the difference.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn move_trap(&mut self, id: TrapId, centre: [i32; 3]) {
        let trap = self
            .traps
            .get_mut(id.0 as usize)
            .and_then(|trap| trap.reach.as_mut());
        trap.unwrap_or_else(|| panic!("{id:?} is not inserted")).centre = centre;
    }

    /// Takes a trap away, without events.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn remove_trap(&mut self, id: TrapId) {
        let trap = self
            .traps
            .get_mut(id.0 as usize)
            .filter(|trap| trap.reach.is_some());
        let trap = trap.unwrap_or_else(|| panic!("{id:?} is not inserted"));
        trap.reach = None;
        trap.inside.clear();
    }

    /// Whether the trap's id is in use.
    pub fn has_trap(&self, id: TrapId) -> bool {
        self.traps
            .get(id.0 as usize)
            .is_some_and(|trap| trap.reach.is_some())
    }

    /// Who came into a trap or went out of one in the last update, sorted by trap, subject, `Leave` before
    /// `Enter`.
    pub fn trap_events(&self) -> &[TrapEvent] {
        &self.trap_events
    }

    pub(crate) fn collect_trap_events(&mut self) {
        self.trap_events.clear();
        for (trap, id) in self.traps.iter().zip((0..).map(TrapId)) {
            let edges = trap.inside.edges().iter();
            self.trap_events.extend(edges.map(|&(subject, edge)| TrapEvent {
                trap: id,
                subject: SubjectId(subject),
                edge,
            }));
        }
    }
}
