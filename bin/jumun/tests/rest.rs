//! What is said over HTTP: section 1 of the contracts, as far as orders and payments go, and what the product does with
//! everything that is not in it.

mod lab;

use http::Method;
use lab::{Answer, Client, Customer, Lab, basket, wait_for, wait_until};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use uuid::{NoContext, Timestamp, Uuid};

async fn order(client: &Client, item: &str, price: i64) -> Answer {
    let answer = client.post("/orders", &basket(item, price)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer
}

/// Nothing is stored, in no service.
async fn assert_nothing_is_stored(lab: &Lab) {
    assert_eq!(lab.order.client().all("/orders").await, Vec::<Value>::new());
    assert_eq!(lab.payment.client().all("/payinfos").await, Vec::<Value>::new());
    assert!(lab.attempts("order").is_empty() && lab.journal("order").is_empty() && lab.journal("payment").is_empty());
}

/// Posts a body that is no order: the status and the problem of the answer.
async fn assert_refused(orders: &Client, body: &[u8], expected: (u16, &str)) {
    let answer = orders.post_text("/orders", body).await;
    let shown = String::from_utf8_lossy(&body[..body.len().min(60)]);
    assert_eq!((answer.status, &*answer.problem()), expected, "{shown}: {answer:?}");
}

/// Sends bytes as they are and reads until the other side closes, or has sent a whole response.
async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    // Whoever is refused early may find the way closed before all is sent.
    drop(stream.write_all(bytes).await);
    read_response(&mut stream).await
}

async fn read_response(stream: &mut TcpStream) -> String {
    let (mut read, mut some) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&read);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return text.into_owned();
            }
        }
        match tokio::time::timeout(lab::LONG, stream.read(&mut some)).await.expect("an answer in time") {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&read).into_owned(),
            Ok(count) => read.extend_from_slice(&some[..count]),
        }
    }
}

// ---- what is there

#[tokio::test]
async fn an_order_is_made_shown_cancelled_and_still_readable() {
    let lab = Lab::running().await;
    let orders = lab.order.client();
    let made = order(&orders, "냉면", 11_000).await;
    assert_eq!(made.header("location"), Some("/orders/1"));
    assert_eq!(made.header("content-type"), Some("application/hal+json"));
    let json = made.json();
    let expected = json!({
        "id": 1, "storeName": "스토어99", "itemName": "냉면", "itemQty": 2, "price": 11_000, "orderStatus": "ORDERED",
        "orderDate": json["orderDate"], "_links": { "self": { "href": "/orders/1" } },
    });
    assert_eq!(json, expected);
    assert_eq!(orders.get("/orders/1").await.body, made.body);
    assert_eq!(lab.payment.client().get("/payinfos/1").await.json()["status"], "APPROVED");

    let cancelled = orders.send(Method::DELETE, "/orders/1", &[], "").await.expect("an answer");
    assert_eq!((cancelled.status, cancelled.body.len()), (204, 0));
    assert_eq!(orders.get("/orders/1").await.json()["orderStatus"], "CANCELED");
    let again = orders.send(Method::DELETE, "/orders/1", &[], "").await.expect("an answer");
    assert_eq!((again.status, &*again.problem()), (409, "conflict"));
    let unknown = orders.send(Method::DELETE, "/orders/2", &[], "").await.expect("an answer");
    assert_eq!((unknown.status, &*unknown.problem()), (404, "not-found"));
    assert_eq!(lab.journal("order").len(), 2, "a no is no event");
}

#[tokio::test]
async fn ids_rise_from_one() {
    let mut lab = Lab::running().await;
    let orders = lab.order.client();
    let mut last = 0;
    for nth in 0..5 {
        let id = order(&orders, "냉면", nth).await.id();
        assert_eq!(id, last + 1);
        last = id;
    }
    lab.payment.kill();
    assert_eq!(orders.post("/orders", &basket("냉면", 1)).await.status, 503);
    lab.order.kill();
    lab.start().await;
    let id = order(&orders, "냉면", 5).await.id();
    assert!(id > last + 1, "an id that was tried is never given out again: {id}");
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn a_list_is_hal_and_comes_in_pages() {
    let lab = Lab::running().await;
    let orders = lab.order.client();
    let empty = orders.get("/orders").await;
    assert_eq!(empty.json()["page"], json!({ "size": 20, "totalElements": 0, "totalPages": 0, "number": 0 }));
    assert_eq!(empty.json()["_embedded"]["orders"], json!([]));
    for nth in 1..=25 {
        order(&orders, &format!("item {nth}"), nth).await;
    }
    let first = orders.get("/orders").await;
    assert_eq!(first.header("content-type"), Some("application/hal+json"));
    let first = first.json();
    assert_eq!(first["page"], json!({ "size": 20, "totalElements": 25, "totalPages": 2, "number": 0 }));
    let ids = |page: &Value| -> Vec<i64> {
        let rows = page["_embedded"]["orders"].as_array().expect("a list");
        rows.iter().map(|row| row["id"].as_i64().expect("an id")).collect()
    };
    assert_eq!(ids(&first), (1..=20).collect::<Vec<_>>());
    let links =
        |page: &Value| -> BTreeSet<String> { page["_links"].as_object().expect("links").keys().cloned().collect() };
    let names = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    assert_eq!(links(&first), names(&["self", "first", "next", "last"]));
    let href = |page: &Value, link: &str| page["_links"][link]["href"].as_str().expect("a link").to_owned();

    let second = orders.get(&href(&first, "next")).await.json();
    assert_eq!(ids(&second), (21..=25).collect::<Vec<_>>());
    assert_eq!(links(&second), names(&["self", "first", "prev", "last"]));
    assert_eq!(orders.get(&href(&second, "prev")).await.json(), first);
    assert_eq!(href(&first, "last"), href(&second, "self"));
    assert_eq!(first["_embedded"]["orders"][6], orders.get("/orders/7").await.json(), "the same as by itself");

    let json = orders.send(Method::GET, "/orders", &[("accept", "application/json")], "").await.expect("an answer");
    assert_eq!((json.header("content-type"), json.json()), (Some("application/json"), first));

    let beyond = orders.get("/orders?page=9").await.json();
    assert_eq!((ids(&beyond), &beyond["page"]["number"]), (vec![], &json!(9)));
    let one = orders.get("/orders?size=1&page=24").await.json();
    assert_eq!((ids(&one), &one["page"]["totalPages"]), (vec![25], &json!(25)));
    assert_eq!(orders.get("/orders?size=5000").await.json()["page"]["size"], 1_000);
    assert_eq!(ids(&orders.get("/orders?sort=id,desc&size=2").await.json()), [25, 24]);
    let dear = orders.get("/orders?sort=price,desc&size=2").await.json();
    assert_eq!(ids(&dear), [25, 24]);
    assert_eq!(
        ids(&orders.get(&href(&dear, "next")).await.json()),
        [23, 22],
        "links keep the order that was asked for"
    );
    assert_eq!(ids(&orders.get("/orders?sort=itemName&size=2").await.json()), [1, 10]);
    for (query, field) in [
        ("size=0", "size"),
        ("size=-1", "size"),
        ("size=many", "size"),
        ("page=-1", "page"),
        ("page=1.5", "page"),
        ("page=99999999999999999999", "page"),
        ("sort=nonsense", "sort"),
        ("sort=price,sideways", "sort"),
        ("sort=price;drop", "sort"),
    ] {
        let answer = orders.get(&format!("/orders?{query}")).await;
        assert_eq!(
            (answer.status, &*answer.problem(), &answer.json()["field"]),
            (422, "invalid", &json!(field)),
            "{query}"
        );
    }
    assert_eq!(orders.get("/orders?page=4294967295&size=1000").await.status, 200, "far beyond the end");
    assert_eq!(orders.get("/orders?color=blue").await.status, 200, "what nobody knows is ignored");
}

#[tokio::test]
async fn finders_find_by_a_field() {
    let lab = Lab::running().await;
    let orders = lab.order.client();
    for store in ["스토어99", "store & co=1", "스토어99", "'; DROP TABLE orders_documents; --"] {
        let body = json!({ "storeName": store, "itemQty": 1, "price": 1 });
        assert_eq!(orders.post("/orders", &body).await.status, 201);
    }
    let found = async |query: &str| -> Vec<i64> {
        let page = orders.get(&format!("/orders/search/findByStoreName?storeName={query}")).await.json();
        page["_embedded"]["orders"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| row["id"].as_i64().expect("an id"))
            .collect()
    };
    assert_eq!(found("%EC%8A%A4%ED%86%A0%EC%96%B499").await, [1, 3]);
    assert_eq!(found("%EC%8A%A4%ED%86%A0%EC%96%B499&sort=id,desc&size=1").await, [3]);
    assert_eq!(found("store+%26+co%3D1").await, [2]);
    assert_eq!(found("%27%3B%20DROP%20TABLE%20orders_documents%3B%20--").await, [4]);
    assert_eq!(found("%27%20OR%201%3D1%20--").await, Vec::<i64>::new());
    assert_eq!(found("").await, Vec::<i64>::new());
    let payments = lab.payment.client();
    let payment = payments.get("/payinfos/search/findByOrderId?orderId=3").await.json();
    assert_eq!(payment["_embedded"]["payinfos"][0]["orderId"], 3);
    assert_eq!(payment["page"]["totalElements"], 1);
    let nobody = payments.get("/payinfos/search/findByOrderId?orderId=nonsense").await;
    assert_eq!((nobody.status, &nobody.json()["page"]["totalElements"]), (200, &json!(0)));
    let all = orders.get("/orders/search").await.json();
    assert_eq!(all["_links"]["findByStoreName"]["href"], "/orders/search/findByStoreName{?storeName}");
    assert_eq!(orders.get("/orders/search/findByPrice?price=1").await.problem(), "not-found");
    let missing = orders.get("/orders/search/findByStoreName").await;
    assert_eq!((&*missing.problem(), &missing.json()["field"]), ("invalid", &json!("storeName")));
}

#[tokio::test]
async fn dates_carry_the_offset_of_the_zone() {
    let mut lab = Lab::new();
    lab.order.env("TZ", "Asia/Seoul");
    lab.start().await;
    let made = order(&lab.order.client(), "냉면", 11_000).await.json();
    let shown = made["orderDate"].as_str().expect("a date");
    assert!(shown.ends_with("+09:00"), "{shown}");
    let time: jiff::Timestamp = shown.parse().expect("a date of RFC 3339");
    assert!(jiff::Timestamp::now().duration_since(time).abs() < jiff::SignedDuration::from_secs(60), "{shown}");
    let told = &lab.journal("order")[0].body;
    let told = told["orderDate"].as_str().expect("a date");
    assert!(told.ends_with('Z') || told.ends_with("+00:00"), "events are in UTC: {told}");
    assert_eq!(told.parse::<jiff::Timestamp>().expect("a date"), time);
}

#[tokio::test]
async fn health_tells_whether_requests_are_welcome() {
    let mut lab = Lab::running().await;
    let orders = lab.order.client();
    let health = orders.get("/actuator/health").await;
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("UP")));
    for page in ["liveness", "readiness"] {
        let answer = orders.get(&format!("/actuator/health/{page}")).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "status": "UP" })));
    }
    assert_eq!(orders.get("/actuator/info").await.json()["service"], "order");
    lab.payment.kill();
    assert_eq!(orders.get("/actuator/health").await.status, 200, "a neighbour that is down does not make it ill");
}

// ---- what clients send

#[tokio::test]
async fn numbers_are_taken_as_clients_send_them() {
    let mut lab = Lab::running().await;
    let orders = lab.order.client();
    for (qty, price) in
        [("1", "22000"), ("\"1\"", "\"22000\""), ("1.0", "22000.0"), ("\" 1 \"", "2.2e4"), ("1", "\"22000.0\"")]
    {
        let body = format!(r#"{{"storeName":"s","itemName":"i","itemQty":{qty},"price":{price}}}"#);
        let answer = orders.post_text("/orders", &body).await;
        assert_eq!(answer.status, 201, "{body}: {answer:?}");
        assert!(String::from_utf8_lossy(&answer.body).contains(r#""itemQty":1,"price":22000,"#), "{answer:?}");
    }
    for (price, stored) in [("0", 0), ("-0.0", 0), ("1000000000", 1_000_000_000)] {
        let answer = orders.post_text("/orders", format!(r#"{{"storeName":"s","itemQty":1,"price":{price}}}"#)).await;
        assert_eq!((answer.status, &answer.json()["price"]), (201, &json!(stored)), "{price}");
    }
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn unknown_and_read_only_fields_are_ignored() {
    let mut lab = Lab::running().await;
    let orders = lab.order.client();
    let body = r#"{"id":77,"storeName":"s","itemQty":1,"price":1,"orderStatus":"CANCELED","orderDate":"1999-01-01T00:00:00Z",
        "_links":{"self":{"href":"/orders/77"}},"color":{"deep":[1,{"er":null}]},"color":2}"#;
    let answer = orders.post_text("/orders", body).await.json();
    assert_eq!((&answer["id"], &answer["orderStatus"]), (&json!(1), &json!("ORDERED")));
    assert!(!answer["orderDate"].as_str().expect("a date").starts_with("1999"));
    assert!(answer.get("color").is_none());
    let deep =
        format!(r#"{{"storeName":"s","itemQty":1,"price":1,"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(orders.post_text("/orders", &deep).await.status, 201, "however deep they are");
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn any_text_that_people_see_is_a_name() {
    let mut lab = Lab::running().await;
    let orders = lab.order.client();
    for name in ["👩‍👩‍👧‍👦", "\"quoted\" \\ /", "</script>", &"가".repeat(255), "שלום", "0"] {
        let body = json!({ "storeName": name, "itemName": name, "itemQty": 1, "price": 1 });
        let answer = orders.post("/orders", &body).await;
        assert_eq!((answer.status, &answer.json()["storeName"]), (201, &json!(name)), "{name:?}");
        let shown = orders.get(&format!("/orders/{}", answer.id())).await;
        assert_eq!(shown.body, answer.body);
    }
    assert_eq!(orders.all("/orders").await.len(), 6);
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn an_impossible_value_is_422_and_names_its_field() {
    let lab = Lab::running().await;
    let orders = lab.order.client();
    for (body, field) in [
        (r#"{"itemQty":1,"price":1}"#, "storeName"),
        (r#"{"storeName":"s","price":1}"#, "itemQty"),
        (r#"{"storeName":"s","itemQty":1}"#, "price"),
        (r#"{"storeName":null,"itemQty":1,"price":1}"#, "storeName"),
        (r#"{"storeName":"","itemQty":1,"price":1}"#, "storeName"),
        (r#"{"storeName":"  ","itemQty":1,"price":1}"#, "storeName"),
        (r#"{"storeName":7,"itemQty":1,"price":1}"#, "storeName"),
        (r#"{"storeName":["s"],"itemQty":1,"price":1}"#, "storeName"),
        (r#"{"storeName":"s","itemName":"","itemQty":1,"price":1}"#, "itemName"),
        (r#"{"storeName":"s","itemQty":0,"price":1}"#, "itemQty"),
        (r#"{"storeName":"s","itemQty":-1,"price":1}"#, "itemQty"),
        (r#"{"storeName":"s","itemQty":1.5,"price":1}"#, "itemQty"),
        (r#"{"storeName":"s","itemQty":true,"price":1}"#, "itemQty"),
        (r#"{"storeName":"s","itemQty":"many","price":1}"#, "itemQty"),
        (r#"{"storeName":"s","itemQty":{},"price":1}"#, "itemQty"),
        (r#"{"storeName":"s","itemQty":1,"price":-1}"#, "price"),
        (r#"{"storeName":"s","itemQty":1,"price":"NaN"}"#, "price"),
        (r#"{"storeName":"s","itemQty":1,"price":"Infinity"}"#, "price"),
        (r#"{"storeName":"s","itemQty":1,"price":"1e999"}"#, "price"),
        (r#"{"storeName":"s","itemQty":1,"price":1000000000001}"#, "price"),
        (r#"{"storeName":"s","itemQty":1,"price":9223372036854775808}"#, "price"),
        (r#"{"storeName":"s","itemQty":1,"price":99999999999999999999999999}"#, "price"),
        (r#"{"storeName":"s","itemQty":1,"price":1e300}"#, "price"),
        (r#"{"storeName":"s","itemQty":1,"price":1e400}"#, "price"),
    ] {
        let answer = orders.post_text("/orders", body).await;
        let problem = (answer.status, answer.problem());
        assert_eq!(
            (problem, &answer.json()["field"]),
            ((422, "invalid".to_owned()), &json!(field)),
            "{body}: {answer:?}"
        );
    }
    let twice = orders.post_text("/orders", r#"{"storeName":"s","itemQty":1,"price":1,"price":2}"#).await;
    assert_eq!((twice.status, &*twice.problem()), (422, "invalid"), "nobody can tell which of them is meant");
    assert!(twice.json()["detail"].as_str().is_some_and(|detail| detail.contains("price")), "{twice:?}");
    let long = json!({ "storeName": "가".repeat(256), "itemQty": 1, "price": 1 });
    assert_eq!(orders.post("/orders", &long).await.json()["field"], "storeName");
    for body in ["[]", "7", "\"text\"", "null", "true", r#"["s","i",1,1]"#] {
        assert_refused(&orders, body.as_bytes(), (422, "invalid")).await;
    }
    assert_nothing_is_stored(&lab).await;
}

#[tokio::test]
async fn what_is_no_json_is_400() {
    let lab = Lab::running().await;
    let orders = lab.order.client();
    let deep =
        |count: usize| format!(r#"{{"storeName":"s","itemQty":1,"price":1,"x":{}"#, "[".repeat(count)).into_bytes();
    let very_deep = "[".repeat(500_000).into_bytes();
    for body in [
        &b""[..],
        b" ",
        b"{",
        b"nonsense",
        b"<xml/>",
        br#"{"storeName":"s","itemQty":1,"price":1"#,
        br#"{"storeName":"s","itemQty":1,"price":1}}"#,
        br#"{"storeName":"s","itemQty":1,"price":1} {}"#,
        br#"{"storeName":"s","itemQty":1,"price":NaN}"#,
        br#"{"storeName":"s","itemQty":1,"price":Infinity}"#,
        br#"{"storeName":"s","itemQty":01,"price":1}"#,
        br#"{"storeName":"s","itemQty":1,"price":1,}"#,
        b"{\"storeName\":\"\xff\xfe\",\"itemQty\":1,\"price\":1}",
        b"{\"storeName\":\"\xed\xa0\x80\",\"itemQty\":1,\"price\":1}",
        br#"{"storeName":"\ud800","itemQty":1,"price":1}"#,
        b"{\"storeName\":\"a\nb\",\"itemQty\":1,\"price\":1}",
        b"\xef\xbb\xbf{\"storeName\":\"s\",\"itemQty\":1,\"price\":1}",
        &deep(100_000),
        &very_deep,
    ] {
        assert_refused(&orders, body, (400, "malformed")).await;
    }
    assert_nothing_is_stored(&lab).await;
}

#[tokio::test]
async fn a_body_must_say_that_it_is_json() {
    let lab = Lab::running().await;
    let orders = lab.order.client();
    let body = basket("냉면", 1).to_string();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "json",
        "multipart/form-data; boundary=x",
        "",
    ] {
        let answer =
            orders.send(Method::POST, "/orders", &[("content-type", kind)], body.clone()).await.expect("an answer");
        assert_eq!((answer.status, &*answer.problem()), (415, "unsupported-media-type"), "{kind}");
    }
    let answer = orders.send(Method::POST, "/orders", &[], body.clone()).await.expect("an answer");
    assert_eq!(answer.status, 415);
    assert_nothing_is_stored(&lab).await;
    for kind in
        ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.shop+json", "application/hal+json"]
    {
        let answer =
            orders.send(Method::POST, "/orders", &[("content-type", kind)], body.clone()).await.expect("an answer");
        assert_eq!(answer.status, 201, "{kind}");
    }
}

#[tokio::test]
async fn wrong_paths_are_404_and_wrong_methods_405_with_what_is_allowed() {
    let lab = Lab::running().await;
    let orders = lab.order.client();
    order(&orders, "냉면", 1).await;
    for path in [
        "/",
        "/order",
        "/orders/",
        "/orders/0",
        "/orders/-1",
        "/orders/2",
        "/orders/abc",
        "/orders/1.0",
        "/orders/1/x",
        "/orders/99999999999999999999",
        "/orders/%00",
        "/Orders",
        "/payinfos",
        "/orders/../orders",
        "/actuator",
        "/favicon.ico",
    ] {
        let answer = orders.get(path).await;
        assert_eq!((answer.status, &*answer.problem()), (404, "not-found"), "{path}");
        assert_eq!(answer.json()["instance"], path);
    }
    for (method, path, allowed) in [
        (Method::PUT, "/orders", "GET,HEAD,OPTIONS,POST"),
        (Method::DELETE, "/orders", "GET,HEAD,OPTIONS,POST"),
        (Method::PATCH, "/orders/1", "DELETE,GET,HEAD,OPTIONS"),
        (Method::POST, "/orders/1", "DELETE,GET,HEAD,OPTIONS"),
        (Method::POST, "/orders/search", "GET,HEAD,OPTIONS"),
        (Method::POST, "/actuator/health", "GET,HEAD,OPTIONS"),
        (Method::TRACE, "/orders", "GET,HEAD,OPTIONS,POST"),
    ] {
        let answer = orders.send(method.clone(), path, &[], "").await.expect("an answer");
        assert_eq!((answer.status, &*answer.problem()), (405, "method-not-allowed"), "{method} {path}");
        let mut allow: Vec<_> = answer.header("allow").unwrap_or_default().split(',').map(str::trim).collect();
        allow.sort_unstable();
        assert_eq!(allow.join(","), allowed, "{method} {path}");
    }
    let payments = lab.payment.client();
    let answer = payments.send(Method::DELETE, "/payinfos/1", &[], "").await.expect("an answer");
    assert_eq!(answer.problem(), "method-not-allowed");
    assert_eq!(payments.get("/payinfos/1").await.json()["status"], "APPROVED");
}

#[tokio::test]
async fn a_client_who_names_any_id_uses_up_none() {
    let mut lab = Lab::running().await;
    let orders = lab.order.client();
    for id in ["0", "9223372036854775807"] {
        let key = [("idempotency-key", format!("cancel-{id}"))];
        let key: Vec<_> = key.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = orders.send(Method::DELETE, &format!("/orders/{id}"), &key, "").await.expect("an answer");
        assert_eq!((answer.status, &*answer.problem()), (404, "not-found"), "{id}");
    }
    order(&orders, "냉면", 1).await;
    lab.order.kill();
    lab.order.start().await;
    order(&orders, "냉면", 1).await;
    assert_eq!(orders.get("/orders/2").await.status, 200);
}

#[tokio::test]
async fn a_number_has_one_path() {
    let lab = Lab::running().await;
    let orders = lab.order.client();
    order(&orders, "냉면", 1).await;
    for path in ["/orders/+1", "/orders/01", "/orders/0x1"] {
        assert_eq!(orders.get(path).await.problem(), "not-found", "{path}");
    }
}

#[tokio::test]
async fn every_request_has_an_id_and_a_client_may_choose_it() {
    let lab = Lab::running().await;
    let orders = lab.order.client();
    let chosen = orders.send(Method::GET, "/nowhere", &[("x-request-id", "abc-123")], "").await.expect("an answer");
    assert_eq!((chosen.header("x-request-id"), &*chosen.problem()), (Some("abc-123"), "not-found"));
    for strange in ["with space", &"x".repeat(65), "\u{e9}"] {
        let answer = orders.send(Method::GET, "/nowhere", &[("x-request-id", strange)], "").await.expect("an answer");
        assert_ne!(answer.header("x-request-id"), Some(strange));
        answer.problem();
    }
    assert!(orders.get("/orders").await.header("x-request-id").is_some());
}

// ---- too much, too slow, not HTTP

const BODY_MAX: usize = 1024 * 1024;

#[tokio::test]
async fn a_body_over_one_mebibyte_is_413() {
    let mut lab = Lab::running().await;
    let orders = lab.order.client();
    let sized = |size: usize| {
        let (head, tail) = (r#"{"storeName":"s","itemQty":1,"price":1,"note":""#, r#""}"#);
        format!("{head}{}{tail}", "x".repeat(size - head.len() - tail.len()))
    };
    assert_eq!(orders.post_text("/orders", sized(BODY_MAX)).await.status, 201, "exactly as much as is allowed");
    let head = "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";

    let announced =
        raw(lab.order.address(), format!("{head}content-length: {}\r\n\r\n", BODY_MAX + 1).as_bytes()).await;
    assert!(announced.starts_with("HTTP/1.1 413 "), "before a byte of it is sent: {announced}");
    assert!(announced.contains("urn:jumun:problem:too-large"), "{announced}");

    let body = sized(BODY_MAX + 1);
    let chunk = |chunk: &[u8]| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk));
    let chunks = body.as_bytes().chunks(65_536).map(chunk).collect::<Vec<_>>().concat();
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunks}");
    let refused = raw(lab.order.address(), chunked.as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");

    let endless = format!("{head}content-length: 18446744073709551616\r\n\r\n");
    let refused = raw(lab.order.address(), endless.as_bytes()).await;
    assert!(refused.starts_with("HTTP/1.1 4"), "{refused}");
    assert_eq!(orders.all("/orders").await.len(), 1);
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn a_body_that_ends_early_is_no_order() {
    let lab = Lab::running().await;
    let body = basket("냉면", 1).to_string();
    let head = "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    for sent in [
        format!("{head}content-length: {}\r\n\r\n{body}", body.len() + 1),
        format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len()),
        format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n{body}\r\n0\r\n\r\n"),
    ] {
        let mut stream = TcpStream::connect(lab.order.address()).await.expect("a connection");
        stream.write_all(sent.as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("the end");
        let answer = read_response(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
    assert_nothing_is_stored(&lab).await;
}

#[tokio::test]
async fn what_is_no_http_ends_its_own_connection_only() {
    let mut lab = Lab::running().await;
    let long_head = format!("GET /orders HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "x".repeat(200_000));
    let many_heads = format!("GET /orders HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(2_000));
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /orders HTTP/9.9\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"\0\0\0\0\r\n\r\n",
        long_head.as_bytes(),
        many_heads.as_bytes(),
    ] {
        let mut stream = TcpStream::connect(lab.order.address()).await.expect("a connection");
        drop(stream.write_all(bytes).await);
        drop(stream.shutdown().await);
        let answer = read_response(&mut stream).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 505 "),
            "{answer}"
        );
    }
    order(&lab.order.client(), "냉면", 1).await;
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_order() {
    let mut lab = Lab::running().await;
    let body = basket("냉면", 1).to_string();
    let post = format!(
        "POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let all = format!("{post}{post}GET /orders/2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(lab.order.address()).await.expect("a connection");
    stream.write_all(all.as_bytes()).await.expect("sent");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.expect("answers");
    let found: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(found, ["201", "201", "200"], "{answers}");
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn clients_that_drip_hold_nobody_up_and_are_told_so_in_the_end() {
    let mut lab = Lab::running().await;
    let mut dripping = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(lab.order.address()).await.expect("a connection");
        stream.write_all(b"POST /orders HTTP/1.1\r\nhost: x\r\ncont").await.expect("sent");
        dripping.push(stream);
    }
    let mut stream = TcpStream::connect(lab.order.address()).await.expect("a connection");
    let head = b"POST /orders HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{";
    stream.write_all(head).await.expect("sent");
    let began = Instant::now();
    let mut answer = String::new();
    while answer.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(15), "a body must arrive within 10 s");
        wait_for(Duration::from_millis(500)).await;
        drop(stream.write_all(b" ").await);
        for slow in &mut dripping {
            slow.write_all(b"e").await.expect("a head has more time than this");
        }
        let ordered = Instant::now();
        order(&lab.order.client(), "냉면", 1).await;
        assert!(ordered.elapsed() < Duration::from_secs(1), "the slow hold up the quick: {:?}", ordered.elapsed());
        let mut first = [0; 1];
        if let Ok(Ok(1)) = tokio::time::timeout(Duration::from_millis(1), stream.peek(&mut first)).await {
            answer = read_response(&mut stream).await;
        }
    }
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("urn:jumun:problem:timeout"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(began.elapsed() > Duration::from_secs(9), "{:?}", began.elapsed());
    lab.assert_the_promise().await;
}

fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}

#[tokio::test]
async fn five_thousand_idle_connections_cost_little() {
    const CONNECTIONS: usize = 5_000;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("more open files");
    let mut lab = Lab::running().await;
    let mut idle = Vec::with_capacity(CONNECTIONS);
    for nth in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(lab.order.address()).await.expect("a connection");
        if nth % 2 == 0 {
            // Half of them have been used.
            stream.write_all(b"GET /orders/1 HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
            read_response(&mut stream).await;
        }
        idle.push(stream);
    }
    let began = Instant::now();
    let mut customers = JoinSet::new();
    for nth in 0..100 {
        let client = lab.order.client();
        customers.spawn(async move { order(&client, "냉면", nth).await });
    }
    assert_eq!(customers.join_all().await.len(), 100);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?} for 100 orders", began.elapsed());
    let resident = resident_bytes(lab.order.pid());
    eprintln!("{} MiB resident with {CONNECTIONS} idle connections", resident >> 20);
    assert!(resident < 256 * 1024 * 1024, "{resident} bytes resident with {CONNECTIONS} idle connections");
    drop(idle);
    lab.assert_the_promise().await;
}

// ---- asks

/// Asks payment as the order service does.
async fn ask(payments: &Client, path: &str, id: Uuid, expires_ms: i64, body: &Value) -> Answer {
    let (id, expires) = (id.to_string(), expires_ms.to_string());
    let head = [("content-type", "application/json"), ("idempotency-key", &*id), ("jumun-expires", &*expires)];
    payments.send(Method::POST, path, &head, body.to_string()).await.expect("an answer")
}

#[tokio::test]
async fn a_service_tells_its_places_to_whoever_asks_it_and_to_nobody_else() {
    let mut lab = Lab::with(&["payment.admission.max_concurrent=7", "payment.decline_over=1000"]).started().await;
    let payments = lab.payment.client();
    let places = |answer: &Answer| answer.header("jumun-capacity").map(ToOwned::to_owned);
    let told = Some("places=7, queue=0, together=64".to_owned());
    let (id, declined) = (Uuid::now_v7(), Uuid::now_v7());
    for (path, id, order, price, status) in [
        ("/payinfos", id, 1, 500, 201),
        ("/payinfos", id, 1, 500, 201), // once more, from what is stored
        ("/payinfos", declined, 2, 5_000, 402),
        ("/payinfos", id, 1, -1, 422),
        ("/payinfos/void", id, 1, 500, 204),
    ] {
        let answer = ask(&payments, path, id, soon_ms(), &json!({ "orderId": order, "price": price })).await;
        assert_eq!((answer.status, places(&answer)), (status, told.clone()), "{path} {price}");
    }
    assert_eq!(places(&payments.get("/payinfos").await), None);
    assert_eq!(places(&lab.order.client().post("/orders", &basket("냉면", 500)).await), None);
    let (exit_code, said) = lab.jumun(&["fault"], &["payment", "--concurrency", "2"]);
    assert_eq!(exit_code, 0, "{said}");
    let answer = ask(&payments, "/payinfos", id, soon_ms(), &json!({ "orderId": 1, "price": 500 })).await;
    assert_eq!(places(&answer).as_deref(), Some("places=2, queue=0, together=64"), "a refusal: it is undone");
    lab.assert_the_promise().await;
}

fn soon_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond() + 10_000
}

fn made_ago(ago: Duration) -> Uuid {
    let now = u64::try_from(jiff::Timestamp::now().as_second()).expect("a time after 1970");
    Uuid::new_v7(Timestamp::from_unix(NoContext, now - ago.as_secs(), 0))
}

#[tokio::test]
async fn only_services_may_ask_for_a_payment() {
    let lab = Lab::running().await;
    let payments = lab.payment.client();
    let (v4, v7, expires) = (Uuid::new_v4().to_string(), Uuid::now_v7().to_string(), soon_ms().to_string());
    for head in [
        vec![],
        vec![("idempotency-key", "a-client")],
        vec![("idempotency-key", &*v7)],
        vec![("jumun-expires", &*expires)],
        vec![("idempotency-key", &*v4), ("jumun-expires", &*expires)],
        vec![("idempotency-key", "a-client"), ("jumun-expires", &*expires)],
        vec![("idempotency-key", &*v7), ("jumun-expires", "soon")],
    ] {
        for path in ["/payinfos", "/payinfos/void"] {
            let head = [&[("content-type", "application/json")], &head[..]].concat();
            let body = json!({ "orderId": 1, "price": 1 }).to_string();
            let answer = payments.send(Method::POST, path, &head, body).await.expect("an answer");
            assert_eq!((answer.status, &*answer.problem()), (403, "ask-only"), "{path} {head:?}");
        }
    }
    assert_nothing_is_stored(&lab).await;
}

#[tokio::test]
async fn an_ask_is_answered_once_and_the_same_ever_after() {
    let mut lab = Lab::running().await;
    let payments = lab.payment.client();
    let (id, body) = (Uuid::now_v7(), json!({ "orderId": 7, "price": 500 }));
    let yes = ask(&payments, "/payinfos", id, soon_ms(), &body).await;
    assert_eq!((yes.status, yes.header("location")), (201, Some("/payinfos/7")));
    let again = ask(&payments, "/payinfos", id, soon_ms(), &body).await;
    assert_eq!((again.status, &again.body), (201, &yes.body));
    lab.payment.kill();
    lab.payment.start().await;
    let again = ask(&payments, "/payinfos", id, soon_ms(), &body).await;
    assert_eq!((again.status, &again.body), (201, &yes.body));

    let other = ask(&payments, "/payinfos", id, soon_ms(), &json!({ "orderId": 8, "price": 500 })).await;
    assert_eq!(other.problem(), "key-reused");
    let twice = ask(&payments, "/payinfos", Uuid::now_v7(), soon_ms(), &body).await;
    assert_eq!((twice.status, &*twice.problem()), (409, "conflict"), "an order is paid for once");
    let bad = ask(&payments, "/payinfos", Uuid::now_v7(), soon_ms(), &json!({ "orderId": 0, "price": 500 })).await;
    assert_eq!((bad.status, &bad.json()["field"]), (422, &json!("orderId")));
    assert_eq!(payments.all("/payinfos").await.len(), 1);
    assert_eq!(lab.journal("payment").len(), 1);
}

#[tokio::test]
async fn an_ask_that_comes_too_late_is_not_answered() {
    let lab = Lab::running().await;
    let payments = lab.payment.client();
    let body = json!({ "orderId": 7, "price": 500 });
    let now = jiff::Timestamp::now().as_millisecond();
    for expires in [now - 1, now - 60_000, 0, -1, i64::MIN] {
        let answer = ask(&payments, "/payinfos", Uuid::now_v7(), expires, &body).await;
        assert_eq!((answer.status, &*answer.problem()), (503, "ask-expired"), "{expires}");
    }
    let yesterday = made_ago(Duration::from_hours(24) + Duration::from_mins(1));
    let answer = ask(&payments, "/payinfos", yesterday, soon_ms(), &body).await;
    assert_eq!((answer.status, &*answer.problem()), (503, "ask-expired"), "its answer may be forgotten already");
    let undone = ask(&payments, "/payinfos/void", yesterday, i64::MAX, &json!({})).await;
    assert_eq!(
        (undone.status, &*undone.problem()),
        (500, "internal"),
        "nobody can say that it is undone: loud, not lost"
    );
    assert_nothing_is_stored(&lab).await;
    let this_morning = made_ago(Duration::from_hours(23));
    assert_eq!(ask(&payments, "/payinfos", this_morning, i64::MAX, &body).await.status, 201);
}

#[tokio::test]
async fn what_is_undone_before_it_comes_is_never_done() {
    let mut lab = Lab::running().await;
    let payments = lab.payment.client();
    let (id, body) = (Uuid::now_v7(), json!({ "orderId": 7, "price": 500 }));
    for _ in 0..2 {
        assert_eq!(ask(&payments, "/payinfos/void", id, i64::MAX, &json!({})).await.status, 204);
    }
    lab.payment.kill();
    lab.payment.start().await;
    for _ in 0..2 {
        let answer = ask(&payments, "/payinfos", id, soon_ms(), &body).await;
        assert_eq!((answer.status, &*answer.problem()), (409, "voided"));
    }
    assert_eq!(payments.all("/payinfos").await.len(), 0);
    assert!(lab.journal("payment").is_empty());
    assert_eq!(
        ask(&payments, "/payinfos", Uuid::now_v7(), soon_ms(), &body).await.status,
        201,
        "another ask is another"
    );
}

#[tokio::test]
async fn what_is_done_is_undone_once() {
    let lab = Lab::running().await;
    let payments = lab.payment.client();
    let (id, body) = (Uuid::now_v7(), json!({ "orderId": 7, "price": 500 }));
    assert_eq!(ask(&payments, "/payinfos", id, soon_ms(), &body).await.status, 201);
    let mut undoing = JoinSet::new();
    for _ in 0..10 {
        let payments = payments.clone();
        undoing.spawn(async move { ask(&payments, "/payinfos/void", id, 0, &json!({})).await.status });
    }
    assert_eq!(undoing.join_all().await, vec![204; 10], "undoing never comes too late");
    assert_eq!(payments.get("/payinfos/7").await.json()["status"], "VOIDED");
    let events: Vec<_> = lab.journal("payment").into_iter().map(|event| event.event_type).collect();
    assert_eq!(events, ["PaymentApproved", "PaymentCanceled"]);
    let again = ask(&payments, "/payinfos", id, soon_ms(), &body).await;
    assert_eq!((again.status, &*again.problem()), (409, "voided"));
    assert_eq!(lab.audit("0s").exit_code, 0, "money that was given back needs no order");
}

#[tokio::test]
async fn asks_and_their_undoing_at_the_same_time_end_in_nothing() {
    let lab = Lab::running().await;
    let payments = lab.payment.client();
    let mut all = JoinSet::new();
    for order in 1..=50 {
        let id = Uuid::now_v7();
        let body = json!({ "orderId": order, "price": 500 });
        for path in ["/payinfos", "/payinfos/void", "/payinfos", "/payinfos/void"] {
            let (payments, body) = (payments.clone(), body.clone());
            all.spawn(async move { ask(&payments, path, id, soon_ms(), &body).await.status });
        }
    }
    for status in all.join_all().await {
        assert!([201, 204, 409].contains(&status), "{status}");
    }
    for payment in payments.all("/payinfos").await {
        assert_eq!(payment["status"], "VOIDED", "{payment}");
    }
    assert_eq!(lab.audit("0s").exit_code, 0);
}

// ---- a full disk

/// A file system of its own, and small.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path) -> Self {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"]).arg(folder);
        let (exit_code, said) = lab::run(mount);
        assert_eq!(exit_code, 0, "a small file system cannot be mounted: {said}");
        Self(folder.to_owned())
    }

    /// Leaves no room.
    fn fill(&self) {
        let mut filler = File::options().create(true).append(true).open(self.filler()).expect("a file");
        for size in [65_536, 4_096, 1] {
            while filler.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).expect("the filler is there");
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut unmount = Command::new("umount");
        unmount.arg("-l").arg(&self.0);
        drop(lab::run(unmount));
    }
}

/// Runs a test of this file once more, where mounting is nobody else's business. True: this is where.
async fn has_mounts_of_its_own(name: &str) -> bool {
    const HERE: &str = "E2E_HAS_MOUNTS_OF_ITS_OWN";
    if std::env::var_os(HERE).is_some() {
        return true;
    }
    let how = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
    let mut inside = Command::new("unshare");
    inside.arg(how).arg(std::env::current_exe().expect("this program"));
    inside.args([name, "--exact", "--nocapture"]).env(HERE, "1");
    let output = tokio::task::spawn_blocking(move || inside.output()).await.expect("a thread");
    let output = output.expect("this test needs the command `unshare` (util-linux)");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "this test needs a small disk of its own; if `unshare {how}` or `mount` is not permitted here, allow it\n{said}"
    );
    false
}

#[tokio::test]
async fn a_full_disk_of_orders_is_told_and_outlived() {
    if has_mounts_of_its_own("a_full_disk_of_orders_is_told_and_outlived").await {
        outlive_a_full_disk("order", "not-done").await;
    }
}

#[tokio::test]
async fn a_full_disk_of_payments_is_told_and_outlived() {
    if has_mounts_of_its_own("a_full_disk_of_payments_is_told_and_outlived").await {
        outlive_a_full_disk("payment", "neighbour-unavailable").await;
    }
}

async fn outlive_a_full_disk(whose: &str, what_customers_hear: &str) {
    let mut lab = Lab::new();
    let disk = SmallDisk::mount(&lab.keep_elsewhere(whose));
    lab.start().await;
    let orders = lab.order.client();
    let shown = async || -> BTreeSet<i64> {
        orders.all("/orders").await.iter().filter_map(|order| order["id"].as_i64()).collect()
    };
    let mut acknowledged = BTreeSet::new();
    for nth in 0..20 {
        acknowledged.insert(order(&orders, "before", nth).await.id());
    }
    for round in 0..3 {
        disk.fill();
        // What is free within the files may still be used up.
        let (mut refused, mut nth) = (0, 0);
        while refused < 30 {
            nth += 1;
            assert!(nth < 5_000, "the disk is full and orders are taken all the same");
            let answer = orders.post("/orders", &basket("냉면", nth)).await;
            if answer.status == 201 {
                acknowledged.insert(answer.id());
                refused = 0;
            } else {
                assert_eq!((answer.status, &*answer.problem()), (503, what_customers_hear), "{answer:?}");
                refused += 1;
            }
        }
        let ill = lab.service(whose).client();
        let health = ill.get("/actuator/health").await;
        assert_eq!((health.status, &health.json()["status"]), (503, &json!("DOWN")), "{health:?}");
        assert_eq!(ill.get("/actuator/health/liveness").await.status, 200, "to start it anew would not help");
        assert_eq!(shown().await, acknowledged, "reads go on, and show what was acknowledged");
        assert!(lab.order.is_alive() && lab.payment.is_alive());
        if round == 1 {
            lab.service(whose).kill(); // nor do a full disk and a crash together take anything away
        }
        disk.make_room();
        lab.start().await;
        let customer = Customer::ordering(orders.clone(), Some(&format!("after-{round}")), basket("after", 1));
        acknowledged.insert(customer.insist().await.answer.id());
        wait_until(lab::LONG, "all is well again", async || ill.get("/actuator/health").await.status == 200).await;
        lab.assert_the_promise().await;
        assert_eq!(shown().await, acknowledged);
    }
}

#[tokio::test]
async fn a_service_documents_its_api_and_shows_it_without_a_network() {
    let mut lab = Lab::running().await;
    lab.gateway.start().await;
    for client in [lab.payment.client(), lab.gateway.client()] {
        let api = client.get("/openapi.json").await;
        assert_eq!((api.status, api.header("content-type")), (200, Some("application/json")));
        assert_eq!(api.json()["openapi"], "3.1.0");
        let page = client.get("/docs").await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(page.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));
        let text = String::from_utf8_lossy(&page.body);
        assert!(!text.contains("//"), "it names another server: {text}");
        for file in ["/docs/start.js", "/docs/narrow.css", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"] {
            assert!(text.contains(&file[1..]), "the page uses {file}");
            assert_eq!(client.get(file).await.status, 200, "{file}");
        }
        assert_eq!(client.get("/docs/nothing").await.status, 404);
        assert_eq!(client.send(Method::POST, "/docs", &[], "").await.expect("an answer").status, 405);
    }
    let paths = |api: &Value, path: &str| {
        let item = api["paths"][path].as_object().cloned().unwrap_or_default();
        item.keys().cloned().collect::<Vec<_>>()
    };
    let own = lab.payment.client().get("/openapi.json").await.json();
    let joined = lab.gateway.client().get("/openapi.json").await.json();
    assert_eq!(
        (paths(&own, "/payinfos"), paths(&own, "/payinfos/void")),
        (vec!["get".into(), "post".into()], vec!["post".into()])
    );
    assert_eq!((paths(&joined, "/payinfos"), paths(&joined, "/payinfos/void")), (vec!["get".to_owned()], vec![]));
    assert!(own["paths"]["/orders"].is_null() && joined["paths"]["/orders"].is_object());
    assert!(own["paths"]["/events"].is_object() && joined["paths"]["/events"].is_null());
}
