//! The view: who is there, where, and with which properties.
//!
//! Subjects are told one by one ([`crate::listed`]) or by tracks ([`crate::crowd`]), for a moment some this way and
//! some that; here they are one set. The view knows neither the stream nor datagrams; [`crate::order`] decides when
//! something takes effect.

use crate::counters::StateCounters;
use crate::crowd::TrackStore;
use crate::crowd::near::NearChunk;
use crate::crowd::view::{Crowd, SeenTrack, SeenTracks};
use crate::listed::{Entered, Listed, Overfull, Record};
use crate::motion::{Motion, Shown};
use myriad_wire::client::Enter;
use myriad_wire::codec::CodecError;
use myriad_wire::track::Level;
use myriad_wire::value::PropertyList;
use myriad_wire::{EntityId, KindId, LaneHandle, Pos, PropertyIndex, SubjectRef, Tick, Value};
use std::sync::Arc;

/// The subjects in view. Order of iteration is arbitrary, but stays as it is between two messages.
#[derive(Debug, Default)]
pub struct View {
    pub(crate) listed: Listed,
    pub(crate) crowd: Crowd,
    replaced: Vec<(SubjectRef, Option<EntityId>)>,
    /// The newest tick heard of: full ticks are told from 32-bit ones by their distance to it.
    pub(crate) newest: Tick,
}

/// How often and how exactly a subject is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// One by one, at this level; `None` while there is only the enter.
    Listed(Option<Level>),
    /// In a crowd, every tick.
    Near,
    /// In a crowd, by its track.
    Crowd,
}

/// Where one near subject of a crowd is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NearState {
    /// Who.
    pub subject: SubjectRef,
    /// When.
    pub tick: Tick,
    /// Where.
    pub position: Pos,
}

impl View {
    /// How many subjects are in view, the own avatar included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.listed.len() + self.crowd.in_view
    }

    /// Whether nobody is in view.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All subjects, in no particular order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Subject<'_>> {
        Subjects {
            left: self.len(),
            listed: self.listed(),
            members: self
                .tracks()
                .flat_map(move |track| track.in_view.iter().map(move |place| self.member(track, place))),
        }
    }

    /// Those who are told one by one: all of them, unless in a crowd.
    pub fn listed(&self) -> impl ExactSizeIterator<Item = Subject<'_>> {
        (0..self.listed.len()).map(|place| {
            let (record, motion) = self.listed.at(place);
            self.told_alone(record, motion)
        })
    }

    /// All tracks that are told, and those that still hold somebody in view who is yet to be found in another one: for
    /// bulk access to a crowd. Nobody is in view in two of them.
    pub fn tracks(&self) -> impl Iterator<Item = &SeenTrack> {
        self.crowd.all_tracks()
    }

    /// The tracks, if they are all there is to the view: every member of each is in view, and nobody else. Clients whose
    /// store keeps steps share them.
    #[must_use]
    pub fn whole(&self) -> Option<&SeenTracks> {
        let is_whole = self.crowd.whole == Some(true) && self.crowd.complete && self.listed.len() == 0;
        is_whole.then_some(&self.crowd.tracks)
    }

    /// The near subjects of a crowd, in no particular order. A search for each: see [`Self::near_chunks`] for bulk access.
    pub fn near(&self) -> impl Iterator<Item = NearState> {
        let states = self.near_chunks().iter().flat_map(|chunk| {
            let states = chunk.slots().iter().zip(chunk.positions());
            states.map(move |(slot, position)| (chunk, *slot, *position))
        });
        states.filter_map(|(chunk, slot, position)| {
            let (track, place) = self.crowd.holder(chunk.lane(), slot)?;
            Some(NearState {
                subject: track.subject(place),
                tick: chunk.tick(),
                position,
            })
        })
    }

    /// The near states of the newest tick, if they have come, as they came: of subjects in view, and maybe of others.
    #[must_use]
    pub fn near_chunks(&self) -> &[Arc<NearChunk>] {
        self.crowd.near.chunks()
    }

    /// Whether tracks tell the view (or did, until it has been told one by one).
    #[must_use]
    pub fn is_crowd(&self) -> bool {
        !self.crowd.is_idle()
    }

    /// The subject, if it is in view. In a crowd a search over all tracks.
    #[must_use]
    pub fn get(&self, subject: SubjectRef) -> Option<Subject<'_>> {
        if let Some((record, motion)) = self.listed.get(subject) {
            return Some(self.told_alone(record, motion));
        }
        let (track, place) = self.crowd.get(subject)?;
        Some(self.member(track, place))
    }

    /// The member of `track` at `place`, which [`SeenTrack::in_view`] contains.
    ///
    /// # Panics
    /// If there is no such member.
    #[must_use]
    pub fn member<'a>(&'a self, track: &'a SeenTrack, place: usize) -> Subject<'a> {
        let slot = track.name(place).slot;
        let near = self.crowd.near.position(track.lane, slot);
        Subject {
            newest: self.newest,
            told: Told::Member {
                crowd: &self.crowd,
                track,
                place,
                near: near.map(|position| (self.newest, position)),
            },
        }
    }

    fn told_alone<'a>(&'a self, record: &'a Record, motion: &'a Motion) -> Subject<'a> {
        Subject {
            newest: self.newest,
            told: Told::Alone { record, motion },
        }
    }

    pub(crate) fn prefetch(&self, subjects: impl Iterator<Item = SubjectRef> + Clone) {
        self.listed.prefetch(subjects);
    }

    /// Takes a subject in, or finds that it was there all the time.
    pub(crate) fn enter(&mut self, tick: Tick, enter: Enter) -> Result<Entered, Overfull> {
        if self.crowd.is_idle() {
            return self.listed.enter(tick, enter);
        }
        let subject = enter.subject;
        let Some((found, motion)) = self.crowd.take(subject.lane, subject.slot) else {
            return self.listed.enter(tick, enter);
        };
        if found != subject {
            self.replaced.push((found, self.crowd.entity(found)));
            return self.listed.enter(tick, enter);
        }
        let known = self.crowd.identities.remove(subject);
        let news = known.is_none_or(|known| {
            known.entity != enter.entity || known.properties(tick) != enter.properties.as_slice()
        });
        self.listed.enter(tick, enter)?;
        if let Some(motion) = motion {
            self.listed.resume(subject, motion);
        }
        Ok(Entered::Found { news })
    }

    /// One who was carried on until another life of its slot entered. Its leave is to be told.
    pub(crate) fn take_replaced(&mut self) -> Option<(SubjectRef, Option<EntityId>)> {
        self.replaced.pop()
    }

    /// Changes properties. `Ok(false)` if the subject is not in view.
    pub(crate) fn change(
        &mut self,
        tick: Tick,
        subject: SubjectRef,
        properties: &PropertyList,
    ) -> Result<bool, Overfull> {
        self.listed.change(tick, subject, properties)
    }

    /// An event of the subject is being told. `false` if it is not in view.
    pub(crate) fn event(&mut self, tick: Tick, subject: SubjectRef) -> bool {
        self.listed.event(tick, subject)
    }

    /// Lets a subject go. `None` if it is not in view.
    pub(crate) fn leave(&mut self, subject: SubjectRef) -> Option<EntityId> {
        self.listed.leave(subject)
    }

    /// Something of `tick` was heard.
    pub(crate) fn note(&mut self, tick: Tick) {
        if tick > self.newest {
            self.newest = tick;
            self.crowd.sweep(tick);
        }
    }

    /// Applies the states of one chunk.
    pub(crate) fn apply_chunk(
        &mut self,
        tick: Tick,
        lane: LaneHandle,
        chunk: &[u8],
        store: &mut dyn TrackStore,
        counters: &mut StateCounters,
    ) -> Result<(), CodecError> {
        let is_near = chunk.first().copied().and_then(Level::new) == Some(Level::NEAR);
        if self.crowd.is_idle() || !is_near {
            return self.listed.apply_chunk(tick, lane, chunk, counters);
        }
        let others = (&mut self.listed, store);
        self.crowd.apply_near(tick, lane, chunk, others, counters)
    }
}

/// Subjects whose number is known.
struct Subjects<A, B> {
    left: usize,
    listed: A,
    members: B,
}

impl<'a, A: Iterator<Item = Subject<'a>>, B: Iterator<Item = Subject<'a>>> Iterator for Subjects<A, B> {
    type Item = Subject<'a>;

    fn next(&mut self) -> Option<Subject<'a>> {
        let next = self.listed.next().or_else(|| self.members.next())?;
        self.left -= 1;
        Some(next)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a, A: Iterator<Item = Subject<'a>>, B: Iterator<Item = Subject<'a>>> ExactSizeIterator
    for Subjects<A, B>
{
}

/// One subject in view.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    told: Told<'a>,
    newest: Tick,
}

#[derive(Clone, Copy, Debug)]
enum Told<'a> {
    Alone {
        record: &'a Record,
        motion: &'a Motion,
    },
    Member {
        crowd: &'a Crowd,
        track: &'a SeenTrack,
        place: usize,
        /// What near states say, while they come.
        near: Option<(Tick, Pos)>,
    },
}

impl<'a> Subject<'a> {
    /// Its name on the wire.
    #[inline]
    #[must_use]
    pub fn subject(&self) -> SubjectRef {
        match self.told {
            Told::Alone { record, .. } => record.subject,
            Told::Member { track, place, .. } => track.subject(place),
        }
    }

    /// Its identity. In a crowd `None` until it has been asked for and told.
    #[inline]
    #[must_use]
    pub fn entity(&self) -> Option<EntityId> {
        match self.told {
            Told::Alone { record, .. } => Some(record.entity),
            Told::Member {
                crowd, track, place, ..
            } => crowd.entity(track.subject(place)),
        }
    }

    /// Its kind.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> KindId {
        match self.told {
            Told::Alone { record, .. } => record.kind,
            Told::Member { track, place, .. } => track.name(place).kind,
        }
    }

    /// The tick in which it entered. Not kept of members of a crowd.
    #[inline]
    #[must_use]
    pub fn entered(&self) -> Option<Tick> {
        match self.told {
            Told::Alone { record, .. } => Some(record.entered),
            Told::Member { .. } => None,
        }
    }

    /// Its public properties, by ascending number. In a crowd none until they have been asked for and told, and none
    /// again when it is long ago that the server confirmed them.
    #[must_use]
    pub fn properties(&self) -> &'a [(PropertyIndex, Value)] {
        match self.told {
            Told::Alone { record, .. } => &record.properties,
            Told::Member {
                crowd, track, place, ..
            } => {
                let identity = crowd.identities.get(track.subject(place));
                identity.map_or(&[], |identity| identity.properties(self.newest))
            }
        }
    }

    /// One public property.
    #[must_use]
    pub fn property(&self, index: PropertyIndex) -> Option<&'a Value> {
        let properties = self.properties();
        let at = properties
            .binary_search_by_key(&index, |(index, _)| *index)
            .ok()?;
        Some(&properties[at].1)
    }

    /// The tick of its newest state; that of its enter until a state came.
    #[inline]
    #[must_use]
    pub fn state_tick(&self) -> Tick {
        match self.told {
            Told::Alone { motion, .. } => motion.tick(self.newest),
            Told::Member {
                near: Some((tick, _)),
                ..
            } => tick,
            Told::Member { track, place, .. } => track.state.state_tick(place),
        }
    }

    /// Where it was in [`Self::state_tick`]. The middle of a cell: at most 1/128 m per axis off if it is near, 1/32 m
    /// at other levels, 1/8 m in the crowd.
    #[inline]
    #[must_use]
    pub fn position(&self) -> Pos {
        match self.told {
            Told::Alone { motion, .. } => motion.position(),
            Told::Member {
                near: Some((_, position)),
                ..
            } => position,
            Told::Member { track, place, .. } => track.state.position(place),
        }
    }

    /// How it is told.
    #[inline]
    #[must_use]
    pub fn tier(&self) -> Tier {
        match self.told {
            Told::Alone { motion, .. } => Tier::Listed(motion.level()),
            Told::Member { near: Some(_), .. } => Tier::Near,
            Told::Member { near: None, .. } => Tier::Crowd,
        }
    }

    /// The level that its newest state came in, [`Level::CROWD`] for one of a crowd's track; `None` while there is
    /// only the enter.
    #[inline]
    #[must_use]
    pub fn level(&self) -> Option<Level> {
        match self.tier() {
            Tier::Listed(level) => level,
            Tier::Near => Some(Level::NEAR),
            Tier::Crowd => Some(Level::CROWD),
        }
    }

    /// Where to show it when it is `tick_now` (see [`crate::Client::tick_now`]): one interpolation delay earlier. In a
    /// crowd the delay changes little by little when near states begin or end, so [`Shown::tick`] says which moment
    /// it is.
    #[must_use]
    pub fn shown(&self, tick_now: f64) -> Shown {
        match self.told {
            Told::Alone { motion, .. } => motion.shown(self.newest, tick_now),
            Told::Member {
                crowd, track, place, ..
            } => crowd.shown(track, place, tick_now),
        }
    }
}
