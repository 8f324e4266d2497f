//! The crate `rstar`: an R*-tree, loaded anew each tick, and per observer a sorted list of who is in view.

use super::{Baseline, Reach, compare, distance2};
use crate::aoi::world::World;
use myriad_aoi::Event;
use rstar::RTree;
use rstar::primitives::GeomWithData;

/// A place, and whose it is. Squares of whole AOI units are exact in `f64`, and do not overflow as `i32` would.
type Point = GeomWithData<[f64; 2], u32>;

/// The lists and their buffer.
#[derive(Debug)]
pub(super) struct RTreeVec {
    /// By observer: who is in view, ascending.
    seen: Vec<Vec<u32>>,
    found: Vec<u32>,
}

impl RTreeVec {
    pub(super) fn new(world: &World) -> Self {
        let mut new = Self {
            seen: vec![Vec::new(); world.radii.len()],
            found: Vec::new(),
        };
        new.tick(world, &mut Vec::new());
        new
    }
}

impl Baseline for RTreeVec {
    fn tick(&mut self, world: &World, events: &mut Vec<Event>) {
        let points = world.places.iter().zip(0..);
        let points = points.map(|(place, id)| Point::new(on_ground(place), id));
        let tree = RTree::bulk_load(points.collect());
        for ((o, &radius), old) in world.radii.iter().enumerate().zip(&mut self.seen) {
            let reach = Reach::of(radius);
            let (at, sees) = (world.places[o], world.layers[o]);
            self.found.clear();
            for point in tree.locate_within_distance(on_ground(&at), reach.leave2 as f64) {
                let [x, z] = point.geom().map(|v| v as i32);
                let near =
                    distance2(x - at[0], z - at[2]) <= reach.enter2 || old.binary_search(&point.data).is_ok();
                if near && world.layers[point.data as usize] & sees != 0 {
                    self.found.push(point.data);
                }
            }
            self.found.sort_unstable();
            compare(o as u32, old, &self.found, events);
            std::mem::swap(old, &mut self.found);
        }
    }
}

fn on_ground(place: &[i32; 3]) -> [f64; 2] {
    [f64::from(place[0]), f64::from(place[2])]
}
