//! The engine does what the oracle does: event for event, tick for tick, with every kernel, on one thread and on
//! two, in both shapes.

#[path = "../drive/mod.rs"]
mod drive;
mod histories;
mod scenes;
mod walks;
