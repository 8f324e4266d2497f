//! Who shares a block: cutting a set of places into compact blocks, at first and again as members walk apart.
//!
//! Regrouping is spread over ticks. In each, the blocks that have spread most, up to a share of all, are put
//! together anew with their neighbours: the members of some blocks are cut into blocks again. Each new block takes
//! the number of the old one that was founded nearest, so that numbers that follow each other stay near each other,
//! and of those about as near the one that most of its members are in, so that most bits stay where they are.

use crate::block::{Block, Member, NONE, SLOTS};
use crate::bounds::CHUNK;
use crate::side::Side;
use std::ops::Range;

/// Blocks that are put together anew at a time.
const GROUP: usize = 24;

/// At most one group per this many blocks and tick.
const BLOCKS_PER_GROUP: usize = 640;

/// A block is due for regrouping when its girth is this many percent of what it was, or of the usual one.
const SPREAD_PERCENT: u64 = 160;

/// The same for a block that is mixed with hardly any other: it costs the fields nothing, and queries little.
const IDLE_SPREAD_PERCENT: u64 = 1_000;

/// With fewer members than this a block is due, if a neighbour has room.
const FEW: u32 = 12;

/// A block with few members is looked at once in so many updates: its neighbours may be too far away for long.
const MERGE_PERIOD: u32 = 32;

/// A place to be cut, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) position: [i32; 3],
    pub(crate) index: u32,
}

/// Buffers that are reused.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) items: Vec<Item>,
    pub(crate) leaves: Vec<Range<usize>>,
    /// For a leaf and a block: how far it is from the block's home, in steps, how many of its members are not in
    /// the block, the leaf, the block.
    wishes: Vec<(u64, usize, usize, u32)>,
    /// By leaf.
    block_of: Vec<u32>,
    pub(crate) girths: Vec<u64>,
    seeds: Vec<(u64, u32)>,
    near: Vec<(u64, u32)>,
    group: Vec<u32>,
    /// By block: in a group of this update already.
    taken: Vec<bool>,
    /// Who changes its block, and to which.
    places: Vec<(Member, u32)>,
}

impl Scratch {
    pub(crate) fn memory_bytes(&self) -> usize {
        self.items.capacity() * size_of::<Item>() + self.places.capacity() * size_of::<(Member, u32)>()
    }
}

/// Cuts items into runs of at most 32 with boxes as small as a cut along the longest side can make them; `leaves`
/// are the runs, in an order in which neighbours are near each other. A run whose girth is beyond `girth_max` is cut
/// further.
pub(crate) fn split(items: &mut [Item], girth_max: u64, leaves: &mut Vec<Range<usize>>) {
    leaves.clear();
    if !items.is_empty() {
        split_range(items, 0, girth_max, leaves);
    }
}

fn split_range(items: &mut [Item], first: usize, girth_max: u64, leaves: &mut Vec<Range<usize>>) {
    let sides = sides(items);
    if items.len() <= SLOTS && (items.len() == 1 || sides.iter().sum::<u64>() <= girth_max) {
        leaves.push(first..first + items.len());
        return;
    }
    let left_len = if items.len() <= SLOTS {
        items.len() / 2
    } else {
        let blocks = items.len().div_ceil(SLOTS);
        // Even shares, so that the last block is not the only one with room.
        (items.len() * (blocks / 2))
            .div_ceil(blocks)
            .min(blocks / 2 * SLOTS)
    };
    let longest = (0..3).max_by_key(|axis| sides[*axis]).expect("three axes");
    items.select_nth_unstable_by_key(left_len, |item| (item.position[longest], item.index));
    let (left, right) = items.split_at_mut(left_len);
    split_range(left, first, girth_max, leaves);
    split_range(right, first + left_len, girth_max, leaves);
}

fn sides(items: &[Item]) -> [u64; 3] {
    let (mut low, mut high) = ([i32::MAX; 3], [i32::MIN; 3]);
    for item in items {
        for axis in 0..3 {
            low[axis] = low[axis].min(item.position[axis]);
            high[axis] = high[axis].max(item.position[axis]);
        }
    }
    [0, 1, 2].map(|axis| u64::from(high[axis].abs_diff(low[axis])))
}

/// Adds the ids of those members that are farther than `girth` from the middle one.
pub(crate) fn find_strays(block: &Block, girth: u64, strays: &mut Vec<u32>) {
    let count = block.members.count_ones() as usize;
    let middle = [&block.x, &block.y, &block.z].map(|values| {
        let mut sorted = [i32::MAX; SLOTS];
        block
            .slots()
            .zip(&mut sorted)
            .for_each(|(at, sorted)| *sorted = values[at as usize]);
        sorted.sort_unstable();
        sorted[count / 2]
    });
    for at in block.slots() {
        let position = block.position(at);
        let apart: u64 = (0..3)
            .map(|axis| u64::from(position[axis].abs_diff(middle[axis])))
            .sum();
        if apart > girth + 16 {
            strays.push(block.id[at as usize]);
        }
    }
}

/// Regroups the blocks that need it most.
pub(crate) fn regroup(side: &mut Side) {
    let mut scratch = std::mem::take(&mut side.scratch);
    // What is left of a group is saved for the next update.
    side.regroup_credit += side.blocks.len();
    let groups_max = side.regroup_credit / BLOCKS_PER_GROUP;
    side.regroup_credit %= BLOCKS_PER_GROUP;
    find_seeds(side, &mut scratch.seeds, groups_max);
    scratch.taken.clear();
    scratch.taken.resize(side.blocks.len(), false);
    for index in 0..scratch.seeds.len() {
        let seed = scratch.seeds[index].1;
        if !scratch.taken[seed as usize] {
            find_group(side, seed, &mut scratch);
            put_together(side, &mut scratch);
            scratch.taken.resize(side.blocks.len(), true);
        }
    }
    side.scratch = scratch;
}

/// The blocks that have spread most, the worst first.
fn find_seeds(side: &Side, seeds: &mut Vec<(u64, u32)>, count: usize) {
    seeds.clear();
    for (block, index) in side.blocks.iter().zip(0..) {
        if block.members == 0 {
            continue;
        }
        // A block that was small for its number of members may spread to what is usual.
        let usual = block.girth_at_start.max(side.scale() / 2).max(64);
        let spread = block.girth() * 100 / usual;
        let may_merge = block.members.count_ones() < FEW
            && block.girth_at_start < side.scale().max(2 * u64::from(side.reach));
        let few = may_merge && side.updates.wrapping_add(index).is_multiple_of(MERGE_PERIOD);
        let bearable = if side.is_worth_regrouping(index) {
            SPREAD_PERCENT
        } else {
            IDLE_SPREAD_PERCENT
        };
        if spread >= bearable {
            seeds.push((spread, index));
        } else if few {
            seeds.push((SPREAD_PERCENT, index));
        }
    }
    let by_need = |seed: &(u64, u32)| (std::cmp::Reverse(seed.0), seed.1);
    if seeds.len() > count {
        seeds.select_nth_unstable_by_key(count, by_need);
        seeds.truncate(count);
    }
    seeds.sort_unstable_by_key(by_need);
}

/// The seed and the blocks nearest to it that are in no group yet.
fn find_group(side: &Side, seed: u32, scratch: &mut Scratch) {
    let near = &mut scratch.near;
    near.clear();
    let centre = side.block(seed).centre;
    let reach = 3 * side.block(seed).girth().max(side.scale()) as i64;
    for chunk in 0..side.bounds.chunks() {
        let bounds = side.chunk_bounds.get(chunk);
        let beyond = |axis: usize| {
            bounds.low[axis] - centre[axis] as f32 > reach as f32
                || centre[axis] as f32 - bounds.high[axis] > reach as f32
        };
        if (0..3).any(beyond) {
            continue;
        }
        let end = ((chunk + 1) * CHUNK).min(side.blocks.len());
        for index in chunk * CHUNK..end {
            let block = &side.blocks[index];
            if block.members == 0 || scratch.taken[index] || index as u32 == seed {
                continue;
            }
            let apart = (0..3)
                .map(|axis| u64::from(centre[axis].abs_diff(block.centre[axis])))
                .max();
            let apart = apart.expect("three axes");
            if apart <= reach as u64 {
                near.push((apart, index as u32));
            }
        }
    }
    if near.len() >= GROUP {
        near.select_nth_unstable(GROUP - 1);
        near.truncate(GROUP - 1);
    }
    near.sort_unstable();
    scratch.group.clear();
    scratch.group.push(seed);
    scratch.group.extend(near.iter().map(|(_, index)| *index));
    scratch.group.sort_unstable();
    for index in &scratch.group {
        scratch.taken[*index as usize] = true;
    }
}

/// Cuts the members of a group into blocks again.
fn put_together(side: &mut Side, scratch: &mut Scratch) {
    let Scratch {
        items,
        leaves,
        group,
        places,
        wishes,
        block_of,
        ..
    } = scratch;
    items.clear();
    for &block in group.iter() {
        let first = block * SLOTS as u32;
        for at in side.block(block).slots() {
            items.push(Item {
                position: side.block(block).position(at),
                index: first + at,
            });
        }
    }
    split(items, side.girth_max(), leaves);
    // Each leaf gets the block whose home is nearest, and of those about as near the one that most of its members
    // are in.
    let step = (side.scale() / 4).max(1);
    wishes.clear();
    for (leaf, range) in leaves.iter().enumerate() {
        let items = &items[range.clone()];
        let middle = middle(items);
        for &block in group.iter() {
            let home = side.homes[block as usize];
            let apart: u64 = (0..3)
                .map(|axis| u64::from(middle[axis].abs_diff(home[axis])))
                .sum();
            let strangers = items
                .iter()
                .filter(|item| item.index / SLOTS as u32 != block)
                .count();
            wishes.push((apart / step, strangers, leaf, block));
        }
    }
    wishes.sort_unstable();
    block_of.clear();
    block_of.resize(leaves.len(), NONE);
    for &(_, _, leaf, block) in wishes.iter() {
        if block_of[leaf] == NONE && !block_of.contains(&block) {
            block_of[leaf] = block;
        }
    }
    for leaf in 0..leaves.len() {
        while block_of[leaf] == NONE {
            let unused = group.iter().copied().find(|block| !block_of.contains(block));
            let block = unused.unwrap_or_else(|| side.free_block());
            if !block_of.contains(&block) {
                block_of[leaf] = block;
            }
        }
    }
    // Whoever changes its block leaves its slot before anybody takes one.
    places.clear();
    for (leaf, range) in leaves.iter().enumerate() {
        let block = block_of[leaf];
        for item in &items[range.clone()] {
            if item.index / SLOTS as u32 != block {
                places.push((side.unseat(item.index), block));
            }
        }
    }
    for (member, block) in places.drain(..) {
        let at = (!side.block(block).members).trailing_zeros();
        side.seat(&member, block * SLOTS as u32 + at);
    }
    for &block in block_of.iter() {
        let home = side.homes.get(block as usize).copied();
        side.found(block);
        if let Some(home) = home.filter(|_| group.contains(&block)) {
            side.homes[block as usize] = home;
        }
    }
}

/// The middle of the box around some places.
fn middle(items: &[Item]) -> [i32; 3] {
    [0, 1, 2].map(|axis| {
        let (mut low, mut high) = (i32::MAX, i32::MIN);
        for item in items {
            low = low.min(item.position[axis]);
            high = high.max(item.position[axis]);
        }
        ((i64::from(low) + i64::from(high)) >> 1) as i32
    })
}
