//! Questions that go to a neighbour in one request: each is answered by itself, whatever becomes of the others.

mod lab;

use lab::{
    Customer, Lab, basket,
    wire::{Message, Wire},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, task::JoinSet};
use uuid::Uuid;

const ASKS: &str = "application/vnd.jumun.asks";

// ---- the service that is asked

fn line(id: Uuid, expires: i64, order: i64, price: Value) -> String {
    let question = json!({ "orderId": order, "price": price });
    json!({ "id": id, "expires": expires, "request": "r", "parent": "", "question": question }).to_string()
}

fn later() -> i64 {
    jiff::Timestamp::now().as_millisecond() + 20_000
}

/// Sends a request with asks; the answer to each.
async fn ask(address: SocketAddr, lines: &[String]) -> BTreeMap<Uuid, (u64, Value)> {
    let answer = post(address, &lines.join("\n"), ASKS).await;
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some(ASKS)), "{answer:?}");
    let answers = answer.text();
    let answers = answers.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        let id = line["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
        (id, (line["status"].as_u64().expect("a status"), line["answer"].clone()))
    });
    answers.collect()
}

async fn post(address: SocketAddr, body: &str, kind: &str) -> Message {
    let head = format!("POST /payinfos HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\njumun-expires: {}\r\n", later());
    let mut wire = Wire::to(address).await;
    wire.say(format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
    wire.message().await.expect("an answer")
}

#[tokio::test]
async fn each_has_the_answer_that_it_would_have_alone() {
    let lab = Lab::running().await;
    let ids: Vec<_> = (0..5).map(|_| Uuid::now_v7()).collect();
    let lines = [
        line(ids[0], later(), 1, json!(9_000)),
        line(ids[1], later(), 2, json!(-1)),
        line(ids[2], 0, 3, json!(9_000)),
        line(ids[3], later(), 4, json!("much")),
        line(ids[4], later(), 5, json!(7_000)),
    ];
    let answers = ask(lab.payment.address(), &lines).await;
    assert_eq!(answers.len(), lines.len(), "{answers:?}");
    for (at, order) in [(0, 1), (4, 5)] {
        let (status, payment) = &answers[&ids[at]];
        assert_eq!((*status, &payment["orderId"], &payment["status"]), (201, &json!(order), &json!("APPROVED")));
    }
    for (at, problem) in [(1, "invalid"), (2, "ask-expired"), (3, "invalid")] {
        let (status, answer) = &answers[&ids[at]];
        assert_eq!(answer["type"], format!("urn:jumun:problem:{problem}"), "{status} {answer}");
    }
    assert_eq!(lab.payment.client().all("/payinfos").await.len(), 2);

    // The same question again, alone and with others, has the same answer and no other effect.
    for lines in [&lines[..1], &lines[..]] {
        assert_eq!(ask(lab.payment.address(), lines).await[&ids[0]], answers[&ids[0]]);
    }
    assert_eq!(lab.payment.client().all("/payinfos").await.len(), 2);
    assert_eq!(lab.journal("payment").len(), 2);
}

#[tokio::test]
async fn lines_that_cannot_be_read_are_refused_as_a_whole() {
    let lab = Lab::running().await;
    let good = line(Uuid::now_v7(), later(), 1, json!(9_000));
    for bad in ["{", "{}", "[]", "x"] {
        let answer = post(lab.payment.address(), &format!("{good}\n{bad}"), ASKS).await;
        assert_eq!(answer.status(), 400, "{bad}: {answer:?}");
    }
    assert_eq!(post(lab.payment.address(), "", ASKS).await.status(), 200, "no question, no answer");
    assert_eq!(
        post(lab.payment.address(), &good, "text/plain").await.status(),
        403,
        "no ask as it comes alone, either"
    );
    assert!(lab.journal("payment").is_empty());
}

// ---- the service that asks

/// A payment service that takes several questions in one request, and answers as a test says: with a line, or not at all.
struct Till {
    address: SocketAddr,
    /// The ids of each request.
    asked: Arc<Mutex<Vec<Vec<String>>>>,
    task: tokio::task::AbortHandle,
}

impl Drop for Till {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a till does about a question: it gets the question, and how often it came before.
type Cashier = fn(&Value, usize) -> Option<(u16, Value)>;

fn paid(question: &Value) -> Value {
    json!({ "id": question["orderId"], "orderId": question["orderId"], "price": question["price"], "status": "APPROVED" })
}

impl Till {
    async fn open(cashier: Cashier) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(Wire::of(stream), cashier, noted.clone()));
            }
        });
        Self { address, asked, task: task.abort_handle() }
    }

    /// How often each question came.
    fn asked(&self) -> Vec<Vec<String>> {
        self.asked.lock().expect("nobody panics").clone()
    }
}

async fn serve(mut wire: Wire, cashier: Cashier, asked: Arc<Mutex<Vec<Vec<String>>>>) {
    while let Some(request) = wire.message().await {
        let is_group = request.header("content-type") == Some(ASKS);
        let text = request.text();
        let questions: Vec<(String, Value)> = if is_group {
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line"));
            lines.map(|line| (line["id"].as_str().expect("an id").to_owned(), line["question"].clone())).collect()
        } else {
            let id = request.header("idempotency-key").expect("an id").to_owned();
            vec![(id, serde_json::from_str(&text).unwrap_or_default())]
        };
        if request.first_line.contains("/void ") {
            wire.say("HTTP/1.1 204 No Content\r\n\r\n").await;
            continue;
        }
        let before: Vec<_> = {
            let mut asked = asked.lock().expect("nobody panics");
            let before = |id: &String| asked.iter().flatten().filter(|known| *known == id).count();
            let before = questions.iter().map(|(id, _)| before(id)).collect();
            asked.push(questions.iter().map(|(id, _)| id.clone()).collect());
            before
        };
        let answers = questions.iter().zip(before).map(|((id, question), before)| (id, cashier(question, before)));
        let answers: Vec<_> = answers.collect();
        let capacity = "jumun-capacity: places=100, queue=0, together=64\r\n";
        if !is_group {
            let Some((status, body)) = answers[0].1.clone() else { return };
            let (kind, body) = (kind(status), body.to_string());
            let head = format!("HTTP/1.1 {status} -\r\n{capacity}content-type: {kind}\r\n");
            wire.say(format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
            continue;
        }
        wire.say(format!("HTTP/1.1 200 OK\r\n{capacity}content-type: {ASKS}\r\ntransfer-encoding: chunked\r\n\r\n"))
            .await;
        let is_whole = answers.iter().all(|(_, answer)| answer.is_some());
        for (id, (status, answer)) in answers.into_iter().rev().filter_map(|(id, answer)| Some((id, answer?))) {
            let line = format!("{}\n", json!({ "id": id, "status": status, "answer": answer }));
            // A line need not come in one piece.
            for part in line.as_bytes().chunks(100) {
                wire.say([format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()).await;
            }
        }
        if !is_whole {
            return; // the rest gets no answer: the connection breaks
        }
        wire.say("0\r\n\r\n").await;
    }
}

fn kind(status: u16) -> &'static str {
    if status < 300 { "application/json" } else { "application/problem+json" }
}

/// Many order at once at a till; the answers to them, and what the till was asked.
async fn order_at(cashier: Cashier) -> (Lab, Vec<(i64, lab::Answer)>, Vec<Vec<String>>) {
    let till = Till::open(cashier).await;
    let mut lab = Lab::running().await;
    lab.order.stop().await;
    lab.order.set(format!("order.calls.payment.url=http://{}", till.address));
    lab.order.set("order.calls.payment.time_limit=20s");
    lab.order.start().await;
    let orders = lab.order.client();
    assert_eq!(orders.post("/orders", &basket("김밥", 1)).await.status, 201, "the till tells that it takes several");
    let mut answers = Vec::new();
    for _ in 0..20 {
        let mut customers = JoinSet::new();
        for price in 1..=30 {
            let customer = Customer::ordering(orders.clone(), None, basket("김밥", price));
            customers.spawn(async move { (price, customer.ask_once().await.expect("an answer")) });
        }
        answers.extend(customers.join_all().await);
        if till.asked().iter().any(|group| group.len() > 2) {
            return (lab, answers, till.asked());
        }
    }
    panic!("never were three asked for at once: {:?}", till.asked());
}

#[tokio::test]
async fn those_who_order_at_once_are_asked_for_at_once_and_answered_one_by_one() {
    // Odd prices are paid, others declined.
    let (lab, answers, asked) = order_at(|question, _| {
        let is_odd = question["price"].as_i64().is_some_and(|price| price % 2 == 1);
        let declined = json!({ "type": "urn:jumun:problem:declined", "title": "no", "status": 402, "detail": "no" });
        Some(if is_odd { (201, paid(question)) } else { (402, declined) })
    })
    .await;
    for (price, answer) in &answers {
        let expected = if price % 2 == 1 { 201 } else { 402 };
        assert_eq!(answer.status, expected, "{price}: {answer:?}");
    }
    assert!(asked.iter().flatten().count() == asked.iter().flatten().collect::<BTreeSet<_>>().len(), "each once");
    assert!(asked.iter().all(|group| group.len() <= 64));
    assert_eq!(lab.asks(), Vec::<Value>::new(), "nothing is in doubt");
}

#[tokio::test]
async fn those_without_an_answer_are_asked_again_under_their_ids() {
    // Every third question gets no answer the first time, and the connection breaks after the others have theirs.
    let (lab, answers, asked) = order_at(|question, before| {
        let is_third = question["price"].as_i64().is_some_and(|price| price % 3 == 0);
        (!is_third || before > 0).then(|| (201, paid(question)))
    })
    .await;
    for (price, answer) in &answers {
        assert_eq!(answer.status, 201, "{price}: {answer:?}");
    }
    let mut times = BTreeMap::<_, usize>::new();
    asked.iter().flatten().for_each(|id| *times.entry(id).or_default() += 1);
    assert_eq!(times.len(), answers.len() + 1, "as many questions as orders");
    assert!(times.values().all(|times| *times <= 2), "{times:?}");
    assert!(times.values().any(|times| *times == 2), "{times:?}");
    assert_eq!(lab.asks(), Vec::<Value>::new(), "nothing is in doubt");
}
