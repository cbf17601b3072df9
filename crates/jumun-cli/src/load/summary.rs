//! The summary of a load, as text and as JSON.

use super::{
    limits::LATE,
    tally::{Tally, share},
};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::time::Duration;

/// Kinds of failures that are printed; further kinds are only counted.
const KINDS_SHOWN_MAX: usize = 20;

/// The results of a load.
pub(super) struct Summary {
    /// What was counted, the acknowledged orders among it.
    pub(super) tally: Tally,
    /// From the first request to the last response.
    pub(super) elapsed: Duration,
    /// Processor time of the generator in this time.
    pub(super) cpu: Duration,
    /// Whether the load was stopped early.
    pub(super) was_stopped: bool,
    /// The address of the requests.
    pub(super) target: String,
    /// The requests and their pace.
    pub(super) what: String,
}

impl Summary {
    fn cpu_us_per_transaction(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.transactions().max(1.0)
    }

    #[expect(clippy::cast_precision_loss, reason = "printed with a few digits")]
    fn transactions(&self) -> f64 {
        self.tally.transactions() as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "printed with a few digits")]
    fn megabytes(&self) -> f64 {
        self.tally.bytes as f64 / 1e6
    }

    fn seconds(&self) -> f64 {
        self.elapsed.as_secs_f64().max(1e-9)
    }

    /// The text, in the format of siege.
    pub(super) fn to_text(&self, system: &str) -> String {
        let tally = &self.tally;
        let mut lines = vec![format!("{system}: {} to {}", self.what, self.target), String::new()];
        let mut add = |name: &str, value: String, unit: &str| {
            lines.push(format!("{:<26}{value:>12} {unit}", format!("{name}:")).trim_end().to_owned());
        };
        let decimal = |value: f64| format!("{value:.2}");
        add("Transactions", tally.transactions().to_string(), "hits");
        add("Availability", percent(tally.availability()), "%");
        add("Elapsed time", decimal(self.elapsed.as_secs_f64()), "secs");
        add("Data transferred", decimal(self.megabytes()), "MB");
        for (name, quantile) in QUANTILES {
            add(&format!("Response time {name}"), decimal(ms(&tally.latency, quantile)), "ms");
        }
        add("Transaction rate", decimal(self.transactions() / self.seconds()), "trans/sec");
        add("Throughput", decimal(self.megabytes() / self.seconds()), "MB/sec");
        add("Concurrency", decimal(tally.busy.as_secs_f64() / self.seconds()), "");
        add("Successful transactions", tally.successful.to_string(), "");
        add("Failed transactions", tally.failed().to_string(), "");
        for (kind, count) in tally.failed.iter().take(KINDS_SHOWN_MAX) {
            add(&format!("  {kind}"), count.to_string(), "");
        }
        if let more @ 1.. = tally.failed.len().saturating_sub(KINDS_SHOWN_MAX) {
            add("  other kinds", more.to_string(), "");
        }
        add("Longest transaction", decimal(ms_of(tally.latency.max())), "ms");
        add("Shortest transaction", decimal(shortest_ms(&tally.latency)), "ms");
        add("Orders acknowledged", tally.orders.acknowledged.made.len().to_string(), "");
        if tally.canceled > 0 {
            add("Orders cancelled", tally.canceled.to_string(), "");
        }
        if tally.watched.count() + tally.watched.missed > 0 {
            add("Orders watched", tally.watched.count().to_string(), "");
            for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
                add(&format!("View lag {name}"), decimal(ms(&tally.watched.lag, quantile)), "ms");
            }
        }
        add("Load generator CPU", format!("{:.1}", self.cpu_us_per_transaction()), "µs/trans");
        lines.extend(self.warnings().into_iter().map(|warning| format!("! {warning}")));
        lines.join("\n")
    }

    /// Caveats about the figures.
    fn warnings(&self) -> Vec<String> {
        let tally = &self.tally;
        let mut warnings = Vec::new();
        if self.was_stopped {
            warnings.push("the load was stopped early".to_owned());
        }
        if tally.not_sent > 0 {
            let part = 100.0 * share(tally.not_sent, tally.not_sent + tally.transactions());
            warnings.push(format!(
                "{} requests ({part:.1} %) were NOT SENT when they were due: too many others were in flight \
                 (--in-flight). They count as failed",
                tally.not_sent
            ));
        }
        let late = tally.late.value_at_quantile(0.99);
        if Duration::from_micros(late) > LATE {
            warnings.push(format!(
                "the load generator itself was late: 1 % of the requests were sent {:.1} ms or more after they were \
                 due, and their response times include that; lower the rate, or use another machine",
                ms_of(late)
            ));
        }
        if tally.unanswered > 0 {
            warnings.push(format!(
                "{} requests got no response: each may have taken effect, and this audit does not cover them; \
                 `jumun audit` checks all orders",
                tally.unanswered
            ));
        }
        if tally.watched.never_finished > 0 {
            warnings.push(format!(
                "{} watched orders were not shown as finished in time (--wait)",
                tally.watched.never_finished
            ));
        }
        if tally.watched.missed > 0 {
            warnings.push(format!("{} orders were not watched: too many others were watched", tally.watched.missed));
        }
        if tally.orders.not_kept > 0 {
            warnings.push(format!(
                "{} acknowledged orders cannot be audited: the generator had no memory for their ids",
                tally.orders.not_kept
            ));
        }
        warnings
    }

    /// The JSON. Times are in milliseconds unless their key names another unit.
    pub(super) fn to_json(&self, system: &str, audit: Option<Value>, exit_code: u8) -> Value {
        let tally = &self.tally;
        let times = |of: &Histogram<u64>| {
            let mut times: serde_json::Map<_, _> =
                QUANTILES.iter().map(|(name, quantile)| ((*name).to_owned(), json!(ms(of, *quantile)))).collect();
            times.insert("max".to_owned(), json!(ms_of(of.max())));
            times.insert("min".to_owned(), json!(shortest_ms(of)));
            Value::Object(times)
        };
        json!({
            "system": system,
            "target": self.target,
            "what": self.what,
            "wasStopped": self.was_stopped,
            "transactions": tally.transactions(),
            "availability": tally.availability(),
            "elapsedSeconds": self.elapsed.as_secs_f64(),
            "bytes": tally.bytes,
            "latencyMs": times(&tally.latency),
            "transactionsPerSecond": self.transactions() / self.seconds(),
            "megabytesPerSecond": self.megabytes() / self.seconds(),
            "concurrency": tally.busy.as_secs_f64() / self.seconds(),
            "successful": tally.successful,
            "failed": tally.failed(),
            "failures": tally.failed,
            "notSent": tally.not_sent,
            "unanswered": tally.unanswered,
            "orders": tally.orders.acknowledged.made.len(),
            "cancelled": tally.canceled,
            "view": {
                "watched": tally.watched.count(),
                "neverFinished": tally.watched.never_finished,
                "notWatched": tally.watched.missed,
                "lagMs": times(&tally.watched.lag),
            },
            "generator": {
                "cpuMicrosPerTransaction": self.cpu_us_per_transaction(),
                "lateMs": times(&tally.late),
            },
            "warnings": self.warnings(),
            "audit": audit,
            "exitCode": exit_code,
        })
    }
}

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

fn ms(times: &Histogram<u64>, quantile: f64) -> f64 {
    ms_of(if times.is_empty() { 0 } else { times.value_at_quantile(quantile) })
}

fn shortest_ms(times: &Histogram<u64>) -> f64 {
    ms_of(if times.is_empty() { 0 } else { times.min() })
}

#[expect(clippy::cast_precision_loss, reason = "at most an hour")]
fn ms_of(micros: u64) -> f64 {
    micros as f64 / 1e3
}

/// A percentage, rounded down: 100.00 only if the share is complete.
fn percent(share: f64) -> String {
    format!("{:.2}", (share * 10_000.0).floor() / 100.0)
}
