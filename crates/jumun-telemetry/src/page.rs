//! The page of metrics: a registry with the metrics of every process, and the text format of Prometheus.

use crate::{
    metrics::{Label, label},
    process::Process,
};
use prometheus_client::{
    encoding::text::encode,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use std::fmt::Write;

/// The content type of [`page`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A registry for a process of this name. It holds the release and the use of resources.
/// `restarts` counts how often a supervisor has restarted the process.
pub fn registry(service: &str, restarts: u32) -> Registry {
    let mut registry = Registry::with_labels([("service".into(), service.to_owned().into())].into_iter());
    let build = Family::<[Label; 1], Gauge>::default();
    build.get_or_create(&[label("version", env!("CARGO_PKG_VERSION"))]).set(1);
    registry.register("jumun_build_info", "Release of the process; always 1", build);
    let restarted = Gauge::<i64>::default();
    restarted.set(restarts.into());
    registry.register("jumun_process_restarts", "Restarts by the supervisor", restarted);
    registry.register_collector(Box::new(Process::new()));
    registry
}

/// The metrics in the text format of Prometheus, version 0.0.4, which every scraper reads.
///
/// The library writes its successor, OpenMetrics, which names the type of a counter without `_total`.
pub fn page(registry: &Registry) -> String {
    let mut open = String::new();
    if let Err(error) = encode(&mut open, registry) {
        tracing::error!(%error, "failed to encode the metrics");
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
