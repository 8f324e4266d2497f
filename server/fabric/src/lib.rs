//! Node links: how a message from one role reaches another, in this process or in another one.
//!
//! [`Fabric`] is the seam: roles register an inbox, anybody sends to a [`RoleId`]. A role in this process gets the
//! message in its inbox; one that another node announced gets it over that node's QUIC link ([`quic`]), with mutual
//! TLS under the cluster's own certificate authority ([`ca`]). The same code runs with one process or with many.
//!
//! The fabric promises nothing about delivery: what finds no route, a full inbox or a full queue is dropped and
//! counted, because the sender must never wait. `myriad_wire::link` notices the gap at the receiving role and asks
//! for a full copy. The fabric knows neither lanes nor gateways, and nothing of what messages say.
//!
//! Cost: a handful of messages per tick and pair of roles; a frame's bytes are shared by all its readers in this
//! process, and copied once into each link's stream. Read [`Fabric`], then [`quic::NodeLinks`]; [`call`] is how a
//! thread asks a service and waits.

pub mod ca;
pub mod call;
mod counters;
pub mod quic;
mod routes;

pub use counters::{Counter, FabricCounters};
pub use myriad_wire::fabric::{Envelope, RoleId};
pub use routes::{Fabric, FabricMessage};
