//! What goes on beside the ticks: metrics are taken over, the directory is told how far the space has come, and
//! readiness follows the roles.

use crate::config::Config;
use crate::metrics;
use crate::start::SharedDirectory;
use myriad_directory::Directory as _;
use myriad_edge::Edge;
use myriad_fabric::{Fabric, RoleId};
use myriad_storage::{Observer, Served};
use myriad_telemetry::Metrics;
use myriad_telemetry::admin::{Readiness, StatusSource};
use myriad_telemetry::metrics::{
    EdgeMetrics, FabricMetrics, NodeMetrics, NodeTotals, StorageMetrics, StorageOperation, StorageTotals,
};
use myriad_telemetry::process;
use myriad_wire::{Incarnation, LaneId, SpaceId, Tick};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often metrics are taken over and the directory is told the tick.
const PERIOD: Duration = Duration::from_millis(500);

/// A lane that the control loop watches.
#[derive(Clone)]
struct WatchedLane {
    directory: SharedDirectory,
    space: SpaceId,
    reached: Arc<AtomicU64>,
}

/// The control loop. Made first, told what to watch, then started.
pub(crate) struct Control {
    metrics: Metrics,
    readiness: Readiness,
    fabric: Fabric,
    lane: Option<WatchedLane>,
    edge: Option<(Edge, LaneId)>,
    started: Instant,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl Control {
    pub(crate) fn new(metrics: &Metrics, readiness: Readiness, fabric: Fabric) -> Self {
        let stop = watch::Sender::new(false);
        let metrics = metrics.clone();
        Self {
            metrics,
            readiness,
            fabric,
            lane: None,
            edge: None,
            started: Instant::now(),
            stop,
            task: None,
        }
    }

    /// Notes how far a lane's space comes. `reached` is its last tick, zero before the first.
    pub(crate) fn watch_lane(&mut self, directory: SharedDirectory, space: SpaceId, reached: Arc<AtomicU64>) {
        self.readiness.unmet("lane", "the lane has not ticked yet");
        self.lane = Some(WatchedLane {
            directory,
            space,
            reached,
        });
    }

    /// Exports an edge's numbers; its gateway is ready while it can reach `lane`.
    pub(crate) fn watch_edge(&mut self, edge: Edge, lane: LaneId) {
        self.readiness.unmet("gateway", "the lane can't be reached");
        self.edge = Some((edge, lane));
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
        let reached = self.lane.as_ref().map(|lane| lane.reached.clone());
        Arc::new(move || {
            serde_json::json!({
                "node": name,
                "incarnation": incarnation.0,
                "roles": roles.iter().map(|role| format!("{role:?}").to_lowercase()).collect::<Vec<_>>(),
                "version": env!("CARGO_PKG_VERSION"),
                "uptime_s": started.elapsed().as_secs(),
                "ready": readiness.is_ready(),
                "linked_nodes": fabric.linked_nodes(),
                "tick": reached.as_ref().map(|reached| reached.load(Ordering::Relaxed)),
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
            lane: self.lane.clone(),
            edge: self.edge.clone(),
            started: self.started,
        };
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

    /// Stops the loop and closes the space, whose lane has stopped.
    pub(crate) async fn stop(&mut self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.take() {
            let _ = task.await;
        }
        if let Some(lane) = self.lane.take() {
            let closed = tokio::task::spawn_blocking(move || {
                let mut directory = lane.directory.lock().unwrap_or_else(PoisonError::into_inner);
                directory.close_space(lane.space, Tick(lane.reached.load(Ordering::Relaxed)))
            });
            if let Ok(Err(error)) = closed.await {
                tracing::error!("the space was not closed: {error}");
            }
        }
    }
}

/// What one round of the loop works with.
struct Round {
    node: NodeMetrics,
    fabric_metrics: FabricMetrics,
    edge_metrics: Option<EdgeMetrics>,
    readiness: Readiness,
    fabric: Fabric,
    lane: Option<WatchedLane>,
    edge: Option<(Edge, LaneId)>,
    started: Instant,
}

impl Round {
    fn run(mut self) -> Self {
        if let Some(lane) = &self.lane {
            let reached = Tick(lane.reached.load(Ordering::Relaxed));
            if reached > Tick(0) {
                self.readiness.met("lane");
                let noted = lane
                    .directory
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .note_tick(lane.space, reached);
                if let Err(error) = noted {
                    tracing::error!("the directory did not note tick {reached}: {error}");
                }
            }
        }
        if let (Some((edge, lane)), Some(exported)) = (&self.edge, &mut self.edge_metrics) {
            if self.fabric.is_reachable(RoleId::Lane(*lane)) {
                self.readiness.met("gateway");
            } else {
                self.readiness.unmet("gateway", "the lane can't be reached");
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
