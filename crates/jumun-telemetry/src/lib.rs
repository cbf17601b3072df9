//! Telemetry: what a process tells about itself. Metrics at `/actuator/prometheus`, the context of a trace through calls and
//! events, and spans of the traces that are sampled.
//!
//! The hot path pays for it in nanoseconds: every counter and histogram is looked up once, when it is made, and kept
//! where it is counted; nobody formats an id that no line shows; and spans are made for sampled traces only.

mod admission;
mod config;
mod http;
pub mod limits;
mod process;
mod span;
mod trace;

pub use admission::AdmissionMetrics;
pub use config::{OtlpConfig, TelemetryConfig};
pub use http::{HttpMetrics, Route, Traffic};
pub use span::{Kind, Span, TelemetryError, Tracer};
pub use trace::{
    Origin, REQUEST_ID, SpanId, StoredTrace, TRACEPARENT, TRACESTATE, TraceContext, TraceId, given_request_id,
};

use prometheus_client::{
    encoding::text::encode,
    metrics::{family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{fmt::Write, time::Duration};

/// The content type of [`page`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The ranges of everything that should take milliseconds, in seconds.
const LATENCY_BOUNDS: [f64; 15] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// One label.
pub type Label = (&'static str, String);

/// A label of a metric.
pub fn label(name: &'static str, value: impl Into<String>) -> Label {
    (name, value.into())
}

/// A histogram of what should take milliseconds, in seconds.
pub fn latency() -> Histogram {
    Histogram::new(LATENCY_BOUNDS)
}

/// An empty page of metrics of a process of this name: what it is, and what it takes of the machine.
/// `restarts` is how often a supervisor had to start it again.
pub fn registry(service: &str, restarts: u32) -> Registry {
    let mut registry = Registry::with_labels([("service".into(), service.to_owned().into())].into_iter());
    let build = Family::<[Label; 1], Gauge>::default();
    build.get_or_create(&[label("version", env!("CARGO_PKG_VERSION"))]).set(1);
    registry.register("jumun_build_info", "Which release this is; always 1", build);
    let restarted = Gauge::<i64>::default();
    restarted.set(restarts.into());
    registry.register("jumun_process_restarts", "How often the supervisor had to start it again", restarted);
    registry.register_collector(Box::new(process::Process::new()));
    registry
}

/// The metrics in the text format of Prometheus, version 0.0.4, which everything that scrapes can read. The library writes
/// its successor, OpenMetrics, where a counter's type is named without `_total`.
pub fn page(registry: &Registry) -> String {
    let mut open = String::new();
    if let Err(error) = encode(&mut open, registry) {
        tracing::error!(%error, "the metrics cannot be written");
    }
    let mut page = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        if line.starts_with("# HELP ") {
            help = Some(line);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap_or((kind, "untyped"));
            let total = if kind == "counter" { "_total" } else { "" };
            let text =
                help.take().and_then(|help| help.strip_prefix("# HELP ")?.strip_prefix(name)).unwrap_or_default();
            let _ = writeln!(page, "# HELP {name}{total}{text}\n# TYPE {name}{total} {kind}");
        } else if !line.starts_with("# ") {
            page.push_str(line);
            page.push('\n');
        }
    }
    page
}

/// In seconds, as Prometheus wants it.
pub fn seconds(took: Duration) -> f64 {
    took.as_secs_f64()
}
