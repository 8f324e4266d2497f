//! A side: the observers, the subjects, or those that are both, each in a slot of a block.
//!
//! Slots are given so that a block's members stand near each other, and kept as long as they do: a pair's nearness
//! is a bit at the place of the two slots. Whatever an update changes about slots goes into its [`Plan`], by which
//! the fields move their bits.

use crate::bits::bits;
use crate::block::{Block, Member, NONE, SLOTS};
use crate::bounds::{Bounds, CHUNK, Probe, above, below, enter_reach, leave_reach};
use crate::kernel::prefetch_places;
use crate::plan::Plan;
use crate::regroup::{self, Item};
use rayon::prelude::*;

/// Blocks per rayon task.
const TASK_MIN: usize = 32;

/// Newcomers up to this many look for a free slot in a block nearby; more are put into blocks of their own.
const LOOKERS_MAX: usize = 512;

/// Blocks with at least so many members say what girth is usual.
const NEARLY_FULL: u32 = 24;

/// What is mixed with fewer blocks is left as it is.
const MIXED_MIN: u32 = 4;

/// Updates from one look at the usual girth to the next.
const GIRTH_PERIOD: u32 = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Side {
    pub(crate) blocks: Vec<Block>,
    pub(crate) bounds: Bounds,
    /// The boxes around the chunks of `bounds`.
    pub(crate) chunk_bounds: Bounds,
    /// By id.
    slot_of: Vec<u32>,
    /// Blocks without members, for newcomers.
    free: Vec<u32>,
    pub(crate) plan: Plan,
    /// The usual girth of a block, in AOI units.
    pub(crate) girth: u64,
    /// How far the observers see at most, in AOI units: blocks up to that size are of use, however few stand there.
    pub(crate) reach: u32,
    /// Updates so far, wrapping.
    pub(crate) updates: u32,
    /// By block: with how many blocks of the other side it was mixed in the last update. What is mixed with none
    /// costs nothing, however far it has spread.
    pub(crate) mixed: Vec<u32>,
    /// Blocks that were not regrouped for, yet.
    pub(crate) regroup_credit: usize,
    /// By block: where it was founded. Whatever members it has later, it stays thereabouts, so that the blocks of a
    /// chunk stay near each other.
    pub(crate) homes: Vec<[i32; 3]>,
    /// Reused.
    newcomers: Vec<Member>,
    strays: Vec<u32>,
    pub(crate) scratch: regroup::Scratch,
}

impl Side {
    pub(crate) fn slot_of(&self, id: u32) -> Option<u32> {
        let slot = *self.slot_of.get(id as usize)?;
        (slot != NONE).then_some(slot)
    }

    pub(crate) fn block(&self, block: u32) -> &Block {
        &self.blocks[block as usize]
    }

    /// The block of a slot, and the place in it.
    pub(crate) fn at(&self, slot: u32) -> (&Block, u32) {
        (&self.blocks[slot as usize / SLOTS], slot % SLOTS as u32)
    }

    pub(crate) fn at_mut(&mut self, slot: u32) -> (&mut Block, u32) {
        (&mut self.blocks[slot as usize / SLOTS], slot % SLOTS as u32)
    }

    /// Takes a member away. Its slot's bits are cleared in the next update.
    pub(crate) fn remove(&mut self, id: u32) {
        let Some(slot) = self.slot_of(id) else { return };
        self.slot_of[id as usize] = NONE;
        self.plan.vacate(slot, &self.blocks);
        let (block, at) = self.at_mut(slot);
        block.take(at);
        block.summarise();
        if block.members == 0 {
            self.free.push(slot / SLOTS as u32);
        }
    }

    /// Will be given a slot in the next [`Side::settle`].
    pub(crate) fn add(&mut self, member: Member) {
        self.newcomers.push(member);
    }

    /// Takes in everybody's place, finds slots for newcomers and for those who have gone too far from their block,
    /// and regroups where blocks have spread. `positions` is by id.
    pub(crate) fn settle(&mut self, positions: &[[i32; 3]]) {
        self.updates = self.updates.wrapping_add(1);
        if self.updates.is_multiple_of(GIRTH_PERIOD) {
            self.measure_girth();
        }
        self.follow(positions);
        self.find_strays();
        self.place_newcomers();
        regroup::regroup(self);
        self.plan.finish();
        self.refit_planned();
    }

    /// Reads everybody's place.
    fn follow(&mut self, positions: &[[i32; 3]]) {
        let tasks = self.blocks.par_chunks_mut(TASK_MIN);
        tasks.for_each(|blocks| {
            for index in 0..blocks.len() {
                // Ids are all over the memory: the places of one block are asked for while another is fitted.
                if let Some(next) = blocks.get(index + 1) {
                    prefetch_places(next, positions);
                }
                let block = &mut blocks[index];
                for at in bits(block.members.into()) {
                    let i = at as usize;
                    [block.x[i], block.y[i], block.z[i]] = positions[block.id[i] as usize];
                }
                fit(block);
            }
        });
    }

    /// Makes newcomers of those who have gone so far that their block would get in everybody's way.
    fn find_strays(&mut self) {
        let mut strays = std::mem::take(&mut self.strays);
        for (block, index) in self.blocks.iter().zip(0..) {
            // As large as four usual blocks: what walks is regrouped long before.
            let usual = self.scale().max(block.girth_at_start);
            let is_wide = block.girth() > 4 * usual + 64;
            if is_wide && self.is_worth_regrouping(index) {
                regroup::find_strays(block, usual, &mut strays);
            }
        }
        for id in strays.drain(..) {
            let slot = self.slot_of[id as usize];
            let member = self.unseat(slot);
            // Or the stray would find itself in the block's box, and join it.
            self.blocks[slot as usize / SLOTS].fit();
            self.newcomers.push(member);
        }
        self.strays = strays;
    }

    /// A girth that is nothing unusual.
    pub(crate) fn scale(&self) -> u64 {
        if self.girth > 0 {
            self.girth
        } else {
            u64::from(self.reach)
        }
    }

    /// A block of this girth is cut, however few its members are. One that reaches no farther than its members see
    /// costs less than two smaller ones.
    pub(crate) fn girth_max(&self) -> u64 {
        (2 * self.girth).max(6 * u64::from(self.reach)).max(64)
    }

    /// Whether a block is mixed with more than a few blocks of the other side.
    pub(crate) fn is_worth_regrouping(&self, block: u32) -> bool {
        self.mixed
            .get(block as usize)
            .is_none_or(|mixed| *mixed >= MIXED_MIN)
    }

    fn place_newcomers(&mut self) {
        let mut newcomers = std::mem::take(&mut self.newcomers);
        if newcomers.len() <= LOOKERS_MAX {
            newcomers.retain(|member| !self.join(member));
        }
        if !newcomers.is_empty() {
            self.found_blocks(&newcomers);
            newcomers.clear();
        }
        self.newcomers = newcomers;
    }

    /// Puts a newcomer into a free slot of a block that it is in or near to, if there is one.
    fn join(&mut self, member: &Member) -> bool {
        let gap2_max = (self.scale() / 4).saturating_mul(self.scale() / 4);
        let mut best = (u64::MAX, NONE);
        let point = member.position.map(|coordinate| coordinate as f32);
        for chunk in 0..self.bounds.chunks() {
            let bounds = self.chunk_bounds.get(chunk);
            let gap = |axis: usize| {
                (bounds.low[axis] - point[axis])
                    .max(point[axis] - bounds.high[axis])
                    .max(0.0)
            };
            let gap2 = (0..3).map(|axis| gap(axis) * gap(axis)).sum::<f32>();
            if gap2 > 2.0 * gap2_max as f32 + 1e6 {
                continue;
            }
            let end = ((chunk + 1) * CHUNK).min(self.blocks.len());
            for index in chunk * CHUNK..end {
                let block = &self.blocks[index];
                if block.members == 0 || block.members == u32::MAX {
                    continue;
                }
                let gap = |axis: usize| {
                    let nearest = member.position[axis].clamp(block.low[axis], block.high[axis]);
                    u64::from(member.position[axis].abs_diff(nearest))
                };
                let gap2 = (0..3).fold(0_u64, |sum, axis| {
                    sum.saturating_add(gap(axis).saturating_mul(gap(axis)))
                });
                if gap2 <= gap2_max && gap2 < best.0 {
                    best = (gap2, index as u32);
                }
            }
        }
        if best.1 == NONE {
            return false;
        }
        let at = (!self.blocks[best.1 as usize].members).trailing_zeros();
        self.seat(member, best.1 * SLOTS as u32 + at);
        self.blocks[best.1 as usize].fit();
        true
    }

    /// Puts newcomers into blocks of their own.
    fn found_blocks(&mut self, newcomers: &[Member]) {
        let mut items = std::mem::take(&mut self.scratch.items);
        let mut leaves = std::mem::take(&mut self.scratch.leaves);
        items.clear();
        items.extend(newcomers.iter().zip(0..).map(|(member, index)| Item {
            position: member.position,
            index,
        }));
        let is_first = self.blocks.iter().all(|block| block.members == 0);
        let girth_max = if is_first { u64::MAX } else { self.girth_max() };
        regroup::split(&mut items, girth_max, &mut leaves);
        for leaf in &leaves {
            let block = self.free_block();
            for (item, at) in items[leaf.clone()].iter().zip(0..) {
                self.seat(&newcomers[item.index as usize], block * SLOTS as u32 + at);
            }
            self.found(block);
        }
        self.scratch.items = items;
        self.scratch.leaves = leaves;
        self.measure_girth();
    }

    /// The usual girth is the median of the blocks' as they were put together.
    fn measure_girth(&mut self) {
        let girths = &mut self.scratch.girths;
        girths.clear();
        let full = self
            .blocks
            .iter()
            .filter(|block| block.members.count_ones() >= NEARLY_FULL);
        girths.extend(full.map(|block| block.girth_at_start));
        let middle = girths.len() / 2;
        self.girth = if girths.is_empty() {
            0
        } else {
            *girths.select_nth_unstable(middle).1
        };
    }

    /// A block has the members that it is to have.
    pub(crate) fn found(&mut self, block: u32) {
        let index = block as usize;
        self.blocks[index].fit();
        self.blocks[index].girth_at_start = self.blocks[index].girth();
        if self.homes.len() < self.blocks.len() {
            self.homes.resize(self.blocks.len(), [0; 3]);
        }
        self.homes[index] = self.blocks[index].centre;
    }

    /// A block without members.
    pub(crate) fn free_block(&mut self) -> u32 {
        while let Some(block) = self.free.pop() {
            if self.blocks[block as usize].members == 0 {
                return block;
            }
        }
        let block = u32::try_from(self.blocks.len()).expect("blocks are fewer than ids");
        self.blocks.push(Block::EMPTY);
        self.bounds.resize(self.blocks.len());
        self.chunk_bounds.resize(self.bounds.chunks());
        block
    }

    /// Takes a member out of its slot to give it another.
    pub(crate) fn unseat(&mut self, slot: u32) -> Member {
        let origin = self.plan.vacate(slot, &self.blocks);
        let (block, at) = self.at_mut(slot);
        let member = Member {
            origin,
            ..block.member(at)
        };
        block.take(at);
        let is_empty = block.members == 0;
        if is_empty {
            self.free.push(slot / SLOTS as u32);
        }
        self.slot_of[member.id as usize] = NONE;
        member
    }

    /// Gives a member a slot that is free.
    pub(crate) fn seat(&mut self, member: &Member, slot: u32) {
        self.plan.occupy(slot, member.origin, &self.blocks);
        let (block, at) = self.at_mut(slot);
        block.put(at, member);
        let index = member.id as usize;
        if index >= self.slot_of.len() {
            self.slot_of.resize(index + 1, NONE);
        }
        self.slot_of[index] = slot;
    }

    /// Derives what the plan's changes mean for boxes and masks; then all boxes.
    fn refit_planned(&mut self) {
        for touched in self.plan.touched() {
            let block = &mut self.blocks[touched.block as usize];
            block.summarise();
            block.fit();
        }
        for (block, index) in self.blocks.iter().zip(0..) {
            let (enter, leave) = (enter_reach(block.radius_min), leave_reach(block.radius_max));
            self.bounds.set(index, &block.float_box(), enter, leave);
        }
        for chunk in 0..self.bounds.chunks() {
            let (bounds, leave) = self.bounds.unite(chunk);
            self.chunk_bounds.set(chunk, &bounds, 0.0, leave);
        }
    }

    /// What a block's members look for.
    pub(crate) fn probe(&self, block: u32, dy_limit: Option<(u32, u32)>) -> Probe {
        let members = self.block(block);
        let bounds = self.bounds.get(block as usize);
        let (dy_enter, dy_leave) = dy_limit.map_or((f32::INFINITY, f32::INFINITY), |(enter, leave)| {
            let signed = |limit: u32| i32::try_from(limit).unwrap_or(i32::MAX);
            // A limit beyond every difference of coordinates is none.
            let leave = if leave > i32::MAX as u32 {
                f32::INFINITY
            } else {
                above(signed(leave))
            };
            (below(signed(enter)), leave)
        });
        Probe {
            low: bounds.low,
            high: bounds.high,
            enter: enter_reach(members.radius_min),
            leave: leave_reach(members.radius_max),
            dy_enter,
            dy_leave,
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>()
            + self.bounds.memory_bytes()
            + self.chunk_bounds.memory_bytes()
            + self.slot_of.capacity() * size_of::<u32>()
            + self.newcomers.capacity() * size_of::<Member>()
            + self.plan.memory_bytes()
            + self.scratch.memory_bytes()
    }
}

/// [`Block::fit`], with wider vectors where the machine has them.
fn fit(block: &mut Block) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn fit_avx2(block: &mut Block) {
            block.fit();
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the feature was just found.
            return unsafe { fit_avx2(block) };
        }
    }
    block.fit();
}
