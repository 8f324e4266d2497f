//! States that clients share: what came of the same state and the same bytes is found again.
//!
//! An entry says that a state became another one by a record. It is found by the state's address, which it pins, and
//! the record's tick, and it counts only if the bytes are the same, one by one. States that are equal are made one,
//! however they came about. An entry goes when nobody holds the state that it begins with.
//!
//! Cost: a record that somebody has decoded before is a look-up and a comparison of its some 300 bytes, 60 ns; one that
//! nobody has is decoded into a copy, 12 KiB and some 2 us.

use super::plant::Planted;
use super::{ByKey, DecodeCounts};
use crate::truth::IdHasher;
use myriad_client::{Advanced, TrackState};
use myriad_wire::Tick;
use myriad_wire::codec::CodecError;
use std::hash::Hasher;
use std::sync::{Arc, Weak};

/// Ticks for which a keyframe's state is kept although nobody may hold it.
const KEYFRAME_TICKS: u64 = 64;

/// See the module.
#[derive(Default)]
pub(super) struct Interner {
    /// By tick and length of the keyframe.
    begun: ByKey<Vec<Begun>>,
    /// By address of the state before and tick.
    advanced: ByKey<Vec<Advance>>,
    /// By what is cheap to compare.
    equal: ByKey<Vec<Weak<TrackState>>>,
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
            applied: Arc::new(applied),
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

    /// Drops what nobody needs any more.
    pub(super) fn sweep(&mut self) {
        let oldest = self.newest - KEYFRAME_TICKS;
        retain(&mut self.begun, |begun| begun.tick >= oldest);
        // What a dropped entry led to may be held by nobody now, which the next sweep finds.
        retain(&mut self.advanced, |advance| advance.previous.strong_count() > 0);
        retain(&mut self.equal, |state| state.strong_count() > 0);
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> [usize; 3] {
        [self.begun.len(), self.advanced.len(), self.equal.len()]
    }
}

fn retain<T>(map: &mut ByKey<Vec<T>>, mut keep: impl FnMut(&T) -> bool) {
    map.retain(|_, entries| {
        entries.retain(&mut keep);
        !entries.is_empty()
    });
}
