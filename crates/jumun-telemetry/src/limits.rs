//! Limits of telemetry.

use std::time::Duration;

/// Spans in the export queue. Further spans are dropped.
pub const SPANS_WAITING_MAX: usize = 8_192;

/// Spans in one export batch.
pub const SPANS_AT_ONCE: usize = 512;

/// How long the exporter waits for an incomplete batch to fill.
pub const SPAN_EXPORT_EVERY: Duration = Duration::from_secs(1);

/// How long a collector may take to accept a batch.
pub const SPAN_EXPORT_TIME_LIMIT: Duration = Duration::from_secs(5);

/// Seconds that one line of the log summarises. A line each second would push the rest of the log out within a day.
pub const SUMMARY_SECONDS: u64 = 10;
