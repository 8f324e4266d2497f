//! What this tick's frames said, encoded once, so that a client's `View` is a concatenation of ranges.
//!
//! A record here is the exact encoding of one element of a section of
//! [`ViewUpdate`](myriad_wire::client::ViewUpdate). The mirror writes what happened, the views read it; which
//! client is told what is [`crate::view`]'s matter.
//!
//! Cost per tick: one encoding per change and event, and one per subject that enters any view.

use crate::idset::IdSet;
use crate::mirror::Subject;
use myriad_aoi::SubjectId;
use myriad_wire::fabric::EventRecord;
use myriad_wire::value::PropertyList;
use myriad_wire::{EntityId, SubjectRef, codec};

/// One tick's records.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// The tick of the gateway that they are of.
    now: u64,
    bytes: Vec<u8>,
    /// By subject, written when first asked for in a tick.
    enters: Vec<Span>,
    /// By subject, all its public properties as a change; written when first asked for in a tick.
    refreshes: Vec<Span>,
    /// By subject, written when first asked for in a tick.
    identities: Vec<Span>,
    /// By subject, valid where `changed`.
    changes: Vec<Span>,
    changed: IdSet,
    /// By subject, valid where `evented`.
    events: Vec<Span>,
    evented: IdSet,
    ended: Vec<Ended>,
}

/// A range of the bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    /// The tick of the gateway in which it was written; of another tick it means nothing.
    tick: u64,
    start: usize,
    end: usize,
    /// How many records it holds.
    count: u32,
}

/// A life that ended in this tick, and that clients may have been told of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    /// Under which id it was seen. No other life has it in this tick.
    pub(crate) id: SubjectId,
    /// Its name on the wire. Somebody may live by it again, if its lanes could not agree about the end.
    pub(crate) subject: SubjectRef,
    pub(crate) entity: EntityId,
    /// Its layers at the end.
    pub(crate) layers: u32,
}

/// Encoded records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded<'a> {
    /// One after the other.
    pub(crate) bytes: &'a [u8],
    /// How many.
    pub(crate) count: u32,
}

impl Records {
    /// Forgets the last tick's; tick `now` of the gateway begins.
    pub(crate) fn begin(&mut self, now: u64) {
        assert!(now > self.now, "ticks of the gateway count up");
        self.now = now;
        self.bytes.clear();
        self.changed.clear();
        self.evented.clear();
        self.ended.clear();
    }

    /// Public properties of a subject changed; `properties` are those that did.
    pub(crate) fn put_change(&mut self, id: SubjectId, subject: &Subject, properties: &PropertyList) {
        // A second change in one tick is rare; telling all properties covers both.
        let again = !self.changed.insert(id);
        let properties = if again { &subject.properties } else { properties };
        let span = self.write(1, |out| codec::encode_into(&(subject.name, properties), out));
        put(&mut self.changes, id, span);
    }

    /// Something happened to a subject. Events of one subject should come one after the other; where two lanes have it in
    /// one tick they do not, and are written together anew.
    pub(crate) fn put_event(&mut self, id: SubjectId, subject: SubjectRef, event: &EventRecord) {
        let mut before = Span {
            tick: self.now,
            start: self.bytes.len(),
            end: self.bytes.len(),
            count: 0,
        };
        if !self.evented.insert(id) {
            let first = self.events[id.0 as usize];
            if first.end == before.start {
                before = first;
            } else {
                self.bytes.extend_from_within(first.start..first.end);
                before.count = first.count;
            }
        }
        let new = self.write(before.count + 1, |out| {
            codec::encode_into(&(subject, &event.name, &event.arguments), out)
        });
        let start = before.start;
        put(&mut self.events, id, Span { start, ..new });
    }

    /// A life that clients may have been told of is over.
    pub(crate) fn put_ended(&mut self, ended: Ended) {
        self.ended.push(ended);
    }

    /// The lives that ended in this tick.
    pub(crate) fn ended(&self) -> &[Ended] {
        &self.ended
    }

    /// Whose properties changed. May hold subjects that ended since.
    pub(crate) fn changed(&self) -> &IdSet {
        &self.changed
    }

    /// To whom something happened. May hold subjects that ended since.
    pub(crate) fn evented(&self) -> &IdSet {
        &self.evented
    }

    /// The `Change` of a subject in [`Self::changed`].
    pub(crate) fn change(&self, id: SubjectId) -> Encoded<'_> {
        self.read(self.changes[id.0 as usize])
    }

    /// The `Event`s of a subject in [`Self::evented`].
    pub(crate) fn events(&self, id: SubjectId) -> Encoded<'_> {
        self.read(self.events[id.0 as usize])
    }

    /// The `Enter` of a subject as it is now.
    pub(crate) fn enter(&mut self, id: SubjectId, subject: &Subject) -> Encoded<'_> {
        let mut span = self.enters.get(id.0 as usize).copied().unwrap_or_default();
        if span.tick != self.now {
            let record = (
                subject.name,
                subject.entity,
                subject.kind,
                subject.position,
                &subject.properties,
            );
            span = self.write(1, |out| codec::encode_into(&record, out));
            put(&mut self.enters, id, span);
        }
        self.read(span)
    }

    /// The `IdentityRecord` of a subject as it is now.
    pub(crate) fn identity(&mut self, id: SubjectId, subject: &Subject) -> Encoded<'_> {
        let mut span = self.identities.get(id.0 as usize).copied().unwrap_or_default();
        if span.tick != self.now {
            let record = (
                subject.name,
                subject.entity,
                subject.kind,
                subject.version,
                &subject.properties,
            );
            span = self.write(1, |out| codec::encode_into(&record, out));
            put(&mut self.identities, id, span);
        }
        self.read(span)
    }

    /// A `Change` that tells all public properties of a subject as they are now.
    pub(crate) fn refresh(&mut self, id: SubjectId, subject: &Subject) -> Encoded<'_> {
        let mut span = self.refreshes.get(id.0 as usize).copied().unwrap_or_default();
        if span.tick != self.now {
            span = self.write(1, |out| {
                codec::encode_into(&(subject.name, &subject.properties), out)
            });
            put(&mut self.refreshes, id, span);
        }
        self.read(span)
    }

    fn write(&mut self, count: u32, encode: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.bytes.len();
        encode(&mut self.bytes);
        Span {
            tick: self.now,
            start,
            end: self.bytes.len(),
            count,
        }
    }

    fn read(&self, span: Span) -> Encoded<'_> {
        assert_eq!(
            span.tick, self.now,
            "a record is read in the tick in which it was written"
        );
        Encoded {
            bytes: &self.bytes[span.start..span.end],
            count: span.count,
        }
    }
}

fn put(spans: &mut Vec<Span>, id: SubjectId, span: Span) {
    let index = id.0 as usize;
    if spans.len() <= index {
        spans.resize(index + 1, Span::default());
    }
    spans[index] = span;
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::client::{Change, Enter, Event, IdentityRecord};
    use myriad_wire::fabric::Issuer;
    use myriad_wire::{Generation, Hop, KindId, LaneHandle, PropertyIndex, Slot, Value, WirePos};

    fn subject() -> Subject {
        Subject {
            name: SubjectRef {
                lane: LaneHandle(1),
                slot: Slot(300),
                generation: Generation(7),
            },
            entity: EntityId(1 << 50),
            kind: KindId(2),
            layers: 1,
            position: WirePos {
                x: -5,
                y: 700_000,
                z: 3,
            },
            properties: vec![
                (PropertyIndex(0), Value::Text("ada".into())),
                (PropertyIndex(3), Value::Int(-1)),
            ],
            version: 200,
            versioned: 0,
            born: 0,
            hop: Hop(0),
            claimed_until: 0,
        }
    }

    #[test]
    fn records_are_the_bytes_of_the_plain_codec() {
        let (id, subject) = (SubjectId(300), subject());
        let mut records = Records::default();
        records.begin(1);
        let enter = Enter {
            subject: subject.name,
            entity: subject.entity,
            kind: subject.kind,
            position: subject.position,
            properties: subject.properties.clone(),
        };
        for _ in 0..2 {
            assert_eq!(records.enter(id, &subject).bytes, codec::encode(&enter));
        }
        let identity = IdentityRecord {
            subject: subject.name,
            entity: subject.entity,
            kind: subject.kind,
            version: subject.version,
            properties: subject.properties.clone(),
        };
        for _ in 0..2 {
            assert_eq!(records.identity(id, &subject).bytes, codec::encode(&identity));
        }
        let changed = vec![(PropertyIndex(3), Value::Int(-1))];
        records.put_change(id, &subject, &changed);
        let change = Change {
            subject: subject.name,
            properties: changed.clone(),
        };
        assert_eq!(records.change(id).bytes, codec::encode(&change));
        let all = Change {
            subject: subject.name,
            properties: subject.properties.clone(),
        };
        assert_eq!(records.refresh(id, &subject).bytes, codec::encode(&all));
        records.put_change(id, &subject, &changed);
        assert_eq!(
            records.change(id).bytes,
            codec::encode(&all),
            "two changes in one tick tell everything"
        );

        let event = |name: &str| EventRecord {
            issuer: Issuer(0),
            slot: Slot(300),
            name: name.into(),
            arguments: vec![Value::Float(0.5)],
        };
        records.put_event(id, subject.name, &event("wave"));
        records.put_event(id, subject.name, &event("bow"));
        let told = |name: &str| Event {
            subject: subject.name,
            name: name.into(),
            arguments: vec![Value::Float(0.5)],
        };
        let mut all = [codec::encode(&told("wave")), codec::encode(&told("bow"))].concat();
        assert_eq!(
            (records.events(id).bytes, records.events(id).count),
            (&all[..], 2)
        );
        // Another lane has it now; somebody else's event came between.
        records.put_event(SubjectId(5), subject.name, &event("nod"));
        records.put_event(id, subject.name, &event("jump"));
        all.extend(codec::encode(&told("jump")));
        assert_eq!(
            (records.events(id).bytes, records.events(id).count),
            (&all[..], 3)
        );
    }

    #[test]
    fn a_tick_forgets_the_one_before() {
        let (id, mut subject) = (SubjectId(3), subject());
        let mut records = Records::default();
        records.begin(1);
        let before = records.enter(id, &subject).bytes.to_vec();
        records.put_change(id, &subject, &vec![]);
        records.begin(2);
        subject.position.x += 1;
        assert_ne!(records.enter(id, &subject).bytes, before);
        assert!(!records.changed().contains(id));
    }
}
