//! The lane between hand-made gateways and storage in memory: what it publishes, whom it believes, what it saves.

mod calls;
mod crowd;
mod handoff;
mod lanes;
mod publishing;
mod rig;
mod sessions;
