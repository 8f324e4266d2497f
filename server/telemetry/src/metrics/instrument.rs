//! The sorts of metrics: totals and amounts that a core counted by itself, and timings recorded one by one.
//!
//! Several roles of one sort may run in a process, each with counters of its own. So an instrument adds what its
//! role's number has grown by, rather than setting the shared metric; an amount is taken back when its role ends.

use super::labels::Label;
use super::{MetricInfo, MetricType, Metrics};
use metrics::{Counter, Gauge, Histogram, Key, Level, Metadata, Recorder};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};
use std::time::Duration;

/// A plain number for each value of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PerLabel<L> {
    /// One for each of `L::ALL`, in that order.
    numbers: Vec<u64>,
    label: PhantomData<L>,
}

impl<L: Label> Default for PerLabel<L> {
    fn default() -> Self {
        Self::from_fn(|_| 0)
    }
}

impl<L: Label> PerLabel<L> {
    /// The numbers that `number` gives for each value.
    pub fn from_fn(number: impl FnMut(L) -> u64) -> Self {
        Self {
            numbers: L::ALL.iter().copied().map(number).collect(),
            label: PhantomData,
        }
    }
}

impl<L: Label> Index<L> for PerLabel<L> {
    type Output = u64;

    fn index(&self, label: L) -> &u64 {
        &self.numbers[label.index()]
    }
}

impl<L: Label> IndexMut<L> for PerLabel<L> {
    fn index_mut(&mut self, label: L) -> &mut u64 {
        &mut self.numbers[label.index()]
    }
}

/// What is common to all sorts of metrics.
pub trait Instrument: Sized {
    /// The plain number, or numbers, that a role counts.
    type Total;

    /// The metric's type.
    const METRIC_TYPE: MetricType;

    /// The label's name and values, if there is one.
    fn label() -> Option<(&'static str, Vec<&'static str>)>;

    /// The metric called `name`, in full.
    fn new(metrics: &Metrics, name: &str) -> Self;

    /// Describes the metric called `base`, without the ending that its type gives it.
    fn info(base: &str, help: &'static str) -> MetricInfo {
        let ending = match Self::METRIC_TYPE {
            MetricType::Counter => "_total",
            MetricType::Gauge | MetricType::Histogram => "",
        };
        MetricInfo {
            name: format!("{base}{ending}"),
            metric_type: Self::METRIC_TYPE,
            label: Self::label(),
            help,
        }
    }

    /// Makes the metric that `info` describes.
    fn register(metrics: &Metrics, info: &MetricInfo) -> Self {
        let name = info.name.clone().into();
        let help = info.help.into();
        match Self::METRIC_TYPE {
            MetricType::Counter => metrics.recorder.describe_counter(name, None, help),
            MetricType::Gauge => metrics.recorder.describe_gauge(name, None, help),
            MetricType::Histogram => metrics.recorder.describe_histogram(name, None, help),
        }
        Self::new(metrics, &info.name)
    }
}

/// An instrument that is told a total from time to time.
pub trait Told: Instrument {
    /// The role's number is now `total`.
    fn set(&mut self, total: &Self::Total);
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

fn key(name: &str) -> Key {
    Key::from_name(name.to_owned())
}

fn labelled_key<L: Label>(name: &str, label: L) -> Key {
    Key::from_parts(
        name.to_owned(),
        vec![metrics::Label::from_static_parts(L::KEY, label.label())],
    )
}

fn label_values<L: Label>() -> Option<(&'static str, Vec<&'static str>)> {
    Some((L::KEY, L::ALL.iter().map(|label| label.label()).collect()))
}

/// A total that only grows.
pub struct Count {
    counter: Counter,
    told: u64,
}

impl Count {
    fn with_key(metrics: &Metrics, key: &Key) -> Self {
        let counter = metrics.recorder.register_counter(key, &METADATA);
        Self { counter, told: 0 }
    }

    fn tell(&mut self, total: u64) {
        // A smaller total than before is a core that began anew: all of it has grown since.
        let growth = total.checked_sub(self.told).unwrap_or(total);
        self.counter.increment(growth);
        self.told = total;
    }
}

impl Instrument for Count {
    type Total = u64;
    const METRIC_TYPE: MetricType = MetricType::Counter;

    fn label() -> Option<(&'static str, Vec<&'static str>)> {
        None
    }

    fn new(metrics: &Metrics, name: &str) -> Self {
        Self::with_key(metrics, &key(name))
    }
}

impl Told for Count {
    fn set(&mut self, total: &u64) {
        self.tell(*total);
    }
}

/// A total for each value of a label.
pub struct CountBy<L> {
    counts: Vec<Count>,
    label: PhantomData<L>,
}

impl<L: Label> Instrument for CountBy<L> {
    type Total = PerLabel<L>;
    const METRIC_TYPE: MetricType = MetricType::Counter;

    fn label() -> Option<(&'static str, Vec<&'static str>)> {
        label_values::<L>()
    }

    fn new(metrics: &Metrics, name: &str) -> Self {
        let count = |&label| Count::with_key(metrics, &labelled_key::<L>(name, label));
        Self {
            counts: L::ALL.iter().map(count).collect(),
            label: PhantomData,
        }
    }
}

impl<L: Label> Told for CountBy<L> {
    fn set(&mut self, totals: &PerLabel<L>) {
        for (count, total) in self.counts.iter_mut().zip(&totals.numbers) {
            count.tell(*total);
        }
    }
}

/// An amount that comes and goes. Taken back when dropped.
pub struct Amount {
    gauge: Gauge,
    told: u64,
}

impl Amount {
    fn with_key(metrics: &Metrics, key: &Key) -> Self {
        let gauge = metrics.recorder.register_gauge(key, &METADATA);
        Self { gauge, told: 0 }
    }

    fn tell(&mut self, amount: u64) {
        // Differences of whole numbers below 2^53 are exact in a gauge.
        if amount >= self.told {
            self.gauge.increment((amount - self.told) as f64);
        } else {
            self.gauge.decrement((self.told - amount) as f64);
        }
        self.told = amount;
    }
}

impl Drop for Amount {
    fn drop(&mut self) {
        self.tell(0);
    }
}

impl Instrument for Amount {
    type Total = u64;
    const METRIC_TYPE: MetricType = MetricType::Gauge;

    fn label() -> Option<(&'static str, Vec<&'static str>)> {
        None
    }

    fn new(metrics: &Metrics, name: &str) -> Self {
        Self::with_key(metrics, &key(name))
    }
}

impl Told for Amount {
    fn set(&mut self, amount: &u64) {
        self.tell(*amount);
    }
}

/// Durations, as a histogram in seconds.
pub struct Timing {
    histogram: Histogram,
}

impl Timing {
    /// Something took `duration`.
    pub fn record(&self, duration: Duration) {
        self.histogram.record(duration);
    }
}

impl Instrument for Timing {
    type Total = ();
    const METRIC_TYPE: MetricType = MetricType::Histogram;

    fn label() -> Option<(&'static str, Vec<&'static str>)> {
        None
    }

    fn new(metrics: &Metrics, name: &str) -> Self {
        let histogram = metrics.recorder.register_histogram(&key(name), &METADATA);
        Self { histogram }
    }
}

/// Durations for each value of a label, as histograms in seconds.
pub struct TimingBy<L> {
    histograms: Vec<Histogram>,
    label: PhantomData<L>,
}

impl<L: Label> TimingBy<L> {
    /// What `label` names took `duration`.
    pub fn record(&self, label: L, duration: Duration) {
        self.histograms[label.index()].record(duration);
    }
}

impl<L: Label> Instrument for TimingBy<L> {
    type Total = ();
    const METRIC_TYPE: MetricType = MetricType::Histogram;

    fn label() -> Option<(&'static str, Vec<&'static str>)> {
        label_values::<L>()
    }

    fn new(metrics: &Metrics, name: &str) -> Self {
        let histogram = |&label| {
            let key = labelled_key::<L>(name, label);
            metrics.recorder.register_histogram(&key, &METADATA)
        };
        Self {
            histograms: L::ALL.iter().map(histogram).collect(),
            label: PhantomData,
        }
    }
}

macro_rules! opaque_debug {
    ($($name:ident $(<$label:ident>)?),*) => {
        $(impl$(<$label>)? fmt::Debug for $name$(<$label>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        })*
    };
}

opaque_debug!(Count, CountBy<L>, Amount, Timing, TimingBy<L>);
