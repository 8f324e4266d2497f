//! A host and a space for tests.

#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test file uses a part of it"
)]

use myriad_script::{ScriptError, ScriptFault, ScriptHost, ScriptLimits, ScriptSources};
use myriad_wire::{Incarnation, KindId, LaneEpoch, Pos, Tick, Value};
use myriad_world::{Handle, Origin, Share, Space, SpaceConfig, Spawn};

/// Ticks per second.
pub(crate) const HZ: u64 = 10;
/// The space reaches from minus to plus this many metres.
pub(crate) const REACH_M: f64 = 50.0;

pub(crate) struct Game {
    pub(crate) host: ScriptHost,
    pub(crate) space: Space,
}

pub(crate) fn try_load(modules: &[(&str, &str)], limits: ScriptLimits) -> Result<Game, ScriptError> {
    load_seeded(modules, limits, 7, &[])
}

pub(crate) fn load_seeded(
    modules: &[(&str, &str)],
    limits: ScriptLimits,
    seed: u64,
    game: &[(String, Value)],
) -> Result<Game, ScriptError> {
    load_share(modules, limits, seed, game, Share::WHOLE)
}

/// A game in one of several lanes of a space.
pub(crate) fn load_share(
    modules: &[(&str, &str)],
    limits: ScriptLimits,
    seed: u64,
    game: &[(String, Value)],
    share: Share,
) -> Result<Game, ScriptError> {
    let sources: ScriptSources = modules.iter().copied().collect();
    let (host, kinds) = ScriptHost::load(&sources, limits, seed, game)?;
    let config = SpaceConfig {
        bounds_min: Pos::from_metres([-REACH_M, 0.0, -REACH_M].into()),
        bounds_max: Pos::from_metres([REACH_M, 10.0, REACH_M].into()),
        rate_mhz: HZ as u32 * 1000,
        entities_max: 3000,
        share,
    };
    let space = Space::new(
        config,
        kinds,
        Origin {
            incarnation: Incarnation(1),
            share: 0,
            spawned: 0,
            epoch: LaneEpoch(1),
        },
    );
    Ok(Game { host, space })
}

/// A game of one module.
pub(crate) fn load(main: &str) -> Game {
    match try_load(&[("main", main)], ScriptLimits::default()) {
        Ok(game) => game,
        Err(error) => panic!("{error}"),
    }
}

/// Why a game of one module is not loaded.
pub(crate) fn refusal(main: &str) -> ScriptError {
    match try_load(&[("main", main)], ScriptLimits::default()) {
        Ok(_) => panic!("this should not load"),
        Err(error) => error,
    }
}

impl Game {
    /// An entity of the first kind, spawned by the lane.
    pub(crate) fn spawn(&mut self) -> Handle {
        let handle = self
            .space
            .spawn(KindId(0), Spawn::default())
            .expect("there is room");
        self.host.spawned(&mut self.space, handle);
        handle
    }

    /// One tick: timers, movement, arrivals.
    pub(crate) fn tick(&mut self) {
        let next = Tick(self.space.tick().0 + 1);
        self.space.set_tick(next);
        self.host.run_timers(&mut self.space);
        self.space.simulate();
        self.host.run_arrivals(&mut self.space);
    }

    pub(crate) fn command(&mut self, avatar: Handle, name: &str, arguments: &[Value]) -> Result<(), String> {
        self.host.command(&mut self.space, avatar, name, arguments)
    }

    pub(crate) fn property(&self, entity: Handle, name: &str) -> Value {
        let kind = self.space.kind(entity).expect("it is alive");
        let index = kind.property_index(name).expect("it is declared");
        self.space
            .property(entity, index)
            .expect("it is alive and has it")
    }

    /// The only fault since the last call.
    pub(crate) fn fault(&mut self) -> ScriptFault {
        let (mut faults, more) = self.host.take_faults();
        assert_eq!((faults.len(), more), (1, 0), "{faults:?}");
        faults.remove(0)
    }

    pub(crate) fn no_faults(&mut self) {
        assert_eq!(self.host.take_faults(), (Vec::new(), 0));
    }

    pub(crate) fn lines(&mut self) -> Vec<String> {
        self.host.take_lines().0
    }

    pub(crate) fn events(&self) -> Vec<(String, Vec<Value>)> {
        let events = self.space.changes().events();
        events.map(|e| (e.name.clone(), e.arguments.clone())).collect()
    }
}
