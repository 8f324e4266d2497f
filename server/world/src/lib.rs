//! Entity kinds, typed property columns and movement.
