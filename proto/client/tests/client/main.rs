//! The client as its users see it: bytes in, events out; and once over real QUIC.

mod crowd;
mod hostile;
#[cfg(feature = "quic")]
mod loopback;
mod order;
mod server;
mod session;
