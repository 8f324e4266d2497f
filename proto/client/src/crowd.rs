//! Crowd tracks as a client reads them, and who of their members it sees.
//!
//! Sketch of the cost: 10,000 clients see 10,000 members each in some 60 tracks, told five times in two seconds or
//! so: hundreds of millions of states a second, if each client read each. But all clients are told the same bytes, so
//! what they read is the same: a [`TrackState`] is a pure function of the bytes read, and a process that holds many
//! clients hands all of them one (see [`TrackStore`]). What is a client's own, [`view::Crowd`], is one bit per member
//! and a few hundred bytes per hundred members, and a track that lies within the radius and stays together costs a
//! few comparisons per telling.
//!
//! Read next: `crowd/view.rs` for how a message takes effect, `crowd/near.rs` for those who are near.

pub(crate) mod identity;
pub(crate) mod mask;
pub(crate) mod message;
pub(crate) mod near;
pub(crate) mod rule;
mod settle;
pub(crate) mod step;
pub(crate) mod view;

use myriad_wire::codec::CodecError;
use myriad_wire::crowd::message::Happening;
use myriad_wire::crowd::{Applied, CELL_SHIFT, Track};
use myriad_wire::grid::AOI_SHIFT;
use myriad_wire::{LaneHandle, Pos, Tick};
use near::NearChunk;
use std::sync::Arc;
use step::Step;
use view::SeenTracks;

/// A track as of the last record read of it, and what follows from that: the same for all who have read the same.
///
/// A pure function of the bytes read. Moreover, after one telling of everybody it is the same whether it began with
/// the same keyframe or an older one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrackState {
    track: Track,
    tick: Tick,
    told: Tick,
    /// Lowest and highest per axis; `None` if nobody is in it.
    bounds: Option<[[i32; 3]; 2]>,
}

/// Interest units of a cell, as a shift.
pub(crate) const CELL_AOI_SHIFT: u32 = CELL_SHIFT - AOI_SHIFT;

/// What a delta did.
#[derive(Clone, Debug)]
pub struct Advanced {
    /// The track after it.
    pub state: Arc<TrackState>,
    /// What came to pass by it.
    pub done: Done,
}

/// What a delta did. Nothing is allocated for the usual one, which tells everybody and changes no membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Nobody left or joined.
    Stayed {
        /// States of members told.
        states: u32,
        /// Everybody was told.
        told: bool,
    },
    /// Somebody did.
    Regrouped(Arc<Applied>),
}

impl From<Applied> for Done {
    fn from(applied: Applied) -> Self {
        if applied.left.is_empty() && applied.joined.is_empty() {
            Self::Stayed {
                states: applied.states,
                told: applied.told,
            }
        } else {
            Self::Regrouped(Arc::new(applied))
        }
    }
}

impl Done {
    /// States of members told, joins included.
    #[must_use]
    pub fn states(&self) -> u32 {
        match self {
            Self::Stayed { states, .. } => *states,
            Self::Regrouped(applied) => applied.states,
        }
    }

    /// Everybody was told.
    #[must_use]
    pub fn told(&self) -> bool {
        match self {
            Self::Stayed { told, .. } => *told,
            Self::Regrouped(applied) => applied.told,
        }
    }

    /// Who left and joined, if somebody did.
    #[must_use]
    pub fn regrouped(&self) -> Option<&Applied> {
        match self {
            Self::Stayed { .. } => None,
            Self::Regrouped(applied) => Some(applied),
        }
    }
}

/// Where tracks and near states are decoded: turns what is known of a track and a record into what is known then.
///
/// A store may remember what came of the same state and the same bytes before, and hand that out again; it must not
/// do anything else. The same goes for whole steps (see [`Step`]), if it keeps them. Which store a client's records go through therefore makes no difference to what it tells, and it
/// may change at any time.
pub trait TrackStore {
    /// The track of a keyframe of `tick`.
    ///
    /// # Errors
    /// If the bytes are none.
    fn begin(&mut self, tick: Tick, keyframe: &[u8]) -> Result<Arc<TrackState>, CodecError>;

    /// These are about to be advanced, in this order. For a store that has much to fetch from memory, which takes as
    /// long for all of them at once as for one.
    fn expect(&mut self, _states: &[&TrackState]) {}

    /// What `previous` becomes by a delta of `tick`.
    ///
    /// # Errors
    /// If the bytes are none for this track.
    fn advance(
        &mut self,
        previous: Arc<TrackState>,
        tick: Tick,
        delta: &[u8],
    ) -> Result<Advanced, CodecError>;

    /// The near states of a chunk of `tick`.
    ///
    /// # Errors
    /// If the bytes are no chunk.
    fn near(&mut self, tick: Tick, lane: LaneHandle, chunk: &[u8]) -> Result<Arc<NearChunk>, CodecError> {
        NearChunk::from_bytes(tick, lane, chunk).map(Arc::new)
    }

    /// What happened to members of a track in `tick`.
    ///
    /// # Errors
    /// If the bytes are no such list.
    fn happenings(&mut self, tick: Tick, list: &[u8]) -> Result<Arc<[Happening]>, CodecError> {
        let _ = tick;
        Happening::list_from_bytes(list).map(Arc::from)
    }

    /// Whether steps are kept, so that the functions below have a use.
    fn keeps_steps(&self) -> bool {
        false
    }

    /// The step from `tracks` by exactly these records of `tick`, if it is known.
    fn recall(&mut self, tracks: &SeenTracks, tick: Tick, records: &[u8]) -> Option<Arc<Step>> {
        let _ = (tracks, tick, records);
        None
    }

    /// A step was taken.
    fn remember(&mut self, tracks: &SeenTracks, tick: Tick, records: &[u8], step: Step) {
        let _ = (tracks, tick, records, step);
    }

    /// The tracks of another client that are the same, or these.
    fn share(&mut self, tracks: SeenTracks) -> SeenTracks {
        tracks
    }
}

/// Every client decodes by itself: a state that nobody else holds is changed in place.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnTracks;

impl TrackStore for OwnTracks {
    fn begin(&mut self, tick: Tick, keyframe: &[u8]) -> Result<Arc<TrackState>, CodecError> {
        TrackState::from_keyframe(tick, keyframe).map(Arc::new)
    }

    fn expect(&mut self, states: &[&TrackState]) {
        states.iter().for_each(|state| state.track.touch());
    }

    fn advance(
        &mut self,
        mut previous: Arc<TrackState>,
        tick: Tick,
        delta: &[u8],
    ) -> Result<Advanced, CodecError> {
        let applied = Arc::make_mut(&mut previous).apply(tick, delta)?;
        Ok(Advanced {
            state: previous,
            done: applied.into(),
        })
    }
}

impl TrackState {
    /// The track of a keyframe of `tick`.
    ///
    /// # Errors
    /// If the bytes are none.
    pub fn from_keyframe(tick: Tick, keyframe: &[u8]) -> Result<Self, CodecError> {
        let mut state = Self {
            track: Track::from_keyframe(tick, keyframe)?,
            tick,
            told: tick,
            bounds: None,
        };
        state.derive();
        Ok(state)
    }

    /// Takes a delta of `tick` in.
    ///
    /// # Errors
    /// If the bytes are none for this track. The state is then of no use.
    pub fn apply(&mut self, tick: Tick, delta: &[u8]) -> Result<Applied, CodecError> {
        let applied = self.track.apply(tick, delta)?;
        self.tick = tick;
        self.derive();
        Ok(applied)
    }

    /// Who is in it, and their cells.
    #[inline]
    #[must_use]
    pub fn track(&self) -> &Track {
        &self.track
    }

    /// The tick of the last record read: ages of cells count from it.
    #[inline]
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// When everybody was told last: no member's newest cell is older. Of a keyframe, the age of the oldest.
    #[inline]
    #[must_use]
    pub fn told(&self) -> Tick {
        self.told
    }

    /// Lowest and highest position of its members per axis, in interest units; `None` if nobody is in it.
    #[inline]
    #[must_use]
    pub fn bounds_aoi(&self) -> Option<[[i32; 3]; 2]> {
        self.bounds
    }

    /// The tick of the newest cell of the member at `place`.
    ///
    /// # Panics
    /// If there is no such member.
    #[inline]
    #[must_use]
    pub fn state_tick(&self, place: usize) -> Tick {
        self.tick - u64::from(self.track.age(place, 0, self.tick))
    }

    /// The middle of that cell.
    ///
    /// # Panics
    /// If there is no such member.
    #[inline]
    #[must_use]
    pub fn position(&self, place: usize) -> Pos {
        self.track.position(place, 0)
    }

    /// Everything but the track and the tick follows from these.
    fn derive(&mut self) {
        let middle = |cell: i32| (cell << CELL_AOI_SHIFT) + (1 << (CELL_AOI_SHIFT - 1));
        self.bounds = self.track.bounds().map(|ends| ends.map(|cell| cell.map(middle)));
        self.told = self.tick - u64::from(self.track.age_max(self.tick).unwrap_or(0));
    }
}
