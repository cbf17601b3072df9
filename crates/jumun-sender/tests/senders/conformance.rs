//! What every sender promises, whatever it is behind.

use crate::support::{
    DEFAULTS, PATIENCE, config, eventually,
    http::{HttpServer, Received, Reply, answer},
    message,
    smtp::{Mail, Reply as SmtpReply, Script, SmtpServer},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::FutureExt;
use jumun_sender::{SendError, Sender, SenderConfig, Templates, console};
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    process::Command,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

/// How the receiver is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Down,
    Hanging,
    /// It refuses, and echoes all that it got.
    Spiteful,
}

/// A sender and its receiver.
struct Rig {
    sender: Arc<dyn Sender>,
    /// What the receiver took: ids and texts.
    taken: Box<dyn Fn() -> Vec<(String, String)> + Send>,
    /// The number of attempts, where it can count them.
    attempts: Box<dyn Fn() -> Option<usize> + Send>,
    config: Option<SenderConfig>,
    /// Secrets that no output may contain.
    secrets: Vec<String>,
}

trait Receiver {
    async fn rig(state: State, time_limit: Duration) -> Rig;
}

fn in_words(time_limit: Duration) -> String {
    format!("{time_limit:?}")
}

/// A port without a listener.
async fn closed_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}

struct Console;

struct Writer {
    state: State,
    written: Arc<Mutex<Vec<u8>>>,
    never: Mutex<mpsc::Receiver<()>>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.state {
            State::Up => self.written.lock().expect("a lock").write(bytes),
            State::Hanging => {
                let _ = self.never.lock().expect("a lock").recv();
                Err(io::ErrorKind::BrokenPipe.into())
            }
            State::Down | State::Spiteful => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Receiver for Console {
    async fn rig(state: State, time_limit: Duration) -> Rig {
        let written = Arc::new(Mutex::new(Vec::new()));
        let (keep, never) = mpsc::channel();
        let writer = Writer { state, written: Arc::clone(&written), never: Mutex::new(never) };
        let templates = Templates::load(DEFAULTS, "ko", None).expect("templates");
        let taken = move || {
            let _ = &keep; // the writer waits for as long as the rig is there
            let text = String::from_utf8(written.lock().expect("a lock").clone()).expect("text");
            let id = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
            text.lines().map(|line| (id(line), line.to_owned())).collect()
        };
        let sender = console(writer, templates, time_limit).expect("a sender");
        Rig { sender, taken: Box::new(taken), attempts: Box::new(|| None), config: None, secrets: vec![] }
    }
}

struct File;

impl Receiver for File {
    async fn rig(state: State, time_limit: Duration) -> Rig {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("messages.jsonl");
        let config = config(table("file", time_limit, &json!({ "path": path })));
        let sender = config.open(DEFAULTS).expect("a sender");
        match state {
            State::Up => {}
            State::Down | State::Spiteful => std::fs::remove_dir_all(folder.path()).expect("a folder"),
            State::Hanging => {
                std::fs::remove_file(&path).expect("a file");
                assert!(Command::new("mkfifo").arg(&path).status().expect("a command").success());
            }
        }
        let taken = move || {
            let _ = &folder;
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let record = |line| {
                let line: Value = serde_json::from_str(line).expect("JSON");
                (line["id"].as_str().expect("an id").to_owned(), line["text"].as_str().expect("a text").to_owned())
            };
            text.lines().map(record).collect()
        };
        let (taken, attempts) = (Box::new(taken), Box::new(|| None));
        Rig { sender, taken, attempts, config: Some(config), secrets: vec![] }
    }
}

/// The configuration of a sender of this kind.
fn table(kind: &str, time_limit: Duration, keys: &Value) -> Value {
    json!({ "kind": kind, "time_limit": in_words(time_limit), kind: keys })
}

/// A rig around an HTTP server.
async fn http(
    state: State,
    yes: &'static str,
    secret: &'static str,
    table: impl Fn(&str) -> Value,
    read: impl Fn(&Received) -> (String, String) + Send + 'static,
) -> Rig {
    let server = HttpServer::start(move |request| match state {
        State::Up => answer(200, yes),
        State::Hanging => Reply::Hang,
        State::Spiteful => answer(400, json!({ "code": -2, "msg": format!("{request:?}") }).to_string()),
        State::Down => Reply::Break,
    });
    let server = Arc::new(server.await);
    let url = if state == State::Down { format!("http://127.0.0.1:{}", closed_port().await) } else { server.url() };
    let config = config(table(&url));
    let sender = config.open(DEFAULTS).expect("a sender");
    let counted = Arc::clone(&server);
    Rig {
        sender,
        taken: Box::new(move || server.received().iter().map(&read).collect()),
        attempts: Box::new(move || Some(counted.received().len())),
        config: Some(config),
        secrets: vec![secret.to_owned()],
    }
}

struct KakaoTalk;

impl Receiver for KakaoTalk {
    async fn rig(state: State, time_limit: Duration) -> Rig {
        let table =
            |url: &str| table("kakaotalk", time_limit, &json!({ "base_url": url, "token": "kakao-token-1234" }));
        let read = |request: &Received| {
            let object: Value = serde_json::from_str(&request.form("template_object").expect("a field")).expect("JSON");
            (request.header("idempotency-key").to_owned(), object["text"].as_str().expect("a text").to_owned())
        };
        http(state, r#"{"successful_receiver_uuids":["kim"]}"#, "kakao-token-1234", table, read).await
    }
}

struct Webhook;

impl Receiver for Webhook {
    async fn rig(state: State, time_limit: Duration) -> Rig {
        let table = |url: &str| {
            table("webhook", time_limit, &json!({ "url": url, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }))
        };
        let read = |request: &Received| {
            let body: Value = serde_json::from_slice(&request.body).expect("JSON");
            (request.header("webhook-id").to_owned(), body["data"]["text"].as_str().expect("a text").to_owned())
        };
        http(state, "", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", table, read).await
    }
}

struct Smtp;

impl Receiver for Smtp {
    async fn rig(state: State, time_limit: Duration) -> Rig {
        let replies = match state {
            State::Up | State::Down => vec![],
            State::Hanging => vec![("TEXT", SmtpReply::Hang)],
            State::Spiteful => vec![("RCPT", SmtpReply::Echo(550))],
        };
        let script = Script { login: Some(("shop", "kakao-1234")), replies, ..Script::default() };
        let server = Arc::new(SmtpServer::start(script).await);
        let port = if state == State::Down { closed_port().await } else { server.port };
        let smtp = json!({
            "host": "127.0.0.1", "port": port, "tls": "none", "user": "shop", "password": "kakao-1234",
            "from": "교육 신청 <course@example.com>", "to": "{{ recipient }}@example.com",
        });
        let config = config(table("smtp", time_limit, &smtp));
        let sender = config.open(DEFAULTS).expect("a sender");
        let counted = Arc::clone(&server);
        let id = |mail: &Mail| {
            let id = mail.header("Message-ID");
            id.trim_matches(['<', '>']).strip_suffix("@example.com").expect("our domain").to_owned()
        };
        Rig {
            sender,
            taken: Box::new(move || server.mails().iter().map(|mail| (id(mail), mail.text())).collect()),
            attempts: Box::new(move || Some(counted.heard().iter().filter(|line| line.starts_with("EHLO")).count())),
            config: Some(config),
            secrets: vec!["kakao-1234".into(), BASE64_STANDARD.encode("\0shop\0kakao-1234")],
        }
    }
}

macro_rules! every_sender {
    ($($module:ident: $receiver:ident,)*) => {
        $(mod $module {
            use super::$receiver;

            every_sender! { @$receiver
                a_message_arrives_in_words
                the_same_message_keeps_its_id
                a_receiver_that_is_down_was_surely_not_sent_to
                a_receiver_that_hangs_is_given_up_in_time
                nothing_secret_is_told
                a_message_that_cannot_be_is_refused_before_it_is_sent
                an_attempt_that_is_given_up_disturbs_no_other
            }
        })*
    };
    (@$receiver:ident $($test:ident)*) => {
        $(#[tokio::test]
        async fn $test() {
            super::$test::<$receiver>().await;
        })*
    };
}

every_sender! {
    of_the_console: Console,
    of_the_file: File,
    of_kakaotalk: KakaoTalk,
    of_smtp: Smtp,
    of_the_webhook: Webhook,
}

async fn a_message_arrives_in_words<R: Receiver>() {
    let rig = R::rig(State::Up, PATIENCE).await;
    rig.sender.send(&message("m-1")).await.expect("sent");
    let taken = (rig.taken)();
    assert_eq!(taken.len(), 1);
    assert!(taken[0].1.contains("kim님의 신청이 접수되었어요."), "{taken:?}");
}

async fn the_same_message_keeps_its_id<R: Receiver>() {
    let rig = R::rig(State::Up, PATIENCE).await;
    for id in ["0190-a", "0190-a", "0190-b"] {
        rig.sender.send(&message(id)).await.expect("sent");
    }
    let ids: Vec<_> = (rig.taken)().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["0190-a", "0190-a", "0190-b"]);
}

async fn a_receiver_that_is_down_was_surely_not_sent_to<R: Receiver>() {
    let rig = R::rig(State::Down, PATIENCE).await;
    let error = rig.sender.send(&message("m-1")).await.expect_err("nobody is there");
    assert!(matches!(error, SendError::NotSent { .. }), "{error:?}");
    assert_eq!((rig.taken)(), []);
}

async fn a_receiver_that_hangs_is_given_up_in_time<R: Receiver>() {
    let time_limit = Duration::from_millis(200);
    let rig = R::rig(State::Hanging, time_limit).await;
    let began = Instant::now();
    let error = rig.sender.send(&message("m-1")).await.expect_err("nobody answers");
    assert!(matches!(error, SendError::Unknown { .. }), "it may have been taken: {error:?}");
    assert!(began.elapsed() >= time_limit, "{error:?}");
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    assert!(matches!((rig.attempts)(), None | Some(1)), "one attempt a call");
}

async fn nothing_secret_is_told<R: Receiver>() {
    let rig = R::rig(State::Spiteful, PATIENCE).await;
    let error = rig.sender.send(&message("m-1")).await.expect_err("it says no");
    assert!(matches!((rig.attempts)(), None | Some(1)), "one attempt a call");
    let config = rig.config.as_ref();
    let as_json = serde_json::to_string(&config).expect("JSON");
    let entries = config.map(SenderConfig::entries);
    let told = format!("{error} {error:?} {:?} {:#?} {config:?} {as_json} {entries:?}", rig.sender, rig.sender);
    for secret in rig.secrets {
        assert!(!told.contains(&secret), "{told}");
    }
}

async fn a_message_that_cannot_be_is_refused_before_it_is_sent<R: Receiver>() {
    let rig = R::rig(State::Up, PATIENCE).await;
    let good = message("m-1");
    let long = "x".repeat(400);
    for bad in [
        message(""),
        message("a b"),
        message("a.b"),
        message("a\r\nBcc: everybody@example.com"),
        message(&long),
        jumun_sender::Message { recipient: "kim\r\nBcc: everybody".into(), ..good.clone() },
        jumun_sender::Message { recipient: long.clone(), ..good.clone() },
        jumun_sender::Message { template: "Nonsense".into(), ..good.clone() },
        jumun_sender::Message { template: "../ko/Ordered".into(), ..good.clone() },
        jumun_sender::Message { time_ms: -1, ..good.clone() },
        jumun_sender::Message { time_ms: i64::MAX, ..good.clone() },
    ] {
        let error = rig.sender.send(&bad).await.expect_err("it cannot be");
        assert!(matches!(error, SendError::Refused { .. }), "{bad:?}: {error:?}");
    }
    assert_eq!((rig.taken)(), []);
    assert!(matches!((rig.attempts)(), None | Some(0)));
}

async fn an_attempt_that_is_given_up_disturbs_no_other<R: Receiver>() {
    let rig = R::rig(State::Up, PATIENCE).await;
    let given_up = message("given-up");
    drop(rig.sender.send(&given_up).now_or_never()); // begun, and dropped
    let (first, second) = (message("m-1"), message("m-2"));
    let (one, other) = tokio::join!(rig.sender.send(&first), rig.sender.send(&second));
    assert!(one.is_ok() && other.is_ok());
    let taken = || (rig.taken)().into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    eventually("both", || (taken().contains(&"m-1".into()) && taken().contains(&"m-2".into())).then_some(())).await;
}
