//! Entity kinds, typed property columns and movement: what exists in one lane's share of a space.
//!
//! This crate knows what an entity is made of, what its kind allows, where it goes and what changed in a tick. It
//! deliberately knows no script, no session, no storage, no view and no clock: time is the tick that the lane
//! sets, and everything that happens here follows from the calls, in their order. Start with [`Space`]; then
//! [`Kinds`] (what scripts declare), [`components`] (the one table of what an entity carries) and
//! [`MovementBudget`] (how fast a client may go).

pub mod budget;
pub mod changes;
pub mod components;
pub mod domain;
pub mod error;
mod issue;
pub mod kinds;
mod names;
pub mod record;
pub mod share;
mod slots;
pub mod space;

pub use budget::{MovementBudget, Spent};
pub use changes::{Changes, EmitError, Left, SpaceEvent};
pub use components::motion::Motion;
pub use components::subject::Life;
pub use components::timers::TimerIndex;
pub use domain::{Domain, DomainError};
pub use error::{Gone, MotionError, PropertyError, SpawnError, TimerError};
pub use kinds::{Kind, KindError, KindSpec, Kinds, PropertyMask, PropertySpec};
pub use record::{Form, Record, Restored};
pub use share::Share;
pub use slots::Handle;
pub use space::{DueTimer, HandedOver, Origin, Space, SpaceConfig, Spawn, Subject};
