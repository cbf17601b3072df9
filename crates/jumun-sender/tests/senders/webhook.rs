//! What a webhook's receiver sees, and how it knows that it is from us.

use crate::support::{
    DEFAULTS, certificate, config,
    http::{HttpServer, Reply, answer},
    message,
};
use jumun_sender::{SendError, Sender};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn sender(url: &str) -> Arc<dyn Sender> {
    let webhook = json!({ "url": url, "secret": format!("whsec_{KEY}") });
    config(json!({ "kind": "webhook", "language": "en", "webhook": webhook })).open(DEFAULTS).expect("a sender")
}

#[tokio::test]
async fn a_receiver_can_verify_what_it_gets() {
    let server = HttpServer::start(|_| answer(204, "")).await;
    let sender = sender(&format!("{}/hooks/jumun?shop=7", server.url()));
    sender.send(&message("0190-a")).await.expect("sent");
    sender.send(&message("0190-a")).await.expect("sent");
    let received = server.received();
    for request in &received {
        request.verify(KEY);
        assert_eq!(request.method, "POST");
        assert_eq!(request.uri, "/hooks/jumun?shop=7");
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("webhook-id"), "0190-a");
    }
    assert_eq!(received[0].body, received[1].body, "the same message, the same body");
    let body: Value = serde_json::from_slice(&received[0].body).expect("JSON");
    let expected = json!({
        "type": "Ordered",
        "timestamp": "2022-09-22T07:06:48.970Z",
        "data": {
            "id": "0190-a",
            "recipient": "kim",
            "subject": "Application 7",
            "text": "We have your application, kim.",
            "fields": { "orderId": 7, "customerId": "kim", "eduNo": 101, "status": null },
        },
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn over_tls_it_must_be_a_receiver_whom_we_trust() {
    let certificate = certificate();
    let server = HttpServer::start_with(Some(certificate.acceptor.clone()), |_| answer(200, "")).await;
    let url = format!("https://localhost:{}/", server.port);
    let error = sender(&url).send(&message("m-1")).await.expect_err("a stranger");
    assert!(matches!(error, SendError::NotSent { .. }), "{error:?}");
    assert!(server.received().is_empty());

    let webhook = json!({ "url": url, "secret": format!("whsec_{KEY}") });
    let keys = json!({ "kind": "webhook", "ca_file": certificate.file, "webhook": webhook });
    config(keys).open(DEFAULTS).expect("a sender").send(&message("m-1")).await.expect("sent");
    server.received()[0].verify(KEY);
}

#[tokio::test]
async fn a_receiver_says_when_to_come_again() {
    for status in [408, 425, 429, 503] {
        let wait = || vec![("retry-after", "7".to_owned())];
        let server = HttpServer::start(move |_| Reply::Answer(status, wait(), String::new())).await;
        let error = sender(&server.url()).send(&message("m-1")).await.expect_err("not now");
        let SendError::NotSent { retry_after, .. } = error else { panic!("{status}: {error:?}") };
        assert_eq!(retry_after, Some(Duration::from_secs(7)), "{status}");
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_refuses_and_one_that_fails_leaves_it_open() {
    for (status, is_refused) in [(400, true), (404, true), (410, true), (500, false), (502, false)] {
        let server = HttpServer::start(move |_| answer(status, "<html>")).await;
        let error = sender(&server.url()).send(&message("m-1")).await.expect_err("no");
        assert_eq!(matches!(error, SendError::Refused { .. }), is_refused, "{status}: {error:?}");
        assert_eq!(matches!(error, SendError::Unknown { .. }), !is_refused, "{status}: {error:?}");
        assert_eq!(server.received().len(), 1, "one attempt");
    }
}

#[tokio::test]
async fn nobody_is_followed_elsewhere() {
    let elsewhere = HttpServer::start(|_| answer(200, "")).await;
    let url = elsewhere.url();
    let server = HttpServer::start(move |_| Reply::Answer(307, vec![("location", url.clone())], String::new())).await;
    let error = sender(&server.url()).send(&message("m-1")).await.expect_err("redirected");
    assert!(matches!(error, SendError::NotSent { .. }), "{error:?}");
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn an_answer_counts_even_if_its_body_never_ends() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await.expect("a request");
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nand").await.expect("written");
        std::future::pending::<()>().await;
    });
    let webhook = json!({ "url": format!("http://127.0.0.1:{port}"), "secret": format!("whsec_{KEY}") });
    let keys = json!({ "kind": "webhook", "time_limit": "200ms", "webhook": webhook });
    config(keys).open(DEFAULTS).expect("a sender").send(&message("m-1")).await.expect("it said 200");
}
