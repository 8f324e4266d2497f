//! Bits that follow their members to other slots.
//!
//! When a side's plan says that slots have changed hands, the pairs of the touched blocks are put together anew from
//! the old ones: for each row block, the bits of the touched column blocks' slots are taken out as one word per slot
//! (over the row block's slots), handed to the slots that have them now, and turned into tiles again. Rows follow
//! word by word. What comes out is handed to the update as the pairs' states before it.

use crate::bits::{bits, transpose};
use crate::block::{NONE, SLOTS};
use crate::bounds::CHUNK;
use crate::field::{Field, STRIPE, State};
use crate::kernel::{self, Tile};
use crate::plan::Plan;
use crate::side::Side;
use rayon::prelude::*;
use std::ops::Range;

/// A pair's bits at the slots of now, as they were before the update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) row: u32,
    pub(crate) column: u32,
    /// Everybody was near everybody; then `tile` means nothing.
    pub(crate) is_inside: bool,
    pub(crate) tile: Tile,
}

/// The pairs of which a slot has changed hands, and the buffers to find them.
#[derive(Debug, Default)]
pub(crate) struct Relocations {
    /// By task, what its rows contribute. The tasks are few, because each has room for all touched blocks.
    tasks: Vec<Found>,
    /// Row blocks per task.
    share: usize,
    /// Of the rows that are touched themselves, what their halves make.
    touched: Vec<Moved>,
    /// By row block: its part of `order`.
    parts: Vec<Range<u32>>,
    /// Where the moved pairs are: by row, ascending by column.
    order: Vec<Place>,
    /// By column block: its place in what is being put together, or [`NONE`].
    place_of: Vec<u32>,
}

/// At most so many tasks at once.
const TASKS_MAX: usize = 32;

/// Where a moved pair is.
#[derive(Clone, Copy, Debug)]
struct Place {
    column: u32,
    /// The task that found it; [`NONE`] for the touched rows.
    task: u32,
    at: u32,
}

/// What one task's rows contribute.
#[derive(Debug, Default)]
struct Found {
    /// Pairs of the rows that are not touched, whichever row of the two keeps them. Ascending by the one,
    /// then the other.
    moved: Vec<Moved>,
    /// Of rows that are touched themselves: old rows, new columns. Ascending by row.
    halves: Vec<Moved>,
    /// By place among the plan's touched blocks: for each slot a word over the row's slots; all 0 where the row was
    /// out, after the last, and between rows.
    words: Vec<[u32; SLOTS]>,
    /// By place among the plan's touched blocks: everybody was near everybody.
    insides: Vec<bool>,
    /// The places in `words` that are set.
    present: Vec<u32>,
    takers: Vec<u32>,
}

impl Relocations {
    /// The moved pairs of a row block, ascending by column.
    pub(crate) fn of_row(&self, a: u32) -> impl Iterator<Item = &Moved> + Clone {
        let part = self.parts.get(a as usize).cloned().unwrap_or_default();
        let places = &self.order[part.start as usize..part.end as usize];
        places
            .iter()
            .map(|place| match self.tasks.get(place.task as usize) {
                Some(found) => &found.moved[place.at as usize],
                None => &self.touched[place.at as usize],
            })
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let found = |found: &Found| {
            (found.moved.capacity() + found.halves.capacity()) * size_of::<Moved>()
                + found.words.capacity() * size_of::<[u32; SLOTS]>()
        };
        self.touched.capacity() * size_of::<Moved>()
            + self.tasks.iter().map(found).sum::<usize>()
            + self.order.capacity() * size_of::<Place>()
            + self.parts.capacity() * size_of::<Range<u32>>()
    }

    fn clear(&mut self) {
        self.parts.clear();
        self.order.clear();
        self.touched.clear();
    }

    /// Puts all that was found in the order of rows, by counting, and of columns.
    fn arrange(&mut self, row_blocks: usize) {
        self.parts.resize(row_blocks, 0..0);
        let all = || {
            let tasks = self.tasks.iter().zip(0..).flat_map(|(found, task)| {
                found
                    .moved
                    .iter()
                    .zip(0..)
                    .map(move |(moved, at)| (moved, task, at))
            });
            tasks.chain(self.touched.iter().zip(0..).map(|(moved, at)| (moved, NONE, at)))
        };
        let mut len = 0;
        for (moved, _, _) in all() {
            self.parts[moved.row as usize].end += 1;
            len += 1;
        }
        let mut start = 0;
        for part in &mut self.parts {
            let count = part.end;
            *part = start..start;
            start += count;
        }
        let nowhere = Place {
            column: NONE,
            task: NONE,
            at: NONE,
        };
        self.order.resize(len, nowhere);
        for (moved, task, at) in all() {
            let part = &mut self.parts[moved.row as usize];
            self.order[part.end as usize] = Place {
                column: moved.column,
                task,
                at,
            };
            part.end += 1;
        }
        for part in &self.parts {
            let places = &mut self.order[part.start as usize..part.end as usize];
            if !places.is_sorted_by_key(|place| place.column) {
                places.sort_unstable_by_key(|place| place.column);
            }
        }
    }
}

impl Field {
    /// Follows the plans of both sides, which are finished.
    pub(crate) fn relocate(&mut self, rows: &Side, columns: &Side) {
        let mut relocations = std::mem::take(&mut self.relocations);
        relocations.clear();
        if !rows.plan.is_empty() || !columns.plan.is_empty() {
            let row_blocks = self.stripes.len() * STRIPE;
            relocations.share = row_blocks.div_ceil(TASKS_MAX).max(STRIPE);
            relocations.tasks.resize_with(TASKS_MAX, Found::default);
            let (field, share) = (&*self, relocations.share);
            relocations
                .tasks
                .par_iter_mut()
                .enumerate()
                .for_each(|(task, found)| {
                    found.clear();
                    for a in task * share..((task + 1) * share).min(row_blocks) {
                        field.relocate_columns(a as u32, rows, columns, found);
                    }
                });
            self.relocate_rows(rows, columns, &mut relocations);
            relocations.arrange(rows.blocks.len());
        }
        self.relocations = relocations;
    }

    /// The touched columns of one row block, as it was.
    fn relocate_columns(&self, a: u32, rows: &Side, columns: &Side, found: &mut Found) {
        let (row, _) = self.row(a).expect("a row of a stripe");
        if row.chunks.is_empty() {
            return;
        }
        let plan = &columns.plan;
        let touched_row = rows.plan.index(a);
        let members = touched_row.map_or_else(
            || rows.block(a).members,
            |at| rows.plan.touched()[at].members_before,
        );
        if found.insides.len() < plan.touched().len() {
            found.words.resize(plan.touched().len() + 1, [0; SLOTS]);
            found.insides.resize(plan.touched().len(), false);
        }
        // One step behind, while the next tile is on its way.
        let mut next = None;
        for chunk in &row.chunks {
            for bit in bits((chunk.inside | chunk.mixed) & plan.word(chunk.index as usize)) {
                let b = chunk.index * CHUNK as u32 + bit;
                let at = plan.index(b).expect("a touched block");
                let is_low = self.is_mutual && b < a;
                let state = if is_low {
                    self.state(b, a)
                } else {
                    self.state(a, b)
                };
                if let State::Mixed(tile) = state {
                    kernel::prefetch_tile(tile);
                }
                if let Some((at, state, is_low)) = next.replace((at, state, is_low)) {
                    found.take_words(plan, at, &state, is_low, members);
                }
            }
        }
        if let Some((at, state, is_low)) = next {
            found.take_words(plan, at, &state, is_low, members);
        }
        found.takers.sort_unstable();
        found.takers.dedup();
        for index in 0..found.takers.len() {
            let taker = found.takers[index] as usize;
            let b = plan.touched()[taker].block;
            let is_low = self.is_mutual && b < a && touched_row.is_none();
            let (row, column) = if is_low { (b, a) } else { (a, b) };
            let is_inside = touched_row.is_none() && found.is_inside(plan, taker, columns.block(b).members);
            let mut tile = Tile::EMPTY;
            if !is_inside {
                hand_over(
                    found.words.as_flattened(),
                    &plan.touched()[taker].source,
                    &mut tile.0,
                );
                if tile.is_empty() {
                    continue;
                }
                if !is_low {
                    transpose(&mut tile.0);
                }
            }
            let to = if touched_row.is_some() {
                &mut found.halves
            } else {
                &mut found.moved
            };
            to.push(Moved {
                row,
                column,
                is_inside,
                tile,
            });
        }
        found.forget_row();
    }

    /// The rows that are touched themselves, of which the halves have been found.
    fn relocate_rows(&self, rows: &Side, columns: &Side, relocations: &mut Relocations) {
        let Relocations {
            tasks,
            share,
            touched: moved,
            place_of,
            ..
        } = relocations;
        place_of.resize(columns.blocks.len(), NONE);
        for touched in rows.plan.touched() {
            let start = moved.len();
            let mut origins = touched.origin.map(|origin| {
                if origin == NONE {
                    NONE
                } else {
                    origin / SLOTS as u32
                }
            });
            origins.sort_unstable();
            let mut last = NONE;
            for a in origins.into_iter().filter(|a| *a != NONE) {
                if std::mem::replace(&mut last, a) == a {
                    continue;
                }
                // The row's slots that were in `a`, and where.
                let mut slots = [(0_usize, 0_usize); SLOTS];
                let mut len = 0;
                for (r, origin) in touched.origin.iter().enumerate() {
                    if *origin != NONE && *origin / SLOTS as u32 == a {
                        slots[len] = (r, *origin as usize % SLOTS);
                        len += 1;
                    }
                }
                let slots = &slots[..len];
                let mut add = |b: u32, words: &dyn Fn(usize) -> u32| {
                    let mut place = place_of[b as usize];
                    if place == NONE {
                        place = moved.len() as u32;
                        place_of[b as usize] = place;
                        moved.push(Moved {
                            row: touched.block,
                            column: b,
                            is_inside: false,
                            tile: Tile::EMPTY,
                        });
                    }
                    let tile = &mut moved[place as usize].tile;
                    slots.iter().for_each(|(r, s)| tile.0[*r] = words(*s));
                };
                let halves = &tasks[a as usize / *share].halves;
                let first = halves.partition_point(|half| half.row < a);
                for half in halves[first..].iter().take_while(|half| half.row == a) {
                    if !self.is_mutual || half.column >= touched.block {
                        add(half.column, &|s| half.tile.0[s]);
                    }
                }
                if self.is_mutual {
                    // The others were found by the other block of the pair.
                    continue;
                }
                let (row, tiles) = self.row(a).expect("it has bits");
                for chunk in &row.chunks {
                    for bit in bits((chunk.inside | chunk.mixed) & !columns.plan.word(chunk.index as usize)) {
                        let b = chunk.index * CHUNK as u32 + bit;
                        match row.state(false, tiles, a, chunk, b) {
                            State::Out => {}
                            State::Inside => add(b, &|_| columns.block(b).members),
                            State::Mixed(tile) => add(b, &|s| tile.0[s]),
                        }
                    }
                }
            }
            for moved in &moved[start..] {
                place_of[moved.column as usize] = NONE;
            }
        }
    }
}

impl Found {
    fn clear(&mut self) {
        self.moved.clear();
        self.halves.clear();
    }

    /// Takes the words of a touched block's slots, as they were; `members` are the row's. A low block is less than
    /// the row and keeps the tile of the two, whose rows are the words.
    fn take_words(&mut self, plan: &Plan, at: usize, state: &State, is_low: bool, members: u32) {
        let words = &mut self.words[at];
        match state {
            State::Out => return,
            State::Inside => *words = Tile::full(plan.touched()[at].members_before, members).0,
            State::Mixed(tile) => {
                *words = tile.0;
                if !is_low {
                    transpose(words);
                }
            }
        }
        self.insides[at] = matches!(state, State::Inside);
        self.present.push(at as u32);
        self.takers.extend(plan.takers(at).map(|taker| taker as u32));
    }

    fn forget_row(&mut self) {
        for at in self.present.drain(..) {
            self.words[at as usize] = [0; SLOTS];
            self.insides[at as usize] = false;
        }
        self.takers.clear();
    }

    /// Whether all members that a touched block has now come from blocks with everybody near everybody.
    fn is_inside(&self, plan: &Plan, taker: usize, members: u32) -> bool {
        let source = &plan.touched()[taker].source;
        bits(members.into()).all(|at| {
            let from = source[at as usize] as usize / SLOTS;
            self.insides.get(from).is_some_and(|is_inside| *is_inside)
        })
    }
}

/// The words of the slots of a touched block, at the slots of now.
#[inline]
fn hand_over(words: &[u32], source: &[u32; SLOTS], taken: &mut [u32; SLOTS]) {
    for (taken, &source) in taken.iter_mut().zip(source) {
        *taken = words[source as usize];
    }
}
