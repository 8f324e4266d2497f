//! What a lane tells the load harness, and only when that is enabled by name: where everything truly is.
//!
//! Travels over the admin HTTP as records of a four-byte little-endian length and one [`TruthTick`].

use crate::value::PropertyList;
use crate::{EntityId, Generation, IntentSeq, LaneId, Pos, Slot, SpaceClock, Tick};
use bincode::{Decode, Encode};

/// The truth of one tick of one lane, as it stood when the tick's frame was published.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct TruthTick {
    /// The lane.
    pub lane: LaneId,
    /// The space's clock.
    pub clock: SpaceClock,
    /// The tick.
    pub tick: Tick,
    /// Ticks that the lane had to jump over so far.
    pub skipped_ticks: u64,
    /// Every entity, in ascending order of slots.
    pub entities: Vec<TruthEntity>,
    /// Public properties that changed in this tick; all of them for entities that joined in it.
    pub changes: Vec<(EntityId, PropertyList)>,
    /// How many events were emitted in this tick.
    pub events: u32,
}

/// One entity's truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TruthEntity {
    /// Who.
    pub entity: EntityId,
    /// Its slot.
    pub slot: Slot,
    /// Which life of the slot.
    pub generation: Generation,
    /// Its layers.
    pub layers: u32,
    /// Where it is, exact.
    pub position: Pos,
    /// For a session's avatar: the last intent that was applied. Else zero.
    pub intent_seq: IntentSeq,
}
