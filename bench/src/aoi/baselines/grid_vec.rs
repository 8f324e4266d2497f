//! A uniform grid, built anew each tick by counting, and per observer a sorted list of who is in view.

use super::{Baseline, Reach, compare, distance2};
use crate::aoi::world::World;
use myriad_aoi::Event;

/// Grid, lists and their buffers.
#[derive(Debug)]
pub(super) struct GridVec {
    grid: Grid,
    /// By observer: who is in view, ascending.
    seen: Vec<Vec<u32>>,
    /// By entity: the last observer that had it in view. Looking there is cheaper than searching in `seen`.
    seen_by: Vec<u32>,
    found: Vec<u32>,
}

/// Entities by cell.
#[derive(Debug)]
pub(super) struct Grid {
    cell: i32,
    min: [i32; 2],
    columns: usize,
    rows: usize,
    /// By cell: where its entities begin in `slots`. One more than there are cells.
    starts: Vec<u32>,
    /// By cell, row by row; within a cell by id.
    slots: Vec<Slot>,
}

/// An entity as a search wants it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    pub(super) x: i32,
    pub(super) z: i32,
    pub(super) id: u32,
    layers: u32,
}

impl GridVec {
    pub(super) fn new(world: &World) -> Self {
        let radius = world.radii.iter().copied().max().unwrap_or(1);
        let mut new = Self {
            grid: Grid::new(Reach::of(radius).leave()),
            seen: vec![Vec::new(); world.radii.len()],
            seen_by: vec![u32::MAX; world.places.len()],
            found: Vec::new(),
        };
        new.tick(world, &mut Vec::new());
        new
    }
}

impl Baseline for GridVec {
    fn tick(&mut self, world: &World, events: &mut Vec<Event>) {
        self.grid.rebuild(world);
        self.seen_by.fill(u32::MAX);
        for ((o, &radius), old) in world.radii.iter().enumerate().zip(&mut self.seen) {
            let reach = Reach::of(radius);
            let ([x, _, z], sees) = (world.places[o], world.layers[o]);
            let o = o as u32;
            for &id in &*old {
                self.seen_by[id as usize] = o;
            }
            let mut count = 0;
            for slots in self.grid.around(x, z, reach.leave()) {
                if self.found.len() < count + slots.len() {
                    self.found.resize(count + slots.len(), 0);
                }
                let room = &mut self.found[count..];
                // Written whether it counts or not: a branch that nobody can foresee costs more.
                let mut here = 0;
                for slot in slots {
                    let d2 = distance2(slot.x - x, slot.z - z);
                    let enters = d2 <= reach.enter2;
                    let near = enters || d2 <= reach.leave2 && self.seen_by[slot.id as usize] == o;
                    room[here] = slot.id;
                    here += usize::from(near & (slot.layers & sees != 0));
                }
                count += here;
            }
            self.found.truncate(count);
            self.found.sort_unstable();
            compare(o, old, &self.found, events);
            std::mem::swap(old, &mut self.found);
        }
    }
}

impl Grid {
    pub(super) fn new(cell: i32) -> Self {
        Self {
            cell: cell.max(1),
            min: [0; 2],
            columns: 0,
            rows: 0,
            starts: Vec::new(),
            slots: Vec::new(),
        }
    }

    pub(super) fn rebuild(&mut self, world: &World) {
        let ends = |axis: usize| {
            let all = world.places.iter().map(|place| place[axis]);
            (all.clone().min().unwrap_or(0), all.max().unwrap_or(0))
        };
        let ((x_min, x_max), (z_min, z_max)) = (ends(0), ends(2));
        self.min = [x_min, z_min];
        self.columns = ((x_max - x_min) / self.cell) as usize + 1;
        self.rows = ((z_max - z_min) / self.cell) as usize + 1;
        self.starts.clear();
        self.starts.resize(self.columns * self.rows + 1, 0);
        self.slots.resize(world.places.len(), Slot::default());
        for place in &world.places {
            let cell = self.cell_of(place[0], place[2]);
            self.starts[cell] += 1;
        }
        let mut sum = 0;
        for start in &mut self.starts {
            sum += *start;
            *start = sum;
        }
        // From the back, so that every cell's start is where it belongs in the end, and ids ascend within it.
        for (i, (place, &layers)) in world.places.iter().zip(&world.layers).enumerate().rev() {
            let cell = self.cell_of(place[0], place[2]);
            self.starts[cell] -= 1;
            self.slots[self.starts[cell] as usize] = Slot {
                x: place[0],
                z: place[2],
                id: i as u32,
                layers,
            };
        }
    }

    /// The entities of all cells that are touched by a box of half-width `reach`, row by row.
    pub(super) fn around(&self, x: i32, z: i32, reach: i32) -> impl Iterator<Item = &[Slot]> {
        let along = |at: i32, min: i32, count: usize| {
            let low = (at - reach - min).max(0) / self.cell;
            let high = (at + reach - min) / self.cell;
            (low as usize, (high as usize).min(count - 1))
        };
        let (left, right) = along(x, self.min[0], self.columns);
        let (top, bottom) = along(z, self.min[1], self.rows);
        (top..=bottom).map(move |row| {
            let first = self.starts[row * self.columns + left];
            let end = self.starts[row * self.columns + right + 1];
            &self.slots[first as usize..end as usize]
        })
    }

    fn cell_of(&self, x: i32, z: i32) -> usize {
        let column = (x - self.min[0]) / self.cell;
        let row = (z - self.min[1]) / self.cell;
        row as usize * self.columns + column as usize
    }
}
