//! What a client does about a problem: what the page of its code says.

use super::{healthy, starts_healthy};
use crate::lab::{
    Answer, Client, LONG, Up, basket, wait_until,
    wire::{Message, Wire},
};
use http::Method;
use serde_json::json;

fn is(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, &*answer.problem()), (status, code), "{answer:?}");
}

/// Repeats under the same key until it is done, as the page of a problem that passes says.
async fn insist(client: &Client, key: &str) -> Answer {
    let mut last = None;
    wait_until(LONG, "the order is taken", async || {
        last = client.post_with_key("/orders", key, &basket("김밥", 3_000)).await.ok();
        last.as_ref().is_some_and(|answer| answer.status == 201)
    })
    .await;
    last.expect("an answer")
}

#[tokio::test]
async fn requests_that_can_never_be_done() {
    let mut up = Up::new();
    up.set("payment.decline_over=50000");
    up.start().await;
    let client = up.client("gateway");
    let json = [("content-type", "application/json")];
    let order = || basket("김밥", 3_000);

    is(&client.post_text("/orders", "{").await, 400, "malformed");
    is(&client.post("/orders", &json!({ "itemQty": 1, "price": 1 })).await, 422, "invalid");
    is(
        &client.send(Method::POST, "/orders", &[("content-type", "text/plain")], "{}").await.expect("an answer"),
        415,
        "unsupported-media-type",
    );
    let large = format!("{{\"storeName\":\"{}\"}}", "x".repeat(1_100_000));
    is(&client.send(Method::POST, "/orders", &json, large).await.expect("an answer"), 413, "too-large");
    assert_eq!(client.post("/orders", &order()).await.status, 201, "what is whole, complete, JSON and small");

    is(&client.get("/orders/7000").await, 404, "not-found");
    is(&client.get("/nowhere").await, 404, "not-found");
    assert_eq!(client.get("/orders/1").await.status, 200);
    is(&client.send(Method::PUT, "/orders", &json, "{}").await.expect("an answer"), 405, "method-not-allowed");
    is(&up.client("payment").post("/payinfos", &json!({ "orderId": 9, "price": 1 })).await, 403, "ask-only");
    assert_eq!(client.get("/payinfos").await.status, 200, "reading is open to clients");

    let first = client.post_with_key("/orders", "one", &order()).await.expect("an answer");
    assert_eq!(first.status, 201);
    is(&client.post_with_key("/orders", "one", &basket("치킨", 9)).await.expect("an answer"), 422, "key-reused");
    assert_eq!(client.post_with_key("/orders", "another", &basket("치킨", 9)).await.expect("an answer").status, 201);
    let again = client.post_with_key("/orders", "one", &order()).await.expect("an answer");
    assert_eq!((again.status, again.id()), (201, first.id()), "key and body unchanged");

    is(&client.post_with_key("/orders", "dear", &basket("치킨", 60_000)).await.expect("an answer"), 402, "declined");
    assert_eq!(client.post_with_key("/orders", "less", &basket("치킨", 40_000)).await.expect("an answer").status, 201);

    let id = client.place("김밥", 3_000).await;
    client.cancel(id).await;
    client.until(&format!("/stores/{id}"), "orderStatus", "CANCELED").await;
    is(&client.put(&format!("/stores/{id}/cook-complete")).await, 409, "conflict");
    let why = up.tell(&["why", &id.to_string()]);
    assert!(why.contains("OrderCanceled"), "{why}");
    healthy(&up).await;
}

/// Sends a head, with a body, on a connection of its own. Answers the status and the code of the problem.
async fn sent(up: &Up, head: &str, body: &str) -> (u16, String) {
    let mut wire = Wire::to(up.address("gateway")).await;
    wire.say(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    let answer: Message = wire.message().await.expect("an answer");
    let problem: serde_json::Value = serde_json::from_str(&answer.text()).unwrap_or_default();
    let code = problem["type"].as_str().and_then(|kind| kind.strip_prefix("urn:jumun:problem:")).unwrap_or_default();
    (answer.status(), code.to_owned())
}

#[tokio::test]
async fn heads_that_can_never_be_taken() {
    let up = Up::running().await;
    let (long, wide) = ("x".repeat(20_000), "y".repeat(70_000));
    let order = basket("김밥", 3_000).to_string();
    let (get, post) =
        ("GET /orders HTTP/1.1\r\nhost: x", "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json");
    for (head, body, status, code, mended) in [
        (format!("{post}\r\nexpect: tea"), &*order, 417, "expectation-failed", post),
        (format!("{get}\r\ncookie: {wide}"), "", 431, "head-too-large", get),
        ("GET https://x/orders HTTP/1.1\r\nhost: x".to_owned(), "", 421, "misdirected", get),
        (
            format!("{get}\r\naccept: text/html"),
            "",
            406,
            "not-acceptable",
            "GET /orders HTTP/1.1\r\nhost: x\r\naccept: application/json",
        ),
        ("BREW /orders HTTP/1.1\r\nhost: x".to_owned(), "", 501, "not-implemented", "OPTIONS * HTTP/1.1\r\nhost: x"),
        (format!("{post}\r\nif-match: \"1\""), &*order, 412, "precondition-failed", post),
        (format!("{post}\r\ncontent-encoding: gzip"), &*order, 415, "unsupported-coding", post),
        (format!("GET /orders?q={long} HTTP/1.1\r\nhost: x"), "", 414, "uri-too-long", get),
        ("GET /orders HTTP/1.2\r\nhost: x".to_owned(), "", 505, "version-unsupported", get),
    ] {
        assert_eq!(sent(&up, &head, body).await, (status, code.to_owned()), "{head:.200}");
        let (status, code) = sent(&up, mended, body).await;
        assert!((200..=204).contains(&status), "{mended} is what the page says: {status} {code}");
    }
    healthy(&up).await;
}

#[tokio::test]
async fn requests_that_are_done_a_little_later() {
    let up = Up::new()
        .running_with(&[
            "order.calls.payment.bulkhead.max_concurrent=1",
            "order.calls.payment.bulkhead.max_wait=1ms",
            "order.calls.payment.breaker.wait_open=30s",
            "payment.faults.concurrency=1",
        ])
        .await;
    let client = up.client("gateway");
    assert_eq!(client.post("/orders", &basket("김밥", 3_000)).await.status, 201);

    up.tell(&["stop", "payment"]);
    let answer = client.post_with_key("/orders", "down", &basket("김밥", 3_000)).await.expect("an answer");
    is(&answer, 503, "neighbour-unavailable");
    assert!(answer.header("retry-after").is_some());
    up.tell(&["start", "payment"]);
    insist(&client, "down").await;

    up.tell(&["breakers", "force-open", "order", "payment"]);
    let answer = client.post_with_key("/orders", "open", &basket("김밥", 3_000)).await.expect("an answer");
    assert!(String::from_utf8_lossy(&answer.body).contains("circuit-open"), "{answer:?}");
    up.tell(&["breakers", "reset", "order", "payment"]);
    insist(&client, "open").await;

    up.tell(&["fault", "order", "--fail", "100%"]);
    is(&client.post_with_key("/orders", "fault", &basket("김밥", 3_000)).await.expect("an answer"), 500, "fault");
    up.tell(&["fault", "order", "--off"]);
    insist(&client, "fault").await;

    up.tell(&["fault", "payment", "--delay", "300ms"]);
    let crowd = (0..8).map(|nth| {
        let client = client.clone();
        tokio::spawn(
            async move { client.post_with_key("/orders", &format!("full-{nth}"), &basket("김밥", 3_000)).await },
        )
    });
    let mut refused = Vec::new();
    for (nth, answer) in crowd.collect::<Vec<_>>().into_iter().enumerate() {
        let answer = answer.await.expect("a task").expect("an answer");
        if answer.status != 201 {
            assert!(String::from_utf8_lossy(&answer.body).contains("bulkhead-full"), "{answer:?}");
            refused.push(nth);
        }
    }
    assert!(!refused.is_empty(), "one call at a time");
    up.tell(&["fault", "payment", "--off"]);
    for nth in refused {
        insist(&client, &format!("full-{nth}")).await;
    }
    healthy(&up).await;
    assert_eq!(client.all("/orders").await.len(), client.all("/payinfos").await.len(), "each is paid for once");
}

#[tokio::test]
async fn a_client_that_is_held_back() {
    let up = Up::new()
        .running_with(&[
            "gateway.rate.per_second=5",
            "gateway.rate.burst=3",
            "order.admission.max_concurrent=1",
            "order.admission.max_waiting=1",
        ])
        .await;
    let client = up.client("gateway");
    let mut held = None;
    for nth in 0..100 {
        let answer =
            client.post_with_key("/orders", &format!("rate-{nth}"), &basket("김밥", 3_000)).await.expect("an answer");
        if answer.status == 429 {
            is(&answer, 429, "too-many-requests");
            assert!(answer.header("retry-after").is_some());
            held = Some(nth);
            break;
        }
    }
    insist(&client, &format!("rate-{}", held.expect("a limit"))).await;

    let order = up.client("order");
    up.tell(&["fault", "payment", "--delay", "300ms"]);
    let crowd: Vec<_> = (0..6)
        .map(|nth| {
            let order = order.clone();
            tokio::spawn(async move {
                order.post_with_key("/orders", &format!("shed-{nth}"), &basket("김밥", 3_000)).await
            })
        })
        .collect();
    let mut shed = Vec::new();
    for (nth, answer) in crowd.into_iter().enumerate() {
        let answer = answer.await.expect("a task").expect("an answer");
        if answer.status != 201 {
            is(&answer, 503, "overloaded");
            assert!(answer.header("retry-after").is_some());
            shed.push(nth);
        }
    }
    assert!(!shed.is_empty(), "one at a time, and one waits");
    up.tell(&["fault", "payment", "--off"]);
    for nth in shed {
        insist(&order, &format!("shed-{nth}")).await;
    }
    wait_until(LONG, "the gateway takes orders again", async || {
        client.post("/orders", &basket("김밥", 3_000)).await.status == 201
    })
    .await;
    assert_eq!(up.audit("20s").exit_code, 0);
}

#[tokio::test]
async fn a_gateway_that_is_led_astray() {
    let strange = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = strange.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in strange.incoming().filter_map(Result::ok) {
            drop(std::io::Read::read(&mut stream, &mut [0; 4_096]));
            drop(std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.9\r\n"));
        }
    });
    let mut up = Up::new();
    up.set(format!("gateway.upstreams.store=http://{address}"));
    up.start().await;
    is(&up.client("gateway").get("/stores").await, 502, "bad-gateway");
    let configured =
        up.command_of(&["config", "food-delivery", "--set", &format!("gateway.upstreams.store=http://{address}")]);
    assert!(crate::lab::run(configured).1.contains(&address.to_string()));
    up.stop().await;
    up.set(format!("gateway.upstreams.store=http://{}", up.address("store")));
    starts_healthy(&mut up).await;
}

#[tokio::test]
async fn a_gateway_that_waits_no_longer() {
    let mut up = Up::new();
    for setting in ["gateway.time_limit=1s", "gateway.body_time_limit=200ms"] {
        up.set(setting);
    }
    up.start().await;
    let client = up.client("gateway");
    let mut slow = std::net::TcpStream::connect(up.address("gateway")).expect("a connection");
    let head = "POST /orders HTTP/1.1\r\nHost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    std::io::Write::write_all(&mut slow, head.as_bytes()).expect("written");
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut slow, &mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("urn:jumun:problem:timeout\""), "{answer}");
    assert_eq!(client.post("/orders", &basket("김밥", 3_000)).await.status, 201);

    up.tell(&["fault", "order", "--delay", "3s"]);
    let answer = client.post("/orders", &basket("김밥", 3_000)).await;
    is(&answer, 504, "gateway-timeout");
    let key = answer.header("idempotency-key").expect("the key").to_owned();
    up.tell(&["fault", "order", "--off"]);
    insist(&client, &key).await;
    healthy(&up).await;
    assert_eq!(client.all("/orders").await.len(), client.all("/payinfos").await.len(), "one key has one effect");
}
