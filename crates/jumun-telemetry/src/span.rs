//! Spans: pieces of work of sampled traces, exported over OTLP (http/protobuf) to a collector.
//!
//! Off by default. Spans wait for export in a bounded queue. A full queue drops and counts further spans, so a slow or
//! unavailable collector blocks no work. The OpenTelemetry library exports them, behind the feature `otlp`.

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

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// This build has no exporter.
    #[error("this build cannot export spans: it has no feature `otlp`")]
    NotBuilt,
    /// The exporter cannot be created.
    #[error("spans cannot be exported to {endpoint}: {why}")]
    Exporter {
        /// The collector.
        endpoint: String,
        /// The error of the library.
        why: String,
    },
}

jumun_text::explained! { TelemetryError {
    Self::NotBuilt => "otlp-not-built",
        "Build with --features otlp, or remove telemetry.otlp and OTEL_EXPORTER_OTLP_ENDPOINT.";
    Self::Exporter { .. } => "otlp-unusable",
        "Correct telemetry.otlp (http://host:4318) and the OTEL_EXPORTER_OTLP variables.";
} }

/// The role of a span in a call or an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It answers a request.
    Server,
    /// It calls another service.
    Client,
    /// It handles an event.
    Consumer,
    /// It involves no other process.
    Internal,
}

/// A finished piece of work.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its trace and its own id.
    pub context: TraceContext,
    /// The span that caused it.
    pub parent: Option<SpanId>,
    /// Its role.
    pub kind: Kind,
    /// A short name with few distinct values: `POST /orders`.
    pub name: Cow<'static, str>,
    /// Its duration. It ends when it is recorded.
    pub took: Duration,
    /// Further attributes. Of what a client sent, only ids.
    pub attributes: Vec<(&'static str, Cow<'static, str>)>,
    /// Whether it failed.
    pub is_failed: bool,
}

/// Records spans. Cloning is cheap. The default tracer records nothing and costs nothing.
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
    /// Draws whether to sample a trace that begins here.
    pub fn samples(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| fastrand::f64() < inner.sample)
    }

    /// Whether spans of this trace are recorded.
    pub fn takes(&self, trace: &TraceContext) -> bool {
        self.0.is_some() && trace.is_sampled()
    }

    /// Records a span that ends now, if its trace is sampled.
    pub fn record(&self, trace: &TraceContext, span: impl FnOnce() -> Span) {
        let Some(inner) = self.0.as_ref().filter(|_| trace.is_sampled()) else { return };
        if inner.queue.try_send((span(), Timestamp::now())).is_err() {
            inner.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many spans the full queue dropped or the collector did not accept.
    pub fn lost(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.lost.load(Ordering::Relaxed))
    }

    /// Exports the queued spans, for the time limit at most. Call it once, at the end.
    pub async fn finish(&self, time_limit: Duration) {
        let Some(inner) = &self.0 else { return };
        inner.stop.cancel();
        let exporting = inner.exporting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(exporting) = exporting
            && tokio::time::timeout(time_limit, exporting).await.is_err()
        {
            tracing::warn!("the last spans were not exported in time and are lost; nothing else is affected");
        }
    }
}

#[cfg(not(feature = "otlp"))]
impl Tracer {
    /// Fails: this build has no exporter.
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
        /// Starts a task that exports to a collector, on the current runtime.
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

    /// Exports spans in batches. After the stop it exports the rest of the queue and ends.
    async fn export(
        exporter: SpanExporter,
        mut spans: mpsc::Receiver<(Span, Timestamp)>,
        lost: Arc<AtomicU64>,
        stop: CancellationToken,
    ) {
        let scope = InstrumentationScope::builder("jumun").with_version(env!("CARGO_PKG_VERSION")).build();
        let mut batch = Vec::with_capacity(SPANS_AT_ONCE);
        let mut is_failing = false;
        loop {
            let first = stop.run_until_cancelled(spans.recv()).await.flatten();
            let Some(first) = first.or_else(|| spans.try_recv().ok()) else { return };
            batch.push(first);
            if spans.len() < SPANS_AT_ONCE {
                stop.run_until_cancelled(tokio::time::sleep(SPAN_EXPORT_EVERY)).await; // let the batch fill
            }
            while batch.len() < SPANS_AT_ONCE
                && let Ok(span) = spans.try_recv()
            {
                batch.push(span);
            }
            let spans_of_batch = batch.len() as u64;
            let data = batch.drain(..).map(|(span, ended)| data(span, ended, &scope)).collect();
            let exported = exporter.export(data).await;
            match (&exported, is_failing) {
                (Err(error), false) => {
                    tracing::warn!(%error, "spans cannot be exported and are lost; nothing else is affected");
                }
                (Ok(()), true) => tracing::info!("span export works again"),
                _ => {}
            }
            is_failing = exported.is_err();
            if is_failing {
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
