//! Interest: what scripts want to notice is computed, from the positions that were just committed.

use crate::lane::Lane;
use myriad_wire::Tick;

/// State of the stage.
#[derive(Debug, Default)]
pub(crate) struct Interest {}

pub(crate) fn interest(_lane: &mut Lane, _now: Tick) {}
