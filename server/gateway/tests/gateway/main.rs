//! A gateway driven through its public API by lanes and clients made by hand.

mod client;
mod door;
mod lane;
mod links;
mod payloads;
mod rig;
mod views;
