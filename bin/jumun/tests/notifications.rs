//! Customers are told: messages of course enrollment, from the order to a receiver that is a real server. It takes them,
//! hangs, fails or is not there; nothing of the business notices, and no message is lost.

mod lab;
#[path = "../../../crates/jumun-sender/tests/senders/support/smtp.rs"]
#[allow(dead_code, reason = "the tests of senders use the rest of it")]
mod mail;
#[path = "../../../crates/jumun-sender/tests/senders/support/http.rs"]
#[allow(dead_code, reason = "the tests of senders use the rest of it")]
mod web;

use http::Method;
use lab::{Answer, LONG, Up, wait_for, wait_until};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::oneshot,
};
use web::{HttpServer, Received, Reply, answer};

const SERVICES: [&str; 4] = ["pay", "order", "reservation", "notification"];

/// What webhooks are signed with, in base64.
const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

// ---- what is told

#[tokio::test]
async fn every_change_is_told_once_in_korean() {
    every_change_is_told_once(
        "ko",
        &[
            ("Ordered", "[교육 신청] 신청이 접수되었어요"),
            ("PaymentDelayed", "[교육 신청] 결제가 늦어지고 있어요"),
            ("PaymentSettled", "[교육 신청] 늦어진 결제가 완료되었어요"),
            ("OrderCanceled", "[교육 신청] 신청이 취소되었어요"),
            ("Paid", "[교육 신청] 결제가 완료되었어요"),
            ("PaymentCanceled", "[교육 신청] 결제가 취소되었어요"),
            ("Reserved", "[교육 신청] 교육 예약을 요청했어요"),
            ("ReservationConfirmed", "[교육 신청] 교육 예약이 확정되었어요"),
            ("ReservationCanceled", "[교육 신청] 교육 예약이 취소되었어요"),
            ("CourseStarted", "[교육 신청] 교육이 시작되었어요"),
        ],
    )
    .await;
}

#[tokio::test]
async fn every_change_is_told_once_in_english() {
    every_change_is_told_once(
        "en",
        &[
            ("Ordered", "[Courses] We have your application"),
            ("PaymentDelayed", "[Courses] Your payment is taking longer"),
            ("PaymentSettled", "[Courses] Your delayed payment went through"),
            ("OrderCanceled", "[Courses] Your application is canceled"),
            ("Paid", "[Courses] Payment received"),
            ("PaymentCanceled", "[Courses] Your payment is canceled"),
            ("Reserved", "[Courses] Your place is requested"),
            ("ReservationConfirmed", "[Courses] Your place is confirmed"),
            ("ReservationCanceled", "[Courses] Your place is canceled"),
            ("CourseStarted", "[Courses] Your course has started"),
        ],
    )
    .await;
}

async fn every_change_is_told_once(language: &str, subjects: &[(&str, &str)]) {
    let receiver = Receiver::listening();
    let language = format!("notification.sender.language={language}");
    let up = running(&receiver, &["reservation.confirm=manual", &language]).await;

    let seen_through = order(&up, &json!({ "orderId": "가-1", "customerId": "kim", "eduNo": 101 })).await;
    asked_for(&up, seen_through).await;
    for step in ["confirm", "start"] {
        assert_eq!(up.client("gateway").put(&format!("/reservations/{seen_through}/{step}")).await.status, 200);
    }
    let cancelled = order(&up, &json!({ "customerId": "lee", "eduNo": 102 })).await;
    asked_for(&up, cancelled).await;
    up.client("gateway").cancel(cancelled).await;
    up.tell(&["stop", "pay"]);
    let delayed = order(&up, &json!({ "customerId": "박", "eduNo": 103 })).await;
    up.client("gateway").until(&format!("/infomations/{delayed}"), "orderStatus", "Payment Delayed").await;
    up.tell(&["start", "pay"]);
    asked_for(&up, delayed).await;

    let told = BTreeMap::from([
        (seen_through, vec!["Ordered", "Paid", "Reserved", "ReservationConfirmed", "CourseStarted"]),
        (cancelled, vec!["Ordered", "Paid", "Reserved", "OrderCanceled", "PaymentCanceled", "ReservationCanceled"]),
        (delayed, vec!["PaymentDelayed", "PaymentSettled", "Paid", "Reserved"]),
    ]);
    let whole = told.values().map(Vec::len).sum::<usize>();
    wait_until(LONG, "there is a row a change", async || rows(&up).await.len() >= whole).await;
    let rows = all_arrive(&up, &receiver).await;
    for (id, expected) in told {
        let of_order = rows.iter().filter(|row| row["enrollmentId"] == id);
        let kinds: BTreeSet<_> = of_order.clone().map(|row| text(&row["kind"])).collect();
        assert_eq!(kinds, expected.iter().map(|kind| (*kind).to_owned()).collect(), "order {id}");
        assert_eq!(of_order.count(), expected.len(), "one row a change");
    }
    let received = receiver.received();
    for (kind, subject) in subjects {
        let body = received.iter().map(body).find(|body| body["type"] == *kind).expect("a message of each kind");
        assert_eq!(body["data"]["subject"], *subject);
    }
    let first = received.iter().map(body).find(|body| body["data"]["recipient"] == "kim").expect("a message");
    let said = text(&first["data"]["text"]);
    assert!(said.contains("가-1") && said.contains("101") && said.contains("kim"), "{said}");
    assert_eq!(first["data"]["fields"]["orderId"], "가-1");
    assert_eq!(up.audit("20s").exit_code, 0);
}

#[tokio::test]
async fn a_payment_whose_order_never_stood_is_told_to_nobody() {
    let receiver = Receiver::listening();
    let up = running(&receiver, &["order.calls.pay.fallback=reject", "order.calls.pay.time_limit=5s"]).await;
    // Whoever asks stands still and dies before it hears the answer; when it is back it has the payment undone.
    up.tell(&["fault", "pay", "--delay", "500ms"]);
    let orders = up.client("order");
    let customer = tokio::spawn(async move {
        let order = json!({ "customerId": "nobody", "eduNo": 101 }).to_string();
        orders.send(Method::POST, "/orders", &[("content-type", "application/json")], order).await
    });
    wait_until(LONG, "pay is asked", async || asks(&up).iter().any(|ask| ask["state"] == "asking")).await;
    kill_process(up.pid("order"), Signal::STOP).expect("a process of ours");
    let told_of = |kind: &str| events(&up).iter().any(|(of, event)| of == kind && event["customerId"] == "nobody");
    wait_until(LONG, "it is paid", async || told_of("Paid")).await;
    up.tell(&["kill", "order"]);
    assert!(customer.await.expect("a customer").is_err(), "there is no answer");
    wait_until(LONG, "it is undone", async || told_of("PaymentCanceled")).await;
    up.tell(&["fault", "pay", "--off"]);
    // What notification hears of pay it hears in order: after these it has heard of the payment that was undone.
    let stands = order_of(&up, "kim").await;
    up.client("gateway").until(&format!("/infomations/{stands}"), "payStatus", "Paid").await;
    assert_eq!(up.audit("20s").exit_code, 0);
    let rows = all_arrive(&up, &receiver).await;
    assert!(!rows.is_empty() && rows.iter().all(|row| row["enrollmentId"] == stands), "{rows:?}");
}

// ---- receivers that do not answer

#[tokio::test]
async fn a_receiver_that_is_away_delays_messages_and_nothing_else() {
    let mut receiver = Receiver::away();
    let up = running(&receiver, &[]).await;
    let orders = order_some(&up, 8).await;
    up.client("gateway").cancel(orders[0]).await;
    for id in &orders[1..] {
        let view = up.client("gateway").until(&format!("/infomations/{id}"), "reservationStatus", CONFIRMED).await;
        assert_eq!((&view["orderStatus"], &view["payStatus"]), (&json!("Ordered"), &json!("Paid")));
    }
    let audit = up.audit("20s");
    assert_eq!((audit.exit_code, &audit.report["verdict"]), (0, &json!("clean")), "messages wait: {audit:?}");
    assert!(rows(&up).await.iter().all(|row| row["status"] == "Requested"));
    wait_until(LONG, "the circuit opens", async || circuit(&up) == "open").await;

    receiver.listen();
    assert_eq!(all_arrive(&up, &receiver).await.len(), 7 * 3 + 6);
    assert_eq!(up.audit("20s").exit_code, 0);
}

#[tokio::test]
async fn a_receiver_that_takes_messages_and_loses_its_answers_gets_them_again_under_the_same_id() {
    let receiver = Receiver::in_mood(Mood::LosesFirstAnswers);
    let up = running(&receiver, &[]).await;
    order_some(&up, 4).await;
    wait_until(LONG, "all are told of", async || rows(&up).await.len() == 12).await;
    all_arrive(&up, &receiver).await;
    let received = receiver.received();
    assert!(received.len() > 12, "each came once more");
    let mut bodies = BTreeMap::new();
    for request in &received {
        let known = bodies.entry(request.header("webhook-id")).or_insert(&request.body);
        assert_eq!(*known, &request.body, "the same message, the same words");
    }
}

#[tokio::test]
async fn no_message_is_lost_when_notification_is_killed_and_rolled_while_it_sends() {
    let receiver = Receiver::in_mood(Mood::TakesSome(5));
    let up = running(&receiver, &[]).await;
    order_some(&up, 10).await;
    wait_until(LONG, "some are sent", async || receiver.received().len() > 5).await;
    up.tell(&["kill", "notification"]);
    receiver.becomes(Mood::TakesSome(15));
    wait_until(LONG, "some more are sent", async || receiver.taken() >= 15).await;
    up.tell(&["roll", "notification"]);
    receiver.becomes(Mood::Takes);
    wait_until(LONG, "all are told of", async || rows(&up).await.len() == 30).await;
    all_arrive(&up, &receiver).await;
    assert_eq!(up.audit("20s").exit_code, 0);
}

#[tokio::test]
async fn a_receiver_that_hangs_is_left_alone_for_a_while_and_holds_nobody_up() {
    let receiver = Receiver::in_mood(Mood::Hangs);
    let up = running(&receiver, &["notification.sender.time_limit=300ms"]).await;
    let began = Instant::now();
    let orders = order_some(&up, 12).await;
    for id in &orders {
        up.client("gateway").until(&format!("/infomations/{id}"), "reservationStatus", CONFIRMED).await;
    }
    let retry = up.client("gateway").put("/notifications/1/retry").await;
    assert_eq!((retry.status, &*retry.problem()), (409, "conflict"), "it is on its way");
    assert_eq!(receiver.taken(), 0, "all of it while no message was taken");
    assert!(began.elapsed() < Duration::from_secs(8), "36 messages hang for 11 s: {:?}", began.elapsed());
    wait_until(LONG, "the circuit opens", async || circuit(&up) == "open").await;
    assert_eq!(up.audit("20s").exit_code, 0);
    receiver.becomes(Mood::Takes);
    wait_until(LONG, "the circuit closes", async || circuit(&up) == "closed").await;
    assert_eq!(all_arrive(&up, &receiver).await.len(), 36);
}

#[tokio::test]
async fn a_receiver_is_left_alone_for_as_long_as_it_says() {
    let receiver = Receiver::in_mood(Mood::AsksForPatience("3"));
    let up = running(&receiver, &[]).await;
    order_of(&up, "kim").await;
    wait_until(LONG, "it says so", async || !receiver.received().is_empty()).await;
    wait_for(Duration::from_secs(1)).await;
    assert!(receiver.received().len() <= 3, "no more than what was on its way: {}", receiver.received().len());
    receiver.becomes(Mood::Takes);
    assert_eq!(all_arrive(&up, &receiver).await.len(), 3);
}

#[tokio::test]
async fn messages_that_a_receiver_puts_off_do_not_hold_up_those_that_it_takes() {
    let receiver = Receiver::in_mood(Mood::PutsOff("full"));
    let up = running(&receiver, &["notification.calls.sender.breaker.wait_open=100ms"]).await;
    for _ in 0..11 {
        order_of(&up, "full").await;
    }
    wait_until(LONG, "all are told of", async || rows(&up).await.len() == 33).await; // more than are asked at once
    order_of(&up, "kim").await;
    wait_until(LONG, "kim is told", async || {
        rows(&up).await.iter().filter(|row| row["customerId"] == "kim" && row["status"] == "Sent").count() == 3
    })
    .await;
    assert!(rows(&up).await.iter().all(|row| row["customerId"] == "kim" || row["status"] == "Requested"));
    receiver.becomes(Mood::Takes);
    assert_eq!(all_arrive(&up, &receiver).await.len(), 36);
}

// ---- messages that are given up

#[tokio::test]
async fn what_is_refused_is_parked_and_sent_when_somebody_says_so() {
    let receiver = Receiver::in_mood(Mood::Says(410));
    let up = running(&receiver, &[]).await;
    order_of(&up, "kim").await;
    wait_until(LONG, "all are parked", async || all_are(&up, "Parked", 3).await).await;
    assert_eq!(receiver.received().len(), 3, "what is refused is not tried again");
    wait_until(LONG, "others hear of it", async || {
        events(&up).iter().filter(|(kind, event)| kind == "NotificationParked" && event["status"] == "Parked").count()
            == 3
    })
    .await;
    assert_eq!(up.audit("20s").exit_code, 0, "an order does not depend on its messages");
    wait_until(LONG, "nobody asks any more", async || asks(&up).is_empty()).await;

    let gateway = up.client("gateway");
    receiver.becomes(Mood::Takes);
    for id in 1..=3 {
        let retry = gateway.put(&format!("/notifications/{id}/retry")).await;
        assert_eq!((retry.status, &retry.json()["status"]), (200, &json!("Requested")));
        gateway.until(&format!("/notifications/{id}"), "status", "Sent").await;
        let again = gateway.put(&format!("/notifications/{id}/retry")).await;
        assert_eq!((again.status, &*again.problem()), (409, "conflict"), "it was sent");
    }
    assert_eq!(gateway.put("/notifications/99/retry").await.status, 404);
    all_arrive(&up, &receiver).await;
    let ids: BTreeSet<_> = receiver.received().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!((ids.len(), receiver.received().len()), (3, 6), "each again under its id");
}

#[tokio::test]
async fn what_nobody_takes_before_the_deadline_is_parked() {
    let mut receiver = Receiver::away();
    let up = running(&receiver, &["notification.calls.sender.deadline=2s"]).await;
    order_of(&up, "kim").await;
    wait_until(LONG, "all are parked", async || all_are(&up, "Parked", 3).await).await;
    wait_until(LONG, "nobody asks any more", async || asks(&up).is_empty()).await;
    receiver.listen();
    up.client("gateway").put("/notifications/2/retry").await;
    up.client("gateway").until("/notifications/2", "status", "Sent").await;
    assert_eq!(receiver.received().len(), 1, "and no other");
}

#[tokio::test]
async fn operators_see_which_messages_wait_and_for_whom() {
    let receiver = Receiver::away();
    let up = running(&receiver, &[]).await;
    let id = order_of(&up, "kim").await;
    wait_until(LONG, "all are told of", async || rows(&up).await.len() == 3).await;
    let why = up.tell(&["why", SYSTEM, &id.to_string()]);
    for kind in ["Ordered", "Paid", "ReservationConfirmed"] {
        assert!(why.lines().any(|line| line.contains("NotificationRequested") && line.contains(kind)), "{why}");
    }
    let waiting = why.lines().filter(|line| line.contains("waits for an answer from sender, until "));
    assert_eq!(waiting.count(), 3, "{why}");
    let asks = up.tell(&["asks", SYSTEM]);
    let heads: Vec<_> = ["STATE", "ABOUT", "ASKS"].map(|head| asks.find(head).expect("a head")).into();
    let line = asks.lines().nth(1).expect("a message");
    let words: Vec<_> = heads.iter().map(|at| line[*at..].split(' ').next().unwrap_or_default()).collect();
    assert_eq!(words, ["delayed", "notifications/1", "sender"], "{asks}");
    wait_until(LONG, "the log says why", async || {
        up.tell(&["logs", "notification", "--system", SYSTEM, "-n", "500"]).contains("messages do not go out")
    })
    .await;
}

// ---- KakaoTalk and mail

#[tokio::test]
async fn messages_wait_for_a_token_that_is_put_right_and_then_reach_friends() {
    let (kakao, _running) = beside(|| async {
        HttpServer::start(|request| match request.header("authorization") {
            "Bearer fresh" => answer(200, r#"{"successful_receiver_uuids":["kim"]}"#),
            _ => answer(401, r#"{"code":-401,"msg":"this access token is already expired"}"#),
        })
        .await
    });
    let mut up = wary();
    let token = up.folder().join("token");
    write(&token, "over\n");
    for setting in ["kind=kakaotalk", "kakaotalk.token_file=token", "kakaotalk.link=https://edu.example.com"] {
        up.set(format!("notification.sender.{setting}"));
    }
    up.set(format!("notification.sender.kakaotalk.base_url={}", kakao.url()));
    up.start().await;
    order_of(&up, "kim").await;
    wait_until(LONG, "all are told of", async || rows(&up).await.len() == 3).await;
    wait_until(LONG, "the circuit opens", async || circuit(&up) == "open").await;
    assert!(all_are(&up, "Requested", 3).await, "nothing is given up");
    write(&up.folder().join("token.new"), "fresh\n");
    fs::rename(up.folder().join("token.new"), &token).expect("a file");
    wait_until(LONG, "all are sent", async || all_are(&up, "Sent", 3).await).await;
    let sent = kakao.received().into_iter().filter(|request| request.header("authorization") == "Bearer fresh");
    let texts: BTreeSet<_> = sent.map(|request| request.form("template_object").expect("a text")).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts.iter().any(|text| text.contains("결제가 완료되었어요")), "{texts:?}");
}

#[tokio::test]
async fn mails_arrive_in_korean_under_a_stable_id_and_who_is_unknown_there_is_parked() {
    let (post, _running) = beside(|| async {
        mail::SmtpServer::start(mail::Script { unknown: Some("nobody"), ..mail::Script::default() }).await
    });
    let mut up = Up::of(SYSTEM, &SERVICES);
    for setting in ["kind=smtp", "smtp.host=127.0.0.1", "smtp.tls=none", "smtp.from=교육 신청 <course@example.com>"]
    {
        up.set(format!("notification.sender.{setting}"));
    }
    up.set("notification.sender.smtp.to={{ recipient }}@example.com");
    up.set(format!("notification.sender.smtp.port={}", post.port));
    up.start().await;
    let known = order_of(&up, "kim").await;
    for bad in [json!({ "customerId": "nobody", "eduNo": 101 }), json!({ "eduNo": 101 })] {
        order(&up, &bad).await;
    }
    wait_until(LONG, "all are told of", async || rows(&up).await.len() == 9).await;
    wait_until(LONG, "all is settled", async || rows(&up).await.iter().all(|row| row["status"] != "Requested")).await;
    for row in rows(&up).await {
        let due = if row["enrollmentId"] == known { "Sent" } else { "Parked" };
        assert_eq!(row["status"], due, "{row}");
    }
    let (mails, rows) = (post.mails(), rows(&up).await);
    assert_eq!(mails.len(), 3);
    for row in rows.iter().filter(|row| row["enrollmentId"] == known) {
        let id = format!("<{}@example.com>", message_id(row));
        let found: Vec<_> = mails.iter().filter(|mail| mail.header("Message-ID") == id).collect();
        let [mail] = found[..] else { panic!("{id} came {} times", found.len()) };
        assert_eq!(mail.to, "<kim@example.com>");
        assert!(mail.header("Subject").starts_with("[교육 신청] "), "{}", mail.header("Subject"));
        assert!(mail.text().contains("강의 번호: 101"), "{}", mail.text());
    }
}

// ---- templates

#[tokio::test]
async fn operators_put_their_own_words_in_the_place_of_ours() {
    let receiver = Receiver::listening();
    let mut up = told_by_webhook(&receiver);
    write(&up.folder().join("words/ko/Paid.txt"), "{{ recipient }}님 고맙습니다\n\n강의 {{ eduNo }}번\n");
    up.set("notification.sender.templates=words");
    up.start().await;
    order_of(&up, "kim").await;
    wait_until(LONG, "all are told of", async || rows(&up).await.len() == 3).await;
    all_arrive(&up, &receiver).await;
    let received = receiver.received();
    let of_kind = |kind: &str| received.iter().map(body).find(|body| body["type"] == kind).expect("a message");
    assert_eq!(of_kind("Paid")["data"]["subject"], "kim님 고맙습니다");
    assert_eq!(of_kind("Paid")["data"]["text"], "강의 101번");
    assert_eq!(
        of_kind("Ordered")["data"]["subject"],
        "[교육 신청] 신청이 접수되었어요",
        "ours, where there is no other"
    );
}

#[tokio::test]
async fn nothing_starts_with_a_template_that_cannot_be() {
    let mut up = Up::of(SYSTEM, &SERVICES);
    write(&up.folder().join("words/ko/Paid.txt"), "고맙습니다\n\n강의 {{ eduNo }번\n");
    up.set("notification.sender.templates=words");
    let (code, said) = lab::run(up.command());
    assert_eq!(code, 1, "{said}");
    for word in ["template-invalid", "words/ko/Paid.txt, line 3"] {
        assert!(said.contains(word), "up: {said}");
    }
    let serve =
        ["serve", SYSTEM, "notification", "--listen", "127.0.0.1:0", "--set", "notification.sender.templates=words"];
    let (code, said) = up.jumun(&serve);
    assert_eq!(code, 1, "{said}");
    assert!(said.starts_with("error[template-invalid]: words/ko/Paid.txt, line 3"), "serve: {said}");
}

// ---- secrets

#[tokio::test]
async fn neither_secrets_nor_card_numbers_are_told_to_anybody() {
    // It says back what it was told, as proxies do, and does not let us in.
    let (kakao, _running) = beside(|| async {
        HttpServer::start(|request| {
            let said = request.header("authorization").to_owned();
            answer(401, json!({ "code": -401, "msg": format!("this access token does not exist: {said}") }).to_string())
        })
        .await
    });
    let mut up = Up::of(SYSTEM, &SERVICES);
    let secrets = ["kakao-t0ken-s3cret", "smtp-p4ssword-s3cret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];
    let keys = format!(
        "[notification.sender]\nkind = 'kakaotalk'\n[notification.sender.kakaotalk]\nbase_url = '{}'\ntoken = '{}'\n\
         link = 'https://edu.example.com'\n\
         [notification.sender.smtp]\npassword = '{}'\n[notification.sender.webhook]\nsecret = '{}'\n",
        kakao.url(),
        secrets[0],
        secrets[1],
        secrets[2]
    );
    write(&up.folder().join("jumun.toml"), &keys);
    up.start().await;
    let card = "4000-1234-5678-9317";
    order(&up, &json!({ "customerId": "kim", "eduNo": 101, "cardNo": card })).await;
    wait_until(LONG, "it is tried", async || kakao.received().len() >= 3).await;
    wait_until(LONG, "the circuit opens", async || circuit(&up) == "open").await;
    let mut told = vec![
        ("config", up.tell(&["config", SYSTEM])),
        ("why", up.tell(&["why", SYSTEM, "1"])),
        ("asks", up.tell(&["asks", SYSTEM])),
        ("events", up.tell(&["events", "tail", SYSTEM, "--json", "-n", "1000"])),
        ("breakers", up.tell(&["breakers", "--json"])),
        ("up", up.said()),
    ];
    let mut files = Vec::new();
    files_below(&up.folder().join("data"), &mut files);
    assert!(files.iter().any(|(name, _)| name.ends_with("notification.log")), "logs are among them");
    assert!(files.iter().any(|(name, _)| name.ends_with("notification.db")), "databases are among them");
    told.extend(files.iter().map(|(name, text)| (name.as_str(), text.clone())));
    for (name, text) in &told {
        for secret in secrets.iter().copied().chain([card, &card.replace('-', "")]) {
            assert!(!text.contains(secret), "{secret} is in {name}");
        }
    }
    for (kind, event) in events(&up) {
        assert!(!event.to_string().contains("9317"), "{kind}: {event}");
    }
    let config = up.tell(&["config", SYSTEM, "--set", "notification.sender.kakaotalk.token_file=/run/secrets/kakao"]);
    let value = |key: &str| {
        let line = config.lines().find(|line| line.starts_with(&format!("notification.sender.{key} =")));
        line.and_then(|line| line.split_once(" = ")?.1.split("  ").next()).expect("a key").to_owned()
    };
    assert_eq!(value("kakaotalk.token"), r#""***""#);
    assert_eq!(value("smtp.password"), r#""***""#);
    assert_eq!(value("webhook.secret"), r#""***""#);
    assert_eq!(value("kakaotalk.token_file"), r#""/run/secrets/kakao""#, "where it is, is none");
}

#[tokio::test]
async fn keys_that_mean_nothing_to_a_sender_are_unknown() {
    let up = Up::of(SYSTEM, &SERVICES);
    for key in ["calls.sender.url=http://127.0.0.1:1", "calls.sender.fallback=accept", "calls.sender.max_delayed=1"] {
        let (code, said) = up.jumun(&["config", SYSTEM, "--set", &format!("notification.{key}")]);
        assert_eq!(code, 1, "{said}");
        assert!(said.starts_with("error[configuration-unknown-key]: the key `notification.calls.sender."), "{said}");
    }
    let (code, said) = up.jumun(&["config", SYSTEM, "--set", "notification.calls.sender.deadline=1h"]);
    assert_eq!(code, 0, "{said}");
}

// ---- what the tests have in common

const SYSTEM: &str = "course-enrollment";
const CONFIRMED: &str = "Reservation Confirmed";

/// The system, with a sender that signs.
fn told_by_webhook(receiver: &Receiver) -> Up {
    let mut up = wary();
    up.set("notification.sender.kind=webhook");
    up.set(format!("notification.sender.webhook.url=http://{}/hooks", receiver.address));
    up.set(format!("notification.sender.webhook.secret=whsec_{KEY}"));
    up
}

/// The same, with these settings. It runs.
async fn running(receiver: &Receiver, settings: &[&str]) -> Up {
    let mut up = told_by_webhook(receiver);
    for setting in settings {
        up.set(*setting);
    }
    up.start().await;
    up
}

/// The system, with a circuit to whoever carries messages that opens with the tenth call and is open for a moment.
fn wary() -> Up {
    let mut up = Up::of(SYSTEM, &SERVICES);
    for (key, value) in [("window", "10"), ("minimum_calls", "10"), ("wait_open", "300ms"), ("half_open_calls", "3")] {
        up.set(format!("notification.calls.sender.breaker.{key}={value}"));
    }
    up
}

async fn place(up: &Up, order: &Value) -> Answer {
    up.client("gateway").post("/orders", order).await
}

async fn order(up: &Up, order: &Value) -> i64 {
    let answer = place(up, order).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.id()
}

/// The order of a customer for the usual course.
async fn order_of(up: &Up, customer: &str) -> i64 {
    order(up, &json!({ "customerId": customer, "eduNo": 101 })).await
}

async fn order_some(up: &Up, count: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(order_of(up, "kim").await);
    }
    ids
}

async fn asked_for(up: &Up, id: i64) {
    up.client("gateway").until(&format!("/reservations/{id}"), "status", "Reservation Requested").await;
}

async fn rows(up: &Up) -> Vec<Value> {
    up.client("gateway").all("/notifications").await
}

async fn all_are(up: &Up, status: &str, count: usize) -> bool {
    let rows = rows(up).await;
    rows.len() == count && rows.iter().all(|row| row["status"] == status)
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// All events: their type and what they say.
fn events(up: &Up) -> Vec<(String, Value)> {
    let told = lines(&up.tell(&["events", "tail", SYSTEM, "--json", "-n", "10000"]));
    told.into_iter().map(|line| (text(&line["type"]), line["event"].clone())).collect()
}

/// What is in doubt.
fn asks(up: &Up) -> Vec<Value> {
    lines(&up.tell(&["asks", SYSTEM, "--json"]))
}

/// The state of the circuit to whoever carries messages.
fn circuit(up: &Up) -> String {
    let circuits = lines(&up.tell(&["breakers", "--json"]));
    let of_sender =
        |circuit: &&Value| (&circuit["service"], &circuit["callee"]) == (&json!("notification"), &json!("sender"));
    text(&circuits.iter().find(of_sender).expect("a circuit")["state"])
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn body(request: &Received) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

/// The id under which a message goes out: of its order, of what happened, its own, and of when it happened.
fn message_id(row: &Value) -> String {
    let requested: jiff::Timestamp = text(&row["requestedDt"]).parse().expect("a time");
    let of = (&row["enrollmentId"], text(&row["kind"]), &row["id"]);
    format!("{}-{}-{}-{}", of.0, of.1, of.2, requested.as_millisecond())
}

/// Waits until all messages are sent, and insists that the receiver has each, and no other; the rows.
async fn all_arrive(up: &Up, receiver: &Receiver) -> Vec<Value> {
    wait_until(LONG, "all messages are sent", async || rows(up).await.iter().all(|row| row["status"] == "Sent")).await;
    let (rows, received) = (rows(up).await, receiver.received());
    for request in &received {
        request.verify(KEY);
    }
    let due: BTreeMap<_, _> = rows.iter().map(|row| (message_id(row), row)).collect();
    assert_eq!(due.len(), rows.len(), "each message has an id of its own");
    let taken: BTreeSet<_> = received.iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!(due.keys().cloned().collect::<BTreeSet<_>>(), taken, "every message arrives, and no other");
    for request in &received {
        let (row, body) = (due[request.header("webhook-id")], body(request));
        assert_eq!((&body["type"], &body["data"]["id"]), (&row["kind"], &json!(message_id(row))));
        assert_eq!(body["data"]["fields"]["orderId"], row["orderId"]);
        assert_eq!(body["data"]["recipient"].as_str(), row["customerId"].as_str().or(Some("")));
    }
    rows
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

/// Every file below a folder with what is in it.
fn files_below(folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_below(&path, files);
        } else if path.is_file() {
            let bytes = fs::read(&path).expect("a file");
            files.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}

/// What the receiver makes of messages.
#[derive(Debug, Clone, Copy)]
enum Mood {
    Takes,
    /// Until it has so many; then it is busy.
    TakesSome(usize),
    /// It takes each, and its first answer is lost.
    LosesFirstAnswers,
    Hangs,
    Says(u16),
    /// It is busy, and says for how many seconds.
    AsksForPatience(&'static str),
    /// It takes all but those to one recipient, for now.
    PutsOff(&'static str),
}

/// A receiver of webhooks. Its address is its own even while nobody listens there.
struct Receiver {
    address: SocketAddr,
    /// Holds the port without listening, so that nobody else gets it.
    _reserved: TcpSocket,
    state: Arc<Mutex<State>>,
    server: Option<(HttpServer, Running)>,
}

struct State {
    mood: Mood,
    /// The ids of messages that it has taken.
    taken: HashSet<String>,
}

impl State {
    fn reply(&mut self, request: &Received) -> Reply {
        let id = request.header("webhook-id").to_owned();
        let busy = |patience: Option<&str>| {
            Reply::Answer(
                503,
                patience.map(|wait| ("retry-after", wait.to_owned())).into_iter().collect(),
                String::new(),
            )
        };
        match self.mood {
            Mood::Hangs => return Reply::Hang,
            Mood::Says(status) => return answer(status, ""),
            Mood::AsksForPatience(seconds) => return busy(Some(seconds)),
            Mood::PutsOff(recipient) if body(request)["data"]["recipient"] == recipient => return busy(None),
            Mood::TakesSome(count) if self.taken.len() >= count => return busy(None),
            Mood::LosesFirstAnswers if self.taken.insert(id.clone()) => return Reply::Break,
            _ => {}
        }
        self.taken.insert(id);
        answer(204, "")
    }
}

impl Receiver {
    /// One that is not there yet.
    fn away() -> Self {
        let reserved = TcpSocket::new_v4().expect("a socket");
        reserved.set_reuseaddr(true).expect("a port that can be shared");
        reserved.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let address = reserved.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State { mood: Mood::Takes, taken: HashSet::new() }));
        Self { address, _reserved: reserved, state, server: None }
    }

    fn in_mood(mood: Mood) -> Self {
        let receiver = Self::listening();
        receiver.becomes(mood);
        receiver
    }

    fn listening() -> Self {
        let mut receiver = Self::away();
        receiver.listen();
        receiver
    }

    fn listen(&mut self) {
        let (address, state) = (self.address, Arc::clone(&self.state));
        self.server = Some(beside(move || async move {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_reuseaddr(true).expect("a port that can be shared");
            socket.bind(address).expect("its port");
            let listener: TcpListener = socket.listen(1_024).expect("a listener");
            HttpServer::start_on(listener, None, move |request| state.lock().expect("a lock").reply(request))
        }));
    }

    fn becomes(&self, mood: Mood) {
        self.state.lock().expect("a lock").mood = mood;
    }

    /// How many messages it has taken.
    fn taken(&self) -> usize {
        self.state.lock().expect("a lock").taken.len()
    }

    fn received(&self) -> Vec<Received> {
        self.server.as_ref().map(|(server, _)| server.received()).unwrap_or_default()
    }
}

/// Ends a server when it is dropped.
struct Running(#[allow(dead_code, reason = "it is there to be dropped")] oneshot::Sender<()>);

/// A server on a thread of its own: the tests' own one stands still while it waits for commands of the program.
fn beside<S: Send + 'static, F: Future<Output = S>>(start: impl FnOnce() -> F + Send + 'static) -> (S, Running) {
    let (running, ended) = oneshot::channel::<()>();
    let (started, server) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            started.send(start().await).unwrap_or_default();
            drop(ended.await);
        });
    });
    (server.recv_timeout(LONG).expect("a server"), Running(running))
}
