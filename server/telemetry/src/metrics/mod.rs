//! The metrics: which there are, and how totals of a core become numbers that Prometheus reads.
//!
//! One struct per role, handed down at construction. To add a metric, add a line in `roles.rs`: the field, its
//! help text, its place in [`catalogue`] follow from it. Labels are closed enums (`labels.rs`), never ids.

mod instrument;
mod labels;
mod roles;

pub use instrument::{Amount, Count, CountBy, Instrument, PerLabel, Timing, TimingBy, Told};
pub use labels::{FabricDrop, FabricRefusal, GatewayStage, Label, LaneStage, StorageOperation};
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

#[cfg(test)]
mod tests {
    use super::*;
    use myriad_wire::CloseReason;
    use std::collections::BTreeSet;
    use std::time::Duration;

    /// The value of the time series `series`, named with its labels, in what is rendered.
    fn value(metrics: &Metrics, series: &str) -> Option<f64> {
        let text = metrics.render();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().expect("a number"))
    }

    #[test]
    fn several_lanes_of_a_process_add_up() {
        let metrics = Metrics::new();
        let mut lanes = [LaneMetrics::new(&metrics), LaneMetrics::new(&metrics)];
        let totals = |ticks, entities| LaneTotals {
            ticks,
            entities,
            ..LaneTotals::default()
        };
        lanes[0].set(&totals(10, 500));
        lanes[1].set(&totals(7, 300));
        lanes[0].set(&totals(20, 450));
        assert_eq!(value(&metrics, "myriad_lane_ticks_total"), Some(27.0));
        assert_eq!(value(&metrics, "myriad_lane_entities"), Some(750.0));
        let [first, second] = lanes;
        drop(first);
        assert_eq!(
            value(&metrics, "myriad_lane_entities"),
            Some(300.0),
            "the first has ended"
        );
        assert_eq!(value(&metrics, "myriad_lane_ticks_total"), Some(27.0));
        drop(second);
        assert_eq!(value(&metrics, "myriad_lane_entities"), Some(0.0));
    }

    #[test]
    fn a_core_that_begins_anew_never_lowers_a_total() {
        let metrics = Metrics::new();
        let mut storage = StorageMetrics::new(&metrics);
        for saved in [100, 130, 5, 6] {
            storage.set(&StorageTotals {
                saved,
                ..StorageTotals::default()
            });
        }
        assert_eq!(value(&metrics, "myriad_storage_saved_total"), Some(136.0));
    }

    #[test]
    fn a_label_has_all_its_values_from_the_start() {
        let metrics = Metrics::new();
        let mut gateway = GatewayMetrics::new(&metrics);
        let mut totals = GatewayTotals::default();
        totals.closes[CloseReason::NotYours] = 3;
        gateway.set(&totals);
        for &reason in CloseReason::ALL {
            let series = format!("myriad_gateway_closes_total{{reason=\"{}\"}}", reason.label());
            let expected = if reason == CloseReason::NotYours { 3.0 } else { 0.0 };
            assert_eq!(value(&metrics, &series), Some(expected), "{series}");
        }
    }

    #[test]
    fn timings_are_histograms_by_stage() {
        let metrics = Metrics::new();
        let lane = LaneMetrics::new(&metrics);
        lane.stage_seconds
            .record(LaneStage::Simulate, Duration::from_millis(3));
        lane.stage_seconds
            .record(LaneStage::Simulate, Duration::from_millis(30));
        lane.tick_seconds.record(Duration::from_secs(20));
        metrics.upkeep();
        let bucket = |stage, bound| {
            let series = format!("myriad_lane_stage_seconds_bucket{{stage=\"{stage}\",le=\"{bound}\"}}");
            value(&metrics, &series)
        };
        assert_eq!(bucket("simulate", "0.0025"), Some(0.0));
        assert_eq!(bucket("simulate", "0.005"), Some(1.0));
        assert_eq!(bucket("simulate", "+Inf"), Some(2.0));
        let sum = value(&metrics, "myriad_lane_stage_seconds_sum{stage=\"simulate\"}");
        assert!((sum.expect("recorded") - 0.033).abs() < 1e-9);
        assert_eq!(value(&metrics, "myriad_lane_tick_seconds_count"), Some(1.0));
    }

    #[test]
    fn the_catalogue_is_what_prometheus_is_told() {
        let metrics = Metrics::new();
        let lane = LaneMetrics::new(&metrics);
        let gateway = GatewayMetrics::new(&metrics);
        let storage = StorageMetrics::new(&metrics);
        let _others = (
            EdgeMetrics::new(&metrics),
            FabricMetrics::new(&metrics),
            NodeMetrics::new(&metrics),
        );
        // A histogram is rendered once something was recorded.
        lane.stage_seconds.record(LaneStage::Ingest, Duration::ZERO);
        lane.tick_seconds.record(Duration::ZERO);
        gateway.stage_seconds.record(GatewayStage::Ingest, Duration::ZERO);
        gateway.tick_seconds.record(Duration::ZERO);
        storage.seconds.record(StorageOperation::Load, Duration::ZERO);

        let text = metrics.render();
        let rendered: BTreeSet<&str> = text.lines().filter(|line| line.starts_with("# ")).collect();
        let mut expected = BTreeSet::new();
        for info in catalogue() {
            expected.insert(format!("# HELP {} {}", info.name, info.help));
            expected.insert(format!("# TYPE {} {}", info.name, info.metric_type.name()));
        }
        assert_eq!(rendered, expected.iter().map(String::as_str).collect());
    }

    #[test]
    fn names_are_unique_and_helps_are_sentences() {
        let catalogue = catalogue();
        let names: BTreeSet<&str> = catalogue.iter().map(|info| info.name.as_str()).collect();
        assert_eq!(names.len(), catalogue.len());
        for info in &catalogue {
            assert!(info.name.starts_with("myriad_"), "{}", info.name);
            let sentence = info.help.ends_with('.') && !info.help.starts_with(char::is_lowercase);
            assert!(sentence, "{}: {}", info.name, info.help);
            let values = info.label.iter().flat_map(|(_, values)| values);
            assert_eq!(
                values.clone().collect::<BTreeSet<_>>().len(),
                values.count(),
                "{}",
                info.name
            );
        }
    }
}
