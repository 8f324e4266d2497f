//! Range queries: who is in a circle, in a box, nearest.
//!
//! They answer from the state of the last update, like the views, so that everybody who asks in one tick gets
//! the same answer whatever was changed since. Answers go into a buffer of the caller's, which is emptied first.

use crate::engine::Engine;
use crate::points::{Reach, distance2};
use crate::types::{RADIUS_MAX, SubjectId};

impl Engine {
    /// The subjects with a bit of `layers` whose distance in three dimensions from `centre` is at most `radius`
    /// AOI units (itself at most [`RADIUS_MAX`]), ascending.
    pub fn circle(&self, centre: [i32; 3], radius: u32, layers: u32, found: &mut Vec<SubjectId>) {
        found.clear();
        self.grid
            .scan_runs(&Reach::ball(centre, radius, layers), |id, _| {
                found.push(SubjectId(id))
            });
        found.sort_unstable();
    }

    /// The subjects with a bit of `layers` and each coordinate between that of `low` and that of `high`, both
    /// inclusive, ascending. Nobody, if a `low` is above its `high`.
    pub fn in_box(&self, low: [i32; 3], high: [i32; 3], layers: u32, found: &mut Vec<SubjectId>) {
        found.clear();
        self.grid
            .scan_box(low, high, layers, |id| found.push(SubjectId(id)));
        found.sort_unstable();
    }

    /// The `count` subjects with a bit of `layers` that are nearest to `centre`, of those at most `radius` AOI
    /// units away (itself at most [`RADIUS_MAX`]), the nearest first, among equals the lowest id.
    pub fn nearest(
        &self,
        centre: [i32; 3],
        count: usize,
        radius: u32,
        layers: u32,
        found: &mut Vec<SubjectId>,
    ) {
        // Whoever is in a circle that holds enough is nearer than whoever is not.
        let radius = radius.min(RADIUS_MAX);
        let mut reach = self.config.cell_size.min(radius);
        self.circle(centre, reach, layers, found);
        while found.len() < count && reach < radius {
            reach = reach.saturating_mul(2).min(radius);
            self.circle(centre, reach, layers, found);
        }
        found.sort_unstable_by_key(|id| (distance2(centre, self.grid.position(id.0)), *id));
        found.truncate(count);
    }
}
