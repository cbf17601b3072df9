//! Breakfast mileage: asks two deep, payments by themselves, and what becomes of all three when one is cancelled.

mod lab;

use http::Method;
use lab::{Answer, Breakfast, Client, LONG, breakfast, wait_until};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

const STANDS: [&str; 4] = ["Ordered", "Paid", "Earned", "Earned"];
const CANCELLED: [&str; 4] = ["Cancelled", "Cancelled", "Removed", "Removed"];
const PAID: [&str; 4] = ["-", "Paid", "Earned", "Earned"];
const PAYMENT_CANCELLED: [&str; 4] = ["-", "Cancelled", "Removed", "Removed"];

async fn found(client: &Client, path: &str, finder: &str) -> Vec<Value> {
    let answer = client.get(&format!("{path}/search/{finder}")).await.json();
    answer["_embedded"][path.trim_start_matches('/')].as_array().cloned().unwrap_or_else(|| panic!("{answer}"))
}

#[tokio::test]
async fn an_order_has_its_payment_and_its_mileage_under_one_id() {
    let mut lab = Breakfast::new();
    lab.mileage.set("mileage.rate=3");
    let mut lab = lab.all_started().await;
    let told = lab.customer("one").insist().await;
    let (id, body) = (told.answer.id(), told.answer.json());
    assert_eq!((&body["qty"], &body["amount"], &body["customerId"]), (&json!(2), &json!(8_000), &json!("민지")));
    lab.wait_until_at(id, STANDS).await;
    let [pay, mileage] = [lab.payment.client(), lab.mileage.client()];
    let payment = &found(&pay, "/pays", &format!("findByOrderId?orderId={id}")).await[0];
    assert_eq!((&payment["id"], &payment["amount"], &payment["orderId"]), (&json!(id), &json!(8_000), &json!(id)));
    for path in ["/mileages", "/mileageViews"] {
        let earned = &found(&mileage, path, &format!("findByPayId?payId={id}")).await[0];
        assert_eq!((&earned["payId"], &earned["orderId"], &earned["cnt"]), (&json!(id), &json!(id), &json!(24_000)));
    }
    // A rate that changes counts for what is earned from then on.
    lab.mileage.stop().await;
    lab.mileage.set("mileage.rate=0");
    lab.mileage.start().await;
    let second = lab.customer("two").insist().await.answer.id();
    let earned = async |id: i64| mileage.get(&format!("/mileageViews/{id}")).await.json()["cnt"].clone();
    assert_eq!((earned(id).await, earned(second).await), (json!(24_000), json!(0)));
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn what_is_cancelled_is_cancelled_everywhere_also_when_mileage_was_down() {
    let mut lab = Breakfast::all_running().await;
    let first = lab.customer("one").insist().await.answer.id();
    let second = lab.customer("two").insist().await.answer.id();
    lab.mileage.kill();
    assert_eq!(lab.order.client().delete(&format!("/orders/{first}")).await.status, 204);
    let pays = lab.payment.client();
    assert_eq!(pays.delete(&format!("/pays/{second}")).await.status, 204);
    let orders = lab.order.client();
    orders.until(&format!("/orders/{second}"), "status", "Cancelled").await;
    pays.until(&format!("/pays/{first}"), "status", "Cancelled").await;
    lab.mileage.start().await;
    for id in [first, second] {
        lab.wait_until_at(id, CANCELLED).await;
        let view = lab.mileage.client().get(&format!("/mileageViews/{id}")).await.json();
        assert_eq!((&view["cnt"], &view["payId"]), (&json!(0), &json!(id)), "the row stays, its points do not");
        assert_eq!(orders.delete(&format!("/orders/{id}")).await.problem(), "conflict");
        assert_eq!(pays.delete(&format!("/pays/{id}")).await.problem(), "conflict");
    }
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn without_mileage_there_is_no_payment_and_no_order() {
    let mut lab = Breakfast::new();
    for guard in ["order.calls.payment", "payment.calls.mileage"] {
        lab.service(guard.split('.').next().expect("a service")).set(format!("{guard}.breaker.minimum_calls=1000000"));
    }
    let mut lab = lab.all_started().await;
    lab.mileage.kill();
    let answers = [
        lab.order.client().post("/orders", &breakfast()).await,
        lab.payment.client().post("/pays", &json!({ "payId": 1 })).await,
    ];
    for answer in &answers {
        assert_eq!((answer.status, &*answer.problem()), (503, "neighbour-unavailable"), "{answer:?}");
    }
    lab.mileage.start().await;
    for (service, path) in
        [(&lab.order, "/orders"), (&lab.payment, "/pays"), (&lab.mileage, "/mileages"), (&lab.mileage, "/mileageViews")]
    {
        assert_eq!(service.client().all(path).await, Vec::<Value>::new(), "{path}");
    }
    let id = lab.customer("again").insist().await.answer.id();
    lab.wait_until_at(id, STANDS).await;
    lab.assert_the_promise().await;
}

/// A laboratory where everything runs, and a client of its gateway.
async fn behind_its_gateway() -> (Breakfast, Client) {
    let mut lab = Breakfast::all_running().await;
    lab.gateway.start().await;
    let front = lab.gateway.client();
    (lab, front)
}

#[tokio::test]
async fn a_payment_by_itself_shares_its_id_with_no_order() {
    let (mut lab, front) = behind_its_gateway().await;
    let order = lab.customer("an-order").insist().await.answer.id();
    // The load line of the first implementation; its names; an order's number, which joins nothing.
    let mut ids = Vec::new();
    for (body, amount, of) in [
        (json!({ "payId": 1 }), 0, Value::Null),
        (json!({ "amout": "500", "orderid": order.to_string() }), 500, json!(order)),
        (json!({ "amount": 700, "orderId": order, "status": "Cancelled" }), 700, json!(order)),
    ] {
        let answer = front.post("/pays", &body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let (id, pay) = (answer.id(), answer.json());
        assert_eq!((&pay["amount"], &pay["orderId"], &pay["status"]), (&json!(amount), &of, &json!("Paid")), "{body}");
        assert_eq!(front.get(&format!("/mileageViews/{id}")).await.json()["cnt"], amount);
        lab.wait_until_at(id, PAID).await;
        ids.push(id);
    }
    let next = lab.customer("another-order").insist().await.answer.id();
    assert!(order % 2 == 1 && next % 2 == 1 && ids.iter().all(|id| id % 2 == 0), "{order} {next} {ids:?}");
    assert_eq!(found(&front, "/pays", &format!("findByOrderId?orderId={order}")).await.len(), 3);

    // One key, one payment.
    let body = json!({ "amount": 100 });
    let pay = || front.post_with_key("/pays", "my-key", &body);
    let (first, second) = (pay().await.expect("an answer"), pay().await.expect("an answer"));
    assert_eq!((first.status, &first.body), (201, &second.body));

    // It is cancelled by itself, and nothing of the order that it names.
    assert_eq!(front.delete(&format!("/pays/{}", ids[1])).await.status, 204);
    lab.wait_until_at(ids[1], PAYMENT_CANCELLED).await;
    lab.wait_until_at(order, STANDS).await;
    assert_eq!(lab.order.client().all("/orders").await.len(), 2);
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn no_client_can_speak_as_the_order_service() {
    let (mut lab, front) = behind_its_gateway().await;
    let id = Uuid::now_v7().to_string();
    let ask = [("content-type", "application/json"), ("idempotency-key", &*id), ("jumun-expires", "99999999999999")];
    let question = r#"{"orderId":1,"amount":9000}"#;
    // It is what any client may send: a payment by itself, and not that of order 1.
    let answer = front.send(Method::POST, "/pays", &ask, question).await.expect("an answer");
    assert_eq!((answer.status, answer.id() % 2, &answer.json()["direct"]), (201, 0, &json!(true)), "{answer:?}");
    for path in ["/pays/void", "/pays/", "/mileages", "/mileages/void"] {
        let answer = front.send(Method::POST, path, &ask, question).await.expect("an answer");
        assert_eq!((answer.status, &*answer.problem()), (403, "ask-only"), "{path}");
    }
    // At the service itself an ask is told by its header, and must then be one.
    let pays = lab.payment.client();
    let halfway = [("content-type", "application/json"), ("idempotency-key", "a-client"), ("jumun-expires", "1")];
    let answer = pays.send(Method::POST, "/pays", &halfway, question).await.expect("an answer");
    assert_eq!((answer.status, &*answer.problem()), (403, "ask-only"));
    assert_eq!(lab.mileage.client().post("/mileages", &json!({ "payId": 1, "cnt": 1 })).await.problem(), "ask-only");
    let order = lab.customer("one").insist().await.answer.id();
    lab.wait_until_at(order, STANDS).await;
    assert_eq!(pays.all("/pays").await.len(), 2);
    lab.assert_the_promise().await;
}

/// Insists on a refusal at once for overload.
fn assert_overloaded(answer: &Answer, began: Instant) {
    assert_eq!((answer.status, &*answer.problem()), (503, "overloaded"), "{answer:?}");
    assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn under_overload_paying_and_cancelling_are_turned_away_at_once() {
    let mut lab = Breakfast::new();
    for service in ["order", "payment"] {
        for setting in ["max_concurrent=1", "max_waiting=0"] {
            lab.service(service).set(format!("{service}.admission.{setting}"));
        }
    }
    lab.order.set("order.calls.payment.time_limit=20s");
    let mut lab = lab.all_started().await;
    let (orders, pays) = (lab.order.client(), lab.payment.client());
    let order = lab.customer("one").insist().await.answer.id();
    for (client, path, body) in [(&orders, "/orders", breakfast()), (&pays, "/pays", json!({ "payId": 1 }))] {
        let service = if path == "/orders" { "order" } else { "payment" };
        assert_eq!(lab.jumun(&["fault"], &[service, "--delay", "5s"]).0, 0);
        let under_way = tokio::spawn({
            let (client, body) = (client.clone(), body.clone());
            async move { client.post(path, &body).await.status }
        });
        wait_until(LONG, "it is at work", async || {
            let health = client.get("/actuator/health").await.json();
            health["components"]["admission"]["details"]["commands"]["atWork"] == 1
        })
        .await;
        let began = Instant::now();
        assert_overloaded(&client.post(path, &body).await, began);
        assert_overloaded(&client.delete(&format!("{path}/{order}")).await, began);
        assert_eq!(under_way.await.expect("an answer"), 201);
        assert_eq!(lab.jumun(&["fault"], &[service, "--off"]).0, 0);
    }
    lab.wait_until_at(order, STANDS).await;
    assert_eq!(orders.delete(&format!("/orders/{order}")).await.status, 204);
    lab.wait_until_at(order, CANCELLED).await;
    let (exit_code, said) = lab.jumun(&["config"], &["--json"]);
    assert_eq!(exit_code, 0, "{said}");
    let shed = r#"{"key":"payment.shed","value":"all","origin":"default of the system"}"#;
    assert!(said.lines().any(|line| line == shed), "{said}");
    lab.assert_the_promise().await;
}
