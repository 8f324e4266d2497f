//! What went wrong in a script, and where.

use thiserror::Error;

/// Why the scripts were not loaded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}:{line}: {message}")]
pub struct ScriptError {
    /// The file: a module's path with its extension.
    pub file: String,
    /// The line, from 1; 0 if no line is to blame.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

/// A script call that ended early. What it had done by then stands.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}:{line}: {message} (in {call})")]
pub struct ScriptFault {
    /// The file: a module's path with its extension.
    pub file: String,
    /// The line, from 1; 0 if no line is to blame.
    pub line: u32,
    /// What went wrong.
    pub message: String,
    /// Which call it was, such as `timer 'wander' of npc`.
    pub call: String,
}
