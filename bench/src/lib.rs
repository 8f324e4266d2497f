//! The load harness: real clients that check every claim at the receiving end.
