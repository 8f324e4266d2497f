//! The true view of one client, by brute force over the truth, tick by tick.
//!
//! Cost: nothing but a look at the observer where everybody is within the radius and nobody came or went, 0.2 us where
//! somebody did; else some 2 us per 1,000 entities.

use crate::bits::{Bits, for_each_bit};
use crate::truth::{Grid, Row, TickTruth};
use myriad_wire::Tick;

/// Which part of the world an observer sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    /// Enter radius in interest units.
    pub(crate) radius: u32,
    /// A subject is seen only if its layers meet these.
    pub(crate) sees: u32,
}

/// The true view of one client.
#[derive(Debug, Default)]
pub(crate) struct TrueView {
    /// Whoever is near, seen or not.
    near: Bits,
    members: Bits,
    /// The next tick to compute; `None` before the start.
    pub(super) next: Option<Tick>,
    /// All the living of this [`TickTruth::alive_version`] are near and seen, and nobody else.
    everybody: Option<u64>,
    /// Raised when the members change.
    pub(crate) version: u32,
}

impl TrueView {
    /// Whether it is followed at all.
    pub(crate) fn is_known(&self) -> bool {
        self.next.is_some()
    }

    pub(crate) fn members(&self) -> &Bits {
        &self.members
    }

    /// Goes on to the next tick's truth, calling `edge` for everyone who enters (`true`) or leaves. Without its
    /// observer nobody is in view.
    pub(super) fn advance(
        &mut self,
        truth: &TickTruth,
        observer: Row,
        sight: Sight,
        mut edge: impl FnMut(Row, bool),
    ) {
        self.next = Some(truth.tick + 1);
        let everybody = is_everybody_within(truth, observer, u64::from(sight.radius));
        let sees_all = truth.layers_common & sight.sees != 0;
        if everybody && sees_all && self.everybody == Some(truth.alive_version) {
            return;
        }
        self.everybody = (everybody && sees_all).then_some(truth.alive_version);
        let mut changed = false;
        let found = (!everybody)
            .then(|| near_by_grid(truth, observer, sight, &self.near))
            .flatten();
        for i in 0..truth.alive.words().max(self.near.words()) {
            let near = match &found {
                _ if everybody => truth.alive.word(i),
                Some(found) => found.word(i),
                None => near_word(truth, observer, sight, i, self.near.word(i)),
            };
            self.near.set_word(i, near);
            let old = self.members.word(i);
            let new = seen_word(truth, sight, i, near);
            if new == old {
                continue;
            }
            changed = true;
            self.members.set_word(i, new);
            for_each_bit(i, new & !old, |row| edge(row, true));
            for_each_bit(i, old & !new, |row| edge(row, false));
        }
        self.version = self.version.wrapping_add(u32::from(changed));
    }
}

/// Whether all the living are surely within `radius`: the farthest corner of their box is.
pub(super) fn is_everybody_within(truth: &TickTruth, observer: Row, radius: u64) -> bool {
    if !truth.is_alive(observer) {
        return false;
    }
    let farthest: i128 = (0..3)
        .map(|axis| {
            let at = i128::from(truth.aoi[axis][observer as usize]);
            let reach = (at - i128::from(truth.low[axis])).max(i128::from(truth.high[axis]) - at);
            reach * reach
        })
        .sum();
    farthest <= i128::from(radius).pow(2)
}

/// Squared radii in interest units: who is within the first one enters, who is within the second one stays.
fn radii2(sight: Sight) -> (u64, u64) {
    let enter2 = u64::from(sight.radius).pow(2);
    // 100 d2 <= 121 r2, for whole numbers.
    (
        enter2,
        (u128::from(enter2) * 121 / 100).min(u128::from(u64::MAX)) as u64,
    )
}

/// Who is near, of whom `old` were before. `None` if it must be found among everybody.
pub(super) fn near_by_grid(truth: &TickTruth, observer: Row, sight: Sight, old: &Bits) -> Option<Bits> {
    let (enter2, leave2) = radii2(sight);
    let mut near = Bits::default();
    within(truth, observer, leave2, |row, d2| {
        if d2 <= enter2 || old.contains(row) {
            near.insert(row);
        }
    })
    .then_some(near)
}

/// Calls `each` with everybody at most the square root of `limit2` away. `false` if the truth has no grid for that.
pub(super) fn within(truth: &TickTruth, observer: Row, limit2: u64, each: impl FnMut(Row, u64)) -> bool {
    let Some(grid) = truth.grid.as_ref().filter(|_| Grid::reaches(limit2)) else {
        return false;
    };
    if truth.is_alive(observer) {
        let from = std::array::from_fn(|axis| truth.aoi[axis][observer as usize]);
        grid.each_within(from, limit2, each);
    }
    true
}

/// Who is near among the rows of word `i`, of which `old` were before.
pub(super) fn near_word(truth: &TickTruth, observer: Row, sight: Sight, i: usize, old: u64) -> u64 {
    let (enter2, leave2) = radii2(sight);
    let mut word = 0;
    for_each_distance2(truth, observer, i, |bit, d2| {
        if d2 <= if old & bit != 0 { leave2 } else { enter2 } {
            word |= bit;
        }
    });
    word
}

/// Calls `each` with the bit and the squared distance of the living among the rows of word `i`.
pub(super) fn for_each_distance2(truth: &TickTruth, observer: Row, i: usize, mut each: impl FnMut(u64, u64)) {
    if !truth.is_alive(observer) {
        return;
    }
    let centre: [i32; 3] = std::array::from_fn(|axis| truth.aoi[axis][observer as usize]);
    for_each_bit(i, truth.alive.word(i), |row| {
        let (row, bit) = (row as usize, 1 << (row % u64::BITS));
        // Each square fits; a sum that does not is beyond every radius.
        let d2 = (0..3).fold(0u64, |sum, axis| {
            sum.saturating_add(u64::from(truth.aoi[axis][row].abs_diff(centre[axis])).pow(2))
        });
        each(bit, d2);
    });
}

/// Who is seen of the living in `near`, rows of word `i`.
pub(super) fn seen_word(truth: &TickTruth, sight: Sight, i: usize, near: u64) -> u64 {
    if truth.layers_common & sight.sees != 0 {
        return near;
    }
    let mut word = 0;
    for_each_bit(i, near, |row| {
        let meets = truth.layers[row as usize] & sight.sees != 0;
        word |= u64::from(meets) << (row % u64::BITS);
    });
    word
}
