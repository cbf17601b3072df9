//! Metrics of HTTP requests, for a service and for the gateway.

use crate::{
    limits::SUMMARY_SECONDS,
    metrics::{Label, label, latency, registered, seconds},
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Requests by method, route and status, and their latency. Clones share their values.
#[derive(Debug, Clone)]
pub struct HttpMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests: Family<[Label; 3], Counter>,
    latency: Family<[Label; 2], Histogram, fn() -> Histogram>,
    routes: Mutex<Vec<Route>>,
    slowest_us: AtomicU64,
}

/// One method of one route. Cloning is cheap, and counting looks up no label.
#[derive(Debug, Clone)]
pub struct Route(Arc<RouteInner>);

#[derive(Debug)]
struct RouteInner {
    metrics: HttpMetrics,
    method: String,
    route: String,
    latency: Histogram,
    /// Whether its requests are traffic. Probes and scrapes are not: they come to an idle service, too.
    is_traffic: bool,
    /// By status; a route has few.
    answered: Mutex<Vec<(u16, Counter)>>,
}

/// Sums up the traffic of [`SUMMARY_SECONDS`] for one line of the log.
#[derive(Debug)]
pub struct Summary {
    metrics: HttpMetrics,
    /// The sums at the end of the last window.
    before: Traffic,
    turned_away: u64,
    seconds: u64,
}

/// What [`Summary`] says of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// What was answered in it.
    pub traffic: Traffic,
    /// Requests turned away in it.
    pub turned_away: u64,
}

/// The traffic of all routes but those of probes and scrapes, as [`HttpMetrics::traffic`] reads it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests answered.
    pub requests: u64,
    /// Requests answered with status 500 or above, except those that no server could answer: an unknown method (501) or
    /// version of HTTP (505).
    pub failures: u64,
    /// The slowest answer.
    pub slowest: Duration,
}

impl HttpMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let help = "Requests answered, by method, route and status";
        let requests = registered(registry, "jumun_http_requests", help, Family::default());
        let latency = Family::new_with_constructor(latency as fn() -> Histogram);
        let help = "Time from the head of a request to the head of its response, by method and route";
        let latency = registered(registry, "jumun_http_request_duration_seconds", help, latency);
        let (routes, slowest_us) = (Mutex::default(), AtomicU64::new(0));
        Self(Arc::new(Inner { requests, latency, routes, slowest_us }))
    }

    /// The metrics of one method of a route, such as `GET` and `/orders/{id}`. The route is the template, never the path of
    /// a request. The caller keeps the handle.
    pub fn route(&self, method: &str, route: &str) -> Route {
        let labels = [label("method", method), label("route", route)];
        let latency = self.0.latency.get_or_create_owned(&labels);
        let (method, route) = (method.to_owned(), route.to_owned());
        let is_traffic = !route.starts_with("/actuator");
        let route =
            RouteInner { metrics: self.clone(), method, route, latency, is_traffic, answered: Mutex::default() };
        let route = Route(Arc::new(route));
        lock(&self.0.routes).push(route.clone());
        route
    }

    /// Requests and failures since the start, and the slowest answer since the last call.
    pub fn traffic(&self) -> Traffic {
        let slowest = Duration::from_micros(self.0.slowest_us.swap(0, Ordering::Relaxed));
        let mut traffic = Traffic { slowest, ..Traffic::default() };
        for route in lock(&self.0.routes).iter().filter(|route| route.0.is_traffic) {
            for (status, counter) in lock(&route.0.answered).iter() {
                traffic.requests += counter.get();
                let is_failure = *status >= 500 && !matches!(status, 501 | 505);
                traffic.failures += if is_failure { counter.get() } else { 0 };
            }
        }
        traffic
    }
}

impl Summary {
    /// Begins the first window.
    pub fn new(metrics: HttpMetrics) -> Self {
        Self { before: metrics.traffic(), metrics, turned_away: 0, seconds: 0 }
    }

    /// Ends a second, in which `turned_away` requests were turned away. Returns the window that ends with it, if there was
    /// traffic in it.
    pub fn second_ended(&mut self, turned_away: u64) -> Option<Window> {
        self.turned_away += turned_away;
        self.seconds += 1;
        if self.seconds < SUMMARY_SECONDS {
            return None;
        }
        self.seconds = 0;
        let now = self.metrics.traffic();
        let before = std::mem::replace(&mut self.before, now);
        let (requests, failures) = (now.requests - before.requests, now.failures - before.failures);
        let turned_away = std::mem::take(&mut self.turned_away);
        (requests > 0).then_some(Window { traffic: Traffic { requests, failures, ..now }, turned_away })
    }
}

impl Route {
    /// Counts an answer.
    pub fn answered(&self, status: u16, took: Duration) {
        let inner = &*self.0;
        inner.latency.observe(seconds(took));
        if inner.is_traffic {
            let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            inner.metrics.0.slowest_us.fetch_max(took_us, Ordering::Relaxed);
        }
        let mut answered = lock(&inner.answered);
        if let Some((_, counter)) = answered.iter().find(|(known, _)| *known == status) {
            counter.inc();
            return;
        }
        let (method, route) = (label("method", &*inner.method), label("route", &*inner.route));
        let labels = [method, route, label("status", status.to_string())];
        let counter = inner.metrics.0.requests.get_or_create_owned(&labels);
        counter.inc();
        answered.push((status, counter));
    }

    /// `POST /orders`
    pub fn name(&self) -> String {
        format!("{} {}", self.0.method, self.0.route)
    }

    /// `POST`
    pub fn method(&self) -> &str {
        &self.0.method
    }

    /// `/orders`
    pub fn route(&self) -> &str {
        &self.0.route
    }
}

fn lock<T>(values: &Mutex<T>) -> MutexGuard<'_, T> {
    values.lock().unwrap_or_else(PoisonError::into_inner) // a list that only grows is whole at any instruction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::{page, registry};

    #[test]
    fn each_answer_is_counted_under_its_route_and_status() {
        let mut registry = registry("gateway", 0);
        let http = HttpMetrics::register(&mut registry);
        let (orders, order) = (http.route("POST", "/orders"), http.route("GET", "/orders/{id}"));
        for status in [201, 201, 503] {
            orders.answered(status, Duration::from_micros(300));
        }
        order.answered(404, Duration::from_millis(40));
        http.route("GET", "/actuator/health").answered(503, Duration::from_secs(1));
        let page = page(&registry);
        for line in [
            "# TYPE jumun_http_requests_total counter",
            r#"jumun_http_requests_total{service="gateway",method="POST",route="/orders",status="201"} 2"#,
            r#"jumun_http_requests_total{service="gateway",method="POST",route="/orders",status="503"} 1"#,
            r#"jumun_http_requests_total{service="gateway",method="GET",route="/orders/{id}",status="404"} 1"#,
            "# TYPE jumun_http_request_duration_seconds histogram",
        ] {
            assert!(page.lines().any(|known| known == line), "{line} is not in\n{page}");
        }
        let slowest = Duration::from_millis(40);
        assert_eq!(http.traffic(), Traffic { requests: 4, failures: 1, slowest });
        assert_eq!(http.traffic(), Traffic { requests: 4, failures: 1, slowest: Duration::ZERO });
    }

    #[test]
    fn a_window_sums_up_its_seconds_and_a_probe_is_no_traffic() {
        let http = HttpMetrics::register(&mut registry("order", 0));
        let (orders, probe) = (http.route("POST", "/orders"), http.route("GET", "/actuator/health/readiness"));
        let mut summary = Summary::new(http);
        let mut windows = Vec::new();
        for second in 1..=3 * SUMMARY_SECONDS {
            probe.answered(503, Duration::from_secs(1));
            if second <= 2 {
                orders.answered(503, Duration::from_millis(second));
            }
            windows.extend(summary.second_ended(second % 2).map(|window| (second, window)));
        }
        let traffic = Traffic { requests: 2, failures: 2, slowest: Duration::from_millis(2) };
        assert_eq!(windows, [(SUMMARY_SECONDS, Window { traffic, turned_away: SUMMARY_SECONDS / 2 })]);
    }
}
