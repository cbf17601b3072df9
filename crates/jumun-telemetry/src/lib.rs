//! Telemetry of a process: metrics at `/actuator/prometheus`, trace context through calls and events, spans of sampled
//! traces.
//!
//! # Why it costs nanoseconds
//!
//! * A counter or histogram is looked up once, when it is created. The code that counts keeps the handle.
//! * An id is formatted only for a log line that shows it.
//! * Spans are created for sampled traces only.

mod admission;
mod config;
mod http;
pub mod limits;
mod metrics;
mod page;
mod process;
mod span;
mod trace;

pub use admission::AdmissionMetrics;
pub use config::{OtlpConfig, TelemetryConfig};
pub use http::{HttpMetrics, Route, Summary, Traffic, Window};
pub use metrics::{Label, label, latency, registered, seconds};
pub use page::{CONTENT_TYPE, page, registry};
pub use span::{Kind, Span, TelemetryError, Tracer};
pub use trace::{
    Origin, REQUEST_ID, SpanId, StoredTrace, TRACEPARENT, TRACESTATE, TraceContext, TraceId, given_request_id,
};
