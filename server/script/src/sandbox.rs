//! What scripts can't do: reach the machine, change the libraries, hide state in globals, or run for ever.
//!
//! Of the VM's libraries only those that compute remain; everything is read-only before the first line of a script
//! runs. `math.random` is the host's, from its seed. Addresses of tables and functions never get into a text
//! through `tostring` or `print` (see `prelude.luau`), so that a replay prints alike.

use crate::convert::error;
use crate::fault::Place;
use crate::shared::Shared;
use mlua::prelude::{LuaError, LuaFunction, LuaResult, LuaTable, LuaValue};
use mlua::{Lua, LuaOptions, StdLib, VmState};
use std::rc::Rc;

/// Globals that no script may have: they reach the machine, other functions' environments or the collector, print
/// addresses, or have numbers that are no doubles.
const REMOVED: &[&str] = &[
    "collectgarbage",
    "debug",
    "gcinfo",
    "getfenv",
    "integer",
    "loadstring",
    "newproxy",
    "os",
    "require",
    "setfenv",
];

/// A VM with the computing libraries, and nothing else yet.
pub(crate) fn new_vm() -> LuaResult<Lua> {
    let libraries = StdLib::COROUTINE
        | StdLib::TABLE
        | StdLib::STRING
        | StdLib::UTF8
        | StdLib::BIT
        | StdLib::MATH
        | StdLib::BUFFER
        | StdLib::VECTOR;
    // A panic of ours is no error that a script may catch.
    Lua::new_with(libraries, LuaOptions::new().catch_rust_panics(false))
}

/// Removes what must not be there. `random` becomes `math.random`.
pub(crate) fn tame(lua: &Lua, random: &LuaFunction) -> LuaResult<()> {
    let globals = lua.globals();
    for name in REMOVED {
        globals.raw_set(*name, LuaValue::Nil)?;
    }
    let math: LuaTable = globals.get("math")?;
    math.raw_set("random", random)?;
    math.raw_set("randomseed", LuaValue::Nil)
}

/// Makes everything read-only and begins to count. Nothing may be defined after this.
pub(crate) fn close(lua: &Lua, shared: &Rc<Shared>, memory_bytes: usize) -> LuaResult<()> {
    lua.sandbox(true)?;
    lua.globals().set_readonly(true);
    lua.set_memory_limit(memory_bytes)?;
    let shared = Rc::clone(shared);
    lua.set_interrupt(move |lua| {
        if shared.budget.interrupt(lua.used_memory()) {
            Ok(VmState::Continue)
        } else {
            Err(spent(lua, &shared))
        }
    });
    Ok(())
}

/// The error that ends a call without budget. Whatever catches it is ended by the next interrupt.
pub(crate) fn spent(lua: &Lua, shared: &Shared) -> LuaError {
    shared.budget.end_at(|| Place::current(lua));
    error("the call used up its budget")
}
