//! What a mail server receives, and what each of its answers means.

use crate::support::{
    DEFAULTS, certificate, config, eventually, message,
    smtp::{Reply, Script, SmtpServer},
};
use jumun_sender::{Message, SendError, Sender};
use serde_json::{Value, json};
use std::sync::Arc;

fn sender(server: &SmtpServer, keys: Value) -> Arc<dyn Sender> {
    let mut smtp = json!({
        "host": "127.0.0.1", "port": server.port, "tls": "none",
        "from": "교육 신청 <course@example.com>", "to": "{{ recipient }}@example.com",
    });
    let mut table = json!({ "kind": "smtp", "time_limit": "5s" });
    for (key, value) in keys.as_object().expect("a table") {
        let target = if matches!(key.as_str(), "ca_file" | "time_limit") { &mut table } else { &mut smtp };
        target[key] = value.clone();
    }
    table["smtp"] = smtp;
    config(table).open(DEFAULTS).expect("a sender")
}

async fn outcome(script: Script, keys: Value) -> &'static str {
    let server = SmtpServer::start(script).await;
    match sender(&server, keys).send(&message("m-1")).await {
        Ok(_) => "sent",
        Err(SendError::Refused { .. }) => "refused",
        Err(SendError::NotSent { .. }) => "not sent",
        Err(SendError::Unknown { .. }) => "unknown",
    }
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_meant() {
    let server = SmtpServer::start(Script::default()).await;
    let receipt = sender(&server, json!({})).send(&message("0190-a")).await.expect("sent");
    assert_eq!(receipt.reference.as_deref(), Some("2.0.0 Ok: queued as 4XyZ"));
    let mail = &server.mails()[0];
    assert_eq!((mail.from.as_str(), mail.to.as_str()), ("<course@example.com>", "<kim@example.com>"));
    assert_eq!(mail.header("Subject"), "신청 7 접수");
    assert_eq!(mail.header("From").replace('"', ""), "교육 신청 <course@example.com>");
    assert_eq!(mail.header("To"), "kim@example.com");
    assert_eq!(mail.header("Message-ID"), "<0190-a@example.com>");
    assert_eq!(mail.header("Date"), "Thu, 22 Sep 2022 07:06:48 +0000");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert_eq!(mail.header("MIME-Version"), "1.0");
    assert_eq!(mail.header("Content-Type").to_lowercase(), "text/plain; charset=utf-8");
    assert_eq!(mail.text().trim_end(), "kim님의 신청이 접수되었어요.\r\n.\r\n강의: 101");
    assert!(mail.wire.is_ascii(), "any server can carry it");
    eventually("QUIT", || server.heard().contains(&"QUIT".to_owned()).then_some(())).await;
}

#[tokio::test]
async fn a_line_that_is_a_dot_does_not_end_the_mail() {
    let server = SmtpServer::start(Script::default()).await;
    let dots = [("en", "Ordered", "Dots\n\n.\n..\n.hidden\nRCPT TO:<all@example.com>\nend\n")];
    let smtp = json!({ "host": "127.0.0.1", "port": server.port, "tls": "none", "from": "course@example.com", "to": "kim@example.com" });
    let config = config(json!({ "kind": "smtp", "language": "en", "smtp": smtp }));
    config.open(&dots).expect("a sender").send(&message("m-1")).await.expect("sent");
    let mail = &server.mails()[0];
    assert_eq!(mail.text().trim_end(), ".\r\n..\r\n.hidden\r\nRCPT TO:<all@example.com>\r\nend");
    assert!(mail.wire.contains("\r\n..\r\n...\r\n..hidden\r\n"), "each dot is doubled: {}", mail.wire);
}

#[tokio::test]
async fn a_long_korean_subject_is_whole() {
    let server = SmtpServer::start(Script::default()).await;
    let mut long = message("m-1");
    long.fields.insert("orderId".into(), "가나다라 마바사 😀 ".repeat(8).into());
    sender(&server, json!({})).send(&long).await.expect("sent");
    let mail = &server.mails()[0];
    assert_eq!(mail.header("Subject"), format!("신청 {}접수", "가나다라 마바사 😀 ".repeat(8)));
    assert!(mail.wire.lines().all(|line| line.len() <= 78), "{}", mail.wire);
}

#[tokio::test]
async fn what_a_customer_writes_makes_no_header() {
    let server = SmtpServer::start(Script::default()).await;
    let mut evil = message("m-1");
    let line = "7\r\nBcc: everybody@example.com\r\n\r\nBuy!\u{2028}\u{0}\u{85}";
    evil.fields.insert("orderId".into(), line.into());
    sender(&server, json!({})).send(&evil).await.expect("sent");
    let mail = &server.mails()[0];
    assert_eq!(mail.count("Bcc"), 0);
    assert_eq!(mail.header("Subject"), "신청 7 Bcc: everybody@example.com Buy! 접수");
    let to = json!({ "to": "{{ orderId }}" });
    let error = sender(&server, to).send(&evil).await.expect_err("no address");
    assert!(matches!(error, SendError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn who_has_no_address_is_refused() {
    let server = SmtpServer::start(Script::default()).await;
    for recipient in ["", "a b", "kim@x", "<kim", "김"] {
        let message = Message { recipient: recipient.into(), ..message("m-1") };
        let outcome = sender(&server, json!({})).send(&message).await;
        assert!(matches!(outcome, Err(SendError::Refused { .. })), "{recipient:?}: {outcome:?}");
    }
    assert!(server.mails().is_empty());
}

#[tokio::test]
async fn every_answer_at_every_step_says_what_came_of_the_message() {
    let (say, hang, close) = (Reply::Say, Reply::Hang, Reply::Close);
    let (refused, not_sent, unknown) = ("refused", "not sent", "unknown");
    for (at, reply, expected) in [
        ("GREETING", say("421 busy"), not_sent),
        ("GREETING", say("554 no mail here"), not_sent),
        ("GREETING", say("SSH-2.0-OpenSSH"), not_sent),
        ("GREETING", hang, not_sent),
        ("GREETING", close, not_sent),
        ("EHLO", say("500 what"), not_sent),
        ("MAIL", say("451 later"), not_sent),
        ("MAIL", say("550 not from you"), not_sent),
        ("MAIL", say("530 who are you"), not_sent),
        ("MAIL", hang, not_sent),
        ("RCPT", say("450 greylisted"), not_sent),
        ("RCPT", say("550 5.1.1 no such user"), refused),
        ("RCPT", say("552 mailbox full"), refused),
        ("RCPT", say("530 who are you"), not_sent),
        ("RCPT", close, not_sent),
        ("DATA", say("451 later"), not_sent),
        ("DATA", say("554 no"), refused),
        ("DATA", say("250 ok"), not_sent),
        ("DATA", hang, not_sent),
        ("TEXT", say("451 later"), not_sent),
        ("TEXT", say("421 closing"), not_sent),
        ("TEXT", say("554 5.6.0 spam"), refused),
        ("TEXT", say("354 go on"), unknown),
        ("TEXT", say("nonsense"), unknown),
        ("TEXT", hang, unknown),
        ("TEXT", close, unknown),
        ("QUIT", hang, "sent"),
        ("QUIT", close, "sent"),
    ] {
        let limit = if matches!(reply, Reply::Hang) && at != "QUIT" { "200ms" } else { "5s" };
        let script = Script { replies: vec![(at, reply)], ..Script::default() };
        let came = outcome(script, json!({ "time_limit": limit })).await;
        assert_eq!(came, expected, "{at} {reply:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_keeps_messages() {
    let login = Some(("shop", "right"));
    let asks = || Script { login, ..Script::default() };
    assert_eq!(outcome(asks(), json!({ "user": "shop", "password": "right" })).await, "sent");
    assert_eq!(outcome(asks(), json!({ "user": "shop", "password": "wrong" })).await, "not sent");
    assert_eq!(outcome(asks(), json!({})).await, "not sent", "it asks who we are");
    let server =
        SmtpServer::start(Script { login, replies: vec![("AUTH", Reply::Echo(535))], ..Script::default() }).await;
    let error = sender(&server, json!({ "user": "shop", "password": "right" })).send(&message("m-1")).await;
    let why = "user and password are not taken: 535".to_owned();
    assert_eq!(error, Err(SendError::NotSent { why, retry_after: None }), "the password is not echoed, in no form");
    let deaf = Script::default();
    assert_eq!(outcome(deaf, json!({ "user": "shop", "password": "right" })).await, "not sent", "it cannot be told");
}

#[tokio::test]
async fn where_tls_is_required_nothing_is_said_in_clear() {
    let plain = SmtpServer::start(Script { login: Some(("shop", "right")), ..Script::default() }).await;
    let keys = json!({ "tls": "required", "user": "shop", "password": "right" });
    let error = sender(&plain, keys).send(&message("m-1")).await.expect_err("it cannot do TLS");
    assert!(matches!(error, SendError::NotSent { .. }), "{error:?}");
    let heard = plain.heard();
    assert!(heard.iter().all(|line| line.starts_with("EHLO") || line == "QUIT"), "{heard:?}");
    // The same server, from the beginning.
    assert_eq!(outcome(Script::default(), json!({ "tls": "implicit", "time_limit": "300ms" })).await, "not sent");
}

#[tokio::test]
async fn answers_that_are_slipped_in_before_tls_make_nobody_believe_it_was_sent() {
    let certificate = certificate();
    for (slipped_in, replies) in [
        ("\r\n250 8BITMIME", vec![]),
        ("\r\n250 8BITMIME", vec![("TEXT", Reply::Say("554 spam"))]),
        ("\r\n250 8BITMIME\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 ok", vec![("RCPT", Reply::Say("550 no"))]),
    ] {
        let script = Script { tls: Some(certificate.acceptor.clone()), slipped_in, replies, ..Script::default() };
        let keys = json!({ "tls": "required", "host": "localhost", "ca_file": certificate.file });
        assert_ne!(outcome(script, keys).await, "sent", "{slipped_in:?}");
    }
}

#[tokio::test]
async fn a_mail_goes_over_tls_to_a_server_whom_we_trust() {
    let certificate = certificate();
    for (tls, is_implicit) in [("required", false), ("opportunistic", false), ("implicit", true)] {
        let script = || Script { tls: Some(certificate.acceptor.clone()), is_implicit, ..Script::default() };
        let server = SmtpServer::start(script()).await;
        let trusting = json!({ "tls": tls, "host": "localhost", "ca_file": certificate.file });
        sender(&server, trusting.clone()).send(&message("m-1")).await.expect("sent");
        assert!(server.mails()[0].is_private, "{tls}");

        for keys in [json!({ "tls": tls, "host": "localhost" }), json!({ "tls": tls, "ca_file": certificate.file })] {
            let server = SmtpServer::start(script()).await;
            let error = sender(&server, keys.clone()).send(&message("m-1")).await.expect_err("a stranger");
            assert!(matches!(error, SendError::NotSent { .. }), "{keys}: {error:?}");
            assert!(server.mails().is_empty());
        }
    }
    assert_eq!(outcome(Script::default(), json!({ "tls": "opportunistic" })).await, "sent", "in clear, if need be");
}
