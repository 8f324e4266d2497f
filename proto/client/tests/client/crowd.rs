//! Views by tracks: a small server that tells them, and what the client makes of it.

mod late;
mod rules;
mod sharing;
mod stage;
mod two;
mod walks;
