//! The VM of one lane: loads the scripts, calls them, and lets no call go wrong for more than itself.

use crate::api;
use crate::api::kind::{Declarations, Handlers};
use crate::convert::{Entity, error, to_lua};
use crate::fault::{Place, explain};
use crate::sandbox;
use crate::shared::{Bounded, ScriptCall, Shared};
use crate::sources::EXTENSION;
use crate::{ScriptError, ScriptFault, ScriptSources};
use mlua::prelude::{IntoLuaMulti, LuaError, LuaFunction, LuaResult, LuaValue};
use mlua::{Lua, MultiValue};
use myriad_wire::limits::TEXT_BYTES_MAX;
use myriad_wire::{KindId, Value};
use myriad_world::{Handle, Kinds, Space};
use rand::SeedableRng;
use rand_pcg::Pcg64;
use std::fmt;
use std::rc::Rc;

/// How much a script call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptLimits {
    /// Steps in one call: one for each turn of a loop, function call and step of a pattern match, more for calls
    /// that grow the VM's memory by megabytes. Counted, not timed, so that a replay decides alike.
    pub steps_per_call: u32,
    /// Steps while the scripts load, and again in [`ScriptHost::start`].
    pub steps_at_start: u32,
    /// Memory of the VM, in bytes.
    pub memory_bytes: usize,
}

impl Default for ScriptLimits {
    fn default() -> Self {
        Self {
            steps_per_call: 100_000,
            steps_at_start: 10_000_000,
            memory_bytes: 64 * 1024 * 1024,
        }
    }
}

/// The VM of one lane.
///
/// Every call names the space, which the scripts see and change during the call. A call that fails, loops or uses
/// too much memory ends alone: it is a fault ([`Self::take_faults`]), and what it had done by then stands.
///
/// Not `Send`: build it on the thread that runs the lane.
pub struct ScriptHost {
    // Before `lua`: the functions in it are the VM's.
    handlers: Vec<Handlers>,
    starts: Vec<LuaFunction>,
    shared: Rc<Shared>,
    lua: Lua,
    limits: ScriptLimits,
    faults: Bounded<ScriptFault>,
    /// Memory in use beyond which garbage is collected at the end of a call.
    collect_above_bytes: usize,
}

impl fmt::Debug for ScriptHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptHost")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl ScriptHost {
    /// Most faults that are kept between two calls of [`Self::take_faults`].
    pub const FAULTS_MAX: usize = 64;
    /// Most lines that are kept between two calls of [`Self::take_lines`].
    pub const LINES_MAX: usize = 256;

    /// Runs the entry module; the kinds that the scripts declare. `game` is what scripts find in `myriad.game`.
    ///
    /// # Errors
    /// If a script is wrong, or declares something impossible.
    pub fn load(
        sources: &ScriptSources,
        limits: ScriptLimits,
        seed: u64,
        game: &[(String, Value)],
    ) -> Result<(Self, Kinds), ScriptError> {
        let shared = Rc::new(Shared::new(Pcg64::seed_from_u64(seed), Self::LINES_MAX));
        let loaded = load(&shared, sources, limits, game).map_err(|error| {
            let (place, message) = blame(&shared, &error);
            let Place { file, line } = place.unwrap_or_else(|| Place {
                file: format!("{}.{EXTENSION}", ScriptSources::ENTRY),
                line: 0,
            });
            ScriptError { file, line, message }
        });
        // Also after an error: the functions in it must go while the VM is there.
        let declared = shared.declarations.take().unwrap_or_default();
        let lua = loaded?;
        let Declarations {
            specs,
            handlers,
            starts,
        } = declared;
        let kinds = Kinds::new(specs).expect("checked with each declaration");
        let host = Self {
            handlers,
            starts,
            shared,
            lua,
            limits,
            faults: Bounded::new(Self::FAULTS_MAX),
            collect_above_bytes: collect_above(limits, 0),
        };
        Ok((host, kinds))
    }

    /// The game begins: runs what the scripts gave to `myriad.on_start`. Once, on an empty space.
    pub fn start(&mut self, space: &mut Space) {
        let steps = self.limits.steps_at_start;
        let starts = std::mem::take(&mut self.starts);
        self.within(space, |host| {
            for start in &starts {
                host.call(steps, start, (), || "on_start".to_owned());
            }
        });
    }

    /// A client's command, run for its avatar.
    ///
    /// # Errors
    /// Why it was refused, for people.
    pub fn command(
        &mut self,
        space: &mut Space,
        avatar: Handle,
        name: &str,
        arguments: &[Value],
    ) -> Result<(), String> {
        let kind = space.kind(avatar).ok_or("the avatar is gone")?.id();
        let command = self.handlers[usize::from(kind.0)].commands.get(name);
        let command = command.ok_or("there is no such command")?.clone();
        let values: LuaResult<Vec<LuaValue>> = arguments.iter().map(|v| to_lua(&self.lua, v)).collect();
        let values = values.map_err(|_| "the scripts used up their memory")?;
        let steps = self.limits.steps_per_call;
        let label = label(space, avatar, "command", name);
        let results = self.within(space, |host| {
            host.call(
                steps,
                &command,
                (Entity(avatar), MultiValue::from_vec(values)),
                label,
            )
        });
        match results.ok_or("the command failed")?.make_contiguous() {
            [LuaValue::Nil, LuaValue::String(reason), ..] => {
                let mut reason = reason.to_string_lossy();
                reason.truncate(reason.floor_char_boundary(TEXT_BYTES_MAX));
                Err(reason)
            }
            _ => Ok(()),
        }
    }

    /// The lane spawned an entity (not: restored it).
    pub fn spawned(&mut self, space: &mut Space, entity: Handle) {
        self.on(space, entity, "spawned", (), |handlers| handlers.spawned.as_ref());
    }

    /// A session has got its avatar.
    pub fn attached(&mut self, space: &mut Space, avatar: Handle) {
        self.on(space, avatar, "attached", (), |handlers| {
            handlers.attached.as_ref()
        });
    }

    /// An avatar has no session any more.
    pub fn detached(&mut self, space: &mut Space, avatar: Handle) {
        self.on(space, avatar, "detached", (), |handlers| {
            handlers.detached.as_ref()
        });
    }

    /// `other` has come within the distance at which `entity` notices others.
    pub fn noticed(&mut self, space: &mut Space, entity: Handle, other: Handle) {
        self.on(space, entity, "noticed", Entity(other), |handlers| {
            handlers.noticed.as_ref()
        });
    }

    /// `other` is not noticed by `entity` any more: it went away, or is gone altogether.
    pub fn lost(&mut self, space: &mut Space, entity: Handle, other: Handle) {
        self.on(space, entity, "lost", Entity(other), |handlers| {
            handlers.lost.as_ref()
        });
    }

    /// Another entity, here or in another lane, has called `entity`. `false` if its kind declares no such call.
    pub fn called(&mut self, space: &mut Space, entity: Handle, name: &str, arguments: &[Value]) -> bool {
        let Some(kind) = space.kind(entity).map(|kind| kind.id()) else {
            return false;
        };
        let Some(function) = self.handlers[usize::from(kind.0)].calls.get(name).cloned() else {
            return false;
        };
        let values: LuaResult<Vec<LuaValue>> = arguments.iter().map(|v| to_lua(&self.lua, v)).collect();
        let steps = self.limits.steps_per_call;
        let label = label(space, entity, "call", name);
        self.within(space, |host| {
            // Without memory for its arguments a call has none, and faults by itself.
            let values = MultiValue::from_vec(values.unwrap_or_default());
            host.call(steps, &function, (Entity(entity), values), label)
        });
        true
    }

    /// Takes what scripts have called since the last time, in that order.
    pub fn take_calls(&mut self) -> Vec<ScriptCall> {
        self.shared.calls.take()
    }

    /// Runs all timers that are due in the space's tick. Returns how many ran.
    pub fn run_timers(&mut self, space: &mut Space) -> u32 {
        let mut ran = 0;
        let steps = self.limits.steps_per_call;
        while let Some(due) = space.next_due() {
            let kind = space.kind(due.handle).expect("a due timer's entity is alive");
            let timer = usize::from(due.timer.0);
            let function = self.handlers[usize::from(kind.id().0)].timers[timer].clone();
            let label = label(space, due.handle, "timer", &kind.spec().timers[timer]);
            self.within(space, |host| {
                host.call(steps, &function, Entity(due.handle), label)
            });
            ran += 1;
        }
        ran
    }

    /// Tells all entities that arrived and were not told yet. Returns how many there were.
    pub fn run_arrivals(&mut self, space: &mut Space) -> u32 {
        let mut ran = 0;
        while let Some(entity) = space.next_arrived() {
            self.on(space, entity, "arrived", (), |handlers| handlers.arrived.as_ref());
            ran += 1;
        }
        ran
    }

    /// Takes what went wrong since the last call: the first [`Self::FAULTS_MAX`], and how many more there were.
    pub fn take_faults(&mut self) -> (Vec<ScriptFault>, u64) {
        self.faults.take()
    }

    /// Takes what scripts logged since the last call: the first [`Self::LINES_MAX`] lines, and how many more there
    /// were.
    pub fn take_lines(&mut self) -> (Vec<String>, u64) {
        self.shared.lines.borrow_mut().take()
    }

    /// Memory that the VM uses, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.lua.used_memory()
    }

    fn on(
        &mut self,
        space: &mut Space,
        entity: Handle,
        name: &'static str,
        arguments: impl IntoLuaMulti,
        handler: fn(&Handlers) -> Option<&LuaFunction>,
    ) {
        let Some(kind) = space.kind(entity).map(|kind| kind.id()) else {
            return;
        };
        let Some(function) = handler(&self.handlers[usize::from(kind.0)]).cloned() else {
            return;
        };
        let steps = self.limits.steps_per_call;
        let label = label(space, entity, "on", name);
        self.within(space, |host| {
            // Without memory for its arguments a call has none, and faults by itself.
            let arguments = arguments.into_lua_multi(&host.lua).unwrap_or_default();
            host.call(steps, &function, (Entity(entity), arguments), label)
        });
    }

    fn within<R>(&mut self, space: &mut Space, run: impl FnOnce(&mut Self) -> R) -> R {
        let shared = Rc::clone(&self.shared);
        let _lent = shared.lend(space);
        run(self)
    }

    /// One call from outside, and the `spawned` of all entities that it spawned, out of one budget.
    fn call(
        &mut self,
        steps: u32,
        function: &LuaFunction,
        arguments: impl IntoLuaMulti,
        label: impl FnOnce() -> String,
    ) -> Option<MultiValue> {
        self.shared.budget.begin(steps, self.lua.used_memory());
        let mut result = function.call::<MultiValue>(arguments);
        if result.is_ok() {
            result = self.run_newborn().and(result);
        }
        self.shared.newborn.borrow_mut().clear();
        if let (Ok(_), Some((_, message))) = (&result, self.shared.budget.verdict()) {
            // It caught the error that ended it.
            result = Err(error(message));
        }
        let result = result.map_err(|error| {
            let (place, message) = blame(&self.shared, &error);
            let Place { file, line } = place.unwrap_or_else(|| Place::of(function));
            self.faults.push(ScriptFault {
                file,
                line,
                message,
                call: label(),
            });
        });
        self.collect_garbage();
        result.ok()
    }

    fn run_newborn(&mut self) -> LuaResult<()> {
        loop {
            let Some(entity) = self.shared.newborn.borrow_mut().pop_front() else {
                return Ok(());
            };
            // Despawned meanwhile, or its kind does not care.
            let kind: Option<KindId> = self.shared.space()?.kind(entity).map(|kind| kind.id());
            let handlers = kind.and_then(|kind| self.handlers.get(usize::from(kind.0)));
            if let Some(spawned) = handlers.and_then(|handlers| handlers.spawned.as_ref()) {
                spawned.call::<()>(Entity(entity))?;
            }
        }
    }

    /// The VM collects as it goes, but knows no limit: at the limit it refuses, garbage or not.
    fn collect_garbage(&mut self) {
        if self.lua.used_memory() <= self.collect_above_bytes {
            return;
        }
        // It can only fail in finalisers, which scripts can't write. Twice: what the first finds the second frees.
        let collected = self.lua.gc_collect().and_then(|()| self.lua.gc_collect());
        debug_assert!(collected.is_ok(), "collecting garbage runs no script");
        self.collect_above_bytes = collect_above(self.limits, self.lua.used_memory());
    }
}

/// What a call's error comes from: the end of its budget, whatever came of that, or else what it says.
fn blame(shared: &Shared, error: &LuaError) -> (Option<Place>, String) {
    match shared.budget.verdict() {
        Some((place, message)) => (Some(place), message),
        None => explain(error),
    }
}

/// Half way from what is live to the limit, so that collecting stays rare even if much is live.
fn collect_above(limits: ScriptLimits, live_bytes: usize) -> usize {
    live_bytes / 2 + limits.memory_bytes / 2
}

/// What a fault says about the call, made only if there is one.
fn label(space: &Space, entity: Handle, what: &'static str, name: &str) -> impl FnOnce() -> String + use<> {
    // The kind must be asked for before the call: the entity may not outlive it.
    let kind = space.kind(entity).map(|kind| kind.id());
    let kinds = space.kinds().clone();
    let name = name.to_owned();
    move || {
        let kind = kind.and_then(|kind| kinds.get(kind));
        let kind = kind.map_or("nothing", |kind| &kind.spec().name);
        format!("{what} '{name}' of {kind}")
    }
}

fn load(
    shared: &Rc<Shared>,
    sources: &ScriptSources,
    limits: ScriptLimits,
    game: &[(String, Value)],
) -> LuaResult<Lua> {
    let lua = sandbox::new_vm()?;
    api::install(&lua, shared, game)?;
    let require = api::modules::install(&lua, shared, sources)?;
    sandbox::close(&lua, shared, limits.memory_bytes)?;
    shared.budget.begin(limits.steps_at_start, lua.used_memory());
    require.call::<()>(ScriptSources::ENTRY)?;
    Ok(lua)
}
