//! What goes on beside the ticks: metrics are taken over, the directory is told how far the space has come, and
//! readiness follows the roles.

use crate::config::Config;
use crate::lane_loop::LaneProgress;
use crate::metrics;
use crate::start::SPACE;
use myriad_cluster::Partition;
use myriad_directory::remote::RemoteDirectory;
use myriad_directory::{ClusterView, Directory as _, LaneRecord, NodeRecord};
use myriad_edge::Edge;
use myriad_fabric::{Fabric, RoleId};
use myriad_storage::{Observer, Served};
use myriad_telemetry::Metrics;
use myriad_telemetry::admin::{Readiness, StatusSource};
use myriad_telemetry::metrics::{
    EdgeMetrics, FabricMetrics, NodeMetrics, NodeTotals, StorageMetrics, StorageOperation, StorageTotals,
};
use myriad_telemetry::process;
use myriad_wire::{Incarnation, LaneId, Tick};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often metrics are taken over and the directory is told the tick.
const PERIOD: Duration = Duration::from_millis(500);

/// The lanes of a space that the control loop watches.
#[derive(Clone)]
struct WatchedLanes {
    directory: Arc<Mutex<RemoteDirectory>>,
    incarnation: Incarnation,
    /// Not empty.
    lanes: Vec<Arc<LaneProgress>>,
}

impl WatchedLanes {
    fn directory(&self) -> MutexGuard<'_, RemoteDirectory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last tick that any lane has computed: that it was, the directory must know, lest a number comes again.
    fn highest(&self) -> Tick {
        let ticks = self.lanes.iter().map(|lane| lane.tick());
        ticks.max().expect("a space has a lane")
    }

    /// The last tick that all lanes have computed: so far the space is. Zero before the first.
    fn reached(&self) -> Tick {
        let ticks = self.lanes.iter().map(|lane| lane.tick());
        ticks.min().expect("a space has a lane")
    }
}

/// The control loop. Made first, told what to watch, then started.
pub(crate) struct Control {
    metrics: Metrics,
    readiness: Readiness,
    fabric: Fabric,
    /// Set once they run.
    lanes: Arc<OnceLock<WatchedLanes>>,
    /// Set once the node is a member of its cluster.
    view: Arc<OnceLock<watch::Receiver<Arc<ClusterView>>>>,
    edge: Option<(Edge, Vec<LaneId>)>,
    started: Instant,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Control {
    pub(crate) fn new(metrics: &Metrics, readiness: Readiness, fabric: Fabric) -> Self {
        let stop = watch::Sender::new(false);
        let metrics = metrics.clone();
        readiness.unmet("node", "it is starting");
        Self {
            metrics,
            readiness,
            fabric,
            lanes: Arc::default(),
            view: Arc::default(),
            edge: None,
            started: Instant::now(),
            stop,
            task: None,
        }
    }

    /// Notes how far the node's lanes come.
    pub(crate) fn watch_lanes(
        &mut self,
        directory: RemoteDirectory,
        incarnation: Incarnation,
        lanes: Vec<Arc<LaneProgress>>,
    ) {
        self.readiness.unmet("lane", "the lanes have not ticked yet");
        let watched = WatchedLanes {
            directory: Arc::new(Mutex::new(directory)),
            incarnation,
            lanes,
        };
        assert!(self.lanes.set(watched).is_ok(), "a node's lanes start once");
    }

    /// The cluster as the directory tells it, for `/status`.
    pub(crate) fn watch_cluster(&mut self, view: watch::Receiver<Arc<ClusterView>>) {
        assert!(self.view.set(view).is_ok(), "a node is a member of one cluster");
    }

    /// Exports an edge's numbers; its gateway is ready while it can reach all of `lanes`.
    pub(crate) fn watch_edge(&mut self, edge: Edge, lanes: Vec<LaneId>) {
        self.readiness.unmet("gateway", "the lanes can't be reached");
        self.edge = Some((edge, lanes));
    }

    /// Counts and logs what storage did. Called on the storage thread.
    pub(crate) fn storage_observer(&self) -> Observer {
        let mut exported = StorageMetrics::new(&self.metrics);
        let mut totals = StorageTotals::default();
        Box::new(move |served: Served| {
            let operation = if served.save {
                StorageOperation::Save
            } else {
                StorageOperation::Load
            };
            exported.seconds.record(operation, served.took);
            totals.batches += u64::from(served.save);
            totals.loads += u64::from(!served.save);
            totals.saved += served.saved;
            totals.fenced += served.fenced;
            if let Some(error) = served.error {
                totals.errors += 1;
                tracing::error!("storage: {error}");
            }
            exported.set(&totals);
        })
    }

    /// What `/status` says.
    pub(crate) fn status_source(&self, config: &Config, incarnation: Incarnation) -> StatusSource {
        let (name, roles) = (config.node.name.clone(), config.node.roles.clone());
        let (readiness, fabric, started) = (self.readiness.clone(), self.fabric.clone(), self.started);
        let (lanes, view) = (self.lanes.clone(), self.view.clone());
        let partition = config.space.partition.clone();
        Arc::new(move || {
            let lanes = lanes.get();
            let progress = lanes.map_or(&[][..], |lanes| &lanes.lanes);
            serde_json::json!({
                "node": name,
                "incarnation": incarnation.0,
                "roles": roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect::<Vec<_>>(),
                "version": env!("CARGO_PKG_VERSION"),
                "uptime_s": started.elapsed().as_secs(),
                "ready": readiness.is_ready(),
                "linked_nodes": fabric.linked_nodes(),
                "tick": lanes.map(|lanes| lanes.reached().0),
                "lanes": progress.iter().map(lane_status).collect::<Vec<_>>(),
                "cluster": view.get().map(|view| cluster_status(&view.borrow(), &partition)),
            })
        })
    }

    /// Starts the loop.
    pub(crate) fn start(&mut self, runtime: &Runtime) {
        let mut round = Round {
            node: NodeMetrics::new(&self.metrics),
            fabric_metrics: FabricMetrics::new(&self.metrics),
            edge_metrics: self.edge.is_some().then(|| EdgeMetrics::new(&self.metrics)),
            readiness: self.readiness.clone(),
            fabric: self.fabric.clone(),
            lanes: self.lanes.get().cloned(),
            edge: self.edge.clone(),
            started: self.started,
            notes_fail: false,
        };
        self.readiness.met("node");
        let mut stopped = self.stop.subscribe();
        self.task = Some(runtime.spawn(async move {
            let mut period = tokio::time::interval(PERIOD);
            loop {
                tokio::select! {
                    _ = period.tick() => {}
                    _ = stopped.changed() => break,
                }
                // The directory writes to the disk.
                round = match tokio::task::spawn_blocking(move || round.run()).await {
                    Ok(round) => round,
                    Err(error) => {
                        tracing::error!("the control loop ended: {error}");
                        break;
                    }
                };
            }
        }));
    }

    /// Stops the loop and closes the space, whose lanes have stopped.
    pub(crate) async fn stop(&mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
        if let Some(lanes) = self.lanes.get().cloned() {
            if !self.fabric.is_reachable(RoleId::Directory) {
                tracing::warn!("the directory was not told where the space has stopped: it can't be reached");
                return;
            }
            let closed = tokio::task::spawn_blocking(move || {
                lanes
                    .directory()
                    .close_space(SPACE, lanes.highest(), lanes.incarnation)
            });
            if let Ok(Err(error)) = closed.await {
                tracing::error!("the space was not closed: {error}");
            }
        }
    }
}

/// What `/status` says of the cluster, as the directory told it last.
fn cluster_status(view: &ClusterView, partition: &Partition) -> serde_json::Value {
    let node = |node: &NodeRecord| {
        serde_json::json!({
            "node": node.name,
            "incarnation": node.incarnation.0,
            "link": node.link,
            "client": node.client,
            "admin": node.admin,
            "takes_lanes": node.takes_lanes,
        })
    };
    let lane = |lane: &LaneRecord| {
        serde_json::json!({
            "lane": lane.lane.0,
            "cell": partition.cell_of(lane.lane).map_or(0, |cell| cell.0),
            "node": lane.node,
            "epoch": lane.claim.map(|claim| claim.epoch.0),
            "incarnation": lane.claim.map(|claim| claim.incarnation.0),
        })
    };
    serde_json::json!({
        "nodes": view.nodes.iter().map(node).collect::<Vec<_>>(),
        "lanes": view.lanes.iter().map(lane).collect::<Vec<_>>(),
        "columns": partition.size()[0],
    })
}

/// What `/status` says of a lane.
fn lane_status(lane: &Arc<LaneProgress>) -> serde_json::Value {
    serde_json::json!({
        "lane": lane.lane.0,
        "tick": lane.tick().0,
        "entities": lane.entities(),
        "tick_ms": lane.tick_us() as f64 / 1000.0,
        "frame_bytes": lane.frame_bytes(),
        "handed_off": lane.handed_off(),
    })
}

/// What one round of the loop works with.
struct Round {
    node: NodeMetrics,
    fabric_metrics: FabricMetrics,
    edge_metrics: Option<EdgeMetrics>,
    readiness: Readiness,
    fabric: Fabric,
    lanes: Option<WatchedLanes>,
    edge: Option<(Edge, Vec<LaneId>)>,
    started: Instant,
    /// The directory did not take the last note.
    notes_fail: bool,
}

impl Round {
    fn run(mut self) -> Self {
        if let Some(lanes) = &self.lanes {
            if lanes.reached() > Tick(0) {
                self.readiness.met("lane");
            }
            let highest = lanes.highest();
            if highest > Tick(0) {
                match lanes.directory().note_tick(SPACE, highest, lanes.incarnation) {
                    Ok(()) => self.notes_fail = false,
                    Err(error) if !std::mem::replace(&mut self.notes_fail, true) => {
                        tracing::error!("the directory did not note tick {highest}: {error}");
                    }
                    Err(_) => {} // Said once.
                }
            }
        }
        if let (Some((edge, lanes)), Some(exported)) = (&self.edge, &mut self.edge_metrics) {
            let is_away = |lane: &&LaneId| !self.fabric.is_reachable(RoleId::Lane(**lane));
            match lanes.iter().find(is_away) {
                None => self.readiness.met("gateway"),
                Some(lane) => {
                    let reason = format!("lane {lane} can't be reached");
                    self.readiness.unmet("gateway", reason);
                }
            }
            exported.set(&metrics::edge(edge));
        }
        self.fabric_metrics.set(&metrics::fabric(&self.fabric));
        let usage = process::usage();
        self.node.set(&NodeTotals {
            uptime_seconds: self.started.elapsed().as_secs(),
            ready: u64::from(self.readiness.is_ready()),
            cpu_milliseconds: usage.as_ref().map_or(0, |usage| usage.cpu_milliseconds),
            resident_bytes: usage.as_ref().map_or(0, |usage| usage.resident_bytes),
            ..NodeTotals::default()
        });
        self
    }
}
