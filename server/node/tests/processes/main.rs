//! Whole processes over real QUIC on loopback: they prove the wiring, not the logic.

mod bad_input;
mod cluster;
mod demo;
mod layers;
mod operation;
mod raw;
mod restart;
mod server;
mod walker;
