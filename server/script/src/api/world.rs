//! `myriad.*`: the space, chance, time.

use super::Api;
use super::entity::{call_arguments, keep_call};
use crate::convert::{Answer, Entity, Finite, Text, error, to_lua, to_typed};
use crate::shared::{Callee, ScriptCall, Shared};
use mlua::Lua;
use mlua::prelude::{FromLua, LuaResult, LuaString, LuaTable, LuaValue, LuaVariadic};
use myriad_wire::grid::UNITS_PER_METRE;
use myriad_wire::{Pos, Value};
use myriad_world::{Spawn, SpawnError};
use rand::Rng;

/// How far an area call reaches at most, in metres: as far as entities notice each other.
const CALL_RADIUS_M: f64 = 60.0;

/// `myriad`, without what must be there before and after: see `install`.
pub(super) fn table(api: &Api<'_>, game: &[(String, Value)]) -> LuaResult<LuaTable> {
    let constants = api.lua.create_table()?;
    for (name, value) in game {
        constants.raw_set(name.as_str(), to_lua(api.lua, value)?)?;
    }
    constants.set_readonly(true);
    let myriad = api.lua.create_table()?;
    myriad.raw_set("game", constants)?;
    myriad.raw_set("spawn", api.function(spawn)?)?;
    myriad.raw_set("bounds", api.function(bounds)?)?;
    myriad.raw_set("owns", api.function(owns)?)?;
    myriad.raw_set("call_area", api.function(call_area)?)?;
    myriad.raw_set("tick", api.function(tick)?)?;
    myriad.raw_set("random", api.function(random)?)?;
    Ok(myriad)
}

/// Keeps a line for the log.
pub(super) fn log(_: &Lua, shared: &Shared, line: LuaString) -> LuaResult<()> {
    shared.log(line.to_string_lossy());
    Ok(())
}

fn spawn(lua: &Lua, shared: &Shared, (name, at): (Text, LuaTable)) -> LuaResult<Answer<Entity>> {
    super::kind::check_keys("spawn", &at, &["x", "y", "z", "properties"])?;
    let coordinate = |key| match at.raw_get::<LuaValue>(key)? {
        LuaValue::Nil => Ok(0.0),
        value => Finite::from_lua(value, lua).map(|Finite(v)| v),
    };
    let position = Pos::from_metres([coordinate("x")?, coordinate("y")?, coordinate("z")?].into());
    let mut space = shared.space()?;
    let kinds = space.kinds().clone();
    let kind = kinds
        .find(&name.0)
        .ok_or_else(|| error(format!("there is no kind '{}'", name.0)))?;
    let mut properties = Vec::new();
    if let Some(given) = at.raw_get::<Option<LuaTable>>("properties")? {
        for pair in given.pairs::<Text, LuaValue>() {
            let (Text(name), value) = pair?;
            let property = kind.property_index(&name).and_then(|index| kind.property(index));
            let property = property
                .ok_or_else(|| error(format!("kind '{}' has no property '{name}'", kind.spec().name)))?;
            properties.push((name, to_typed(&value, property.domain.value_type())?));
        }
    }
    match space.spawn(kind.id(), Spawn { position, properties }) {
        Ok(handle) => {
            shared.newborn.borrow_mut().push_back(handle);
            Ok(Answer::Done(Entity(handle)))
        }
        Err(full @ SpawnError::Full(_)) => Ok(Answer::Refused(full.to_string())),
        Err(other) => Err(error(other.to_string())),
    }
}

/// Lowest x, lowest z, highest x, highest z, in metres.
fn bounds(_: &Lua, shared: &Shared, (): ()) -> LuaResult<(f64, f64, f64, f64)> {
    let config = *shared.space()?.config();
    let (low, high) = (config.bounds_min.to_metres(), config.bounds_max.to_metres());
    Ok((low.x, low.z, high.x, high.z))
}

/// Whether this lane is to spawn what begins there, in metres.
fn owns(_: &Lua, shared: &Shared, (Finite(x), Finite(z)): (Finite, Finite)) -> LuaResult<bool> {
    Ok(shared.space()?.owns(Pos::from_metres([x, 0.0, z].into())))
}

/// The next tick calls all who are there then.
fn call_area(
    _: &Lua,
    shared: &Shared,
    (Finite(x), Finite(z), Finite(radius_m), Text(name), arguments): (
        Finite,
        Finite,
        Finite,
        Text,
        LuaVariadic<LuaValue>,
    ),
) -> LuaResult<Answer<bool>> {
    let arguments = call_arguments(shared, &name, &arguments)?;
    if !(0.0..=CALL_RADIUS_M).contains(&radius_m) {
        return Err(error(format!(
            "a radius of {radius_m} m is not within 0 to {CALL_RADIUS_M}"
        )));
    }
    let Pos { x, z, .. } = Pos::from_metres([x, 0.0, z].into());
    let to = Callee::Area {
        center: [x, z],
        radius: (radius_m * f64::from(UNITS_PER_METRE)).round() as u32,
    };
    keep_call(shared, ScriptCall { to, name, arguments })
}

fn tick(_: &Lua, shared: &Shared, (): ()) -> LuaResult<f64> {
    Ok(shared.space()?.tick().0 as f64)
}

/// As `math.random`: a number in [0, 1), or a whole one from 1 or `low` to `high`.
fn random(_: &Lua, shared: &Shared, range: (Option<Finite>, Option<Finite>)) -> LuaResult<f64> {
    let next = || shared.random.borrow_mut().next_u64();
    let (low, high) = match range {
        // The 53 bits of a double's fraction.
        (None, _) => return Ok((next() >> 11) as f64 / (1u64 << 53) as f64),
        (Some(Finite(high)), None) => (1, whole(high)?),
        (Some(Finite(low)), Some(Finite(high))) => (whole(low)?, whole(high)?),
    };
    if low > high {
        return Err(error(format!("there is no number from {low} to {high}")));
    }
    let count = u128::from(high.abs_diff(low)) + 1;
    // Scaling has a bias of at most 2^-10 of a share even over the widest range.
    let offset = ((u128::from(next()) * count) >> 64) as i64;
    Ok((low + offset) as f64)
}

fn whole(v: f64) -> LuaResult<i64> {
    let whole = v.trunc() as i64;
    if whole.unsigned_abs() <= crate::convert::WHOLE_MAX as u64 {
        Ok(whole)
    } else {
        Err(error("a number beyond 2^53 is not exact"))
    }
}
