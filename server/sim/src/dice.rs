//! Chance, from the seed alone. Each part of the simulation has dice of its own, so that what one of them asks more
//! or less does not change what the others are given.

use rand::{Rng as _, SeedableRng as _};
use rand_pcg::Pcg64;
use std::ops::RangeInclusive;

/// Dice of one part of the simulation.
#[derive(Debug)]
pub(crate) struct Dice(Pcg64);

impl Dice {
    /// Those of `part` under `seed`.
    pub(crate) fn new(seed: u64, part: u64) -> Self {
        // Seeds are small numbers; the generator spreads what it is seeded with.
        Self(Pcg64::seed_from_u64(
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part.rotate_left(48),
        ))
    }

    /// A number below `end`, which is not zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(end)) >> 64) as u64
    }

    /// A number of `range`.
    pub(crate) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.below(range.end() - range.start() + 1)
    }

    /// Whether something happens that happens so often in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u32) -> bool {
        self.below(1000) < u64::from(per_mille)
    }

    /// One of `choices`, which are not empty.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}
