//! Those in view who are told one by one: where they are, and with which properties.
//!
//! Sketch of the cost: a process of bots holds 1,000 views of 2,000 subjects and applies ten states a second to
//! each, 2e7 a second. So a state is applied by two array accesses: the lane's slot table gives the subject's
//! place, and everything a state touches lies in that subject's one cache line ([`Motion`]). What only enters,
//! changes and leaves touch lies in a second array beside it.
//!
//! The list knows neither the stream nor datagrams; [`crate::order`] decides when something takes effect.

use crate::counters::StateCounters;
use crate::crowd::identity::{Identity, Properties};
use crate::crowd::rule::Sight;
use crate::limits::{PROPERTY_BYTES_MAX, SLOTS_MAX, SUBJECTS_MAX};
use crate::motion::{Motion, Refused, prefetch};
use myriad_wire::client::Enter;
use myriad_wire::codec::CodecError;
use myriad_wire::limits::CHUNK_ENTITIES_MAX;
use myriad_wire::track::{Level, decode_chunk};
use myriad_wire::value::PropertyList;
use myriad_wire::{EntityId, KindId, LaneHandle, Pos, PropertyIndex, Slot, SubjectRef, Tick, Value};

/// What stands in a slot table where nobody in view has the slot.
const NOBODY: u32 = u32::MAX;

/// The subjects in the list, in arbitrary order.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// By lane and slot: the place of the slot's newest life in the two arrays below.
    tables: Vec<Vec<u32>>,
    /// Places of older lives whose slot has been taken over before their leave was told: after a long pause of
    /// the stream a leave and the enter of the slot's next life come in one tick, the enter first.
    displaced: Vec<u32>,
    motions: Vec<Motion>,
    records: Vec<Record>,
    /// Length of all slot tables together.
    slots: usize,
    property_bytes: usize,
    /// The view is being told anew.
    carries: bool,
}

/// What of a subject no state touches.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) subject: SubjectRef,
    pub(crate) kind: KindId,
    pub(crate) entity: EntityId,
    pub(crate) entered: Tick,
    /// The view is being told anew, and it has not come up yet.
    carried: bool,
    pub(crate) properties: Properties,
}

/// What an enter was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// One.
    New,
    /// The subject was in view all the time, and this was its turn. `news`: its identity or properties were not known.
    Found { news: bool },
    /// A second one.
    Again,
}

/// A limit of [`crate::limits`] was reached: the server is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overfull;

impl Listed {
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn at(&self, place: usize) -> (&Record, &Motion) {
        (&self.records[place], &self.motions[place])
    }

    pub(crate) fn get(&self, subject: SubjectRef) -> Option<(&Record, &Motion)> {
        self.place(subject).map(|place| self.at(place))
    }

    fn place(&self, subject: SubjectRef) -> Option<usize> {
        let table = self.tables.get(usize::from(subject.lane.0))?;
        let place = *table.get(subject.slot.0 as usize)?;
        let is_it = |place: &u32| self.records[*place as usize].subject == subject;
        if place != NOBODY && is_it(&place) {
            return Some(place as usize);
        }
        self.displaced
            .iter()
            .copied()
            .find(is_it)
            .map(|place| place as usize)
    }

    /// Something is about to be told of these subjects, one after the other: asks for what that will touch. They lie
    /// all over a view that is larger than the caches, so one by one each would be waited for several times.
    pub(crate) fn prefetch(&self, subjects: impl Iterator<Item = SubjectRef> + Clone) {
        let places = subjects.filter_map(|subject| {
            let table = self.tables.get(usize::from(subject.lane.0))?;
            Some(*table.get(subject.slot.0 as usize)? as usize)
        });
        for place in places.clone() {
            if let (Some(record), Some(motion)) = (self.records.get(place), self.motions.get(place)) {
                prefetch(record);
                prefetch(motion);
            }
        }
        for record in places.filter_map(|place| self.records.get(place)) {
            prefetch(record.properties.as_ptr());
        }
    }

    /// Takes a subject in that is not in view by a track.
    pub(crate) fn enter(&mut self, tick: Tick, enter: Enter) -> Result<Entered, Overfull> {
        if let Some(place) = self.place(enter.subject) {
            if !std::mem::take(&mut self.records[place].carried) {
                return Ok(Entered::Again);
            }
            self.motions[place].refuse_before(tick);
            let record = &mut self.records[place];
            let news = record.entity != enter.entity || *record.properties != *enter.properties;
            self.property_bytes -= property_bytes(&record.properties);
            self.property_bytes += property_bytes(&enter.properties);
            record.entity = enter.entity;
            record.properties = enter.properties.into_boxed_slice();
            return Ok(Entered::Found { news });
        }
        let motion = Motion::new(tick, enter.position.centre());
        let record = Record {
            subject: enter.subject,
            kind: enter.kind,
            entity: enter.entity,
            entered: tick,
            carried: false,
            properties: enter.properties.into_boxed_slice(),
        };
        self.push(record, motion)?;
        Ok(Entered::New)
    }

    fn push(&mut self, record: Record, motion: Motion) -> Result<(), Overfull> {
        let bytes = property_bytes(&record.properties);
        if self.records.len() >= SUBJECTS_MAX || self.property_bytes + bytes > PROPERTY_BYTES_MAX {
            return Err(Overfull);
        }
        let place = self.records.len() as u32;
        let entry = self.table_entry(record.subject)?;
        let before = std::mem::replace(entry, place);
        if before != NOBODY {
            self.displaced.push(before);
        }
        self.property_bytes += bytes;
        self.motions.push(motion);
        self.records.push(record);
        Ok(())
    }

    /// The subject just taken in was near in a crowd: its states before are known.
    pub(crate) fn resume(&mut self, subject: SubjectRef, motion: Motion) {
        if let Some(place) = self.place(subject) {
            self.motions[place] = motion;
        }
    }

    /// The own avatar stays in view though no track holds it.
    pub(crate) fn keep(
        &mut self,
        subject: SubjectRef,
        kind: KindId,
        sight: &Sight,
        identity: Option<Identity>,
        motion: Option<Motion>,
    ) -> Result<(), Overfull> {
        let properties = identity.map_or_else(Default::default, |identity| identity.into_parts(sight.tick).1);
        let record = Record {
            subject,
            kind,
            entity: sight.entity,
            entered: sight.tick,
            carried: false,
            properties,
        };
        self.push(
            record,
            motion.unwrap_or_else(|| Motion::new(sight.tick, sight.at)),
        )
    }

    /// Another life of the subject's slot.
    pub(crate) fn other_life(&self, subject: SubjectRef) -> Option<SubjectRef> {
        let table = self.tables.get(usize::from(subject.lane.0))?;
        let place = *table.get(subject.slot.0 as usize)?;
        let record = self.records.get(place as usize)?;
        (record.subject != subject).then_some(record.subject)
    }

    /// Lets one go that has been found in a track: who it is, and its states if they were near ones.
    pub(crate) fn take(&mut self, subject: SubjectRef, tick: Tick) -> Option<(Identity, Option<Motion>)> {
        let place = self.place(subject)?;
        let (record, motion) = self.remove(place);
        let is_near = motion.level() == Some(Level::NEAR);
        let identity = Identity::of_listed(record.entity, record.properties, tick);
        Some((identity, is_near.then_some(motion)))
    }

    /// The view is told anew: who is here has not come up yet.
    pub(crate) fn carry(&mut self) {
        self.records.iter_mut().for_each(|record| record.carried = true);
        self.carries = true;
    }

    pub(crate) fn is_carried(&self) -> bool {
        self.carries
    }

    /// The view has been told: by lists, or by tracks. Who did not come up leaves, but for the own avatar in a crowd:
    /// tracks hold it only if it sees its own layers.
    pub(crate) fn complete(
        &mut self,
        is_listed: bool,
        own: SubjectRef,
        leaves: &mut Vec<(SubjectRef, Option<EntityId>)>,
    ) {
        self.carries = false;
        for place in (0..self.records.len()).rev() {
            let record = &mut self.records[place];
            let stays = if is_listed {
                !record.carried
            } else {
                record.subject == own
            };
            if stays {
                record.carried = false;
                continue;
            }
            let (record, _) = self.remove(place);
            leaves.push((record.subject, Some(record.entity)));
        }
        if self.records.is_empty() {
            // Tables of a past view are large in a crowd's terms.
            *self = Self::default();
        }
    }

    fn table_entry(&mut self, subject: SubjectRef) -> Result<&mut u32, Overfull> {
        let (lane, slot) = (usize::from(subject.lane.0), subject.slot.0 as usize);
        if self.tables.len() <= lane {
            self.tables.resize_with(lane + 1, Vec::new);
        }
        let table = &mut self.tables[lane];
        if table.len() <= slot {
            let more = slot + 1 - table.len();
            if more > SLOTS_MAX - self.slots {
                return Err(Overfull);
            }
            self.slots += more;
            table.resize(slot + 1, NOBODY);
        }
        Ok(&mut table[slot])
    }

    /// Changes properties. `Ok(false)` if the subject is not in view.
    pub(crate) fn change(
        &mut self,
        tick: Tick,
        subject: SubjectRef,
        properties: &PropertyList,
    ) -> Result<bool, Overfull> {
        let Some(place) = self.place(subject) else {
            return Ok(false);
        };
        // States of earlier ticks come too late now: what is told of one subject is told in order.
        self.motions[place].refuse_before(tick);
        let held = &mut self.records[place].properties;
        for (index, value) in properties {
            self.property_bytes += value_bytes(value);
            match held.binary_search_by_key(index, |(index, _)| *index) {
                Ok(at) => {
                    self.property_bytes -= value_bytes(&held[at].1);
                    held[at].1.clone_from(value);
                }
                Err(at) => {
                    let mut longer = std::mem::take(held).into_vec();
                    longer.insert(at, (*index, value.clone()));
                    *held = longer.into_boxed_slice();
                }
            }
        }
        if self.property_bytes > PROPERTY_BYTES_MAX {
            return Err(Overfull);
        }
        Ok(true)
    }

    /// An event of the subject is being told: no state of that tick or an earlier one may follow it.
    /// `false` if it is not in view.
    pub(crate) fn event(&mut self, tick: Tick, subject: SubjectRef) -> bool {
        let Some(place) = self.place(subject) else {
            return false;
        };
        self.motions[place].refuse_through(tick);
        true
    }

    /// Lets a subject go. `None` if it is not in view.
    pub(crate) fn leave(&mut self, subject: SubjectRef) -> Option<EntityId> {
        let place = self.place(subject)?;
        Some(self.remove(place).0.entity)
    }

    fn remove(&mut self, place: usize) -> (Record, Motion) {
        let subject = self.records[place].subject;
        let entry = &mut self.tables[usize::from(subject.lane.0)][subject.slot.0 as usize];
        if *entry == place as u32 {
            *entry = NOBODY;
        } else {
            self.displaced.retain(|displaced| *displaced != place as u32);
        }
        let motion = self.motions.swap_remove(place);
        let record = self.records.swap_remove(place);
        self.property_bytes -= property_bytes(&record.properties);
        if let Some(moved) = self.records.get(place) {
            let last = self.records.len() as u32;
            let entry = &mut self.tables[usize::from(moved.subject.lane.0)][moved.subject.slot.0 as usize];
            if *entry == last {
                *entry = place as u32;
            } else {
                let displaced = self.displaced.iter_mut().find(|displaced| **displaced == last);
                *displaced.expect("whoever is not in its table is displaced") = place as u32;
            }
        }
        (record, motion)
    }

    /// Applies one state.
    pub(crate) fn apply_state(
        &mut self,
        tick: Tick,
        lane: LaneHandle,
        level: Level,
        state: (Slot, Pos),
        counters: &mut StateCounters,
    ) {
        let (slot, position) = state;
        let table = self.tables.get(usize::from(lane.0));
        let place = table.and_then(|table| table.get(slot.0 as usize)).copied();
        match place.and_then(|place| self.motions.get_mut(place as usize)) {
            Some(motion) => match motion.apply(tick.0 as u32, level, position) {
                Ok(()) => counters.applied[level.index()] += 1,
                Err(Refused::Duplicate) => counters.duplicate += 1,
                Err(Refused::Stale) => counters.stale += 1,
            },
            None => counters.unknown += 1,
        }
    }

    /// Applies the states of one chunk.
    pub(crate) fn apply_chunk(
        &mut self,
        tick: Tick,
        lane: LaneHandle,
        chunk: &[u8],
        counters: &mut StateCounters,
    ) -> Result<(), CodecError> {
        let table = self
            .tables
            .get(usize::from(lane.0))
            .map_or(&[][..], Vec::as_slice);
        apply_chunk(table, &mut self.motions, tick, chunk, counters)
    }
}

/// The hot loop: every state of a chunk to the subject that has its slot.
///
/// In two passes, so that subjects' lines are on their way from memory while the rest is decoded. With 600 views of
/// 2,000 subjects, on a busy 2-core Xeon: 16-17 ns of CPU a state, 8 of them decoding; in one pass 24-28 ns.
fn apply_chunk(
    table: &[u32],
    motions: &mut [Motion],
    tick: Tick,
    chunk: &[u8],
    counters: &mut StateCounters,
) -> Result<(), CodecError> {
    let Some(level) = chunk.first().copied().and_then(Level::new) else {
        return Err(CodecError::Malformed("a chunk without a level"));
    };
    let mut states = [(NOBODY, Pos::default()); CHUNK_ENTITIES_MAX];
    let mut count = 0;
    let decoded = decode_chunk(chunk, |state| {
        let place = table.get(state.slot.0 as usize).copied().unwrap_or(NOBODY);
        if let Some(motion) = motions.get(place as usize) {
            prefetch(motion);
        }
        states[count] = (place, state.position);
        count += 1;
    });
    let tick = tick.0 as u32;
    let (mut applied, mut duplicate, mut stale, mut unknown) = (0, 0, 0, 0);
    for &(place, position) in &states[..count] {
        match motions.get_mut(place as usize) {
            Some(motion) => match motion.apply(tick, level, position) {
                Ok(()) => applied += 1,
                Err(Refused::Duplicate) => duplicate += 1,
                Err(Refused::Stale) => stale += 1,
            },
            None => unknown += 1,
        }
    }
    counters.applied[level.index()] += applied;
    counters.duplicate += duplicate;
    counters.stale += stale;
    counters.unknown += unknown;
    decoded.map(|_| ())
}

/// What properties take, near enough for a limit.
fn property_bytes(properties: &[(PropertyIndex, Value)]) -> usize {
    properties.iter().map(|(_, value)| value_bytes(value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    let text = match value {
        Value::Text(text) => text.len(),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => 0,
    };
    size_of::<(PropertyIndex, Value)>() + text
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::{Generation, WirePos};

    fn subject(slot: u32) -> SubjectRef {
        SubjectRef {
            lane: LaneHandle(0),
            slot: Slot(slot),
            generation: Generation(0),
        }
    }

    #[test]
    fn the_bytes_of_properties_are_counted_through_all_that_happens_to_them() {
        let mut view = Listed::default();
        let text = |index, text: &str| (PropertyIndex(index), Value::Text(text.into()));
        for slot in [3, 0, 9] {
            let enter = Enter {
                subject: subject(slot),
                entity: EntityId(u64::from(slot)),
                kind: KindId(0),
                position: WirePos::default(),
                properties: vec![text(1, "name"), (PropertyIndex(4), Value::Int(1))],
            };
            assert_eq!(view.enter(Tick(1), enter), Ok(Entered::New));
        }
        let none: PropertyList = Vec::new();
        let changes = [
            (3, vec![text(1, "a longer name")]),
            (0, vec![text(1, ""), (PropertyIndex(4), Value::Int(2))]),
            (9, vec![text(4, "a number once"), text(2, "new"), text(9, "last")]),
            (9, vec![(PropertyIndex(4), Value::Bool(true))]),
            (9, none),
        ];
        view.prefetch(
            changes
                .iter()
                .map(|(slot, _)| subject(*slot))
                .chain([subject(77)]),
        );
        let held = |view: &Listed| -> usize {
            let records = view.records.iter();
            records.map(|record| property_bytes(&record.properties)).sum()
        };
        for (slot, properties) in &changes {
            assert_eq!(view.change(Tick(2), subject(*slot), properties), Ok(true));
            assert_eq!(view.property_bytes, held(&view));
        }
        assert!(view.leave(subject(9)).is_some());
        assert_eq!(view.property_bytes, held(&view));
        assert!(view.property_bytes > 0);
    }
}
