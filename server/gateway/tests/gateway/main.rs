//! A gateway driven through its public API by lanes and clients made by hand.

mod client;
mod crowd;
mod crowd_check;
mod crowd_client;
mod crowd_deeds;
mod crowd_lane;
mod door;
mod handoff;
mod handoff_deeds;
mod issuers;
mod lane;
mod links;
mod moves;
mod payloads;
mod rig;
mod transit;
mod views;
