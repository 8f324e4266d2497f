//! Who of the members of its tracks a client sees.
//!
//! A subject in view is held by one track, by its place there, and one bit says so for its slot. Tracks that are told
//! no more while the way of telling changes (see [`Mode`]) stay as they were, *carried*, until their members in view
//! have been found elsewhere or the change is complete. `message.rs` makes the changes.

use super::identity::{Heard, Identities};
use super::mask::{Mask, SlotBits};
use super::message::Telling;
use super::near::{Near, Waypoint, shown};
use super::{TrackState, TrackStore};
use crate::counters::StateCounters;
use crate::event::CrowdEdges;
use crate::limits::{MEMBERS_MAX, TRACKS_MAX};
use crate::listed::{Listed, Overfull};
use crate::motion::{Motion, Refused, Shown};
use myriad_wire::client::{Identity as IdentityMessage, IdentityRecord, Joined};
use myriad_wire::codec::CodecError;
use myriad_wire::crowd::{Name, SAMPLES, TrackId};
use myriad_wire::limits::{IDENTIFY_MAX, SLOT_REST_TICKS};
use myriad_wire::track::Level;
use myriad_wire::{EntityId, LaneHandle, Pos, Slot, SubjectRef, Tick};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// So many near ones more than may be asked about are looked at in a tick.
const LOOK_MORE: usize = 16;

/// How the view is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    /// Subject by subject, in `View` messages.
    #[default]
    Listed,
    /// By tracks.
    Crowd,
}

/// A track that a client is told, and who of it the client sees.
#[derive(Clone, Debug)]
pub struct SeenTrack {
    pub(crate) lane: LaneHandle,
    pub(crate) track: TrackId,
    pub(crate) state: Arc<TrackState>,
    pub(crate) in_view: Mask,
}

/// The tracks of one client, ascending by lane and number. Copies are shared until one of them is changed.
#[derive(Clone, Debug, Default)]
pub struct SeenTracks(Arc<TrackList>);

/// What copies of [`SeenTracks`] share.
#[derive(Clone, Debug, Default)]
pub struct TrackList {
    tracks: Vec<SeenTrack>,
    /// By lane and slot the track in which somebody was put last. It may have gone to another since, or away.
    hints: Vec<Vec<TrackId>>,
}

impl Deref for SeenTracks {
    type Target = Vec<SeenTrack>;

    fn deref(&self) -> &Self::Target {
        &self.0.tracks
    }
}

impl DerefMut for SeenTracks {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut Arc::make_mut(&mut self.0).tracks
    }
}

impl From<Arc<TrackList>> for SeenTracks {
    fn from(shared: Arc<TrackList>) -> Self {
        Self(shared)
    }
}

impl SeenTracks {
    /// What copies share: who holds it weakly may know it by its address.
    #[must_use]
    pub fn shared(&self) -> &Arc<TrackList> {
        &self.0
    }

    fn hint(&self, lane: LaneHandle, slot: Slot) -> Option<TrackId> {
        let hints = self.0.hints.get(usize::from(lane.0))?;
        hints.get(slot.0 as usize).copied()
    }

    /// A slot that is in view is in this track now.
    pub(crate) fn set_hint(&mut self, lane: LaneHandle, slot: Slot, track: TrackId) {
        let (lane, slot) = (usize::from(lane.0), slot.0 as usize);
        let all = &mut Arc::make_mut(&mut self.0).hints;
        if all.len() <= lane {
            all.resize_with(lane + 1, Vec::new);
        }
        let hints = &mut all[lane];
        if hints.len() <= slot {
            hints.resize((slot + 1).next_multiple_of(64), TrackId(0));
        }
        hints[slot] = track;
    }

    /// Whether both hold the same tracks in the same states, with the same members in view.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let same = |(a, b): (&SeenTrack, &SeenTrack)| {
            a.key() == b.key() && a.in_view == b.in_view && Arc::ptr_eq(&a.state, &b.state)
        };
        Arc::ptr_eq(&self.0, &other.0) || self.len() == other.len() && self.iter().zip(other.iter()).all(same)
    }
}

/// The crowd of one client.
#[derive(Debug)]
pub(crate) struct Crowd {
    pub(crate) mode: Mode,
    /// All tracks in reach have been told, since tracks tell the view.
    pub(crate) complete: bool,
    /// Everybody in view lived in this tick or later, as far as was told: that of the newest message, unless somebody is
    /// carried, who may be long gone.
    pub(crate) lived: Tick,
    /// No duplicates.
    pub(crate) tracks: SeenTracks,
    /// Whether every member of every track is in view, and nobody is carried, if it is known.
    pub(crate) whole: Option<bool>,
    /// Told no more; what they hold in view is in none of `tracks`.
    pub(crate) carried: Vec<SeenTrack>,
    /// Exactly the slots of those that tracks hold in view.
    pub(crate) slots: SlotBits,
    /// How many these are.
    pub(crate) in_view: usize,
    /// How many members `tracks` have.
    pub(crate) members: usize,
    pub(crate) near: Near,
    pub(crate) identities: Identities,
    pub(crate) period: u32,
    pub(crate) own: Option<(SubjectRef, EntityId)>,
    /// How enters and leaves are told.
    pub(crate) edges: CrowdEdges,
    /// What of the last message is still to be told.
    pub(crate) telling: Option<Telling>,
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            complete: false,
            lived: Tick(0),
            tracks: SeenTracks::default(),
            whole: None,
            carried: Vec::new(),
            slots: SlotBits::default(),
            in_view: 0,
            members: 0,
            near: Near::default(),
            identities: Identities::default(),
            period: 1,
            own: None,
            edges: CrowdEdges::default(),
            telling: None,
        }
    }
}

impl SeenTrack {
    pub(crate) fn key(&self) -> u32 {
        key(self.lane, self.track)
    }

    /// The lane that the track is of.
    #[must_use]
    pub fn lane(&self) -> LaneHandle {
        self.lane
    }

    /// Its number within its lane.
    #[must_use]
    pub fn track(&self) -> TrackId {
        self.track
    }

    /// Its members.
    #[inline]
    #[must_use]
    pub fn state(&self) -> &Arc<TrackState> {
        &self.state
    }

    /// Which of its members are in view.
    #[inline]
    #[must_use]
    pub fn in_view(&self) -> Mask {
        self.in_view
    }

    /// Whether all its members are in view.
    #[inline]
    #[must_use]
    pub fn all_in_view(&self) -> bool {
        self.in_view.len() == self.state.track().len()
    }

    pub(crate) fn name(&self, place: usize) -> Name {
        self.state.track().names()[place]
    }

    pub(crate) fn subject(&self, place: usize) -> SubjectRef {
        let name = self.name(place);
        subject(self.lane, name)
    }

    /// The place of the member in view that has the slot.
    pub(crate) fn seen_place(&self, slot: Slot) -> Option<usize> {
        if self.in_view.is_empty() {
            return None;
        }
        let place = self.state.track().place(slot)?;
        self.in_view.contains(place).then_some(place)
    }
}

pub(crate) fn key(lane: LaneHandle, track: TrackId) -> u32 {
    u32::from(lane.0) << 16 | u32::from(track.0)
}

pub(crate) fn subject(lane: LaneHandle, name: Name) -> SubjectRef {
    SubjectRef {
        lane,
        slot: name.slot,
        generation: name.generation,
    }
}

impl Crowd {
    /// The avatar has joined, maybe by another name.
    pub(crate) fn set_joined(&mut self, joined: &Joined) {
        self.period = joined.rules.crowd_period;
        self.own = Some((joined.avatar, joined.entity));
    }

    /// Nobody is in view by a track, nor will be.
    pub(crate) fn is_idle(&self) -> bool {
        self.mode == Mode::Listed && self.in_view == 0
    }

    /// All tracks that may hold somebody in view.
    pub(crate) fn all_tracks(&self) -> impl Iterator<Item = &SeenTrack> {
        self.tracks.iter().chain(&self.carried)
    }

    pub(crate) fn find(&self, key: u32) -> Result<usize, usize> {
        self.tracks.binary_search_by_key(&key, SeenTrack::key)
    }

    /// Which track holds the slot in view, and where: most often the one that the hint says, else a search of all.
    pub(crate) fn holder(&self, lane: LaneHandle, slot: Slot) -> Option<(&SeenTrack, usize)> {
        if !self.slots.contains(lane, slot) {
            return None;
        }
        let hint = self.tracks.hint(lane, slot);
        let hinted = hint.and_then(|track| {
            let track = &self.tracks[self.find(key(lane, track)).ok()?];
            Some((track, track.seen_place(slot)?))
        });
        hinted.or_else(|| self.search(lane, slot))
    }

    fn search(&self, lane: LaneHandle, slot: Slot) -> Option<(&SeenTrack, usize)> {
        self.all_tracks()
            .filter(|track| track.lane == lane)
            .find_map(|track| Some((track, track.seen_place(slot)?)))
    }

    pub(crate) fn get(&self, subject: SubjectRef) -> Option<(&SeenTrack, usize)> {
        let (track, place) = self.holder(subject.lane, subject.slot)?;
        (track.name(place).generation == subject.generation).then_some((track, place))
    }

    pub(crate) fn entity(&self, subject: SubjectRef) -> Option<EntityId> {
        match self.own {
            Some((own, entity)) if own == subject => Some(entity),
            _ => self.identities.get(subject).map(|identity| identity.entity),
        }
    }

    /// Lets one go that has been found in a list, or another life of its slot: which, and where near states had it, if
    /// they did. `None` if neither is here.
    pub(crate) fn take(&mut self, lane: LaneHandle, slot: Slot) -> Option<(SubjectRef, Option<Motion>)> {
        if !self.slots.contains(lane, slot) {
            return None;
        }
        self.whole = None;
        let mut all = self.tracks.iter_mut().chain(&mut self.carried);
        let subject = all.find_map(|track| {
            let place = track.seen_place(slot).filter(|_| track.lane == lane)?;
            track.in_view.clear(place);
            Some(track.subject(place))
        })?;
        self.slots.remove(lane, slot);
        self.in_view -= 1;
        Some((subject, self.near.motion(subject)))
    }

    /// From here on something else tells the view: what is in view stays until it is found again.
    pub(crate) fn carry(&mut self) -> Result<(), Overfull> {
        self.whole = None;
        let tracks = std::mem::take(&mut self.tracks);
        self.carried.extend_from_slice(&tracks);
        self.carried.retain(|track| !track.in_view.is_empty());
        self.members = 0;
        self.check_carried()
    }

    pub(crate) fn check_carried(&self) -> Result<(), Overfull> {
        let members: usize = self.carried.iter().map(|track| track.state.track().len()).sum();
        if self.carried.len() > TRACKS_MAX || members > MEMBERS_MAX {
            return Err(Overfull);
        }
        Ok(())
    }

    /// An answer to who they are: those of whom it says something new.
    pub(crate) fn learn(&mut self, message: IdentityMessage) -> Vec<IdentityRecord> {
        let mut news = Vec::new();
        for record in message.records.into_iter().take(IDENTIFY_MAX) {
            self.near.note_answered(record.subject);
            if self.get(record.subject).is_some() && self.identities.learn(&record, message.tick) {
                news.push(record);
            }
        }
        news
    }

    /// It is `newest`.
    pub(crate) fn sweep(&mut self, newest: Tick) {
        self.near.sweep(newest, self.period);
    }

    /// Whom to ask about in `newest`, at most `count`: first those of whom something else was told than is known, then
    /// near ones who are not known, in turn.
    pub(crate) fn ask(&mut self, newest: Tick, count: usize) -> Vec<SubjectRef> {
        let mut subjects = Vec::new();
        if self.mode != Mode::Crowd {
            return subjects;
        }
        let count = count.min(IDENTIFY_MAX);
        while subjects.len() < count
            && let Some(subject) = self.near.take_changed()
        {
            if self.get(subject).is_some() {
                self.ask_about(subject, newest, &mut subjects);
            }
        }
        for _ in 0..self.near.len().min(2 * count + LOOK_MORE) {
            if subjects.len() >= count {
                break;
            }
            let next = self.near.take_turn();
            if let Some((track, place)) = next.and_then(|(lane, slot)| self.holder(lane, slot)) {
                let subject = track.subject(place);
                self.ask_about(subject, newest, &mut subjects);
            }
        }
        subjects
    }

    /// Unless it is known or was asked about of late.
    fn ask_about(&mut self, subject: SubjectRef, newest: Tick, subjects: &mut Vec<SubjectRef>) {
        if !self.identities.is_known(subject, newest) && self.near.note_asked(subject) {
            subjects.push(subject);
        }
    }

    /// Takes a chunk of near states in, as far as it is of those in view.
    pub(crate) fn apply_near(
        &mut self,
        tick: Tick,
        lane: LaneHandle,
        chunk: &[u8],
        (listed, store): (&mut Listed, &mut dyn TrackStore),
        counters: &mut StateCounters,
    ) -> Result<(), CodecError> {
        let chunk = store.near(tick, lane, chunk)?;
        // The slots may have had other lives then, as they may have by now if the stream is so far behind that one has
        // rested meanwhile.
        if tick.since(self.lived) > SLOT_REST_TICKS {
            counters.stale += chunk.slots().len() as u64;
            return Ok(());
        }
        let bits = self.slots.lane(lane);
        let is_seen = |slot: Slot| {
            let word = bits.get(slot.0 as usize / 64).copied().unwrap_or(0);
            word & 1 << (slot.0 % 64) != 0
        };
        let mut seen = 0;
        for (slot, position) in chunk.slots().iter().zip(chunk.positions()) {
            if is_seen(*slot) {
                seen += 1;
            } else {
                listed.apply_state(tick, lane, Level::NEAR, (*slot, *position), counters);
            }
        }
        if seen == 0 {
            return Ok(());
        }
        match self.near.insert(Arc::clone(&chunk)) {
            Ok(()) => counters.applied[Level::NEAR.index()] += seen,
            Err(Refused::Duplicate) => counters.duplicate += seen,
            Err(Refused::Stale) => counters.stale += seen,
        }
        for (slot, version) in chunk.versions() {
            let Some((track, place)) = self.holder(lane, *slot) else {
                continue;
            };
            let subject = track.subject(place);
            if self.identities.hear(subject, *version, tick) == Heard::Other {
                self.near.note_changed(subject);
            }
        }
        Ok(())
    }

    /// Where the member at `place` is shown at `now`.
    pub(crate) fn shown(&self, track: &SeenTrack, place: usize, now: f64) -> Shown {
        let state = &track.state;
        let mut cells = [Waypoint {
            tick: 0.0,
            position: Pos::default(),
        }; SAMPLES];
        let count = state.track().samples(place);
        for (i, cell) in cells[..count].iter_mut().enumerate() {
            *cell = Waypoint {
                tick: (state.tick() - u64::from(state.track().age(place, i, state.tick()))).0 as f64,
                position: state.track().position(place, i),
            };
        }
        let near = self.near.states(track.subject(place), self.period);
        shown(&cells[..count], near.as_ref(), now, self.period)
    }
}
