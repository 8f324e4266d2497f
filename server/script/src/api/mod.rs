//! What scripts may call: `myriad.*` and the methods of entities. `scripts/types/myriad.d.luau` describes it to
//! their authors; the two are kept in step by a test.
//!
//! What an author could have known beforehand (a wrong type, an undeclared property) is an error with file and
//! line. What only the game's state can tell (the entity is gone, the space is full) is `nil, reason`.

pub(crate) mod entity;
pub(crate) mod kind;
pub(crate) mod modules;
pub(crate) mod world;

use crate::fault::{PRELUDE, Place};
use crate::sandbox;
use crate::shared::Shared;
use mlua::Lua;
use mlua::prelude::{
    FromLuaMulti, IntoLuaMulti, LuaError, LuaFunction, LuaLightUserData, LuaResult, LuaTable,
};
use myriad_wire::Value;
use std::rc::Rc;

/// Defines everything. Before the sandbox is closed.
pub(crate) fn install(lua: &Lua, shared: &Rc<Shared>, game: &[(String, Value)]) -> LuaResult<()> {
    let api = Api { lua, shared };
    let myriad = world::table(&api, game)?;
    myriad.raw_set("kind", api.function(kind::declare)?)?;
    myriad.raw_set("on_start", api.function(kind::on_start)?)?;
    sandbox::tame(lua, &myriad.raw_get("random")?)?;

    let host = lua.create_table()?;
    host.raw_set("charge", api.function(charge)?)?;
    host.raw_set("log", api.function(world::log)?)?;
    host.raw_set("methods", entity::methods(&api)?)?;
    host.raw_set("read", api.function(entity::read)?)?;
    host.raw_set("write", api.function(entity::write)?)?;
    host.raw_set("describe", api.function(entity::describe)?)?;
    let prelude = lua
        .load(include_str!("../prelude.luau"))
        .set_name(format!("={PRELUDE}"));
    let metatable: LuaTable = prelude.call(host)?;
    metatable.set_readonly(true);
    lua.set_type_metatable::<LuaLightUserData>(Some(metatable));

    myriad.raw_set("log", lua.globals().raw_get::<LuaFunction>("print")?)?;
    myriad.set_readonly(true);
    lua.globals().raw_set("myriad", myriad)
}

/// Makes functions for scripts.
pub(crate) struct Api<'a> {
    pub(crate) lua: &'a Lua,
    shared: &'a Rc<Shared>,
}

impl Api<'_> {
    /// `function` for scripts. Its errors say the line of the script that called it.
    pub(crate) fn function<A, R>(
        &self,
        function: fn(&Lua, &Shared, A) -> LuaResult<R>,
    ) -> LuaResult<LuaFunction>
    where
        A: FromLuaMulti + 'static,
        R: IntoLuaMulti + 'static,
    {
        let shared = Rc::clone(self.shared);
        self.capturing(move |lua, arguments| function(lua, &shared, arguments))
    }

    /// As [`Self::function`], for one that knows more than what is shared.
    pub(crate) fn capturing<A, R>(
        &self,
        function: impl Fn(&Lua, A) -> LuaResult<R> + 'static,
    ) -> LuaResult<LuaFunction>
    where
        A: FromLuaMulti + 'static,
        R: IntoLuaMulti + 'static,
    {
        self.lua.create_function(move |lua, arguments: A| {
            function(lua, arguments).map_err(|error| match error {
                LuaError::RuntimeError(message) => located(lua, message),
                other => other,
            })
        })
    }
}

/// Says the line of the script, unless the error came from a script and does so already.
fn located(lua: &Lua, message: String) -> LuaError {
    let Place { file, line } = Place::current(lua);
    if file.is_empty() || Place::take(&message).is_some() {
        LuaError::RuntimeError(message)
    } else {
        LuaError::RuntimeError(format!("{file}:{line}: {message}"))
    }
}

/// Takes steps off the budget, for the prelude.
fn charge(lua: &Lua, shared: &Shared, steps: f64) -> LuaResult<()> {
    // A cast saturates.
    if shared.budget.charge(steps as usize) {
        Ok(())
    } else {
        Err(sandbox::spent(lua, shared))
    }
}
