//! Saved state behind one trait: redb, and memory for the simulator.
