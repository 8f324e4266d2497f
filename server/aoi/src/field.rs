//! A field: which slots of one side are near which slots of another, kept from update to update.
//!
//! Every pair of a row block and a column block is in one of three states: out (nobody is near anybody), inside
//! (everybody is near everybody), or mixed, with a tile of 32 x 32 bits. Only those that are not out are listed. An
//! update finds for each row block, by boxes alone, which column blocks are inside or mixed now, and visits those
//! pairs that are mixed, were mixed, or went from one state to another. All that is in and stays in, or is out and
//! stays out, costs a bit.
//!
//! Where rows and columns are one and the same side (*mutual*), the tile of `(a, b)` serves `(b, a)` as well: it is
//! kept by the lesser of the two, and one bit that changes is an edge for both.
//!
//! The rows are cut into stripes, which share nothing, so that they can be updated in parallel; the number of stripes
//! does not depend on the number of threads, and neither does the order of the events.

use crate::bits::{bits, column};
use crate::block::{Block, SLOTS};
use crate::bounds::{CHUNK, FloatBox, Probe};
use crate::emit::{Ground, emit};
use crate::kernel::{self, Tile};
use crate::relocate::{Moved, Relocations};
use crate::side::Side;
use rayon::prelude::*;

/// Room for so many events is never given back.
const EVENTS_MIN: usize = 64;

/// Row blocks per stripe.
pub(crate) const STRIPE: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct Field {
    /// Rows and columns are one side.
    pub(crate) is_mutual: bool,
    pub(crate) stripes: Vec<Stripe>,
    pub(crate) relocations: Relocations,
}

/// Some row blocks, what they are near, and the edges of the last update.
#[derive(Debug, Default)]
pub(crate) struct Stripe {
    pub(crate) rows: [Row; STRIPE],
    pub(crate) tiles: Tiles,
    pub(crate) events: Vec<u64>,
    scratch: Scratch,
}

/// What one row block is near.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// Ascending by index, none of them empty.
    pub(crate) chunks: Vec<Chunk>,
    /// The places in [`Tiles`] of the row's own tiles, ascending by column block.
    pub(crate) places: Vec<u32>,
    /// How many column blocks are mixed, whoever keeps their tiles.
    pub(crate) mixed: u32,
}

/// The states of 64 column blocks towards one row block. In neither word: out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk {
    /// Holds the column blocks `64 index ..`.
    pub(crate) index: u32,
    /// The place in [`Row::places`] of the first mixed block's tile; the others follow. Blocks whose tiles are kept
    /// by them are not counted.
    first: u32,
    pub(crate) inside: u64,
    pub(crate) mixed: u64,
}

/// The tiles of a stripe. Those that are free are reused before there are more.
#[derive(Debug, Default)]
pub(crate) struct Tiles {
    tiles: Vec<Tile>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Scratch {
    /// The row as it was.
    row: Row,
    /// Chunks that some row of the stripe may reach.
    candidates: Vec<u32>,
    /// Chunks to look at for one row.
    chunks: Vec<u32>,
}

/// A pair's state.
#[derive(Clone, Copy, Debug)]
pub(crate) enum State<'a> {
    Out,
    Inside,
    Mixed(&'a Tile),
}

impl Tiles {
    fn put(&mut self, tile: &Tile) -> u32 {
        if let Some(place) = self.free.pop() {
            self.tiles[place as usize] = *tile;
            return place;
        }
        if self.tiles.len() == self.tiles.capacity() {
            // Twice at once, so that a steady crowd does not come back for more.
            let more = self.tiles.len().max(8);
            self.tiles.reserve_exact(more);
            self.free.reserve_exact(2 * more);
        }
        self.tiles.push(*tile);
        (self.tiles.len() - 1) as u32
    }

    fn free(&mut self, place: u32) {
        self.free.push(place);
    }

    pub(crate) fn get(&self, place: u32) -> &Tile {
        &self.tiles[place as usize]
    }
}

impl Chunk {
    /// Those bits of `word` whose tiles row block `a` keeps itself.
    fn own(is_mutual: bool, a: u32, index: u32) -> u64 {
        let first = index as usize * CHUNK;
        let a = a as usize;
        if !is_mutual || first >= a {
            u64::MAX
        } else if first + CHUNK <= a {
            0
        } else {
            u64::MAX << (a - first)
        }
    }
}

impl Field {
    pub(crate) fn new(is_mutual: bool) -> Self {
        Self {
            is_mutual,
            stripes: Vec::new(),
            relocations: Relocations::default(),
        }
    }

    /// Brings all pairs up to date. The sides have settled, and [`Field::relocate`] has followed.
    pub(crate) fn update(&mut self, ground: &Ground) {
        let stripes = ground.rows.blocks.len().div_ceil(STRIPE);
        if self.stripes.len() < stripes {
            self.stripes.resize_with(stripes, Stripe::default);
        }
        let (is_mutual, moved) = (self.is_mutual, &self.relocations);
        self.stripes
            .par_iter_mut()
            .enumerate()
            .for_each(|(index, stripe)| stripe.update((index * STRIPE) as u32, is_mutual, ground, moved));
    }

    /// By row block: with how many column blocks it is mixed.
    pub(crate) fn mixed(&self) -> impl Iterator<Item = u32> + use<'_> {
        self.stripes
            .iter()
            .flat_map(|stripe| stripe.rows.iter().map(|row| row.mixed))
    }

    pub(crate) fn row(&self, a: u32) -> Option<(&Row, &Tiles)> {
        let stripe = self.stripes.get(a as usize / STRIPE)?;
        Some((&stripe.rows[a as usize % STRIPE], &stripe.tiles))
    }

    /// The state of a pair that row block `a` keeps: if the field is mutual, `a <= b`.
    pub(crate) fn state(&self, a: u32, b: u32) -> State<'_> {
        let Some((row, tiles)) = self.row(a) else {
            return State::Out;
        };
        let index = b / CHUNK as u32;
        let Ok(at) = row.chunks.binary_search_by_key(&index, |chunk| chunk.index) else {
            return State::Out;
        };
        row.state(self.is_mutual, tiles, a, &row.chunks[at], b)
    }

    /// Every block with members near the row slot `slot`, and which members.
    pub(crate) fn near_blocks<'a>(
        &'a self,
        columns: &'a Side,
        slot: u32,
    ) -> impl Iterator<Item = (u32, u32)> + use<'a> {
        let (a, r) = (slot / SLOTS as u32, slot % SLOTS as u32);
        let row = self.row(a).into_iter();
        let chunks = row.flat_map(|(row, tiles)| row.chunks.iter().map(move |chunk| (row, tiles, chunk)));
        chunks.flat_map(move |(row, tiles, chunk)| {
            let blocks = bits(chunk.inside | chunk.mixed).map(|bit| chunk.index * CHUNK as u32 + bit);
            blocks.filter_map(move |b| {
                let members = columns.block(b).members;
                let near = if self.is_mutual && b < a {
                    match self.state(b, a) {
                        State::Out => 0,
                        State::Inside => members,
                        State::Mixed(tile) => column(&tile.0, r) & members,
                    }
                } else {
                    match row.state(self.is_mutual, tiles, a, chunk, b) {
                        State::Out => 0,
                        State::Inside => members,
                        State::Mixed(tile) => tile.0[r as usize] & members,
                    }
                };
                (near != 0).then_some((b, near))
            })
        })
    }

    /// Calls `found(block, members)` for every row block with members near the column slot `slot`.
    pub(crate) fn each_near_row(&self, rows: &Side, slot: u32, mut found: impl FnMut(u32, u32)) {
        if self.is_mutual {
            return self
                .near_blocks(rows, slot)
                .for_each(|(block, members)| found(block, members));
        }
        let (b, c) = (slot / SLOTS as u32, slot % SLOTS as u32);
        for (block, a) in rows.blocks.iter().zip(0..) {
            let near = match self.state(a, b) {
                State::Out => 0,
                State::Inside => block.members,
                State::Mixed(tile) => column(&tile.0, c) & block.members,
            };
            if near != 0 {
                found(a, near);
            }
        }
    }

    /// Whether a row slot and a column slot, both in use, are near.
    pub(crate) fn is_near(&self, row: u32, column: u32) -> bool {
        let (row, column) = if self.is_mutual && column / SLOTS as u32 <= row / SLOTS as u32 {
            (column, row)
        } else {
            (row, column)
        };
        match self.state(row / SLOTS as u32, column / SLOTS as u32) {
            State::Out => false,
            State::Inside => true,
            State::Mixed(tile) => tile.0[row as usize % SLOTS] >> (column % SLOTS as u32) & 1 != 0,
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let bytes = |stripe: &Stripe| {
            let rows: usize = stripe.rows.iter().map(Row::memory_bytes).sum();
            rows + stripe.tiles.tiles.capacity() * size_of::<Tile>()
                + stripe.tiles.free.capacity() * size_of::<u32>()
                + stripe.events.capacity() * size_of::<u64>()
                + stripe.scratch.row.memory_bytes()
                + size_of::<Stripe>()
        };
        self.stripes.iter().map(bytes).sum::<usize>() + self.relocations.memory_bytes()
    }
}

impl Row {
    fn memory_bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<Chunk>() + self.places.capacity() * size_of::<u32>()
    }

    /// The state of a pair that this row keeps. `b` is in `chunk`.
    pub(crate) fn state<'a>(
        &self,
        is_mutual: bool,
        tiles: &'a Tiles,
        a: u32,
        chunk: &Chunk,
        b: u32,
    ) -> State<'a> {
        let bit = 1_u64 << (b as usize % CHUNK);
        if chunk.inside & bit != 0 {
            State::Inside
        } else if chunk.mixed & bit != 0 {
            let before = chunk.mixed & Chunk::own(is_mutual, a, chunk.index) & (bit - 1);
            State::Mixed(tiles.get(self.places[(chunk.first + before.count_ones()) as usize]))
        } else {
            State::Out
        }
    }
}

impl Stripe {
    fn update(&mut self, first: u32, is_mutual: bool, ground: &Ground, moved: &Relocations) {
        self.events.clear();
        let blocks = ground.rows.blocks.len() as u32;
        let end = (first + STRIPE as u32).min(blocks);
        let mut all = FloatBox::EMPTY;
        let mut reach = 0.0_f32;
        for a in first..end {
            all.unite(&ground.rows.bounds.get(a as usize));
            reach = reach.max(ground.rows.probe(a, None).leave);
        }
        let probe = Probe {
            low: all.low,
            high: all.high,
            enter: 0.0,
            leave: reach,
            dy_enter: f32::INFINITY,
            dy_leave: f32::INFINITY,
        };
        let columns = ground.columns;
        self.scratch.candidates.clear();
        for chunk in 0..columns.chunk_bounds.chunks() {
            let (_, near) = columns.chunk_bounds.classify(ground.kernel, chunk, &probe);
            let first = (chunk * CHUNK) as u32;
            self.scratch.candidates.extend(bits(near).map(|bit| first + bit));
        }
        for a in first..end {
            self.update_row(a, is_mutual, ground, moved.of_row(a));
        }
        let len = self.events.len();
        if self.events.capacity() > 16 * len.max(EVENTS_MIN) {
            // A storm is over.
            self.events.shrink_to(4 * len.max(EVENTS_MIN));
        }
        if 2 * len > self.events.capacity() {
            // Twice what was needed, so that a steady crowd does not come back for more.
            self.events.reserve_exact(4 * len - len);
        }
    }

    /// One row block against all column blocks. `moved` are its pairs of which a slot has changed hands.
    fn update_row<'a>(
        &mut self,
        a: u32,
        is_mutual: bool,
        ground: &Ground,
        moved: impl Iterator<Item = &'a Moved> + Clone,
    ) {
        let mut moved = moved.peekable();
        let row = &mut self.rows[a as usize % STRIPE];
        let old = &mut self.scratch.row;
        std::mem::swap(row, old);
        row.chunks.clear();
        row.places.clear();
        row.mixed = 0;
        reserve_twice(&mut row.chunks, old.chunks.len());
        reserve_twice(&mut row.places, old.places.len());
        let rows = ground.rows.block(a);
        let all_touched = ground.rows.plan.index(a).is_some();
        let probe = ground.rows.probe(a, ground.dy_limit);

        let chunks = &mut self.scratch.chunks;
        chunks.clear();
        if rows.members != 0 {
            chunks.extend_from_slice(&self.scratch.candidates);
        }
        chunks.extend(old.chunks.iter().map(|chunk| chunk.index));
        chunks.extend(moved.clone().map(|moved| moved.column / CHUNK as u32));
        chunks.sort_unstable();
        chunks.dedup();

        let mut changes = Tile::EMPTY;
        let mut old_chunks = old.chunks.as_slice();
        for &index in chunks.iter() {
            let was = match old_chunks.split_first() {
                Some((chunk, rest)) if chunk.index == index => {
                    old_chunks = rest;
                    *chunk
                }
                _ => Chunk {
                    index,
                    first: 0,
                    inside: 0,
                    mixed: 0,
                },
            };
            let (inside, near) = if rows.members == 0 {
                (0, 0)
            } else {
                ground
                    .columns
                    .bounds
                    .classify(ground.kernel, index as usize, &probe)
            };
            let mixed = near & !inside;
            row.mixed += mixed.count_ones();
            if near != 0 {
                row.chunks.push(Chunk {
                    index,
                    first: row.places.len() as u32,
                    inside,
                    mixed,
                });
            }
            let own = Chunk::own(is_mutual, a, index);
            let touched = if all_touched {
                u64::MAX
            } else {
                ground.columns.plan.word(index as usize)
            };
            let here = moved
                .clone()
                .take_while(|moved| moved.column / CHUNK as u32 == index);
            let moved_bits = here.fold(0_u64, |word, moved| word | 1 << (moved.column as usize % CHUNK));
            let mut was_inside = was.inside & !touched;
            let work = own & (mixed | was.mixed | moved_bits | (was_inside ^ inside));
            let mut old_place = was.first as usize;
            let mut rest = work;
            while rest != 0 {
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                if rest != 0 {
                    kernel::prefetch_columns(
                        ground.columns.block(index * CHUNK as u32 + rest.trailing_zeros()),
                    );
                    let next = old_place + usize::from(was.mixed >> bit & 1 != 0);
                    if let Some(place) = old.places.get(next) {
                        kernel::prefetch_tile(self.tiles.get(*place));
                    }
                }
                let is = |word: u64| word >> bit & 1 != 0;
                let columns = ground.columns.block(index * CHUNK as u32 + bit);
                let mut place = None;
                if is(was.mixed) {
                    let kept = old.places[old_place];
                    old_place += 1;
                    if is(touched) {
                        self.tiles.free(kept);
                    } else {
                        place = Some(kept);
                    }
                }
                if is(moved_bits) {
                    let moved = moved.next().expect("one for every bit");
                    if moved.is_inside {
                        was_inside |= 1 << bit;
                    } else {
                        place = Some(self.tiles.put(&moved.tile));
                    }
                }
                let full = || Tile::full(rows.members, columns.members);
                if is(mixed) {
                    let before = || if is(was_inside) { full() } else { Tile::EMPTY };
                    let place = place.unwrap_or_else(|| self.tiles.put(&before()));
                    row.places.push(place);
                    let tile = &mut self.tiles.tiles[place as usize];
                    let changed =
                        kernel::update(ground.kernel, rows, columns, ground.dy_limit, tile, &mut changes);
                    if changed != 0 {
                        emit(
                            &mut self.events,
                            ground,
                            is_mutual,
                            (a, rows),
                            columns,
                            changed,
                            &changes,
                            tile,
                        );
                    }
                    continue;
                }
                if place.is_none() && is(was_inside) == is(inside) {
                    continue;
                }
                let mut tile = match place {
                    Some(place) => {
                        self.tiles.free(place);
                        *self.tiles.get(place)
                    }
                    None if is(was_inside) => full(),
                    None => Tile::EMPTY,
                };
                let target = if is(inside) { full() } else { Tile::EMPTY };
                let changed = kernel::settle(&mut tile, &target, &mut changes);
                if changed != 0 {
                    emit(
                        &mut self.events,
                        ground,
                        is_mutual,
                        (a, rows),
                        columns,
                        changed,
                        &changes,
                        &tile,
                    );
                }
            }
        }
    }
}

/// Room for twice as many, so that a steady crowd does not come back for more.
fn reserve_twice<T>(list: &mut Vec<T>, len: usize) {
    if list.capacity() < len + 4 {
        list.reserve_exact(2 * len + 8);
    }
}

/// Whether two blocks are the same block: of a pair on a mutual field's diagonal every bit has its twin.
pub(crate) fn is_same(rows: &Block, columns: &Block) -> bool {
    std::ptr::eq(rows, columns)
}
