//! States that clients share: what came of the same state and the same bytes is found again. The same goes for whole
//! steps of clients that see all that they are told, whose tracks are the same down to the last bit (see [`Step`]).
//!
//! An entry says that a state became another one by a record. It is found by the state's address, which it pins, and
//! the record's tick, and it counts only if the bytes are the same, one by one. States that are equal are made one,
//! however they came about. An entry goes when nobody holds the state that it begins with.
//!
//! Cost: a record that somebody has decoded before is a look-up and a comparison of its some 300 bytes, 60 ns; one that
//! nobody has is decoded into a copy, 6 KiB and some 2 us.

use super::plant::Planted;
use super::{ByKey, DecodeCounts};
use crate::truth::IdHasher;
use myriad_client::{Advanced, NearChunk, SeenTracks, Step, TrackList, TrackState};
use myriad_wire::codec::CodecError;
use myriad_wire::crowd::message::Happening;
use myriad_wire::{LaneHandle, Tick};
use std::hash::Hasher;
use std::sync::{Arc, Weak};

/// Ticks for which a keyframe's state is kept although nobody may hold it.
const KEYFRAME_TICKS: u64 = 64;
/// The same of what happened, and of near states.
const HAPPENED_TICKS: u64 = 16;

/// See the module.
#[derive(Default)]
pub(super) struct Interner {
    /// By tick and length of the keyframe.
    begun: ByKey<Vec<Begun>>,
    /// By address of the state before and tick.
    advanced: ByKey<Vec<Advance>>,
    /// By what is cheap to compare.
    equal: ByKey<Vec<Weak<TrackState>>>,
    /// By address of the tracks before, tick and length of the records.
    steps: ByKey<Vec<Taken>>,
    /// Tracks with what is in view of them, by their states.
    same: ByKey<Vec<Weak<TrackList>>>,
    /// Near states, by the bytes that told them.
    near: ByKey<Vec<Near>>,
    /// What happened, by the bytes that told it.
    happened: ByKey<Vec<Happened>>,
    newest: Tick,
    /// Decoded and not yet taken out to be compared with the truth.
    pub(super) fresh: Vec<Arc<TrackState>>,
    pub(super) counts: DecodeCounts,
}

struct Begun {
    tick: Tick,
    bytes: Box<[u8]>,
    state: Arc<TrackState>,
}

struct Advance {
    previous: Weak<TrackState>,
    tick: Tick,
    bytes: Box<[u8]>,
    to: Advanced,
}

struct Taken {
    previous: Weak<TrackList>,
    tick: Tick,
    records: Box<[u8]>,
    step: Arc<Step>,
}

struct Near {
    bytes: Box<[u8]>,
    chunk: Arc<NearChunk>,
}

struct Happened {
    tick: Tick,
    bytes: Box<[u8]>,
    list: Arc<[Happening]>,
}

/// Of bytes, eight at a time.
fn mixed_bytes(bytes: &[u8]) -> u64 {
    let mut hasher = IdHasher::default();
    let (words, rest) = bytes.as_chunks::<8>();
    words
        .iter()
        .for_each(|word| hasher.write_u64(u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    hasher.write_u64(u64::from_le_bytes(last));
    hasher.write_u64(bytes.len() as u64);
    hasher.finish()
}

fn mixed(parts: &[u64]) -> u64 {
    let mut hasher = IdHasher::default();
    parts.iter().for_each(|part| hasher.write_u64(*part));
    hasher.finish()
}

impl Interner {
    pub(super) fn begin(&mut self, tick: Tick, keyframe: &[u8]) -> Result<Arc<TrackState>, CodecError> {
        self.newest = self.newest.max(tick);
        let first = keyframe
            .iter()
            .take(24)
            .fold(0u64, |sum, byte| sum.rotate_left(7) ^ u64::from(*byte));
        let key = mixed(&[tick.0, keyframe.len() as u64, first]);
        let known = self.begun.get(&key).into_iter().flatten();
        let mut same = known.filter(|begun| begun.tick == tick && *begun.bytes == *keyframe);
        if let Some(begun) = same.next() {
            self.counts.shared += 1;
            return Ok(Arc::clone(&begun.state));
        }
        let decoded = TrackState::from_keyframe(tick, keyframe)?;
        let state = self.intern(decoded);
        self.begun.entry(key).or_default().push(Begun {
            tick,
            bytes: keyframe.into(),
            state: Arc::clone(&state),
        });
        Ok(state)
    }

    pub(super) fn advance(
        &mut self,
        previous: Arc<TrackState>,
        tick: Tick,
        delta: &[u8],
        planted: &mut Planted,
    ) -> Result<Advanced, CodecError> {
        let key = mixed(&[Arc::as_ptr(&previous) as u64, tick.0]);
        let known = self.advanced.get(&key).into_iter().flatten();
        // The address is the state's as long as the entry pins it.
        let mut same = known.filter(|advance| {
            advance.tick == tick
                && std::ptr::eq(advance.previous.as_ptr(), Arc::as_ptr(&previous))
                && *advance.bytes == *delta
        });
        if let Some(advance) = same.next() {
            self.counts.shared += 1;
            return Ok(advance.to.clone());
        }
        self.newest = self.newest.max(tick);
        let (decoded, applied) = planted.apply(&previous, tick, delta)?;
        let to = Advanced {
            state: self.intern(decoded),
            done: applied.into(),
        };
        if Arc::ptr_eq(&to.state, &previous) {
            // An entry would keep itself alive.
            return Ok(to);
        }
        self.advanced.entry(key).or_default().push(Advance {
            previous: Arc::downgrade(&previous),
            tick,
            bytes: delta.into(),
            to: to.clone(),
        });
        Ok(to)
    }

    /// The one state that is equal to `decoded`.
    fn intern(&mut self, decoded: TrackState) -> Arc<TrackState> {
        self.counts.decoded += 1;
        let track = decoded.track();
        let ends = [track.names().first(), track.names().last()];
        let slots = ends.map(|name| {
            name.map_or(0, |name| {
                u64::from(name.slot.0) << 16 | u64::from(name.generation.0)
            })
        });
        let key = mixed(&[decoded.tick().0, track.len() as u64, slots[0], slots[1]]);
        let alike = self.equal.entry(key).or_default();
        if let Some(equal) = alike
            .iter()
            .filter_map(Weak::upgrade)
            .find(|state| **state == decoded)
        {
            return equal;
        }
        let state = Arc::new(decoded);
        alike.push(Arc::downgrade(&state));
        self.fresh.push(Arc::clone(&state));
        state
    }

    /// The step that was taken from these very tracks by the same records.
    pub(super) fn recall(&mut self, tracks: &SeenTracks, tick: Tick, records: &[u8]) -> Option<Arc<Step>> {
        let known = self.steps.get(&step_key(tracks, tick, records))?;
        let taken = known.iter().find(|taken| {
            taken.tick == tick
                && std::ptr::eq(taken.previous.as_ptr(), Arc::as_ptr(tracks.shared()))
                && *taken.records == *records
        })?;
        self.counts.steps += 1;
        Some(Arc::clone(&taken.step))
    }

    pub(super) fn remember(&mut self, tracks: &SeenTracks, tick: Tick, records: &[u8], step: Step) {
        self.newest = self.newest.max(tick);
        if Arc::ptr_eq(tracks.shared(), step.tracks().shared()) {
            // An entry would keep itself alive.
            return;
        }
        let key = step_key(tracks, tick, records);
        self.steps.entry(key).or_default().push(Taken {
            previous: Arc::downgrade(tracks.shared()),
            tick,
            records: records.into(),
            step: Arc::new(step),
        });
    }

    /// Tracks that are the same as these, if there are, so that the clients that hold them take the same steps.
    pub(super) fn share(&mut self, tracks: SeenTracks) -> SeenTracks {
        let mut hasher = IdHasher::default();
        for track in tracks.iter() {
            hasher.write_u64(Arc::as_ptr(track.state()) as u64);
        }
        let alike = self.same.entry(hasher.finish()).or_default();
        let known = alike.iter().filter_map(Weak::upgrade).map(SeenTracks::from);
        if let Some(same) = known.into_iter().find(|other| other.is_same(&tracks)) {
            return same;
        }
        alike.push(Arc::downgrade(tracks.shared()));
        tracks
    }

    /// The near states of these very bytes.
    pub(super) fn near(
        &mut self,
        tick: Tick,
        lane: LaneHandle,
        bytes: &[u8],
    ) -> Result<Arc<NearChunk>, CodecError> {
        self.newest = self.newest.max(tick);
        let key = mixed(&[tick.0, u64::from(lane.0), mixed_bytes(bytes)]);
        let known = self.near.entry(key).or_default();
        let is_it =
            |near: &&Near| near.chunk.tick() == tick && near.chunk.lane() == lane && *near.bytes == *bytes;
        if let Some(near) = known.iter().find(is_it) {
            self.counts.shared += 1;
            return Ok(Arc::clone(&near.chunk));
        }
        self.counts.decoded += 1;
        let chunk = Arc::new(NearChunk::from_bytes(tick, lane, bytes)?);
        known.push(Near {
            bytes: bytes.into(),
            chunk: Arc::clone(&chunk),
        });
        Ok(chunk)
    }

    /// A client that decodes on its own came to the same, or did not.
    pub(super) fn note_compared(&mut self, is_same: bool) {
        self.counts.compared += 1;
        self.counts.differences += u64::from(!is_same);
    }

    pub(super) fn happenings(&mut self, tick: Tick, bytes: &[u8]) -> Result<Arc<[Happening]>, CodecError> {
        let known = self.happened.entry(mixed_bytes(bytes)).or_default();
        if let Some(happened) = known.iter().find(|happened| *happened.bytes == *bytes) {
            return Ok(Arc::clone(&happened.list));
        }
        let list: Arc<[Happening]> = Happening::list_from_bytes(bytes)?.into();
        known.push(Happened {
            tick,
            bytes: bytes.into(),
            list: Arc::clone(&list),
        });
        Ok(list)
    }

    /// Drops what nobody needs any more.
    pub(super) fn sweep(&mut self) {
        let oldest = self.newest - KEYFRAME_TICKS;
        retain(&mut self.begun, |begun| begun.tick >= oldest);
        let oldest = self.newest - HAPPENED_TICKS;
        retain(&mut self.happened, |happened| happened.tick >= oldest);
        retain(&mut self.near, |near| near.chunk.tick() >= oldest);
        // What a dropped entry led to may be held by nobody now.
        while retain(&mut self.steps, |taken| taken.previous.strong_count() > 0) {}
        retain(&mut self.same, |tracks| tracks.strong_count() > 0);
        while retain(&mut self.advanced, |advance| advance.previous.strong_count() > 0) {}
        retain(&mut self.equal, |state| state.strong_count() > 0);
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> [usize; 3] {
        [self.begun.len(), self.advanced.len(), self.equal.len()]
    }
}

fn step_key(tracks: &SeenTracks, tick: Tick, records: &[u8]) -> u64 {
    let address = Arc::as_ptr(tracks.shared()) as u64;
    mixed(&[address, tick.0, records.len() as u64])
}

/// Whether any went.
fn retain<T>(map: &mut ByKey<Vec<T>>, keep: impl Fn(&T) -> bool) -> bool {
    let mut has_gone = false;
    map.retain(|_, entries| {
        let before = entries.len();
        entries.retain(&keep);
        has_gone |= entries.len() < before;
        !entries.is_empty()
    });
    has_gone
}
