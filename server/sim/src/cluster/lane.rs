//! The lane's node: starts it from what storage holds, ticks it when ticks are due, and shows each tick to the
//! checkers.

use super::{Cluster, Event};
use crate::check::Checked;
use crate::check::authority::{Authority, Laws, Noticed, check_saved};
use crate::coverage::Exercise;
use crate::truth::{Happening, Snapshot};
use myriad_cluster::Partition;
use myriad_lane::{Config, Lane, Output};
use myriad_script::{ScriptHost, ScriptLimits, ScriptSources};
use myriad_storage::StorageRequest;
use myriad_wire::fabric::{Route, ToGateway};
use myriad_wire::limits::NODE_MESSAGE_BYTES_MAX;
use myriad_wire::{Incarnation, LaneEpoch, LaneId, Pos, Slot, SpaceId, Tick, Value, codec};
use myriad_world::{Origin, Space, SpaceConfig};

/// The one lane.
pub(super) const LANE: LaneId = LaneId(1);
/// The one space.
pub(super) const SPACE: SpaceId = SpaceId(1);
/// Half of the space's side, in position units: small enough for everyone to meet, larger than anyone sees.
pub(super) const HALF_SIDE: i32 = 45 * 1024;
/// How long an avatar outlives its session, in seconds.
const GRACE_S: f64 = 2.0;
/// How long a lane waits for a silent gateway, in seconds.
const SILENCE_S: f64 = 0.6;
/// How often an avatar that changed is saved, in seconds.
pub(super) const SAVE_INTERVAL_S: f64 = 0.7;
/// How much unused movement an avatar saves up: as much as an honest player's steps may wait for their
/// acknowledgement.
const BURST_MS: u32 = 2500;
/// A late lane runs as many ticks back to back; then it jumps.
const BACK_TO_BACK_TICKS_MAX: u64 = 3;
/// How late a tick is begun, in microseconds.
const JITTER_US: u64 = 2000;

/// One life of the lane's node.
#[derive(Debug)]
pub(super) struct LaneNode {
    pub(super) core: Lane,
    pub(super) node: Incarnation,
    pub(super) epoch: LaneEpoch,
    pub(super) authority: Authority,
    last_tick: Tick,
    /// It does nothing until then.
    pub(super) late_until_us: u64,
    /// Its storage thread has so much to do.
    pub(super) storage_busy_until_us: u64,
}

impl Cluster {
    /// The lane of this life, if it still runs.
    pub(super) fn lane_node(&mut self, node: Incarnation) -> Option<&mut LaneNode> {
        let lanes = [self.lane.as_mut(), self.lingerer.as_mut()];
        lanes.into_iter().flatten().find(|lane| lane.node == node)
    }

    /// The lane's node starts, with a higher epoch than any before.
    pub(super) fn lane_starts(&mut self) -> Checked {
        let node = self.next_incarnation();
        self.epochs += 1;
        let epoch = LaneEpoch(self.epochs);
        let config = self.lane_config(node, epoch);
        let mut sources = ScriptSources::default();
        sources.insert("main", include_str!("../game.luau"));
        let game: Vec<(String, Value)> = self
            .settings
            .wanderers
            .map(|(kind, count)| (kind.to_owned(), Value::Int(count)))
            .into();
        let seed = self.seed ^ epoch.0 << 32;
        let (script, kinds) = ScriptHost::load(&sources, ScriptLimits::default(), seed, &game)
            .map_err(|fault| format!("the game does not load: {fault}"))?;
        let space = SpaceConfig {
            bounds_min: config.bounds_min,
            bounds_max: config.bounds_max,
            rate_mhz: self.clock.rate_mhz,
            entities_max: 1000,
            share: config.share(),
        };
        let laws = Laws {
            period_us: self.clock.period_us(),
            grace_ticks: self.clock.ticks_in(config.grace_s),
            burst_ms: config.burst_ms,
            bounds_min: config.bounds_min,
            bounds_max: config.bounds_max,
        };
        let last_tick = self.clock.tick_at(self.now_us);
        let origin = Origin {
            incarnation: node,
            share: 0,
            spawned: 0,
            epoch,
        };
        let space = Space::new(space, kinds, origin);
        self.lane = Some(LaneNode {
            core: Lane::new(config, space, script, last_tick),
            node,
            epoch,
            authority: Authority::new(laws, epoch, last_tick),
            last_tick,
            late_until_us: 0,
            storage_busy_until_us: 0,
        });
        self.note(format_args!(
            "lane starts with epoch {epoch} behind tick {last_tick}"
        ));
        let at_us = self.clock.due_us(last_tick + 1);
        self.agenda.put(at_us, Event::LanePulse(node));
        Ok(())
    }

    fn lane_config(&self, node: Incarnation, epoch: LaneEpoch) -> Config {
        let corner = |at: i32| Pos { x: at, y: 0, z: at };
        Config {
            lane: LANE,
            epoch,
            incarnation: node,
            space: SPACE,
            partition: Partition::whole(LANE),
            clock: self.clock,
            bounds_min: corner(-HALF_SIDE),
            bounds_max: corner(HALF_SIDE),
            spawn_side: HALF_SIDE as u32,
            seed: self.seed,
            burst_ms: BURST_MS,
            grace_s: GRACE_S,
            gateway_silence_s: SILENCE_S,
            save_interval_s: SAVE_INTERVAL_S,
            crowd_period_s: self.settings.crowd_period_s,
            sessions_max: 64,
            inbox_max: 256,
            truth: false,
        }
    }

    /// Ticks may be due.
    pub(super) fn lane_pulse(&mut self, node: Incarnation) -> Checked {
        let (clock, now_us) = (self.clock, self.now_us);
        let Some(lane) = self.lane_node(node) else {
            return Ok(());
        };
        if now_us < lane.late_until_us {
            let at_us = lane.late_until_us;
            self.agenda.put(at_us, Event::LanePulse(node));
            return Ok(());
        }
        let due = clock.tick_at(now_us);
        let behind = due.since(lane.last_tick);
        let mut next = lane.last_tick + 1;
        if behind > BACK_TO_BACK_TICKS_MAX {
            next = due;
            self.coverage.note(Exercise::LaneJumped);
            self.note(format_args!(
                "lane jumps from {behind} ticks behind to tick {due}"
            ));
        }
        while next <= due {
            self.lane_tick(node, next)?;
            next = next + 1;
        }
        let jitter_us = self.dice.nodes.below(JITTER_US);
        self.agenda
            .put(clock.due_us(next) + jitter_us, Event::LanePulse(node));
        Ok(())
    }

    fn lane_tick(&mut self, node: Incarnation, tick: Tick) -> Checked {
        let is_owner = self.lane.as_ref().is_some_and(|lane| lane.node == node);
        let mut lane = if is_owner {
            self.lane.take()
        } else {
            self.lingerer.take()
        }
        .expect("the caller found this life of the lane");
        let mut output = Output::default();
        lane.core.tick(tick, &mut output, |_| ());
        lane.last_tick = tick;
        let checked = self.check_tick(&mut lane, tick, &output);
        for request in output.storage.drain(..) {
            let at_us = self.storage_due_us(&lane);
            lane.storage_busy_until_us = at_us;
            self.agenda.put(at_us, Event::StorageServes(node, request));
        }
        if is_owner {
            self.lane = Some(lane);
        } else {
            self.lingerer = Some(lane);
        }
        for (envelope, body) in output.messages {
            self.fabric_send(envelope, body);
        }
        checked
    }

    /// Shows a tick to the checkers.
    fn check_tick(&mut self, lane: &mut LaneNode, tick: Tick, output: &Output) -> Checked {
        if let Some(fault) = output.faults.first() {
            return Err(format!("a script failed: {fault:?}"));
        }
        for line in &output.lines {
            self.book.ran(line, lane.epoch)?;
        }
        let (routes, happened, changed) = published(output)?;
        let before = self.history.last(lane.epoch);
        let now = Snapshot::of(&lane.core, tick, before, happened, changed.as_deref());
        let attached = lane.core.counters().sessions_attached;
        let noticed = lane
            .authority
            .check(before, &now, &routes, attached, &self.book)?;
        for request in &output.storage {
            if let StorageRequest::Save { entities, .. } = request {
                for saved in entities {
                    check_saved(saved, lane.epoch, before, &now)?;
                }
            }
        }
        self.count_noticed(&noticed);
        let is_owner = self.epochs == lane.epoch.0;
        if let Some(finale) = self.finale.as_mut().filter(|_| is_owner) {
            finale.step(&now);
        }
        self.note(format_args!(
            "lane of epoch {} computed tick {tick}: {} entities, {} routes, {} events",
            lane.epoch,
            now.lives.len(),
            routes.len(),
            now.happened.len()
        ));
        self.history.put(now);
        Ok(())
    }

    fn count_noticed(&mut self, noticed: &Noticed) {
        for (exercise, count) in [
            (Exercise::GraceOver, noticed.grace_over),
            (Exercise::Restored, noticed.restored),
            (Exercise::Reattached, noticed.reattached),
            (Exercise::SlotReused, noticed.slots_reused),
            (Exercise::Crossed, noticed.crossed),
            (Exercise::Stepped, noticed.stepped),
        ] {
            self.coverage.add(exercise, count);
        }
    }

    /// Adds a life's counters to the table, at its end.
    pub(super) fn count_lane(&mut self, lane: &LaneNode) {
        let counters = lane.core.counters();
        for (exercise, count) in [
            (Exercise::GatewaySilent, counters.gateways_lost),
            (Exercise::Resynced, counters.resyncs),
            (Exercise::Clipped, counters.intents_clipped),
            (Exercise::Commanded, counters.commands_accepted),
            (Exercise::Refused, counters.commands_refused),
        ] {
            self.coverage.add(exercise, count);
        }
    }

    /// The lane's node crashes; what its storage thread had not come to is lost.
    pub(super) fn lane_crashes(&mut self) {
        if let Some(lane) = self.lane.take() {
            self.count_lane(&lane);
            self.coverage.note(Exercise::LaneCrashed);
            self.note(format_args!("lane of epoch {} crashes", lane.epoch));
            let at_us = self.now_us + self.dice.nodes.within(50_000..=2_000_000);
            self.agenda.put(at_us, Event::LaneStarts);
        }
    }

    /// Another node takes the lane over while its owner does not know and goes on for a while.
    pub(super) fn lane_is_replaced(&mut self) -> Checked {
        if self.lane.is_none() || self.lingerer.is_some() {
            return Ok(());
        }
        self.lingerer = self.lane.take();
        let node = self
            .lingerer
            .as_ref()
            .map(|lane| lane.node)
            .expect("just put there");
        self.coverage.note(Exercise::LaneLingered);
        let at_us = self.now_us + self.dice.nodes.within(200_000..=2_500_000);
        self.agenda.put(at_us, Event::LingererStops(node));
        self.lane_starts()
    }

    pub(super) fn lingerer_stops(&mut self, node: Incarnation) -> Checked {
        if let Some(lane) = self.lingerer.take_if(|lane| lane.node == node) {
            self.count_lane(&lane);
            self.note(format_args!("lane of epoch {} stops at last", lane.epoch));
        }
        Ok(())
    }
}

/// What a lane published in a tick: all routes, what happened, and whose properties were set if anybody reads it.
type Published = (Vec<Route>, Vec<Happening>, Option<Vec<Slot>>);

fn published(output: &Output) -> Result<Published, String> {
    let mut routes = Vec::new();
    let mut happened = None;
    let mut changed = None;
    for (_, body) in &output.messages {
        let message = codec::decode::<ToGateway>(body, NODE_MESSAGE_BYTES_MAX)
            .map_err(|fault| format!("a lane published what can't be read: {fault}"))?;
        match message {
            ToGateway::Routes(these) => routes.extend(these.sessions),
            ToGateway::Frame(frame) => {
                happened.get_or_insert(frame.events);
                let slots = frame.changes.iter().map(|change| change.slot);
                // A keyframe does not say what changed.
                if frame.keyframe.is_none() {
                    changed.get_or_insert_with(|| slots.collect());
                }
            }
        }
    }
    let happened = happened.unwrap_or_default().into_iter().map(|event| Happening {
        slot: event.slot,
        name: event.name,
        arguments: event.arguments,
    });
    Ok((routes, happened.collect(), changed))
}
