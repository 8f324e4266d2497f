//! Values between scripts, properties and the wire.
//!
//! Scripts have one type of numbers, doubles. A property's declaration says which type a number becomes; an
//! argument of an event becomes a whole number if it is one.

use mlua::prelude::{FromLua, IntoLua, LuaError, LuaLightUserData, LuaResult, LuaString, LuaValue};
use mlua::{IntoLuaMulti, Lua, MultiValue};
use myriad_wire::value::ValueType;
use myriad_wire::{Generation, Slot, Value};
use myriad_world::Handle;
use myriad_world::domain::type_name;

/// The largest whole number that a double holds exactly with all smaller ones: 2^53.
pub(crate) const WHOLE_MAX: i64 = 1 << 53;

/// An entity as scripts hold it: its handle in the bits of a light userdata. It costs no memory, equal handles are
/// equal, and scripts can't make one up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entity(pub(crate) Handle);

const _: () = assert!(usize::BITS == 64, "a handle fits the bits of a pointer");
/// Set in every entity's bits: none is a null pointer.
const MARK: usize = 1 << 48;

impl IntoLua for Entity {
    fn into_lua(self, _: &Lua) -> LuaResult<LuaValue> {
        let Handle { slot, generation } = self.0;
        let bits = MARK | usize::from(generation.0) << 32 | slot.0 as usize;
        Ok(LuaValue::LightUserData(LuaLightUserData(
            std::ptr::without_provenance_mut(bits),
        )))
    }
}

impl FromLua for Entity {
    fn from_lua(value: LuaValue, _: &Lua) -> LuaResult<Self> {
        match value {
            LuaValue::LightUserData(LuaLightUserData(pointer)) if pointer.addr() & MARK != 0 => {
                let bits = pointer.addr();
                Ok(Self(Handle {
                    slot: Slot(bits as u32),
                    generation: Generation((bits >> 32) as u16),
                }))
            }
            other => Err(wrong_type("an entity (call its methods with ':')", &other)),
        }
    }
}

/// A finite number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finite(pub(crate) f64);

impl FromLua for Finite {
    fn from_lua(value: LuaValue, _: &Lua) -> LuaResult<Self> {
        match value {
            LuaValue::Integer(v) => Ok(Self(v as f64)),
            LuaValue::Number(v) if v.is_finite() => Ok(Self(v)),
            other => Err(wrong_type("a finite number", &other)),
        }
    }
}

/// A set of layers: a whole number of 32 bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mask(pub(crate) u32);

impl FromLua for Mask {
    fn from_lua(value: LuaValue, _: &Lua) -> LuaResult<Self> {
        let mask = match &value {
            LuaValue::Integer(v) => u32::try_from(*v).ok(),
            _ => None,
        };
        mask.map(Self)
            .ok_or_else(|| wrong_type("a whole number of 32 bits", &value))
    }
}

/// Text: a string that is UTF-8.
#[derive(Clone, Debug)]
pub(crate) struct Text(pub(crate) String);

impl FromLua for Text {
    fn from_lua(value: LuaValue, _: &Lua) -> LuaResult<Self> {
        match value {
            LuaValue::String(text) => text_of(&text).map(Self),
            other => Err(wrong_type("a text", &other)),
        }
    }
}

/// What a call answers: a value, or `nil` and a reason. The author of a script can't know beforehand whether the
/// game allows a thing, so this is no error.
pub(crate) enum Answer<T> {
    Done(T),
    Refused(String),
}

impl<T: IntoLuaMulti> IntoLuaMulti for Answer<T> {
    fn into_lua_multi(self, lua: &Lua) -> LuaResult<MultiValue> {
        match self {
            Self::Done(value) => value.into_lua_multi(lua),
            Self::Refused(reason) => (LuaValue::Nil, reason).into_lua_multi(lua),
        }
    }
}

pub(crate) fn error(message: impl Into<String>) -> LuaError {
    LuaError::RuntimeError(message.into())
}

fn wrong_type(expected: &str, found: &LuaValue) -> LuaError {
    let found = match found {
        LuaValue::Integer(v) => v.to_string(),
        LuaValue::Number(v) => v.to_string(),
        other => other.type_name().to_owned(),
    };
    error(format!("expected {expected}, found {found}"))
}

fn text_of(text: &LuaString) -> LuaResult<String> {
    let bytes = text.as_bytes();
    let text = std::str::from_utf8(&bytes).map_err(|_| error("a text is UTF-8, this string is not"))?;
    Ok(text.to_owned())
}

/// A value for a script.
pub(crate) fn to_lua(lua: &Lua, value: &Value) -> LuaResult<LuaValue> {
    Ok(match value {
        Value::Bool(v) => LuaValue::Boolean(*v),
        Value::Int(v) => LuaValue::Number(*v as f64),
        Value::Float(v) => LuaValue::Number(*v),
        Value::Text(v) => LuaValue::String(lua.create_string(v)?),
    })
}

/// A script's value as one of the type that a property has.
///
/// # Errors
/// If it is none, says what was found.
pub(crate) fn to_typed(value: &LuaValue, value_type: ValueType) -> LuaResult<Value> {
    match (value_type, value) {
        (ValueType::Bool, LuaValue::Boolean(v)) => Ok(Value::Bool(*v)),
        (ValueType::Int, LuaValue::Integer(v)) if v.unsigned_abs() <= WHOLE_MAX as u64 => Ok(Value::Int(*v)),
        // Minus zero is a whole number, but not an integer of the VM.
        (ValueType::Int, LuaValue::Number(v)) if *v == 0.0 => Ok(Value::Int(0)),
        (ValueType::Float, LuaValue::Integer(v)) => Ok(Value::Float(*v as f64)),
        (ValueType::Float, LuaValue::Number(v)) => Ok(Value::Float(*v)),
        (ValueType::Text, LuaValue::String(v)) => text_of(v).map(Value::Text),
        _ => Err(wrong_type(type_name(value_type), value)),
    }
}

/// A script's value as an argument of an event.
///
/// # Errors
/// If it is a table, a function or the like.
pub(crate) fn to_argument(value: &LuaValue) -> LuaResult<Value> {
    match value {
        LuaValue::Boolean(v) => Ok(Value::Bool(*v)),
        LuaValue::Integer(v) if v.unsigned_abs() <= WHOLE_MAX as u64 => Ok(Value::Int(*v)),
        LuaValue::Integer(v) => Ok(Value::Float(*v as f64)),
        LuaValue::Number(v) => Ok(Value::Float(*v)),
        LuaValue::String(v) => text_of(v).map(Value::Text),
        other => Err(wrong_type("a boolean, a number or a text", other)),
    }
}
