//! What values mean to the people who send and read them: dates, names, money, recipients, and what comes twice.

mod lab;

use http::Method;
use jumun_testing::UNFIT_NAMES;
use lab::{Course, Lab, Up, basket, wait_until};
use rusqlite::Connection;
use serde_json::{Value, json};

fn texts(rows: &[Value], field: &str) -> Vec<String> {
    rows.iter().map(|row| row[field].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test]
async fn dates_have_three_digits_and_sort_by_time() {
    let lab = Lab::running().await;
    let client = lab.order.client();
    for price in 0..60 {
        client.place("tea", price % 3).await;
    }
    let rows = client.all("/orders").await;
    for date in texts(&rows, "orderDate") {
        assert!(date.len() == 24 && date.ends_with('Z') && date.as_bytes()[19] == b'.', "{date}");
    }
    for (sort, is_sorted) in [
        ("sort=orderDate", rows.clone()),
        ("sort=orderDate,desc", rows.iter().rev().cloned().collect::<Vec<_>>()),
        ("sort=orderDate,asc&sort=id,asc", rows.clone()),
    ] {
        let page = client.get(&format!("/orders?size=100&{sort}")).await.json();
        let by_date = page["_embedded"]["orders"].as_array().expect("a list").clone();
        assert_eq!(texts(&by_date, "orderDate"), texts(&is_sorted, "orderDate"), "{sort}");
        assert_eq!(by_date, is_sorted, "ids decide between equal dates: {sort}");
    }
    for entry in lab.journal("order") {
        assert_eq!(entry.body["orderDate"].as_str().map(str::len), Some(24), "{entry:?}");
    }
}

/// An earlier release wrote as many digits as it needed.
#[tokio::test]
async fn dates_of_an_earlier_release_are_shown_and_sorted_like_those_of_this_one() {
    let mut lab = Lab::running().await;
    let client = lab.order.client();
    for price in 1..=4 {
        client.place("tea", price).await;
    }
    lab.stop_all().await;
    let database = Connection::open(lab.database("order")).expect("a database");
    for (id, date) in [(1, "54.36"), (2, "54.365"), (3, "54"), (4, "53.9")] {
        let sql = "UPDATE orders_documents SET body = json_set(body, '$.orderDate', ?2) WHERE id = ?1";
        database.execute(sql, (id, format!("2026-11-26T17:00:{date}Z"))).expect("a row");
    }
    for column in ["answer_partition", "answer_sequence"] {
        database.execute(&format!("ALTER TABLE requests DROP COLUMN {column}"), ()).expect("a column");
    }
    database.execute("DROP TABLE waits", ()).expect("the table of a later release");
    database.pragma_update(None, "user_version", 5).expect("a schema of the release before");
    drop(database);

    lab.start().await;
    let page = lab.order.client().get("/orders?sort=orderDate").await.json();
    let rows = page["_embedded"]["orders"].as_array().expect("a list");
    let seconds = ["53.900", "54.000", "54.360", "54.365"].map(|at| format!("2026-11-26T17:00:{at}Z"));
    assert_eq!(texts(rows, "orderDate"), seconds);
}

/// An earlier release stored a name as it was sent: decomposed, say, as some systems write it.
#[tokio::test]
async fn names_of_an_earlier_release_are_found_like_those_of_this_one() {
    let mut lab = Lab::all_running().await;
    let client = lab.order.client();
    for name in ["한국", "카페"] {
        client.place(name, 1).await;
    }
    lab.store.client().until("/stores/2", "orderStatus", "ORDER_CONFIRMED").await;
    lab.stop_all().await;
    let decomposed = "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}";
    for (service, tables) in [("order", &["orders_documents", "journal"][..]), ("store", &["stores_documents"])] {
        let database = Connection::open(lab.database(service)).expect("a database");
        for table in tables {
            let sql = format!("UPDATE {table} SET body = json_set(body, '$.storeName', ?1) WHERE body LIKE '%한국%'");
            assert_eq!(database.execute(&sql, [decomposed]).expect("rows"), 1, "{table}");
        }
        database.pragma_update(None, "user_version", 7).expect("a schema of the release before");
    }
    // What was not applied yet is in the old spelling as well, and so is what a view is rebuilt from.
    std::fs::remove_dir_all(lab.bus()).expect("a bus, which is filled again from the journal");
    std::fs::remove_file(lab.database("dashboard")).expect("a view, which is filled again from the log");
    lab.start_all().await;
    lab.dashboard.client().until("/dashboards/1", "status", "ORDER_CONFIRMED").await;
    for (client, path) in [(lab.order.client(), "/orders"), (lab.store.client(), "/stores")] {
        for spelling in ["%ED%95%9C%EA%B5%AD", "%E1%84%92%E1%85%A1%E1%86%AB%E1%84%80%E1%85%AE%E1%86%A8"] {
            let found = client.get(&format!("{path}/search/findByStoreName?storeName={spelling}")).await.json();
            assert_eq!(found["page"]["totalElements"], 1, "{path} {spelling}: {found}");
        }
    }
    assert_eq!(lab.dashboard.client().get("/dashboards/1").await.json()["storeName"], "한국");
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn a_name_is_one_that_people_see_and_equal_where_it_looks_equal() {
    let lab = Lab::running().await;
    let client = lab.order.client();
    for name in UNFIT_NAMES {
        let answer = client.post("/orders", &json!({ "storeName": name, "itemQty": 1, "price": 1 })).await;
        assert_eq!((answer.status, answer.problem()), (422, "invalid".to_owned()), "{name:?}: {answer:?}");
        assert_eq!(answer.json()["field"], "storeName", "{name:?}");
    }
    let lone = client.post_text("/orders", r#"{"storeName":"\ud800","itemQty":1,"price":1}"#).await;
    assert_eq!((lone.status, lone.problem()), (400, "malformed".to_owned()));
    assert_eq!(client.all("/orders").await, Vec::<Value>::new());

    for name in ["café", "cafe\u{301}", " café\u{200b} ", "👨\u{200d}👩\u{200d}👧"] {
        let answer = client.post("/orders", &json!({ "storeName": name, "itemQty": 1, "price": 1 })).await;
        assert_eq!(answer.status, 201, "{name:?}: {answer:?}");
    }
    let elsewhere = client.get("/orders?storeName=tea").await;
    assert_eq!((elsewhere.status, elsewhere.json()["field"].clone()), (422, json!("storeName")), "{elsewhere:?}");
    let page = client.get("/orders?size=5000&colour=red").await.json();
    assert_eq!(page["page"]["size"], 1000, "more is taken as the most");
    assert_eq!(page["_links"]["self"]["href"], "/orders?page=0&size=1000");
    for name in ["caf%C3%A9", "cafe%CC%81", "+caf%C3%A9+"] {
        let found = client.get(&format!("/orders/search/findByStoreName?storeName={name}")).await.json();
        assert_eq!(found["page"]["totalElements"], 3, "{name}");
    }
    let family = client.get("/orders/4").await.json();
    assert_eq!(family["storeName"], "👨\u{200d}👩\u{200d}👧");
}

#[tokio::test]
async fn money_is_what_was_written() {
    let lab = Lab::running().await;
    let client = lab.order.client();
    let order = async |price: &str| {
        client.post_text("/orders", format!(r#"{{"storeName":"s","itemQty":1,"price":{price}}}"#)).await
    };
    for (price, taken) in [("100.0", 100), ("1e2", 100), ("\"100\"", 100), ("10000e-2", 100), ("-0", 0), ("0e-401", 0)]
    {
        let answer = order(price).await;
        assert_eq!((answer.status, &answer.json()["price"]), (201, &json!(taken)), "{price}");
    }
    for price in [
        "0.99999999999999999999",
        "1e-401",
        "1e999999999",
        "-1e-401",
        "\"0.99999999999999999999\"",
        "1.5",
        "-1",
        "1e13",
    ] {
        let answer = order(price).await;
        assert_eq!((answer.status, answer.problem()), (422, "invalid".to_owned()), "{price}: {answer:?}");
        assert_eq!(answer.json()["field"], "price", "{price}");
    }
}

#[tokio::test]
async fn errors_are_in_the_words_of_their_reader() {
    let lab = Lab::running().await;
    let client = lab.order.client();
    for body in [
        "null",
        "[]",
        "7",
        "\"s\"",
        "true",
        r#"{"storeName":{},"itemQty":1,"price":1}"#,
        r#"{"storeName":["s"],"itemQty":1,"price":1}"#,
        r#"{"storeName":"s","itemQty":{},"price":1}"#,
        r#"{"storeName":"s","itemQty":1,"price":true}"#,
        r#"{"itemQty":1,"price":1}"#,
        r#"{"storeName":null}"#,
        r#"{"storeName":"s","itemQty":1,"price":1,"price":2}"#,
    ] {
        let answer = client.post_text("/orders", body).await;
        assert_eq!((answer.status, answer.problem()), (422, "invalid".to_owned()), "{body}: {answer:?}");
        let detail = answer.json()["detail"].as_str().expect("a text").to_owned();
        for inside in ["struct", "enum", "expected", "Basket", "i64", "invalid type", "variant", "map"] {
            assert!(!detail.contains(inside), "{body}: {detail}");
        }
    }
    assert_eq!(client.post_text("/orders", "null").await.json()["detail"], "the body must be a JSON object");
}

#[tokio::test]
async fn what_comes_twice_is_refused_and_several_fields_sort() {
    let lab = Lab::running().await;
    let client = lab.order.client();
    for price in [2, 1, 2] {
        client.place("tea", price).await;
    }
    let page = client.get("/orders?sort=price,desc&sort=id,desc&size=2").await.json();
    let ids = |page: &Value| {
        page["_embedded"]["orders"].as_array().expect("a list").iter().map(|row| row["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&page), [3, 1]);
    let href = |page: &Value, name: &str| page["_links"][name]["href"].as_str().expect("a link").to_owned();
    assert_eq!(href(&page, "self"), "/orders?page=0&size=2&sort=price%2Cdesc&sort=id%2Cdesc");
    assert_eq!(ids(&client.get(&href(&page, "next")).await.json()), [2]);
    for path in [
        "/orders?page=0&page=1",
        "/orders?size=1&size=2",
        "/orders?sort=id&sort=id,desc",
        "/orders/search/findByStoreName?storeName=a&storeName=b",
    ] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, answer.problem()), (422, "invalid".to_owned()), "{path}: {answer:?}");
    }

    let body = basket("tea", 1).to_string();
    let json = ("content-type", "application/json");
    let twice = [json, ("idempotency-key", "a"), ("idempotency-key", "b")];
    let answer = client.send(Method::POST, "/orders", &twice, body).await.expect("an answer");
    assert_eq!((answer.status, answer.problem()), (400, "malformed".to_owned()), "{answer:?}");
    assert_eq!(client.all("/orders").await.len(), 3);
}

/// The same status, headers and body, the name of the last event included: who repeats reads its own writes as well.
#[tokio::test]
async fn a_repeat_gets_all_of_the_first_answer() {
    let mut lab = Lab::running().await;
    let repeat = async |lab: &Lab, method: Method, path: &str, key: &str, body: &Value| {
        let head = [("content-type", "application/json"), ("idempotency-key", key)];
        let sent = if body.is_null() { String::new() } else { body.to_string() };
        let answer = lab.order.client().send(method, path, &head, sent).await.expect("an answer");
        let mut head: Vec<_> = answer.head.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
        head.retain(|(name, _)| !["date", "x-request-id"].contains(&&**name));
        head.sort();
        (answer.status, head, answer.body)
    };
    let placed = repeat(&lab, Method::POST, "/orders", "one", &basket("tea", 1)).await;
    assert!(placed.1.iter().any(|(name, value)| name == "jumun-seen" && value == "order/0/1"), "{placed:?}");
    let cancelled = repeat(&lab, Method::DELETE, "/orders/1", "two", &Value::Null).await;
    assert_eq!(cancelled.0, 204);
    lab.order.client().place("coffee", 2).await;
    assert_eq!(repeat(&lab, Method::POST, "/orders", "one", &basket("tea", 1)).await, placed);
    assert_eq!(repeat(&lab, Method::DELETE, "/orders/1", "two", &Value::Null).await, cancelled);
    lab.kill_all();
    lab.start().await;
    assert_eq!(repeat(&lab, Method::POST, "/orders", "one", &basket("tea", 1)).await, placed);
}

#[tokio::test]
async fn a_recipient_that_no_sender_takes_is_refused_at_the_door() {
    let course = Course::all_running().await;
    let client = course.order.client();
    for name in UNFIT_NAMES {
        for field in ["customerId", "orderId", "guest"] {
            let answer = client.post("/orders", &json!({ "eduNo": 102, field: name })).await;
            assert_eq!((answer.status, answer.problem()), (422, "invalid".to_owned()), "{name:?}: {answer:?}");
            assert_eq!(answer.json()["field"], field, "{name:?}");
        }
    }
    let answer = client.post("/orders", &json!({ "eduNo": 102, "customerId": "👩".repeat(64) })).await;
    assert_eq!(answer.status, 201);
    let client = course.notification.client();
    wait_until(lab::LONG, "its messages are sent", async || {
        let rows = client.all("/notifications").await;
        assert!(rows.iter().all(|row| row["status"] != "Parked"), "{rows:?}");
        rows.len() >= 3 && rows.iter().all(|row| row["status"] == "Sent")
    })
    .await;
}

/// Data of an earlier release may hold what is refused now.
#[tokio::test]
async fn nothing_that_is_printed_acts_on_the_terminal() {
    let mut lab = Lab::running().await;
    lab.order.client().place("tea", 1).await;
    lab.stop_all().await;
    let evil = "\u{202e}abc\u{9b}31m\u{7f}\u{2066}\u{200f}\u{feff}";
    let database = Connection::open(lab.database("order")).expect("a database");
    for (table, field) in [("orders_documents", "storeName"), ("journal", "storeName")] {
        let sql = format!("UPDATE {table} SET body = json_set(body, '$.{field}', ?1)");
        database.execute(&sql, [evil]).expect("a row");
    }
    drop(database);
    std::fs::remove_dir_all(lab.bus()).expect("a bus, which is filled again from the journal");
    lab.start().await;
    wait_until(lab::LONG, "the event is on the bus", async || !lab.on_the_bus().is_empty()).await;
    let text = lab.order.client().get("/orders/1").await;
    assert_eq!(text.json()["storeName"], evil, "what was stored is still read");
    for (words, arguments) in [
        (&["why"][..], &["1"][..]),
        (&["events", "tail"], &[]),
        (&["events", "tail"], &["--json"]),
        (&["events", "show"], &["order/0/1"]),
        (&["audit"], &["--json"]),
    ] {
        let (_, said) = lab.jumun(words, arguments);
        let acts = |c: char| {
            c != '\n' && c.is_control() || matches!(c, '\u{200e}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        };
        assert!(!said.contains(acts), "{words:?}: {said:?}");
        if words != ["audit"] {
            assert!(said.contains(r"\u202eabc\u009b31m\u007f\u2066\u200f\ufeff"), "{words:?}: {said}");
        }
    }
}

#[tokio::test]
async fn a_zone_that_is_none_is_refused_at_start() {
    let up = Up::new();
    for (name, value) in [("TZ", "Asia/Soul"), ("TZ", "+25:99:99"), ("JUMUN_LOG", "a=b=c")] {
        for words in [&["up", "food-delivery"][..], &["serve", "food-delivery", "payment"], &["audit", "food-delivery"]]
        {
            if name == "JUMUN_LOG" && words[0] != "serve" {
                continue; // other commands have no log
            }
            let mut command = up.command_of(words);
            command.env(name, value);
            let (status, said) = lab::run(command);
            assert!(
                status != 0 && said.contains("error[configuration-invalid]"),
                "{name}={value} {words:?}: {status} {said}"
            );
        }
    }
    for zone in ["Asia/Seoul", ":Asia/Seoul", "", "EST5EDT", "UTC"] {
        let mut command = up.command_of(&["config", "food-delivery"]);
        command.env("TZ", zone);
        assert_eq!(lab::run(command).0, 0, "{zone}");
    }
    for twice in [
        &["--set", "payment.decline_over=1", "--set", "payment.decline_over=2"][..],
        &["--port-offset", "1", "--set", "port_offset=2"],
        &["--data", "a", "--data", "b"],
    ] {
        let (status, said) = lab::run(up.command_of(&[&["config", "food-delivery"], twice].concat()));
        assert!(status != 0, "{twice:?}: {said}");
    }
    let mut command = up.command_of(&["config", "food-delivery"]);
    command.env("JUMUN__PAYMENT__DECLINE_OVER", "1").env("JUMUN__payment__decline_over", "2");
    let (status, said) = lab::run(command);
    assert!(status != 0 && said.contains("is set twice in the environment"), "{said}");
    for money in ["0.99999999999999999999", "1.5", "-1"] {
        let set = format!("payment.decline_over={money}");
        let (status, said) = lab::run(up.command_of(&["serve", "food-delivery", "payment", "--set", &set]));
        assert!(status != 0, "{money}: {said}");
    }
}
