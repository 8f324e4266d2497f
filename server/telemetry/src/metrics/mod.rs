//! The metrics: which there are, and how totals of a core become numbers that Prometheus reads.
//!
//! One struct per role, handed down at construction. To add a metric, add a line in `roles.rs`: the field, its
//! help text, its place in [`catalogue`] follow from it. Labels are closed enums (`labels.rs`), never ids.

mod instrument;
mod labels;
mod roles;

pub use instrument::{Amount, Count, CountBy, Instrument, PerLabel, Timing, TimingBy, Told};
pub use labels::{
    FabricDrop, FabricRefusal, GatewayStage, Label, LaneStage, PayloadKind, StorageOperation, TrackLevel,
};
pub use roles::{
    EdgeMetrics, EdgeTotals, FabricMetrics, FabricTotals, GatewayMetrics, GatewayTotals, LaneMetrics,
    LaneTotals, NodeMetrics, NodeTotals, StorageMetrics, StorageTotals, catalogue,
};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::sync::Arc;

/// Upper bounds of every histogram's buckets, in seconds: from a stage of an idle lane to a stalled disk.
const BUCKETS_SECONDS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 10.0,
];

/// All metrics of a process. Clones share them. Several roles of one sort in a process add up.
#[derive(Clone)]
pub struct Metrics {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// No metrics yet; the roles' structs add theirs.
    #[must_use]
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new()
            .set_buckets(BUCKETS_SECONDS)
            .expect("the list of buckets is not empty");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        Self {
            recorder: Arc::new(recorder),
            handle,
        }
    }

    /// The metrics in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Sums up what the histograms have recorded. To be called every few seconds, or they grow; the admin
    /// server does so while it runs.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricType {
    /// A total that only grows.
    Counter,
    /// An amount that comes and goes.
    Gauge,
    /// How long something took, in seconds.
    Histogram,
}

impl MetricType {
    /// Its name in Prometheus.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What there is to know of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricInfo {
    /// Its name in Prometheus.
    pub name: String,
    /// Its type.
    pub metric_type: MetricType,
    /// The name of its label and the label's values, if it has one.
    pub label: Option<(&'static str, Vec<&'static str>)>,
    /// What it counts.
    pub help: &'static str,
}
