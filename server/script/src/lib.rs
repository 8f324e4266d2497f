//! The Luau host: API, sandbox, budgets.
//!
//! One [`ScriptHost`] per lane runs the game's rules over the lane's [`Space`](myriad_world::Space). It knows the
//! VM, what scripts may call and how much they may use. It deliberately knows no file, no clock, no session and no
//! wire: sources come as text, time is the space's tick, randomness a seed, and what scripts do ends up in the
//! space. Start with [`ScriptHost`], then `api/` (what scripts call, as `scripts/types/myriad.d.luau` describes
//! it to them) and `sandbox.rs` (what they can't).

mod api;
mod budget;
mod convert;
mod fault;
mod host;
mod sandbox;
mod shared;
mod sources;

pub use fault::{ScriptError, ScriptFault};
pub use host::{ScriptHost, ScriptLimits};
pub use shared::{Callee, ScriptCall};
pub use sources::ScriptSources;
