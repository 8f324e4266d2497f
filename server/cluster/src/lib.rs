//! How a space is cut into cells and lanes, and how entities go from lane to lane.
//!
//! This crate knows the grid of cells ([`Partition`]), the channel that brings parcels from one lane to another exactly
//! once and in order ([`Channel`]), who has offered what to whom ([`Offers`], [`Rooms`]), how lanes come and go ([`Layout`]),
//! and how much one gives to another ([`gifts`]). It deliberately knows no entity's state, no session, no clock and no network: `lane` drives it from its stages, the simulator drives the same
//! through loss, delay and partition. Start with [`Partition`], then read `myriad_wire::lane` for what lanes say.

mod balance;
mod channel;
pub mod layout;
mod offers;
mod partition;
mod placement;

pub use balance::{Sister, gifts};
pub use channel::{Arrived, Channel};
pub use layout::{Layout, LayoutError};
pub use offers::{Offers, Rooms};
pub use partition::{Cell, Ground, LANES_MAX, Partition, PartitionError};
pub use placement::{place_for_one, place_lanes};
