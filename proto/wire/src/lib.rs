//! The words on the wire and their bytes: what clients, gateways and lanes say to each other.
//!
//! This crate knows identifiers, grids, time as tick numbers, messages and their encoding. It deliberately
//! knows no socket, no clock and no game rule. Start with [`client`] (what a client and a gateway say on
//! reliable streams), [`payload`] (what travels in datagrams), [`track`] (the shared, encoded-once bytes of
//! moving entities near by), [`crowd`] (those of all the others) and [`fabric`] (what lanes and gateways say to each other; [`lane`] is what lanes say among themselves,
//! [`node`] how nodes carry it).
//! `proto/PROTOCOL.md` describes the client side completely for readers without Rust.

pub mod bits;
mod check;
pub mod client;
pub mod close;
pub mod codec;
pub mod crowd;
pub mod directory;
pub mod fabric;
pub mod grid;
pub mod id;
pub mod lane;
pub mod limits;
pub mod link;
pub mod node;
pub mod payload;
pub mod schema;
pub mod time;
pub mod track;
pub mod truth;
pub mod value;

pub use close::CloseReason;
pub use grid::{Pos, WirePos};
pub use id::{
    CallerId, CommandSeq, EntityId, EntityName, GatewayId, Generation, Hop, Incarnation, IntentSeq, KindId,
    LaneEpoch, LaneHandle, LaneId, PropertyIndex, SessionEpoch, SessionId, Slot, SpaceId, SubjectRef,
};
pub use time::{SpaceClock, Tick};
pub use value::Value;
