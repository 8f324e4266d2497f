//! Who the subjects of a crowd are, as far as was asked and answered.
//!
//! An answer outlives the subject's leave, so that it need not be asked for again; it is given up for a newer one when
//! there are too many. What it says of properties holds while the version heard with near states is its own.

use crate::limits::IDENTITIES_MAX;
use myriad_wire::client::IdentityRecord;
use myriad_wire::{EntityId, PropertyIndex, SubjectRef, Tick, Value};

/// Ticks without a word of the version after which the properties count as unknown.
pub(crate) const UNSURE_TICKS: u64 = 128;

/// Properties, by ascending number.
pub(crate) type Properties = Box<[(PropertyIndex, Value)]>;

#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) entity: EntityId,
    /// `None`: known from before the crowd, when no versions were told.
    version: Option<u8>,
    /// When the properties were last known to be these.
    heard: Tick,
    properties: Properties,
}

/// Identities of at most [`IDENTITIES_MAX`] subjects.
#[derive(Debug, Default)]
pub(crate) struct Identities {
    /// Ascending, no duplicates. The other list goes along.
    subjects: Vec<SubjectRef>,
    identities: Vec<Identity>,
}

impl Identity {
    /// From before the crowd.
    pub(crate) fn of_listed(entity: EntityId, properties: Properties, now: Tick) -> Self {
        Self {
            entity,
            version: None,
            heard: now,
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
        if self.subjects.is_empty() {
            return None;
        }
        let at = self.subjects.binary_search(&subject).ok()?;
        Some(&self.identities[at])
    }

    pub(crate) fn remove(&mut self, subject: SubjectRef) -> Option<Identity> {
        let at = self.subjects.binary_search(&subject).ok()?;
        self.subjects.remove(at);
        Some(self.identities.remove(at))
    }

    /// The subject's version was heard in `tick`: whether its identity and properties are known.
    pub(crate) fn hear(&mut self, subject: SubjectRef, version: u8, tick: Tick) -> bool {
        let Ok(at) = self.subjects.binary_search(&subject) else {
            return false;
        };
        let identity = &mut self.identities[at];
        let is_same = identity.version == Some(version);
        if is_same {
            identity.heard = identity.heard.max(tick);
        }
        is_same
    }

    /// Whether all is known, if `version` is what was heard last.
    pub(crate) fn is_known(&self, subject: SubjectRef, version: Option<u8>, newest: Tick) -> bool {
        self.get(subject).is_some_and(|identity| {
            newest.since(identity.heard) <= UNSURE_TICKS
                && identity.version.is_some()
                && (version.is_none() || version == identity.version)
        })
    }

    /// An answer came: whether it says anything new.
    pub(crate) fn learn(&mut self, record: &IdentityRecord, tick: Tick) -> (bool, Option<SubjectRef>) {
        let identity = Identity {
            entity: record.entity,
            version: Some(record.version),
            heard: tick,
            properties: record.properties.clone().into_boxed_slice(),
        };
        let is_new = self.get(record.subject).is_none_or(|before| {
            before.entity != identity.entity || before.properties(tick) != &*identity.properties
        });
        (is_new, self.insert(record.subject, identity))
    }

    /// Takes one in, and gives up the one that was not heard of for longest if there are too many: returned.
    pub(crate) fn insert(&mut self, subject: SubjectRef, identity: Identity) -> Option<SubjectRef> {
        let at = match self.subjects.binary_search(&subject) {
            Ok(at) => {
                self.identities[at] = identity;
                return None;
            }
            Err(at) => at,
        };
        self.subjects.insert(at, subject);
        self.identities.insert(at, identity);
        if self.subjects.len() <= IDENTITIES_MAX {
            return None;
        }
        let others = (0..self.subjects.len()).filter(|i| *i != at);
        let oldest = others.min_by_key(|i| self.identities[*i].heard)?;
        self.identities.remove(oldest);
        Some(self.subjects.remove(oldest))
    }
}
