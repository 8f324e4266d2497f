//! Traps: areas that report which subjects come in and go out.

use crate::engine::Engine;
use crate::types::{Edge, SubjectId};
use rayon::prelude::*;

/// Traps per rayon task at least.
const TASK_MIN: usize = 8;

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
    area: Option<Area>,
    /// Who is inside, ascending.
    inside: Vec<u32>,
    /// The other buffer; between updates its contents mean nothing.
    before: Vec<u32>,
    /// Sorted by subject, `Leave` first.
    edges: Vec<(u32, Edge)>,
}

#[derive(Clone, Copy, Debug)]
struct Area {
    centre: [i32; 3],
    radius: u32,
    layers: u32,
}

impl Trap {
    /// `ended` are the subjects whose lives ended in this update, ascending: whoever has such an id now has not
    /// been here.
    fn update(&mut self, engine: &Engine, ended: &[u32]) {
        self.edges.clear();
        let Some(area) = self.area else { return };
        std::mem::swap(&mut self.inside, &mut self.before);
        self.inside.clear();
        let inside = &mut self.inside;
        engine.each_in_circle(area.centre, area.radius, area.layers, |id, _| inside.push(id.0));
        inside.sort_unstable();
        if !ended.is_empty() {
            let edges = &mut self.edges;
            self.before.retain(|id| {
                let has_ended = ended.binary_search(id).is_ok();
                if has_ended {
                    edges.push((*id, Edge::Leave));
                }
                !has_ended
            });
        }
        let mut before = self.before.iter().copied().peekable();
        for &id in inside.iter() {
            while let Some(gone) = before.next_if(|before| *before < id) {
                self.edges.push((gone, Edge::Leave));
            }
            if before.next_if_eq(&id).is_none() {
                self.edges.push((id, Edge::Enter));
            }
        }
        self.edges.extend(before.map(|gone| (gone, Edge::Leave)));
        if !ended.is_empty() {
            self.edges.sort_unstable();
        }
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
        assert!(trap.area.is_none(), "{id:?} is inserted already");
        trap.area = Some(Area {
            centre,
            radius,
            layers,
        });
    }

    /// Puts a trap somewhere else. The next update reports the difference.
    ///
    /// # Panics
    /// If the id is not in use.
    pub fn move_trap(&mut self, id: TrapId, centre: [i32; 3]) {
        let trap = self
            .traps
            .get_mut(id.0 as usize)
            .and_then(|trap| trap.area.as_mut());
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
            .filter(|trap| trap.area.is_some());
        let trap = trap.unwrap_or_else(|| panic!("{id:?} is not inserted"));
        trap.area = None;
        trap.edges.clear();
        trap.inside.clear();
    }

    /// Whether the trap's id is in use.
    pub fn has_trap(&self, id: TrapId) -> bool {
        self.traps
            .get(id.0 as usize)
            .is_some_and(|trap| trap.area.is_some())
    }

    /// Who came into a trap or went out of one in the last update, sorted by trap, subject, `Leave` before
    /// `Enter`.
    pub fn trap_events(&self) -> &[TrapEvent] {
        &self.trap_events
    }

    pub(crate) fn update_traps(&mut self) {
        self.trap_events.clear();
        if self.traps.is_empty() {
            return;
        }
        let mut traps = std::mem::take(&mut self.traps);
        let (engine, ended) = (&*self, self.changes.ended());
        let parallel = traps.par_iter_mut().with_min_len(TASK_MIN);
        parallel.for_each(|trap| trap.update(engine, ended));
        for (trap, id) in traps.iter().zip((0..).map(TrapId)) {
            let edges = trap.edges.iter();
            self.trap_events.extend(edges.map(|&(subject, edge)| TrapEvent {
                trap: id,
                subject: SubjectId(subject),
                edge,
            }));
        }
        self.traps = traps;
    }
}
