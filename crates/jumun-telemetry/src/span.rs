//! Spans: pieces of work of sampled traces, exported over OTLP (http/protobuf) to a collector.
//!
//! Off by default. What is exported waits in a bounded queue; what does not fit is dropped and counted, so that a collector
//! that is slow or away holds nothing up. The export itself is the library's; it is behind the feature `otlp`.

use crate::{
    config::OtlpConfig,
    trace::{SpanId, TraceContext},
};
use jiff::Timestamp;
use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// Why there is no telemetry.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// This build cannot.
    #[error("spans cannot be exported by this build: it was made without the feature `otlp`")]
    NotBuilt,
    /// The exporter cannot be made.
    #[error("spans cannot be exported to {endpoint}: {why}")]
    Exporter {
        /// Where to.
        endpoint: String,
        /// What the library said.
        why: String,
    },
}

impl TelemetryError {
    /// A code that stays the same over releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotBuilt => "otlp-not-built",
            Self::Exporter { .. } => "otlp-unusable",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NotBuilt => {
                "Build with --features otlp, or leave out telemetry.otlp and OTEL_EXPORTER_OTLP_ENDPOINT."
            }
            Self::Exporter { .. } => "Correct telemetry.otlp (http://host:4318) and the OTEL_EXPORTER_OTLP variables.",
        }
    }
}

/// What part in a call, or in an event, a piece of work has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It answers a request.
    Server,
    /// It asks a neighbour.
    Client,
    /// It hears an event.
    Consumer,
    /// It stays within the process.
    Internal,
}

/// A piece of work that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its place in the trace.
    pub context: TraceContext,
    /// What caused it.
    pub parent: Option<SpanId>,
    /// Its part.
    pub kind: Kind,
    /// What it is, of few words: `POST /orders`.
    pub name: Cow<'static, str>,
    /// How long it took; it ends now.
    pub took: Duration,
    /// What else is known of it. Never what a client sent, but for ids.
    pub attributes: Vec<(&'static str, Cow<'static, str>)>,
    /// Whether it failed.
    pub is_failed: bool,
}

/// Takes spans. Cheap to clone; the default one takes none and costs nothing.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Inner>>);

struct Inner {
    sample: f64,
    queue: mpsc::Sender<(Span, Timestamp)>,
    lost: Arc<AtomicU64>,
    stop: CancellationToken,
    exporting: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("is_on", &self.0.is_some()).finish()
    }
}

impl Tracer {
    /// Whether a trace that begins here is recorded.
    pub fn samples(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| fastrand::f64() < inner.sample)
    }

    /// Whether spans of this trace are taken.
    pub fn takes(&self, trace: &TraceContext) -> bool {
        self.0.is_some() && trace.is_sampled()
    }

    /// Takes a span that ends now, if its trace is recorded.
    pub fn record(&self, trace: &TraceContext, span: impl FnOnce() -> Span) {
        let Some(inner) = self.0.as_ref().filter(|_| trace.is_sampled()) else { return };
        if inner.queue.try_send((span(), Timestamp::now())).is_err() {
            inner.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many spans did not fit into the queue, or were not taken by the collector.
    pub fn lost(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.lost.load(Ordering::Relaxed))
    }

    /// Exports what there is, no longer than the limit. To be called once, at the end.
    pub async fn finish(&self, time_limit: Duration) {
        let Some(inner) = &self.0 else { return };
        inner.stop.cancel();
        let exporting = inner.exporting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(exporting) = exporting
            && tokio::time::timeout(time_limit, exporting).await.is_err()
        {
            tracing::warn!("the last spans could not be exported in time; they are lost, nothing else is");
        }
    }
}

#[cfg(not(feature = "otlp"))]
impl Tracer {
    /// Exports to a collector.
    pub fn start(_: &str, _: &str, _: &OtlpConfig) -> Result<Self, TelemetryError> {
        Err(TelemetryError::NotBuilt)
    }
}

#[cfg(feature = "otlp")]
mod otlp {
    use super::{Inner, Kind, OtlpConfig, Span, TelemetryError, Tracer};
    use crate::limits::{SPAN_EXPORT_EVERY, SPAN_EXPORT_TIME_LIMIT, SPANS_AT_ONCE, SPANS_WAITING_MAX};
    use jiff::Timestamp;
    use opentelemetry::{
        InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
        trace::{SpanContext, SpanKind, Status, TraceState},
    };
    use opentelemetry_http::hyper::HyperClient;
    use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
    use opentelemetry_sdk::{
        Resource,
        trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
    };
    use std::sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    };
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    impl Tracer {
        /// Exports to a collector, from a task of the runtime that runs.
        pub fn start(system: &str, service: &str, config: &OtlpConfig) -> Result<Self, TelemetryError> {
            let exporter = SpanExporter::builder()
                .with_http()
                .with_http_client(HyperClient::with_default_connector(SPAN_EXPORT_TIME_LIMIT, None))
                .with_protocol(Protocol::HttpBinary)
                .with_timeout(SPAN_EXPORT_TIME_LIMIT)
                .with_endpoint(&config.endpoint)
                .build();
            let endpoint = config.endpoint.clone();
            let mut exporter =
                exporter.map_err(|error| TelemetryError::Exporter { endpoint, why: error.to_string() })?;
            let more = [
                KeyValue::new("service.namespace", system.to_owned()),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            ];
            let resource = Resource::builder().with_service_name(service.to_owned()).with_attributes(more).build();
            exporter.set_resource(&resource);
            let (queue, spans) = mpsc::channel(SPANS_WAITING_MAX);
            let (lost, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
            let exporting = Mutex::new(Some(tokio::spawn(export(exporter, spans, lost.clone(), stop.clone()))));
            Ok(Self(Some(Arc::new(Inner { sample: config.sample, queue, lost, stop, exporting }))))
        }
    }

    /// Sends what there is, a batch at a time, until it is told to stop and everything is sent.
    async fn export(
        exporter: SpanExporter,
        mut spans: mpsc::Receiver<(Span, Timestamp)>,
        lost: Arc<AtomicU64>,
        stop: CancellationToken,
    ) {
        let scope = InstrumentationScope::builder("jumun").with_version(env!("CARGO_PKG_VERSION")).build();
        let mut batch = Vec::with_capacity(SPANS_AT_ONCE);
        let mut is_away = false;
        loop {
            let first = stop.run_until_cancelled(spans.recv()).await.flatten();
            let Some(first) = first.or_else(|| spans.try_recv().ok()) else { return };
            batch.push(first);
            if spans.len() < SPANS_AT_ONCE {
                stop.run_until_cancelled(tokio::time::sleep(SPAN_EXPORT_EVERY)).await; // company comes soon
            }
            while batch.len() < SPANS_AT_ONCE
                && let Ok(span) = spans.try_recv()
            {
                batch.push(span);
            }
            let spans_of_batch = batch.len() as u64;
            let data = batch.drain(..).map(|(span, ended)| data(span, ended, &scope)).collect();
            let exported = exporter.export(data).await;
            match (&exported, is_away) {
                (Err(error), false) => {
                    tracing::warn!(%error, "spans cannot be exported; they are lost, nothing else is");
                }
                (Ok(()), true) => tracing::info!("spans are exported again"),
                _ => {}
            }
            is_away = exported.is_err();
            if is_away {
                lost.fetch_add(spans_of_batch, Ordering::Relaxed);
            }
        }
    }

    fn data(span: Span, ended: Timestamp, scope: &InstrumentationScope) -> SpanData {
        let Span { context, parent, kind, name, took, attributes, is_failed } = span;
        let (trace_id, span_id) = (TraceId::from_bytes(context.trace_id), SpanId::from_bytes(context.span_id));
        let end_time = ended.into();
        SpanData {
            span_context: SpanContext::new(
                trace_id,
                span_id,
                TraceFlags::new(context.flags),
                false,
                TraceState::default(),
            ),
            parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from_bytes),
            parent_span_is_remote: matches!(kind, Kind::Server | Kind::Consumer),
            span_kind: match kind {
                Kind::Server => SpanKind::Server,
                Kind::Client => SpanKind::Client,
                Kind::Consumer => SpanKind::Consumer,
                Kind::Internal => SpanKind::Internal,
            },
            name,
            start_time: end_time - took,
            end_time,
            attributes: attributes.into_iter().map(|(name, value)| KeyValue::new(name, value)).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if is_failed { Status::error("") } else { Status::Unset },
            instrumentation_scope: scope.clone(),
        }
    }
}
