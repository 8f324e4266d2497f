//! The rule as obvious code: every observer against every subject, in maps and sets, with 128-bit arithmetic.
