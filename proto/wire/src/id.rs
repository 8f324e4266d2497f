//! Identifiers: newtypes, so that no two of them can be confused.

use bincode::{Decode, Encode};
use std::fmt;

/// Bits of an [`EntityId`] or [`SessionId`] that count within one node incarnation.
pub const COUNTER_BITS: u32 = 40;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// One start of one node: issued by the directory, never reused. 24 bits are used.
    Incarnation(u32)
}
id! {
    /// An entity, cluster-wide and for ever: 24 bits of [`Incarnation`] above a 40-bit counter. Never in a hot path.
    EntityId(u64)
}
id! {
    /// A client's authenticated presence: 24 bits of the gateway's [`Incarnation`] above a 40-bit counter.
    SessionId(u64)
}
id! {
    /// A thread that asks a service and waits: 24 bits of its node's [`Incarnation`] above a 40-bit counter.
    CallerId(u64)
}
id! {
    /// A dense index of an entity among those that one lane spawned. Rests [`crate::limits::SLOT_REST_TICKS`] after a despawn before it is reused.
    Slot(u32)
}
id! {
    /// Which life of a [`Slot`]: one more with each, wrapping. In each start of a lane the first is another.
    Generation(u16)
}
id! {
    /// A lane, cluster-wide.
    LaneId(u32)
}
id! {
    /// A gateway's short name for a lane, used towards its clients.
    LaneHandle(u8)
}
id! {
    /// A gateway process: its incarnation, so that a restarted gateway is another gateway.
    GatewayId(u32)
}
id! {
    /// A space: one continuous world or instance.
    SpaceId(u32)
}
id! {
    /// An entity kind: its number in the space's schema table.
    KindId(u16)
}
id! {
    /// A property: its number within its kind.
    PropertyIndex(u8)
}
id! {
    /// The directory's revision of a lane's claim. Readers refuse a lower one than they have seen.
    LaneEpoch(u64)
}
id! {
    /// How often an entity has been handed off within its era. With the era, which is [`EntityName::issuer`], it is the
    /// entity epoch: of two lanes that claim an entity the one with the higher epoch has it.
    Hop(u32)
}
id! {
    /// How often an avatar has been attached to a session. The lane drops intents of a lower one.
    SessionEpoch(u32)
}
id! {
    /// Number of a movement intent within a session, from 1. None is applied twice.
    IntentSeq(u32)
}
id! {
    /// Number of a command within a session, from 1. None is applied twice.
    CommandSeq(u32)
}

impl EntityId {
    /// The `counter`-th entity of `incarnation`.
    ///
    /// # Panics
    /// If the counter needs more than [`COUNTER_BITS`]: after a trillion spawns in one process.
    #[must_use]
    pub fn new(incarnation: Incarnation, counter: u64) -> Self {
        Self(compose(incarnation, counter))
    }
}

impl SessionId {
    /// The `counter`-th session of `incarnation`.
    ///
    /// # Panics
    /// If the counter needs more than [`COUNTER_BITS`].
    #[must_use]
    pub fn new(incarnation: Incarnation, counter: u64) -> Self {
        Self(compose(incarnation, counter))
    }
}

impl CallerId {
    /// The `counter`-th caller of `incarnation`.
    ///
    /// # Panics
    /// If the counter needs more than [`COUNTER_BITS`].
    #[must_use]
    pub fn new(incarnation: Incarnation, counter: u64) -> Self {
        Self(compose(incarnation, counter))
    }
}

fn compose(incarnation: Incarnation, counter: u64) -> u64 {
    assert!(
        counter < 1 << COUNTER_BITS,
        "the id counter of one incarnation is exhausted"
    );
    assert!(incarnation.0 < 1 << 24, "incarnations have 24 bits");
    u64::from(incarnation.0) << COUNTER_BITS | counter
}

/// What an entity is called between roles from its spawn to its end, whichever lane has authority over it: the lane
/// that spawned it gave it a slot of its own, and no other entity has that slot until the lane has it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct EntityName {
    /// The claim of the lane that gave the name. Since claims are numbered over all lanes, it says which lane, too.
    pub issuer: LaneEpoch,
    /// Its slot.
    pub slot: Slot,
    /// Which life of the slot.
    pub generation: Generation,
}

/// A subject as a client knows it: which lane, which slot, which life of that slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct SubjectRef {
    /// The lane that gave it its name, in that life of the lane. Another may have authority over it by now.
    pub lane: LaneHandle,
    /// Its slot among the names of that lane.
    pub slot: Slot,
    /// Which life of the slot.
    pub generation: Generation,
}
