//! The gateway, with real services behind it and with ones that misbehave byte by byte.

mod lab;

use http::Method;
use lab::{
    Client, Customer, LONG, Lab, SERVICES, basket, wait_until,
    wire::{Message, Reaction, Upstream, Wire, yes},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, sync::Barrier};
use uuid::Uuid;

/// A gateway whose orders are taken by somebody else.
struct Front {
    lab: Lab,
    client: Client,
}

impl Front {
    async fn new(orders: &[String], settings: &[&str]) -> Self {
        let mut lab = Lab::new();
        lab.gateway.set(format!("gateway.upstreams.order={}", orders.join(",")));
        for setting in settings {
            lab.gateway.set(*setting);
        }
        lab.gateway.start().await;
        let client = lab.gateway.client();
        Self { lab, client }
    }

    async fn before(upstream: &Upstream, settings: &[&str]) -> Self {
        Self::new(&[upstream.url()], settings).await
    }

    fn address(&self) -> SocketAddr {
        self.lab.gateway.address()
    }

    async fn order(&self) -> lab::Answer {
        self.client.post("/orders", &json!({})).await
    }

    async fn wire(&self) -> Wire {
        Wire::to(self.address()).await
    }
}

/// What is answered to a request as it is.
async fn raw(front: &Front, request: impl AsRef<[u8]>) -> Option<Message> {
    let mut wire = front.wire().await;
    wire.say(request).await;
    wire.message().await
}

// ---- the system through it

#[tokio::test]
async fn a_whole_order_goes_through_it_and_its_links_hold() {
    let mut lab = Lab::all_running().await;
    lab.gateway.start().await;
    let client = lab.gateway.client();

    let head = [("content-type", "application/json"), ("x-request-id", "of-the-client")];
    let placed =
        client.send(Method::POST, "/orders", &head, basket("치킨", 22_000).to_string()).await.expect("an answer");
    assert_eq!(placed.status, 201, "{placed:?}");
    assert_eq!(placed.header("x-request-id"), Some("of-the-client"));
    let location = placed.header("location").expect("a location").to_owned();
    let seen = placed.header("jumun-seen").expect("a name of what happened").to_owned();
    let id = placed.id();
    assert_eq!(client.get(&location).await.id(), id);
    let link = placed.json()["_links"]["self"]["href"].as_str().expect("a link").to_owned();
    assert_eq!(client.get(&link).await.id(), id);
    let view = client.send(Method::GET, &format!("/dashboards/{id}"), &[("jumun-seen", &seen)], "").await;
    assert_eq!(view.expect("an answer").status, 200);

    client.until(&format!("/stores/{id}"), "orderStatus", "ORDER_CONFIRMED").await;
    assert_eq!(client.put(&format!("/stores/{id}/cook-complete")).await.status, 200);
    client.until(&format!("/deliveries/{id}"), "status", "DELIVERY_STARTED").await;
    client.until(&format!("/dashboards/{id}"), "status", "DELIVERY_STARTED").await;
    assert_eq!(client.get(&format!("/payinfos/search/findByOrderId?orderId={id}")).await.status, 200);
    let second = client.place("피자", 1_000).await;
    client.cancel(second).await;
    assert_eq!(client.all("/orders").await.len(), 2, "page by page");
    assert_eq!(client.get("/orders/4711").await.problem(), "not-found");
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn what_only_services_may_ask_stops_at_the_gateway() {
    let payment = Upstream::new(|_, _| yes("{}")).await;
    let front = Front::before(&payment, &[&format!("gateway.upstreams.payment={}", payment.url())]).await;
    let key = Uuid::now_v7().to_string();
    let ask = [("content-type", "application/json"), ("idempotency-key", &*key), ("jumun-expires", "99999999999999")];
    for path in ["/payinfos", "/payinfos/void", "/payinfos?x=1", "/payinfos/", "/payinfos/void/"] {
        let answer = front.client.send(Method::POST, path, &ask, "{}").await.expect("an answer");
        assert_eq!((answer.status, &*answer.problem()), (403, "ask-only"), "{path}");
    }
    for path in ["/", "/payinfosx", "/Payinfos", "//payinfos", "/%70ayinfos", "/elsewhere/payinfos", "/actuator/env"] {
        let answer = front.client.send(Method::POST, path, &ask, "{}").await.expect("an answer");
        assert_eq!(answer.status, 404, "{path}");
    }
    assert_eq!(payment.seen(), [], "nobody was asked");

    front.client.send(Method::POST, "/orders", &ask, "{}").await.expect("an answer");
    assert_eq!(payment.only().all("jumun-expires"), Vec::<&str>::new(), "no client can speak as a service");
    assert_eq!(front.client.get("/payinfos/1").await.status, 201, "reading is open");
}

#[tokio::test]
async fn services_that_die_are_not_noticed_and_none_of_it_is_double() {
    let mut lab = Lab::all_running().await;
    lab.gateway.start().await;
    let client = lab.gateway.client();
    for round in 0..6_i64 {
        // Without keys: whoever is told *it may have been done* comes back with the key that the gateway gave.
        let customers: Vec<_> = (0..8_i64)
            .map(|name| {
                let client = client.clone();
                tokio::spawn(async move {
                    let mut customer = Customer::ordering(client, None, basket("치킨", 1 + round * 100 + name));
                    let began = Instant::now();
                    loop {
                        assert!(began.elapsed() < LONG, "no final answer");
                        let answer = customer.ask_once().await.expect("the gateway answers");
                        if answer.status == 201 {
                            return answer.id();
                        }
                        let problem = answer.problem();
                        assert!(
                            ["neighbour-unavailable", "not-done", "outcome-unknown"].contains(&&*problem),
                            "{answer:?}"
                        );
                        customer.key = customer.key.or_else(|| answer.header("idempotency-key").map(str::to_owned));
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                })
            })
            .collect();
        let victim = SERVICES[usize::try_from(round % 2).expect("an index")];
        wait_until(LONG, "something is at work", async || lab.gateway.is_alive()).await;
        lab.service(victim).kill();
        lab.service(victim).start().await;
        for customer in customers {
            customer.await.expect("an order");
        }
    }
    lab.gateway.stop().await;
    lab.assert_the_promise().await;
    assert_eq!(lab.order.client().all("/orders").await.len(), 48, "an order for each who ordered, and no more");
}

// ---- keys and repeats

#[tokio::test]
async fn a_command_without_a_key_gets_one_and_one_that_has_a_key_keeps_it() {
    let upstream = Upstream::new(|_, _| yes("{}")).await;
    let front = Front::before(&upstream, &[]).await;
    front.order().await;
    front.client.post_with_key("/orders", "mine", &json!({})).await.expect("an answer");
    front.client.delete("/orders/1").await;
    front.client.get("/orders").await;
    let seen = upstream.seen();
    let keys: Vec<_> = seen.iter().map(|request| request.header("idempotency-key")).collect();
    let is_new =
        |key: Option<&str>| key.is_some_and(|key| Uuid::try_parse(key).is_ok_and(|key| key.get_version_num() == 7));
    assert!(is_new(keys[0]) && is_new(keys[2]) && keys[0] != keys[2], "{keys:?}");
    assert_eq!((keys[1], keys[3]), (Some("mine"), None));
    let ids: Vec<_> = seen.iter().map(|request| request.header("x-request-id").expect("an id")).collect();
    assert!(ids.iter().all(|id| Uuid::try_parse(id).is_ok()), "{ids:?}");

    // Nobody can have the key taken away on the way.
    raw(&front, "DELETE /orders/1 HTTP/1.1\r\nhost: h\r\nidempotency-key: k\r\nconnection: idempotency-key\r\n\r\n")
        .await;
    assert_eq!(upstream.seen()[4].header("idempotency-key"), Some("k"));
}

#[tokio::test]
async fn a_request_whose_connection_breaks_is_sent_once_more_on_a_new_one() {
    for broken in ["", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\ncontent-"] {
        let upstream =
            Upstream::new(
                move |nth, _| {
                    if nth % 2 == 0 { Reaction::SayAndClose(broken.to_owned()) } else { yes("{\"id\":7}") }
                },
            )
            .await;
        let front = Front::before(&upstream, &[]).await;
        assert_eq!(front.order().await.id(), 7);
        assert_eq!(front.client.get("/orders/7").await.id(), 7, "reading may be repeated, too");
        let seen = upstream.seen();
        assert_eq!(seen.len(), 4, "{seen:?}");
        for pair in seen.chunks(2) {
            assert_ne!(pair[0].connection, pair[1].connection);
            let mut second = pair[1].clone();
            second.connection = pair[0].connection;
            assert_eq!(pair[0], second, "key, head and body are the same");
        }
    }
}

#[tokio::test]
async fn a_repeat_does_not_try_another_connection_of_the_same_dead_process() {
    let together = Arc::new(Barrier::new(4));
    let upstream = Upstream::new(move |nth, request| match (nth, request.connection) {
        (0..4, _) => Reaction::SayTogether(together.clone(), "HTTP/1.1 204 No Content\r\n\r\n".into()),
        (_, 0..4) => Reaction::BreakOff,
        _ => yes("{}"),
    })
    .await;
    let front = Front::before(&upstream, &[]).await;
    let (a, b, c, d) = tokio::join!(front.order(), front.order(), front.order(), front.order());
    assert_eq!([a, b, c, d].map(|answer| answer.status), [204; 4], "four connections are there");
    assert_eq!(front.order().await.status, 201);
    assert_eq!(upstream.seen().len(), 6);
}

#[tokio::test]
async fn what_breaks_twice_is_in_doubt_and_the_client_is_told_the_key() {
    let upstream = Upstream::new(|nth, request| match nth {
        2.. if request.first_line.starts_with("POST") => yes(r#"{"id":1}"#),
        _ => Reaction::BreakOff,
    })
    .await;
    let front = Front::before(&upstream, &[]).await;
    let in_doubt = front.order().await;
    assert_eq!((in_doubt.status, &*in_doubt.problem()), (503, "outcome-unknown"));
    let seen = upstream.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(in_doubt.header("idempotency-key"), seen[0].header("idempotency-key"));
    assert!(
        in_doubt.json()["detail"].as_str().expect("text").contains(seen[0].header("idempotency-key").expect("a key"))
    );

    let answer = front.client.get("/orders").await;
    assert_eq!((answer.status, &*answer.problem()), (503, "neighbour-unavailable"));
    assert_eq!(answer.header("idempotency-key"), None, "reading has no effect to be in doubt about");

    // What the problem says to do.
    let detail = in_doubt.json()["detail"].as_str().expect("text").to_owned();
    assert!(detail.contains("Idempotency-Key"), "{detail}");
    let key = in_doubt.header("idempotency-key").expect("a key");
    let head = [("content-type", "application/json"), ("idempotency-key", key)];
    let again = front.client.send(Method::POST, "/orders", &head, "{}").await.expect("an answer");
    assert_eq!(again.status, 201, "{again:?}");
    assert_eq!(upstream.seen().last().and_then(|seen| seen.header("idempotency-key")), Some(key), "under the same key");
}

#[tokio::test]
async fn a_no_to_the_second_copy_says_nothing_about_the_first() {
    let problem = r#"{"type":"urn:jumun:problem:not-done","title":"Nothing was done","status":503,"detail":"It is busy.","instance":"/orders","requestId":"r"}"#;
    let no = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{problem}",
        problem.len()
    );
    let upstream =
        Upstream::new(move |nth, _| if nth == 0 { Reaction::BreakOff } else { Reaction::SayAndClose(no.clone()) })
            .await;
    let front = Front::before(&upstream, &[]).await;
    let answer = front.order().await;
    assert_eq!((answer.status, &*answer.problem()), (503, "outcome-unknown"));
    assert_eq!(answer.header("idempotency-key"), upstream.seen()[0].header("idempotency-key"));
    let answer = front.order().await;
    assert!(answer.json()["type"].as_str().expect("a type").ends_with(":not-done"), "the only copy is another matter");
    assert!(answer.header("idempotency-key").is_some(), "and the key is told with it");
}

#[tokio::test]
async fn one_that_does_not_listen_is_told_at_once_and_nothing_was_done() {
    let lab = Lab::new(); // nobody listens at its addresses
    let url = format!("http://{}", lab.order.address());
    for (setting, status) in [("unavailable_status=503", 503), ("unavailable_status=500", 500)] {
        let front = Front::new(std::slice::from_ref(&url), &[setting]).await;
        let began = Instant::now();
        let answer = front.order().await;
        assert!(began.elapsed() < Duration::from_secs(1), "at once: {:?}", began.elapsed());
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("idempotency-key"), None, "nothing is in doubt");
        assert!(answer.json()["type"].as_str().expect("a type").ends_with(":neighbour-unavailable"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_service_that_dies_and_does_not_come_back_leaves_a_doubt() {
    // It takes one request, breaks off, and does not listen any more.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("an address");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let dying = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let mut start = [0; 4];
            while stream.peek(&mut start).await.expect("bytes") < start.len() {}
            if &start == b"POST" {
                return; // and with it the listener and the connection
            }
        }
    });
    let front = Front::new(&[url], &[]).await;
    let answer = front.order().await;
    dying.await.expect("an end");
    assert_eq!(answer.problem(), "outcome-unknown");
    assert!(!answer.json()["detail"].as_str().expect("text").contains("Nothing was done"), "{answer:?}");
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_given_up_in_time() {
    for is_broken_first in [false, true] {
        let upstream = Upstream::new(move |nth, _| {
            if nth == 0 && is_broken_first { Reaction::BreakOff } else { Reaction::SayAndHang(String::new()) }
        })
        .await;
        let front = Front::before(&upstream, &["gateway.time_limit=400ms"]).await;
        let began = Instant::now();
        let answer = front.order().await;
        let took = began.elapsed();
        assert_eq!((answer.status, &*answer.problem()), (504, "gateway-timeout"));
        assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(2), "over all attempts: {took:?}");
        let seen = upstream.seen();
        assert_eq!(seen.len(), 1 + usize::from(is_broken_first), "time is up for good");
        assert_eq!(answer.header("idempotency-key"), seen[0].header("idempotency-key"));
    }
}

#[tokio::test]
async fn nonsense_is_a_bad_gateway_and_not_asked_for_again() {
    for nonsense in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    ] {
        let upstream = Upstream::new(move |_, _| Reaction::SayAndClose(nonsense.to_owned())).await;
        let front = Front::before(&upstream, &[]).await;
        let answer = front.order().await;
        assert_eq!((answer.status, &*answer.problem()), (502, "bad-gateway"), "{nonsense}");
        assert_eq!(upstream.seen().len(), 1, "{nonsense}");
    }
}

#[tokio::test]
async fn connections_that_died_while_they_were_idle_are_replaced() {
    let upstream = Upstream::new(|nth, _| {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n1".to_owned();
        if nth % 3 == 2 { Reaction::SayAndClose(answer) } else { Reaction::Say(answer) }
    })
    .await;
    let front = Front::before(&upstream, &[]).await;
    for _ in 0..30 {
        assert_eq!(front.order().await.status, 200);
    }
    assert!(upstream.seen().iter().any(|request| request.connection > 2), "it did close connections");
}

#[tokio::test]
async fn a_service_that_dies_behind_a_socket_that_is_kept_is_not_noticed() {
    const CUSTOMERS: usize = 32;
    const ORDERS: usize = 60;
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.expect("an address"));
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let front = Front::new(&[url], &[]).await;
    let client = Client::with_idle_connections(front.address(), CUSTOMERS);
    let customers = (0..CUSTOMERS).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..ORDERS {
                let answer = client.post("/orders", &json!({})).await;
                assert_eq!(answer.status, 201, "{answer:?}");
            }
        })
    });
    let customers: Vec<_> = customers.collect();
    let keys = Arc::new(Mutex::new(Vec::new()));
    while customers.iter().any(|customer| !customer.is_finished()) {
        let (noted, waiting) = (keys.clone(), Arc::new(AtomicUsize::new(0)));
        let count = waiting.clone();
        let process = Upstream::on(listener.clone(), move |nth, request| {
            noted.lock().expect("nobody panics").push(request.header("idempotency-key").map(str::to_owned));
            if nth < 4 * CUSTOMERS {
                return yes("{}");
            }
            count.fetch_add(1, Ordering::Relaxed);
            Reaction::SayAndHang(String::new())
        });
        let is_stuck = async || {
            let open = customers.iter().filter(|customer| !customer.is_finished()).count();
            waiting.load(Ordering::Relaxed) == open
        };
        wait_until(LONG, "everybody waits for it", is_stuck).await;
        drop(process); // and with it every connection that it has accepted
    }
    for customer in customers {
        customer.await.expect("nobody was turned away");
    }
    let keys = keys.lock().expect("nobody panics");
    let different: BTreeSet<_> = keys.iter().flatten().collect();
    assert_eq!(different.len(), CUSTOMERS * ORDERS, "a key for each order, however often it was sent");
    assert!(keys.len() > different.len() + 10 * CUSTOMERS, "many were sent again: {}", keys.len());
}

// ---- clients that go, or are slow, or send too much

#[tokio::test]
async fn a_client_that_hangs_up_neither_loses_nor_doubles_its_command() {
    let upstream = Upstream::new(|nth, _| if nth == 0 { Reaction::BreakOff } else { yes("{}") }).await;
    let front = Front::before(&upstream, &[]).await;
    let mut wire = front.wire().await;
    wire.say("POST /orders HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}").await;
    wire.hang_up();
    wait_until(LONG, "the command has come through", async || upstream.seen().len() == 2).await;
    assert_eq!(front.order().await.status, 201, "the gateway goes on");
    let seen = upstream.seen();
    assert_eq!(seen.len(), 3, "it was not sent a third time");
    assert_eq!(seen[0].header("idempotency-key"), seen[1].header("idempotency-key"));

    // Half a command is none.
    let mut wire = front.wire().await;
    wire.say("POST /orders HTTP/1.1\r\nhost: h\r\ncontent-length: 20\r\n\r\n{").await;
    wire.hang_up();
    assert_eq!(front.order().await.status, 201);
    assert_eq!(upstream.seen().len(), 4);
}

#[tokio::test]
async fn bodies_have_a_largest_size_and_services_get_them_whole() {
    let upstream = Upstream::new(|_, _| yes("{}")).await;
    let front = Front::before(&upstream, &[]).await;
    let largest = vec![b'1'; 1024 * 1024];
    assert_eq!(front.client.post_text("/orders", &largest).await.status, 201);
    assert_eq!(upstream.only().body, largest);

    let announced = "POST /orders HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 1048577\r\n\r\n";
    let answer = raw(&front, announced).await.expect("an answer before the body");
    assert_eq!((answer.status(), answer.header("connection")), (413, Some("close")));
    assert!(answer.text().contains("urn:jumun:problem:too-large"), "{answer:?}");
    let mut wire = front.wire().await;
    wire.say("POST /orders HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n").await;
    wire.say([b"100001\r\n", &vec![b'1'; 0x10_0001][..], b"\r\n0\r\n\r\n"].concat()).await;
    assert_eq!(wire.message().await.expect("an answer").status(), 413);
    assert_eq!(upstream.seen().len(), 1, "no service saw any of it");

    let mut wire = front.wire().await;
    wire.say("POST /orders HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n").await;
    for chunk in ["3\r\n{\"a\r\n", "1;extension=1\r\n\"\r\n", "3\r\n:1}\r\n", "0\r\nx-trailer: 1\r\n\r\n"] {
        wire.say(chunk).await;
    }
    assert_eq!(wire.message().await.expect("an answer").status(), 201);
    let seen = upstream.seen();
    assert_eq!((&*seen[1].text(), seen[1].header("content-length")), ("{\"a\":1}", Some("7")));
    assert_eq!((seen[1].header("transfer-encoding"), seen[1].header("x-trailer")), (None, None));
}

#[tokio::test]
async fn a_client_that_waits_to_be_told_to_go_on_is_told_so_by_the_gateway() {
    let upstream = Upstream::new(|_, _| yes("{}")).await;
    let front = Front::before(&upstream, &[]).await;
    let mut wire = front.wire().await;
    wire.say("POST /orders HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n").await;
    assert_eq!(wire.head().await.expect("a word").status(), 100);
    assert_eq!(upstream.seen(), []);
    wire.say("{}").await;
    assert_eq!(wire.message().await.expect("an answer").status(), 201);
    assert_eq!(upstream.only().header("expect"), None);
}

#[tokio::test]
async fn slow_clients_are_not_waited_for() {
    let upstream = Upstream::new(|_, _| yes("{}")).await;
    let front = Front::before(&upstream, &["gateway.body_time_limit=200ms", "gateway.head_time_limit=200ms"]).await;
    let answer =
        raw(&front, "POST /orders HTTP/1.1\r\nhost: h\r\ncontent-length: 20\r\n\r\n{").await.expect("an answer");
    assert_eq!((answer.status(), answer.header("connection")), (408, Some("close")));
    assert!(answer.text().contains("urn:jumun:problem:timeout"), "{answer:?}");
    let answer = raw(&front, "POST /orders HT").await.expect("an answer");
    assert_eq!((answer.status(), answer.header("connection")), (408, Some("close")));
    let mut idle = front.wire().await;
    assert_eq!(idle.rest().await, b"", "a client that asks nothing is refused nothing");
    assert_eq!(upstream.seen(), []);
}

#[tokio::test]
async fn heads_have_a_largest_size() {
    let upstream = Upstream::new(|_, _| yes("{}")).await;
    let front = Front::before(&upstream, &[]).await;
    let long = "x".repeat(70_000);
    for (too_long, status) in
        [(format!("/orders HTTP/1.1\r\nx-long: {long}"), 431), (format!("/orders?{long} HTTP/1.1"), 414)]
    {
        let answer = raw(&front, format!("GET {too_long}\r\nhost: h\r\n\r\n")).await.expect("an answer");
        assert_eq!(answer.status(), status);
    }
    let lines = "x: y\r\n".repeat(200);
    let lines = raw(&front, format!("GET /orders HTTP/1.1\r\nhost: h\r\n{lines}\r\n")).await;
    assert_eq!(lines.expect("an answer").status(), 431);
    assert_eq!(upstream.seen(), []);
}

#[tokio::test]
async fn more_requests_at_once_than_a_service_may_have_are_answered_at_once() {
    let hanging = Upstream::new(|_, _| Reaction::SayAndHang(String::new())).await;
    let store = Upstream::new(|_, _| yes("{}")).await;
    let store_url = format!("gateway.upstreams.store={}", store.url());
    let front = Front::before(&hanging, &["gateway.max_concurrent=3", &store_url]).await;
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut wire = front.wire().await;
        wire.say("GET /orders HTTP/1.1\r\nhost: h\r\n\r\n").await;
        waiting.push(wire);
    }
    wait_until(LONG, "three are at work", async || hanging.seen().len() == 3).await;
    let answer = front.client.get("/orders").await;
    assert_eq!((answer.status, &*answer.problem()), (503, "overloaded"));
    assert_eq!(front.client.get("/stores").await.status, 201, "another service is not concerned");
    waiting.into_iter().for_each(Wire::hang_up);
    let at_work =
        async || front.client.get("/actuator/health").await.json()["components"]["order"]["details"]["atWork"].clone();
    wait_until(LONG, "those who hung up are forgotten", async || at_work().await == 0).await;
}

#[tokio::test]
async fn it_does_not_hold_more_than_it_may() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("an address"); // nobody accepts
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let front = Front::new(&[url], &["gateway.time_limit=30s"]).await;
    let largest = vec![b'1'; 1024 * 1024];
    let mut waiting = Vec::new();
    for _ in 0..64 {
        let mut wire = front.wire().await;
        wire.say("POST /orders HTTP/1.1\r\nhost: h\r\ncontent-length: 1048576\r\n\r\n").await;
        wire.say(&largest).await;
        waiting.push(wire);
    }
    let health = async || front.client.get("/actuator/health").await.json();
    let at_work = async || health().await["components"]["order"]["details"]["atWork"] == 64;
    wait_until(LONG, "64 MiB are held", at_work).await;
    let answer = front.order().await;
    assert_eq!((answer.status, &*answer.problem()), (503, "not-done"));
    assert_eq!(front.client.get("/stores").await.problem(), "neighbour-unavailable", "what has no body goes on");
}

// ---- heads, framing, smuggling

#[tokio::test]
async fn what_is_about_one_connection_stays_there() {
    let upstream = Upstream::new(|_, _| {
        Reaction::Say(
            "HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\nx-end: 1\r\nkeep-alive: timeout=5\r\n\
            proxy-connection: keep-alive\r\njumun-capacity: places=1, queue=0\r\nserver: theirs\r\nlocation: /orders/7\r\ncontent-length: 2\r\n\r\n{}"
                .into(),
        )
    })
    .await;
    let front = Front::before(&upstream, &[]).await;
    let mut wire = front.wire().await;
    wire.say(
        "GET http://shop.example/orders?x=%20&y HTTP/1.1\r\nhost: other\r\nconnection: keep-alive, x-hop\r\nx-hop: 1\r\n\
        x-end: 1\r\nte: trailers\r\nupgrade: websocket\r\nproxy-authorization: x\r\nx-forwarded-for: 1.1.1.1\r\n\
        forwarded: for=1.1.1.1\r\nvia: 1.0 edge\r\n\r\n",
    )
    .await;
    let answer = wire.message().await.expect("an answer");
    let seen = upstream.only();
    assert_eq!(seen.first_line, "GET /orders?x=%20&y HTTP/1.1", "as it was sent");
    for gone in ["x-hop", "te", "upgrade", "proxy-authorization", "connection", "content-length", "transfer-encoding"] {
        assert_eq!(seen.all(gone), Vec::<&str>::new(), "{gone}");
    }
    assert_eq!(seen.header("host"), Some(&*upstream.address.to_string()));
    assert_eq!(seen.all("x-forwarded-for"), ["1.1.1.1", "127.0.0.1"]);
    assert_eq!(seen.all("forwarded"), ["for=1.1.1.1", "for=127.0.0.1;proto=http"]);
    assert_eq!(seen.header("x-forwarded-host"), Some("shop.example"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.all("via"), ["1.0 edge", "1.1 jumun"]);
    assert_eq!(seen.header("x-end"), Some("1"));

    assert_eq!((answer.status(), &*answer.text()), (200, "{}"));
    for gone in ["x-hop", "keep-alive", "proxy-connection", "connection", "transfer-encoding", "jumun-capacity"] {
        assert_eq!(answer.all(gone), Vec::<&str>::new(), "{gone}");
    }
    assert_eq!((answer.header("via"), answer.header("location")), (Some("1.1 jumun"), Some("/orders/7")));
    assert_eq!((answer.header("x-end"), answer.header("server")), (Some("1"), Some("theirs")));
    assert_eq!(answer.header("x-request-id"), seen.header("x-request-id"), "it is told the id under which it is known");
}

#[tokio::test]
async fn nothing_can_be_smuggled_past_it() {
    let upstream = Upstream::new(|_, _| yes("{}")).await;
    let front = Front::before(&upstream, &[]).await;
    let smuggled = "POST /payinfos HTTP/1.1\r\nhost: h\r\njumun-expires: 99999999999999\r\ncontent-length: 2\r\n\r\n{}";
    let head = "POST /orders HTTP/1.1\r\nhost: h\r\n";
    // No service sees anything of these.
    for refused in [
        format!("{head}content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"),
        format!("{head}content-length: 3, 4\r\n\r\nabcd"),
        format!("{head}content-length: +3\r\n\r\nabc"),
        format!("{head}content-length: -1\r\n\r\n"),
        format!("{head}content-length: 0x3\r\n\r\nabc"),
        format!("{head}content-length : 3\r\n\r\nabc"),
        format!("{head}transfer-encoding: xchunked\r\n\r\n{smuggled}"),
        format!("{head}transfer-encoding: chunked, identity\r\n\r\n{smuggled}"),
        format!("{head}transfer-encoding : chunked\r\n\r\n0\r\n\r\n"),
        format!("{head}transfer-encoding: chunked\r\n\r\nx\r\n{smuggled}"),
        format!("{head}transfer-encoding: chunked\r\n\r\n-1\r\n{smuggled}"),
        format!("{head}transfer-encoding: chunked\r\n\r\nffffffffffffffff1\r\n{smuggled}"),
        format!("{head}x: a\r\n folded: b\r\n\r\n"),
        format!("{head}x: a\0b\r\n\r\n"),
        format!("{head}host: second\r\n\r\n"),
        "POST /orders HTTP/1.1\r\n\r\n".to_owned(),
        "POST /orders HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "POST /orders HTTP/3.0\r\nhost: h\r\n\r\n".to_owned(),
        "POST /orders /payinfos HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(),
    ] {
        let mut wire = front.wire().await;
        wire.say(&refused).await;
        let answer = wire.message().await.expect("an answer");
        let expected = if refused.contains("HTTP/3.0") { 505 } else { 400 };
        assert_eq!((answer.status(), answer.header("connection")), (expected, Some("close")), "{refused}\n{answer:?}");
        assert_eq!(upstream.seen(), [], "{refused}");
    }
    // Of these it sees one request, framed anew, however they are read.
    for (nth, (one, body)) in [
        (format!("{head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "abc"),
        (format!("{head}transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "abc"),
        (format!("{head}content-length: {}\r\n\r\n{smuggled}", smuggled.len()), smuggled),
        (head.replace("\r\n", "\n") + "content-length: 3\n\nabc", "abc"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(raw(&front, &one).await.expect("an answer").status(), 201, "{one}");
        let seen = upstream.seen();
        assert_eq!((seen.len(), &*seen[nth].text()), (nth + 1, body), "{one}");
        assert_eq!(seen[nth].header("content-length"), Some(&*body.len().to_string()));
        assert_eq!(seen[nth].header("transfer-encoding"), None);
        assert!(seen[nth].first_line.starts_with("POST /orders "));
    }
}

#[tokio::test]
async fn requests_that_come_in_one_go_are_answered_in_order_on_one_connection() {
    let upstream = Upstream::new(|nth, _| yes(&nth.to_string())).await;
    let front = Front::before(&upstream, &[]).await;
    let mut wire = front.wire().await;
    let one = "POST /orders HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}";
    let page = "GET /actuator/health/liveness HTTP/1.1\r\nhost: h\r\n\r\n";
    wire.say([one, one, page, one].concat()).await;
    for expected in ["0", "1", r#"{"status":"UP"}"#, "2"] {
        assert_eq!(wire.message().await.expect("an answer").text(), expected);
    }
    wire.say("POST /orders HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}").await;
    let last = wire.message().await.expect("an answer");
    assert_eq!((&*last.text(), last.header("connection")), ("3", Some("close")));
    assert_eq!(wire.rest().await, b"");
    let connections: Vec<_> = upstream.seen().iter().map(|request| request.connection).collect();
    assert!(connections.iter().all(|connection| *connection == connections[0]), "one is enough: {connections:?}");
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_is_read_is_an_answer() {
    let upstream = Upstream::new(|_, _| {
        Reaction::SayEarly("HTTP/1.1 422 Unprocessable Content\r\ncontent-length: 2\r\n\r\n{}".into())
    })
    .await;
    let front = Front::before(&upstream, &[]).await;
    let answer = front.client.post_text("/orders", "[1]").await;
    assert_eq!((answer.status, upstream.seen().len()), (422, 1));
}

#[tokio::test]
async fn answers_come_through_as_they_come_and_a_broken_one_is_not_made_whole() {
    let upstream = Upstream::new(|nth, _| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n".to_owned();
        match nth {
            0 => Reaction::SayAndHang(head),
            1 => Reaction::SayAndClose(head),
            2 => Reaction::SayAndClose("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".into()),
            3 => Reaction::Say(head + "3\r\ndef\r\n0\r\n\r\n"),
            4 => Reaction::SayAndClose("HTTP/1.1 200 OK\r\n\r\nuntil the end".into()),
            5 => Reaction::Say("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n".into()),
            _ => Reaction::Say("HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n".into()),
        }
    })
    .await;
    let front = Front::before(&upstream, &[]).await;
    let get = "GET /orders HTTP/1.1\r\nhost: h\r\n\r\n";
    let mut wire = front.wire().await;
    wire.say(get).await;
    assert_eq!(wire.head().await.expect("a head").status(), 200);
    assert_eq!(wire.bytes(8).await, b"3\r\nabc\r\n", "before there is more");
    wire.hang_up();

    let mut wire = front.wire().await;
    wire.say(get).await;
    assert!(!String::from_utf8_lossy(&wire.rest().await).contains("0\r\n\r\n"), "the end did not come");
    let mut wire = front.wire().await;
    wire.say(get).await;
    assert!(wire.rest().await.ends_with(b"\r\n\r\nabc"), "less than was promised, and then the connection ends");
    assert_eq!(raw(&front, get).await.expect("an answer").text(), "abcdef");
    assert_eq!(raw(&front, get).await.expect("an answer").text(), "until the end");
    assert_eq!(raw(&front, get).await.expect("an answer").status(), 204);
    let unmodified = raw(&front, get).await.expect("an answer");
    assert_eq!((unmodified.status(), unmodified.header("etag")), (304, Some("\"1\"")));
}

#[tokio::test]
async fn heads_alone_and_options_come_through() {
    let upstream = Upstream::new(|_, request| {
        Reaction::Say(if request.first_line.starts_with("HEAD") {
            "HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n".into()
        } else {
            "HTTP/1.1 204 No Content\r\nallow: GET, POST\r\n\r\n".into()
        })
    })
    .await;
    let front = Front::before(&upstream, &[]).await;
    let mut wire = front.wire().await;
    for _ in 0..2 {
        wire.say("HEAD /orders HTTP/1.1\r\nhost: h\r\n\r\n").await;
        let head = wire.head().await.expect("a head");
        assert_eq!((head.status(), head.header("content-length")), (200, Some("5000")));
    }
    wire.say("HEAD /actuator/info HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(wire.head().await.expect("a head").status(), 200);
    wire.say("OPTIONS /orders HTTP/1.1\r\nhost: h\r\norigin: https://shop.example\r\naccess-control-request-method: GET\r\n\r\n").await;
    let options = wire.message().await.expect("an answer");
    assert_eq!(
        (options.status(), options.header("allow")),
        (204, Some("GET, POST")),
        "CORS is off: it is the service's"
    );
    wire.say("TRACE /orders HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(wire.message().await.expect("an answer").status(), 405);
    assert_eq!(upstream.seen().len(), 3);
}

#[tokio::test]
async fn web_pages_of_named_origins_may_call_and_no_others() {
    let upstream = Upstream::new(|_, _| yes("{}")).await;
    let front = Front::before(&upstream, &["gateway.cors_origins=https://shop.example, http://localhost:3000"]).await;
    let mine = ("origin", "https://shop.example");
    let preflight = [mine, ("access-control-request-method", "POST")];
    let answer = front.client.send(Method::OPTIONS, "/orders", &preflight, "").await.expect("an answer");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("https://shop.example")));
    assert!(answer.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    assert!(answer.header("access-control-allow-headers").is_some_and(|names| names.contains("idempotency-key")));
    let strange = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
    let answer = front.client.send(Method::OPTIONS, "/orders", &strange, "").await.expect("an answer");
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(upstream.seen(), [], "preflights are the gateway's");

    let json = ("content-type", "application/json");
    for path in ["/orders", "/nowhere", "/payinfos"] {
        let answer = front.client.send(Method::POST, path, &[mine, json], "{}").await.expect("an answer");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"), "{answer:?}");
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    let any = Front::before(&upstream, &["gateway.cors_origins=*"]).await;
    let answer = any.client.send(Method::GET, "/orders", &[("origin", "null")], "").await.expect("an answer");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}

// ---- several upstreams, health, drain

#[tokio::test]
async fn requests_go_round_those_that_are_ready() {
    let [first, second] = [Upstream::new(|_, _| yes("{}")).await, Upstream::new(|_, _| yes("{}")).await];
    let gone = Lab::new(); // nobody listens there
    let gone = format!("http://{}", gone.order.address());
    let front = Front::new(&[first.url(), gone, second.url()], &[]).await;
    for _ in 0..20 {
        assert_eq!(front.order().await.status, 201, "one that refuses is passed by");
    }
    assert!(first.seen().len() >= 5 && second.seen().len() >= 5, "{} {}", first.seen().len(), second.seen().len());
    assert_eq!(first.seen().len() + second.seen().len(), 20);

    let address = second.address;
    drop(second);
    let states = async || {
        front.client.get("/actuator/health").await.json()["components"]["order"]["details"]["upstreams"].clone()
    };
    wait_until(LONG, "it is seen that one is gone", async || states().await[address.to_string()] == "DOWN").await;
    let before = first.seen().len();
    for _ in 0..5 {
        assert_eq!(front.order().await.status, 201);
    }
    assert_eq!(first.seen().len(), before + 5);
    let back = Upstream::at(address, |_, _| yes("{}")).await;
    wait_until(LONG, "it is seen that it is back", async || states().await[address.to_string()] == "UP").await;
    front.order().await;
    front.order().await;
    front.order().await;
    assert!(!back.seen().is_empty());

    drop((first, back));
    wait_until(LONG, "it is seen that all are gone", async || {
        let states = states().await;
        states.as_object().is_some_and(|states| states.values().all(|state| state == "DOWN"))
    })
    .await;
    let answer = front.order().await;
    assert_eq!((answer.status, &*answer.problem()), (503, "neighbour-unavailable"));
}

#[tokio::test]
async fn the_gateway_tells_of_itself_and_is_up_when_a_service_is_not() {
    let mut lab = Lab::running().await;
    lab.gateway.start().await;
    let client = lab.gateway.client();
    let health = async || client.get("/actuator/health").await;
    wait_until(LONG, "it has looked", async || health().await.json()["components"]["store"]["status"] == "DOWN").await;
    let answer = health().await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let health = answer.json();
    assert_eq!(health["status"], "UP");
    let order = &health["components"]["order"];
    assert_eq!((&order["status"], &order["details"]["paths"]), (&json!("UP"), &json!(["/orders"])), "{health}");
    assert_eq!(order["details"]["upstreams"][lab.order.address().to_string()], "UP");
    for page in ["liveness", "readiness"] {
        assert_eq!(client.get(&format!("/actuator/health/{page}")).await.json(), json!({ "status": "UP" }));
    }
    let info = client.get("/actuator/info").await.json();
    assert_eq!((&info["service"], &info["system"]), (&json!("gateway"), &json!("food-delivery")));
    assert_ne!(info["version"], Value::Null);
    assert_eq!(client.post("/actuator/info", &json!({})).await.problem(), "method-not-allowed");
    assert_eq!(client.get("/stores").await.problem(), "neighbour-unavailable");
    assert_eq!(client.place("치킨", 1).await, 1, "the others are there");
}

#[tokio::test]
async fn a_gateway_that_is_told_to_stop_finishes_what_is_at_work() {
    let mut lab = Lab::running().await;
    lab.gateway.start().await;
    lab.order.stall().await;
    let client = lab.gateway.client();
    let ordering = tokio::spawn(async move { client.post("/orders", &basket("치킨", 1)).await });
    let client = lab.gateway.client();
    let at_work = async || client.get("/actuator/health").await.json()["components"]["order"]["details"]["atWork"] == 1;
    wait_until(LONG, "the order is at work", at_work).await;
    lab.gateway.terminate();
    let address = lab.gateway.address();
    let is_closed = async || tokio::net::TcpStream::connect(address).await.is_err();
    wait_until(LONG, "nobody gets in any more", is_closed).await;
    assert!(lab.gateway.is_alive(), "it waits for what is at work");
    lab.order.go_on();
    assert_eq!(ordering.await.expect("an answer").status, 201);
    lab.gateway.wait_until_ended(LONG).await;
}
