//! Engines and the oracle driven by the same operations and compared after every update: what the tests and the
//! fuzz target share. Read [`op`] for what can be done, [`trial`] for how it is compared, and [`bytes`] for how any
//! string of bytes becomes a history of operations.

pub(crate) mod bytes;
mod explain;
pub(crate) mod op;
mod reading;
pub(crate) mod trial;
