//! Range queries: who is in a circle, in a sector, in a box, nearest.
//!
//! They answer from the state of the last update, like the views, so that everybody who asks in one tick gets
//! the same answer whatever was changed since. Answers go into a buffer of the caller's, which is emptied first.

use crate::block::{Block, square};
use crate::bounds::CHUNK;
use crate::engine::Engine;
use crate::side::Side;
use crate::types::{RADIUS_MAX, SubjectId};

/// The search for the nearest begins with this radius, in AOI units.
const NEAREST_START: u32 = 256;

/// One, in the fixed point of [`Engine::sector`]'s cosine.
const COSINE_ONE: i128 = 1 << 16;

impl Engine {
    /// The subjects with a bit of `layers` whose distance in three dimensions from `centre` is at most `radius`
    /// AOI units (itself at most [`RADIUS_MAX`]), ascending.
    pub fn circle(&self, centre: [i32; 3], radius: u32, layers: u32, found: &mut Vec<SubjectId>) {
        found.clear();
        self.each_in_circle(centre, radius, layers, |id, _| found.push(id));
        found.sort_unstable();
    }

    /// The subjects of a [`Engine::circle`] that lie within an angle on the ground plane of x and z, ascending.
    ///
    /// `direction` is x and z of the sector's axis, of any length; `half_angle_cos` the cosine of half its opening,
    /// in 1/65536, within -65536 and 65536 (more counts as these). With `v` the way from the centre on the ground,
    /// somebody is inside if `v · direction >= cos |v| |direction|`, exactly; so who stands on the centre always is,
    /// and with a direction of no length everybody is.
    pub fn sector(
        &self,
        centre: [i32; 3],
        direction: [i32; 2],
        half_angle_cos: i32,
        radius: u32,
        layers: u32,
        found: &mut Vec<SubjectId>,
    ) {
        found.clear();
        let cosine = i128::from(half_angle_cos).clamp(-COSINE_ONE, COSINE_ONE);
        let length2 = |v: [i128; 2]| v[0] * v[0] + v[1] * v[1];
        let axis = direction.map(i128::from);
        self.each_in_circle(centre, radius, layers, |id, position| {
            let way = [0, 2].map(|axis| i128::from(position[axis]) - i128::from(centre[axis]));
            let dot = (way[0] * axis[0] + way[1] * axis[1]) * COSINE_ONE;
            // Both sides squared, with their signs; that takes more than 128 bits.
            let left = signed_square(dot);
            let right = signed_product(cosine, length2(way), length2(axis));
            if left >= right {
                found.push(id);
            }
        });
        found.sort_unstable();
    }

    /// The subjects with a bit of `layers` and each coordinate between that of `low` and that of `high`, both
    /// inclusive, ascending. Nobody, if a `low` is above its `high`.
    pub fn in_box(&self, low: [i32; 3], high: [i32; 3], layers: u32, found: &mut Vec<SubjectId>) {
        found.clear();
        let (low64, high64) = (low.map(i64::from), high.map(i64::from));
        self.each_in_box(low64, high64, layers, |id, position| {
            if (0..3).all(|axis| (low[axis]..=high[axis]).contains(&position[axis])) {
                found.push(id);
            }
        });
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
        let mut reach = NEAREST_START.min(radius);
        self.circle(centre, reach, layers, found);
        while found.len() < count && reach < radius {
            reach = reach.saturating_mul(2).min(radius);
            self.circle(centre, reach, layers, found);
        }
        let distance2 = |id: &SubjectId| {
            let slot = self.subjects.slot_of(id.0).expect("it was found");
            let (block, at) = self.subjects.at(slot);
            distance2(centre, block.position(at))
        };
        found.sort_unstable_by_key(|id| (distance2(id), *id));
        found.truncate(count);
    }

    /// Calls `found` with everybody in a circle, in no particular order.
    pub(crate) fn each_in_circle(
        &self,
        centre: [i32; 3],
        radius: u32,
        layers: u32,
        mut found: impl FnMut(SubjectId, [i32; 3]),
    ) {
        let radius = radius.min(RADIUS_MAX);
        let low = centre.map(|coordinate| i64::from(coordinate) - i64::from(radius));
        let high = centre.map(|coordinate| i64::from(coordinate) + i64::from(radius));
        let radius2 = u128::from(square(radius));
        self.each_in_box(low, high, layers, |id, position| {
            if distance2(centre, position) <= radius2 {
                found(id, position);
            }
        });
    }

    /// Calls `found` with everybody in blocks that meet a box: perhaps more than are in the box.
    fn each_in_box(
        &self,
        low: [i64; 3],
        high: [i64; 3],
        layers: u32,
        mut found: impl FnMut(SubjectId, [i32; 3]),
    ) {
        // Subjects with an appeal have no layers among the others.
        for side in [&self.subjects, &self.appealing] {
            each_block_in_box(side, low, high, |block| {
                for at in block.slots() {
                    if block.layers[at as usize] & layers != 0 {
                        found(SubjectId(block.id[at as usize]), block.position(at));
                    }
                }
            });
        }
    }
}

fn each_block_in_box(side: &Side, low: [i64; 3], high: [i64; 3], mut found: impl FnMut(&Block)) {
    let (low_float, high_float) = (
        low.map(|c| (c as f32).next_down()),
        high.map(|c| (c as f32).next_up()),
    );
    for chunk in 0..side.bounds.chunks() {
        let bounds = side.chunk_bounds.get(chunk);
        let meets =
            |axis: usize| bounds.low[axis] <= high_float[axis] && bounds.high[axis] >= low_float[axis];
        if !(0..3).all(meets) {
            continue;
        }
        let end = ((chunk + 1) * CHUNK).min(side.blocks.len());
        for block in &side.blocks[chunk * CHUNK..end] {
            let meets = |axis: usize| {
                i64::from(block.low[axis]) <= high[axis] && i64::from(block.high[axis]) >= low[axis]
            };
            if block.members != 0 && (0..3).all(meets) {
                found(block);
            }
        }
    }
}

/// The square of the distance in three dimensions.
fn distance2(a: [i32; 3], b: [i32; 3]) -> u128 {
    let square = |axis: usize| u128::from(square(a[axis].abs_diff(b[axis])));
    square(0) + square(1) + square(2)
}

/// A number of 256 bits and a sign, in the order of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Signed {
    /// The magnitude's bits turned over: the greater, the less.
    Negative(u128, u128),
    /// Upper and lower half.
    Positive(u128, u128),
}

impl Signed {
    fn new(is_negative: bool, (high, low): (u128, u128)) -> Self {
        if is_negative && (high, low) != (0, 0) {
            Self::Negative(!high, !low)
        } else {
            Self::Positive(high, low)
        }
    }
}

/// `value * |value|`.
fn signed_square(value: i128) -> Signed {
    Signed::new(value < 0, multiply(value.unsigned_abs(), value.unsigned_abs()))
}

/// `cosine * |cosine| * a * b`, for `a` and `b` of at most 67 bits and a cosine of 17.
fn signed_product(cosine: i128, a: i128, b: i128) -> Signed {
    // 67 + 34 bits still fit.
    let scaled = a.unsigned_abs() * (cosine * cosine).unsigned_abs();
    Signed::new(cosine < 0, multiply(scaled, b.unsigned_abs()))
}

/// The product's upper and lower half, by halves of the factors.
fn multiply(a: u128, b: u128) -> (u128, u128) {
    const HALF: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & HALF, b >> 64, b & HALF);
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 64);
    let carried = a0 * b1 + (middle & HALF);
    (
        a1 * b1 + (middle >> 64) + (carried >> 64),
        carried << 64 | low & HALF,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_256_bits_are_whole() {
        assert_eq!(multiply(u128::MAX, u128::MAX), (u128::MAX - 1, 1));
        assert_eq!(multiply(1 << 100, 1 << 100), (1 << 72, 0));
        assert_eq!(multiply(12, 12), (0, 144));
        assert!(signed_square(-3) < signed_square(-2) && signed_square(-2) < signed_square(0));
        assert!(signed_square(0) < signed_square(1) && signed_square(1 << 90) < signed_square(1 << 91));
    }
}
