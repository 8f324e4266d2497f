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
//! An observer `o` *sees* a subject `s` if their masks meet and `s` is near, or kept in view by hand:
//!
//! ```text
//! visible(o, s) = (o.sees & s.layers != 0) and (near(o, s) or manual(o, s))
//! near(o, s)    = near_appeal(o, s)  while s.appeal > 0
//!                 near_radius(o, s)  otherwise
//! ```
//!
//! Both kinds of nearness remember themselves from one update to the next (*hysteresis*). With `d` the distance in
//! three dimensions, `dy` the difference in height, and a reach `R`:
//!
//! ```text
//! was not near:      d² <=     R²   and, with a limit of height L,      |dy| <=    L
//! was near:      100 d² <= 121 R²   and, with a limit of height L,   10 |dy| <= 11 L
//! ```
//!
//! - `near_radius` has the observer's radius as `R`. It goes on being computed while the subject has an appeal.
//! - `near_appeal` has the greater of the observer's radius and the subject's appeal. It is false, and forgotten, while
//!   the appeal is 0.
//! - `L` is [`Config::dy_limit`], if there is one. A radius or an appeal that changes keeps what is remembered.
//! - Nearness knows no masks: who is hidden and shown again between 1.0 and 1.1 `R` has stayed near, and is seen.
//! - Manual interest ([`Engine::set_manual`]) replaces nearness, never the masks.
//!
//! All memory begins false with either life and ends with either. The edges are the exact differences of `visible`
//! between two updates; what happens to both within one (somebody passes through a view in a single step) is not
//! seen. All of it is integer arithmetic on AOI units and has no tolerance: [`oracle`] is the same rule as obvious code,
//! and the tests compare the two event for event.
//!
//! # Two shapes
//!
//! [`Shape::Directed`]: observers and subjects are two sets. Each observer has a place and a radius of its own, and
//! removing it forgets its nearness.
//!
//! [`Shape::Mutual`]: one set of entities with one radius, each of which may observe. A distance serves both directions,
//! and so does one bit of memory: `near_radius` and `near_appeal` belong to the two entities, whether or not they
//! observe, and end with an entity's life. Radii cannot change there.
//!
//! # How, and what it costs
//!
//! Everybody has a slot in a *block* of 32 who stand near each other. Two blocks whose boxes are out of reach of each
//! other, or wholly within, cost a bit; only a pair that is neither (*mixed*) has a tile of 32 x 32 bits, brought up to
//! date by a kernel. An update is linear in
//!
//! - everybody: places are read and boxes drawn anew, moved or not;
//! - row blocks times the chunks of 64 column blocks that some row of their stripe may reach: 64 boxes are
//!   classified at a time;
//! - mixed pairs of blocks: one call of the kernel each. They lie between `R` and `1.1 R`, give or take a block: a view's
//!   rim, not its contents;
//! - edges, with [`Config::watched`] once more;
//! - slots that change hands (births, ends, teleports, and a bounded share of regrouping): each means looking at all that
//!   the block is near;
//! - the views before and after of observers whose mask changed, and of mutual ones who begin to observe; the observers
//!   before and after of subjects whose mask changed, or that got or lost an appeal;
//! - manual interests, every one of them in every update; ends of lives times the observers that have any;
//! - traps, times who is around them.
//!
//! It does not depend on how many pairs are in view. A block takes 1.7 KB, full or not, and a mixed pair of blocks 128
//! bytes; what has been allocated is kept for the next tick and hardly ever given back, and a steady tick allocates
//! nothing.
//!
//! Blocks are formed by place alone. One far-sighted observer makes the rim of its whole block wide, and from about
//! 465 m on (at 1/32 m, less half a block) a radius or an appeal takes the kernel for any size, which is slower. What
//! an update takes in ms, by shape, crowd and kernel, is measured in `bench/results/aoi`.
//!
//! Reading: [`View::blocks`] is one mask per block in reach and the form to broadcast by; [`View::contains`] is a search;
//! [`Engine::observers_of`] looks at every row block of a directed engine. Queries look at the blocks that meet
//! their box.
//!
//! # What it does not know
//!
//! Entities, sessions, cells, the wire, time, walls. An AOI unit is whatever the caller says (in Myriad 1/32 m), and a
//! tick is a call of `update`. The order of events and views is its own: it does not depend on threads, but on the
//! history, and nothing is sorted unless a method says so.
//!
//! Read `engine.rs` next (what is put in and read out), then `update.rs` (the stages), `field.rs` (the memory of
//! nearness) and `kernel/mod.rs` (the innermost loops). How people get into blocks is in `side.rs` and `regroup.rs`,
//! how their bits follow them in `plan.rs` and `relocate.rs`. [`oracle`] is the specification.

mod bits;
mod block;
mod bounds;
mod emit;
mod engine;
mod field;
mod kernel;
mod manual;
pub mod oracle;
mod plan;
mod queries;
mod regroup;
mod relocate;
mod side;
mod traps;
mod types;
mod update;
mod view;
mod watch;

pub use engine::Engine;
pub use traps::{TrapEvent, TrapId};
pub use types::{
    Config, Edge, Event, Kernel, Memory, Observer, ObserverId, RADIUS_MAX, Shape, Subject, SubjectId,
};
pub use view::{Block, View};
