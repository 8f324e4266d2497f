//! Crowd tracks: who is in a track is told once and stays, where its members are is told as what could not be foreseen.
//!
//! A lane keeps every entity in one track of its visibility class. Membership is sticky: a member stays in its place
//! until it leaves, and both are told once. Every few ticks the whole track is *told*: for each member, in the order
//! of slots, by how much its cell differs from the one foreseen. What is foreseen depends on nothing but what was told
//! before, so whoever has read the same bytes holds the same [`Track`]: the lane that writes, the gateway that makes
//! keyframes of it for newcomers, and every client. All of it travels on reliable, ordered streams.
//!
//! Cost: a telling is some 9 bits a member once per period, whatever the number of observers; a member that moves to
//! another track 5 bytes; a keyframe 8 bytes a member.
//!
//! ```text
//! keyframe = origin_x:zigzag origin_y:zigzag origin_z:zigzag  generation:varint kind:varint  count:varint
//!            bits, if count > 0: gap_k:5 width_x:5 width_y:5 width_z:5, then per member
//!              gap: Rice(gap_k); other_generation:1 [generation:16]; other_kind:1 [kind:16]
//!              x:width_x y:width_y z:width_z      zigzag of the cell less the origin
//!              age: Short(3)                      ticks since its newest cell was told
//!              has_before:1 [before: Before]
//!              steady:8 still:8                   its habit
//! delta    = flags:u8 (1 leaves, 2 joins, 4 states)  bits:
//!   leaves   count-1:8 gap_k:4, count x gap: Rice(gap_k)      places in the list as it was, ascending
//!   joins    count-1:8 slot_width:6 width_x:5 width_y:5 width_z:5, per member, ascending by slot
//!              slot:slot_width; other_generation:1 [generation:16]; other_kind:1 [kind:16]
//!              x y z as in a keyframe; has_before:1 [before: Before]
//!   states   level:1, per member that was not told in this very tick: x: Short(k) z: Short(k), and if not level
//!              y: Short(1)                                    zigzag of the cell less the one foreseen
//! Before   = ago: Short(3)  x: Short(3) z: Short(3) y: Short(0)   ticks, and zigzag of the cell before less the newest
//! ```
//! `Rice` is the code of [`crate::track`]. `Short(k)` is the same for up to 14 ones; 15 ones are followed by the number
//! in 18 bits. Bits are zero-filled to the end of the last byte. `telling.rs` and [`Habit`] say what is foreseen and what `k` is.

pub mod message;
mod motions;
mod take;
mod tell;
mod telling;

use crate::grid::{Pos, centre};
use crate::id::{Generation, KindId, Slot};
use crate::{Tick, grid};
use bincode::{Decode, Encode};
use motions::{Motion, Motions, close_gaps};
use std::hash::{Hash, Hasher};

/// Most members of a track.
pub const TRACK_MEMBERS_MAX: usize = 256;
/// `position >> CELL_SHIFT` is a member's cell: 1/4 m. Its middle is at most 1/8 m per axis off.
pub const CELL_SHIFT: u32 = 8;
/// Farthest that a member's cell may be from its track's origin, per axis: 8 km.
pub const CELL_OFFSET_MAX: i32 = i16::MAX as i32;
/// Farthest cell from zero that is told, per axis. Those of the last half metre of the grid are told as this one.
pub const CELL_MAX: i32 = (i32::MAX >> CELL_SHIFT) - 1;
/// Farthest that a track's origin may be from zero, per axis: all cells that it reaches are told.
pub const ORIGIN_MAX: i32 = CELL_MAX - CELL_OFFSET_MAX;

const HAS_LEAVES: u8 = 1;
const HAS_JOINS: u8 = 2;
const HAS_STATES: u8 = 4;

/// A track's number within its lane. Rests before another track gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct TrackId(pub u16);

/// The cell that a position is in: each axis shifted right by [`CELL_SHIFT`].
#[must_use]
pub fn cell_of(position: Pos) -> [i32; 3] {
    [position.x, position.y, position.z].map(|axis| axis >> CELL_SHIFT)
}

/// The cell that is told of a position: the one that it is in, but for those at the very edge of the grid.
#[must_use]
pub fn told_cell_of(position: Pos) -> [i32; 3] {
    cell_of(position).map(|axis| axis.clamp(-CELL_MAX, CELL_MAX))
}

/// The origin nearest to a cell. A track of this origin reaches the cell, if it is one that is told.
#[must_use]
pub fn origin_near(cell: [i32; 3]) -> [i32; 3] {
    cell.map(|axis| axis.clamp(-ORIGIN_MAX, ORIGIN_MAX))
}

/// The middle of a cell, as a position.
#[must_use]
pub fn middle_of(cell: [i32; 3]) -> Pos {
    let [x, y, z] = cell.map(|axis| centre(axis, CELL_SHIFT));
    Pos { x, y, z }
}

/// What a track's reader knows of it: who is in it, in the order of slots, and where they were told to be.
///
/// A pure function of the bytes read; two tracks that have read the same are equal.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Track {
    /// In cells. Members' cells are told relative to it.
    origin: [i32; 3],
    /// What most members have, so that it need not be told of each.
    generation: Generation,
    kind: KindId,
    /// Ascending, no duplicates.
    names: Vec<Name>,
    /// In the same order.
    motions: Motions,
}

/// Who a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Its slot in the lane.
    pub slot: Slot,
    /// Which life of the slot.
    pub generation: Generation,
    /// Its kind.
    pub kind: KindId,
}

/// Cells remembered of a member.
pub const SAMPLES: usize = 3;

/// How far off either way of foreseeing a member was lately: four times the mean of |x| + |z|, in cells.
///
/// Whichever was less off is foreseen next. Each is of 8 bits, in numbers of 16 for the sake of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Habit {
    /// Foreseen to go on as it went.
    steady: u16,
    /// Foreseen to stay where it is.
    still: u16,
}

/// A member that a lane puts into a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// Who.
    pub name: Name,
    /// In which cell it is now. At most [`CELL_OFFSET_MAX`] from the origin per axis.
    pub cell: [i32; 3],
    /// The cell last told of it by the track it comes from, and how many ticks ago: at least 1.
    pub before: Option<([i32; 3], u16)>,
}

/// What applying a record did.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Applied {
    /// Members that left, ascending by slot.
    pub left: Vec<Name>,
    /// Members that joined, ascending by slot.
    pub joined: Vec<Name>,
    /// States of members told, joins included.
    pub states: u32,
    /// Everybody was told.
    pub told: bool,
    /// Bits that leaves and joins took; the rest of the record is states.
    pub membership_bits: u32,
}

impl Habit {
    /// Of whom nothing is known: a walker's.
    const UNKNOWN: Self = Self {
        steady: 24,
        still: 28,
    };

    /// No foresight counts as farther off.
    const OFF_MAX: u16 = 63;
    /// From which mean on the code has one bit more. What is to be expected of a number is `mean * 11 / 128`, and its
    /// width in bits is the parameter.
    const K_STEPS: [u16; 5] = [12, 24, 47, 94, 187];

    #[inline(always)]
    fn from_line(both: i16) -> Self {
        Self {
            steady: both as u16 & 0xff,
            still: both as u16 >> 8,
        }
    }

    #[inline(always)]
    fn to_line(self) -> i16 {
        (self.steady | self.still << 8) as i16
    }

    /// The parameter of the code for what is told of it: about the binary logarithm of what to expect.
    #[inline(always)]
    fn k(self) -> u8 {
        let mean = self.steady.min(self.still);
        Self::K_STEPS.iter().map(|step| u8::from(mean >= *step)).sum()
    }

    /// Two to the power of [`Self::k`], as vectors like it.
    #[inline(always)]
    fn power(self) -> u16 {
        let mean = self.steady.min(self.still);
        let steps = Self::K_STEPS.iter().zip([1, 2, 4, 8, 16]);
        steps.fold(
            1,
            |power, (step, more)| if mean >= *step { power + more } else { power },
        )
    }

    /// Of a member's axis: it goes on, or it stays.
    #[inline(always)]
    fn foresees(self, goes: i16, stays: i16) -> i16 {
        if self.steady > self.still { stays } else { goes }
    }

    /// It was off by so much, at most [`Self::OFF_MAX`].
    #[inline(always)]
    fn learnt(self, steady: u16, still: u16) -> Self {
        let towards = |mean: u16, off: u16| mean - (mean >> 2) + off;
        Self {
            steady: towards(self.steady, steady),
            still: towards(self.still, still),
        }
    }
}

impl Track {
    /// A track without members. Begin it for its readers with a [`Self::keyframe`].
    #[must_use]
    pub fn new(origin: [i32; 3], generation: Generation, kind: KindId) -> Self {
        Self {
            origin,
            generation,
            kind,
            ..Self::default()
        }
    }

    /// In cells.
    #[must_use]
    pub fn origin(&self) -> [i32; 3] {
        self.origin
    }

    /// How many members it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nobody is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Who is in it, ascending by slot.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// Brings what a telling needs into the cache. For whoever has thousands of tracks and knows which ones come next.
    pub fn touch(&self) {
        self.motions.touch();
    }

    /// The place of the member in `slot`.
    #[must_use]
    pub fn place(&self, slot: Slot) -> Option<usize> {
        self.names.binary_search_by_key(&slot, |name| name.slot).ok()
    }

    /// How many cells are known of the member at `place`, 1 to [`SAMPLES`].
    ///
    /// # Panics
    /// If there is no such member.
    #[inline]
    #[must_use]
    pub fn samples(&self, place: usize) -> usize {
        usize::from(self.motions.stamps(place).count)
    }

    /// How many ticks before `now` its `i`-th newest cell was told. `now` is at most 65,535 ticks later.
    ///
    /// # Panics
    /// If there is no such member, or fewer cells are known.
    #[inline]
    #[must_use]
    pub fn age(&self, place: usize, i: usize, now: Tick) -> u16 {
        let stamps = self.motions.stamps(place);
        assert!(i < usize::from(stamps.count), "only so many cells are known");
        (now.0 as u16).wrapping_sub(stamps.ticks[i])
    }

    /// The ages of all newest cells, each with how many have it, which is more than one for the first only.
    pub fn ages(&self, now: Tick) -> impl Iterator<Item = (u16, usize)> {
        self.motions.ages(now)
    }

    /// The greatest age of a member's newest cell; `None` if nobody is in it.
    #[inline]
    #[must_use]
    pub fn age_max(&self, now: Tick) -> Option<u16> {
        self.motions.age_max(now)
    }

    /// The newest cells of all members less the origin, per axis, in the order of [`Self::names`].
    #[inline]
    #[must_use]
    pub fn offsets(&self) -> [&[i16]; 3] {
        self.motions.newest()
    }

    /// The `i`-th newest cell told of the member at `place`.
    ///
    /// # Panics
    /// If there is no such member, or fewer cells are known.
    #[inline]
    #[must_use]
    pub fn cell(&self, place: usize, i: usize) -> [i32; 3] {
        assert!(i < self.samples(place), "only so many cells are known");
        let offset = self.motions.offset(place, i);
        std::array::from_fn(|axis| self.origin[axis] + i32::from(offset[axis]))
    }

    /// The middle of that cell.
    ///
    /// # Panics
    /// As [`Self::cell`].
    #[inline]
    #[must_use]
    pub fn position(&self, place: usize, i: usize) -> Pos {
        middle_of(self.cell(place, i))
    }

    /// Lowest and highest newest cell per axis; `None` if nobody is in it.
    #[must_use]
    pub fn bounds(&self) -> Option<[[i32; 3]; 2]> {
        let ends = self.motions.ends()?;
        let end = |end: usize| std::array::from_fn(|axis| self.origin[axis] + i32::from(ends[axis][end]));
        Some([end(0), end(1)])
    }

    /// Those at the places `gone`, ascending, leave.
    fn remove(&mut self, gone: &[u8]) {
        let kept = close_gaps(&mut self.names, gone);
        self.names.truncate(kept);
        self.motions.remove(gone);
    }

    /// `None` if somebody has the slot.
    fn insert(&mut self, name: Name, motion: &Motion) -> Option<()> {
        let place = self
            .names
            .binary_search_by_key(&name.slot, |name| name.slot)
            .err()?;
        self.names.insert(place, name);
        self.motions.insert(place, motion);
        Some(())
    }
}

impl Hash for Track {
    /// Of what tells most tracks apart: who is in them, and where.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.origin, self.generation, self.kind, &self.names).hash(state);
        self.offsets().hash(state);
    }
}

/// The order in which the axes of a difference are coded: height last, which hardly changes.
const AXES: [(usize, u32); 3] = [(0, 3), (2, 3), (1, 0)];

#[inline]
fn zigzag(value: i32) -> u32 {
    (value << 1 ^ value >> 31) as u32
}

#[inline]
fn unzigzag(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

/// Ones that say that the number follows as it is.
const SHORT_ONES: u32 = 15;
/// Bits of such a number.
const SHORT_BITS: u32 = 18;

// Positions and cells are shifts of each other, so the middle of a cell is on every finer grid's edge or middle.
const _: () = assert!(CELL_SHIFT > grid::WIRE_SHIFT);

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
