//! Where an entity is.

use bevy_ecs::component::Component;
use myriad_wire::Pos;

/// Where an entity is. Within the space's bounds; for entities that go by themselves committed once per tick.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position(pub Pos);
