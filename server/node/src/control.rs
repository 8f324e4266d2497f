//! What goes on beside the ticks: metrics are taken over, the directory is told how far the space has come, and
//! readiness follows the roles.

use crate::config::{Config, Role};
use crate::lane_loop::LaneProgress;
use crate::metrics;
use crate::start::SPACE;
use myriad_cluster::layout::duty_name;
use myriad_directory::remote::RemoteDirectory;
use myriad_directory::{ClusterView, Directory as _, Duty, LaneRecord, NodeRecord};
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
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often metrics are taken over and the directory is told the tick.
const PERIOD: Duration = Duration::from_millis(500);

/// The lanes of a node, for whoever watches how far they come.
#[derive(Debug, Default)]
pub(crate) struct WatchedLanes {
    lanes: Mutex<Vec<Arc<LaneProgress>>>,
    /// The last tick of those that have ended.
    ended: AtomicU64,
}

impl WatchedLanes {
    fn lanes(&self) -> MutexGuard<'_, Vec<Arc<LaneProgress>>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane runs.
    pub(crate) fn add(&self, progress: Arc<LaneProgress>) {
        self.lanes().push(progress);
    }

    /// A lane has ended.
    pub(crate) fn remove(&self, lane: LaneId) {
        let highest = self.highest();
        self.ended.fetch_max(highest.0, Ordering::Relaxed);
        self.lanes().retain(|progress| progress.lane != lane);
    }

    /// The last tick that any lane has computed: that it was, the directory must know, lest a number comes again.
    fn highest(&self) -> Tick {
        let ticks = self.lanes().iter().map(|lane| lane.tick()).max();
        ticks
            .unwrap_or_default()
            .max(Tick(self.ended.load(Ordering::Relaxed)))
    }

    /// The last tick that all lanes have computed which have begun: so far the space is. Zero before the first.
    fn reached(&self) -> Tick {
        let lanes = self.lanes();
        let ticks = lanes
            .iter()
            .map(|lane| lane.tick())
            .filter(|tick| *tick > Tick(0));
        ticks.min().unwrap_or_default()
    }

    /// Whether each has computed a tick.
    fn all_tick(&self) -> bool {
        self.lanes().iter().all(|lane| lane.tick() > Tick(0))
    }
}

/// What is told to the directory.
#[derive(Clone)]
struct Notes {
    directory: Arc<Mutex<RemoteDirectory>>,
    incarnation: Incarnation,
    lanes: Arc<WatchedLanes>,
}

impl Notes {
    fn directory(&self) -> MutexGuard<'_, RemoteDirectory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The control loop. Made first, told what to watch, then started.
pub(crate) struct Control {
    metrics: Metrics,
    readiness: Readiness,
    fabric: Fabric,
    /// None run before they are told of.
    lanes: Arc<WatchedLanes>,
    /// Where the node takes lanes.
    notes: Option<Notes>,
    /// Set once the node is a member of its cluster.
    view: Arc<OnceLock<watch::Receiver<Arc<ClusterView>>>>,
    edge: Option<Edge>,
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
            notes: None,
            view: Arc::default(),
            edge: None,
            started: Instant::now(),
            stop,
            task: None,
        }
    }

    /// Notes how far the node's lanes come. Answers where they are to be told of.
    pub(crate) fn watch_lanes(
        &mut self,
        directory: RemoteDirectory,
        incarnation: Incarnation,
    ) -> Arc<WatchedLanes> {
        self.readiness.unmet("lane", "the lanes have not ticked yet");
        self.notes = Some(Notes {
            directory: Arc::new(Mutex::new(directory)),
            incarnation,
            lanes: Arc::clone(&self.lanes),
        });
        Arc::clone(&self.lanes)
    }

    /// The cluster as the directory tells it, for `/status`.
    pub(crate) fn watch_cluster(&mut self, view: watch::Receiver<Arc<ClusterView>>) {
        assert!(self.view.set(view).is_ok(), "a node is a member of one cluster");
    }

    /// Exports an edge's numbers; its gateway is ready while it can reach all lanes.
    pub(crate) fn watch_edge(&mut self, edge: Edge) {
        self.readiness.unmet("gateway", "the lanes can't be reached");
        self.edge = Some(edge);
    }

    /// What `/status` says.
    pub(crate) fn status_source(&self, config: &Config, incarnation: Incarnation) -> StatusSource {
        let (name, roles) = (config.node.name.clone(), config.node.roles.clone());
        let (readiness, fabric, started) = (self.readiness.clone(), self.fabric.clone(), self.started);
        let (lanes, view) = (self.lanes.clone(), self.view.clone());
        let columns = config.space.partition.size()[0];
        let has_lanes = config.has(Role::Lane);
        Arc::new(move || {
            serde_json::json!({
                "node": name,
                "incarnation": incarnation.0,
                "roles": roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect::<Vec<_>>(),
                "version": env!("CARGO_PKG_VERSION"),
                "uptime_s": started.elapsed().as_secs(),
                "ready": readiness.is_ready(),
                "linked_nodes": fabric.linked_nodes(),
                "tick": has_lanes.then(|| lanes.reached().0),
                "lanes": lanes.lanes().iter().map(lane_status).collect::<Vec<_>>(),
                "cluster": view.get().map(|view| cluster_status(&view.borrow(), columns)),
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
            notes: self.notes.clone(),
            view: self.view.get().cloned(),
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
        // A node that never had a lane has not run the space.
        if let Some(notes) = self.notes.take().filter(|notes| notes.lanes.highest() > Tick(0)) {
            if !self.fabric.is_reachable(RoleId::Directory) {
                tracing::warn!("the directory was not told where the space has stopped: it can't be reached");
                return;
            }
            let closed = tokio::task::spawn_blocking(move || {
                let highest = notes.lanes.highest();
                notes.directory().close_space(SPACE, highest, notes.incarnation)
            });
            if let Ok(Err(error)) = closed.await {
                tracing::error!("the space was not closed: {error}");
            }
        }
    }
}

/// Counts and logs what storage did. Called on the storage thread.
pub(crate) fn storage_observer(metrics: &Metrics) -> Observer {
    let mut exported = StorageMetrics::new(metrics);
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

/// What `/status` says of the cluster, as the directory told it last.
fn cluster_status(view: &ClusterView, columns: u32) -> serde_json::Value {
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
            "cell": lane.cell,
            "duty": duty_name(lane.duty),
            "node": lane.node,
            "epoch": lane.claim.map(|claim| claim.epoch.0),
            "incarnation": lane.claim.map(|claim| claim.incarnation.0),
        })
    };
    serde_json::json!({
        "nodes": view.nodes.iter().map(node).collect::<Vec<_>>(),
        "lanes": view.lanes.iter().map(lane).collect::<Vec<_>>(),
        "columns": columns,
        "layout": view.layout,
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
    notes: Option<Notes>,
    view: Option<watch::Receiver<Arc<ClusterView>>>,
    edge: Option<Edge>,
    started: Instant,
    /// The directory did not take the last note.
    notes_fail: bool,
}

impl Round {
    fn run(mut self) -> Self {
        if let Some(notes) = &self.notes {
            if notes.lanes.all_tick() {
                self.readiness.met("lane");
            }
            let highest = notes.lanes.highest();
            if highest > Tick(0) {
                match notes.directory().note_tick(SPACE, highest, notes.incarnation) {
                    Ok(()) => self.notes_fail = false,
                    Err(error) if !std::mem::replace(&mut self.notes_fail, true) => {
                        tracing::error!("the directory did not note tick {highest}: {error}");
                    }
                    Err(_) => {} // Said once.
                }
            }
        }
        if let (Some(edge), Some(exported)) = (&self.edge, &mut self.edge_metrics) {
            let lanes = self.view.as_ref().map(|view| view.borrow().lanes.clone());
            // A lane that opens or retires is not needed by those who come.
            let mut serving = lanes.iter().flatten().filter(|lane| lane.duty == Duty::Serving);
            let away = serving.find(|lane| !self.fabric.is_reachable(RoleId::Lane(lane.lane)));
            match away {
                None => self.readiness.met("gateway"),
                Some(LaneRecord { lane, .. }) => {
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
