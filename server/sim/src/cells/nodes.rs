//! Lanes and gateways as they run: each lane ticks when its tick is due, unless it is late; each gateway on frames.

use super::layouts::Hearing;
use super::{Cells, Checked, HZ, METRE, SETTLE_STEPS, TROUBLE_STEPS, demand};
use myriad_gateway::{ClientOutput, Gateway, GatewayConfig, Outputs};
use myriad_lane::{Config, Lane, Output};
use myriad_script::{ScriptHost, ScriptLimits, ScriptSources};
use myriad_storage::{StorageReply, serve};
use myriad_wire::fabric::RoleId;
use myriad_wire::truth::TruthTick;
use myriad_wire::{GatewayId, Incarnation, LaneEpoch, LaneId, SpaceId, Tick, Value};
use myriad_world::{Origin, Space, SpaceConfig};

/// The one space.
pub(super) const SPACE: SpaceId = SpaceId(1);
/// A late lane runs as many ticks back to back; then it jumps.
const BACK_TO_BACK_TICKS_MAX: u64 = 3;
/// How long an avatar outlives its session, in seconds.
const GRACE_S: f64 = 2.0;
/// How much unused movement an avatar saves up: as much as an honest player's steps may wait for their acknowledgement.
const BURST_MS: u32 = 2500;

/// A lane.
pub(super) struct LaneNode {
    pub(super) core: Lane,
    pub(super) lane: LaneId,
    pub(super) hearing: Hearing,
    /// In which step it started.
    pub(super) since: u64,
    /// In which step it was seen that the layout has it no more.
    pub(super) ended_at: Option<u64>,
    pub(super) last_tick: Tick,
    /// It computes nothing before.
    pub(super) late_until: Tick,
    /// Answers of storage, and from which step on.
    replies: Vec<(u64, StorageReply)>,
    pub(super) output: Output,
}

/// A gateway, or its absence.
#[derive(Default)]
pub(super) struct GatewayNode {
    pub(super) core: Option<Gateway>,
    pub(super) node: Incarnation,
    pub(super) hearing: Hearing,
    /// It stays down until then.
    down_until: u64,
}

impl GatewayNode {
    /// Its name on the fabric, while it runs.
    pub(super) fn role(&self) -> Option<RoleId> {
        self.core.as_ref()?;
        Some(RoleId::Gateway(GatewayId(self.node.0)))
    }
}

impl LaneNode {
    pub(super) fn start(cells: &Cells, lane: LaneId, epoch: LaneEpoch, node: Incarnation) -> Self {
        let (seed, (low, high), wanderers) = (cells.seed, cells.corners, cells.wanderers);
        let now = Tick(cells.step.saturating_sub(1));
        let config = Config {
            lane,
            epoch,
            incarnation: node,
            space: SPACE,
            partition: cells.partition.clone(),
            clock: cells.clock,
            bounds_min: low,
            bounds_max: high,
            spawn_side: 60 * METRE as u32,
            seed,
            burst_ms: BURST_MS,
            grace_s: GRACE_S,
            gateway_silence_s: 0.6,
            save_interval_s: 0.7,
            crowd_period_s: 0.5,
            sessions_max: 64,
            inbox_max: 512,
            truth: true,
        };
        let mut sources = ScriptSources::default();
        sources.insert("main", include_str!("game.luau"));
        let game = [
            ("first".to_owned(), Value::Bool(lane == LaneId(1))),
            (
                "quiet".to_owned(),
                Value::Int((TROUBLE_STEPS + SETTLE_STEPS) as i64),
            ),
            ("crossing".to_owned(), Value::Bool(cells.watch.crossing)),
            ("walker".to_owned(), Value::Int(wanderers)),
            ("mayfly".to_owned(), Value::Int(wanderers / 3 + 1)),
        ];
        let random = seed ^ epoch.0 << 32;
        let (script, kinds) =
            ScriptHost::load(&sources, ScriptLimits::default(), random, &game).expect("the cells' own game");
        let space = SpaceConfig {
            bounds_min: low,
            bounds_max: high,
            rate_mhz: cells.clock.rate_mhz,
            // Sometimes there is no room for all who would come.
            share: config.share(),
            entities_max: if seed.is_multiple_of(3) {
                24 + 4 * lane.0
            } else {
                400
            },
        };
        let origin = Origin {
            incarnation: node,
            share: 0,
            spawned: 0,
            epoch,
        };
        let space = Space::new(space, kinds, origin);
        Self {
            core: Lane::new(config, space, script, now),
            lane,
            hearing: Hearing::default(),
            since: 0,
            ended_at: None,
            last_tick: now,
            late_until: Tick(0),
            replies: Vec::new(),
            output: Output::default(),
        }
    }
}

impl Cells {
    pub(super) fn deliver_to_lanes(&mut self) -> Checked {
        while let Some((envelope, body)) = self.network.take(self.step, |to| matches!(to, RoleId::Lane(_))) {
            let lane = self
                .lanes
                .iter_mut()
                .find(|lane| RoleId::Lane(lane.lane) == envelope.to);
            // What is for a lane that was stopped is lost.
            if let Some(lane) = lane {
                lane.core.handle_message(&envelope, body);
            }
        }
        for lane in &mut self.lanes {
            for (_, reply) in lane.replies.extract_if(.., |(due, _)| *due <= self.step) {
                lane.core.handle_storage(reply);
            }
        }
        Ok(())
    }

    pub(super) fn lanes_tick(&mut self) -> Checked {
        let due = self.tick();
        // Which lane computes first is chance; nothing of a step reaches another lane in the same step.
        let first = self.dice.below(self.lanes.len() as u64) as usize;
        for i in 0..self.lanes.len() {
            let place = (first + i) % self.lanes.len();
            let lane = &mut self.lanes[place];
            if due < lane.late_until {
                continue;
            }
            let behind = due.since(lane.last_tick);
            let mut next = lane.last_tick + 1;
            if behind > BACK_TO_BACK_TICKS_MAX {
                next = due;
                self.table.note("lanes that jumped over ticks");
            }
            while next <= due {
                self.lane_ticks(place, next)?;
                next = next + 1;
            }
        }
        self.watch.end_step(&self.lanes, due, self.calm)
    }

    fn lane_ticks(&mut self, place: usize, tick: Tick) -> Checked {
        let lane = &mut self.lanes[place];
        let mut output = std::mem::take(&mut lane.output);
        output.clear();
        lane.core.tick(tick, &mut output, |_| {});
        lane.last_tick = tick;
        let name = lane.lane;
        let fault = output.faults.first();
        demand!(fault.is_none(), "a script failed in lane {name}: {fault:?}");
        let truth: TruthTick = output.truth.take().expect("enabled");
        let checked = self.watch.take_truth(&truth, &self.lanes[place].core);
        for line in &output.lines {
            self.watch.ran(line, tick)?;
        }
        for news in std::mem::take(&mut self.watch.news) {
            self.note(format_args!("{news}"));
        }
        checked?;
        for request in std::mem::take(&mut output.storage) {
            let reply = serve(&mut self.storage, request);
            let steps = self.dice.within(0..=self.strength.storage_steps);
            self.lanes[place].replies.push((self.step + 1 + steps, reply));
        }
        for (envelope, body) in std::mem::take(&mut output.messages) {
            self.send(envelope, &body);
        }
        self.lanes[place].output = output;
        Ok(())
    }

    pub(super) fn start_gateways(&mut self) {
        for gateway in 0..self.gateways.len() {
            let node = &self.gateways[gateway];
            if node.core.is_some() || self.step < node.down_until {
                continue;
            }
            let node = self.next_incarnation();
            let config = GatewayConfig {
                hz: HZ,
                lanes: self.partition.lanes().collect(),
                login_timeout_s: 3.0,
                crowd_from: self.crowd_from,
                slots_max: 4096,
                sessions_max: 64,
                ..GatewayConfig::new(GatewayId(node.0), node, SPACE, LaneId(1))
            };
            self.gateways[gateway].core = Some(Gateway::new(config));
            // It is told everything at its start.
            self.gateways[gateway].hearing = Hearing::default();
            self.gateways[gateway].node = node;
            self.note(format_args!("gateway {gateway} starts as {node}"));
        }
    }

    pub(super) fn crash_gateway(&mut self, gateway: usize) {
        let down = self.dice.within(1..=20);
        let node = &mut self.gateways[gateway];
        if node.core.take().is_some() {
            node.down_until = self.step + down;
            self.table.note("gateways crashed");
            self.note(format_args!("gateway {gateway} crashes for {down} steps"));
            self.connections_end(gateway);
        }
    }

    pub(super) fn gateways_tick(&mut self) -> Checked {
        while let Some((envelope, body)) = self
            .network
            .take(self.step, |to| matches!(to, RoleId::Gateway(_)))
        {
            let node = self
                .gateways
                .iter_mut()
                .find(|node| node.role() == Some(envelope.to));
            if let Some(core) = node.and_then(|node| node.core.as_mut()) {
                core.handle_fabric(&envelope, body);
            }
        }
        for gateway in 0..self.gateways.len() {
            self.clients_send(gateway);
            let is_ready = |cells: &Self| {
                let core = cells.gateways[gateway].core.as_ref();
                core.is_some_and(Gateway::frames_ready)
            };
            let mut ticked = false;
            while is_ready(self) || !ticked && self.gateways[gateway].core.is_some() {
                self.gateway_ticks(gateway)?;
                ticked = true;
            }
        }
        Ok(())
    }

    fn gateway_ticks(&mut self, gateway: usize) -> Checked {
        let Some(core) = &mut self.gateways[gateway].core else {
            return Ok(());
        };
        let mut output = Outputs::default();
        core.tick(&mut output);
        for (envelope, body) in output.fabric {
            self.send(envelope, &body);
        }
        for output in output.clients {
            self.send_to_client(output);
        }
        Ok(())
    }

    fn send_to_client(&mut self, output: ClientOutput) {
        match output {
            ClientOutput::Message(conn, message) => self.stream_to_client(conn, message),
            ClientOutput::Datagram(conn, datagram) => {
                if !self.dice.chance(self.strength.datagram_lost) {
                    self.datagram_to_client(conn, datagram);
                }
            }
            ClientOutput::Close(conn, reason) => self.close_to_client(conn, reason),
        }
    }

    /// What lanes and gateways counted, for the table.
    pub(super) fn count(&mut self) {
        for lane in std::mem::take(&mut self.lanes) {
            self.count_lane(&lane);
        }
        self.watch.count(&mut self.table);
    }

    pub(super) fn count_lane(&mut self, lane: &LaneNode) {
        let counters = lane.core.counters();
        for (row, times) in [
            ("entities handed off", counters.handed_off),
            ("hand-offs withdrawn", counters.handoffs_withdrawn),
            ("hand-offs refused", counters.handoffs_refused),
            ("sessions sent to another lane", counters.sessions_redirected),
            ("calls sent to another lane", counters.calls_sent),
            (
                "sessions held until all lanes had adopted a layout",
                counters.sessions_held,
            ),
            (
                "entities given to another lane of the cell",
                counters.entities_given,
            ),
        ] {
            self.table.add(row, times);
        }
    }
}
