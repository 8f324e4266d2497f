//! Starts those lanes of the space that have their place at this node: each on its own thread, with its own claim,
//! scripts, inbox and storage thread.
//!
//! The lanes know nothing of where the others are: what they have for each other goes over the fabric.

use crate::clock::now_us;
use crate::control::Control;
use crate::farewell::{self, Guest};
use crate::lane_loop::{self, LanePorts, LaneProgress};
use crate::membership;
use crate::start::{FABRIC_INBOX_MAX, Parts, SPACE};
use anyhow::{Context as _, Result};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use myriad_directory::Directory as _;
use myriad_directory::remote::RemoteDirectory;
use myriad_fabric::{FabricMessage, RoleId};
use myriad_lane::Lane;
use myriad_script::{ScriptError, ScriptHost, ScriptLimits, ScriptSources};
use myriad_storage::{Storage, StorageThread};
use myriad_telemetry::metrics::LaneMetrics;
use myriad_wire::{Incarnation, LaneEpoch, LaneId, SpaceClock};
use myriad_world::{Origin, Space, SpaceConfig};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Most requests of a lane that wait for storage.
const STORAGE_REQUESTS_MAX: usize = 16_384;
/// How long a start waits for the lanes' scripts.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Most entities of a lane.
const ENTITIES_MAX: u32 = 1 << 17;

/// What the lanes start from.
pub(crate) struct Basis<'a> {
    pub(crate) sources: ScriptSources,
    /// Makes a lane's way to the store.
    pub(crate) open_store: &'a dyn Fn() -> Box<dyn Storage>,
    pub(crate) incarnation: Incarnation,
    /// Closed when the node drains.
    pub(crate) stop: Receiver<()>,
}

/// One lane, before its thread runs.
struct Claimed {
    lane: LaneId,
    epoch: LaneEpoch,
    /// Which of the node's lanes it is.
    share: u8,
    messages: Receiver<FabricMessage>,
    farewell: Guest,
    progress: Arc<LaneProgress>,
}

/// Starts these lanes, and waits until their scripts have begun. Answers their threads.
pub(crate) fn start(
    parts: &Parts<'_>,
    basis: &Basis<'_>,
    lanes: Vec<LaneId>,
    control: &mut Control,
) -> Result<Vec<JoinHandle<()>>> {
    if lanes.is_empty() {
        tracing::info!("no lane has its place here");
        return Ok(Vec::new());
    }
    let mut directory = membership::directory(&parts.fabric, basis.incarnation);
    let clock = membership::space_clock(&mut directory, parts.config.space.hz, now_us, basis.incarnation)?;
    let claimed = claim(parts, basis, &mut directory, lanes)?;
    let watched = claimed.iter().map(|lane| Arc::clone(&lane.progress)).collect();
    // All of them load their scripts at the same time.
    let (started, wait) = bounded(claimed.len());
    let threads: Vec<JoinHandle<()>> = claimed
        .into_iter()
        .map(|lane| start_lane(parts, basis, lane, clock, control, started.clone()))
        .collect::<Result<_>>()?;
    for _ in &threads {
        wait.recv_timeout(START_TIMEOUT)
            .context("a lane did not start")?
            .context("the scripts")?;
    }
    control.watch_lanes(directory, basis.incarnation, watched);
    tracing::info!(lanes = threads.len(), hz = clock.hz(), "lanes started");
    Ok(threads)
}

/// Claims the lanes and puts up their inboxes: when the first of them speaks, the others can be spoken to.
fn claim(
    parts: &Parts<'_>,
    basis: &Basis<'_>,
    directory: &mut RemoteDirectory,
    lanes: Vec<LaneId>,
) -> Result<Vec<Claimed>> {
    let guests = farewell::invite(lanes.len());
    let mut claimed = Vec::new();
    for ((lane, farewell), share) in lanes.into_iter().zip(guests).zip(0..) {
        let epoch = directory.claim_lane(lane, basis.incarnation)?;
        let (inbox, messages) = bounded::<FabricMessage>(FABRIC_INBOX_MAX);
        parts.fabric.register(RoleId::Lane(lane), inbox);
        tracing::info!(lane = lane.0, epoch = epoch.0, "lane claimed");
        claimed.push(Claimed {
            lane,
            epoch,
            share,
            messages,
            farewell,
            progress: Arc::new(LaneProgress::new(lane)),
        });
    }
    Ok(claimed)
}

fn start_lane(
    parts: &Parts<'_>,
    basis: &Basis<'_>,
    claimed: Claimed,
    clock: SpaceClock,
    control: &Control,
    started: Sender<Result<(), ScriptError>>,
) -> Result<JoinHandle<()>> {
    let config = lane_config(parts, &claimed, clock, basis.incarnation);
    let origin = Origin {
        incarnation: basis.incarnation,
        share: claimed.share,
        epoch: claimed.epoch,
    };
    let (reply_sender, replies) = unbounded();
    // A thread for each lane, so that answers reach the lane that asked. Which save of an avatar counts is decided by its
    // epoch, not by their order.
    let storage = StorageThread::start(
        (basis.open_store)(),
        reply_sender,
        STORAGE_REQUESTS_MAX,
        control.storage_observer(),
    )?;
    let ports = LanePorts {
        fabric: parts.fabric.clone(),
        messages: claimed.messages,
        storage,
        replies,
        truth: parts.truth.clone(),
        metrics: LaneMetrics::new(&parts.metrics),
        progress: claimed.progress,
        stop: basis.stop.clone(),
        farewell: Some(claimed.farewell),
    };
    let scripts = &parts.config.scripts;
    let limits = ScriptLimits {
        steps_per_call: scripts.steps_per_call,
        steps_at_start: scripts.steps_at_start,
        memory_bytes: scripts.memory_mib as usize * 1024 * 1024,
    };
    let (sources, game) = (basis.sources.clone(), parts.config.game.clone());
    let seed = parts.config.space.seed;
    let make = move |now| {
        let (script, kinds) = ScriptHost::load(&sources, limits, seed, &game)?;
        let space = SpaceConfig {
            bounds_min: config.bounds_min,
            bounds_max: config.bounds_max,
            rate_mhz: clock.rate_mhz,
            entities_max: ENTITIES_MAX,
            share: config.share(),
        };
        let space = Space::new(space, kinds, origin);
        Ok::<_, ScriptError>(Lane::new(config, space, script, now))
    };
    Ok(lane_loop::start(make, clock, ports, started)?)
}

fn lane_config(
    parts: &Parts<'_>,
    claimed: &Claimed,
    clock: SpaceClock,
    incarnation: Incarnation,
) -> myriad_lane::Config {
    let space = &parts.config.space;
    myriad_lane::Config {
        lane: claimed.lane,
        epoch: claimed.epoch,
        incarnation,
        space: SPACE,
        partition: space.partition.clone(),
        clock,
        bounds_min: space.bounds_min,
        bounds_max: space.bounds_max,
        spawn_side: space.spawn_side,
        seed: space.seed,
        burst_ms: space.burst_ms,
        grace_s: space.grace_s,
        gateway_silence_s: space.gateway_silence_s,
        save_interval_s: parts.config.storage.save_interval_s,
        crowd_period_s: space.crowd_period_s,
        sessions_max: space.sessions_max,
        inbox_max: FABRIC_INBOX_MAX,
        truth: parts.config.admin.truth,
    }
}
