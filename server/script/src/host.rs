//! The VM of one lane.

use crate::{ScriptError, ScriptFault, ScriptSources};
use myriad_wire::Value;
use myriad_world::{Handle, Kinds, Space};

/// How much a script call may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptLimits {
    /// Interrupts in one call: one for each loop turn, function call and string match step. Counted, not timed, so
    /// that a replay decides alike.
    pub interrupts_per_call: u32,
    /// Interrupts while the scripts load, and in [`ScriptHost::start`].
    pub interrupts_at_start: u32,
    /// Memory of the VM, in bytes.
    pub memory_bytes: usize,
}

impl Default for ScriptLimits {
    fn default() -> Self {
        Self {
            interrupts_per_call: 100_000,
            interrupts_at_start: 10_000_000,
            memory_bytes: 64 * 1024 * 1024,
        }
    }
}

/// The VM of one lane.
#[derive(Debug)]
pub struct ScriptHost {
    kinds: Kinds,
}

impl ScriptHost {
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
        let _ = (sources, limits, seed, game);
        let kinds = Kinds::new(Vec::new()).expect("no kinds are no mistake");
        Ok((Self { kinds: kinds.clone() }, kinds))
    }

    /// The game begins: runs what the scripts gave to `myriad.on_start`. Once, on an empty space.
    pub fn start(&mut self, space: &mut Space) {
        let _ = space;
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
        let _ = (space, avatar, name, arguments);
        Err("unknown command".to_owned())
    }

    /// The lane spawned an entity (not: restored it).
    pub fn spawned(&mut self, space: &mut Space, entity: Handle) {
        let _ = (space, entity);
    }

    /// A session has got its avatar.
    pub fn attached(&mut self, space: &mut Space, avatar: Handle) {
        let _ = (space, avatar);
    }

    /// A session's avatar has none any more.
    pub fn detached(&mut self, space: &mut Space, avatar: Handle) {
        let _ = (space, avatar);
    }

    /// Runs all timers that are due in the space's tick. Returns how many ran.
    pub fn run_timers(&mut self, space: &mut Space) -> u32 {
        let mut ran = 0;
        while space.next_due().is_some() {
            ran += 1;
        }
        ran
    }

    /// Tells all entities that arrived since the last call. Returns how many ran.
    pub fn run_arrivals(&mut self, space: &mut Space) -> u32 {
        let mut ran = 0;
        while space.next_arrived().is_some() {
            ran += 1;
        }
        ran
    }

    /// Takes what went wrong since the last call: at most [`Self::FAULTS_MAX`], and how many more there were.
    pub fn take_faults(&mut self) -> (Vec<ScriptFault>, u64) {
        (Vec::new(), 0)
    }

    /// Takes the lines that scripts logged since the last call: at most [`Self::LINES_MAX`], and how many more.
    pub fn take_lines(&mut self) -> (Vec<String>, u64) {
        (Vec::new(), 0)
    }

    /// Most faults that are kept between two calls of [`Self::take_faults`].
    pub const FAULTS_MAX: usize = 64;
    /// Most lines that are kept between two calls of [`Self::take_lines`].
    pub const LINES_MAX: usize = 256;
}
