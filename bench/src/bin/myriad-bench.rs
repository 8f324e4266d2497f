//! Benches with baselines.
fn main() {}
