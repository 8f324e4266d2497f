//! Runs those lanes of the space that have their place at this node: each on its own thread, with its own claim, scripts,
//! inbox and storage thread. As the layout changes, lanes are started and stopped, and the directory is told what they have
//! come to: that one is read by all gateways, or has nothing any more.
//!
//! The lanes know nothing of where the others are: what they have for each other goes over the fabric.

use crate::clock::now_us;
use crate::config::Config;
use crate::control::{self, WatchedLanes};
use crate::farewell::Meeting;
use crate::lane_loop::{self, LanePorts, LaneProgress};
use crate::layout::LayoutWatch;
use crate::membership;
use crate::start::{FABRIC_INBOX_MAX, SPACE};
use anyhow::{Context as _, Result, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use myriad_directory::remote::RemoteDirectory;
use myriad_directory::{ClusterView, Directory as _, Duty, LaneRecord, LayoutChange};
use myriad_fabric::{Fabric, FabricMessage, RoleId};
use myriad_lane::Lane;
use myriad_script::{ScriptError, ScriptHost, ScriptLimits, ScriptSources};
use myriad_storage::{Storage, StorageThread};
use myriad_telemetry::Metrics;
use myriad_telemetry::admin::TruthFeed;
use myriad_telemetry::metrics::LaneMetrics;
use myriad_wire::{Incarnation, LaneEpoch, LaneId, SpaceClock};
use myriad_world::{Origin, Space, SpaceConfig};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most requests of a lane that wait for storage.
const STORAGE_REQUESTS_MAX: usize = 16_384;
/// How long a start waits for the lanes' scripts.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Most entities of a lane.
const ENTITIES_MAX: u32 = 1 << 17;
/// How often the lanes and the layout are looked at.
const PERIOD: Duration = Duration::from_millis(50);
/// How long a lane that opened waits for gateways to read it: one that crashed is known for a while.
const OPENING_PATIENCE: Duration = Duration::from_secs(5);
/// How long a lane that has ended goes on for gateways that read it.
const ENDING_PATIENCE: Duration = Duration::from_secs(10);
/// How long what could not be done is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the lanes start from.
pub(crate) struct Basis {
    pub(crate) config: Arc<Config>,
    pub(crate) sources: ScriptSources,
    /// Makes a lane's way to the store.
    pub(crate) open_store: Box<dyn Fn() -> Box<dyn Storage> + Send>,
    pub(crate) incarnation: Incarnation,
    pub(crate) fabric: Fabric,
    pub(crate) metrics: Metrics,
    pub(crate) truth: Option<TruthFeed>,
    pub(crate) layout: LayoutWatch,
    /// Who is told which lanes run.
    pub(crate) watched: Arc<WatchedLanes>,
}

/// The lanes of a node. Dropped without [`Self::stop`] they are stopped, but not waited for.
pub(crate) struct Lanes {
    stop: Sender<()>,
    failed: Arc<AtomicBool>,
    thread: JoinHandle<bool>,
}

impl Lanes {
    /// Starts the lanes that have their place here, waits until their scripts have begun, and then follows the layout.
    ///
    /// # Errors
    /// If one of them does not start.
    pub(crate) fn start(basis: Basis) -> Result<Self> {
        let failed = Arc::new(AtomicBool::new(false));
        let mut keeper = Keeper {
            directory: membership::directory(&basis.fabric, basis.incarnation),
            clock: None,
            farewell: Arc::default(),
            running: BTreeMap::new(),
            shares: Shares::default(),
            left_alone_until: BTreeMap::new(),
            failed: Arc::clone(&failed),
            basis,
        };
        let view = keeper.basis.layout.now();
        let lanes: Vec<LaneRecord> = keeper.own(&view).cloned().collect();
        match lanes.len() {
            0 => tracing::info!("no lane has its place here yet"),
            _ => keeper.start(&lanes)?,
        }
        let (stop, stopped) = bounded(0);
        let thread = std::thread::Builder::new()
            .name("lanes".to_owned())
            .spawn(move || keeper.run(&stopped))?;
        Ok(Self { stop, failed, thread })
    }

    /// Whether a lane ended by itself, which none should.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.thread.is_finished()
    }

    /// Lets all lanes save everything and end. Blocks; answers whether all went well.
    pub(crate) fn stop(self) -> bool {
        drop(self.stop);
        self.thread.join().unwrap_or(false)
    }
}

/// A lane whose thread runs.
struct Running {
    /// Dropped to end it.
    stop: Sender<()>,
    thread: JoinHandle<()>,
    progress: Arc<LaneProgress>,
    epoch: LaneEpoch,
    share: u8,
    since: Instant,
    /// Since when the layout has it no more.
    ended: Option<Instant>,
}

/// Shares of the node's entity ids: each lane has one to itself, and who gets one after another goes on where that ended.
#[derive(Debug, Default)]
struct Shares {
    given: u16,
    /// With how many of their ids given.
    free: Vec<(u8, u64)>,
}

impl Shares {
    /// A share, and how many of its ids are given. `None` if as many lanes run as there are shares.
    fn take(&mut self) -> Option<(u8, u64)> {
        if let Ok(share) = u8::try_from(self.given) {
            self.given += 1;
            return Some((share, 0));
        }
        self.free.pop()
    }

    fn give_back(&mut self, share: u8, spawned: u64) {
        self.free.push((share, spawned));
    }
}

/// What the thread works with.
struct Keeper {
    basis: Basis,
    directory: RemoteDirectory,
    /// The space's, once a lane was to start.
    clock: Option<SpaceClock>,
    /// Where the lanes meet when the node drains.
    farewell: Arc<Meeting>,
    running: BTreeMap<LaneId, Running>,
    shares: Shares,
    /// Lanes for which something failed.
    left_alone_until: BTreeMap<LaneId, Instant>,
    failed: Arc<AtomicBool>,
}

impl Keeper {
    fn run(mut self, stop: &Receiver<()>) -> bool {
        while stop.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
            let view = self.basis.layout.now();
            self.follow(&view);
            self.end_those_that_may(&view);
        }
        let running = std::mem::take(&mut self.running).into_values();
        // All are told before the first is waited for: they meet.
        let threads: Vec<JoinHandle<()>> = running.map(|lane| lane.thread).collect();
        let mut clean = !self.failed.load(Ordering::Relaxed);
        for thread in threads {
            let ended = thread.join();
            if ended.is_err() {
                tracing::error!("a lane's thread panicked");
            }
            clean &= ended.is_ok();
        }
        clean
    }

    /// The lanes of a view that have their place here.
    fn own<'a>(&self, view: &'a ClusterView) -> impl Iterator<Item = &'a LaneRecord> {
        let name = self.basis.config.node.name.clone();
        view.lanes.iter().filter(move |record| record.node == name)
    }

    /// Starts what is to run and does not, and tells the directory what lanes have come to.
    fn follow(&mut self, view: &ClusterView) {
        let records: Vec<LaneRecord> = self.own(view).cloned().collect();
        for record in records {
            let lane = record.lane;
            if self
                .left_alone_until
                .get(&lane)
                .is_some_and(|until| *until > Instant::now())
            {
                continue;
            }
            let done = match self.running.get(&lane) {
                None => self.start(std::slice::from_ref(&record)),
                Some(running) => match self.come_to(&record, running) {
                    Some(change) => self.tell(&change),
                    None => continue,
                },
            };
            match done {
                Ok(()) => self.left_alone_until.remove(&lane),
                Err(error) => {
                    tracing::error!(lane = lane.0, "{error:#}; trying again");
                    self.left_alone_until.insert(lane, Instant::now() + RETRY_AFTER)
                }
            };
        }
    }

    /// What the directory is to be told of a lane, if anything.
    fn come_to(&self, record: &LaneRecord, running: &Running) -> Option<LayoutChange> {
        let (lane, epoch) = (record.lane, running.epoch);
        let progress = &running.progress;
        match record.duty {
            Duty::Opening if progress.is_read() => Some(LayoutChange::Serve { lane, epoch }),
            Duty::Opening if running.since.elapsed() > OPENING_PATIENCE => {
                tracing::warn!(
                    lane = lane.0,
                    "a gateway does not read the lane, which serves now all the same"
                );
                Some(LayoutChange::Serve { lane, epoch })
            }
            Duty::Retiring if progress.is_over() => Some(LayoutChange::End { lane, epoch }),
            Duty::Opening | Duty::Serving | Duty::Retiring => None,
        }
    }

    fn tell(&mut self, change: &LayoutChange) -> Result<()> {
        tracing::info!("{change:?}");
        self.directory.change(change)?;
        // The answer comes with the next view: until then it must not be told again.
        if let LayoutChange::Serve { lane, .. } | LayoutChange::End { lane, .. } = change {
            self.await_view(*lane);
        }
        Ok(())
    }

    /// Waits until the view tells what this node has just told of a lane, or for a while.
    fn await_view(&mut self, lane: LaneId) {
        let told = self.basis.layout.now().layout;
        let deadline = Instant::now() + RETRY_AFTER;
        while self.basis.layout.now().layout == told && Instant::now() < deadline {
            std::thread::sleep(PERIOD);
        }
        tracing::debug!(lane = lane.0, "the view has followed");
    }

    /// Ends lanes that the layout has no more, once nobody reads them or they were long enough there for who does.
    fn end_those_that_may(&mut self, view: &ClusterView) {
        let is_there = |lane: LaneId| view.lanes.iter().any(|record| record.lane == lane);
        let mut over = Vec::new();
        for (lane, running) in &mut self.running {
            if running.thread.is_finished() {
                tracing::error!(lane = lane.0, "the lane has ended by itself");
                self.failed.store(true, Ordering::Relaxed);
            }
            if is_there(*lane) || !running.progress.is_over() {
                continue;
            }
            let since = *running.ended.get_or_insert_with(Instant::now);
            if running.progress.readers() == 0 || since.elapsed() > ENDING_PATIENCE {
                over.push(*lane);
            }
        }
        for lane in over {
            let running = self.running.remove(&lane).expect("listed above");
            drop(running.stop);
            if running.thread.join().is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            self.basis.fabric.unregister(RoleId::Lane(lane));
            self.basis.watched.remove(lane);
            self.shares.give_back(running.share, running.progress.spawned());
            tracing::info!(lane = lane.0, "the lane has ended");
        }
    }

    /// Claims and starts lanes, and waits until their scripts have begun.
    fn start(&mut self, records: &[LaneRecord]) -> Result<()> {
        let clock = match self.clock {
            Some(clock) => clock,
            None => {
                let (hz, incarnation) = (self.basis.config.space.hz, self.basis.incarnation);
                *self.clock.insert(membership::space_clock(
                    &mut self.directory,
                    hz,
                    now_us,
                    incarnation,
                )?)
            }
        };
        // All claim before the first speaks: when it does, the others can be spoken to.
        let mut claimed = Vec::new();
        for record in records {
            match self.claim(record.lane) {
                Ok(lane) => claimed.push(lane),
                Err(error) => {
                    claimed.into_iter().for_each(|lane| self.give_up(&lane));
                    return Err(error);
                }
            }
        }
        let (started, wait) = bounded(claimed.len());
        for lane in claimed {
            self.start_lane(lane, clock, started.clone())?;
        }
        for _ in records {
            wait.recv_timeout(START_TIMEOUT)
                .context("a lane did not start")?
                .context("the scripts")?;
        }
        tracing::info!(lanes = records.len(), hz = clock.hz(), "lanes started");
        Ok(())
    }

    fn claim(&mut self, lane: LaneId) -> Result<Claimed> {
        let Some((share, spawned)) = self.shares.take() else {
            bail!("this node runs as many lanes as it can");
        };
        let epoch = match self.directory.claim_lane(lane, self.basis.incarnation) {
            Ok(epoch) => epoch,
            Err(error) => {
                self.shares.give_back(share, spawned);
                return Err(error.into());
            }
        };
        let (inbox, messages) = bounded::<FabricMessage>(FABRIC_INBOX_MAX);
        self.basis.fabric.register(RoleId::Lane(lane), inbox);
        tracing::info!(lane = lane.0, epoch = epoch.0, "lane claimed");
        Ok(Claimed {
            lane,
            origin: Origin {
                incarnation: self.basis.incarnation,
                share,
                spawned,
                epoch,
            },
            messages,
        })
    }

    /// What was claimed is not started.
    fn give_up(&mut self, claimed: &Claimed) {
        self.basis.fabric.unregister(RoleId::Lane(claimed.lane));
        self.shares
            .give_back(claimed.origin.share, claimed.origin.spawned);
    }

    fn start_lane(
        &mut self,
        claimed: Claimed,
        clock: SpaceClock,
        started: Sender<Result<(), ScriptError>>,
    ) -> Result<()> {
        let Claimed {
            lane,
            origin,
            messages,
        } = claimed;
        let basis = &mut self.basis;
        let mut layout = basis.layout.clone();
        let view = layout.now();
        let partition = layout
            .partition(&view)
            .context("the space has no lanes any more")?;
        let config = lane_config(&basis.config, partition, (lane, origin), clock);
        let (reply_sender, replies) = unbounded();
        // A thread for each lane, so that answers reach the lane that asked. Which save of an avatar counts is decided by
        // its epoch, not by their order.
        let storage = StorageThread::start(
            (basis.open_store)(),
            reply_sender,
            STORAGE_REQUESTS_MAX,
            control::storage_observer(&basis.metrics),
        )?;
        let progress = Arc::new(LaneProgress::new(lane));
        let (stop, stopped) = bounded(0);
        let ports = LanePorts {
            fabric: basis.fabric.clone(),
            messages,
            storage,
            replies,
            truth: basis.truth.clone(),
            metrics: LaneMetrics::new(&basis.metrics),
            progress: Arc::clone(&progress),
            layout: basis.layout.clone(),
            stop: stopped,
            farewell: Some(self.farewell.invite()),
        };
        let scripts = &basis.config.scripts;
        let limits = ScriptLimits {
            steps_per_call: scripts.steps_per_call,
            steps_at_start: scripts.steps_at_start,
            memory_bytes: scripts.memory_mib as usize * 1024 * 1024,
        };
        let (sources, game) = (basis.sources.clone(), basis.config.game.clone());
        let seed = basis.config.space.seed;
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
        let running = Running {
            stop,
            thread: lane_loop::start(make, clock, ports, started)?,
            progress: Arc::clone(&progress),
            epoch: origin.epoch,
            share: origin.share,
            since: Instant::now(),
            ended: None,
        };
        self.running.insert(lane, running);
        self.basis.watched.add(progress);
        Ok(())
    }
}

/// One lane, before its thread runs.
struct Claimed {
    lane: LaneId,
    origin: Origin,
    messages: Receiver<FabricMessage>,
}

fn lane_config(
    config: &Config,
    partition: myriad_cluster::Partition,
    (lane, origin): (LaneId, Origin),
    clock: SpaceClock,
) -> myriad_lane::Config {
    let space = &config.space;
    myriad_lane::Config {
        lane,
        epoch: origin.epoch,
        incarnation: origin.incarnation,
        space: SPACE,
        partition,
        clock,
        bounds_min: space.bounds_min,
        bounds_max: space.bounds_max,
        spawn_side: space.spawn_side,
        seed: space.seed,
        burst_ms: space.burst_ms,
        grace_s: space.grace_s,
        gateway_silence_s: space.gateway_silence_s,
        save_interval_s: config.storage.save_interval_s,
        crowd_period_s: space.crowd_period_s,
        sessions_max: space.sessions_max,
        inbox_max: FABRIC_INBOX_MAX,
        truth: config.admin.truth,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_share_go_on_where_they_ended_when_all_shares_are_given() {
        let mut shares = Shares::default();
        for share in 0..=u8::MAX {
            assert_eq!(shares.take(), Some((share, 0)));
        }
        assert_eq!(shares.take(), None, "as many lanes run as there are shares");
        shares.give_back(7, 40);
        assert_eq!(shares.take(), Some((7, 40)));
    }
}
