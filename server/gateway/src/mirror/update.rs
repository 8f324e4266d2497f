//! One frame on its way into the mirror.
//!
//! A lane is heard of whom it has authority over, and of nobody else. It gets authority by a join: of a life that nobody
//! has, or one that has been handed off more often than anybody has said. So whoever did not notice that it lost an
//! entity is fenced, in whichever order frames come.

use super::Sink;
use super::lives::{Life, Lives};
use super::near::NearTracks;
use crate::idset::IdSet;
use myriad_wire::crowd::message::Form;
use myriad_wire::fabric::{
    ChangeRecord, CrowdRecord, EventRecord, Frame, Issuer, JoinRecord, LayersRecord, LeaveRecord, TrackRecord,
};
use myriad_wire::limits::{ARGUMENTS_MAX, NAME_BYTES_MAX, PROPERTIES_MAX, TEXT_BYTES_MAX};
use myriad_wire::track::{Level, State, decode_chunk};
use myriad_wire::value::PropertyList;
use myriad_wire::{EntityName, Generation, LaneEpoch, LaneHandle, Slot, Value};

/// One frame on its way into the mirror.
pub(super) struct Update<'a, 'b> {
    /// The lane's number.
    lane: usize,
    lives: &'a mut Lives,
    near: &'a mut NearTracks,
    scratch: &'a mut Vec<State>,
    /// The frame's.
    issuers: Vec<LaneEpoch>,
    /// In the same order; `None` if no such name is known.
    handles: Vec<Option<LaneHandle>>,
    sink: &'a mut Sink<'b>,
}

impl<'a, 'b> Update<'a, 'b> {
    pub(super) fn new(
        lane: usize,
        issuers: Vec<LaneEpoch>,
        lives: &'a mut Lives,
        near: &'a mut NearTracks,
        scratch: &'a mut Vec<State>,
        sink: &'a mut Sink<'b>,
    ) -> Self {
        let handles = issuers.iter().map(|epoch| lives.issuers.handle(*epoch)).collect();
        Self {
            lane,
            lives,
            near,
            scratch,
            issuers,
            handles,
            sink,
        }
    }

    /// Takes all of the frame but its crowd records.
    pub(super) fn take(&mut self, frame: Frame, is_keyframe: bool) {
        if is_keyframe {
            self.replace(&frame.joins, &frame.leaves);
        }
        for join in frame.joins {
            self.join(join);
        }
        for record in &frame.layers {
            self.set_layers(record);
        }
        for record in &frame.changes {
            self.change(record);
        }
        self.take_tracks(&frame.tracks);
        self.take_events(&frame.events);
        if !is_keyframe {
            for record in &frame.leaves {
                self.leave(record);
            }
        }
    }

    /// Answers the handles of the frame's issuers, in the order of its table. A crowd track that begins keeps its
    /// issuer's handle alive, whoever lives.
    pub(super) fn admit_crowd(mut self, records: &[CrowdRecord]) -> Vec<Option<LaneHandle>> {
        for record in records.iter().filter(|record| record.form == Form::Keyframe) {
            self.admit(record.issuer);
        }
        self.handles
    }

    /// The handle of an issuer, if names of it are known.
    fn handle(&self, issuer: Issuer) -> Option<LaneHandle> {
        *self.handles.get(usize::from(issuer.0))?
    }

    /// The handle of an issuer whose names are told here. `None`, counted, if it is none or can't get one.
    fn admit(&mut self, issuer: Issuer) -> Option<LaneHandle> {
        let place = usize::from(issuer.0);
        let Some(epoch) = self.issuers.get(place) else {
            self.sink.counters.records_refused += 1;
            return None;
        };
        if self.handles[place].is_none() {
            let handle = self.lives.issuers.admit(*epoch, self.sink.now);
            self.sink.counters.issuers_refused += u64::from(handle.is_none());
            // A table that names one twice is clumsy, no more.
            if handle.is_some() {
                let places = self.issuers.iter().zip(&mut self.handles);
                places
                    .filter(|(other, _)| *other == epoch)
                    .for_each(|(_, place)| *place = handle);
            }
            return handle;
        }
        self.handles[place]
    }

    fn find(&self, issuer: Issuer, slot: Slot) -> Option<Life> {
        self.lives.find(self.handle(issuer)?, slot)
    }

    /// The life that is spoken of, if the lane has authority over it; else that is counted.
    fn held(&mut self, issuer: Issuer, slot: Slot) -> Option<Life> {
        let Some(life) = self.find(issuer, slot) else {
            self.sink.counters.records_refused += 1;
            return None;
        };
        if !life.holder.is(self.lane) {
            self.sink.counters.records_foreign += 1;
            return None;
        }
        Some(life)
    }

    /// The life that `join` is of, if it lives.
    fn renewed(&self, join: &JoinRecord) -> Option<Life> {
        let life = self.find(join.issuer, join.slot)?;
        let subject = self.lives.of(&life);
        let is_it =
            (life.generation, subject.entity, subject.kind) == (join.generation, join.entity, join.kind);
        is_it.then_some(life)
    }

    /// Ends all lives that the lane had authority over and that its keyframe names no more. Whom it let go lately may be
    /// one of them still, because the word was lost.
    fn replace(&mut self, joins: &[JoinRecord], leaves: &[LeaveRecord]) {
        self.sink.counters.keyframes_applied += 1;
        let mut stays = IdSet::default();
        for life in joins.iter().filter_map(|join| self.renewed(join)) {
            stays.insert(life.id);
        }
        for leave in leaves.iter().filter(|leave| leave.to.is_some()) {
            if let Some(life) = self.find(leave.issuer, leave.slot)
                && life.generation == leave.generation
                && life.holder.is(self.lane)
                && !stays.contains(life.id)
            {
                self.lives.depart(&life, self.sink.now);
            }
        }
        let over: Vec<Life> = self
            .lives
            .held_by(self.lane)
            .filter(|life| !stays.contains(life.id))
            .collect();
        for life in over {
            self.end(&life);
        }
    }

    fn join(&mut self, join: JoinRecord) {
        if !sound(&join.properties) {
            self.sink.counters.records_refused += 1;
            return;
        }
        let Some(handle) = self.admit(join.issuer) else {
            return;
        };
        if let Some(life) = self.renewed(&join) {
            if !life.holder.is(self.lane) {
                if join.hop <= self.lives.of(&life).hop {
                    self.sink.counters.entities_fenced += 1;
                    return;
                }
                self.lives.claim(&life, self.lane, join.hop);
            }
            self.renew(handle, &life, join);
            return;
        }
        if let Some(life) = self.lives.find(handle, join.slot) {
            // The issuer has given the slot to its next life, so this one is over, whoever had it.
            if !life.holder.is(self.lane) && !is_later(join.generation, life.generation) {
                self.sink.counters.entities_fenced += 1;
                return;
            }
            self.end(&life);
        }
        let name = EntityName {
            issuer: self.issuers[usize::from(join.issuer.0)],
            slot: join.slot,
            generation: join.generation,
        };
        if self.lives.is_over(name, join.hop) {
            self.sink.counters.entities_fenced += 1;
            return;
        }
        let now = self.sink.now;
        if !self.lives.start(self.lane, handle, join, now, self.sink.engine) {
            self.sink.counters.records_refused += 1;
        }
    }

    /// A life goes on; the join says how.
    fn renew(&mut self, handle: LaneHandle, life: &Life, join: JoinRecord) {
        let name = (handle, join.slot);
        self.lives.set_layers(life, join.layers, self.sink.engine);
        self.lives
            .set_position(self.lane, name, join.position, self.sink.engine);
        let now = self.sink.now;
        let subject = self.lives.of_mut(life);
        (subject.version, subject.versioned) = (join.version, now);
        // It may have been elsewhere and come back, with all the words of that lost.
        subject.hop = subject.hop.max(join.hop);
        let changed: PropertyList = join
            .properties
            .into_iter()
            .filter(|property| !subject.properties.contains(property))
            .collect();
        if !changed.is_empty() {
            self.set_properties(life, &changed);
        }
    }

    fn end(&mut self, life: &Life) {
        let Sink {
            now, engine, records, ..
        } = self.sink;
        self.lives.end(life, *now, engine, records);
    }

    fn leave(&mut self, record: &LeaveRecord) {
        let life = self
            .find(record.issuer, record.slot)
            .filter(|life| life.generation == record.generation);
        match life {
            Some(life) if life.holder.is(self.lane) => match record.to {
                None => self.end(&life),
                Some(_) => self.lives.depart(&life, self.sink.now),
            },
            // Whom another lane has claimed before this frame came is where it should be.
            _ if record.to.is_some() => {}
            // It came to this lane and ended there in one tick.
            Some(life) if record.hop > self.lives.of(&life).hop => {
                let claimed = self.lives.claim(&life, self.lane, record.hop);
                self.end(&claimed);
            }
            Some(_) => self.sink.counters.records_foreign += 1,
            None => self.sink.counters.records_refused += 1,
        }
    }

    fn set_layers(&mut self, record: &LayersRecord) {
        if let Some(life) = self.held(record.issuer, record.slot) {
            self.lives.set_layers(&life, record.layers, self.sink.engine);
        }
    }

    fn change(&mut self, record: &ChangeRecord) {
        if !sound(&record.properties) {
            self.sink.counters.records_refused += 1;
        } else if let Some(life) = self.held(record.issuer, record.slot) {
            self.set_properties(&life, &record.properties);
        }
    }

    fn set_properties(&mut self, life: &Life, properties: &PropertyList) {
        let now = self.sink.now;
        let subject = self.lives.of_mut(life);
        if subject.versioned != now {
            subject.version = subject.version.wrapping_add(1);
            subject.versioned = now;
        }
        for (index, value) in properties {
            match subject
                .properties
                .binary_search_by_key(index, |property| property.0)
            {
                Ok(place) => subject.properties[place].1.clone_from(value),
                Err(place) => subject.properties.insert(place, (*index, value.clone())),
            }
        }
        let subject = self.lives.of(life);
        self.sink.records.put_change(life.id, subject, properties);
    }

    fn take_events(&mut self, events: &[EventRecord]) {
        // By subject, and within it in the frame's order.
        let mut order: Vec<&EventRecord> = events.iter().collect();
        order.sort_by_key(|event| (event.issuer, event.slot));
        for event in order {
            let sound = (1..=NAME_BYTES_MAX).contains(&event.name.len())
                && event.arguments.len() <= ARGUMENTS_MAX
                && event.arguments.iter().all(is_short);
            if !sound {
                self.sink.counters.records_refused += 1;
            } else if let Some(life) = self.held(event.issuer, event.slot) {
                let name = self.lives.of(&life).name;
                self.sink.crowd.put_event(name, life.layers, event);
                self.sink.records.put_event(life.id, name, event);
            }
        }
    }

    /// Takes the positions out of the near level, and all chunks for sending.
    fn take_tracks(&mut self, tracks: &[TrackRecord]) {
        self.near.clear();
        for track in tracks {
            let Some(issuer) = self.handle(track.issuer) else {
                self.sink.counters.chunks_refused += 1;
                continue;
            };
            // A track that holds somebody of another class would show them to those who must not see them, one that
            // holds somebody of another lane would say where they were.
            if self.take_positions(issuer, track) {
                self.near.pack(issuer, track, self.sink.counters);
            }
        }
    }

    /// Whether all members that are alive are of the track's class and of the lane.
    fn take_positions(&mut self, issuer: LaneHandle, track: &TrackRecord) -> bool {
        let (mut of_one_class, mut of_the_lane) = (true, true);
        for chunk in &track.levels[Level::NEAR.index()] {
            self.scratch.clear();
            if decode_chunk(chunk, |state| self.scratch.push(state)) != Ok(Level::NEAR) {
                self.sink.counters.chunks_refused += 1;
                continue;
            }
            for state in self.scratch.iter() {
                let (name, position) = ((issuer, state.slot), state.position.to_wire());
                match self
                    .lives
                    .set_position(self.lane, name, position, self.sink.engine)
                {
                    Some(life) => {
                        of_one_class &= life.layers == track.layers;
                        of_the_lane &= life.holder.is(self.lane);
                    }
                    None => self.sink.counters.records_refused += 1,
                }
            }
        }
        self.sink.counters.chunks_refused += u64::from(!of_one_class);
        of_one_class && of_the_lane
    }
}

/// Whether the first is the generation of a later life of a slot than the second: they wrap.
fn is_later(a: Generation, b: Generation) -> bool {
    (a.0.wrapping_sub(b.0) as i16) > 0
}

/// That properties keep to the limits of the wire: a client closes on a view that does not.
fn sound(properties: &PropertyList) -> bool {
    properties.is_sorted_by(|a, b| a.0 < b.0)
        && properties
            .iter()
            .all(|(index, value)| usize::from(index.0) < PROPERTIES_MAX && is_short(value))
}

fn is_short(value: &Value) -> bool {
    match value {
        Value::Text(text) => text.len() <= TEXT_BYTES_MAX,
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => true,
    }
}
