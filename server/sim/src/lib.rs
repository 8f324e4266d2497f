//! The deterministic simulator: clock, links, faults, checkers.
