//! A neighbour that is down, hangs, declines, answers late or answers nonsense: an order stands only once its payment
//! does, and the customer hears so in time.

mod lab;

use lab::{Answer, Client, Customer, Lab, basket, wait_until};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// The time limit of a call where a test sets none.
const TIME_LIMIT: Duration = Duration::from_secs(1);
/// What everything else may take on a machine that is busy with other tests.
const MARGIN: Duration = Duration::from_secs(2);

async fn assert_no_order(lab: &Lab) {
    assert_eq!(lab.order.client().all("/orders").await, Vec::<Value>::new());
    assert!(lab.journal("order").is_empty(), "an event of an order that does not stand");
}

/// Orders once; the answer and how long it took.
async fn order_once(client: &Client) -> (Answer, Duration) {
    let began = Instant::now();
    let answer = client.post("/orders", &basket("냉면", 11_000)).await;
    (answer, began.elapsed())
}

/// Sends an order under a key and waits for no answer; the connection.
async fn order_by_hand(address: SocketAddr, key: &str) -> TcpStream {
    let body = basket("냉면", 11_000).to_string();
    let head =
        format!("POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nidempotency-key: {key}\r\n");
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

async fn wait_until_in_doubt(lab: &Lab, count: usize, state: &str) {
    let found = || lab.attempts("order").iter().filter(|attempt| attempt.state == state).count();
    wait_until(lab::LONG, &format!("{count} requests are {state}"), async || found() == count).await;
}

async fn wait_until_nothing_is_in_doubt(lab: &Lab) {
    wait_until(lab::LONG, "nothing is in doubt", async || lab.asks().is_empty()).await;
}

// ---- down, hanging, slow

#[tokio::test]
async fn a_payment_that_is_down_is_told_at_once_and_there_is_no_order() {
    let mut lab = Lab::running().await;
    lab.payment.kill();
    for _ in 0..5 {
        let (answer, took) = order_once(&lab.order.client()).await;
        assert_eq!((answer.status, &*answer.problem()), (503, "neighbour-unavailable"));
        assert!(took < Duration::from_millis(500), "a connection that is refused is known at once, not in {took:?}");
    }
    assert_no_order(&lab).await;
    assert!(lab.asks().is_empty(), "who was never reached has nothing to undo");
    lab.payment.start().await;
    assert_eq!(order_once(&lab.order.client()).await.0.status, 201);
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn a_payment_that_was_never_there_is_no_hindrance_to_start() {
    let mut lab = Lab::new();
    lab.order.start().await;
    assert_eq!(order_once(&lab.order.client()).await.0.problem(), "neighbour-unavailable");
    assert_eq!(lab.order.client().get("/orders").await.status, 200, "reads need no neighbour");
    lab.payment.start().await;
    assert_eq!(order_once(&lab.order.client()).await.0.status, 201);
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn a_payment_that_hangs_costs_a_time_limit_and_is_undone_once_it_goes_on() {
    let mut lab = Lab::running().await;
    lab.payment.stall().await;
    let (answer, took) = order_once(&lab.order.client()).await;
    assert_eq!((answer.status, &*answer.problem()), (503, "neighbour-unavailable"));
    assert!((TIME_LIMIT..TIME_LIMIT + MARGIN).contains(&took), "{took:?}");
    assert_no_order(&lab).await;
    let asks = lab.asks();
    assert_eq!(asks.len(), 1, "an operator sees what is in doubt: {asks:?}");
    assert_eq!((&asks[0]["state"], &asks[0]["asks"]), (&json!("voiding"), &json!("payment/payinfos")));
    assert_eq!(lab.audit("0s").exit_code, 2, "as long as something is in doubt, nobody can tell");
    lab.payment.go_on();
    lab.assert_the_promise().await;
    assert_no_order(&lab).await;
}

#[tokio::test]
async fn many_who_hang_do_not_hold_each_other_up() {
    let mut lab = Lab::running().await;
    lab.payment.stall().await;
    let began = Instant::now();
    let mut customers = JoinSet::new();
    for _ in 0..100 {
        let client = lab.order.client();
        customers.spawn(async move { order_once(&client).await.0.problem() });
    }
    for problem in customers.join_all().await {
        assert_eq!(problem, "neighbour-unavailable");
    }
    assert!(began.elapsed() < TIME_LIMIT + MARGIN, "{:?} for all of them", began.elapsed());
    lab.payment.go_on();
    lab.assert_the_promise().await;
    assert_no_order(&lab).await;
}

#[tokio::test]
async fn a_payment_that_is_slow_within_the_limit_is_waited_for() {
    let mut lab = Lab::with(&["order.calls.payment.time_limit=10s"]).started().await;
    lab.payment.stall().await;
    let client = lab.order.client();
    let ordering = tokio::spawn(async move { order_once(&client).await.0 });
    wait_until_in_doubt(&lab, 1, "asking").await;
    assert_eq!(lab.order.client().all("/orders").await.len(), 0, "what is not paid yet is no order");
    assert_eq!(lab.order.client().get("/orders/1").await.problem(), "not-found");
    lab.payment.go_on();
    assert_eq!(ordering.await.expect("a customer").status, 201);
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn a_limit_that_is_shorter_than_the_payment_takes_leaves_nothing_behind() {
    let mut lab = Lab::with(&["order.calls.payment.time_limit=50ms"]).started().await;
    lab.payment.stall().await;
    let (answer, took) = order_once(&lab.order.client()).await;
    assert_eq!(answer.status, 503);
    assert!(took < Duration::from_millis(50) + MARGIN, "{took:?}");
    lab.payment.go_on();
    lab.assert_the_promise().await;
    assert_no_order(&lab).await;
}

#[tokio::test]
async fn an_operator_may_choose_the_status_that_says_not_now() {
    let mut lab = Lab::new();
    lab.order.set("unavailable_status=500");
    lab.order.start().await;
    let answer = order_once(&lab.order.client()).await.0;
    assert_eq!((answer.status, &answer.json()["status"]), (500, &json!(500)));
    assert_eq!(answer.json()["type"], "urn:jumun:problem:neighbour-unavailable");
}

// ---- declining

#[tokio::test]
async fn a_declined_payment_is_no_order_and_the_no_is_kept_under_its_key() {
    let mut lab = Lab::with(&["payment.decline_over=10000"]).started().await;
    let orders = lab.order.client();
    let dear = basket("한우", 10_001);
    let no = orders.post_with_key("/orders", "dear", &dear).await.expect("an answer");
    assert_eq!((no.status, &*no.problem()), (402, "declined"));
    assert_no_order(&lab).await;
    assert_eq!(lab.payment.client().all("/payinfos").await.len(), 0, "nothing was paid");

    // The same key gets the same no, even once payment would have said yes, or is not there at all.
    lab.payment.kill();
    let again = orders.post_with_key("/orders", "dear", &dear).await.expect("an answer");
    assert_eq!((again.status, again.problem()), (402, no.problem()));
    assert_eq!(again.json()["detail"], no.json()["detail"]);
    lab.payment.start().await;
    assert_eq!(orders.post("/orders", &basket("한우", 10_000)).await.status, 201, "at the limit");
    lab.assert_the_promise().await;
}

// ---- nonsense

/// What a payment service that is none does with a question.
#[derive(Debug, Clone)]
enum Nonsense {
    /// Sends this, then closes.
    Says(Vec<u8>),
    /// Sends this, then says nothing more and keeps the connection.
    SaysAndHangs(Vec<u8>),
    /// Sends this and then spaces without end.
    SaysForEver(Vec<u8>),
}

/// What it was asked.
#[derive(Debug, Clone, Default)]
struct Heard {
    questions: Vec<String>,
    undone: Vec<String>,
}

/// A server that takes questions, answers nonsense, and answers that something is undone only at the third time.
struct Impostor {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    serving: JoinSet<()>,
}

const UNDO_TRIES: usize = 3;

impl Impostor {
    async fn start(nonsense: Nonsense) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let heard = Arc::new(Mutex::new(Heard::default()));
        let mut serving = JoinSet::new();
        let shared = heard.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, shared.clone(), nonsense.clone()));
            }
        });
        Self { address, heard, serving }
    }

    fn heard(&self) -> Heard {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn answer(mut stream: TcpStream, heard: Arc<Mutex<Heard>>, nonsense: Nonsense) {
    while let Some((head, _)) = read_request(&mut stream).await {
        let id = head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).unwrap_or_default().to_owned();
        if head.starts_with("POST /payinfos/void ") {
            let tries = {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.undone.push(id);
                heard.undone.len()
            };
            let status = if tries < UNDO_TRIES { "500 Internal Server Error" } else { "204 No Content" };
            let length = if tries < UNDO_TRIES { "content-length: 0\r\n" } else { "" };
            if stream.write_all(format!("HTTP/1.1 {status}\r\n{length}\r\n").as_bytes()).await.is_err() {
                return;
            }
            continue;
        }
        heard.lock().unwrap_or_else(PoisonError::into_inner).questions.push(id);
        match nonsense {
            Says(text) => drop(stream.write_all(&text).await),
            SaysAndHangs(text) => {
                drop(stream.write_all(&text).await);
                // Until the other side has had enough.
                drop(stream.read(&mut [0; 64]).await);
            }
            SaysForEver(text) => {
                let mut sent = stream.write_all(&text).await;
                while sent.is_ok() {
                    sent = stream.write_all(&[b' '; 4096]).await;
                }
            }
        }
        return;
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut read, mut some) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let whole = end + 4 + length.unwrap_or(0);
            if read.len() >= whole {
                return Some((head, read[end + 4..whole].to_vec()));
            }
        }
        match stream.read(&mut some).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => read.extend_from_slice(&some[..count]),
        }
    }
}

/// Whatever it says: 503 in time, no order, and it is told to undo until it says that it has.
async fn is_not_believed(nonsense: Nonsense) {
    let impostor = Impostor::start(nonsense).await;
    let mut lab = Lab::running().await; // the audit needs both databases
    lab.order.stop().await;
    lab.order.set(format!("order.calls.payment.url=http://{}", impostor.address));
    lab.order.start().await;
    let customer = Customer::ordering(lab.order.client(), Some("k"), basket("냉면", 11_000));
    let began = Instant::now();
    let answer = customer.ask_once().await.expect("an answer");
    let took = began.elapsed();
    assert_eq!((answer.status, &*answer.problem()), (503, "neighbour-unavailable"));
    assert!(took < TIME_LIMIT + MARGIN, "{took:?}");

    wait_until_nothing_is_in_doubt(&lab).await;
    let Heard { questions, undone } = impostor.heard();
    let once = questions.iter().all(|id| *id == questions[0]) && (1..=4).contains(&questions.len());
    assert!(once, "a question is one question, however often connections break: {questions:?}");
    assert_eq!(
        undone,
        vec![questions[0].clone(); UNDO_TRIES],
        "it is undone until that is confirmed, and then no more"
    );
    assert_no_order(&lab).await;
    assert_eq!(lab.audit("0s").exit_code, 0);

    // The key was not used up: with a real payment service behind it, there is an order.
    lab.order.stop().await;
    lab.order.set(format!("order.calls.payment.url=http://{}", lab.payment.address()));
    lab.order.start().await;
    assert_eq!(customer.insist().await.answer.status, 201);
    lab.assert_the_promise().await;
    drop(impostor.serving);
}

fn response(status: &str, kind: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

const PAID: &str = r#"{"id":1,"orderId":1,"price":11000,"status":"APPROVED"}"#;

macro_rules! nobody_believes {
    ($($(#[$attribute:meta])* $name:ident: $nonsense:expr;)*) => {
        mod nobody_believes {
            use super::*;
            $(
                $(#[$attribute])*
                #[tokio::test]
                async fn $name() {
                    is_not_believed($nonsense).await;
                }
            )*
        }
    };
}

use Nonsense::{Says, SaysAndHangs, SaysForEver};

nobody_believes! {
    a_web_page_that_says_200: Says(response("200 OK", "text/html", "<html>welcome</html>"));
    a_web_page_that_says_404: Says(response("404 Not Found", "text/html", "<h1>404</h1>"));
    a_201_of_nothing: Says(response("201 Created", "application/json", "{}"));
    a_201_without_a_body: Says(response("201 Created", "application/json", ""));
    a_204: Says(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec());
    a_201_of_garbage: Says(response("201 Created", "application/json", [0xff, 0xfe, 0x00, 0x01]));
    a_201_of_half_a_payment: Says(response("201 Created", "application/json", &PAID[..30]));
    a_201_of_two_payments: Says(response("201 Created", "application/json", format!("{PAID}{PAID}")));
    a_201_that_breaks_off: Says(format!("HTTP/1.1 201 Created\r\ncontent-length: 4000\r\n\r\n{PAID}").into_bytes());
    a_201_that_never_ends_its_body: SaysAndHangs(format!("HTTP/1.1 201 Created\r\ncontent-length: 4000\r\n\r\n{PAID}").into_bytes());
    a_chunk_that_breaks_off: Says(b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n{\"id\":1".to_vec());
    chunks_that_are_none: Says(b"HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n".to_vec());
    half_a_head: Says(b"HTTP/1.1 201 Crea".to_vec());
    half_a_head_and_silence: SaysAndHangs(b"HTTP/1.1 201 Crea".to_vec());
    silence: SaysAndHangs(Vec::new());
    a_connection_that_closes_at_once: Says(Vec::new());
    bytes_that_are_not_http: Says(b"\x15\x03\x01\x00\x02\x02\x50 SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec());
    a_500: Says(response("500 Internal Server Error", "text/plain", "sorry"));
    a_503_that_is_not_ours: Says(response("503 Service Unavailable", "application/json", r#"{"error":"busy"}"#));
    a_402_that_is_not_ours: Says(response("402 Payment Required", "application/json", r#"{"error":"money"}"#));
    a_problem_of_another_kind: Says(response("402 Payment Required", "application/problem+json", r#"{"type":"about:blank","status":402}"#));
    a_defect_in_our_words: Says(response("500 Internal Server Error", "application/problem+json", r#"{"type":"urn:jumun:problem:internal"}"#));
    a_redirect: Says(b"HTTP/1.1 302 Found\r\nlocation: /payinfos/1\r\ncontent-length: 0\r\n\r\n".to_vec());
    a_body_without_end: SaysForEver(b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\n\r\n".to_vec());
    a_head_without_end: SaysForEver(b"HTTP/1.1 201 Created\r\nx: ".to_vec());
    a_payment_of_another_order: Says(response("201 Created", "application/json", PAID.replace("\"orderId\":1", "\"orderId\":7")));
    a_payment_of_another_price: Says(response("201 Created", "application/json", PAID.replace("11000", "1")));
    a_payment_that_was_given_back: Says(response("201 Created", "application/json", PAID.replace("APPROVED", "VOIDED")));
}

// ---- keys

#[tokio::test]
async fn two_at_once_with_the_same_key_are_one_order() {
    let mut lab = Lab::running().await;
    let mut customers = JoinSet::new();
    for _ in 0..20 {
        let client = lab.order.client();
        customers.spawn(async move {
            client.post_with_key("/orders", "one", &basket("냉면", 11_000)).await.expect("an answer")
        });
    }
    let answers = customers.join_all().await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (201, &answers[0].body), "{answer:?}");
        assert_eq!(answer.header("location"), Some("/orders/1"));
    }
    assert_eq!(lab.order.client().all("/orders").await.len(), 1);
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn a_key_is_for_one_request_only() {
    let mut lab = Lab::running().await;
    let orders = lab.order.client();
    let first = orders.post_with_key("/orders", "mine", &basket("냉면", 11_000)).await.expect("an answer");
    assert_eq!(first.status, 201);
    let other = orders.post_with_key("/orders", "mine", &basket("냉면", 12_000)).await.expect("an answer");
    assert_eq!((other.status, &*other.problem()), (422, "key-reused"));
    let again = orders.post_with_key("/orders", "mine", &basket("냉면", 11_000)).await.expect("an answer");
    assert_eq!((again.status, again.body), (201, first.body));
    for (nth, key) in ["", "with space", "schl\u{fc}ssel", &"k".repeat(256)].into_iter().enumerate() {
        let answer = orders.post_with_key("/orders", key, &basket("냉면", 11_000)).await.expect("an answer");
        assert_eq!((answer.status, &*answer.problem()), (400, "malformed"), "key {nth}");
    }
    let longest = "k".repeat(255);
    assert_eq!(
        orders.post_with_key("/orders", &longest, &basket("냉면", 11_000)).await.expect("an answer").status,
        201
    );
    assert_eq!(orders.all("/orders").await.len(), 2);
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn a_key_is_known_to_the_next_process() {
    let mut lab = Lab::running().await;
    let customer = Customer::ordering(lab.order.client(), Some("k"), basket("냉면", 11_000));
    let first = customer.insist().await.answer;
    lab.order.stop().await;
    lab.order.start().await;
    let second = customer.ask_once().await.expect("an answer");
    lab.order.kill();
    lab.order.start().await;
    lab.payment.kill();
    let third = customer.ask_once().await.expect("an answer");
    for again in [second, third] {
        assert_eq!((again.status, &again.body, again.header("location")), (201, &first.body, first.header("location")));
    }
    lab.payment.start().await;
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn a_key_moves_on_to_another_attempt_after_a_503() {
    let mut lab = Lab::running().await;
    lab.payment.stall().await;
    let customer = Customer::ordering(lab.order.client(), Some("k"), basket("냉면", 11_000));
    assert_eq!(customer.ask_once().await.expect("an answer").status, 503);
    lab.payment.go_on();
    let told = customer.insist().await;
    assert_eq!(told.answer.status, 201);
    assert_ne!(told.answer.id(), 1, "the first attempt is given up for good, its id with it");
    lab.assert_the_promise().await;
}

// ---- clients that leave

#[tokio::test]
async fn a_command_outlives_its_client() {
    let mut lab = Lab::with(&["order.calls.payment.time_limit=10s"]).started().await;
    lab.payment.stall().await;
    let stream = order_by_hand(lab.order.address(), "left").await;
    wait_until_in_doubt(&lab, 1, "asking").await;
    drop(stream); // the customer hangs up
    lab.payment.go_on();
    wait_until_in_doubt(&lab, 1, "done").await;
    let customer = Customer::ordering(lab.order.client(), Some("left"), basket("냉면", 11_000));
    let answer = customer.ask_once().await.expect("an answer");
    assert_eq!((answer.status, answer.id()), (201, 1), "the order stands, and the key tells so");
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn clients_that_hang_up_at_any_time_leave_nothing_half_done() {
    let mut lab = Lab::running().await;
    let address = lab.order.address();
    let client = move |nth: u64| async move {
        let mut stream = order_by_hand(address, &nth.to_string()).await;
        let bound = Duration::from_micros(nth * 100);
        drop(tokio::time::timeout(bound, stream.read(&mut [0; 1024])).await);
    };
    (0..60).map(client).collect::<JoinSet<()>>().join_all().await;
    let mut ids = std::collections::BTreeSet::new();
    for nth in 0..60 {
        let customer = Customer::ordering(lab.order.client(), Some(&nth.to_string()), basket("냉면", 11_000));
        let answer = customer.insist().await.answer;
        assert_eq!(answer.status, 201);
        assert!(ids.insert(answer.id()), "an order for two");
    }
    assert_eq!(lab.order.client().all("/orders").await.len(), 60);
    lab.assert_the_promise().await;
}

// ---- stopping

#[tokio::test]
async fn a_stop_finishes_what_is_at_work_and_leaves_a_tidy_folder() {
    const ORDERS: usize = 50;
    let mut lab = Lab::with(&["order.calls.payment.time_limit=20s"]).started().await;
    lab.payment.stall().await;
    let mut customers = JoinSet::new();
    for _ in 0..ORDERS {
        let client = lab.order.client();
        customers.spawn(async move { order_once(&client).await.0.status });
    }
    wait_until_in_doubt(&lab, ORDERS, "asking").await;
    assert_eq!(lab.asks().len(), ORDERS, "an operator sees what is not decided yet");
    lab.order.terminate();
    let address = lab.order.address();
    wait_until(lab::LONG, "nobody is let in any more", async || TcpStream::connect(address).await.is_err()).await;
    lab.payment.go_on();
    lab.order.wait_until_ended(lab::LONG).await;
    assert_eq!(customers.join_all().await, vec![201; ORDERS], "who was let in gets an answer");
    lab.payment.stop().await;
    for service in ["order", "payment"] {
        for suffix in ["-wal", "-shm"] {
            let left = format!("{}{suffix}", lab.database(service).display());
            assert!(!std::path::Path::new(&left).exists(), "{left} is left behind");
        }
    }
    assert_eq!(lab.asks().len(), 0);
    let audit = lab.audit("0s").report;
    assert_eq!(
        (&audit["inDoubt"], &audit["violations"]),
        (&json!(0), &json!([])),
        "an audit needs no service that runs"
    );
    assert_eq!(audit["open"].as_array().map(Vec::len), Some(ORDERS), "the others will hear of the orders");
    lab.start().await;
    assert_eq!(lab.order.client().all("/orders").await.len(), ORDERS);
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_client_that_says_nothing() {
    let mut lab = Lab::running().await;
    let idle = TcpStream::connect(lab.order.address()).await.expect("a connection");
    assert_eq!(order_once(&lab.order.client()).await.0.status, 201);
    lab.order.terminate();
    lab.order.wait_until_ended(Duration::from_secs(10)).await;
    drop(idle);
}

#[tokio::test]
async fn two_processes_of_one_service_do_not_share_a_database() {
    let mut lab = Lab::running().await;
    let mut second = std::process::Command::new(env!("CARGO_BIN_EXE_jumun"));
    second.args(["serve", "food-delivery", "order", "--listen", "127.0.0.1:0", "--data"]).arg(lab.data());
    let (exit_code, said) = lab::run(second);
    assert_eq!(exit_code, 1);
    assert!(said.contains("error[database-in-use]"), "{said}");
    assert!(lab.order.is_alive());
    assert_eq!(order_once(&lab.order.client()).await.0.status, 201);
}
