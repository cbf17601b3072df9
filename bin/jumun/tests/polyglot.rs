//! `GET /events`, and a service in another language that follows it: examples/python-notifier in place of course enrollment's
//! notification service.

mod lab;

use http::Method;
use lab::{
    Client, Course, LONG, Lab, wait_until,
    wire::{Message, Wire},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::File,
    process::{Child, Command, Stdio},
};

/// A message of a stream.
#[derive(Debug, PartialEq)]
struct Told {
    id: String,
    event_type: String,
    data: Value,
}

/// A client that follows events.
struct Stream {
    wire: Wire,
    text: String,
}

impl Stream {
    /// Requests `/events` with a query and more lines of a head; the stream, or the answer that there is instead.
    async fn open(client: &Client, query: &str, head: &str) -> Result<Self, Message> {
        let mut wire = Wire::to(client.address()).await;
        wire.say(format!("GET /events{query} HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n{head}\r\n")).await;
        let answer = wire.head().await.expect("an answer");
        if answer.status() != 200 {
            return Err(wire.with_body(answer).await.expect("a body"));
        }
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        Ok(Self { wire, text: String::new() })
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some((block, rest)) = self.text.split_once("\n\n").map(|(a, b)| (a.to_owned(), b.to_owned())) {
                self.text = rest;
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
                if let Some(data) = field("data: ") {
                    let (id, event_type) = (field("id: ").expect("an id"), field("event: ").expect("a type"));
                    return Some(Told { id, event_type, data: serde_json::from_str(&data).expect("JSON") });
                }
            }
            self.text.push_str(&self.wire.chunk().await?);
        }
    }

    async fn next_types(&mut self, count: usize) -> Vec<String> {
        let mut types = Vec::new();
        while types.len() < count {
            types.push(self.next().await.expect("an event").event_type);
        }
        types
    }
}

fn code(answer: &Message) -> (u16, String) {
    let problem: Value = serde_json::from_str(&answer.text()).expect("JSON");
    (answer.status(), problem["type"].as_str().unwrap_or_default().replace("urn:jumun:problem:", ""))
}

#[tokio::test]
async fn events_are_followed_from_any_position_and_over_a_kill() {
    let mut lab = Lab::running().await;
    let client = lab.order.client();
    let mut all = Stream::open(&client, "", "").await.expect("a stream");
    let first = client.place("김밥", 3_000).await;
    let told = all.next().await.expect("an event");
    assert_eq!(
        (&*told.event_type, &told.data["id"], &told.data["eventType"]),
        ("Ordered", &json!(first), &json!("Ordered"))
    );
    client.cancel(first).await;
    assert_eq!(all.next_types(1).await, ["OrderCanceled"]);

    // From an event on, whether the id comes in the header or in the query; the header wins.
    let head = format!("last-event-id: {}\r\n", told.id);
    let mut resumed = Stream::open(&client, "", &head).await.expect("a stream");
    assert_eq!(resumed.next_types(1).await, ["OrderCanceled"]);
    let mut by_query = Stream::open(&client, &format!("?from={}", told.id), "").await.expect("a stream");
    assert_eq!(by_query.next_types(1).await, ["OrderCanceled"]);
    let mut by_header = Stream::open(&client, "?from=start", &head).await.expect("a stream");
    assert_eq!(by_header.next_types(1).await, ["OrderCanceled"]);

    // Only some types; only new ones.
    let mut canceled = Stream::open(&client, "?type=OrderCanceled", "").await.expect("a stream");
    assert_eq!(canceled.next_types(1).await, ["OrderCanceled"]);
    let mut new = Stream::open(&client, "?from=end&type=Ordered", "").await.expect("a stream");
    let second = client.place("떡볶이", 4_000).await;
    assert_eq!(new.next().await.expect("an event").data["id"], json!(second));

    // The stream ends with the process, whether that is killed or stopped. The next process continues it.
    lab.order.kill();
    assert!(new.next().await.is_none());
    lab.order.start().await;
    let mut again = Stream::open(&client, "", &head).await.expect("a stream");
    assert_eq!(again.next_types(2).await, ["OrderCanceled", "Ordered"]);
    lab.order.terminate();
    assert!(again.next().await.is_none());
    lab.order.wait_until_ended(LONG).await;
}

#[tokio::test]
async fn a_position_that_is_not_there_is_refused() {
    let mut lab = Lab::running().await;
    let client = lab.order.client();
    client.place("김밥", 3_000).await;
    let mut stream = Stream::open(&client, "", "").await.expect("a stream");
    let told = stream.next().await.expect("an event");
    let (epoch, _) = told.id.split_once('/').expect("an epoch and a number");
    let after = |id: &str| format!("last-event-id: {id}\r\n");
    let refused = async |query: &str, head: &str| {
        let Err(answer) = Stream::open(&client, query, head).await else { panic!("a stream for {query} {head}") };
        code(&answer)
    };
    for id in [format!("{epoch}/2"), format!("{epoch}/1/1"), format!("{}/1", uuid::Uuid::new_v4().simple())] {
        assert_eq!(refused("", &after(&id)).await, (409, "position-unknown".to_owned()), "{id}");
    }
    assert_eq!(refused("", &after("7")).await, (400, "malformed".to_owned()));
    assert_eq!(refused("?from=yesterday", "").await, (400, "malformed".to_owned()));
    assert_eq!(refused("?type=PaymentApproved", "").await, (422, "invalid".to_owned()), "payment publishes it");
    let html = client.send(Method::GET, "/events", &[("accept", "text/html")], "").await.expect("an answer");
    assert_eq!((html.status, &*html.problem()), (406, "not-acceptable"));
    let by_method = client.send(Method::POST, "/events", &[], "").await.expect("an answer");
    assert_eq!((by_method.status, by_method.header("allow")), (405, Some("GET, HEAD, OPTIONS")));

    // A database that was replaced has other events. What the page says: begin anew.
    lab.stop_all().await;
    std::fs::remove_dir_all(lab.data()).expect("the data folder");
    lab.start_these(&["payment", "order"]).await;
    client.place("김밥", 3_000).await;
    assert_eq!(refused("", &after(&told.id)).await, (409, "position-unknown".to_owned()));
    let mut anew = Stream::open(&client, "", "").await.expect("a stream");
    assert_eq!(anew.next_types(1).await, ["Ordered"]);
}

/// The notifier as a process.
struct Notifier {
    child: Child,
}

impl Notifier {
    fn start(course: &Course) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/python-notifier/notifier.py");
        let log = File::options().create(true).append(true).open(course.folder().join("notifier.log")).expect("a log");
        let url = |service: &lab::Service| format!("http://{}", service.address());
        let child = Command::new("python3")
            .arg(script)
            .args(["--order", &url(&course.order), "--pay", &url(&course.pay)])
            .args(["--reservation", &url(&course.reservation)])
            .args(["--listen", &course.notification.address().to_string()])
            .arg("--database")
            .arg(course.folder().join("notifier.db"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("python3, which these tests need: install it, then run them again");
        Self { child }
    }

    fn kill(&mut self) {
        self.child.kill().expect("a process");
        self.child.wait().expect("its end");
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The messages that the events of the three services make, by the id of their order.
fn expected(course: &Course) -> BTreeMap<i64, Vec<String>> {
    let mut messages: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for entry in ["order", "pay", "reservation"].iter().flat_map(|service| course.journal(service)) {
        let kinds: &[&str] = match (&*entry.event_type, entry.body["status"].as_str().expect("a status")) {
            ("Ordered", "Payment Delayed") => &["PaymentDelayed"],
            ("Ordered", _) => &["Ordered", "Paid"],
            ("PaymentSettled", _) => &["PaymentSettled", "Paid"],
            ("OrderCanceled", _) => &["OrderCanceled"],
            ("PaymentCanceled", _) if entry.body["voided"] != json!(true) => &["PaymentCanceled"],
            ("Reserved", "Reservation Confirmed") => &["ReservationConfirmed"],
            ("ReservationCanceled", _) => &["ReservationCanceled"],
            _ => &[],
        };
        messages.entry(entry.key).or_default().extend(kinds.iter().map(|kind| (*kind).to_owned()));
    }
    for kinds in messages.values_mut() {
        kinds.sort();
    }
    messages.retain(|_, kinds| !kinds.is_empty());
    messages
}

async fn told(notifier: &Client) -> BTreeMap<i64, Vec<String>> {
    let mut messages: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for row in notifier.all("/notifications").await {
        let kind = row["kind"].as_str().expect("a kind").to_owned();
        messages.entry(row["enrollmentId"].as_i64().expect("an id")).or_default().push(kind);
    }
    for kinds in messages.values_mut() {
        kinds.sort();
    }
    messages
}

/// Everybody is killed in turn while customers apply and cancel. Afterwards each message is there exactly once, and the view
/// says what the services say.
#[tokio::test]
async fn a_service_in_python_has_each_effect_exactly_once_over_kills() {
    let mut course = Course::new();
    for name in ["pay", "order", "reservation"] {
        course.service(name).start().await;
    }
    let mut notifier = Notifier::start(&course);
    let client = course.notification.client();
    let is_up = async |client: &Client| {
        let answer = client.send(Method::GET, "/actuator/health", &[], "").await;
        answer.is_ok_and(|answer| answer.status == 200)
    };
    wait_until(LONG, "the notifier is up", async || is_up(&client).await).await;
    let mut orders = Vec::new();
    for victim in ["nobody", "notifier", "order", "notifier", "pay", "notifier", "reservation", "notifier"] {
        for nth in 0..4 {
            let applied = course.applicant(Some(&uuid::Uuid::new_v4().to_string())).insist().await;
            assert_eq!(applied.answer.status, 201, "{applied:?}");
            let id = applied.answer.id();
            orders.push(id);
            if nth == 1 {
                match victim {
                    "notifier" => notifier.kill(),
                    "nobody" => {}
                    service => {
                        course.service(service).kill();
                        course.service(service).start().await;
                    }
                }
            }
            if nth == 2 {
                let canceled = course.quitter(id, Some(&uuid::Uuid::new_v4().to_string())).insist().await;
                assert_eq!(canceled.answer.status, 204, "{canceled:?}");
            }
        }
        if victim == "notifier" {
            notifier = Notifier::start(&course);
            wait_until(LONG, "the notifier is up again", async || is_up(&client).await).await;
        }
    }
    for id in &orders {
        let order = course.order.client().get(&format!("/orders/{id}")).await.json();
        let seat = if order["status"] == "Ordered" { "Reservation Confirmed" } else { "Reservation Canceled" };
        let row = client.until(&format!("/infomations/{id}"), "reservationStatus", seat).await;
        let paid = if order["status"] == "Ordered" { "Paid" } else { "Payment Canceled" };
        let row = if row["payStatus"] == paid {
            row
        } else {
            client.until(&format!("/infomations/{id}"), "payStatus", paid).await
        };
        assert_eq!((&row["orderStatus"], &row["orderId"]), (&order["status"], &order["orderId"]), "{row}");
    }
    wait_until(LONG, "every customer is told everything", async || told(&client).await == expected(&course)).await;
    let is_sent = async || client.all("/notifications").await.iter().all(|row| row["status"] == "Sent");
    wait_until(LONG, "everything is sent", is_sent).await;
    let all = told(&client).await;
    assert_eq!(all.len(), orders.len());
    notifier.kill();
}
