//! What all metrics share: labels, and histograms of latencies.

use prometheus_client::{
    metrics::histogram::Histogram,
    registry::{Metric, Registry},
};
use std::time::Duration;

/// Upper bounds of the buckets for operations that should take milliseconds, in seconds.
const LATENCY_BOUNDS: [f64; 15] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// A label: its name and its value.
pub type Label = (&'static str, String);

/// A label of a metric.
pub fn label(name: &'static str, value: impl Into<String>) -> Label {
    (name, value.into())
}

/// A histogram for operations that should take milliseconds, in seconds.
pub fn latency() -> Histogram {
    Histogram::new(LATENCY_BOUNDS)
}

/// Adds a metric to a registry and returns it. Its clones share its values.
pub fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

/// A duration in seconds, the unit of Prometheus.
pub fn seconds(took: Duration) -> f64 {
    took.as_secs_f64()
}
