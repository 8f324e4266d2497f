//! Area of interest: positions in; enter, leave and views out.
//!
//! An [`Engine`] holds *subjects* (what can be seen) and *observers* (who sees), both under dense ids chosen by
//! the caller. The caller changes them as often as it likes, then calls [`Engine::update`] once per tick, and
//! reads the outcome: [`Engine::events`] (exact enters and leaves), [`Engine::view`], [`Engine::observers_of`],
//! [`Engine::watched_changes`], [`Engine::trap_events`] and the range queries. Nothing is called back in the
//! middle of an update.
//!
//! # The rule
//!
//! With `R` the greater of the observer's radius and the subject's appeal, `d` their distance in three
//! dimensions and `dy` their difference in height, a subject comes into view when
//!
//! - its `layers` and the observer's `sees` have a bit in common, and
//! - `d² <= R²`, or, if it is in view already, `100 d² <= 121 R²` (that is `d <= 1.1 R`: hysteresis), and
//! - with [`Config::dy_limit`] `L` set: `|dy| <= L`, or, if it is in view already, `10 |dy| <= 11 L`.
//!
//! Manual interest ([`Engine::set_manual`]) replaces the second and third condition, never the first. All of it
//! is integer arithmetic on AOI units and has no tolerance: [`oracle`] is the same rule as obvious code, and
//! the tests compare the two event for event.
//!
//! # Cost
//!
//! With `S` subjects and `O` observers an update is: one sort of `S` 12-byte keys, `O` searches, and `3 O S / 64`
//! words cleared, filled and compared; memory is `O S / 4` bytes for the views. A search costs two binary searches
//! per row of cells, a few ns per block of 64 that is all in or all out, 2 to 3 ns per candidate in the blocks that
//! are neither, and as much again per subject found where the view is a small part of everybody. An edge costs some
//! 10 ns, a subject with an appeal beyond the observer's radius about 3 ns per observer, a steady tick no
//! allocation.
//!
//! Milliseconds per update, release build, one thread of a busy 2-core Xeon, everybody moving:
//!
//! | observers x subjects | in view of each | edges | ms |
//! |---|---|---|---|
//! | 1,000 x 2,000 | all | 0 | 0.8 |
//! | 1,000 x 2,000 | half | 22,000 | 6.5 |
//! | 5,000 x 10,000 | 14 | 700 | 13 |
//! | 5,000 x 10,000 | 800 | 53,000 | 50 |
//!
//! # What it does not know
//!
//! Entities, sessions, cells, the wire, time. An AOI unit is whatever the caller says (in Myriad 1/32 m), and a
//! tick is a call of `update`.
//!
//! Read `engine.rs` next, then `grid.rs` (how candidates are found); [`oracle`] is the specification.

mod engine;
mod grid;
pub mod oracle;
mod points;
mod queries;
mod traps;
mod types;
mod view;
mod watch;

pub use engine::Engine;
pub use traps::{TrapEvent, TrapId};
pub use types::{Config, Edge, Event, Observer, ObserverId, RADIUS_MAX, Subject, SubjectId};
pub use view::{Block, View};
