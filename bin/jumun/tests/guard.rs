//! The guard around the calls to a neighbour, and faults on demand to see it work: a neighbour that fails, hangs or is
//! slow is left alone for a while, whoever needs it hears so at once, and no order is ever in between.

mod lab;

use lab::{Answer, Client, Customer, Insistent, LONG, Lab, Service, basket, wait_for, wait_until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long a circuit is open here.
const WAIT_OPEN: Duration = Duration::from_secs(1);

/// A lab whose circuit opens with the tenth call, if half of them fail.
fn wary() -> Lab {
    let mut lab = Lab::new();
    for (key, value) in [("window", "10"), ("minimum_calls", "10"), ("wait_open", "1s"), ("half_open_calls", "3")] {
        lab.order.set(format!("order.calls.payment.breaker.{key}={value}"));
    }
    lab
}

/// The circuit from order to payment, as operators see it.
fn circuit(lab: &Lab) -> Value {
    let (exit_code, said) = lab.jumun(&["breakers"], &["--json"]);
    assert_eq!(exit_code, 0, "{said}");
    let circuit: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!((&circuit["service"], &circuit["callee"]), (&json!("order"), &json!("payment")), "the only one");
    circuit
}

fn state(lab: &Lab) -> String {
    circuit(lab)["state"].as_str().expect("a state").to_owned()
}

/// Tells something with `jumun`, and that it is done.
fn tell(lab: &Lab, words: &[&str], arguments: &[&str]) -> String {
    let (exit_code, said) = lab.jumun(words, arguments);
    assert_eq!(exit_code, 0, "jumun {words:?} {arguments:?}: {said}");
    said
}

async fn order(client: &Client) -> Answer {
    client.post("/orders", &basket("냉면", 11_000)).await
}

/// Orders until payment is left alone; how many orders that took.
async fn order_until_open(lab: &Lab) -> usize {
    let client = lab.order.client();
    for nth in 1..=100 {
        let answer = order(&client).await;
        assert_eq!((answer.status, &*answer.problem()), (503, "neighbour-unavailable"));
        if state(lab) == "open" {
            return nth;
        }
    }
    panic!("the circuit never opens: {}", circuit(lab));
}

/// Insists that an order is refused, and that payment was not even asked.
fn assert_not_asked(answer: &Answer, why: &str) {
    assert_eq!((answer.status, &*answer.problem()), (503, "neighbour-unavailable"));
    let detail = answer.json()["detail"].as_str().expect("a text").to_owned();
    assert!(detail.contains(&format!("payment is not asked now ({why})")), "{detail}");
}

/// The value of a series that counts, or the sum of several; 0 where there is none.
async fn metric(service: &Service, name: &str, labels: &[&str]) -> u64 {
    let page = String::from_utf8(service.client().get("/actuator/prometheus").await.body.to_vec()).expect("text");
    let is_it = |line: &&str| line.starts_with(&format!("{name}{{")) && labels.iter().all(|label| line.contains(label));
    let lines = page.lines().filter(is_it);
    let whole = |line: &str| line.rsplit(' ').next()?.split('.').next()?.parse::<u64>().ok();
    lines.map(|line| whole(line).unwrap_or_else(|| panic!("no number: {line}"))).sum()
}

/// How often payment was asked to be paid.
async fn questions(lab: &Lab) -> u64 {
    metric(&lab.payment, "jumun_http_requests_total", &["method=\"POST\"", "route=\"/payinfos\""]).await
}

async fn component(service: &Service, name: &str) -> Value {
    let health = service.client().get("/actuator/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("UP")), "{health:?}");
    health.json()["components"][name].clone()
}

// ---- the circuit

#[tokio::test]
async fn a_payment_that_fails_is_left_alone_and_tried_again_after_a_while() {
    let mut lab = wary();
    lab.start().await;
    tell(&lab, &["fault"], &["payment", "--fail", "100%"]);
    assert_eq!(order_until_open(&lab).await, 10);
    wait_until(LONG, "nothing is in doubt", async || lab.asks().is_empty()).await;

    // Open: refused at once, told when to come again, and nobody is asked or writes anything.
    tell(&lab, &["breakers"], &["force-open", "order", "payment"]); // so that it stays so while we look
    let client = Client::with_idle_connections(lab.order.address(), 1);
    let (asked, attempts) = (questions(&lab).await, lab.attempts("order").len());
    let commits = metric(&lab.order, "jumun_commits_total", &[]).await;
    assert_eq!(asked, 10, "one question an order");
    let mut took = Vec::new();
    for nth in 0..100 {
        let began = Instant::now();
        let answer = match nth % 2 {
            0 => order(&client).await,
            _ => client.post_with_key("/orders", "k", &basket("냉면", 11_000)).await.expect("an answer"),
        };
        took.push(began.elapsed());
        assert_not_asked(&answer, "circuit-open");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    took.sort();
    eprintln!("an open circuit answers in {:?}, 9 of 10 in {:?} (both ends, debug build)", took[50], took[90]);
    assert!(took[50] < Duration::from_millis(50), "{took:?}");
    assert_eq!((questions(&lab).await, lab.attempts("order").len()), (asked, attempts));
    assert_eq!(metric(&lab.order, "jumun_commits_total", &[]).await, commits, "a refusal costs no disk");
    let refused = metric(&lab.order, "jumun_calls_refused_total", &["why=\"open\"", "callee=\"payment\""]).await;
    assert!(refused >= 100, "{refused}");
    let is_forced = ["callee=\"payment\"", "state=\"forced-open\""];
    assert_eq!(metric(&lab.order, "jumun_circuit_state", &is_forced).await, 1);
    assert_eq!(metric(&lab.order, "jumun_circuit_state", &[]).await, 1, "one state at a time");
    let told = component(&lab.order, "calls").await;
    assert_eq!((&told["status"], &told["details"]["payment"]["state"]), (&json!("UP"), &json!("forced-open")));

    // Begun anew, with a payment that still fails: it opens again, and by itself closes only once payment is well.
    tell(&lab, &["breakers"], &["reset", "order", "payment"]);
    assert_eq!(order_until_open(&lab).await, 10);
    wait_for(WAIT_OPEN).await;
    for _ in 0..3 {
        assert_eq!(order(&client).await.status, 503, "a probe fails");
    }
    assert_eq!(state(&lab), "open", "after three probes");
    tell(&lab, &["fault"], &["payment", "--off"]);
    wait_for(WAIT_OPEN).await;
    for _ in 0..3 {
        assert_eq!(order(&client).await.status, 201, "a probe");
    }
    assert_eq!(state(&lab), "closed");
    assert_eq!(order(&client).await.status, 201);
    let opened = metric(&lab.order, "jumun_circuit_transitions_total", &["to=\"open\""]).await;
    assert_eq!(opened, 3, "by failures twice, by probes once");
    let log = lab.order.log_text();
    for (level, line) in [
        ("WARN", "circuit closed to open: too many calls failed (10 calls, 10 failed, 0 slow)"),
        ("WARN", "circuit open to forced-open: an operator said so"),
        ("INFO", "circuit open to half-open: the wait is over"),
        ("INFO", "circuit half-open to closed: the neighbour is well again (3 calls, 0 failed, 0 slow)"),
    ] {
        assert!(log.lines().any(|told| told.contains(level) && told.contains(line)), "{level} {line}");
    }
    assert!(log.contains("failure_rate=1"), "the rates that caused it");
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn a_payment_that_hangs_costs_time_limits_only_until_the_circuit_opens() {
    let mut lab = wary();
    lab.order.set("order.calls.payment.time_limit=200ms");
    lab.start().await;
    lab.payment.stall().await;
    assert_eq!(order_until_open(&lab).await, 10);
    let began = Instant::now();
    let answer = order(&lab.order.client()).await;
    assert!(answer.status == 503 && began.elapsed() < Duration::from_secs(2), "{answer:?}");
    lab.payment.go_on();
    let customer = Customer::ordering(lab.order.client(), Some("k"), basket("냉면", 11_000));
    assert_eq!(customer.insist().await.answer.status, 201, "it is found out that payment is well again");
    let slow = metric(&lab.order, "jumun_calls_slow_total", &["callee=\"payment\""]).await;
    assert!(slow >= 10, "{slow}");
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn an_operator_opens_closes_and_disables_a_circuit() {
    let mut lab = wary();
    lab.start().await;
    let client = lab.order.client();
    let command = |word: &str| tell(&lab, &["breakers"], &[word, "order", "payment"]);
    assert_eq!(command("force-open"), "The circuit from order to payment is forced-open.");
    assert_not_asked(&order(&client).await, "circuit-open");
    assert_eq!(client.get("/orders").await.status, 200, "reads need no neighbour");
    assert_eq!(questions(&lab).await, 0);
    command("reset");
    assert_eq!(order(&client).await.status, 201);

    tell(&lab, &["fault"], &["payment", "--fail", "1"]);
    for (word, expected, counted) in [("close", "forced-closed", 10), ("disable", "disabled", 0)] {
        assert_eq!(command(word), format!("The circuit from order to payment is {expected}."));
        for _ in 0..15 {
            assert_eq!(order(&client).await.status, 503);
        }
        let seen = circuit(&lab);
        assert_eq!((&seen["state"], &seen["failed"]), (&json!(expected), &json!(counted)), "{seen}");
    }
    tell(&lab, &["fault"], &["payment", "--off"]);
    command("reset");

    let table = tell(&lab, &["breakers"], &[]);
    let row: Vec<_> = table.lines().nth(1).expect("a row").split_whitespace().take(3).collect();
    assert_eq!(row, ["order", "payment", "closed"], "{table}");
    for (arguments, exit_code, error) in [
        (&["force-open", "payment", "order"][..], 1, "error[breaker-unknown]"),
        (&["force-open", "order"], 2, "CALLEE"),
        (&["wish", "order", "payment"], 2, "force-open"),
    ] {
        let (status, said) = lab.jumun(&["breakers"], arguments);
        assert!(status == exit_code && said.contains(error), "{arguments:?}: {status} {said}");
    }
    lab.assert_the_promise().await;
    lab.order.stop().await;
    assert_eq!(state(&lab), "not-running");
    let (status, said) = lab.jumun(&["breakers"], &["reset", "order", "payment"]);
    assert!(status == 1 && said.contains("error[service-not-running]"), "{said}");
}

// ---- the bulkhead

#[tokio::test]
async fn one_too_many_waits_its_time_and_is_refused() {
    let mut lab = Lab::new();
    for setting in ["time_limit=20s", "bulkhead.max_concurrent=2", "bulkhead.max_wait=300ms"] {
        lab.order.set(format!("order.calls.payment.{setting}"));
    }
    lab.start().await;
    lab.payment.stall().await;
    let mut customers = JoinSet::new();
    for _ in 0..2 {
        let client = lab.order.client();
        customers.spawn(async move { order(&client).await.status });
    }
    wait_until(LONG, "both are under way", async || circuit(&lab)["atWork"] == 2).await;
    let began = Instant::now();
    let answer = order(&lab.order.client()).await;
    let took = began.elapsed();
    assert_not_asked(&answer, "bulkhead-full");
    assert!((Duration::from_millis(300)..Duration::from_secs(3)).contains(&took), "{took:?}");
    assert_eq!(lab.attempts("order").len(), 2, "who is refused leaves nothing");
    assert_eq!(metric(&lab.order, "jumun_calls_refused_total", &["why=\"full\""]).await, 1);
    assert_eq!(metric(&lab.order, "jumun_calls_at_work", &["callee=\"payment\""]).await, 2);
    lab.payment.go_on();
    assert_eq!(customers.join_all().await, [201, 201]);
    assert_eq!(order(&lab.order.client()).await.status, 201, "their places are free again");
    lab.assert_the_promise().await;
}

// ---- the places of the neighbour

#[tokio::test]
async fn a_narrow_payment_gets_as_many_questions_as_it_has_places_and_is_not_taken_for_a_broken_one() {
    const CUSTOMERS: usize = 12;
    let mut lab = wary();
    for setting in ["time_limit=20s", "bulkhead.max_wait=20ms"] {
        lab.order.set(format!("order.calls.payment.{setting}"));
    }
    lab.payment.set("payment.admission.max_wait=20s");
    lab.start().await;
    assert_eq!(order(&lab.order.client()).await.status, 201);
    assert_eq!(circuit(&lab)["places"]["told"], 1_024, "its admission");
    tell(&lab, &["fault"], &["payment", "--delay", "50ms", "--concurrency", "3"]);
    assert_eq!(order(&lab.order.client()).await.status, 201);
    let mut customers = JoinSet::new();
    for name in 0..CUSTOMERS {
        let client = lab.order.client();
        customers.spawn(async move {
            for nth in 0..6 {
                let key = format!("{name}-{nth}");
                let told = Customer::ordering(client.clone(), Some(&key), basket("냉면", 11_000)).insist().await;
                assert_eq!(told.answer.status, 201, "{told:?}");
            }
        });
    }
    let mut most = 0;
    while !customers.is_empty() {
        most = most.max(metric(&lab.payment, "jumun_admission_waiting", &["what=\"commands\""]).await);
        while customers.try_join_next().map(|done| done.expect("a customer")).is_some() {}
    }
    // At most two calls a place are in flight, and one a place is at work.
    assert!(most <= 3, "{most} queued at payment");
    let seen = circuit(&lab);
    assert_eq!((&seen["state"], &seen["places"]["told"]), (&json!("closed"), &json!(3)), "{seen}");
    let limit = seen["places"]["limit"].as_u64().expect("a limit");
    assert!((3..=6).contains(&limit), "{seen}");
    assert_eq!(metric(&lab.order, "jumun_calls_limit", &["callee=\"payment\""]).await, limit);
    assert_eq!(metric(&lab.order, "jumun_callee_places", &["callee=\"payment\""]).await, 3);
    let opened = metric(&lab.order, "jumun_circuit_transitions_total", &["to=\"open\""]).await;
    let shed = metric(&lab.payment, "jumun_shed_total", &[]).await;
    assert_eq!((opened, shed), (0, 0), "it was slow, and neither broken nor flooded");
    assert!(metric(&lab.order, "jumun_calls_refused_total", &["why=\"full\""]).await > 0, "the drill was none");
    let table = tell(&lab, &["breakers"], &[]);
    assert!(table.contains("PLACES") && table.contains("3, "), "{table}");
    tell(&lab, &["fault"], &["payment", "--off"]);
    assert_eq!(order(&lab.order.client()).await.status, 201);
    assert_eq!(circuit(&lab)["places"]["told"], 1_024, "the next answer tells it");
    lab.assert_the_promise().await;
}

// ---- faults on demand

#[tokio::test]
async fn faults_hold_up_fail_narrow_and_burn_until_they_are_turned_off() {
    let mut lab = Lab::with(&["order.calls.payment.time_limit=20s", "payment.admission.max_wait=10s"]).started().await;
    let client = lab.order.client();
    assert_eq!(tell(&lab, &["fault"], &["payment"]), "Faults of payment: none");
    assert_eq!(component(&lab.payment, "faults").await, Value::Null);

    let said = tell(&lab, &["fault"], &["payment", "--delay", "300ms..400ms", "--for", "10m"]);
    let expected = "Faults of payment: each command is delayed by 300ms..400ms; they end by themselves in 600 s";
    assert_eq!(said, expected);
    let began = Instant::now();
    assert_eq!(order(&client).await.status, 201);
    assert!(began.elapsed() >= Duration::from_millis(300), "asks are commands, too: {:?}", began.elapsed());
    assert_eq!(component(&lab.payment, "faults").await["details"]["delay"], "300ms..400ms");
    assert!(
        lab.payment.log_text().contains("WARN jumun_runtime::intake::faults: faults are on"),
        "{}",
        lab.payment.log_text()
    );

    tell(&lab, &["fault"], &["payment", "--delay", "200ms", "--concurrency", "1", "--cpu", "5ms"]);
    let began = Instant::now();
    let mut customers = JoinSet::new();
    for _ in 0..5 {
        let client = lab.order.client();
        customers.spawn(async move { order(&client).await.status });
    }
    assert_eq!(customers.join_all().await, [201; 5]);
    assert!(began.elapsed() >= Duration::from_secs(1), "one after the other: {:?}", began.elapsed());
    assert_eq!(tell(&lab, &["fault"], &["payment", "--off"]), "Faults of payment: none");
    assert_eq!(component(&lab.payment, "faults").await, Value::Null);

    // A service that fails: the client hears so, nothing is done, and what it asks again is done once it works.
    tell(&lab, &["fault"], &["order", "--fail", "100%"]);
    let failed = client.post_with_key("/orders", "k", &basket("냉면", 11_000)).await.expect("an answer");
    assert_eq!((failed.status, &*failed.problem()), (500, "fault"));
    assert_eq!(client.get("/orders").await.status, 200, "reads are not disturbed");
    tell(&lab, &["fault"], &["order", "--off"]);
    let again = client.post_with_key("/orders", "k", &basket("냉면", 11_000)).await.expect("an answer");
    assert_eq!(again.status, 201);
    assert_eq!(client.all("/orders").await.len(), 7);

    for (arguments, error) in [
        (&["payment", "--fail", "150%"][..], "10%"),
        (&["payment", "--delay", "2s..1s"], "backwards"),
        (&["payment", "--delay", "soon"], "soon"),
        (&["payment", "--cpu", "1h"], "at most"),
        (&["payment", "--off", "--fail", "10%"], "cannot be used with"),
        (&["nobody", "--off"], "error[service-unknown]"),
        (&["store", "--off"], "error[service-not-running]"),
    ] {
        let (status, said) = lab.jumun(&["fault"], arguments);
        assert!(status != 0 && said.contains(error), "{arguments:?}: {status} {said}");
    }
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn configured_faults_are_there_from_the_start() {
    let mut lab = Lab::new();
    lab.payment.env("JUMUN__PAYMENT__FAULTS__FAIL", "1");
    lab.payment.set("payment.faults.start_delay=700ms");
    let began = Instant::now();
    lab.start().await;
    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    assert_eq!(order(&lab.order.client()).await.status, 503);
    assert_eq!(component(&lab.payment, "faults").await["details"]["inWords"], "100 % of commands are answered 500");
    wait_until(LONG, "undoing is not disturbed", async || lab.asks().is_empty()).await;
    tell(&lab, &["fault"], &["payment", "--off"]);
    assert_eq!(order(&lab.order.client()).await.status, 201);
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn whatever_a_drill_does_every_order_that_was_acknowledged_stands_and_is_paid_once() {
    const CUSTOMERS: usize = 12;
    let mut lab = wary();
    for setting in
        ["time_limit=150ms", "bulkhead.max_concurrent=6", "bulkhead.max_wait=20ms", "breaker.wait_open=100ms"]
    {
        lab.order.set(format!("order.calls.payment.{setting}"));
    }
    lab.start_all().await;
    let crowd = Insistent::ordering(CUSTOMERS, &lab.order.client(), &basket("냉면", 11_000));
    let stage = Duration::from_millis(700);
    for faults in [
        &["--delay", "50ms..250ms"][..],
        &["--fail", "50%"],
        &["--concurrency", "1", "--delay", "40ms"],
        &["--fail", "20%", "--delay", "0ms..160ms", "--cpu", "1ms"],
    ] {
        tell(&lab, &["fault"], &[&["payment"][..], faults].concat());
        wait_for(stage).await;
    }
    tell(&lab, &["fault"], &["payment", "--off"]);
    tell(&lab, &["breakers"], &["force-open", "order", "payment"]);
    wait_for(stage).await;
    tell(&lab, &["breakers"], &["reset", "order", "payment"]);
    wait_for(stage).await;
    crowd.stop();
    let mut ids = Vec::new();
    for (told, _) in crowd.orders().await {
        assert_eq!(told.answer.status, 201, "{told:?}");
        ids.push(told.answer.id());
    }
    let refused = metric(&lab.order, "jumun_calls_refused_total", &[]).await;
    let opened = metric(&lab.order, "jumun_circuit_transitions_total", &["to=\"open\""]).await;
    eprintln!("{} orders; {refused} times payment was not asked, the circuit opened {opened} times", ids.len());
    assert!(refused > 0 && opened > 0, "the drill was none");
    ids.sort_unstable();
    let all: Vec<_> = lab.order.client().all("/orders").await.iter().map(|order| order["id"].as_i64()).collect();
    assert_eq!(all, ids.into_iter().map(Some).collect::<Vec<_>>(), "what was acknowledged stands, and nothing else");
    lab.assert_the_promise().await;
}
