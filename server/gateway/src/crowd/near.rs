//! Finds the near tracks around a place without looking at all of them.
//!
//! A lane's near tracks are leaves of a quadtree, of 4 to 64 m. Each is entered in every square of 16 m that its box
//! meets; whoever asks looks at the squares around it, and at more of them only if these did not hold enough.
//!
//! Cost: one sort of the squares per tick; per client in a crowd the leaves of 9 squares, or of 25 where few are near; per
//! other client those of the squares that its reach meets, or all of them where these would be more than a thousand.

use crate::mirror::Mirror;
use crate::reach::Bounds;

/// Side of a square, as a shift of AOI units: 16 m.
const SQUARE_SHIFT: u32 = 9;
/// A box that meets more squares a side is entered in none, and looked at by everybody.
const SQUARES_MAX: i32 = 8;
/// How many squares away the first look goes, and the second; the latter reaches the farthest that is ever asked for.
const RINGS: [i32; 2] = [1, 2];
/// Who reaches farther than so many squares is compared with every leaf.
const RINGS_MAX: i64 = 16;

/// Where the near tracks of a tick are.
#[derive(Debug, Default)]
pub(crate) struct NearIndex {
    /// It is of this tick.
    made: bool,
    leaves: Vec<Leaf>,
    /// All layers that a leaf has, each set of them once.
    classes: Vec<u32>,
    /// Squares and leaves that meet them, ascending.
    squares: Vec<(Square, u32)>,
    /// Leaves that are in no square.
    wide: Vec<u32>,
    found: Vec<(i64, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Leaf {
    lane: usize,
    track: usize,
    layers: u32,
    members: u32,
    bounds: Bounds,
}

/// Class, z, x: those of one row and class are side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Square {
    class: u32,
    z: i32,
    x: i32,
}

impl NearIndex {
    /// A tick begins.
    pub(crate) fn forget(&mut self) {
        self.made = false;
    }

    /// Enters the tracks of `lanes`, if that was not done in this tick.
    pub(crate) fn make(&mut self, mirror: &Mirror, lanes: &[usize]) {
        if std::mem::replace(&mut self.made, true) {
            return;
        }
        self.clear();
        for &lane in lanes {
            for (number, track) in mirror.lanes()[lane].near().tracks().iter().enumerate() {
                self.put(lane, number, track.layers, track.members, track.bounds);
            }
        }
        self.squares.sort_unstable();
    }

    fn clear(&mut self) {
        self.leaves.clear();
        self.classes.clear();
        self.squares.clear();
        self.wide.clear();
    }

    fn put(&mut self, lane: usize, track: usize, layers: u32, members: u32, bounds: Bounds) {
        let leaf = self.leaves.len() as u32;
        self.leaves.push(Leaf {
            lane,
            track,
            layers,
            members,
            bounds,
        });
        let class = self.classes.iter().position(|class| *class == layers);
        let class = class.unwrap_or_else(|| {
            self.classes.push(layers);
            self.classes.len() - 1
        }) as u32;
        let [low_x, _, low_z] = bounds.low.map(|axis| axis >> SQUARE_SHIFT);
        let [high_x, _, high_z] = bounds.high.map(|axis| axis >> SQUARE_SHIFT);
        if high_x - low_x >= SQUARES_MAX || high_z - low_z >= SQUARES_MAX {
            self.wide.push(leaf);
            return;
        }
        for z in low_z..=high_z {
            for x in low_x..=high_x {
                self.squares.push((Square { class, z, x }, leaf));
            }
        }
    }

    /// Calls `each` with squared distance, lane and number of the nearest tracks of those who see `sees`, nearest first:
    /// as few as have `target` members, none farther than the square root of `reach2`.
    pub(crate) fn nearest(
        &mut self,
        from: [i32; 3],
        reach2: i64,
        sees: u32,
        target: u32,
        mut each: impl FnMut(i64, usize, usize),
    ) {
        for rings in RINGS {
            // Everything within so many whole squares has been looked at, wherever in its own one the observer is.
            let looked = i64::from(rings << SQUARE_SHIFT);
            let (members, farthest2) = self.look(from, rings, reach2, sees, target);
            if members >= target && farthest2 <= looked * looked || looked * looked >= reach2 {
                break;
            }
        }
        for (distance2, leaf) in &self.found {
            let leaf = &self.leaves[*leaf as usize];
            each(*distance2, leaf.lane, leaf.track);
        }
    }

    /// Calls `each` with squared distance, lane and number of every track of those who see `sees` that is no farther than
    /// the square root of `reach2`, in no order.
    pub(crate) fn within(
        &self,
        from: [i32; 3],
        reach2: i64,
        sees: u32,
        mut each: impl FnMut(i64, usize, usize),
    ) {
        let mut take = |leaf: &Leaf| {
            let distance2 = leaf.bounds.distance2(from);
            if leaf.layers & sees != 0 && distance2 <= reach2 {
                each(distance2, leaf.lane, leaf.track);
            }
        };
        let rings = (reach2.isqrt() >> SQUARE_SHIFT) + 1;
        if rings > RINGS_MAX {
            self.leaves.iter().for_each(take);
            return;
        }
        let rings = rings as i32;
        self.wide
            .iter()
            .for_each(|leaf| take(&self.leaves[*leaf as usize]));
        let [first_x, _, first_z] = from.map(|axis| (axis >> SQUARE_SHIFT) - rings);
        self.look_at(from, rings, sees, |square, leaf| {
            let leaf = &self.leaves[leaf as usize];
            let [low_x, _, low_z] = leaf.bounds.low.map(|axis| axis >> SQUARE_SHIFT);
            // It is in every square that its box meets, and taken in the first of those looked at.
            if square.x == low_x.max(first_x) && square.z == low_z.max(first_z) {
                take(leaf);
            }
        });
    }

    /// Calls `each` with what is entered in the squares at most `rings` away, of the classes seen.
    fn look_at(&self, from: [i32; 3], rings: i32, sees: u32, mut each: impl FnMut(Square, u32)) {
        let [x, _, z] = from.map(|axis| axis >> SQUARE_SHIFT);
        for (class, layers) in self.classes.iter().enumerate() {
            if layers & sees == 0 {
                continue;
            }
            let class = class as u32;
            for z in z - rings..=z + rings {
                let first = Square {
                    class,
                    z,
                    x: x - rings,
                };
                let start = self.squares.partition_point(|(square, _)| *square < first);
                let row = self.squares[start..].iter();
                let in_reach = |(square, _): &&(Square, u32)| {
                    square.class == class && square.z == z && square.x <= x + rings
                };
                row.take_while(in_reach)
                    .for_each(|(square, leaf)| each(*square, *leaf));
            }
        }
    }

    /// Finds the nearest leaves in so many squares around. Answers how many members they have and how far the last is.
    fn look(&mut self, from: [i32; 3], rings: i32, reach2: i64, sees: u32, target: u32) -> (u32, i64) {
        let mut found = std::mem::take(&mut self.found);
        found.clear();
        let mut members = 0;
        let mut take = |leaf: u32| {
            let at = &self.leaves[leaf as usize];
            let distance2 = at.bounds.distance2(from);
            let last = found.last().copied();
            let is_needed = members < target || last.is_some_and(|last| (distance2, leaf) < last);
            if at.layers & sees == 0 || distance2 > reach2 || !is_needed {
                return;
            }
            let Err(place) = found.binary_search(&(distance2, leaf)) else {
                return;
            };
            found.insert(place, (distance2, leaf));
            members += at.members;
            while let Some((_, last)) = found.last()
                && members - self.leaves[*last as usize].members >= target
            {
                members -= self.leaves[*last as usize].members;
                found.pop();
            }
        };
        self.wide.iter().for_each(|leaf| take(*leaf));
        self.look_at(from, rings, sees, |_, leaf| take(leaf));
        let farthest2 = found.last().map_or(0, |(distance2, _)| *distance2);
        self.found = found;
        (members, farthest2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaf() -> impl Strategy<Value = (u32, u32, Bounds)> {
        let side = prop_oneof![6 => 0..600i32, 2 => 0..2100i32, 1 => 0..20_000i32];
        (1..8u32, 0..70u32, [-3000..3000i32, -100..100, -3000..3000], side).prop_map(
            |(layers, members, low, side)| {
                let high = [low[0] + side, low[1], low[2] + side / 2];
                (layers, members, Bounds { low, high })
            },
        )
    }

    proptest! {
        #[test]
        fn it_finds_what_looking_at_all_finds(
            leaves in prop::collection::vec(leaf(), 0..150),
            from in [-3000..3000i32, -100..100, -3000..3000],
            reach in prop_oneof![0..1025i64, Just(1024)],
            sees in 1..8u32,
            target in 0..300u32,
            wider in prop_oneof![3 => 0..6i64, 1 => 6..40i64],
        ) {
            let mut index = NearIndex::default();
            for (number, (layers, members, bounds)) in leaves.iter().enumerate() {
                index.put(0, number, *layers, *members, *bounds);
            }
            index.squares.sort_unstable();
            let mut within = Vec::new();
            let far = reach * wider;
            index.within(from, far * far, sees, |distance2, _, track| within.push((distance2, track)));
            within.sort_unstable();
            let mut found = Vec::new();
            index.nearest(from, reach * reach, sees, target, |distance2, _, track| found.push((distance2, track)));
            let all_within = |reach: i64| {
                let mut all: Vec<_> = leaves.iter().enumerate()
                    .filter(|(_, (layers, ..))| layers & sees != 0)
                    .map(|(number, (_, _, bounds))| (bounds.distance2(from), number))
                    .filter(|(distance2, _)| *distance2 <= reach * reach)
                    .collect();
                all.sort_unstable();
                all
            };
            prop_assert_eq!(within, all_within(far));
            let mut all = all_within(reach);
            let mut members = 0;
            let enough = all.iter().take_while(|(_, number)| {
                let needed = members < target;
                members += leaves[*number].1;
                needed
            }).count();
            all.truncate(enough);
            prop_assert_eq!(found, all);
        }
    }
}
