//! What a lane tells the load harness, and only when that is enabled by name: where everything truly is.
//!
//! Travels over the admin HTTP as records of a four-byte little-endian length and one [`TruthTick`].

use crate::value::PropertyList;
use crate::{EntityId, EntityName, IntentSeq, LaneId, Pos, SpaceClock, Tick};
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
    /// Every entity of this lane, in ascending order of [`TruthEntity::name`].
    pub entities: Vec<TruthEntity>,
    /// Those of `entities` that go to another lane at the end of this tick: whoever reads all lanes finds them in another
    /// one's next tick, unless they are held up on their way.
    pub departing: Vec<EntityId>,
    /// Public properties that changed in this tick; all of them for entities that joined in it.
    pub changes: Vec<(EntityId, PropertyList)>,
    /// How many events were emitted in this tick.
    pub events: u32,
    /// The lane has retired: it has nobody, and gets nobody any more.
    pub is_over: bool,
}

/// One entity's truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TruthEntity {
    /// Who.
    pub entity: EntityId,
    /// Its name.
    pub name: EntityName,
    /// Its layers.
    pub layers: u32,
    /// Where it is, exact.
    pub position: Pos,
    /// For a session's avatar: the last intent that was applied. Else zero.
    pub intent_seq: IntentSeq,
}
