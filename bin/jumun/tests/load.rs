//! `jumun load`: what it sends, what it counts, when it says that something is wrong. Against a server that fails in known
//! ways, and against real services.

mod lab;

use lab::{LONG, Lab, run, wait_for, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tokio::net::TcpSocket;

// ---- a server

/// What a server does with a request.
enum Act {
    /// Answers: a status, a head, a body.
    Answer(u16, String, String),
    /// Closes the connection.
    Break,
    /// Sends a head and closes the connection before the body.
    CutOff(u16, String),
    /// Never answers.
    Hang,
    /// Stands still, with all its requests, from now on for so long; then answers as `created`.
    StandStill(Duration),
}

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
struct Arrived {
    nth: i64,
    line: String,
    key: Option<String>,
    body: String,
}

/// A server of one behaviour. It ends with the test's process.
struct Server {
    address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

fn created(id: i64) -> Act {
    Act::Answer(201, format!("location: /orders/{id}\r\n"), "{}".to_owned())
}

fn problem(status: u16, word: &str) -> Act {
    let head = "content-type: application/problem+json\r\n".to_owned();
    Act::Answer(status, head, json!({ "type": format!("urn:jumun:problem:{word}") }).to_string())
}

impl Server {
    fn start(act: impl Fn(&Arrived) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (act, still_until) = (Arc::new(act), Arc::new(Mutex::new(Instant::now())));
        let arrived = Arc::<Mutex<Vec<Arrived>>>::default();
        let all = Arc::clone(&arrived);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (act, all, still_until) = (Arc::clone(&act), Arc::clone(&all), Arc::clone(&still_until));
                thread::spawn(move || serve(stream, &*act, &all, &still_until));
            }
        });
        Self { address, arrived }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a load at it, without an audit: its exit status, and what it says.
    fn load(&self, arguments: &[&str]) -> (i32, Value) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
        command.args(["load", "food-delivery", "--no-audit", "--json", "--url", &self.url()]).args(arguments);
        told(command)
    }
}

fn serve(stream: TcpStream, act: &dyn Fn(&Arrived) -> Act, all: &Mutex<Vec<Arrived>>, still_until: &Mutex<Instant>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut writer = stream;
    while let Some(mut request) = read(&mut reader) {
        {
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            request.nth = i64::try_from(all.len()).expect("a number");
            all.push(request.clone());
        }
        let act = act(&request);
        let lock = || still_until.lock().unwrap_or_else(PoisonError::into_inner);
        if let Act::StandStill(time) = act {
            *lock() = Instant::now() + time;
        }
        let still = lock().saturating_duration_since(Instant::now());
        #[expect(clippy::disallowed_methods, reason = "it is the server that is slow; nobody waits for a condition")]
        thread::sleep(still);
        let answer = match act {
            Act::Answer(status, head, body) => (status, head, body.len(), body),
            Act::StandStill(_) => (201, format!("location: /orders/{}\r\n", request.nth + 1), 0, String::new()),
            Act::CutOff(status, head) => (status, head, 10, "{".to_owned()),
            Act::Break => return drop(writer.shutdown(Shutdown::Both)),
            Act::Hang => return drop(reader.read_to_end(&mut Vec::new())),
        };
        let (status, head, length, body) = answer;
        let answer = format!("HTTP/1.1 {status} so\r\ncontent-length: {length}\r\n{head}\r\n{body}");
        if writer.write_all(answer.as_bytes()).is_err() || body.len() < length {
            return drop(writer.shutdown(Shutdown::Both));
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Arrived> {
    let (mut request, mut length) = (Arrived::default(), 0);
    reader.read_line(&mut request.line).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        match line.trim().split_once(": ") {
            None => break,
            Some(("content-length", value)) => length = value.parse().ok()?,
            Some(("idempotency-key", value)) => request.key = Some(value.to_owned()),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}

/// Runs a load to its end: its exit status, and what it says as JSON.
fn told(command: Command) -> (i32, Value) {
    let (exit_code, text) = run(command);
    (exit_code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// Sends a signal to a load that runs.
fn signal(process: &Child, signal: Signal) {
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(pid, signal).expect("a process of ours");
}

/// Waits until it has ended by itself: its exit status, and what it said.
async fn ended(process: Child) -> (i32, Value) {
    let ended = tokio::task::spawn_blocking(move || process.wait_with_output());
    let output = tokio::time::timeout(LONG, ended).await.expect("in time").expect("a thread").expect("an end");
    (output.status.code().unwrap_or(-1), serde_json::from_slice(&output.stdout).expect("a summary"))
}

fn number(of: &Value) -> f64 {
    of.as_f64().unwrap_or_else(|| panic!("{of} is no number"))
}

// ---- against a server

#[test]
fn it_sends_the_load_line_of_the_system_each_time_with_a_key_of_its_own() {
    let server = Server::start(|request| created(request.nth + 1));
    let (exit_code, told) = server.load(&["--requests", "50", "--concurrency", "4"]);
    assert_eq!(exit_code, 0, "{told}");
    assert_eq!((&told["transactions"], &told["orders"], &told["failed"]), (&json!(50), &json!(50), &json!(0)));
    let arrived = server.arrived();
    assert_eq!(arrived.len(), 50);
    let keys: BTreeSet<_> = arrived.iter().filter_map(|request| request.key.clone()).collect();
    assert_eq!(keys.len(), 50);
    for request in arrived {
        assert_eq!(request.line.trim(), "POST /orders HTTP/1.1");
        assert_eq!(request.body, r#"{"storeName":"s","itemName":"i","itemQty":1,"price":1000}"#);
    }
}

#[test]
fn what_is_sent_can_be_said() {
    let server = Server::start(|_| Act::Answer(200, String::new(), String::new()));
    let arguments = ["--requests", "3", "--no-keys", "--method", "PUT", "--path", "/stores/7/accept", "--body", "{}"];
    let (exit_code, told) = server.load(&arguments);
    assert_eq!((exit_code, &told["successful"], &told["orders"]), (0, &json!(3), &json!(0)), "{told}");
    for request in server.arrived() {
        assert_eq!((request.line.trim(), &*request.body, request.key), ("PUT /stores/7/accept HTTP/1.1", "{}", None));
    }
}

#[test]
fn it_goes_through_the_gateway_unless_told_otherwise() {
    let gateway = Server::start(|request| created(request.nth + 1));
    let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
    command.args(["load", "food-delivery", "--no-audit", "--json", "--requests", "3", "--concurrency", "1"]);
    command.args(["--set", &format!("gateway.listen={}", gateway.address)]);
    let (exit_code, told) = told(command);
    assert_eq!((exit_code, gateway.arrived().len()), (0, 3), "{told}");
    assert_eq!(told["target"], gateway.url());
}

#[test]
fn every_way_to_fail_is_counted_by_itself() {
    let server = Server::start(|request| match request.nth % 8 {
        0 => created(request.nth + 1),
        1 => problem(503, "not-done"),
        2 => problem(503, "outcome-unknown"),
        3 => Act::Answer(500, String::new(), "<html>".into()),
        4 => Act::Break,
        5 => Act::CutOff(201, format!("location: /orders/{}\r\n", request.nth + 1)),
        6 => Act::Hang,
        _ => Act::Answer(201, String::new(), "{}".into()),
    });
    let (exit_code, told) = server.load(&["--requests", "40", "--concurrency", "1", "--timeout", "100ms"]);
    assert_eq!(exit_code, 1, "{told}");
    assert_eq!(
        told["failures"],
        json!({
            "503 not-done": 5,
            "503 outcome-unknown": 5,
            "500": 5,
            "connection ended before an answer": 5,
            "connection ended within the answer": 5,
            "no answer in time": 5,
            "201 that names no order": 5,
        })
    );
    assert_eq!((&told["successful"], &told["failed"], &told["transactions"]), (&json!(5), &json!(35), &json!(40)));
    assert_eq!(told["availability"], 0.125);
    assert_eq!(told["orders"], 10, "a 201 counts from its head on, whatever becomes of the rest");
    assert_eq!(told["unanswered"], 10, "those that may have been done");
}

#[test]
fn in_open_loop_a_server_that_stands_still_is_seen_as_its_customers_see_it() {
    let stands_still_once = || {
        Server::start(|request| match request.nth {
            100 => Act::StandStill(Duration::from_secs(1)),
            nth => created(nth + 1),
        })
    };
    let (_, open) = stands_still_once().load(&["--rate", "200", "--requests", "600"]);
    assert_eq!(open["successful"], 600, "{open}");
    assert!(number(&open["latencyMs"]["p99"]) > 900.0, "a third of all were due in that second: {open}");
    assert!(number(&open["latencyMs"]["p50"]) < 500.0, "most were not: {open}");
    assert!(number(&open["latencyMs"]["max"]) >= number(&open["latencyMs"]["p99.9"]), "{open}");
    assert!(number(&open["elapsedSeconds"]) < 10.0, "it sent on while the server stood still: {open}");

    let (_, closed) = stands_still_once().load(&["--concurrency", "1", "--requests", "600"]);
    assert_eq!(closed["successful"], 600, "{closed}");
    assert!(number(&closed["latencyMs"]["p99"]) < 900.0, "one customer waited, and nobody else came: {closed}");
    assert!(number(&closed["latencyMs"]["max"]) >= 1_000.0, "{closed}");
}

#[tokio::test]
async fn a_generator_that_stands_still_itself_counts_that_and_says_so() {
    let server = Server::start(|request| created(request.nth + 1));
    let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
    command.args(["load", "food-delivery", "--no-audit", "--json", "--url", &server.url()]);
    command.args(["--rate", "200", "--requests", "600"]);
    let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a process");
    wait_until(LONG, "requests come in", async || server.arrived().len() > 100).await;
    signal(&process, Signal::STOP);
    wait_for(Duration::from_secs(1)).await;
    signal(&process, Signal::CONT);
    let (exit_code, told) = ended(process).await;
    assert_eq!((exit_code, &told["successful"]), (0, &json!(600)), "{told}");
    assert!(number(&told["latencyMs"]["p99"]) > 900.0, "time counts from when a request was due: {told}");
    assert!(told["warnings"].to_string().contains("itself was late"), "and whose fault it was is said: {told}");
}

#[test]
fn what_cannot_be_sent_when_it_is_due_is_not_queued_and_counts_as_failed() {
    let server = Server::start(|_| Act::Hang);
    let arguments = ["--rate", "100", "--for", "1s", "--in-flight", "5", "--timeout", "400ms"];
    let (exit_code, told) = server.load(&arguments);
    assert_eq!(exit_code, 1, "{told}");
    let count = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{told}"));
    let (sent, not_sent) = (count("transactions"), count("notSent"));
    assert!(sent + not_sent == 100 && sent >= 5 && not_sent >= 50, "{told}");
    assert_eq!(told["availability"], 0.0);
    assert!(told["warnings"].to_string().contains("NOT SENT"), "it says so loudly: {told}");
    assert_eq!(server.arrived().len() as u64, sent, "and it is true");
}

#[test]
fn how_available_it_must_be_is_for_the_user_to_say() {
    let half = || Server::start(|request| if request.nth % 2 == 0 { created(1) } else { problem(503, "not-done") });
    let load = |availability| half().load(&["--requests", "10", "-c", "1", "--availability", availability]).0;
    assert_eq!(["50%", "51%", "100%"].map(load), [0, 1, 1]);
}

#[test]
fn a_view_that_never_shows_an_order_is_a_failure() {
    let server = Server::start(|request| {
        if request.line.starts_with("GET") {
            Act::Answer(200, String::new(), r#"{"status":"PAID"}"#.into())
        } else {
            created(request.nth + 1)
        }
    });
    let arguments = ["--requests", "10", "-c", "1", "--watch", "20%", "--wait", "200ms"];
    let (exit_code, told) = server.load(&arguments);
    assert_eq!(
        (exit_code, &told["view"]["watched"], &told["view"]["neverFinished"]),
        (1, &json!(2), &json!(2)),
        "{told}"
    );
    let (exit_code, told) = server.load(&[&arguments[..], &["--until", "status=PAID"]].concat());
    assert_eq!(
        (exit_code, &told["view"]["watched"], &told["view"]["neverFinished"]),
        (0, &json!(2), &json!(0)),
        "{told}"
    );
}

#[test]
fn the_summary_reads_as_that_of_siege() {
    let server = Server::start(|request| created(request.nth + 1));
    let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
    command.args(["load", "food-delivery", "--no-audit", "--requests", "20", "--url", &server.url()]);
    let (exit_code, said) = run(command);
    assert_eq!(exit_code, 0, "{said}");
    for line in ["Transactions:                       20 hits", "Availability:                   100.00 %"] {
        assert!(said.contains(line), "{said}");
    }
    assert!(said.contains("not audited"), "it says what it has not done: {said}");
}

#[test]
fn what_keeps_it_from_telling_anything_is_status_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
        command.current_dir(folder.path()).args(["load", "food-delivery", "--requests", "1"]).args(arguments);
        run(command)
    };
    // Held and not listened to, so that nobody else gets the port meanwhile.
    let nobody = TcpSocket::new_v4().expect("a socket");
    nobody.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let nowhere = format!("http://{}", nobody.local_addr().expect("an address"));
    for (arguments, code) in [
        (&["--url", "https://127.0.0.1:1", "--no-audit"][..], "load-target-invalid"),
        (&["--url", "127.0.0.1:1/path", "--no-audit"], "load-target-invalid"),
        (&["--url", &nowhere, "--no-audit"], "load-target-unreachable"),
        (&["--path", "orders", "--no-audit"], "load-unclear"),
        (&["--watch", "1%", "--until", "done", "--no-audit"], "load-unclear"),
        (&[], "load-audit-impossible"),
        (&["--path", "/nowhere"], "load-audit-impossible"),
    ] {
        let (exit_code, said) = refused(arguments);
        assert_eq!(exit_code, 2, "{arguments:?}: {said}");
        assert!(said.starts_with(&format!("error[{code}]: ")), "{arguments:?}: {said}");
    }
    assert!(refused(&[]).1.contains("--no-audit"), "it says how to do without");
}

// ---- against services

/// A load at the order service of a lab, with the audit.
fn load(lab: &Lab, url: &str, arguments: &[&str]) -> (i32, Value) {
    told(lab.command(&["load"], &[&["--json", "--url", url], arguments].concat()))
}

fn url(of: &lab::Service) -> String {
    format!("http://{}", of.address())
}

#[tokio::test]
async fn orders_and_cancels_are_audited_and_the_view_is_watched() {
    let lab = Lab::all_running().await;
    let (order, dashboard) = (url(&lab.order), url(&lab.dashboard));
    let earlier = lab.order.client().place("치킨", 22_000).await;
    let arguments = ["--rate", "100", "--for", "2s", "--cancel", "10%", "--watch", "10%", "--watch-url", &dashboard];
    let (exit_code, told) = load(&lab, &order, &arguments);
    assert_eq!(exit_code, 0, "{told}");
    assert_eq!((&told["orders"], &told["cancelled"], &told["transactions"]), (&json!(200), &json!(20), &json!(220)));
    assert_eq!((&told["audit"]["verdict"], &told["audit"]["orders"]), (&json!("clean"), &json!(200)), "only its own");
    assert_eq!(told["audit"]["ledger"]["refunded"], 20_000);
    assert_eq!((&told["view"]["watched"], &told["view"]["neverFinished"]), (&json!(18), &json!(0)), "{told}");
    assert!(number(&told["view"]["lagMs"]["p50"]) > 0.0, "{told}");
    assert!(number(&told["generator"]["cpuMicrosPerTransaction"]) > 0.0, "{told}");
    let orders = lab.order.client().all("/orders").await;
    assert_eq!(orders.len(), 201);
    let canceled: Vec<_> = orders.iter().filter(|order| order["orderStatus"] == "CANCELED").collect();
    assert_eq!(canceled.len(), 20);
    assert!(canceled.iter().all(|order| order["id"] != earlier), "what others have ordered is left alone");
}

#[tokio::test]
async fn an_order_that_was_acknowledged_and_is_not_there_is_found() {
    let mut lab = Lab::all_running().await;
    let there = lab.order.client().place("치킨", 22_000).await;
    lab.settle().await;
    let liar = Server::start(move |request| created(if request.nth == 2 { 4_711 } else { there }));
    let (exit_code, told) = load(&lab, &liar.url(), &["--requests", "5", "-c", "1"]);
    assert_eq!(exit_code, 1, "{told}");
    let violations = told["audit"]["violations"].as_array().expect("a list");
    assert_eq!(violations.len(), 1, "{told}");
    assert_eq!(violations[0]["order"], 4_711);
    assert!(violations[0]["what"].to_string().contains("acknowledged and lost"), "{told}");
}

#[tokio::test]
async fn a_cancel_that_was_acknowledged_and_is_not_there_is_found() {
    let mut lab = Lab::all_running().await;
    let there = lab.order.client().place("치킨", 22_000).await;
    lab.settle().await;
    let liar = Server::start(move |request| {
        if request.line.starts_with("DELETE") { Act::Answer(204, String::new(), String::new()) } else { created(there) }
    });
    let (exit_code, told) = load(&lab, &liar.url(), &["--requests", "1", "--cancel", "100%"]);
    assert_eq!((exit_code, &told["cancelled"]), (1, &json!(1)), "{told}");
    assert!(told["audit"]["violations"][0]["what"].to_string().contains("its cancel was acknowledged"), "{told}");
}

#[tokio::test]
async fn what_is_still_under_way_cannot_be_told() {
    let mut lab = Lab::all_running().await;
    lab.store.stop().await;
    let (exit_code, told) = load(&lab, &url(&lab.order), &["--requests", "20", "--wait", "200ms"]);
    assert_eq!((exit_code, &told["audit"]["verdict"]), (2, &json!("open")), "{told}");
    assert_eq!(told["successful"], 20, "the shop is not needed to order");
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn ctrl_c_ends_it_early_with_summary_and_audit() {
    let lab = Lab::all_running().await;
    let client = lab.order.client();
    let mut command = lab.command(&["load"], &["--json", "--url", &url(&lab.order), "-c", "4", "--for", "10m"]);
    let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a process");
    wait_until(LONG, "orders come in", async || client.get("/orders").await.json()["page"]["totalElements"] != 0).await;
    signal(&process, Signal::INT);
    let (exit_code, told) = ended(process).await;
    assert_eq!(exit_code, 0, "{told}");
    assert_eq!((&told["wasStopped"], &told["audit"]["verdict"]), (&json!(true), &json!("clean")), "{told}");
    assert_eq!(told["failed"], 0, "what was under way was waited for: {told}");
    assert_eq!(told["audit"]["orders"], told["orders"]);
    assert_eq!(json!(client.all("/orders").await.len()), told["orders"], "and nothing was sent that is not counted");
}
