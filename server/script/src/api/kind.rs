//! `myriad.kind` and `myriad.on_start`: what scripts declare while they load.

use super::entity::METHODS;
use crate::convert::{Finite, Mask, Text, WHOLE_MAX, error, to_typed};
use crate::shared::Shared;
use mlua::Lua;
use mlua::prelude::{FromLua, LuaError, LuaFunction, LuaResult, LuaTable, LuaValue};
use myriad_wire::Value;
use myriad_wire::limits::{NAME_BYTES_MAX, TEXT_BYTES_MAX};
use myriad_wire::schema::Audience;
use myriad_world::{Domain, KindSpec, Kinds, PropertySpec};
use std::collections::BTreeMap;

/// Longest text of a property that does not declare its own limit, in bytes.
const TEXT_BYTES_DEFAULT: usize = 256;
/// Most commands of one kind.
const COMMANDS_MAX: usize = 256;
/// Most calls of one kind.
const CALLS_MAX: usize = 256;

/// What the scripts have declared so far.
#[derive(Default)]
pub(crate) struct Declarations {
    pub(crate) specs: Vec<KindSpec>,
    /// As many as `specs`.
    pub(crate) handlers: Vec<Handlers>,
    pub(crate) starts: Vec<LuaFunction>,
}

/// The functions of one kind.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) spawned: Option<LuaFunction>,
    pub(crate) attached: Option<LuaFunction>,
    pub(crate) detached: Option<LuaFunction>,
    pub(crate) arrived: Option<LuaFunction>,
    pub(crate) noticed: Option<LuaFunction>,
    pub(crate) lost: Option<LuaFunction>,
    /// Indexed by the timer's number: in the order of their names.
    pub(crate) timers: Vec<LuaFunction>,
    pub(crate) commands: BTreeMap<String, LuaFunction>,
    pub(crate) calls: BTreeMap<String, LuaFunction>,
}

/// `myriad.on_start(function)`
pub(super) fn on_start(_: &Lua, shared: &Shared, function: LuaFunction) -> LuaResult<()> {
    loading(shared, |declarations| declarations.starts.push(function))
}

/// `myriad.kind(name, declaration)`
pub(super) fn declare(lua: &Lua, shared: &Shared, (Text(name), table): (Text, LuaTable)) -> LuaResult<()> {
    let (spec, handlers) = Reader { lua, kind: &name }.kind(&table)?;
    loading(shared, |declarations| {
        // All of them again with the new one: so what is wrong between two kinds is blamed on the later line.
        let mut specs = declarations.specs.clone();
        specs.push(spec);
        Kinds::new(specs.clone()).map_err(|e| error(e.to_string()))?;
        declarations.specs = specs;
        shared
            .call_names
            .borrow_mut()
            .extend(handlers.calls.keys().cloned());
        declarations.handlers.push(handlers);
        Ok(())
    })?
}

fn loading<R>(shared: &Shared, declare: impl FnOnce(&mut Declarations) -> R) -> LuaResult<R> {
    let mut declarations = shared.declarations.borrow_mut();
    let declarations = declarations.as_mut();
    declarations
        .map(declare)
        .ok_or_else(|| error("kinds and starts are declared while the scripts load"))
}

/// Refuses keys that mean nothing: they are spelling mistakes.
pub(super) fn check_keys(what: &str, table: &LuaTable, known: &[&str]) -> LuaResult<()> {
    for pair in table.pairs::<LuaValue, LuaValue>() {
        let (key, _) = pair?;
        let text = key.as_string().map(|key| key.to_string_lossy());
        if !text.as_deref().is_some_and(|key| known.contains(&key)) {
            let key = text.unwrap_or_else(|| key.type_name().to_owned());
            return Err(error(format!(
                "{what}: unknown key '{key}', known are {}",
                known.join(", ")
            )));
        }
    }
    Ok(())
}

/// Reads the declaration of one kind.
struct Reader<'a> {
    lua: &'a Lua,
    kind: &'a str,
}

impl Reader<'_> {
    fn kind(&self, table: &LuaTable) -> LuaResult<(KindSpec, Handlers)> {
        self.check_keys(
            "",
            table,
            &[
                "avatar",
                "radius",
                "notice",
                "speed",
                "layers",
                "sees",
                "properties",
                "on",
                "timers",
                "commands",
                "calls",
            ],
        )?;
        let properties = self.properties(table)?;
        let timers = self.functions(table, "timers")?;
        let commands = self.named(table, "commands", COMMANDS_MAX)?;
        let calls = self.named(table, "calls", CALLS_MAX)?;
        let mut on = self.functions(table, "on")?;
        let handlers = Handlers {
            spawned: on.remove("spawned"),
            attached: on.remove("attached"),
            detached: on.remove("detached"),
            arrived: on.remove("arrived"),
            noticed: on.remove("noticed"),
            lost: on.remove("lost"),
            timers: timers.values().cloned().collect(),
            commands,
            calls,
        };
        if let Some(unknown) = on.keys().next() {
            let known = "known are spawned, attached, detached, arrived, noticed, lost";
            return Err(self.wrong("on", &format!("unknown key '{unknown}', {known}")));
        }
        let number = |key| LuaResult::Ok(self.optional(table, "", key)?.map_or(0.0, |Finite(v)| v));
        let mask = |key| LuaResult::Ok(self.optional(table, "", key)?.map_or(1, |Mask(v)| v));
        let spec = KindSpec {
            name: self.kind.to_owned(),
            avatar: self.flag(table, "", "avatar")?,
            layers: mask("layers")?,
            sees: mask("sees")?,
            radius_m: number("radius")?,
            notice_m: number("notice")?,
            speed_max_m_s: number("speed")?,
            properties,
            timers: timers.into_keys().collect(),
        };
        Ok((spec, handlers))
    }

    fn properties(&self, table: &LuaTable) -> LuaResult<Vec<PropertySpec>> {
        let mut properties = Vec::new();
        let Some(list) = self.optional::<LuaTable>(table, "", "properties")? else {
            return Ok(properties);
        };
        for pair in list.pairs::<LuaValue, LuaValue>() {
            let (place, property) = pair?;
            let (LuaValue::Integer(_), LuaValue::Table(property)) = (&place, &property) else {
                return Err(self.wrong("properties", "it is a list of tables { name = ..., type = ... }"));
            };
            properties.push(self.property(property)?);
        }
        Ok(properties)
    }

    fn property(&self, table: &LuaTable) -> LuaResult<PropertySpec> {
        let name = self.optional(table, "properties", "name")?.map(|Text(name)| name);
        let name = name.ok_or_else(|| self.wrong("properties", "one has no name"))?;
        let at = format!("property '{name}'");
        self.check_keys(
            &at,
            table,
            &[
                "name",
                "type",
                "to",
                "saved",
                "default",
                "min",
                "max",
                "max_bytes",
            ],
        )?;
        if METHODS.contains(&name.as_str()) {
            return Err(self.wrong(&at, "this is the name of a method"));
        }
        let audience = match self.optional(table, &at, "to")?.map(|Text(to)| to).as_deref() {
            None | Some("nobody") => Audience::Nobody,
            Some("owner") => Audience::Owner,
            Some("all") => Audience::All,
            Some(other) => {
                return Err(self.wrong(&at, &format!("to = '{other}' is not all, owner or nobody")));
            }
        };
        let domain = self.domain(&at, table)?;
        let default = match table.raw_get::<LuaValue>("default")? {
            LuaValue::Nil => match domain {
                Domain::Bool => Value::Bool(false),
                Domain::Int { .. } => Value::Int(0),
                Domain::Float { .. } => Value::Float(0.0),
                Domain::Text { .. } => Value::Text(String::new()),
            },
            value => to_typed(&value, domain.value_type())
                .map_err(|e| self.wrong(&at, &format!("default: {}", text(&e))))?,
        };
        Ok(PropertySpec {
            saved: self.flag(table, &at, "saved")?,
            name,
            domain,
            default,
            audience,
        })
    }

    fn domain(&self, at: &str, table: &LuaTable) -> LuaResult<Domain> {
        let bound = |key| LuaResult::Ok(self.optional(table, at, key)?.map(|Finite(v)| v));
        let whole = |v: f64| {
            let exact = v.trunc() == v && v.abs() <= WHOLE_MAX as f64;
            exact
                .then_some(v as i64)
                .ok_or_else(|| self.wrong(at, "a bound of an int is a whole number within 2^53"))
        };
        let (min, max, bytes) = (bound("min")?, bound("max")?, bound("max_bytes")?);
        let value_type = self.optional(table, at, "type")?.map(|Text(name)| name);
        let domain = match value_type.as_deref() {
            Some("bool") => Domain::Bool,
            Some("int") => Domain::Int {
                min: min.map_or(Ok(-WHOLE_MAX), whole)?,
                max: max.map_or(Ok(WHOLE_MAX), whole)?,
            },
            Some("float") => Domain::Float {
                min: min.unwrap_or(-f64::MAX),
                max: max.unwrap_or(f64::MAX),
            },
            Some("text") => Domain::Text {
                bytes_max: bytes
                    .map_or(Ok(TEXT_BYTES_DEFAULT as i64), whole)?
                    .try_into()
                    .unwrap_or(usize::MAX),
            },
            Some(other) => {
                return Err(self.wrong(at, &format!("type = '{other}' is not bool, int, float or text")));
            }
            None => return Err(self.wrong(at, "it has no type")),
        };
        let is_number = matches!(domain, Domain::Int { .. } | Domain::Float { .. });
        if !is_number && (min.is_some() || max.is_some()) {
            return Err(self.wrong(at, "only numbers have min and max"));
        }
        match domain {
            Domain::Text { bytes_max } if bytes_max > TEXT_BYTES_MAX => {
                Err(self.wrong(at, &format!("max_bytes is at most {TEXT_BYTES_MAX}")))
            }
            Domain::Text { .. } => Ok(domain),
            _ if bytes.is_some() => Err(self.wrong(at, "only texts have max_bytes")),
            _ => Ok(domain),
        }
    }

    /// A table of at most `max` functions by names that may travel.
    fn named(
        &self,
        table: &LuaTable,
        key: &'static str,
        max: usize,
    ) -> LuaResult<BTreeMap<String, LuaFunction>> {
        let functions = self.functions(table, key)?;
        if functions.len() > max {
            return Err(self.wrong(key, &format!("more than {max}")));
        }
        let is_wrong = |name: &&String| name.is_empty() || name.len() > NAME_BYTES_MAX;
        match functions.keys().find(is_wrong) {
            Some(name) => Err(self.wrong(key, &format!("'{name}' is not 1 to {NAME_BYTES_MAX} bytes long"))),
            None => Ok(functions),
        }
    }

    /// A table of functions, by name. Sorted, for the VM's order depends on its hashes.
    fn functions(&self, table: &LuaTable, key: &'static str) -> LuaResult<BTreeMap<String, LuaFunction>> {
        let mut functions = BTreeMap::new();
        let Some(given) = self.optional::<LuaTable>(table, "", key)? else {
            return Ok(functions);
        };
        for pair in given.pairs::<Text, LuaFunction>() {
            let (Text(name), function) = pair.map_err(|_| self.wrong(key, "each is name = function"))?;
            functions.insert(name, function);
        }
        Ok(functions)
    }

    fn flag(&self, table: &LuaTable, at: &str, key: &str) -> LuaResult<bool> {
        match table.raw_get(key)? {
            LuaValue::Nil => Ok(false),
            LuaValue::Boolean(flag) => Ok(flag),
            _ => Err(self.wrong(at, &format!("{key} is true or false"))),
        }
    }

    fn optional<T: FromLua>(&self, table: &LuaTable, at: &str, key: &str) -> LuaResult<Option<T>> {
        match table.raw_get::<LuaValue>(key)? {
            LuaValue::Nil => Ok(None),
            value => T::from_lua(value, self.lua)
                .map(Some)
                .map_err(|e| self.wrong(at, &format!("{key}: {}", text(&e)))),
        }
    }

    fn check_keys(&self, at: &str, table: &LuaTable, known: &[&str]) -> LuaResult<()> {
        check_keys(&self.at(at), table, known)
    }

    fn wrong(&self, at: &str, what: &str) -> LuaError {
        error(format!("{}: {what}", self.at(at)))
    }

    fn at(&self, at: &str) -> String {
        if at.is_empty() {
            format!("kind '{}'", self.kind)
        } else {
            format!("kind '{}': {at}", self.kind)
        }
    }
}

fn text(error: &LuaError) -> String {
    crate::fault::explain(error).1
}
