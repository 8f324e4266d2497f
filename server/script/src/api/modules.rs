//! `require`: modules of the game's own sources, each run once, while the scripts load.

use crate::ScriptSources;
use crate::convert::{Text, error};
use crate::shared::Shared;
use crate::sources::EXTENSION;
use mlua::Lua;
use mlua::prelude::{LuaFunction, LuaResult, LuaTable, LuaValue};
use std::rc::Rc;

/// Defines `require`; returns it. Before the sandbox is closed.
pub(crate) fn install(lua: &Lua, shared: &Rc<Shared>, sources: &ScriptSources) -> LuaResult<LuaFunction> {
    // What each module returned; `false` while it runs.
    let results = lua.create_table()?;
    let sources = sources.clone();
    let required = Rc::clone(shared);
    let require = super::Api { lua, shared }.capturing(move |lua, Text(path): Text| {
        if required.declarations.borrow().is_none() {
            return Err(error("modules are required while the scripts load"));
        }
        run_once(lua, &sources, &results, &path)
    })?;
    lua.globals().raw_set("require", &require)?;
    Ok(require)
}

fn run_once(lua: &Lua, sources: &ScriptSources, results: &LuaTable, path: &str) -> LuaResult<LuaValue> {
    match results.raw_get::<LuaValue>(path)? {
        LuaValue::Nil => {}
        LuaValue::Boolean(false) => {
            return Err(error(format!("module '{path}' requires itself in a circle")));
        }
        result => return Ok(result),
    }
    let Some(text) = sources.get(path) else {
        let known: Vec<&str> = sources.paths().collect();
        return Err(error(format!(
            "there is no module '{path}', only {}",
            known.join(", ")
        )));
    };
    results.raw_set(path, false)?;
    let module = lua
        .load(text)
        .set_name(format!("={path}.{EXTENSION}"))
        .into_function()?;
    let result = match module.call::<LuaValue>(())? {
        // So that it does not run twice.
        LuaValue::Nil | LuaValue::Boolean(false) => LuaValue::Boolean(true),
        result => result,
    };
    results.raw_set(path, &result)?;
    Ok(result)
}
