//! How a worker's clients decode tracks, and what is known of the states that come of it.
//!
//! Either every client decodes on its own, or all share the states that an [`Interner`] keeps, and some decode on their
//! own beside it ([`OwnCopies`]): at least [`OWN_MIN`] and [`OWN_SHARE`] of the clients, others every
//! [`STINT_US`], drawn by the seed. Every distinct state is compared with the truth once, all members told in it.

mod copies;
mod interner;
mod plant;

#[cfg(test)]
mod tests;

pub(crate) use copies::OwnCopies;

use crate::options::BotsOptions;
use crate::sample::Tally;
use crate::truth::{IdHasher, Truth};
use copies::Checked;
use interner::Interner;
use myriad_client::{
    Advanced, NearChunk, OwnTracks, SeenTrack, SeenTracks, Step, TrackList, TrackState, TrackStore,
};
use myriad_wire::codec::CodecError;
use myriad_wire::crowd::message::Happening;
use myriad_wire::{LaneHandle, Slot, Tick};
use plant::Planted;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::{Arc, Weak};

/// Clients that decode on their own beside an interner, at least, in a run.
const OWN_MIN: u32 = 200;
/// And at least this share of them.
const OWN_SHARE: f64 = 0.02;
/// How long a client does so, in microseconds.
const STINT_US: u64 = 5_000_000;
/// Distinct states that wait for the truth of their tick.
const FRESH_MAX: usize = 1 << 13;
/// Tracks that so many hold, clients and the interner, are worth to be known.
const SHARED_MIN: usize = 4;
/// Between two looks for what nobody holds any more, in microseconds.
const SWEEP_US: u64 = 500_000;

pub(crate) type ByKey<T> = HashMap<u64, T, BuildHasherDefault<IdHasher>>;

/// What a worker knows of tracks.
pub(crate) struct Tracks {
    interner: Option<Interner>,
    planted: Planted,
    draw: Draw,
    /// Of states that clients share: members told later than the track was.
    facts: ByKey<Facts>,
    /// Of tracks that clients share: where everybody is in them.
    crowds: ByKey<SharedCrowd>,
    /// Of near states and such tracks: when those who are near were told by their tracks.
    near: ByKey<NearFacts>,
    homes: BySlot<Home>,
    fresh: VecDeque<Arc<TrackState>>,
    swept_us: u64,
}

/// What is known of tracks that clients share, all members in view.
pub(crate) struct CrowdFacts {
    /// How many were told when.
    pub(crate) ages: Vec<(Tick, u32)>,
    /// The track, the place in it, and which of the ages: small, since it is looked up for each near one.
    places: BySlot<(u16, u8, u8)>,
}

/// Something of each slot, by the handle of who gave the slots.
struct BySlot<T>(Vec<Vec<T>>);

impl<T: Copy> BySlot<T> {
    fn new() -> Self {
        Self(Vec::new())
    }

    #[inline]
    fn get(&self, (lane, slot): (LaneHandle, Slot)) -> Option<T> {
        self.0.get(usize::from(lane.0))?.get(slot.0 as usize).copied()
    }

    /// Slots that were not set yet have `none`.
    fn set(&mut self, (lane, slot): (LaneHandle, Slot), value: T, none: T) {
        let (lane, slot) = (usize::from(lane.0), slot.0 as usize);
        if self.0.len() <= lane {
            self.0.resize_with(lane + 1, Vec::new);
        }
        let slots = &mut self.0[lane];
        if slots.len() <= slot {
            slots.resize(slot + 1, none);
        }
        slots[slot] = value;
    }
}

struct NearFacts {
    /// Keep the addresses from being used again.
    chunk: Weak<NearChunk>,
    facts: Weak<CrowdFacts>,
    told: Box<[(Tick, u32)]>,
}

struct SharedCrowd {
    /// Keeps the address from being used again.
    tracks: Weak<TrackList>,
    facts: Arc<CrowdFacts>,
}

/// Where a slot was found last.
#[derive(Clone, Copy)]
struct Home {
    /// Its track's.
    key: u32,
    /// That track's among the client's.
    index: u16,
    place: u16,
    /// It was there when the track was last told of in this tick: the same for all who have read the same.
    tick: Tick,
}

struct Facts {
    /// Keeps the state's address from being used again.
    state: Weak<TrackState>,
    others: Box<[(Tick, u32)]>,
}

/// Which clients decode on their own beside the interner.
#[derive(Clone, Copy, Debug)]
struct Draw {
    seed: u64,
    /// Every so many-th client does.
    one_in: u32,
    stint: u64,
    offset: u32,
}

/// What came of decoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DecodeCounts {
    /// Records and chunks of near states that were decoded, each once for all who held the same.
    pub(crate) decoded: u64,
    /// Those for which the state was there already.
    pub(crate) shared: u64,
    /// Those that were decoded on a client's own beside the interner, and compared.
    pub(crate) compared: u64,
    /// Those of which something else came.
    pub(crate) differences: u64,
    /// Whole messages that did to a client what they had done to others that held the same.
    pub(crate) steps: u64,
    /// Distinct states whose truth did not come in time.
    pub(crate) unverified: u64,
}

impl Tracks {
    pub(crate) fn new(is_interned: bool, options: &BotsOptions) -> Self {
        let own = ((f64::from(options.clients) * OWN_SHARE).ceil() as u32).max(OWN_MIN);
        Self {
            interner: is_interned.then(Interner::default),
            planted: Planted::new(options.plant),
            draw: Draw {
                seed: options.seed,
                one_in: (options.clients / own).max(1),
                stint: 0,
                offset: 0,
            },
            facts: ByKey::default(),
            crowds: ByKey::default(),
            near: ByKey::default(),
            homes: BySlot::new(),
            fresh: VecDeque::new(),
            swept_us: 0,
        }
    }

    /// It is `now_us`: others may have been drawn.
    pub(crate) fn draw(&mut self, now_us: u64) {
        let stint = now_us / STINT_US;
        if self.draw.stint != stint {
            self.draw.stint = stint;
            let mixed = (self.draw.seed ^ stint).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.draw.offset = (mixed >> 32) as u32 % self.draw.one_in;
        }
        if now_us.saturating_sub(self.swept_us) >= SWEEP_US {
            self.swept_us = now_us;
            self.facts.retain(|_, facts| facts.state.strong_count() > 0);
            self.crowds.retain(|_, crowd| crowd.tracks.strong_count() > 0);
            self.near
                .retain(|_, near| near.chunk.strong_count() > 0 && near.facts.strong_count() > 0);
            if let Some(interner) = &mut self.interner {
                interner.sweep();
            }
        }
    }

    /// In which stint of decoding on its own client `account` is; `None`: it is not drawn.
    pub(crate) fn stint(&self, account: u32) -> Option<u64> {
        let draw = &self.draw;
        let is_drawn = self.interner.is_some() && account % draw.one_in == draw.offset;
        is_drawn.then_some(draw.stint)
    }

    pub(crate) fn is_interned(&self) -> bool {
        self.interner.is_some()
    }

    /// Compares the distinct states whose truth has come.
    pub(crate) fn verify(&mut self, truth: &Truth, is_measuring: bool, tally: &mut Tally) {
        let Some(interner) = &mut self.interner else {
            return;
        };
        let counts = std::mem::take(&mut interner.counts);
        tally.decode.add(&counts);
        self.fresh.extend(interner.fresh.drain(..));
        let Some(newest) = truth.newest() else {
            self.fresh.clear();
            return;
        };
        for _ in 0..self.fresh.len() {
            let Some(state) = self.fresh.pop_front() else {
                break;
            };
            if state.tick() > newest.tick {
                if self.fresh.len() < FRESH_MAX {
                    self.fresh.push_back(state);
                } else {
                    tally.decode.unverified += 1;
                }
            } else if is_measuring {
                tally.codec.compare_track(&state, truth);
            }
        }
    }

    /// Members of a shared state that were told later than the track: when, and how many.
    pub(crate) fn others(&mut self, state: &Arc<TrackState>) -> &[(Tick, u32)] {
        if state.told() == state.tick() {
            return &[];
        }
        let facts = self.facts.entry(Arc::as_ptr(state) as u64);
        let facts = facts.or_insert_with(|| Facts {
            state: Arc::downgrade(state),
            others: told_later(state),
        });
        &facts.others
    }

    /// What is known of tracks, if at least some clients share them: it costs as much as to look at one of them.
    pub(crate) fn crowd(&mut self, tracks: &SeenTracks) -> Option<Arc<CrowdFacts>> {
        let shared = tracks.shared();
        if !self.is_interned() || Arc::strong_count(shared) < SHARED_MIN {
            return None;
        }
        let crowd = self
            .crowds
            .entry(Arc::as_ptr(shared) as u64)
            .or_insert_with(|| SharedCrowd {
                tracks: Arc::downgrade(shared),
                facts: Arc::new(CrowdFacts::of(tracks)),
            });
        Some(Arc::clone(&crowd.facts))
    }

    /// Of the states of `chunk` those that are no older than what the tracks tell of their subjects: when these tell
    /// it, and of how many.
    pub(crate) fn near(&mut self, chunk: &Arc<NearChunk>, facts: &Arc<CrowdFacts>) -> &[(Tick, u32)] {
        let key = (Arc::as_ptr(chunk) as u64).rotate_left(32) ^ Arc::as_ptr(facts) as u64;
        let near = self
            .near
            .entry(key)
            .or_insert_with(|| NearFacts::of(chunk, facts));
        let is_it = |near: &NearFacts| {
            std::ptr::eq(near.chunk.as_ptr(), Arc::as_ptr(chunk))
                && std::ptr::eq(near.facts.as_ptr(), Arc::as_ptr(facts))
        };
        if !is_it(near) {
            *near = NearFacts::of(chunk, facts);
        }
        &near.told
    }

    /// Which of a client's tracks, of these [`key`]s, holds the slot in view, and where.
    pub(crate) fn find(
        &mut self,
        (tracks, keys): (&[&SeenTrack], &[u32]),
        (lane, slot): (LaneHandle, Slot),
    ) -> Option<(usize, usize)> {
        if let Some(home) = self.homes.get((lane, slot))
            && let Some(i) = home.index_in(keys)
        {
            let (place, state) = (usize::from(home.place), tracks[i].state());
            let is_there = || {
                let name = state.track().names().get(place);
                name.is_some_and(|name| name.slot == slot)
            };
            if tracks[i].in_view().contains(place) && (home.tick == state.tick() || is_there()) {
                let tick = state.tick();
                self.homes.set((lane, slot), Home { tick, ..home }, Home::NONE);
                return Some((i, place));
            }
        }
        let of_lane = tracks
            .iter()
            .enumerate()
            .filter(|(_, track)| track.lane() == lane);
        let (i, place) = of_lane.into_iter().find_map(|(i, track)| {
            let place = track.state().track().place(slot)?;
            track.in_view().contains(place).then_some((i, place))
        })?;
        let home = Home {
            key: keys[i],
            index: i as u16,
            place: place as u16,
            tick: tracks[i].state().tick(),
        };
        self.homes.set((lane, slot), home, Home::NONE);
        Some((i, place))
    }
}

impl NearFacts {
    fn of(chunk: &Arc<NearChunk>, facts: &Arc<CrowdFacts>) -> Self {
        let mut told = Vec::new();
        for slot in chunk.slots() {
            if let Some((.., tick)) = facts
                .find((chunk.lane(), *slot))
                .filter(|(.., tick)| chunk.tick() >= *tick)
            {
                add_age(&mut told, tick, 1);
            }
        }
        Self {
            chunk: Arc::downgrade(chunk),
            facts: Arc::downgrade(facts),
            told: told.into_boxed_slice(),
        }
    }
}

impl CrowdFacts {
    /// Of a slot that nobody has.
    const NOWHERE: (u16, u8, u8) = (0, 0, u8::MAX);

    fn of(tracks: &[SeenTrack]) -> Self {
        let (mut ages, mut places) = (Vec::<(Tick, u32)>::new(), BySlot::new());
        for (i, track) in tracks.iter().enumerate() {
            let state = track.state();
            for (age, count) in state.track().ages(state.tick()) {
                add_age(&mut ages, state.tick() - u64::from(age), count as u32);
            }
            for (place, name) in state.track().names().iter().enumerate() {
                let tick = state.state_tick(place);
                let age = ages.iter().position(|(other, _)| *other == tick);
                if let Some(age) = age.and_then(|age| u8::try_from(age).ok()) {
                    let found = (i as u16, place as u8, age);
                    places.set((track.lane(), name.slot), found, Self::NOWHERE);
                }
            }
        }
        Self { ages, places }
    }

    /// The track that holds the slot, the place in it, and when it was told.
    #[inline]
    pub(crate) fn find(&self, subject: (LaneHandle, Slot)) -> Option<(usize, usize, Tick)> {
        let (track, place, age) = self.places.get(subject)?;
        let (tick, _) = *self.ages.get(usize::from(age))?;
        Some((usize::from(track), usize::from(place), tick))
    }
}

impl Home {
    const NONE: Self = Self {
        key: u32::MAX,
        index: 0,
        place: 0,
        tick: Tick(0),
    };

    /// Where its track is among those with these keys: most often where it was at the client before.
    fn index_in(self, keys: &[u32]) -> Option<usize> {
        let guess = usize::from(self.index);
        if keys.get(guess) == Some(&self.key) {
            return Some(guess);
        }
        keys.iter().position(|key| *key == self.key)
    }
}

/// A track's number among those of all lanes.
pub(crate) fn key(track: &SeenTrack) -> u32 {
    u32::from(track.lane().0) << 16 | u32::from(track.track().0)
}

/// Members told later than the whole track was: when, and how many.
pub(crate) fn told_later(state: &TrackState) -> Box<[(Tick, u32)]> {
    let mut others: Vec<(Tick, u32)> = Vec::new();
    for (age, count) in state.track().ages(state.tick()) {
        let at = state.tick() - u64::from(age);
        if at != state.told() {
            add_age(&mut others, at, count as u32);
        }
    }
    others.into_boxed_slice()
}

fn add_age(ages: &mut Vec<(Tick, u32)>, tick: Tick, count: u32) {
    match ages.iter_mut().find(|(other, _)| *other == tick) {
        Some((_, sum)) => *sum += count,
        None => ages.push((tick, count)),
    }
}

impl DecodeCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.decoded += other.decoded;
        self.shared += other.shared;
        self.steps += other.steps;
        self.compared += other.compared;
        self.differences += other.differences;
        self.unverified += other.unverified;
    }
}

/// Where one client's tracks are decoded.
pub(crate) struct Store<'a> {
    pub(crate) tracks: &'a mut Tracks,
    /// Of a client that decodes on its own beside the interner.
    pub(crate) copies: Option<&'a mut OwnCopies>,
}

impl TrackStore for Store<'_> {
    fn begin(&mut self, tick: Tick, keyframe: &[u8]) -> Result<Arc<TrackState>, CodecError> {
        let Some(interner) = &mut self.tracks.interner else {
            return OwnTracks.begin(tick, keyframe);
        };
        match &mut self.copies {
            Some(copies) => Checked {
                interner,
                copies,
                planted: &mut self.tracks.planted,
            }
            .begin(tick, keyframe),
            None => interner.begin(tick, keyframe),
        }
    }

    fn advance(
        &mut self,
        previous: Arc<TrackState>,
        tick: Tick,
        delta: &[u8],
    ) -> Result<Advanced, CodecError> {
        let planted = &mut self.tracks.planted;
        match (&mut self.tracks.interner, &mut self.copies) {
            (None, _) => planted.advance(&mut OwnTracks, previous, tick, delta),
            (Some(interner), None) => interner.advance(previous, tick, delta, planted),
            (Some(interner), Some(copies)) => Checked {
                interner,
                copies,
                planted,
            }
            .advance(previous, tick, delta),
        }
    }

    fn near(&mut self, tick: Tick, lane: LaneHandle, chunk: &[u8]) -> Result<Arc<NearChunk>, CodecError> {
        let Some(interner) = &mut self.tracks.interner else {
            return OwnTracks.near(tick, lane, chunk);
        };
        let shared = interner.near(tick, lane, chunk)?;
        if self.copies.is_some() {
            let is_same = NearChunk::from_bytes(tick, lane, chunk)? == *shared;
            interner.note_compared(is_same);
        }
        Ok(shared)
    }

    fn expect(&mut self, told: &[&TrackState]) {
        if self.tracks.interner.is_none() {
            OwnTracks.expect(told);
        }
    }

    fn happenings(&mut self, tick: Tick, list: &[u8]) -> Result<Arc<[Happening]>, CodecError> {
        match &mut self.tracks.interner {
            Some(interner) => interner.happenings(tick, list),
            None => OwnTracks.happenings(tick, list),
        }
    }

    fn keeps_steps(&self) -> bool {
        self.tracks.interner.is_some() && self.copies.is_none()
    }

    fn recall(&mut self, tracks: &SeenTracks, tick: Tick, records: &[u8]) -> Option<Arc<Step>> {
        self.tracks.interner.as_mut()?.recall(tracks, tick, records)
    }

    fn remember(&mut self, tracks: &SeenTracks, tick: Tick, records: &[u8], step: Step) {
        if let Some(interner) = &mut self.tracks.interner {
            interner.remember(tracks, tick, records, step);
        }
    }

    fn share(&mut self, tracks: SeenTracks) -> SeenTracks {
        match &mut self.tracks.interner {
            Some(interner) => interner.share(tracks),
            None => tracks,
        }
    }
}
