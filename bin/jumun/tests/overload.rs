//! Overload: a service that is asked for more than it can do does what it can in time, tells everybody else so at once, and
//! lets cancelling, undoing and operators through; and the gateway keeps one client from taking what others need.

mod lab;

use http::Method;
use lab::{
    Answer, Client, LONG, Lab, Service, Wait, basket, wait_until,
    wire::{Reaction, Upstream, Wire, yes},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use uuid::Uuid;

/// The value of a series that counts, or the sum of several; 0 where there is none.
async fn metric(service: &Service, name: &str, labels: &[&str]) -> u64 {
    let page = String::from_utf8(service.client().get("/actuator/prometheus").await.body.to_vec()).expect("text");
    let is_it = |line: &&str| line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label));
    let whole = |line: &str| line.rsplit(' ').next()?.split('.').next()?.parse::<u64>().ok();
    page.lines().filter(is_it).map(|line| whole(line).unwrap_or_else(|| panic!("no number: {line}"))).sum()
}

/// What a service tells of who is let in. It is up, whatever comes in.
async fn admission(service: &Service) -> Value {
    let health = service.client().get("/actuator/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("UP")), "being busy is not being broken");
    let told = health.json()["components"]["admission"].clone();
    assert_eq!(told["status"], "UP");
    told["details"].clone()
}

fn faults(lab: &Lab, service: &str, faults: &[&str]) {
    let (exit_code, said) = lab.jumun(&["fault"], &[&[service][..], faults].concat());
    assert_eq!(exit_code, 0, "{said}");
}

/// Insists on a refusal for overload; after how many seconds there may be a place.
fn assert_overloaded(answer: &Answer) -> u64 {
    assert_eq!((answer.status, &*answer.problem()), (503, "overloaded"), "{answer:?}");
    let after = answer.header("retry-after").and_then(|seconds| seconds.parse().ok()).expect("whole seconds");
    assert!((1..=60).contains(&after), "{after}");
    after
}

fn lines_with(service: &Service, text: &str) -> usize {
    service.log_text().lines().filter(|line| line.contains(text)).count()
}

// ---- a service

/// Forty orders a second are asked of a service for each one that it can do.
#[tokio::test]
async fn a_flood_is_turned_away_at_once_and_what_is_let_in_is_done_in_time() {
    const CUSTOMERS: usize = 160;
    let settings = [
        "order.admission.max_wait=200ms",
        "order.admission.max_waiting=16",
        "order.calls.payment.time_limit=20s", // on a busy machine payment is slow, which is not what is tried
    ];
    let mut lab = Lab::with(&settings).all_started().await;
    let client = lab.order.client();
    let to_cancel = client.place("냉면", 11_000).await;
    faults(&lab, "order", &["--delay", "100ms", "--concurrency", "4"]);

    let is_over = Arc::new(AtomicBool::new(false));
    let mut customers = JoinSet::new();
    for _ in 0..CUSTOMERS {
        let (client, is_over) = (Client::with_idle_connections(lab.order.address(), 1), is_over.clone());
        customers.spawn(async move {
            let (mut placed, mut refused) = (Vec::new(), Vec::new());
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                let answer = client.post("/orders", &basket("냉면", 11_000)).await;
                let took = began.elapsed();
                if answer.status == 201 {
                    placed.push((answer.id(), took));
                } else {
                    assert_overloaded(&answer);
                    refused.push(took);
                    let (pause, since) = (Wait::new(LONG, "a customer comes again"), Instant::now());
                    while since.elapsed() < Duration::from_millis(50) {
                        pause.a_moment().await;
                    }
                }
            }
            (placed, refused)
        });
    }
    wait_until(LONG, "many were turned away", async || {
        metric(&lab.order, "jumun_shed_total", &["what=\"commands\"", "why=\"full\""]).await >= 1_000
    })
    .await;

    // In the midst of it.
    let told = admission(&lab.order).await;
    assert_eq!(told["isShedding"], true, "{told}");
    assert!(told["commands"]["atWork"].as_u64().is_some_and(|at_work| at_work <= 4), "{told}");
    assert!(told["commands"]["waiting"].as_u64().is_some_and(|waiting| waiting <= 16), "{told}");
    wait_until(LONG, "it is known how long one takes", async || {
        admission(&lab.order).await["commands"]["takesMs"].as_f64().is_some_and(|takes| takes >= 95.0)
    })
    .await;
    assert!(metric(&lab.order, "jumun_admitted_at_work", &["what=\"commands\""]).await <= 4);
    assert!(metric(&lab.order, "jumun_admission_waiting", &["what=\"commands\""]).await <= 16);
    client.cancel(to_cancel).await; // needs no place: whoever needs one is mostly turned away now
    assert_eq!(client.get(&format!("/orders/{to_cancel}")).await.json()["orderStatus"], "CANCELED");
    assert_eq!(client.get("/orders").await.status, 200, "reads have places of their own");
    drop(lab.asks()); // operators are heard

    is_over.store(true, Ordering::Relaxed);
    let (mut placed, mut refused) = (Vec::new(), Vec::new());
    for (its_placed, its_refused) in customers.join_all().await {
        placed.extend(its_placed);
        refused.extend(its_refused);
    }
    refused.sort_unstable();
    let mut done: Vec<_> = placed.iter().map(|(_, took)| *took).collect();
    done.sort_unstable();
    let median = |times: &[Duration]| times[times.len() / 2];
    eprintln!("{} placed in {:?}; {} turned away in {:?}", done.len(), median(&done), refused.len(), median(&refused));
    // Compared with each other, because both are slower on a busy machine. All of them in one queue would take 4 s, and
    // whoever is turned away would wait like the others.
    assert!(median(&done) < Duration::from_secs(4), "200 ms to wait, 100 ms to work: {:?}", median(&done));
    assert!(median(&refused) < median(&done), "at once: {:?} and {:?}", median(&refused), median(&done));

    let (begins, ends) = ("load shedding begins", "load shedding ends");
    let has_ended = async || admission(&lab.order).await["isShedding"] == false;
    wait_until(LONG, "it is over", has_ended).await;
    // One period, or several on a machine so busy that nobody came for a second.
    let periods = lines_with(&lab.order, begins);
    assert_eq!(lines_with(&lab.order, ends), periods);
    assert!((1..=refused.len() / 100).contains(&periods), "a line for all of them, not for each: {periods}");
    faults(&lab, "order", &["--off"]);
    let mut expected: Vec<_> = placed.into_iter().map(|(id, _)| id).chain([to_cancel]).collect();
    expected.sort_unstable();
    let found: Vec<_> = client.all("/orders").await.iter().filter_map(|order| order["id"].as_i64()).collect();
    assert_eq!(found, expected, "what was acknowledged stands, and nothing else");
    lab.assert_the_promise().await;
}

/// A lab whose orders take three seconds each, one at a time, and one of them is under way.
async fn occupied(settings: &[&str]) -> (Lab, i64, tokio::task::JoinHandle<u16>) {
    let mut lab = Lab::new();
    for setting in ["order.admission.max_concurrent=1", "order.admission.max_waiting=0"].iter().chain(settings) {
        lab.order.set(*setting);
    }
    lab.start().await;
    let client = lab.order.client();
    let before = client.place("냉면", 11_000).await;
    faults(&lab, "order", &["--delay", "3s"]);
    let under_way = tokio::spawn(async move { client.post("/orders", &basket("냉면", 11_000)).await.status });
    wait_until(LONG, "it is at work", async || admission(&lab.order).await["commands"]["atWork"] == 1).await;
    (lab, before, under_way)
}

#[tokio::test]
async fn cancelling_goes_on_where_new_orders_are_turned_away() {
    let (mut lab, before, under_way) = occupied(&[]).await;
    let client = lab.order.client();
    let began = Instant::now();
    assert_overloaded(&client.post("/orders", &basket("냉면", 11_000)).await);
    assert!(began.elapsed() < Duration::from_secs(2), "nobody waited for the one under way");
    client.cancel(before).await;
    assert_eq!(under_way.await.expect("an answer"), 201);
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn cancelling_is_turned_away_too_where_all_is_shed() {
    let (mut lab, before, under_way) = occupied(&["order.shed=all"]).await;
    let client = lab.order.client();
    let path = format!("/orders/{before}");
    let began = Instant::now();
    assert_overloaded(&client.delete(&path).await);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(client.get(&path).await.json()["orderStatus"], "ORDERED", "nothing was done");
    assert_eq!(under_way.await.expect("an answer"), 201);
    faults(&lab, "order", &["--off"]);
    client.cancel(before).await;
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn a_neighbour_that_turns_an_ask_away_has_surely_done_nothing_and_undoing_is_never_turned_away() {
    let mut lab = Lab::new();
    for setting in ["admission.max_concurrent=1", "admission.max_waiting=0", "shed=all"] {
        lab.payment.set(format!("payment.{setting}"));
    }
    lab.order.set("order.calls.payment.time_limit=10s");
    lab.order.set("order.calls.payment.bulkhead.keep_to_places=false"); // it asks although payment told that it is full
    lab.start().await;
    faults(&lab, "payment", &["--delay", "3s"]);
    let client = lab.order.client();
    let under_way = tokio::spawn({
        let client = client.clone();
        async move { client.post("/orders", &basket("냉면", 11_000)).await.status }
    });
    wait_until(LONG, "it is at work", async || admission(&lab.payment).await["commands"]["atWork"] == 1).await;
    for _ in 0..3 {
        let answer = client.post("/orders", &basket("냉면", 11_000)).await;
        assert_eq!((answer.status, &*answer.problem()), (503, "neighbour-unavailable"));
    }
    assert_eq!(lab.asks().len(), 1, "only the one under way: there is nothing to undo");
    let not_done = ["callee=\"payment\"", "outcome=\"not_done\""];
    assert_eq!(metric(&lab.order, "jumun_asks_total", &not_done).await, 3);

    let (id, expires) = (Uuid::now_v7().to_string(), "99999999999999");
    let head = [("content-type", "application/json"), ("idempotency-key", &*id), ("jumun-expires", expires)];
    let till = lab.payment.client();
    assert_overloaded(&till.send(Method::POST, "/payinfos", &head, "{\"orderId\":99,\"price\":1}").await.expect("one"));
    let undone = till.send(Method::POST, "/payinfos/void", &head, "{}").await.expect("an answer");
    assert_eq!(undone.status, 204, "{undone:?}");
    assert_eq!(admission(&lab.payment).await["commands"]["atWork"], 1, "all that while it was full");
    assert_eq!(under_way.await.expect("an answer"), 201);
    lab.assert_the_promise().await;
}

// ---- the gateway

/// A gateway in front of somebody who takes orders.
async fn gateway(upstream: &Upstream, settings: &[&str]) -> Lab {
    let mut lab = Lab::new();
    lab.gateway.set(format!("gateway.upstreams.order={}", upstream.url()));
    for setting in settings {
        lab.gateway.set(*setting);
    }
    lab.gateway.start().await;
    lab
}

#[tokio::test]
async fn one_client_sends_no_more_than_it_may_and_others_do_not_notice() {
    let upstream = Upstream::new(|_, _| yes("{}")).await;
    let rate = ["gateway.rate.per_second=1", "gateway.rate.burst=3", "gateway.trusted_proxies=127.0.0.1"];
    let lab = gateway(&upstream, &rate).await;
    let client = lab.gateway.client();
    let send = async |method, head: &[(&str, &str)]| {
        let path = if method == Method::POST { "/orders" } else { "/orders/1" };
        client.send(method, path, head, "").await.expect("an answer")
    };
    // So fast that no second passes, or at worst one.
    let mut refused = None;
    for nth in 0..100 {
        let answer = send(Method::POST, &[("x-api-key", "hasty")]).await;
        if answer.status == 429 {
            assert!(nth >= 3, "three at once are allowed");
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a limit");
    assert_eq!((&*refused.problem(), refused.header("retry-after")), ("too-many-requests", Some("1")));
    assert_eq!(send(Method::DELETE, &[("x-api-key", "hasty")]).await.status, 201, "it can still cancel");
    for head in [("x-api-key", "patient"), ("authorization", "Bearer x"), ("x-forwarded-for", "2.2.2.2")] {
        assert_eq!(send(Method::POST, &[head]).await.status, 201, "{head:?}");
    }
    let seen = upstream.seen().len();

    // The answer comes before the body, and whatever the client says.
    let began = Instant::now();
    let mut told = 0;
    while told != 429 {
        assert!(began.elapsed() < LONG, "no limit");
        let mut wire = Wire::to(lab.gateway.address()).await;
        wire.say("GET /orders HTTP/1.1\r\nhost: h\r\nx-api-key: hasty\r\ncontent-length: 1000000\r\n\r\nx").await;
        let body_is_waited_for = tokio::time::timeout(Duration::from_secs(5), wire.message()).await;
        told = body_is_waited_for.map_or(0, |answer| answer.expect("an answer").status());
    }
    assert!(upstream.seen().len() <= seen + 1);
    for _ in 0..10 {
        let head = [("x-api-key", "hasty")];
        let health = client.send(Method::GET, "/actuator/health", &head, "").await.expect("an answer");
        assert_eq!(health.status, 200);
    }
    assert!(metric(&lab.gateway, "jumun_shed_total", &["what=\"requests\"", "why=\"rate\""]).await >= 2);
    wait_until(LONG, "a second is over", async || send(Method::POST, &[("x-api-key", "hasty")]).await.status == 201)
        .await;
}

#[tokio::test]
async fn the_gateway_has_no_more_at_work_than_it_may_and_cancelling_goes_on() {
    let upstream = Upstream::new(|_, request| {
        if request.first_line.starts_with("DELETE") { yes("{}") } else { Reaction::SayAndHang(String::new()) }
    })
    .await;
    for (shed, cancelled) in [("new", 201), ("all", 503)] {
        let seen = upstream.seen().len();
        let settings = ["gateway.max_concurrent_total=2", &format!("order.shed={shed}"), "gateway.time_limit=40s"];
        let lab = gateway(&upstream, &settings).await;
        let client = lab.gateway.client();
        let mut places = Vec::new();
        for _ in 0..2 {
            let mut wire = Wire::to(lab.gateway.address()).await;
            wire.say("GET /orders HTTP/1.1\r\nhost: h\r\n\r\n").await;
            places.push(wire);
        }
        wait_until(LONG, "all places are taken", async || upstream.seen().len() == seen + 2).await;
        assert_overloaded(&client.get("/stores").await); // another service: the places are for all
        let mut wire = Wire::to(lab.gateway.address()).await;
        wire.say("POST /orders HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000\r\n\r\nx").await;
        let before_its_body = tokio::time::timeout(LONG, wire.message()).await.expect("an answer at once");
        assert_eq!(before_its_body.expect("an answer").status(), 503);
        let answer = client.delete("/orders/1").await;
        assert_eq!(answer.status, cancelled, "shed = {shed}");
        if cancelled == 503 {
            assert_overloaded(&answer);
        }
        assert_eq!(client.get("/actuator/health").await.json()["status"], "UP");
        let shed = metric(&lab.gateway, "jumun_shed_total", &["what=\"requests\"", "why=\"gateway\""]).await;
        assert_eq!(shed, if cancelled == 503 { 3 } else { 2 });
        assert_eq!(metric(&lab.gateway, "jumun_admitted_at_work", &["what=\"requests\""]).await, 2);
        assert_eq!(lines_with(&lab.gateway, "load shedding begins"), 1);
        places.into_iter().for_each(Wire::hang_up);
        wait_until(LONG, "their places are free again", async || {
            metric(&lab.gateway, "jumun_admitted_at_work", &["what=\"requests\""]).await == 0
        })
        .await;
    }
}
