//! Who the subjects of a crowd are, as far as was asked and answered.
//!
//! An answer outlives the subject's leave, so that it need not be asked for again; when there are too many, those are
//! given up that were not heard of for longest. What it says of properties holds while the version heard with near
//! states is its own.

use crate::limits::IDENTITIES_MAX;
use myriad_wire::client::IdentityRecord;
use myriad_wire::{EntityId, PropertyIndex, SubjectRef, Tick, Value};
use rustc_hash::FxHashMap;

/// Ticks without a word of the version after which the properties count as unknown.
pub(crate) const UNSURE_TICKS: u64 = 128;

/// One part in so many is given up at once when there are too many.
const GIVEN_UP_SHARE: usize = 8;

/// Properties, by ascending number.
pub(crate) type Properties = Box<[(PropertyIndex, Value)]>;

#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) entity: EntityId,
    /// `None`: known from before the crowd, when no versions were told.
    version: Option<u8>,
    /// When the properties were last known to be these.
    heard: Tick,
    /// Another version that was heard since, and when.
    other: Option<(u8, Tick)>,
    properties: Properties,
}

/// What a version that is heard says of the one that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing is known.
    Unknown,
    /// It is still true.
    Same,
    /// It is true no more.
    Other,
}

/// Identities of at most [`IDENTITIES_MAX`] subjects.
#[derive(Debug, Default)]
pub(crate) struct Identities(FxHashMap<SubjectRef, Identity>);

impl Identity {
    /// From before the crowd.
    pub(crate) fn of_listed(entity: EntityId, properties: Properties, now: Tick) -> Self {
        Self {
            entity,
            version: None,
            heard: now,
            other: None,
            properties,
        }
    }

    /// The properties, as long as they are known.
    pub(crate) fn properties(&self, newest: Tick) -> &[(PropertyIndex, Value)] {
        if newest.since(self.heard) > UNSURE_TICKS {
            return &[];
        }
        &self.properties
    }

    pub(crate) fn into_parts(self, newest: Tick) -> (EntityId, Properties) {
        let is_sure = newest.since(self.heard) <= UNSURE_TICKS;
        (
            self.entity,
            if is_sure { self.properties } else { Box::default() },
        )
    }
}

impl Identities {
    #[inline]
    pub(crate) fn get(&self, subject: SubjectRef) -> Option<&Identity> {
        self.0.get(&subject)
    }

    pub(crate) fn remove(&mut self, subject: SubjectRef) -> Option<Identity> {
        self.0.remove(&subject)
    }

    /// The subject's version was heard in `tick`.
    pub(crate) fn hear(&mut self, subject: SubjectRef, version: u8, tick: Tick) -> Heard {
        let Some(identity) = self.0.get_mut(&subject) else {
            return Heard::Unknown;
        };
        if identity.version == Some(version) {
            identity.heard = identity.heard.max(tick);
            Heard::Same
        } else if tick <= identity.heard {
            // Overtaken by the answer.
            Heard::Same
        } else {
            identity.other = Some((version, tick));
            Heard::Other
        }
    }

    /// Whether identity and properties are known, as far as was heard.
    pub(crate) fn is_known(&self, subject: SubjectRef, newest: Tick) -> bool {
        self.get(subject).is_some_and(|identity| {
            newest.since(identity.heard) <= UNSURE_TICKS
                && identity.version.is_some()
                && identity.other.is_none()
        })
    }

    /// An answer of `tick` came: whether it says anything new.
    pub(crate) fn learn(&mut self, record: &IdentityRecord, tick: Tick) -> bool {
        let before = self.get(record.subject);
        let is_new = before.is_none_or(|before| {
            before.entity != record.entity || before.properties(tick) != &*record.properties
        });
        let later = before.and_then(|before| before.other);
        let identity = Identity {
            entity: record.entity,
            version: Some(record.version),
            heard: tick,
            other: later.filter(|(version, heard)| *heard > tick && *version != record.version),
            properties: record.properties.clone().into_boxed_slice(),
        };
        self.insert(record.subject, identity);
        is_new
    }

    /// Takes one in. If there are too many, those are given up that were not heard of for longest, some at a time.
    pub(crate) fn insert(&mut self, subject: SubjectRef, identity: Identity) {
        self.0.insert(subject, identity);
        if self.0.len() > IDENTITIES_MAX {
            let mut heard: Vec<Tick> = self.0.values().map(|identity| identity.heard).collect();
            let (_, last, _) = heard.select_nth_unstable(IDENTITIES_MAX / GIVEN_UP_SHARE);
            let (last, mut excess) = (*last, IDENTITIES_MAX / GIVEN_UP_SHARE);
            self.0.retain(|other, identity| {
                let goes = excess > 0 && identity.heard <= last && *other != subject;
                excess -= usize::from(goes);
                !goes
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::{KindId, Slot};

    fn subject(slot: u32) -> SubjectRef {
        SubjectRef {
            slot: Slot(slot),
            ..SubjectRef::default()
        }
    }

    fn record(slot: u32, version: u8) -> IdentityRecord {
        IdentityRecord {
            subject: subject(slot),
            entity: EntityId::default(),
            kind: KindId(0),
            version,
            properties: Vec::new(),
        }
    }

    #[test]
    fn what_was_not_heard_of_for_longest_is_given_up() {
        let mut identities = Identities::default();
        for slot in 0..=IDENTITIES_MAX as u32 {
            assert!(identities.learn(&record(slot, 0), Tick(u64::from(slot))));
        }
        assert_eq!(
            identities.0.len(),
            IDENTITIES_MAX + 1 - IDENTITIES_MAX / GIVEN_UP_SHARE
        );
        assert!(identities.get(subject(0)).is_none());
        assert!(identities.get(subject(IDENTITIES_MAX as u32)).is_some());
    }

    #[test]
    fn an_answer_from_before_a_change_leaves_it_unknown() {
        let mut identities = Identities::default();
        assert_eq!(identities.hear(subject(3), 5, Tick(9)), Heard::Unknown);
        identities.learn(&record(3, 5), Tick(10));
        assert!(identities.is_known(subject(3), Tick(10)));
        assert_eq!(identities.hear(subject(3), 5, Tick(12)), Heard::Same);
        assert_eq!(identities.hear(subject(3), 4, Tick(11)), Heard::Same, "overtaken");
        assert_eq!(identities.hear(subject(3), 6, Tick(14)), Heard::Other);
        assert!(!identities.is_known(subject(3), Tick(14)));
        identities.learn(&record(3, 5), Tick(13));
        assert!(!identities.is_known(subject(3), Tick(14)));
        identities.learn(&record(3, 6), Tick(15));
        assert!(identities.is_known(subject(3), Tick(15)));
        assert!(!identities.is_known(subject(3), Tick(16 + UNSURE_TICKS)));
    }
}
