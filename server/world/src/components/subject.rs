//! Who an entity is.

use crate::slots::Handle;
use bevy_ecs::component::Component;
use myriad_wire::{EntityId, KindId};

/// Who an entity is. Never changes.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its number, cluster-wide and for ever.
    pub entity: EntityId,
    /// Its place in this space.
    pub handle: Handle,
    /// Its kind.
    pub kind: KindId,
}
