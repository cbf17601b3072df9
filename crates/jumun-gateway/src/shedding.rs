//! Load shedding of the gateway: the problems for refused requests, their counters and log lines.

use jumun_http::{Code, Problem, Shedding};
use jumun_telemetry::AdmissionMetrics;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use std::time::Duration;

/// The kind of work that the gateway admits and sheds, in metrics and log lines.
const REQUESTS: &str = "requests";

/// Counts refused requests by reason, and logs when shedding begins and ends.
pub(crate) struct LoadShedding {
    metrics: AdmissionMetrics,
    shedding: Shedding,
    /// The slots of a service are taken.
    service: Counter,
    /// The slots of the gateway are taken.
    gateway: Counter,
    /// A client exceeds its rate limit.
    rate: Counter,
}

impl LoadShedding {
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let metrics = AdmissionMetrics::default();
        metrics.register(registry);
        let [service, gateway, rate] = ["service", "gateway", "rate"].map(|why| metrics.shed(REQUESTS, why));
        Self { metrics, shedding: Shedding::default(), service, gateway, rate }
    }

    /// Refuses a request because the slots of all services together are taken.
    pub(crate) fn gateway_overloaded(&self, gateway: &str) -> Problem {
        self.overloaded(&self.gateway, gateway)
    }

    /// Refuses a request because the slots of its service are taken.
    pub(crate) fn service_overloaded(&self, service: &str) -> Problem {
        self.overloaded(&self.service, service)
    }

    fn overloaded(&self, counter: &Counter, process: &str) -> Problem {
        counter.inc();
        self.shedding.one_more(REQUESTS, process);
        let why = format!("{process} has too many requests in progress. Nothing was done; try again later.");
        Problem::new(Code::Overloaded, why)
    }

    /// Refuses a request because its client exceeds its rate limit; the client may retry after `wait`.
    pub(crate) fn too_many_requests(&self, wait: Duration) -> Problem {
        self.rate.inc();
        self.shedding.one_more(REQUESTS, "rate");
        let why = "This client exceeds its rate limit. Nothing was done; try again after Retry-After seconds.";
        Problem { wait: Some(wait), ..Problem::new(Code::TooManyRequests, why) }
    }

    /// How many requests were shed since the last call. Call it once a second.
    pub(crate) fn shed_since_last(&self) -> u64 {
        self.shedding.look()
    }

    /// Sets the gauges before a scrape.
    pub(crate) fn set_in_progress(&self, requests: u32) {
        self.metrics.set(REQUESTS, requests, 0);
    }
}
