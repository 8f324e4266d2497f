//! The load harness: real clients that check every claim at the receiving end.
//!
//! [`run`] drives thousands of bots, each a client through the SDK with its own connection, keys and login, and
//! compares what they receive with the server's truth trace; a [`Report`] says what was found and
//! [`Report::verdict`] whether that is good enough. The server is never asked for anything but the truth of where
//! its entities are, so a server that measures itself wrongly is found out. Read [`options`] for what can be asked
//! and [`report`] for what is answered.

pub mod aoi;
mod bits;
mod bot;
pub mod cluster;
pub mod commands;
mod cpu;
mod feed;
pub mod header;
pub mod histogram;
pub mod html;
mod metrics;
pub mod motion;
mod obedience;
pub mod options;
pub mod progress;
mod properties;
pub mod relay;
pub mod report;
mod run;
mod sample;
mod seconds;
pub mod series;
pub mod server;
mod session;
mod shared;
mod speed;
#[cfg(test)]
mod stage;
mod summary;
mod text;
mod tracks;
mod truth;
pub mod verdict;
mod view;
mod worker;

pub use options::{AdminServer, BotsArgs, BotsOptions, Decode, Plant, Trust};
pub use progress::Progress;
pub use report::Report;
pub use run::run;
pub use sample::COVERED_MS;
pub use verdict::{Thresholds, Verdict};
