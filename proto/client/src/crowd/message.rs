//! How a crowd message takes effect: whole, and then what it did is told one by one.
//!
//! In three steps. All records are taken in; whoever left a track, or was in one that is dropped, and was in view, is
//! in *limbo* by then. Whoever joined a track and is in limbo, in a carried track or in the list is in view there, and
//! who is left in limbo leaves. Then the rule is applied to every track that was told or changed. So a subject that
//! goes from one track to another, or from one way of telling to the other, makes no edge. One that goes from lane to lane
//! may be in two tracks for some ticks: it is in view by the one that it joined last, and stays as long as one has it.

use super::mask::Mask;
use super::rule::Sight;
use super::settle::{Joined, Lost, Turn};
use super::step::{self, Counts};
use super::view::{Crowd, Mode, SeenTrack, key, subject};
use super::{Advanced, TrackState, TrackStore};
use crate::counters::Counters;
use crate::event::{ClientEvent, CrowdEdges};
use crate::limits::{MEMBERS_MAX, TRACKS_MAX};
use crate::listed::{Listed, Overfull};
use myriad_wire::client::LeaveReason;
use myriad_wire::codec::{CodecError, LENGTH_BYTES};
use myriad_wire::crowd::message::{CrowdHead, Form, Happening, Record, take_head, take_record};
use myriad_wire::{CloseReason, EntityId, SubjectRef, Tick};
use std::hint::black_box;
use std::sync::Arc;
use std::vec::IntoIter;

/// What of a message is to be told. The members meant stay at their places until it is.
#[derive(Debug)]
pub(crate) struct Telling {
    tick: Tick,
    /// By track.
    enters: Vec<(u32, Mask)>,
    happenings: IntoIter<(SubjectRef, Arc<[Happening]>, usize)>,
    leaves: IntoIter<(SubjectRef, Option<EntityId>)>,
}

/// Why a message ends the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Codec(CodecError),
    Overfull,
}

impl From<CodecError> for Fault {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl From<Overfull> for Fault {
    fn from(Overfull: Overfull) -> Self {
        Self::Overfull
    }
}

impl Fault {
    pub(crate) fn close_reason(self) -> CloseReason {
        match self {
            Self::Codec(error) => error.close_reason(),
            Self::Overfull => CloseReason::Oversized,
        }
    }
}

impl Crowd {
    /// A message takes effect. Afterwards [`Self::poll`] tells what it did.
    pub(crate) fn handle(
        &mut self,
        message: &[u8],
        sight: &Sight,
        listed: &mut Listed,
        store: &mut dyn TrackStore,
        counters: &mut Counters,
    ) -> Result<CrowdHead, Fault> {
        debug_assert!(self.telling.is_none(), "the message before has been told");
        let result = self.take_effect(message, sight, listed, store, counters);
        if result.is_err() {
            // What is half done is of no use, and the session is over.
            self.abandon();
        }
        result
    }

    fn abandon(&mut self) {
        *self = Self {
            period: self.period,
            own: self.own,
            edges: self.edges,
            ..Self::default()
        };
    }

    fn take_effect(
        &mut self,
        message: &[u8],
        sight: &Sight,
        listed: &mut Listed,
        store: &mut dyn TrackStore,
        counters: &mut Counters,
    ) -> Result<CrowdHead, Fault> {
        let mut rest = message;
        let head = take_head(&mut rest)?;
        counters.bytes.crowd_state += (LENGTH_BYTES + message.len() - rest.len()) as u64;
        if head.begins {
            self.carry()?;
            self.mode = Mode::Crowd;
            self.complete = false;
        }
        if self.mode == Mode::Listed {
            counters.contradictions += 1;
            counters.bytes.crowd_state += rest.len() as u64;
            return Ok(head);
        }
        let mut turn = Turn::default();
        let can_share = store.keeps_steps() && !head.complete && listed.len() == 0 && self.is_whole();
        match step::split(rest).filter(|_| can_share) {
            Some((states, happenings)) => {
                self.step(head.tick, states, &mut turn, sight, listed, store, counters)?;
                self.take_records(head.tick, happenings, &mut turn, store, counters)?;
            }
            None => {
                self.expect(rest, store);
                self.take_records(head.tick, rest, &mut turn, store, counters)?;
                self.settle(head.tick, &mut turn, sight, listed, counters)?;
            }
        }
        if head.complete {
            self.complete = true;
            self.end_change(&mut turn.leaves, sight, listed)?;
        }
        if self.complete {
            self.lived = self.lived.max(head.tick);
        }
        self.begin_telling(&head, turn, counters);
        Ok(head)
    }

    /// Records of states, which do to all who see all that they are told the same: whoever is the first takes them in,
    /// the others take its step.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one step, all of them needed"
    )]
    fn step(
        &mut self,
        tick: Tick,
        records: &[u8],
        turn: &mut Turn,
        sight: &Sight,
        listed: &mut Listed,
        store: &mut dyn TrackStore,
        counters: &mut Counters,
    ) -> Result<(), Fault> {
        if records.is_empty() {
            return Ok(());
        }
        if let Some(step) = store.recall(&self.tracks, tick, records)
            && self.take_step(&step, sight, turn, counters)?
        {
            return Ok(());
        }
        let (tracks, before) = (self.tracks.clone(), Counts::of(counters));
        self.expect(records, store);
        self.take_records(tick, records, turn, store, counters)?;
        self.settle(tick, turn, sight, listed, counters)?;
        if self.is_whole() {
            self.tracks = store.share(std::mem::take(&mut self.tracks));
            if let Some(step) = self.step_taken(turn, sight, before, counters) {
                store.remember(&tracks, tick, records, step);
            }
        }
        Ok(())
    }

    /// First step.
    fn take_records(
        &mut self,
        tick: Tick,
        mut records: &[u8],
        turn: &mut Turn,
        store: &mut dyn TrackStore,
        counters: &mut Counters,
    ) -> Result<(), Fault> {
        loop {
            let before = records.len();
            let Some(record) = take_record(&mut records)? else {
                return Ok(());
            };
            let bytes = (before - records.len()) as u64;
            self.take_record(tick, &record, bytes, turn, store, counters)?;
        }
    }

    /// Second and third step.
    fn settle(
        &mut self,
        tick: Tick,
        turn: &mut Turn,
        sight: &Sight,
        listed: &mut Listed,
        counters: &mut Counters,
    ) -> Result<(), Overfull> {
        self.whole = None;
        self.settle_joins(turn, tick, listed, counters)?;
        self.settle_limbo(turn, sight, listed)?;
        self.apply_rule(turn, sight, counters)
    }

    /// Looks ahead at which tracks a message tells. Of ten thousand clients' tracks none is in a cache when its turn
    /// comes, and to wait for them one behind the other takes longer than to decode them: so first the list of tracks is
    /// read, then the head of each that is meant, and then the store sees to the rest.
    fn expect(&self, mut records: &[u8], store: &mut dyn TrackStore) {
        black_box(self.tracks.iter().fold(0, |sum, track| sum | track.key()));
        let mut told: Vec<&TrackState> = Vec::new();
        while let Ok(Some(record)) = take_record(&mut records) {
            if record.form == Form::Delta
                && let Ok(at) = self.find(key(record.lane, record.track))
            {
                told.push(&self.tracks[at].state);
            }
        }
        black_box(told.iter().fold(0, |sum, state| sum | state.tick().0));
        store.expect(&told);
    }

    /// One record is taken in.
    fn take_record(
        &mut self,
        tick: Tick,
        record: &Record<'_>,
        bytes: u64,
        turn: &mut Turn,
        store: &mut dyn TrackStore,
        counters: &mut Counters,
    ) -> Result<(), Fault> {
        let key = key(record.lane, record.track);
        let known = self.find(key);
        match (record.form, known) {
            (Form::Keyframe, known) => {
                counters.bytes.crowd_keyframe += bytes;
                let state = store.begin(tick, record.bytes)?;
                self.members += state.track().len();
                let track = SeenTrack {
                    lane: record.lane,
                    track: record.track,
                    state,
                    in_view: Mask::default(),
                };
                match known {
                    Ok(at) => {
                        counters.contradictions += 1;
                        let before = std::mem::replace(&mut self.tracks[at], track);
                        self.lose(&before, &mut turn.limbo);
                    }
                    Err(at) => self.tracks.insert(at, track),
                }
                if self.members > MEMBERS_MAX || self.tracks.len() > TRACKS_MAX {
                    return Err(Fault::Overfull);
                }
                turn.touched.push((key, Joined::All));
            }
            (Form::Delta, Ok(at)) => {
                let track = &mut self.tracks[at];
                let before = (!self.complete && !track.in_view.is_empty()).then(|| {
                    turn.before.push(track.clone());
                    turn.before.len() - 1
                });
                // The store gets the state alone, so that nobody else holds it when it changes.
                let previous = std::mem::replace(&mut track.state, empty());
                self.members -= previous.track().len();
                let Advanced { state, done } = store.advance(previous, tick, record.bytes)?;
                track.state = state;
                self.members += track.state.track().len();
                if self.members > MEMBERS_MAX {
                    return Err(Fault::Overfull);
                }
                let bits = done.regrouped().map_or(0, |applied| applied.membership_bits);
                let of_members = if done.told() {
                    u64::from(bits.div_ceil(8))
                } else {
                    bytes
                };
                counters.bytes.crowd_membership += of_members;
                counters.bytes.crowd_state += bytes - of_members;
                if let Some(applied) = done.regrouped() {
                    track.regroup(applied, before, &mut turn.limbo);
                }
                turn.touched.push((key, Joined::Some(done)));
            }
            (Form::Drop, Ok(at)) => {
                counters.bytes.crowd_membership += bytes;
                let before = self.tracks.remove(at);
                self.lose(&before, &mut turn.limbo);
            }
            (Form::Events, Ok(_)) => {
                counters.bytes.crowd_events += bytes;
                let list = store.happenings(tick, record.bytes)?;
                turn.happenings.push((key, record.lane, list));
            }
            (Form::Delta | Form::Drop | Form::Events, Err(_)) => {
                counters.bytes.crowd_state += bytes;
                counters.contradictions += 1;
            }
        }
        Ok(())
    }

    /// A track is told no more: who of it is in view is in limbo.
    fn lose(&mut self, track: &SeenTrack, limbo: &mut Vec<Lost>) {
        self.members -= track.state.track().len();
        limbo.extend(
            track
                .in_view
                .iter()
                .map(|place| Lost::new(track.lane, track.name(place))),
        );
    }

    /// Third step: the rule, to every track that was told or changed.
    fn apply_rule(
        &mut self,
        turn: &mut Turn,
        sight: &Sight,
        counters: &mut Counters,
    ) -> Result<(), Overfull> {
        let mut enters = Vec::new();
        for (key, joined) in &turn.touched {
            let Ok(at) = self.find(*key) else { continue };
            let (was, now) = (self.tracks[at].in_view, self.tracks[at].rule(sight));
            if was != now {
                let entering = self.change(at, now, &mut turn.leaves, counters)?;
                if !entering.is_empty() {
                    enters.push((*key, entering));
                }
            }
            if let Joined::Some(done) = joined {
                let track = &self.tracks[at];
                let seen = if done.told() {
                    track.in_view.len() as u64
                } else {
                    let joined = done.regrouped().map_or(&[][..], |applied| &applied.joined);
                    let places = joined.iter().filter_map(|name| track.seen_place(name.slot));
                    places.count() as u64
                };
                counters.states.crowd += seen;
                counters.states.crowd_unseen += u64::from(done.states()).saturating_sub(seen);
            }
        }
        enters.reverse();
        turn.enters = enters;
        Ok(())
    }

    /// Those in view of the track at `at` become `now`. Returns who enters.
    fn change(
        &mut self,
        at: usize,
        now: Mask,
        leaves: &mut Vec<(SubjectRef, Option<EntityId>)>,
        counters: &mut Counters,
    ) -> Result<Mask, Overfull> {
        let was = self.tracks[at].in_view;
        let state = Arc::clone(&self.tracks[at].state);
        let lane = self.tracks[at].lane;
        for place in was.without(now).iter() {
            self.leave(subject(lane, state.track().names()[place]), leaves);
        }
        let (mut now, mut entering) = (now, now.without(was));
        for place in entering.iter() {
            let slot = state.track().names()[place].slot;
            if self.slots.insert(lane, slot)? {
                let track = self.tracks[at].track;
                self.tracks.set_hint(lane, slot, track);
                self.in_view += 1;
            } else {
                // Another track holds a life of that slot; the same one if it goes from lane to lane.
                let name = state.track().names()[place];
                if self.get(subject(lane, name)).is_none() {
                    counters.contradictions += 1;
                }
                now.clear(place);
                entering.clear(place);
            }
        }
        self.tracks[at].in_view = now;
        Ok(entering)
    }

    /// All has been told: who was not found again leaves.
    fn end_change(
        &mut self,
        leaves: &mut Vec<(SubjectRef, Option<EntityId>)>,
        sight: &Sight,
        listed: &mut Listed,
    ) -> Result<(), Overfull> {
        let is_listed = self.mode == Mode::Listed;
        listed.complete(is_listed, sight.own, leaves);
        for track in std::mem::take(&mut self.carried) {
            for place in track.in_view.iter() {
                let name = track.name(place);
                let subject = subject(track.lane, name);
                if is_listed {
                    // The list would have told the own avatar too.
                    self.leave(subject, leaves);
                } else {
                    self.leave_or_keep(subject, name, leaves, sight, listed)?;
                }
            }
        }
        self.slots.trim();
        Ok(())
    }

    /// The view is told subject by subject from here on, or has been: `complete`.
    pub(crate) fn handle_listed(
        &mut self,
        tick: Tick,
        complete: bool,
        sight: &Sight,
        listed: &mut Listed,
        counters: &mut Counters,
    ) -> Result<(), Overfull> {
        self.mode = Mode::Listed;
        self.carry()?;
        if !complete {
            listed.carry();
            return Ok(());
        }
        let mut turn = Turn::default();
        self.end_change(&mut turn.leaves, sight, listed)?;
        self.lived = self.lived.max(tick);
        self.near.clear();
        self.identities = Default::default();
        let head = CrowdHead {
            tick,
            ..CrowdHead::default()
        };
        self.begin_telling(&head, turn, counters);
        Ok(())
    }

    fn begin_telling(&mut self, head: &CrowdHead, mut turn: Turn, counters: &mut Counters) {
        let mut enters = std::mem::take(&mut turn.enters);
        counters.entered += enters.iter().map(|(_, mask)| mask.len() as u64).sum::<u64>();
        counters.left += turn.leaves.len() as u64;
        let happenings = self.happenings_in_view(&mut turn);
        if self.edges == CrowdEdges::Untold {
            enters.clear();
            turn.leaves.clear();
        }
        self.telling = Some(Telling {
            // A lane that lags is told behind the others, under its own tick: nobody is told of a tick that has passed.
            tick: head.tick.max(self.lived),
            enters,
            happenings: happenings.into_iter(),
            leaves: turn.leaves.into_iter(),
        });
    }

    /// What happened to those in view, or to those who leave in this tick.
    fn happenings_in_view(&self, turn: &mut Turn) -> Vec<(SubjectRef, Arc<[Happening]>, usize)> {
        let mut told = Vec::new();
        if turn.happenings.is_empty() {
            return told;
        }
        let mut leaving: Vec<SubjectRef> = turn.leaves.iter().map(|(subject, _)| *subject).collect();
        leaving.sort_unstable();
        for (key, lane, list) in std::mem::take(&mut turn.happenings) {
            let track = self.find(key).ok().map(|at| &self.tracks[at]);
            for (i, happening) in list.iter().enumerate() {
                let who = SubjectRef {
                    lane,
                    slot: happening.slot,
                    generation: happening.generation,
                };
                let is_seen = track.is_some_and(|track| {
                    let place = track.seen_place(who.slot);
                    place.is_some_and(|place| track.name(place).generation == who.generation)
                });
                // Of one that is in two tracks either may tell, and it is in view by one of them.
                if is_seen || leaving.binary_search(&who).is_ok() || self.get(who).is_some() {
                    told.push((who, Arc::clone(&list), i));
                }
            }
        }
        told
    }

    /// The next thing to be told of the last message.
    pub(crate) fn poll(&mut self) -> Option<ClientEvent> {
        let telling = self.telling.as_mut()?;
        let tick = telling.tick;
        while let Some((key, mask)) = telling.enters.last_mut() {
            let at = self.tracks.binary_search_by_key(key, SeenTrack::key);
            let track = &self.tracks[at.expect("a track stays until it is told")];
            if self.edges == CrowdEdges::Together {
                let (_, places) = telling.enters.pop().expect("it is there");
                return Some(ClientEvent::EnterTogether {
                    tick,
                    lane: track.lane,
                    track: Arc::clone(&track.state),
                    places,
                });
            }
            let Some(place) = mask.take_first() else {
                telling.enters.pop();
                continue;
            };
            let subject = track.subject(place);
            return Some(ClientEvent::Enter {
                tick,
                subject,
                entity: self.entity(subject),
                kind: track.name(place).kind,
                position: track.state.position(place),
            });
        }
        if let Some((subject, list, index)) = telling.happenings.next() {
            if self.edges == CrowdEdges::Together {
                return Some(ClientEvent::EventOf {
                    tick,
                    subject,
                    list,
                    index,
                });
            }
            let Happening { name, arguments, .. } = list[index].clone();
            return Some(ClientEvent::Event {
                tick,
                subject,
                name,
                arguments,
            });
        }
        let Some((subject, entity)) = telling.leaves.next() else {
            self.telling = None;
            return None;
        };
        Some(ClientEvent::Leave {
            tick,
            subject,
            entity,
            reason: LeaveReason::OutOfView,
        })
    }
}

/// Stands in a track's place while its state is with the store.
fn empty() -> Arc<TrackState> {
    static EMPTY: std::sync::OnceLock<Arc<TrackState>> = std::sync::OnceLock::new();
    Arc::clone(EMPTY.get_or_init(|| {
        Arc::new(TrackState::from_keyframe(Tick(0), &[0; 6]).expect("the keyframe of a track of nobody"))
    }))
}
