//! Cells: a space of several lanes that hand entities off, and that come and go, with gateways and clients, in one thread, from
//! one seed.
//!
//! Time goes in steps of a tick. In each step messages that are due arrive, every lane that is not late computes its
//! tick, gateways tick on what they have, clients read and players act. Between any two roles messages are lost, doubled,
//! late; ways are cut, often in one direction; lanes fall behind and jump; gateways crash. Cells are split, lanes merged and
//! moved at any moment, and each role hears of it when it does ([`layouts`]). [`checks`] watches every step:
//! no entity is in two lanes, none is lost, none goes back in time or jumps, gold stays as much as it was, commands run
//! once, no honest client is corrected, nobody who stays near leaves a view. When the faults have stopped everybody is in
//! the lane that its place belongs to, and every client's view is what brute force over the whole space says.
//!
//! [`crate::cluster`] is the other simulator: one lane, which crashes and is replaced, and storage that fails. Lanes do
//! not crash here yet.

mod calls;
mod checks;
mod finale;
mod layouts;
mod network;
mod nodes;
mod players;

use crate::dice::Dice;
use crate::record::{Failure, Trail};
use checks::Watch;
use myriad_cluster::{Layout, Partition};
use myriad_storage::MemoryStorage;
use myriad_wire::directory::LayoutChange;
use myriad_wire::{Incarnation, LaneEpoch, LaneId, Pos, SpaceClock, Tick};
use network::Network;
use nodes::{GatewayNode, LaneNode};
use players::Player;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// When virtual time begins, in microseconds.
const BEGIN_US: u64 = 1_000_000_000;
const HZ: f64 = 10.0;
/// The space's lowest corner is minus this on both axes; the highest depends on the number of cells.
const CORNER: i32 = 40 * METRE;
/// Side of a cell.
const CELL: i32 = 30 * METRE;
const METRE: i32 = 1024;
const GATEWAYS: usize = 3;

/// Nothing was wrong, or what was.
type Checked = Result<(), String>;

/// Fails with a message unless the condition holds.
macro_rules! demand {
    ($condition:expr, $($message:tt)+) => {
        let holds: bool = $condition;
        if !holds {
            return Err(format!($($message)+));
        }
    };
}
use demand;

/// What may happen, and how strong it is: per thousand and message, or per step.
#[derive(Clone, Debug)]
struct Strength {
    lost: u32,
    late: u32,
    doubled: u32,
    /// A way between two roles is cut, in one or both directions.
    cut: u32,
    lane_late: u32,
    gateway_crash: u32,
    /// Lanes are to come, go or move.
    layout: u32,
    datagram_lost: u32,
    /// Storage takes so many steps at most.
    storage_steps: u64,
}

impl Strength {
    fn draw(dice: &mut Dice, calm: bool) -> Self {
        let mut often = |most: u64| {
            if calm {
                0
            } else {
                dice.pick(&[0, most / 6, most]) as u32
            }
        };
        let drawn = Self {
            lost: often(30),
            late: often(60),
            doubled: often(60),
            cut: often(25),
            lane_late: often(15),
            gateway_crash: often(6),
            layout: 0,
            datagram_lost: often(150),
            storage_steps: u64::from(often(6)),
        };
        // Also where nothing goes wrong.
        let layout = dice.pick(&[0, 12, 60]);
        Self { layout, ..drawn }
    }

    fn none() -> Self {
        Self {
            lost: 0,
            late: 0,
            doubled: 0,
            cut: 0,
            lane_late: 0,
            gateway_crash: 0,
            layout: 0,
            datagram_lost: 0,
            storage_steps: 0,
        }
    }
}

/// How long each part of a run is, in steps.
const TROUBLE_STEPS: u64 = 160;
const SETTLE_STEPS: u64 = 110;
const WATCH_STEPS: u64 = 20;
/// So many steps before the end hand-offs stop, so that nobody is on the way when all are counted.
const QUIET_STEPS: u64 = 4;

/// How often each thing happened that a run should exercise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CellsTable(BTreeMap<&'static str, u64>);

impl CellsTable {
    /// What all runs together must have exercised.
    pub const ROWS: &[&str] = &[
        "between lanes: messages lost",
        "between lanes: messages late",
        "between lanes: messages doubled",
        "between lanes: ways cut",
        "between lanes and gateways: messages lost",
        "between lanes and gateways: ways cut",
        "lanes that fell behind",
        "lanes that jumped over ticks",
        "gateways crashed",
        "entities handed off",
        "avatars handed off",
        "entities handed off to lanes that are no neighbours",
        "hand-offs withdrawn",
        "hand-offs refused",
        "entities that came home",
        "names given back by another lane",
        "sessions sent to another lane",
        "sessions that went with their avatar",
        "logins while the avatar was elsewhere",
        "avatars that departed elsewhere",
        "avatars restored",
        "cells split",
        "lanes told to retire",
        "lanes to be moved",
        "lanes that began to serve",
        "lanes that began to serve before all gateways read them",
        "lanes that ended",
        "layouts adopted",
        "layouts passed over",
        "entities given to another lane of the cell",
        "sessions held until all lanes had adopted a layout",
        "calls sent to another lane",
        "area calls",
        "entities called by area",
        "commands run",
        "enters told",
        "leaves told",
        "views equal to brute force at the end",
        "crowds within the band at the end",
    ];

    fn note(&mut self, row: &'static str) {
        self.add(row, 1);
    }

    fn add(&mut self, row: &'static str, times: u64) {
        debug_assert!(Self::ROWS.contains(&row), "{row} is no row");
        *self.0.entry(row).or_default() += times;
    }

    /// How often.
    #[must_use]
    pub fn count(&self, row: &str) -> u64 {
        self.0.get(row).copied().unwrap_or(0)
    }

    /// Adds what another run exercised.
    pub fn merge(&mut self, other: &Self) {
        for (row, times) in &other.0 {
            *self.0.entry(row).or_default() += times;
        }
    }
}

/// The cluster.
struct Cells {
    calm: bool,
    strength: Strength,
    /// The ground, with the lanes that there were first.
    grid: Partition,
    layout: Layout,
    /// The same, as roles adopt it.
    partition: Partition,
    /// The last claim's.
    epoch: LaneEpoch,
    wanderers: i64,
    seed: u64,
    corners: (Pos, Pos),
    clock: SpaceClock,
    step: u64,
    incarnations: u32,
    dice: Dice,
    network: Network,
    lanes: Vec<LaneNode>,
    gateways: Vec<GatewayNode>,
    players: Vec<Player>,
    storage: MemoryStorage,
    crowd_from: u32,
    watch: Watch,
    table: CellsTable,
    trail: Trail,
}

/// Runs the cells under `seed`, to the end or to the first thing that is wrong; with `calm`, nothing goes wrong but that
/// everybody walks across borders.
///
/// # Errors
/// What is wrong, and how to see it again. A panic of a core is such a thing.
pub fn run_cells(seed: u64, calm: bool) -> Result<CellsTable, Box<Failure>> {
    let mut cells = Cells::new(seed, calm);
    // They are only looked at after a panic, never run on.
    let outcome = catch_unwind(AssertUnwindSafe(|| cells.run()));
    let message = match outcome {
        Ok(Ok(())) => {
            cells.count();
            return Ok(cells.table);
        }
        Ok(Err(message)) => message,
        Err(panic) => format!("panicked: {}", crate::words_of(&*panic)),
    };
    Err(Box::new(Failure {
        seed,
        step: cells.step,
        at_us: cells.step * cells.clock.period_us(),
        message,
        last: cells.trail.lines(),
        options: if calm { "--cells --calm" } else { "--cells" },
    }))
}

impl Cells {
    fn new(seed: u64, calm: bool) -> Self {
        let mut dice = Dice::new(seed, 10);
        let [columns, rows] = dice.pick(&[[2, 1], [3, 1], [2, 2], [3, 2]]);
        let lanes_per_cell = dice.pick(&[1, 1, 2]);
        let corner = |x: i32, z: i32| Pos { x, y: 0, z };
        let low = corner(-CORNER, -CORNER);
        let high = corner(-CORNER + columns * CELL, -CORNER + rows * CELL);
        let grid = Partition::grid(low, high, CELL as u32, lanes_per_cell).expect("a few cells");
        let clock = SpaceClock::new(BEGIN_US, HZ);
        let mut layout = Layout::default();
        let found = LayoutChange::Found {
            cells: grid.cells(),
            lanes_per_cell,
            nodes: layouts::NODES.map(str::to_owned).to_vec(),
        };
        layout.change(&found).expect("a few cells");
        let partition = layout.partition(&grid).expect("of that grid");
        let mut cells = Self {
            strength: Strength::draw(&mut dice, calm),
            calm,
            grid,
            layout,
            partition,
            epoch: LaneEpoch(0),
            wanderers: 0,
            seed,
            corners: (low, high),
            clock,
            step: 0,
            incarnations: 0,
            network: Network::default(),
            lanes: Vec::new(),
            gateways: Vec::new(),
            players: Vec::new(),
            storage: MemoryStorage::new(),
            crowd_from: dice.pick(&[3, 6, 256, 256]),
            watch: Watch::new(seed.is_multiple_of(2)),
            table: CellsTable::default(),
            trail: Trail::default(),
            dice,
        };
        cells.wanderers = cells.dice.within(4..=30) as i64;
        for lane in cells.layout.lanes.keys().copied().collect::<Vec<LaneId>>() {
            cells.start_lane(lane);
        }
        for _ in 0..GATEWAYS {
            cells.gateways.push(GatewayNode::default());
        }
        let players = cells.dice.within(3..=10);
        cells.players = (0..players).map(|number| Player::new(number, seed)).collect();
        cells
    }

    fn next_incarnation(&mut self) -> Incarnation {
        self.incarnations += 1;
        Incarnation(self.incarnations)
    }

    /// The tick that is due in this step.
    fn tick(&self) -> Tick {
        Tick(self.step)
    }

    fn now_us(&self) -> u64 {
        self.clock.due_us(self.tick())
    }

    fn note(&mut self, what: std::fmt::Arguments) {
        self.trail.note(self.step * self.clock.period_us(), what);
    }

    fn run(&mut self) -> Checked {
        for step in 1..=TROUBLE_STEPS + SETTLE_STEPS + WATCH_STEPS {
            self.step = step;
            if step == TROUBLE_STEPS {
                self.trouble_ends();
            }
            if step < TROUBLE_STEPS {
                self.go_wrong();
            }
            if step == TROUBLE_STEPS + SETTLE_STEPS + WATCH_STEPS - QUIET_STEPS {
                self.lanes.iter_mut().for_each(|lane| lane.core.stop_handoffs());
            }
            self.lanes_come_and_go();
            self.start_gateways();
            self.hear_of_layouts();
            self.deliver_to_lanes()?;
            self.lanes_tick()?;
            self.gateways_tick()?;
            self.clients_read()?;
            self.players_act(step < TROUBLE_STEPS, step < TROUBLE_STEPS + SETTLE_STEPS)?;
        }
        self.prove()
    }

    fn trouble_ends(&mut self) {
        self.strength = Strength::none();
        self.network.heal();
        for lane in &mut self.lanes {
            lane.late_until = Tick(0);
        }
        self.note(format_args!("the faults stop"));
    }

    /// Something may go wrong that lasts.
    fn go_wrong(&mut self) {
        if self.dice.chance(self.strength.cut) {
            self.cut_some_way();
        }
        if self.dice.chance(self.strength.lane_late) {
            let lane = self.dice.below(self.lanes.len() as u64) as usize;
            let ticks = self.dice.within(1..=14);
            self.lanes[lane].late_until = self.tick() + ticks;
            self.watch
                .be_stale_until(self.step + ticks + network::STALE_STEPS);
            self.table.note("lanes that fell behind");
            let lane = self.lanes[lane].lane;
            self.note(format_args!("lane {lane} is {ticks} ticks late"));
        }
        if self.dice.chance(self.strength.layout) {
            self.change_layout();
        }
        if self.dice.chance(self.strength.gateway_crash) {
            let gateway = self.dice.below(GATEWAYS as u64) as usize;
            self.crash_gateway(gateway);
        }
    }
}
