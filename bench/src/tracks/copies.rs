//! A client that decodes on its own beside the interner: an own copy of each of its tracks, compared with the shared
//! state after every record.

use super::ByKey;
use super::interner::Interner;
use super::plant::Planted;
use myriad_client::{Advanced, Done, TrackState};
use myriad_wire::Tick;
use myriad_wire::codec::CodecError;
use std::sync::{Arc, Weak};

/// One client's own copies, while it is drawn.
#[derive(Debug, Default)]
pub(crate) struct OwnCopies {
    /// The stint that they are of.
    pub(crate) stint: u64,
    /// By the address of the shared state.
    copies: ByKey<OwnCopy>,
}

#[derive(Debug)]
struct OwnCopy {
    /// Keeps the shared state's address from being used again.
    shared: Weak<TrackState>,
    own: TrackState,
}

/// The store of such a client.
pub(super) struct Checked<'a> {
    pub(super) interner: &'a mut Interner,
    pub(super) copies: &'a mut OwnCopies,
    pub(super) planted: &'a mut Planted,
}

impl OwnCopies {
    /// Of the stint that has just begun. Copies are made of the shared states when they are first needed.
    pub(crate) fn new(stint: u64) -> Self {
        Self {
            stint,
            copies: ByKey::default(),
        }
    }

    fn take(&mut self, shared: &Arc<TrackState>) -> TrackState {
        match self.copies.remove(&(Arc::as_ptr(shared) as u64)) {
            Some(copy) => copy.own,
            None => (**shared).clone(),
        }
    }

    fn put(&mut self, shared: &Arc<TrackState>, own: TrackState) {
        // Tracks that were dropped leave theirs behind.
        if self.copies.len() > 1024 {
            self.copies.retain(|_, copy| copy.shared.strong_count() > 0);
        }
        let shared_by = Arc::downgrade(shared);
        self.copies.insert(
            Arc::as_ptr(shared) as u64,
            OwnCopy {
                shared: shared_by,
                own,
            },
        );
    }
}

impl Checked<'_> {
    pub(super) fn begin(&mut self, tick: Tick, keyframe: &[u8]) -> Result<Arc<TrackState>, CodecError> {
        let state = self.interner.begin(tick, keyframe)?;
        let own = TrackState::from_keyframe(tick, keyframe)?;
        self.interner.note_compared(own == *state);
        self.copies.put(&state, own);
        Ok(state)
    }

    pub(super) fn advance(
        &mut self,
        previous: Arc<TrackState>,
        tick: Tick,
        delta: &[u8],
    ) -> Result<Advanced, CodecError> {
        let mut own = self.copies.take(&previous);
        let applied = own.apply(tick, delta);
        let to = self.interner.advance(previous, tick, delta, self.planted)?;
        let is_same = applied.is_ok_and(|applied| Done::from(applied) == to.done) && own == *to.state;
        self.interner.note_compared(is_same);
        // After a difference the copy begins anew, so that each is counted once.
        if is_same {
            self.copies.put(&to.state, own);
        }
        Ok(to)
    }
}
