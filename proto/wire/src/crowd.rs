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
//! in 18 bits. Bits are zero-filled to the end of the last byte. [`Motion::foreseen`] and [`Habit::k`] are the rest.

pub mod message;
mod take;
mod tell;

use crate::grid::{Pos, centre};
use crate::id::{Generation, KindId, Slot};
use crate::{Tick, grid};
use bincode::{Decode, Encode};

/// Most members of a track.
pub const TRACK_MEMBERS_MAX: usize = 256;
/// `position >> CELL_SHIFT` is a member's cell: 1/4 m. Its middle is at most 1/8 m per axis off.
pub const CELL_SHIFT: u32 = 8;
/// Farthest that a member's cell may be from its track's origin, per axis: 8 km.
pub const CELL_OFFSET_MAX: i32 = i16::MAX as i32;

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

/// The middle of a cell, as a position.
#[must_use]
pub fn middle_of(cell: [i32; 3]) -> Pos {
    let [x, y, z] = cell.map(|axis| centre(axis, CELL_SHIFT));
    Pos { x, y, z }
}

/// What a track's reader knows of it: who is in it, in the order of slots, and where they were told to be.
///
/// A pure function of the bytes read; two tracks that have read the same are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Track {
    /// In cells. Members' cells are told relative to it.
    origin: [i32; 3],
    /// What most members have, so that it need not be told of each.
    generation: Generation,
    kind: KindId,
    /// Ascending, no duplicates. The other list goes along.
    names: Vec<Name>,
    motions: Vec<Motion>,
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

/// Where a member was told to be, and how it is used to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Motion {
    /// Newest first, less the origin. The first `count` are valid, the others zero.
    cells: [[i16; 3]; SAMPLES],
    /// The low 16 bits of the ticks of `cells`.
    ticks: [u16; SAMPLES],
    count: u8,
    habit: Habit,
}

/// How far off either way of foreseeing a member was lately: four times the mean of |x| + |z|, in cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Habit {
    /// Foreseen to go on as it went.
    steady: u8,
    /// Foreseen to stay where it is.
    still: u8,
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

    fn error(self) -> u8 {
        self.steady.min(self.still)
    }

    /// The parameter of the code for what is told of it: about the binary logarithm of what to expect.
    #[inline]
    fn k(self) -> u32 {
        let expected = u32::from(self.error()) * 11 / 128;
        32 - expected.leading_zeros()
    }

    #[inline]
    fn learn(&mut self, cell: [i16; 3], guesses: [[i32; 3]; 2]) {
        let off = |guess: [i32; 3]| {
            let axis = |i: usize| i32::from(cell[i]).abs_diff(guess[i]);
            (axis(0) + axis(2)).min(63) as u8
        };
        let towards = |mean: &mut u8, error: u8| *mean = *mean - *mean / 4 + error;
        towards(&mut self.steady, off(guesses[0]));
        towards(&mut self.still, off(guesses[1]));
    }
}

impl Motion {
    fn new(cell: [i16; 3], tick: Tick) -> Self {
        Self {
            cells: [cell, [0; 3], [0; 3]],
            ticks: [tick.0 as u16, 0, 0],
            count: 1,
            habit: Habit::UNKNOWN,
        }
    }

    /// How many cells are known, 1 to [`SAMPLES`].
    #[must_use]
    pub fn samples(&self) -> usize {
        usize::from(self.count)
    }

    /// How many ticks before `now` the `i`-th newest cell was told. `now` is at most 65,535 ticks later.
    #[inline]
    #[must_use]
    pub fn age(&self, i: usize, now: Tick) -> u16 {
        (now.0 as u16).wrapping_sub(self.ticks[i])
    }

    /// The `i`-th newest cell, less the track's origin.
    #[inline]
    #[must_use]
    pub fn offset(&self, i: usize) -> [i16; 3] {
        self.cells[i]
    }

    fn push(&mut self, cell: [i16; 3], tick: Tick) {
        self.cells = [cell, self.cells[0], self.cells[1]];
        self.ticks = [tick.0 as u16, self.ticks[0], self.ticks[1]];
        self.count = (self.count + 1).min(SAMPLES as u8);
    }

    /// Where it would be in `tick` if it went on as between its last two cells, and if it stayed: in whole cells,
    /// rounded towards zero. Height is foreseen to stay.
    #[inline]
    fn guesses(&self, tick: Tick) -> [[i32; 3]; 2] {
        let now = self.cells[0].map(i32::from);
        if self.count < 2 {
            return [now; 2];
        }
        let ahead = i32::from((tick.0 as u16).wrapping_sub(self.ticks[0]));
        let span = i32::from(self.ticks[0].wrapping_sub(self.ticks[1])).max(1);
        // Beyond the track's reach nobody is foreseen.
        const REACH: [i32; 2] = [i16::MIN as i32, i16::MAX as i32];
        let axis = |i: usize| {
            let went = now[i] - i32::from(self.cells[1][i]);
            if ahead == span {
                return (now[i] + went).clamp(REACH[0], REACH[1]);
            }
            // Each has at most 17 bits, so the product needs more than 32.
            let goes = i64::from(went) * i64::from(ahead) / i64::from(span);
            (i64::from(now[i]) + goes).clamp(i64::from(REACH[0]), i64::from(REACH[1])) as i32
        };
        [[axis(0), now[1], axis(2)], now]
    }

    /// What of [`Self::guesses`] is foreseen.
    #[inline]
    fn foreseen(&self, guesses: [[i32; 3]; 2]) -> [i32; 3] {
        guesses[usize::from(self.habit.steady > self.habit.still)]
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

    /// Where they were told to be, in the order of [`Self::names`].
    #[must_use]
    pub fn motions(&self) -> &[Motion] {
        &self.motions
    }

    /// The place of the member in `slot`.
    #[must_use]
    pub fn place(&self, slot: Slot) -> Option<usize> {
        self.names.binary_search_by_key(&slot, |name| name.slot).ok()
    }

    /// The `i`-th newest cell told of the member at `place`.
    ///
    /// # Panics
    /// If there is no such member, or fewer cells are known.
    #[inline]
    #[must_use]
    pub fn cell(&self, place: usize, i: usize) -> [i32; 3] {
        let motion = &self.motions[place];
        assert!(i < motion.samples(), "only so many cells are known");
        std::array::from_fn(|axis| self.origin[axis] + i32::from(motion.cells[i][axis]))
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
        let first = self.motions.first()?.cells[0];
        let (low, high) = self.motions.iter().fold((first, first), |(low, high), motion| {
            let cell = motion.cells[0];
            (
                std::array::from_fn(|i| low[i].min(cell[i])),
                std::array::from_fn(|i| high[i].max(cell[i])),
            )
        });
        let whole = |cell: [i16; 3]| std::array::from_fn(|i| self.origin[i] + i32::from(cell[i]));
        Some([whole(low), whole(high)])
    }

    fn remove(&mut self, leaves: impl Fn(&Name) -> bool) {
        let mut kept = 0;
        for place in 0..self.names.len() {
            if !leaves(&self.names[place]) {
                self.names.swap(kept, place);
                self.motions.swap(kept, place);
                kept += 1;
            }
        }
        self.names.truncate(kept);
        self.motions.truncate(kept);
    }

    /// `None` if somebody has the slot.
    fn insert(&mut self, name: Name, motion: Motion) -> Option<()> {
        let place = self
            .names
            .binary_search_by_key(&name.slot, |name| name.slot)
            .err()?;
        self.names.insert(place, name);
        self.motions.insert(place, motion);
        Some(())
    }
}

impl Motion {
    fn set_before(&mut self, cell: [i16; 3], ago: u16) {
        self.cells[1] = cell;
        self.ticks[1] = self.ticks[0].wrapping_sub(ago);
        self.count = 2;
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
mod tests;
