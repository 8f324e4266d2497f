//! The arithmetic of a telling, block by block: what is foreseen, and what is learnt once it is told.
//!
//! Both are loops over the [`BLOCK`] members of a block without branches, in numbers of 16 bits, so that they become a
//! few vector instructions of any x86-64. Between them the reader takes the differences off the bits, which is the only
//! part that goes member by member.

use super::Habit;
use super::motions::{BLOCK, Line, Motion, Odd, Rows, Stamps};
use crate::Tick;
use crate::bits::ShortParts;

/// Where the members of a block would be if they went on as they went, and how the differences are coded.
pub(super) struct Foreseen {
    /// Whoever goes on: x and z.
    pub(super) goes: [Line; 2],
    /// The parameters of the codes.
    pub(super) k: [u8; BLOCK],
}

/// Differences from what is foreseen, as they are coded, in the order in which they are: x, z, y. Those that need more
/// than 16 bits are cut.
pub(super) type Differences = [ShortParts<BLOCK>; 3];

/// How far members go on, as a fraction of how far they went between their last two cells.
#[derive(Clone, Copy)]
pub(super) enum Pace {
    Stays,
    AsBefore,
    Fraction { ahead: u16, span: u16 },
}

impl Pace {
    fn new(stamps: &Stamps, tick: Tick) -> Self {
        if stamps.count < 2 {
            return Self::Stays;
        }
        let ahead = (tick.0 as u16).wrapping_sub(stamps.ticks[0]);
        let span = stamps.ticks[0].wrapping_sub(stamps.ticks[1]).max(1);
        if ahead == span {
            Self::AsBefore
        } else {
            Self::Fraction { ahead, span }
        }
    }

    /// In whole cells, rounded towards zero, and no farther than the track's reach.
    #[inline(always)]
    fn goes(self, now: i16, before: i16) -> i16 {
        match self {
            Self::Stays => now,
            // Saturating twice gives what clamping the exact number gives: the difference saturates only if `now` has
            // the same sign, and then so does the sum.
            Self::AsBefore => now.saturating_add(now.saturating_sub(before)),
            Self::Fraction { ahead, span } => {
                let went = i32::from(now) - i32::from(before);
                // Exact: of two whole numbers below 2^33 and 2^16 the quotient is nowhere so near to the next whole
                // number that doubles could not tell. What 32 bits do not hold is beyond reach either way.
                let goes = (f64::from(went) * f64::from(ahead) / f64::from(span)) as i32;
                let reached = i32::from(now).saturating_add(goes);
                reached.clamp(i16::MIN.into(), i16::MAX.into()) as i16
            }
        }
    }
}

/// What is foreseen of the members, before `tick` is told.
#[derive(Clone, Copy)]
pub(super) struct Prophet<'a> {
    tick: Tick,
    pace: Pace,
    /// Those who are not in blocks before the next one.
    odd: &'a [Odd],
}

impl<'a> Prophet<'a> {
    pub(super) fn new(tick: Tick, rows: &Rows<'a>) -> Self {
        Self {
            tick,
            pace: Pace::new(&rows.usual, tick),
            odd: rows.odd,
        }
    }

    /// Of the members of the `block`-th block. Blocks are asked about one by one.
    #[inline(always)]
    pub(super) fn foresee(&mut self, rows: &Rows<'_>, block: usize) -> Foreseen {
        let x = (&rows.now[0][block], &rows.before[0][block]);
        let z = (&rows.now[2][block], &rows.before[1][block]);
        let mut foreseen = Foreseen {
            goes: [go_on(self.pace, x), go_on(self.pace, z)],
            k: ks(&rows.habits[block]),
        };
        while let Some((odd, rest)) = self.odd.split_first()
            && usize::from(odd.place) / BLOCK == block
        {
            self.odd = rest;
            let pace = Pace::new(&odd.stamps, self.tick);
            let i = usize::from(odd.place) % BLOCK;
            for (goes, (now, before)) in foreseen.goes.iter_mut().zip([x, z]) {
                goes[i] = pace.goes(now[i], before[i]);
            }
        }
        foreseen
    }
}

/// The match stands outside of the loops, so that each is one of vectors.
#[inline(always)]
fn go_on(pace: Pace, (now, before): (&Line, &Line)) -> Line {
    match pace {
        Pace::Stays => *now,
        Pace::AsBefore => std::array::from_fn(|i| Pace::AsBefore.goes(now[i], before[i])),
        Pace::Fraction { .. } => std::array::from_fn(|i| pace.goes(now[i], before[i])),
    }
}

#[inline(always)]
fn ks(habits: &Line) -> [u8; BLOCK] {
    std::array::from_fn(|i| Habit::from_line(habits[i]).k())
}

/// Which cell is foreseen of the `i`-th member of the block.
pub(super) fn expected(rows: &Rows<'_>, block: usize, foreseen: &Foreseen, i: usize) -> [i16; 3] {
    let habit = Habit::from_line(rows.habits[block][i]);
    let [x, y, z] = [0, 1, 2].map(|axis| rows.now[axis][block][i]);
    [
        habit.foresees(foreseen.goes[0][i], x),
        y,
        habit.foresees(foreseen.goes[1][i], z),
    ]
}

/// One bit for each member of the block that begins at `first` and is among `aside`, ascending.
#[inline(always)]
pub(super) fn aside_in(first: usize, aside: &[(usize, Motion)]) -> u32 {
    if aside.is_empty() {
        return 0;
    }
    let from = aside.partition_point(|(place, _)| *place < first);
    let within = aside[from..]
        .iter()
        .take_while(|(place, _)| *place < first + BLOCK);
    within.fold(0, |bits, (place, _)| bits | 1 << (place - first))
}

/// What is told of x and z of the members of a block takes effect: writes the next ones, and what is learnt of their
/// habits. Answers what is not zero for those whose cell is beyond the track's reach; what is written of them is of no
/// use.
#[inline(always)]
pub(super) fn learn(rows: &mut Rows<'_>, block: usize, foreseen: &Foreseen, told: &Differences) -> Line {
    let stay = [&rows.now[0][block], &rows.now[2][block]];
    let habits = &mut rows.habits[block];
    let mut next = [[0i16; BLOCK]; 2];
    let mut beyond = [0i16; BLOCK];
    for i in 0..BLOCK {
        let habit = Habit::from_line(habits[i]);
        let power = habit.power();
        let goes = [foreseen.goes[0][i], foreseen.goes[1][i]];
        let stays = [stay[0][i], stay[1][i]];
        for axis in 0..2 {
            let expected = habit.foresees(goes[axis], stays[axis]);
            let difference = unzigzag(told[axis].number(i, power));
            next[axis][i] = expected.wrapping_add(difference);
            beyond[i] |= next[axis][i] ^ expected.saturating_add(difference);
        }
        let cell = [next[0][i], next[1][i]];
        habits[i] = habit.learnt(off(cell, goes), off(cell, stays)).to_line();
    }
    [rows.next[0][block], rows.next[2][block]] = next;
    beyond
}

/// The same for their heights, which are foreseen to stay.
#[inline(always)]
pub(super) fn climb(rows: &mut Rows<'_>, block: usize, told: &Differences) -> Line {
    let now = &rows.now[1][block];
    let mut beyond = [0i16; BLOCK];
    let next = &mut rows.next[1][block];
    for i in 0..BLOCK {
        let difference = unzigzag(told[2].number(i, 2));
        next[i] = now[i].wrapping_add(difference);
        beyond[i] = next[i] ^ now[i].saturating_add(difference);
    }
    beyond
}

/// By how much either foresight was off.
#[inline(always)]
fn off(cell: [i16; 2], guess: [i16; 2]) -> u16 {
    let axis = |i: usize| cell[i].abs_diff(guess[i]);
    axis(0).saturating_add(axis(1)).min(Habit::OFF_MAX)
}

#[inline(always)]
fn unzigzag(value: u16) -> i16 {
    (value >> 1) as i16 ^ -((value & 1) as i16)
}
