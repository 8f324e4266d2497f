//! Ownership records: node incarnations, lane epochs, space clocks.
