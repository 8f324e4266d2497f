//! The client SDK: connect, log in, send intents, hold the view.
//!
//! [`Client`] is the core: a synchronous state machine without socket or clock. It is told what arrived and what
//! time it is, predicts the own avatar, keeps who is in view and where, and tells enters, property changes,
//! events and leaves in order, each with its tick. [`quic`] connects it to a server (cargo feature `quic`, on by
//! default). The crate knows no game: kinds and properties come from the server, drawing is up to the caller.
//!
//! Read next: [`client`](Client) for the order of calls, `order.rs` for when something is told, `view.rs` for
//! the memory of a view, `crowd.rs` for views of thousands, `motion.rs` for interpolation, `avatar.rs` for prediction.

mod avatar;
mod client;
mod clock;
mod counters;
mod crowd;
mod event;
pub mod limits;
mod listed;
mod motion;
mod order;
#[cfg(feature = "quic")]
pub mod quic;
mod view;

pub use client::Client;
pub use counters::{ByteCounters, Counters, StateCounters};
pub use crowd::mask::Mask;
pub use crowd::near::NearChunk;
pub use crowd::step::Step;
pub use crowd::view::{SeenTrack, SeenTracks, TrackList};
pub use crowd::{Advanced, Done, OwnTracks, TrackState, TrackStore};
pub use event::{ClientConfig, ClientEvent, CommandError, CrowdEdges, DEFAULT_IDENTITIES_PER_S, IntentError};
pub use motion::Shown;
pub use view::{NearState, Subject, Tier, View};
