//! What an update changed about the slots of a side: where the bits of each slot of a touched block come from.

use crate::block::{Block, NONE, SLOTS};
use crate::bounds::CHUNK;
use std::ops::Range;

/// See the module. Between updates it is empty.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// By block: its place in `touched`, or [`NONE`].
    index_of: Vec<u32>,
    /// After [`Plan::finish`] ascending by block.
    touched: Vec<Touched>,
    /// By chunk: the touched blocks. Made by [`Plan::finish`].
    words: Vec<u64>,
    /// Places in `touched`: a block, and one that took over bits of it. Sorted, made by [`Plan::finish`].
    moves: Vec<(u32, u32)>,
    /// By place in `touched`: the part of `moves` with it as the first.
    moves_of: Vec<Range<u32>>,
}

/// A block of which some slot has changed hands.
#[derive(Clone, Debug)]
pub(crate) struct Touched {
    pub(crate) block: u32,
    /// The slots that were in use when the fields were last updated.
    pub(crate) members_before: u32,
    /// By slot: the slot that had its member's bits then, or [`NONE`] for a slot that has none.
    pub(crate) origin: [u32; SLOTS],
    /// The same, with places among the touched blocks in place of blocks; the place after the last for [`NONE`].
    /// Made by [`Plan::finish`].
    pub(crate) source: [u32; SLOTS],
}

impl Plan {
    fn touch(&mut self, block: u32, blocks: &[Block]) -> &mut Touched {
        if self.index_of.len() < blocks.len() {
            self.index_of.resize(blocks.len(), NONE);
        }
        let mut index = self.index_of[block as usize];
        if index == NONE {
            index = self.touched.len() as u32;
            self.index_of[block as usize] = index;
            let members = blocks[block as usize].members;
            let first = block * SLOTS as u32;
            self.touched.push(Touched {
                block,
                members_before: members,
                origin: std::array::from_fn(|at| {
                    if members >> at & 1 != 0 {
                        first + at as u32
                    } else {
                        NONE
                    }
                }),
                source: [0; SLOTS],
            });
        }
        &mut self.touched[index as usize]
    }

    /// A slot, in use still, is about to lose its member. Returns the slot that has the member's bits.
    pub(crate) fn vacate(&mut self, slot: u32, blocks: &[Block]) -> u32 {
        let touched = self.touch(slot / SLOTS as u32, blocks);
        std::mem::replace(&mut touched.origin[slot as usize % SLOTS], NONE)
    }

    /// A slot, free still, is about to get a member whose bits are at `origin`.
    pub(crate) fn occupy(&mut self, slot: u32, origin: u32, blocks: &[Block]) {
        let touched = self.touch(slot / SLOTS as u32, blocks);
        touched.origin[slot as usize % SLOTS] = origin;
    }

    /// Makes what the fields read. Nothing may be touched any more.
    pub(crate) fn finish(&mut self) {
        self.touched.sort_unstable_by_key(|touched| touched.block);
        self.words.clear();
        self.words.resize(self.index_of.len().div_ceil(CHUNK), 0);
        self.moves.clear();
        self.moves_of.clear();
        for (touched, index) in self.touched.iter().zip(0..) {
            self.index_of[touched.block as usize] = index;
            self.words[touched.block as usize / CHUNK] |= 1 << (touched.block as usize % CHUNK);
        }
        let none = (self.touched.len() * SLOTS) as u32;
        for touched in &mut self.touched {
            for (source, origin) in touched.source.iter_mut().zip(touched.origin) {
                *source = match origin {
                    NONE => none,
                    _ => self.index_of[origin as usize / SLOTS] * SLOTS as u32 + origin % SLOTS as u32,
                };
            }
        }
        for (touched, index) in self.touched.iter().zip(0..) {
            let start = self.moves.len();
            for origin in touched.origin.iter().filter(|origin| **origin != NONE) {
                let from = self.index_of[*origin as usize / SLOTS];
                if !self.moves[start..].contains(&(from, index)) {
                    self.moves.push((from, index));
                }
            }
        }
        self.moves.sort_unstable();
        let mut start = 0;
        for index in 0..self.touched.len() as u32 {
            let len = self.moves[start..]
                .iter()
                .take_while(|(from, _)| *from == index)
                .count();
            self.moves_of.push(start as u32..(start + len) as u32);
            start += len;
        }
    }

    /// Everything was taken in by everybody.
    pub(crate) fn clear(&mut self) {
        for touched in self.touched.drain(..) {
            self.index_of[touched.block as usize] = NONE;
        }
        self.words.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    pub(crate) fn touched(&self) -> &[Touched] {
        &self.touched
    }

    /// A block's place in [`Plan::touched`].
    pub(crate) fn index(&self, block: u32) -> Option<usize> {
        let index = *self.index_of.get(block as usize)?;
        (index != NONE).then_some(index as usize)
    }

    /// The touched blocks of a chunk.
    pub(crate) fn word(&self, chunk: usize) -> u64 {
        self.words.get(chunk).copied().unwrap_or(0)
    }

    /// The places of those touched blocks that took over bits from the one at a place, ascending.
    pub(crate) fn takers(&self, index: usize) -> impl Iterator<Item = usize> + use<'_> {
        let range = self.moves_of[index].start as usize..self.moves_of[index].end as usize;
        self.moves[range].iter().map(|(_, to)| *to as usize)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.touched.capacity() * size_of::<Touched>() + self.index_of.capacity() * size_of::<u32>()
    }
}
