//! Course enrollment as its users know it: what they send and see, a payment that comes later or not at all, and whatever
//! becomes of pay meanwhile.

mod lab;

use http::Method;
use lab::{
    Answer, COURSE_SERVICES, Client, Course, Customer, LONG, NEVER_PAID, REFUNDED, STANDS, Site, TAKEN_BACK, Up,
    application, wait_until,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// Tells something with `jumun`, and that it is done.
fn tell(site: &Site, words: &[&str], arguments: &[&str]) {
    let (exit_code, said) = site.jumun(words, arguments);
    assert_eq!(exit_code, 0, "jumun {words:?} {arguments:?}: {said}");
}

async fn patch(client: &Client, path: &str, body: &Value) -> Answer {
    client.send(Method::PATCH, path, JSON, body.to_string()).await.expect("an answer")
}

/// The ids that a finder finds.
async fn found(client: &Client, path: &str, query: &str) -> Vec<i64> {
    let page = client.get(&format!("/{path}/search/findByOrderId?orderId={query}")).await.json();
    let rows = page["_embedded"][path].as_array().expect("a list");
    rows.iter().map(|row| row["id"].as_i64().expect("an id")).collect()
}

// ---- what clients send and see

#[tokio::test]
async fn a_reference_comes_back_as_it_was_sent_and_finds_everything_of_its_orders() {
    let course = Course::all_running().await;
    let orders = course.order.client();
    let long = "x".repeat(64);
    for (sent, shown) in [
        (json!({ "orderId": 2, "eduNo": 102 }), json!(2)),
        (json!({ "orderId": 2, "EduNo": "102", "status": "Order Canceled", "id": 77 }), json!(2)),
        (json!({ "orderId": "요가-1", "eduNo": 102.0 }), json!("요가-1")),
        (json!({ "eduNo": 102 }), json!(4)),
        (json!({ "orderId": long, "eduNo": 102, "customerId": "guest", "guest": "민지" }), json!(long)),
    ] {
        let made = orders.post("/orders", &sent).await;
        assert_eq!((made.status, &made.json()["orderId"]), (201, &shown), "{made:?}");
        assert_eq!((&made.json()["eduNo"], &made.json()["status"]), (&json!(102), &json!("Ordered")));
        assert_eq!(made.header("location"), Some(&*format!("/orders/{}", made.id())));
        course.wait_until_at(made.id(), STANDS).await;
        for (service, path) in [(&course.order, "orders"), (&course.pay, "pays"), (&course.reservation, "reservations")]
        {
            let row = service.client().get(&format!("/{path}/{}", made.id())).await.json();
            assert_eq!((&row["orderId"], &row["id"]), (&shown, &json!(made.id())), "{path}");
        }
        let view = format!("/infomations/{}", made.id());
        let view = course.notification.client().until(&view, "reservationStatus", "Reservation Confirmed").await;
        assert_eq!(
            (&view["orderId"], &view["orderStatus"], &view["payStatus"]),
            (&shown, &json!("Ordered"), &json!("Paid"))
        );
    }
    let notifications = course.notification.client();
    for (client, path) in [
        (&orders, "orders"),
        (&course.pay.client(), "pays"),
        (&course.reservation.client(), "reservations"),
        (&notifications, "infomations"),
    ] {
        assert_eq!(found(client, path, "2").await, [1, 2], "{path}");
        assert_eq!(found(client, path, "%EC%9A%94%EA%B0%80-1").await, [3], "{path}");
        assert_eq!(found(client, path, "1").await, Vec::<i64>::new(), "{path}");
    }
    wait_until(LONG, "customers are told", async || found(&notifications, "notifications", "2").await.len() == 6).await;

    for (sent, field) in [
        (json!({ "orderId": 2 }), "eduNo"),
        (json!({ "eduNo": 0 }), "eduNo"),
        (json!({ "eduNo": 1, "orderId": "" }), "orderId"),
        (json!({ "eduNo": 1, "orderId": "x".repeat(65) }), "orderId"),
        (json!({ "eduNo": 1, "orderId": [1] }), "orderId"),
        (json!({ "eduNo": 1, "cardNo": "abcd" }), "cardNo"),
    ] {
        let refused = orders.post("/orders", &sent).await;
        assert_eq!((refused.status, &refused.json()["field"]), (422, &json!(field)), "{refused:?}");
    }
    assert_eq!(course.pay.client().post("/pays", &application()).await.status, 403, "pay is asked by orders only");
    assert_eq!(orders.all("/orders").await.len(), 5);
}

/// All that has been written anywhere in a folder.
fn all_bytes(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all_bytes(&path, found);
        } else if path.is_file() {
            found.push((path.display().to_string(), fs::read(&path).expect("a file")));
        }
    }
}

#[tokio::test]
async fn a_card_number_is_nowhere_but_its_last_four_digits() {
    let mut course = Course::new();
    for service in COURSE_SERVICES {
        course.service(service).env("JUMUN_LOG", "trace");
    }
    course.start_all().await;
    let orders = course.order.client();
    let number = ["4111", "1111", "1111", "4242"];
    let cards =
        [json!(number.join("-")), json!(number.concat()), json!(4_111_111_111_114_242_i64), json!(number.join(" "))];
    for (nth, card) in cards.iter().enumerate() {
        if nth == 3 {
            course.pay.kill(); // this one is delayed: its question is kept
        }
        let made = orders.post_with_key("/orders", &format!("k{nth}"), &json!({ "eduNo": 1, "cardNo": card })).await;
        let made = made.expect("an answer");
        assert_eq!((made.status, &made.json()["cardNo"]), (201, &json!("4242")), "{made:?}");
    }
    for card in ["4111-1111-1111-424x", "4111-1111-1111-4242-4111-1111-1111-4242"] {
        let refused = orders.post("/orders", &json!({ "eduNo": 1, "cardNo": card })).await;
        assert_eq!(refused.status, 422);
        assert!(!String::from_utf8_lossy(&refused.body).contains("4111"), "{refused:?}");
    }
    assert_eq!(patch(&orders, "/orders/1", &json!({ "status": number.join("-") })).await.problem(), "invalid");
    let mut bytes = Vec::new();
    all_bytes(course.folder(), &mut bytes); // while it is delayed
    course.pay.start().await;
    course.wait_until_at(4, STANDS).await;
    course.assert_the_promise().await;
    all_bytes(course.folder(), &mut bytes);
    let is_in = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(bytes.iter().any(|(file, bytes)| file.contains(".db") && is_in(bytes, "4242")), "the search finds");
    assert!(bytes.iter().any(|(file, _)| file.contains(".log")), "logs are there");
    for (file, bytes) in &bytes {
        for text in ["4111-1111", "41111111", "4111 1111", "11114242", "1111-4242", "1111 4242"] {
            assert!(!is_in(bytes, text), "{text} is in {file}");
        }
    }
}

#[tokio::test]
async fn an_order_is_cancelled_by_patch_and_by_nothing_else_that_is_patched() {
    let mut course = Course::all_running().await;
    let orders = course.order.client();
    let id = course.apply("Ordered").await.id();
    let path = format!("/orders/{id}");
    course.wait_until_at(id, STANDS).await;
    assert_eq!(patch(&orders, &path, &json!({ "status": "Ordered" })).await.status, 200, "as it is");
    assert_eq!(patch(&orders, &path, &json!({ "status": "Payment Delayed" })).await.problem(), "conflict");
    assert_eq!(patch(&orders, &path, &json!({ "status": "Paid" })).await.problem(), "invalid");
    assert_eq!(patch(&orders, &path, &json!({ "eduNo": 7 })).await.problem(), "invalid");
    assert_eq!(patch(&orders, "/orders/99", &json!({ "status": "Order Canceled" })).await.problem(), "not-found");
    course.wait_until_at(id, STANDS).await;

    let canceled = patch(&orders, &path, &json!({ "status": "Order Canceled" })).await;
    assert_eq!((canceled.status, &canceled.json()["status"]), (200, &json!("Order Canceled")), "{canceled:?}");
    assert_eq!(patch(&orders, &path, &json!({ "status": "Order Canceled" })).await.status, 200, "as it is");
    assert_eq!(patch(&orders, &path, &json!({ "status": "Ordered" })).await.problem(), "conflict");
    assert_eq!(orders.delete(&path).await.problem(), "conflict", "it is cancelled");
    course.wait_until_at(id, REFUNDED).await;
    course.assert_the_promise().await;
    let view = course.notification.client().get(&format!("/infomations/{id}")).await.json();
    let is =
        ["orderStatus", "payStatus", "reservationStatus"].map(|field| view[field].as_str().expect("a word").to_owned());
    assert_eq!(is, REFUNDED);
}

#[tokio::test]
async fn a_manager_confirms_turns_down_and_starts() {
    let course = Course::with(&["reservation.confirm=manual"]).all_started().await;
    let seats = course.reservation.client();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = course.apply("Ordered").await.id();
        course.wait_until_at(id, ["Ordered", "Paid", "Reservation Requested"]).await;
        assert_eq!(seats.put(&format!("/reservations/{id}/start")).await.problem(), "conflict", "not confirmed");
        ids.push(id);
    }
    let put = async |id: i64, deed: &str| seats.put(&format!("/reservations/{id}/{deed}")).await;
    assert_eq!(put(ids[0], "confirm").await.status, 200);
    assert_eq!(put(ids[0], "confirm").await.problem(), "conflict");
    assert_eq!(put(ids[0], "start").await.status, 200);
    assert_eq!(put(ids[0], "reject").await.problem(), "conflict");
    assert_eq!(put(99, "confirm").await.problem(), "not-found");
    course.wait_until_at(ids[0], ["Ordered", "Paid", "Course Started"]).await;
    course.order.client().until(&format!("/orders/{}", ids[0]), "courseStarted", true).await;
    assert_eq!(course.order.client().delete(&format!("/orders/{}", ids[0])).await.problem(), "conflict");
    for (id, is_confirmed) in [(ids[1], false), (ids[2], true)] {
        if is_confirmed {
            assert_eq!(put(id, "confirm").await.status, 200);
        }
        assert_eq!(put(id, "reject").await.status, 200);
        course.wait_until_at(id, REFUNDED).await;
        assert_eq!(put(id, "confirm").await.problem(), "conflict");
    }
    let audit = course.audit("20s");
    assert_eq!((audit.exit_code, &audit.report["verdict"]), (0, &json!("clean")), "{audit:?}");
}

// ---- pay does not answer

#[tokio::test]
async fn where_payments_may_not_come_later_there_is_no_order_without_one() {
    let mut course = Course::new();
    course.order.start().await;
    let before = course.apply("Payment Delayed").await.id(); // when they still might: it is seen through
    course.order.stop().await;
    course.order.set("order.calls.pay.fallback=reject");
    course.order.start().await;
    for key in [None, Some("a-key")] {
        let refused = course.applicant(key).ask_once().await.expect("an answer");
        assert_eq!((refused.status, &*refused.problem()), (503, "neighbour-unavailable"));
    }
    assert_eq!(course.order.client().all("/orders").await.len(), 1);
    course.start_all().await;
    course.wait_until_at(before, STANDS).await;
    let told = course.applicant(Some("a-key")).insist().await;
    assert_eq!((told.answer.status, &told.answer.json()["status"]), (201, &json!("Ordered")), "{told:?}");
    course.wait_until_at(told.answer.id(), STANDS).await;
    course.assert_the_promise().await;
}

#[tokio::test]
async fn a_payment_that_is_delayed_comes_or_is_declined_or_is_too_late_or_given_up() {
    let mut course = Course::with(&["pay.decline_card=6666"]);
    course.order.start().await;
    let orders = course.order.client();
    let comes = course.applicant(Some("a-key")).ask_once().await.expect("an answer");
    assert_eq!((comes.status, &comes.json()["status"]), (201, &json!("Payment Delayed")), "{comes:?}");
    let declined = orders.post("/orders", &json!({ "eduNo": 1, "cardNo": "4111-1111-1111-6666" })).await.id();
    let given_up = course.apply("Payment Delayed").await.id();
    assert_eq!(orders.delete(&format!("/orders/{given_up}")).await.status, 204);
    course.order.stop().await;
    course.order.set("order.calls.pay.deadline=1s");
    course.order.start().await;
    let too_late = course.apply("Payment Delayed").await.id();
    orders.until(&format!("/orders/{too_late}"), "status", "Order Canceled").await;
    assert_eq!(
        orders.get(&format!("/orders/{}", comes.id())).await.json()["status"],
        "Payment Delayed",
        "it was given longer"
    );

    course.start_all().await;
    for (id, words) in [(comes.id(), STANDS), (declined, NEVER_PAID), (given_up, NEVER_PAID), (too_late, NEVER_PAID)] {
        course.wait_until_at(id, words).await;
    }
    course.assert_the_promise().await;
    let again = course.applicant(Some("a-key")).ask_once().await.expect("an answer");
    assert_eq!(
        (again.status, &again.body),
        (201, &comes.body),
        "the same key, the same answer, whatever has become of it"
    );
}

#[tokio::test]
async fn no_more_are_delayed_than_may_be() {
    let mut course = Course::with(&["order.calls.pay.max_delayed=3"]);
    course.order.start().await;
    let all: Vec<_> = (0..20)
        .map(|_| {
            let customer = course.applicant(None);
            tokio::spawn(async move { customer.ask_once().await.expect("an answer") })
        })
        .collect();
    let mut taken = 0;
    for answer in all {
        let answer = answer.await.expect("a customer");
        if answer.status == 503 {
            assert_eq!(answer.problem(), "neighbour-unavailable");
            assert!(answer.head.contains_key("retry-after"), "{answer:?}");
        } else {
            assert_eq!(answer.status, 201, "{answer:?}");
            taken += 1;
        }
    }
    assert!((1..=3).contains(&taken), "{taken}");
    for _ in taken..3 {
        course.apply("Payment Delayed").await;
    }
    for again in [false, true] {
        let refused = course.order.client().post("/orders", &application()).await;
        assert_eq!((refused.status, &*refused.problem()), (503, "neighbour-unavailable"));
        if !again {
            course.order.kill(); // the next process counts what this one left
            course.order.start().await;
        }
    }
    assert_eq!(course.order.client().all("/orders").await.len(), 3);
    course.start_all().await;
    wait_until(LONG, "all are paid", async || course.doubts().is_empty()).await;
    course.pay.kill();
    for _ in 0..3 {
        course.apply("Payment Delayed").await; // there is room again, for as many
    }
    assert_eq!(course.order.client().post("/orders", &application()).await.status, 503);
    course.assert_the_promise().await;
}

#[tokio::test]
async fn a_yes_that_comes_late_is_taken_for_the_question_that_was_asked() {
    let mut course = Course::with(&["order.calls.pay.time_limit=200ms"]).all_started().await;
    tell(&course, &["fault"], &["pay", "--delay", "700ms..900ms"]);
    let id = course.apply("Payment Delayed").await.id();
    // The answer comes too late for whoever asked, and stays the answer.
    course.pay.client().until(&format!("/pays/{id}"), "status", "Paid").await;
    tell(&course, &["fault"], &["pay", "--off"]);
    course.wait_until_at(id, STANDS).await;
    course.assert_the_promise().await;
    assert_eq!(course.attempts("order").len(), 1);
}

#[tokio::test]
async fn while_pay_hangs_orders_are_taken_and_paid_when_it_goes_on() {
    let mut course = Course::with(&["order.calls.pay.time_limit=300ms"]).all_started().await;
    course.pay.stall().await;
    let ids = [course.apply("Payment Delayed").await.id(), course.apply("Payment Delayed").await.id()];
    assert_eq!(course.order.client().delete(&format!("/orders/{}", ids[1])).await.status, 204);
    course.pay.go_on();
    course.wait_until_at(ids[0], STANDS).await;
    // What came in while it hung may have had its effect before it was taken back.
    wait_until(LONG, "nothing is in doubt", async || course.doubts().is_empty()).await;
    let words = course.words(ids[1]).await;
    assert!([NEVER_PAID, TAKEN_BACK].iter().any(|end| words == *end), "{words:?}");
    course.assert_the_promise().await;
}

#[tokio::test]
async fn a_deadline_is_kept_while_pay_hangs() {
    let mut course = Course::new();
    for setting in ["time_limit=20s", "deadline=2s"] {
        course.order.set(format!("order.calls.pay.{setting}"));
    }
    course.start_all().await;
    course.pay.stall().await;
    tell(&course, &["breakers"], &["force-open", "order", "pay"]);
    let id = course.apply("Payment Delayed").await.id();
    tell(&course, &["breakers"], &["reset", "order", "pay"]);
    let began = Instant::now();
    course.order.client().until(&format!("/orders/{id}"), "status", "Order Canceled").await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    course.pay.go_on();
    course.assert_the_promise().await;
}

// ---- many at once

/// So many orders whose payment is delayed, at once; none is refused.
async fn backlog(course: &Course, count: usize) {
    let customers: Vec<_> = (0..count)
        .map(|nth| {
            let customer = course.applicant(Some(&format!("customer-{nth}")));
            tokio::spawn(async move { customer.insist().await.answer })
        })
        .collect();
    for customer in customers {
        let answer = customer.await.expect("a customer");
        assert_eq!((answer.status, &answer.json()["status"]), (201, &json!("Payment Delayed")), "{answer:?}");
    }
}

/// How many orders say this.
async fn count(course: &Course, status: &str) -> usize {
    course.order.client().all("/orders").await.iter().filter(|order| order["status"] == status).count()
}

#[tokio::test]
async fn a_backlog_is_paid_whoever_dies_over_it() {
    const BACKLOG: usize = 200;
    let mut course = Course::new();
    course.order.start().await;
    backlog(&course, BACKLOG).await;
    tell(&course, &["breakers"], &["reset", "order", "pay"]);
    course.start_all().await;
    tell(&course, &["fault"], &["pay", "--delay", "20ms..60ms"]);
    for (victim, settled) in [("pay", 20), ("order", 60), ("pay", 110)] {
        wait_until(LONG, "some are paid", async || count(&course, "Ordered").await >= settled).await;
        course.service(victim).kill();
        course.service(victim).start().await;
    }
    course.kill_all();
    course.assert_the_promise().await;
    assert_eq!(count(&course, "Ordered").await, BACKLOG);
}

#[tokio::test]
async fn a_pay_that_is_back_is_found_long_before_its_circuit_would_let_anybody_look() {
    const BACKLOG: usize = 40;
    let mut course = Course::with(&["order.calls.pay.breaker.wait_open=10m"]);
    course.order.start().await;
    backlog(&course, BACKLOG).await;
    let circuit = async |course: &Course| {
        let health = course.order.client().get("/actuator/health").await.json();
        health["components"]["calls"]["details"]["pay"]["state"].as_str().map(str::to_owned)
    };
    wait_until(LONG, "the circuit is open", async || circuit(&course).await.as_deref() == Some("open")).await;
    course.start_all().await;
    wait_until(LONG, "all are paid", async || count(&course, "Ordered").await == BACKLOG).await;
    assert_eq!(circuit(&course).await.as_deref(), Some("closed"));
    course.assert_the_promise().await;
}

#[tokio::test]
async fn a_backlog_outlives_a_restart_of_everything_and_a_deadline_ends_it() {
    let mut course = Course::with(&["order.calls.pay.deadline=3s"]);
    course.order.start().await;
    course.notification.start().await;
    backlog(&course, 50).await;
    course.order.stop().await;
    course.notification.stop().await;
    course.order.start().await;
    wait_until(LONG, "all are given up", async || count(&course, "Order Canceled").await == 50).await;
    course.assert_the_promise().await;
    assert_eq!(course.pay.client().all("/pays").await, Vec::<Value>::new(), "pay never kept anything");
}

/// Applies, cancels one in four, all the time, each with a key of its own; what was acknowledged.
async fn enroll(name: usize, gateway: Client, is_over: Arc<AtomicBool>) -> Vec<(Answer, bool)> {
    let mut made = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let key = format!("customer-{name}-{}", made.len());
        let told = Customer::ordering(gateway.clone(), Some(&key), application()).insist().await;
        assert_eq!(told.answer.status, 201, "{told:?}");
        let is_given_up = made.len() % 4 == 3;
        if is_given_up {
            let (key, path) = (Some(format!("{key}-no")), format!("/orders/{}", told.answer.id()));
            let quitter = Customer::new(gateway.clone(), key, Method::DELETE, path);
            assert_eq!(quitter.insist().await.answer.status, 204);
        }
        made.push((told.answer, is_given_up));
    }
    made
}

#[tokio::test]
async fn everything_may_be_rolled_while_payments_are_delayed_and_nothing_is_lost() {
    let mut up = Up::of("course-enrollment", &COURSE_SERVICES);
    up.set("order.calls.pay.time_limit=150ms");
    up.set("order.calls.pay.breaker.wait_open=500ms");
    up.start().await;
    up.tell(&["fault", "pay", "--delay", "50ms..250ms", "--fail", "20%"]);
    let is_over = Arc::new(AtomicBool::new(false));
    let crowd: Vec<_> = (0..6).map(|name| tokio::spawn(enroll(name, up.client("gateway"), is_over.clone()))).collect();
    let orders = up.client("order");
    wait_until(LONG, "payments are delayed", async || {
        orders.all("/orders").await.iter().any(|order| order["status"] == "Payment Delayed")
    })
    .await;
    for _ in 0..2 {
        let command = up.command_of(&["roll", "--all"]);
        let (status, said) = tokio::task::spawn_blocking(|| lab::run(command)).await.expect("a command");
        assert_eq!(status, 0, "{said}");
    }
    is_over.store(true, Ordering::Relaxed);
    let mut made = Vec::new();
    for customer in crowd {
        made.extend(customer.await.expect("a customer"));
    }
    up.jumun(&["fault", "pay", "--off"]);
    assert!(made.len() > 20, "{}", made.len());
    let gateway = up.client("gateway");
    let pending =
        async || gateway.all("/orders").await.iter().filter(|order| order["status"] == "Payment Delayed").count();
    wait_until(LONG, "all payments have come", async || pending().await == 0).await;
    let audit = up.audit("20s");
    assert_eq!((audit.exit_code, &audit.report["verdict"]), (0, &json!("clean")), "{audit:?}");
    let ids: BTreeSet<i64> = made.iter().map(|(answer, _)| answer.id()).collect();
    assert_eq!(ids.len(), made.len(), "no order twice");
    let shown = gateway.all("/orders").await;
    assert_eq!(shown.len(), made.len(), "a key has one order, and no order is without one");
    for (answer, is_given_up) in &made {
        let status = if *is_given_up { "Order Canceled" } else { "Ordered" };
        let order = shown.iter().find(|order| order["id"] == answer.id());
        assert_eq!(order.map(|order| &order["status"]), Some(&json!(status)), "{answer:?}");
    }
}
