//! Chunks of near states, and those of a tick.

use myriad_wire::codec::CodecError;
use myriad_wire::track::decode_chunk;
use myriad_wire::{LaneHandle, Pos, Slot, Tick};
use std::sync::Arc;

/// Chunks of a tick, most often.
const CHUNKS_USUAL: usize = 12;

/// Near states of a tick: one chunk. A pure function of its bytes and its tick.
#[derive(Debug, PartialEq, Eq)]
pub struct NearChunk {
    tick: Tick,
    lane: LaneHandle,
    filter: Filter<4>,
    /// Ascending.
    slots: Box<[Slot]>,
    positions: Box<[Pos]>,
    /// Versions of properties, of those of whom they were told.
    versions: Box<[(Slot, u8)]>,
}

/// Which slots there may be: one bit for some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filter<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Default for Filter<WORDS> {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl<const WORDS: usize> Filter<WORDS> {
    fn bit(slot: Slot) -> (usize, u64) {
        let mixed = slot.0.wrapping_mul(0x9e37_79b9);
        ((mixed >> 26) as usize % WORDS, 1 << (mixed >> 20 & 63))
    }

    pub(super) fn insert(&mut self, slot: Slot) {
        let (word, bit) = Self::bit(slot);
        self.0[word] |= bit;
    }

    pub(super) fn may_hold(&self, slot: Slot) -> bool {
        let (word, bit) = Self::bit(slot);
        self.0[word] & bit != 0
    }
}

impl NearChunk {
    /// Reads a chunk of `tick`.
    ///
    /// # Errors
    /// If the bytes are no chunk.
    pub fn from_bytes(tick: Tick, lane: LaneHandle, chunk: &[u8]) -> Result<Self, CodecError> {
        let count = chunk.get(1).map_or(0, |count| usize::from(*count) + 1);
        let (mut slots, mut positions) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut versions, mut filter) = (Vec::new(), Filter::default());
        decode_chunk(chunk, |state| {
            slots.push(state.slot);
            positions.push(state.position);
            filter.insert(state.slot);
            if let Some(version) = state.version {
                versions.push((state.slot, version));
            }
        })?;
        Ok(Self {
            tick,
            lane,
            filter,
            slots: slots.into_boxed_slice(),
            positions: positions.into_boxed_slice(),
            versions: versions.into_boxed_slice(),
        })
    }

    /// The tick whose states these are.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// The lane whose slots these are.
    #[must_use]
    pub fn lane(&self) -> LaneHandle {
        self.lane
    }

    /// Whose states these are, ascending.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Where they are, in the same order.
    #[must_use]
    pub fn positions(&self) -> &[Pos] {
        &self.positions
    }

    /// Where the one in `slot` is, if it is among them.
    #[must_use]
    pub fn position(&self, slot: Slot) -> Option<Pos> {
        if !self.filter.may_hold(slot) {
            return None;
        }
        let at = self.slots.binary_search(&slot).ok()?;
        Some(self.positions[at])
    }

    /// Versions of properties, of those of whom they were told.
    pub(crate) fn versions(&self) -> &[(Slot, u8)] {
        &self.versions
    }
}

/// The chunks of a tick.
#[derive(Debug)]
pub(super) struct TickChunks {
    pub(super) tick: Tick,
    pub(super) chunks: Vec<Arc<NearChunk>>,
    /// States in all of them.
    pub(super) states: usize,
    finder: Finder,
}

/// Which of a tick's chunks may hold a slot.
#[derive(Debug)]
struct Finder([u8; Self::LEN]);

enum Found {
    Nowhere,
    /// In this one or in none.
    Maybe(usize),
    /// In any.
    Any,
}

impl Finder {
    const LEN: usize = 512;
    const NOWHERE: u8 = u8::MAX;
    const ANY: u8 = u8::MAX - 1;

    fn entry(slot: Slot) -> usize {
        (slot.0.wrapping_mul(0x9e37_79b9) >> 23) as usize % Self::LEN
    }

    fn insert(&mut self, slot: Slot, chunk: usize) {
        let chunk = u8::try_from(chunk).unwrap_or(Self::ANY).min(Self::ANY);
        let entry = &mut self.0[Self::entry(slot)];
        *entry = match *entry {
            Self::NOWHERE => chunk,
            other if other == chunk => chunk,
            _ => Self::ANY,
        };
    }

    fn find(&self, slot: Slot) -> Found {
        match self.0[Self::entry(slot)] {
            Self::NOWHERE => Found::Nowhere,
            Self::ANY => Found::Any,
            chunk => Found::Maybe(usize::from(chunk)),
        }
    }
}

impl TickChunks {
    pub(super) fn new(tick: Tick) -> Self {
        Self {
            tick,
            chunks: Vec::with_capacity(CHUNKS_USUAL),
            states: 0,
            finder: Finder([Finder::NOWHERE; Finder::LEN]),
        }
    }

    pub(super) fn insert(&mut self, chunk: Arc<NearChunk>) {
        for slot in &chunk.slots {
            self.finder.insert(*slot, self.chunks.len());
        }
        self.states += chunk.slots.len();
        self.chunks.push(chunk);
    }

    pub(super) fn position(&self, lane: LaneHandle, slot: Slot) -> Option<Pos> {
        let in_chunk = |chunk: &Arc<NearChunk>| chunk.position(slot).filter(|_| chunk.lane == lane);
        match self.finder.find(slot) {
            Found::Nowhere => None,
            Found::Maybe(chunk) => in_chunk(&self.chunks[chunk]),
            Found::Any => self.chunks.iter().find_map(in_chunk),
        }
    }
}
