//! Whole processes over real QUIC on loopback: they prove the wiring, not the logic.
//!
//! Each test starts the real binary with ports of the system's choice and folders of its own, and ends it. Nothing
//! here waits for a time to pass where it can wait for something to happen; whatever does not happen fails by a
//! deadline that is generous, because the machine may be slow and busy.

mod bad_input;
mod cluster;
mod demo;
mod lanes;
mod layers;
mod nodes;
mod operation;
mod raw;
mod restart;
mod server;
mod walker;
