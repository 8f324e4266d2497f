//! The methods and properties of an entity.

use super::Api;
use crate::convert::{Answer, Entity, Finite, Mask, Text, error, to_argument, to_lua, to_typed};
use crate::shared::{Callee, ScriptCall, Shared};
use mlua::Lua;
use mlua::prelude::{LuaResult, LuaTable, LuaValue, LuaVariadic};
use myriad_wire::grid::UNITS_PER_METRE;
use myriad_wire::limits::{ARGUMENTS_MAX, TEXT_BYTES_MAX};
use myriad_wire::{Pos, PropertyIndex, Value};
use myriad_world::{EmitError, Gone, Motion, MotionError, PropertyError, Space, TimerError};

/// The names of all methods: no property may have one of them.
pub(crate) const METHODS: &[&str] = &[
    "after",
    "alive",
    "call",
    "cancel",
    "despawn",
    "emit",
    "get",
    "kind",
    "layers",
    "move_to",
    "position",
    "sees",
    "set",
    "set_layers",
    "set_sees",
    "stop",
];

/// All methods, by name.
pub(super) fn methods(api: &Api<'_>) -> LuaResult<LuaTable> {
    let methods = api.lua.create_table()?;
    for name in METHODS {
        let function = match *name {
            "after" => api.function(after),
            "alive" => api.function(alive),
            "call" => api.function(call),
            "cancel" => api.function(cancel),
            "despawn" => api.function(despawn),
            "emit" => api.function(emit),
            "get" => api.function(get),
            "kind" => api.function(kind),
            "layers" => api.function(layers),
            "move_to" => api.function(move_to),
            "position" => api.function(position),
            "sees" => api.function(sees),
            "set" => api.function(set),
            "set_layers" => api.function(set_layers),
            "set_sees" => api.function(set_sees),
            "stop" => api.function(stop),
            other => unreachable!("a method without a function: {other}"),
        };
        methods.raw_set(*name, function?)?;
    }
    Ok(methods)
}

type Done = LuaResult<Answer<bool>>;

fn done() -> Done {
    Ok(Answer::Done(true))
}

fn refused<T>(reason: impl ToString) -> LuaResult<Answer<T>> {
    Ok(Answer::Refused(reason.to_string()))
}

fn or_gone<T>(value: Option<T>) -> LuaResult<Answer<T>> {
    value.map_or_else(|| refused(Gone), |value| Ok(Answer::Done(value)))
}

// Properties.

/// `entity.name`
pub(super) fn read(lua: &Lua, shared: &Shared, (entity, name): (Entity, Text)) -> LuaResult<LuaValue> {
    let value = property(&*shared.space()?, entity, &name.0).map_err(|e| error(e.to_string()))?;
    to_lua(lua, &value)
}

/// `entity.name = value`
pub(super) fn write(_: &Lua, shared: &Shared, to: (Entity, Text, LuaValue)) -> LuaResult<()> {
    set_property(shared, to)?.map_err(|e| error(e.to_string()))
}

fn get(lua: &Lua, shared: &Shared, (entity, name): (Entity, Text)) -> LuaResult<Answer<LuaValue>> {
    let value = property(&*shared.space()?, entity, &name.0);
    match value {
        Ok(value) => to_lua(lua, &value).map(Answer::Done),
        Err(gone @ PropertyError::Gone) => refused(gone),
        Err(other) => Err(error(other.to_string())),
    }
}

fn set(_: &Lua, shared: &Shared, to: (Entity, Text, LuaValue)) -> Done {
    match set_property(shared, to)? {
        Ok(()) => done(),
        Err(reason @ (PropertyError::Gone | PropertyError::Domain { .. })) => refused(reason),
        Err(other) => Err(error(other.to_string())),
    }
}

fn property(space: &Space, Entity(handle): Entity, name: &str) -> Result<Value, PropertyError> {
    space.property(handle, index(space, Entity(handle), name)?)
}

fn index(space: &Space, Entity(handle): Entity, name: &str) -> Result<PropertyIndex, PropertyError> {
    let kind = space.kind(handle).ok_or(PropertyError::Gone)?;
    kind.property_index(name)
        .ok_or_else(|| PropertyError::NoSuchProperty {
            kind: kind.spec().name.clone(),
            property: name.to_owned(),
        })
}

/// The outer error is a value that is of no type of property at all.
fn set_property(
    shared: &Shared,
    (entity, Text(name), value): (Entity, Text, LuaValue),
) -> LuaResult<Result<(), PropertyError>> {
    let mut space = shared.space()?;
    let index = match index(&space, entity, &name) {
        Ok(index) => index,
        Err(error) => return Ok(Err(error)),
    };
    let kind = space.kind(entity.0).expect("it has properties, so it is there");
    let value_type = kind
        .property(index)
        .expect("an index of this kind")
        .domain
        .value_type();
    let value =
        to_typed(&value, value_type).map_err(|e| error(format!("property '{name}': {}", text(&e))))?;
    Ok(space.set_property(entity.0, index, value))
}

fn text(error: &mlua::Error) -> String {
    crate::fault::explain(error).1
}

// Who and where.

/// For `tostring`: the same on every run.
pub(super) fn describe(_: &Lua, shared: &Shared, Entity(handle): Entity) -> LuaResult<String> {
    let space = shared.space()?;
    let kind = space.kind(handle).map_or("gone", |kind| &kind.spec().name);
    Ok(format!("{kind} {}.{}", handle.slot, handle.generation))
}

fn alive(_: &Lua, shared: &Shared, Entity(handle): Entity) -> LuaResult<bool> {
    Ok(shared.space()?.alive(handle))
}

fn kind(_: &Lua, shared: &Shared, Entity(handle): Entity) -> LuaResult<Answer<String>> {
    or_gone(shared.space()?.kind(handle).map(|kind| kind.spec().name.clone()))
}

/// x, z, y in metres: the ground first.
fn position(_: &Lua, shared: &Shared, Entity(handle): Entity) -> LuaResult<Answer<(f64, f64, f64)>> {
    let position = shared.space()?.position(handle).map(Pos::to_metres);
    or_gone(position.map(|p| (p.x, p.z, p.y)))
}

fn layers(_: &Lua, shared: &Shared, Entity(handle): Entity) -> LuaResult<Answer<u32>> {
    or_gone(shared.space()?.sight(handle).map(|sight| sight.layers))
}

fn sees(_: &Lua, shared: &Shared, Entity(handle): Entity) -> LuaResult<Answer<u32>> {
    or_gone(shared.space()?.sight(handle).map(|sight| sight.sees))
}

fn set_layers(_: &Lua, shared: &Shared, (Entity(handle), mask): (Entity, Mask)) -> Done {
    shared
        .space()?
        .set_layers(handle, mask.0)
        .map_or_else(refused, |()| done())
}

fn set_sees(_: &Lua, shared: &Shared, (Entity(handle), mask): (Entity, Mask)) -> Done {
    shared
        .space()?
        .set_sees(handle, mask.0)
        .map_or_else(refused, |()| done())
}

fn despawn(_: &Lua, shared: &Shared, Entity(handle): Entity) -> Done {
    shared.space()?.despawn(handle).map_or_else(refused, |()| done())
}

// Motion.

/// Without a speed: the kind's highest.
fn move_to(
    _: &Lua,
    shared: &Shared,
    (Entity(handle), Finite(x), Finite(z), speed): (Entity, Finite, Finite, Option<Finite>),
) -> Done {
    let mut space = shared.space()?;
    let Some(kind) = space.kind(handle) else {
        return refused(Gone);
    };
    let speed_m_s = speed.map_or(kind.spec().speed_max_m_s, |Finite(speed)| speed);
    let Pos { x, z, .. } = Pos::from_metres([x, 0.0, z].into());
    let motion = Motion::MoveTo {
        x,
        z,
        speed: (speed_m_s * f64::from(UNITS_PER_METRE)).round() as u32,
    };
    match space.set_motion(handle, motion) {
        Ok(()) => done(),
        Err(MotionError::Gone) => refused(Gone),
        Err(MotionError::BadSpeed { speed_max }) => {
            let speed_max = f64::from(speed_max) / f64::from(UNITS_PER_METRE);
            Err(error(format!(
                "speed {speed_m_s} m/s is not above 0 and at most {speed_max}, the kind's"
            )))
        }
    }
}

fn stop(_: &Lua, shared: &Shared, Entity(handle): Entity) -> Done {
    let stopped = shared.space()?.set_motion(handle, Motion::Idle);
    stopped.map_or_else(refused, |()| done())
}

// Timers and events.

/// In seconds, rounded up to whole ticks, at least one.
fn after(
    _: &Lua,
    shared: &Shared,
    (Entity(handle), Text(name), Finite(seconds)): (Entity, Text, Finite),
) -> Done {
    let mut space = shared.space()?;
    let ticks = (seconds * f64::from(space.config().rate_mhz) / 1000.0).ceil();
    if !(0.0..=TICKS_MAX).contains(&ticks) {
        return Err(error(format!("a timer can't be due in {seconds} seconds")));
    }
    let due = space.tick() + (ticks as u64).max(1);
    timer_set(space.set_timer(handle, &name, due))
}

/// A timer farther off than this is a mistake: three years at 1000 Hz, and well within 2^53.
const TICKS_MAX: f64 = 1e11;

fn cancel(_: &Lua, shared: &Shared, (Entity(handle), Text(name)): (Entity, Text)) -> Done {
    timer_set(shared.space()?.cancel_timer(handle, &name))
}

fn timer_set(set: Result<(), TimerError>) -> Done {
    match set {
        Ok(()) => done(),
        Err(TimerError::Gone) => refused(Gone),
        Err(other) => Err(error(other.to_string())),
    }
}

fn emit(
    _: &Lua,
    shared: &Shared,
    (Entity(handle), Text(name), arguments): (Entity, Text, LuaVariadic<LuaValue>),
) -> Done {
    let arguments: LuaResult<Vec<Value>> = arguments.iter().map(to_argument).collect();
    match shared.space()?.emit(handle, &name, arguments?) {
        Ok(()) => done(),
        Err(reason @ (EmitError::Gone | EmitError::TooManyEvents)) => refused(reason),
        Err(other) => Err(error(other.to_string())),
    }
}

/// The next tick calls it, wherever it is by then.
fn call(
    _: &Lua,
    shared: &Shared,
    (Entity(handle), Text(name), arguments): (Entity, Text, LuaVariadic<LuaValue>),
) -> Done {
    let arguments = call_arguments(shared, &name, &arguments)?;
    let to = {
        let space = shared.space()?;
        let (Some(entity), Some(life)) = (space.id(handle), space.life(handle)) else {
            return refused(Gone);
        };
        Callee::Entity(entity, life.name)
    };
    keep_call(shared, ScriptCall { to, name, arguments })
}

/// What a call may carry.
///
/// # Errors
/// If no kind declares such a call, or that is too much.
pub(super) fn call_arguments(shared: &Shared, name: &str, arguments: &[LuaValue]) -> LuaResult<Vec<Value>> {
    if !shared.call_names.borrow().contains(name) {
        return Err(error(format!("no kind declares a call '{name}'")));
    }
    if arguments.len() > ARGUMENTS_MAX {
        return Err(error(format!("a call has at most {ARGUMENTS_MAX} arguments")));
    }
    let arguments: Vec<Value> = arguments.iter().map(to_argument).collect::<LuaResult<_>>()?;
    let is_long = |value: &Value| matches!(value, Value::Text(text) if text.len() > TEXT_BYTES_MAX);
    if arguments.iter().any(is_long) {
        return Err(error(format!("a text has at most {TEXT_BYTES_MAX} bytes")));
    }
    Ok(arguments)
}

pub(super) fn keep_call(shared: &Shared, call: ScriptCall) -> Done {
    if shared.call(call) {
        done()
    } else {
        refused("too many calls in one tick")
    }
}
