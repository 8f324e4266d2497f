//! What went wrong in a script, and where.

use crate::sources::EXTENSION;
use mlua::prelude::LuaFunction;
use mlua::{Error, Lua};
use thiserror::Error as ThisError;

/// Why the scripts were not loaded.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
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
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
#[error("{file}:{line}: {message} (in {call})")]
pub struct ScriptFault {
    /// The file: a module's path with its extension.
    pub file: String,
    /// The line, from 1. Where the VM does not know it, as when memory is used up: where the called function begins.
    pub line: u32,
    /// What went wrong.
    pub message: String,
    /// Which call it was, such as `timer 'wander' of npc`.
    pub call: String,
}

/// A line of a script.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) file: String,
    pub(crate) line: u32,
}

/// The prelude's name in messages: it is no file of the game's.
pub(crate) const PRELUDE: &str = "myriad prelude";
/// How many frames up the stack a line of a script is looked for: past API functions and the prelude's.
const FRAMES: usize = 6;

impl Place {
    /// The script line that is running now.
    pub(crate) fn current(lua: &Lua) -> Self {
        let frame = |level| {
            lua.inspect_stack(level, |frame| {
                let file = frame.source().short_src.map(|source| source.into_owned());
                (file, frame.current_line())
            })
        };
        let script = |(file, line): (Option<String>, Option<usize>)| {
            let (file, line) = (file?, line?);
            let is_script = file
                .strip_suffix(EXTENSION)
                .is_some_and(|path| path.ends_with('.'));
            is_script.then_some(Self {
                file,
                line: line as u32,
            })
        };
        (0..FRAMES).map_while(frame).find_map(script).unwrap_or_default()
    }

    /// Where a function of a script begins.
    pub(crate) fn of(function: &LuaFunction) -> Self {
        let info = function.info();
        Self {
            file: info.short_src.unwrap_or_default(),
            line: info.line_defined.unwrap_or_default() as u32,
        }
    }

    /// Takes `file.luau:12:` off the front of a line of text.
    pub(crate) fn take(text: &str) -> Option<(Self, &str)> {
        let text = text.trim_start();
        let marker = format!(".{EXTENSION}:");
        let (path, rest) = text.split_once(&marker)?;
        let (line, rest) = rest.split_once(':')?;
        let place = Self {
            file: format!("{path}.{EXTENSION}"),
            line: line.parse().ok()?,
        };
        (!path.contains(['\n', ' ', ':'])).then_some((place, rest.trim()))
    }
}

/// Where an error of the VM happened, if it says so, and what it says without stack and wrapping.
pub(crate) fn explain(error: &Error) -> (Option<Place>, String) {
    let (mut error, mut traceback) = (error, "");
    while let Error::CallbackError {
        traceback: inner,
        cause,
    } = error
    {
        (error, traceback) = (cause, inner);
    }
    let text = match error {
        Error::RuntimeError(text) | Error::SyntaxError { message: text, .. } => text.clone(),
        Error::MemoryError(_) => "the scripts used up their memory".to_owned(),
        other => other.to_string(),
    };
    let (message, own_traceback) = text.split_once("\nstack traceback:").unwrap_or((&text, ""));
    let message = without_prelude(message);
    if let Some((place, message)) = Place::take(message) {
        return (Some(place), message.to_owned());
    }
    let mut frames = traceback.lines().chain(own_traceback.lines());
    let place = frames.find_map(|frame| Place::take(frame).map(|(place, _)| place));
    (place, message.to_owned())
}

/// Takes the prelude's own place off the front: the script that called it is to blame.
fn without_prelude(message: &str) -> &str {
    let inner = message
        .strip_prefix(PRELUDE)
        .and_then(|rest| rest.split_once(": "));
    inner.map_or(message, |(_, message)| message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::arc_with_non_send_sync, reason = "mlua's own type asks for it")]
    fn the_place_is_taken_from_the_message_or_else_from_the_first_script_in_the_stack() {
        let place = |file: &str, line| {
            let file = file.to_owned();
            Some(Place { file, line })
        };
        let of_message = Error::RuntimeError("a/b.luau:12: boom\nstack traceback:\n\t[C]: in ?".to_owned());
        assert_eq!(explain(&of_message), (place("a/b.luau", 12), "boom".to_owned()));
        let of_stack = Error::CallbackError {
            traceback: "stack traceback:\n\t[C]: in ?\n\tmain.luau:3: in function 'f'".to_owned(),
            cause: std::sync::Arc::new(Error::RuntimeError("no such: thing".to_owned())),
        };
        assert_eq!(
            explain(&of_stack),
            (place("main.luau", 3), "no such: thing".to_owned())
        );
        let nowhere = Error::RuntimeError("lost".to_owned());
        assert_eq!(explain(&nowhere), (None, "lost".to_owned()));
    }
}
