//! Metrics, logs and admin HTTP.
//!
//! Cores know nothing of this crate: they keep plain counters, and the node's skin copies them into the metric
//! structs here ([`metrics`]), once a second or so. [`logs`] sets up tracing so that a stalled terminal stalls
//! nobody. [`admin`] answers operators over HTTP. It deliberately decides nothing about the game.

pub mod admin;
pub mod logs;
pub mod metrics;
pub mod process;

pub use admin::{AdminConfig, AdminError, AdminParts, AdminServer, Readiness, TruthFeed};
pub use logs::{LogConfig, LogError, LogFormat, LogGuard};
pub use metrics::Metrics;
