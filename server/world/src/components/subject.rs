//! Who an entity is.

use crate::slots::Handle;
use bevy_ecs::component::Component;
use myriad_wire::{EntityId, EntityName, Hop, KindId, LaneEpoch};

/// Who an entity is. Never changes while it is in one space.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its number, cluster-wide and for ever.
    pub entity: EntityId,
    /// Its place in this space.
    pub handle: Handle,
    /// Its kind.
    pub kind: KindId,
    /// Which life of it this is.
    pub life: Life,
}

/// One life of an entity, from its spawn or restoring to its end, and how far it has come among lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Life {
    /// What it is called, all its life.
    pub name: EntityName,
    /// The era of its epoch. Never lower than that of a life before.
    pub era: LaneEpoch,
    /// How often it was handed off in this era. With the era, higher than that of any life or lane before.
    pub hop: Hop,
}
