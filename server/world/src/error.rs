//! Why the space did not do a thing.

use crate::domain::DomainError;
use myriad_wire::EntityId;
use thiserror::Error;

/// Why an entity was not spawned.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpawnError {
    /// No kind has this number or name.
    #[error("there is no kind {0}")]
    NoSuchKind(String),
    /// The space holds as many entities as it may, or as many came and went of late.
    #[error("the space is full: it has room for {0} entities")]
    Full(u32),
    /// The entity of this id is in the space already.
    #[error("entity {0} is in the space already")]
    AlreadyHere(EntityId),
    /// A property is not what its kind declares.
    #[error(transparent)]
    Property(#[from] PropertyError),
}

/// Why a property was not read or written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PropertyError {
    /// The entity is gone.
    #[error("the entity is gone")]
    Gone,
    /// The kind declares no such property.
    #[error("kind '{kind}' has no property '{property}'")]
    NoSuchProperty {
        /// The kind.
        kind: String,
        /// The property's name or number.
        property: String,
    },
    /// The value is not in the property's domain.
    #[error("property '{property}' {error}")]
    Domain {
        /// The property.
        property: String,
        /// Why.
        error: DomainError,
    },
}

/// Why a motion was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MotionError {
    /// The entity is gone.
    #[error("the entity is gone")]
    Gone,
    /// No speed, or one beyond the kind's.
    #[error("a speed lies between 1 and {speed_max} position units (1/1024 m) per second")]
    BadSpeed {
        /// The kind's highest speed, in position units per second.
        speed_max: u32,
    },
}

/// Why a timer was not set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TimerError {
    /// The entity is gone.
    #[error("the entity is gone")]
    Gone,
    /// The kind declares no such timer.
    #[error("kind '{kind}' has no timer '{timer}'")]
    NoSuchTimer {
        /// The kind.
        kind: String,
        /// The timer.
        timer: String,
    },
    /// Due in this tick or earlier.
    #[error("a timer is due in a later tick")]
    NotLater,
}

/// The entity is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the entity is gone")]
pub struct Gone;
