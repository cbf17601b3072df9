//! What services tell about themselves: metrics, traces, log lines, spans. Of real processes, from outside.

mod lab;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use lab::{Answer, Client, Deed, LONG, Lab, SERVICES, Service, basket, wait_until};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT_SPAN: &str = "b7ad6b7169203331";

// ---- metrics

/// A page of metrics, by series: `jumun_commands_total{outcome="accepted"}`. The label that all have is left out.
struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    async fn of(service: &Service) -> Self {
        let answer = service.client().get("/actuator/prometheus").await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("text/plain; version=0.0.4; charset=utf-8"))
        );
        let page = std::str::from_utf8(&answer.body).expect("text");
        Self::parse(page, service.name())
    }

    /// Reads a page and insists on its form.
    fn parse(page: &str, service: &str) -> Self {
        let (mut types, mut helped, mut series) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        for line in page.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
                assert!(text.len() > 5 && helped.insert(name), "{line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
                assert!(helped.contains(name) && types.insert(name, kind).is_none(), "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            } else {
                let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
                let value: f64 = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
                let family = name.split('{').next().expect("a name");
                let of_histogram = || ["_bucket", "_sum", "_count"].iter().find_map(|end| family.strip_suffix(end));
                let is_typed = types.contains_key(family)
                    || of_histogram().is_some_and(|family| types.get(family) == Some(&"histogram"));
                assert!(is_typed, "{line} has no type before it");
                let own = format!("service=\"{service}\"");
                assert!(name.contains(&own), "{line}");
                let short = name.replace(&format!("{own},"), "").replace(&own, "").replace("{}", "");
                assert!(series.insert(short, value).is_none(), "twice: {line}");
            }
        }
        let metrics = Self(series);
        for name in metrics.0.keys().filter(|name| name.contains("le=\"+Inf\"")) {
            let count = name.replace("_bucket", "_count").replace("le=\"+Inf\",", "").replace("{le=\"+Inf\"}", "");
            assert!((metrics.0[name] - metrics.at(&count)).abs() < f64::EPSILON, "{name} is not {count}");
        }
        metrics
    }

    fn at(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("{series} is none of {:#?}", self.0.keys()))
    }

    /// By how much each has grown.
    fn since(&self, before: &Self, series: &[&str]) -> Vec<f64> {
        let now = |series: &str| self.0.get(series).copied().unwrap_or_default();
        series.iter().map(|series| now(series) - before.0.get(*series).copied().unwrap_or_default()).collect()
    }
}

fn assert_counts(found: &[f64], expected: &[f64]) {
    let same = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
    assert!(same, "{found:?} is not {expected:?}");
}

#[tokio::test]
async fn the_metrics_count_what_was_done_and_nothing_else() {
    let lab = Lab::with(&["payment.decline_over=50000"]).started().await;
    let (order, orders) = (Metrics::of(&lab.order).await, lab.order.client());
    let payment = Metrics::of(&lab.payment).await;
    for price in [1_000, 2_000, 3_000] {
        orders.place("가", price).await;
    }
    assert_eq!(orders.post("/orders", &basket("나", 60_000)).await.status, 402);
    assert_eq!(orders.get("/orders/77").await.status, 404);
    assert_eq!(orders.get("/orders/1").await.status, 200);
    assert_eq!(orders.get("/nowhere/at/all").await.status, 404);
    wait_until(LONG, "the bus has all events", async || {
        Metrics::of(&lab.payment).await.since(&payment, &["jumun_bus_appended_events_total"]) == [3.0]
    })
    .await;

    let now = Metrics::of(&lab.order).await;
    let counted = now.since(
        &order,
        &[
            r#"jumun_http_requests_total{method="POST",route="/orders",status="201"}"#,
            r#"jumun_http_requests_total{method="POST",route="/orders",status="402"}"#,
            r#"jumun_http_requests_total{method="GET",route="/orders/{id}",status="200"}"#,
            r#"jumun_http_requests_total{method="GET",route="/orders/{id}",status="404"}"#,
            r#"jumun_http_requests_total{method="*",route="nothing here",status="404"}"#,
            r#"jumun_http_request_duration_seconds_count{method="POST",route="/orders"}"#,
            r#"jumun_commands_total{outcome="accepted"}"#,
            r#"jumun_commands_total{outcome="refused"}"#,
            r#"jumun_asks_total{callee="payment",outcome="accepted"}"#,
            r#"jumun_asks_total{callee="payment",outcome="refused"}"#,
            r#"jumun_asks_total{callee="payment",outcome="unknown"}"#,
            r#"jumun_ask_duration_seconds_count{callee="payment",outcome="accepted"}"#,
            r#"jumun_commits_total{outcome="done"}"#,
            r#"jumun_commits_total{outcome="conflict"}"#,
            "jumun_commit_group_size_sum",
        ],
    );
    // Each order is two commits, asking and its outcome; a declined one, too.
    assert_counts(&counted, &[3.0, 1.0, 1.0, 1.0, 1.0, 4.0, 3.0, 1.0, 3.0, 1.0, 0.0, 3.0, 8.0, 0.0, 8.0]);
    let groups = now.since(&order, &["jumun_commit_groups_total", "jumun_commit_sync_duration_seconds_count"]);
    assert!((1.0..=8.0).contains(&groups[0]) && (groups[0] - groups[1]).abs() < 1e-9, "{groups:?}");

    let paid = Metrics::of(&lab.payment).await.since(
        &payment,
        &[
            r#"jumun_http_requests_total{method="POST",route="/payinfos",status="201"}"#,
            r#"jumun_http_requests_total{method="POST",route="/payinfos",status="402"}"#,
            r#"jumun_commands_total{outcome="accepted"}"#,
            "jumun_bus_appended_events_total",
            "jumun_outbox_backlog_events",
        ],
    );
    assert_counts(&paid, &[3.0, 1.0, 3.0, 3.0, 0.0]);
    let page = Metrics::of(&lab.payment).await;
    assert!(page.at("jumun_bus_appended_bytes_total") > 300.0);
    assert!(page.at("process_resident_memory_bytes") > 1e6 && page.at("process_open_fds") > 5.0);
    assert!(page.at("process_cpu_seconds_total") > 0.0 && page.at("process_threads") >= 2.0);
    assert!(page.at("process_start_time_seconds") > 1.7e9);
    assert_counts(&[page.at(&format!(r#"jumun_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION")))], &[1.0]);
}

#[tokio::test]
async fn the_metrics_tell_of_asks_that_fail_and_are_undone() {
    let mut lab = Lab::with(&["order.calls.payment.time_limit=200ms"]).started().await;
    let (before, orders) = (Metrics::of(&lab.order).await, lab.order.client());
    lab.payment.stall().await;
    assert_eq!(orders.post("/orders", &basket("가", 1)).await.status, 503);
    let doubt = Metrics::of(&lab.order).await;
    assert_counts(&[doubt.at(r#"jumun_requests_in_doubt{state="voiding"}"#)], &[1.0]);
    lab.payment.go_on();
    wait_until(LONG, "the ask is undone", async || {
        let now = Metrics::of(&lab.order).await;
        now.since(&before, &[r#"jumun_asks_total{callee="payment",outcome="voided"}"#]) == [1.0]
    })
    .await;
    lab.payment.stop().await;
    assert_eq!(orders.post("/orders", &basket("나", 1)).await.status, 503);
    let now = Metrics::of(&lab.order).await;
    let asked = ["accepted", "unknown", "voided", "not_done"]
        .map(|outcome| format!(r#"jumun_asks_total{{callee="payment",outcome="{outcome}"}}"#));
    let asked: Vec<_> = asked.iter().map(String::as_str).collect();
    assert_counts(&now.since(&before, &asked), &[0.0, 1.0, 1.0, 1.0]);
    assert_counts(&[now.at(r#"jumun_requests_in_doubt{state="voiding"}"#)], &[0.0]);
}

#[tokio::test]
async fn the_metrics_tell_how_far_a_consumer_is_behind() {
    let mut lab = Lab::all_running().await;
    lab.dashboard.stop().await;
    let ids = [lab.order.client().place("가", 1).await, lab.order.client().place("나", 2).await];
    lab.dashboard.start().await;
    for id in ids {
        lab.wait_until_at(id, Deed::Place.leads_to()).await;
    }
    let heard = r#"jumun_heard_events_total{source="order"}"#;
    let behind = r#"jumun_consumer_lag_events{source="order"}"#;
    wait_until(LONG, "the dashboard has caught up", async || {
        let now = Metrics::of(&lab.dashboard).await;
        now.at(heard) >= 2.0 && now.at(behind).abs() < 1e-9
    })
    .await;
    let now = Metrics::of(&lab.dashboard).await;
    assert_counts(
        &[now.at(r#"jumun_consumer_lag_seconds{source="order"}"#), now.at("jumun_parked_events")],
        &[0.0, 0.0],
    );
    assert_counts(&[now.at(r#"jumun_heard_delay_seconds_count{source="order"}"#)], &[now.at(heard)]);
}

// ---- traces

/// The events of an order as `jumun events show` has them, by type.
fn events_of(lab: &Lab, order: i64) -> BTreeMap<String, Value> {
    let (exit_code, lines) = lab.jumun(&["events", "tail"], &["--json", "--key", &order.to_string()]);
    assert_eq!(exit_code, 0, "{lines}");
    let mut events = BTreeMap::new();
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let (exit_code, whole) = lab.jumun(&["events", "show"], &[line["at"].as_str().expect("a place")]);
        assert_eq!(exit_code, 0, "{whole}");
        let whole: Value = serde_json::from_str(&whole).unwrap_or_else(|error| panic!("{error}: {whole}"));
        events.insert(line["type"].as_str().expect("a type").to_owned(), whole);
    }
    events
}

fn parts(event: &Value) -> (String, String) {
    let parent = event["headers"]["traceparent"].as_str().unwrap_or_else(|| panic!("no traceparent: {event}"));
    let parts: Vec<_> = parent.split('-').collect();
    assert_eq!((parts.len(), parts[0], parent.len()), (4, "00", 55), "{parent}");
    (parts[1].to_owned(), parts[2].to_owned())
}

async fn place(orders: &Client, head: &[(&str, &str)]) -> Answer {
    let head = [&[("content-type", "application/json")], head].concat();
    let mut body = basket("가", 1_000);
    body["cardNo"] = "4111-1111-1111-1111".into();
    orders.send(hyper::Method::POST, "/orders", &head, body.to_string()).await.expect("an answer")
}

#[tokio::test]
async fn a_trace_goes_through_calls_and_events_to_the_view() {
    let mut lab = Lab::all_running().await;
    let traceparent = format!("00-{TRACE}-{CLIENT_SPAN}-00");
    let head = [("traceparent", &*traceparent), ("x-request-id", "my-request")];
    let answer = place(&lab.order.client(), &head).await;
    assert_eq!((answer.status, answer.header("x-request-id")), (201, Some("my-request")), "{answer:?}");
    let id = answer.id();
    lab.wait_until_at(id, Deed::Place.leads_to()).await;

    let events = events_of(&lab, id);
    let types: Vec<_> = events.keys().map(String::as_str).collect();
    assert_eq!(types, ["Ordered", "PaymentApproved", "StoreConfirmed"]);
    let mut spans = BTreeSet::from([CLIENT_SPAN.to_owned()]);
    for (event_type, event) in &events {
        let (trace, span) = parts(event);
        assert_eq!(trace, TRACE, "{event}");
        assert!(spans.insert(span), "each is caused by another piece of work: {event}");
        let headers = &event["headers"];
        assert_eq!((&headers["type"], &headers["ce_type"]), (&Value::from(&**event_type), &Value::from(&**event_type)));
        assert_eq!((&headers["contentType"], &headers["ce_specversion"]), (&"application/json".into(), &"1.0".into()));
        assert_eq!(headers["ce_partitionkey"], id.to_string());
    }
    // Services say in their logs what they did for it; the view, too, which has no events of its own.
    for name in ["order", "payment", "store", "dashboard"] {
        let trace = format!("trace={TRACE}");
        let log = lab.service(name).log_text();
        assert!(log.lines().any(|line| line.contains(&trace)), "{name} does not know the trace\n{log}");
    }
    let log = lab.dashboard.log_text();
    let applied: Vec<_> = log.lines().filter(|line| line.contains("applied") && line.contains(TRACE)).collect();
    assert!(applied.iter().all(|line| line.contains(&format!("order={id}"))), "{applied:#?}");
    assert_eq!(applied.len(), 3, "{applied:#?}");
}

#[tokio::test]
async fn a_cancel_is_a_trace_of_its_own_and_so_is_what_has_no_valid_one() {
    let mut lab = Lab::running().await;
    let orders = lab.order.client();
    let given = format!("00-{TRACE}-{CLIENT_SPAN}-01");
    let mut traces = BTreeSet::from([TRACE.to_owned(), "0".repeat(32)]);
    for invalid in [
        given.to_uppercase(),
        format!("{given}-more"),
        given.replace(TRACE, &"0".repeat(32)),
        "nonsense".to_owned(),
        String::new(),
    ] {
        let answer = place(&orders, &[("traceparent", &invalid)]).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let id = answer.id();
        wait_until(LONG, "the events are on the bus", async || events_of(&lab, id).len() == 2).await;
        let events = events_of(&lab, id);
        let (trace, _) = parts(&events["Ordered"]);
        assert_eq!(parts(&events["PaymentApproved"]).0, trace, "the ask goes on with what was made");
        assert!(traces.insert(trace), "{invalid:?}: {events:#?}");
    }
    lab.stop_all().await;
}

#[tokio::test]
async fn what_is_undone_later_is_undone_in_the_trace_of_its_request() {
    let mut lab = Lab::with(&["order.calls.payment.time_limit=200ms"]).started().await;
    lab.payment.stall().await;
    let traceparent = format!("00-{TRACE}-{CLIENT_SPAN}-00");
    assert_eq!(place(&lab.order.client(), &[("traceparent", &traceparent)]).await.status, 503);
    lab.order.kill(); // whoever undoes it knows only what is stored
    lab.payment.go_on();
    lab.order.start().await;
    wait_until(LONG, "it is undone", async || lab.asks().is_empty()).await;
    let log = lab.payment.log_text();
    let undone: Vec<_> = log.lines().filter(|line| line.contains("undone") && line.contains(TRACE)).collect();
    assert!(!undone.is_empty(), "{log}");
}

// ---- log lines

#[tokio::test]
async fn log_lines_name_request_order_and_trace_and_no_secret() {
    let mut lab = Lab::all_running().await;
    let traceparent = format!("00-{TRACE}-{CLIENT_SPAN}-00");
    let head = [("traceparent", &*traceparent), ("x-request-id", "my-request"), ("authorization", "Bearer s3cr3t")];
    let id = place(&lab.order.client(), &head).await.id();
    lab.wait_until_at(id, Deed::Place.leads_to()).await;
    let of = |log: &str, what: &str| {
        let line = log.lines().find(|line| line.contains(what) && line.contains(TRACE)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no line says {what}\n{log}"))
    };
    let (order, payment, store) = (lab.order.log_text(), lab.payment.log_text(), lab.store.log_text());
    let (request, of_order) = ("request=my-request".to_owned(), format!("order={id}"));
    for (line, has) in [
        (of(&order, "answered"), vec![&request]),
        (of(&order, "asked"), vec![&request, &of_order]),
        (of(&order, "concluded"), vec![&request, &of_order]),
        (of(&order, "published"), vec![&of_order]),
        (of(&payment, "answered"), vec![&request]), // passed on
        (of(&payment, "decided"), vec![&request, &of_order]),
        (of(&store, "applied"), vec![&of_order]),
    ] {
        assert!(has.iter().all(|part| line.contains(*part)), "{has:?} are not in {line}");
    }
    for name in SERVICES {
        let log = lab.service(name).log_text();
        for secret in ["4111", "s3cr3t"] {
            assert!(!log.contains(secret), "{name} tells {secret}\n{log}");
        }
    }
}

// ---- spans

/// A collector: keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Bytes>>>);

impl Collector {
    async fn start() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let collector = Self::default();
        let kept = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let kept = kept.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let kept = kept.clone();
                    async move {
                        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/v1/traces"));
                        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
                        let body = request.into_body().collect().await.expect("a body").to_bytes();
                        kept.0.lock().expect("one thread").push(body);
                        Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        (collector, address)
    }

    fn spans(&self) -> Vec<Span> {
        self.0.lock().expect("one thread").iter().flat_map(|body| spans(body)).collect()
    }
}

/// A span as it arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    service: String,
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    took_ns: u64,
}

/// The fields of a message of Protocol Buffers: numbers, and what is of some length.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first().expect("a varint");
            *bytes = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let (mut number, mut content) = (0, &[][..]);
        let fixed = |bytes: &mut &[u8], length: usize| {
            let (value, rest) = bytes.split_at(length);
            *bytes = rest;
            value.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
        };
        match tag & 7 {
            0 => number = varint(&mut bytes),
            1 => number = fixed(&mut bytes, 8),
            2 => {
                let length = usize::try_from(varint(&mut bytes)).expect("a length");
                (content, bytes) = bytes.split_at(length);
            }
            5 => number = fixed(&mut bytes, 4),
            other => panic!("wire type {other}"),
        }
        fields.push((tag >> 3, number, content));
    }
    fields
}

fn all(of: &[u8], wanted: u64) -> Vec<&[u8]> {
    fields(of).into_iter().filter(|(field, ..)| *field == wanted).map(|(.., content)| content).collect()
}

/// `ExportTraceServiceRequest` of OTLP 1.x.
fn spans(body: &[u8]) -> Vec<Span> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let mut found = Vec::new();
    for resource_spans in all(body, 1) {
        let attributes = all(resource_spans, 1).into_iter().flat_map(|resource| all(resource, 1));
        let is_name = |attribute: &&[u8]| all(attribute, 1) == [b"service.name"];
        let name = attributes.into_iter().find(is_name).expect("a service name");
        let service = text(all(all(name, 2)[0], 1)[0]);
        for span in all(resource_spans, 2).into_iter().flat_map(|scope| all(scope, 2)) {
            let one = |wanted| all(span, wanted).first().copied().unwrap_or_default();
            let number = |wanted| fields(span).iter().find(|(field, ..)| *field == wanted).map_or(0, |(_, n, _)| *n);
            found.push(Span {
                service: service.clone(),
                trace: hex(one(1)),
                id: hex(one(2)),
                parent: hex(one(4)),
                name: text(one(5)),
                kind: number(6),
                took_ns: number(8) - number(7),
            });
        }
    }
    found
}

#[tokio::test]
async fn spans_of_sampled_traces_reach_the_collector_as_a_tree() {
    let (collector, address) = Collector::start().await;
    let mut lab = Lab::new();
    for name in SERVICES {
        lab.service(name).set(format!("telemetry.otlp=http://{address}"));
        lab.service(name).set("telemetry.sample=0");
    }
    lab.start_all().await;
    let orders = lab.order.client();
    let unsampled = place(&orders, &[]).await.id();
    let sampled = place(&orders, &[("traceparent", &format!("00-{TRACE}-{CLIENT_SPAN}-01"))]).await.id();
    for id in [unsampled, sampled] {
        lab.wait_until_at(id, Deed::Place.leads_to()).await;
    }
    lab.stop_all().await; // what is not exported yet is, before they end
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace == TRACE), "only what is sampled: {spans:#?}");
    let one = |service: &str, name: &str| {
        let found: Vec<_> = spans.iter().filter(|span| span.service == service && span.name == name).collect();
        assert_eq!(found.len(), 1, "{service}: {name} of {spans:#?}");
        found[0]
    };
    let request = one("order", "POST /orders");
    assert_eq!((&*request.parent, request.kind), (CLIENT_SPAN, 2));
    let ask = one("order", "POST payment/payinfos");
    assert_eq!((&ask.parent, ask.kind), (&request.id, 3));
    assert!(ask.took_ns > 0 && ask.took_ns <= request.took_ns, "{ask:?} {request:?}");
    let paying = one("payment", "POST /payinfos");
    assert_eq!((&paying.parent, paying.kind), (&ask.id, 2));
    assert_eq!(one("payment", "commit").parent, paying.id);
    assert_eq!(spans.iter().filter(|span| span.name == "commit" && span.parent == request.id).count(), 2);
    let hearing = one("store", "hear Ordered");
    assert_eq!((&hearing.parent, hearing.kind), (&request.id, 5));
    assert_eq!(one("dashboard", "hear StoreConfirmed").parent, hearing.id);
    assert_eq!(one("dashboard", "hear PaymentApproved").parent, paying.id);
}

#[tokio::test]
async fn a_collector_that_is_away_or_silent_holds_nothing_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port"); // takes connections and never answers
    let mut lab = Lab::new();
    lab.payment.set("telemetry.otlp=http://127.0.0.1:1");
    lab.order.set(format!("telemetry.otlp=http://{}", silent.local_addr().expect("an address")));
    for name in ["order", "payment"] {
        lab.service(name).set("telemetry.sample=1");
    }
    lab.start().await;
    let began = Instant::now();
    for price in 1..=50 {
        lab.order.client().place("가", price).await;
    }
    // An order that waited for its export would take the 5 s of its time limit.
    assert!(began.elapsed() < Duration::from_secs(100), "{:?}", began.elapsed());
    wait_until(LONG, "the loss is counted", async || {
        Metrics::of(&lab.payment).await.at("jumun_spans_lost_total") > 0.0
    })
    .await;
    assert!(lab.payment.log_text().contains("spans cannot be exported"));
    lab.stop_all().await;
}
