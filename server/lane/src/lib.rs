//! The tick of one lane, top to bottom.
//!
//! A [`Lane`] is a synchronous state machine: messages from gateways and other lanes, and answers from storage, go into its inbox,
//! [`Lane::tick`] computes one step and fills the [`Output`]. It knows no socket, clock or thread; time is the
//! tick number it is given. Read [`Lane::tick`] first, then the stages in their order.
//!
//! Cost per tick: entities x (move + 2 codings) + sessions x (intents + one route) + changes. Observers cost
//! nothing here: the frame is encoded once whatever the number of readers.

mod avatars;
mod calls;
mod config;
mod counters;
mod crowd;
mod departures;
mod issuers;
mod lane;
mod peers;
mod readers;
mod stages;
mod tracks;
mod versions;
mod whereabouts;

pub use config::Config;
pub use counters::Counters;
pub use lane::{Lane, Output};
pub use stages::Stage;
