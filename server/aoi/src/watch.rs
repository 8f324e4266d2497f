//! A set of subjects that changes once per update, and the edges of the change.

use crate::types::Edge;
use crate::view::{bits, contains};

/// The subjects in a view, in a trap or watched by anybody: a bitset over subject ids, and what the last update
/// changed in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    words: Vec<u64>,
    /// The other buffer; between updates its contents mean nothing.
    next: Vec<u64>,
    len: u32,
    /// Sorted by subject, `Leave` first.
    edges: Vec<(u32, Edge)>,
}

impl Watch {
    /// Computes the next set. `dead` holds the subjects whose life ended since the last update: they leave, and
    /// whoever has their ids now has not been here. `fill` gets the present set without the dead and an empty
    /// one of `words_len` words to put the next into.
    pub(crate) fn advance(
        &mut self,
        words_len: usize,
        dead: Option<&[u64]>,
        fill: impl FnOnce(&[u64], &mut [u64]),
    ) {
        self.edges.clear();
        self.words.resize(words_len, 0);
        self.next.clear();
        self.next.resize(words_len, 0);
        if let Some(dead) = dead {
            for ((word, dead), first) in self.words.iter_mut().zip(dead).zip((0..).step_by(64)) {
                self.edges
                    .extend(bits(*word & dead).map(|bit| (first + bit, Edge::Leave)));
                *word &= !dead;
            }
        }
        let leaves_only = self.edges.len();
        fill(&self.words, &mut self.next);
        self.len = 0;
        for ((&old, &new), first) in self.words.iter().zip(&self.next).zip((0..).step_by(64)) {
            self.len += new.count_ones();
            for bit in bits(old ^ new) {
                let edge = if new >> bit & 1 != 0 {
                    Edge::Enter
                } else {
                    Edge::Leave
                };
                self.edges.push((first + bit, edge));
            }
        }
        if leaves_only > 0 {
            self.edges.sort_unstable();
        }
        std::mem::swap(&mut self.words, &mut self.next);
    }

    /// Empties the set without edges: whoever watched is gone.
    pub(crate) fn clear(&mut self) {
        self.words.clear();
        self.edges.clear();
        self.len = 0;
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    pub(crate) fn contains(&self, id: u32) -> bool {
        contains(&self.words, id)
    }

    pub(crate) fn edges(&self) -> &[(u32, Edge)] {
        &self.edges
    }
}
