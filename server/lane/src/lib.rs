//! The tick of one lane, top to bottom.
