//! Limits of telemetry.

use std::time::Duration;

/// Spans that wait to be exported. One more is dropped.
pub const SPANS_WAITING_MAX: usize = 8_192;

/// Spans that are exported in one go.
pub const SPANS_AT_ONCE: usize = 512;

/// How long spans wait for others to be exported with.
pub const SPAN_EXPORT_EVERY: Duration = Duration::from_secs(1);

/// How long a collector may take to accept spans.
pub const SPAN_EXPORT_TIME_LIMIT: Duration = Duration::from_secs(5);
