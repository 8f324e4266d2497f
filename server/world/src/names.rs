//! Names that scripts declare: kinds, properties, timers, commands and events share one rule.

use myriad_wire::limits::NAME_BYTES_MAX;

/// Whether `name` is a lower-case identifier of at most [`NAME_BYTES_MAX`] bytes.
///
/// The rule keeps `@` free for what the engine itself writes beside properties into a saved form.
pub(crate) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= NAME_BYTES_MAX
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
