//! Book rental end to end: stock that is exact whatever dies, a queue for books that are out, and a hot book.

mod lab;

use futures_util::future::join_all;
use http::Method;
use lab::{Answer, Client, Customer, LONG, Up, run, wait_until};
use serde_json::json;

const SERVICES: [&str; 5] = ["book", "rent", "delivery", "reserve", "viewer"];

/// It is up and waits long for each neighbour: on a busy machine a roll takes longer than the default limits, and 503 would be
/// the right answer.
async fn patient() -> Up {
    let limits = ["rent.calls.book.time_limit=20s", "reserve.calls.book.time_limit=20s", "gateway.time_limit=40s"];
    Up::of("book-rental", &SERVICES).running_with(&limits).await
}

fn rent(client: &Client, book: i64, customer: &str) -> Customer {
    let key = Some(format!("rent-{book}-{customer}"));
    let body = json!({ "bookId": book.to_string(), "qty": 1, "customerId": customer });
    Customer::new(client.clone(), key, Method::POST, "/rental".to_owned()).with_body(body)
}

async fn set_stock(client: &Client, book: i64, stock: i64) {
    let change = Customer::new(client.clone(), None, Method::PATCH, format!("/books/{book}"));
    let changed = change.with_body(json!({ "stock": stock })).insist().await.answer;
    assert_eq!((changed.status, &changed.json()["stock"]), (200, &json!(stock)), "{changed:?}");
}

/// A system that is up, with so many copies of a book in stock, and a client of its gateway.
async fn stocked(book: i64, stock: i64) -> (Up, Client) {
    let up = patient().await;
    let gateway = up.client("gateway");
    set_stock(&gateway, book, stock).await;
    (up, gateway)
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

#[track_caller]
fn assert_clean(up: &Up) {
    up.audit("30s").clean();
}

#[tokio::test]
async fn the_last_copies_are_never_oversold_and_stock_is_exact_after_kills_cancels_and_returns() {
    let (up, gateway) = stocked(1, 100).await;
    let customers = (0..255).map(|nth| {
        let customer = rent(&gateway, 1, &nth.to_string());
        tokio::spawn(async move { customer.insist().await.answer })
    });
    let customers: Vec<_> = customers.collect();
    for victim in ["book", "rent", "book"] {
        up.tell(&["kill", victim]);
    }
    let answers: Vec<_> = join_all(customers).await.into_iter().map(|answer| answer.expect("no panic")).collect();
    assert_eq!((count(&answers, 201), count(&answers, 409)), (100, 155));
    assert_eq!(gateway.get("/books/1").await.json()["stock"], 0);
    assert_clean(&up);

    // Who comes back with the same key has the same rental.
    let again = rent(&gateway, 1, "0").insist().await.answer;
    assert_eq!((again.status, &again.body), (answers[0].status, &answers[0].body));
    let rented: Vec<_> = answers.iter().filter(|answer| answer.status == 201).map(Answer::id).collect();
    let ends = rented[..40].iter().enumerate().map(|(nth, id)| {
        let (method, path) = match nth % 2 {
            0 => (Method::DELETE, format!("/rentals/{id}")),
            _ => (Method::PUT, format!("/rentals/{id}/return")),
        };
        Customer::new(gateway.clone(), Some(format!("end-{id}")), method, path)
    });
    let ends: Vec<_> =
        ends.map(|customer| tokio::spawn(async move { customer.insist().await.answer.status })).collect();
    up.tell(&["kill", "book"]);
    assert!(join_all(ends).await.into_iter().all(|status| status.is_ok_and(|status| status < 300)));
    gateway.until("/books/1", "stock", 40).await;
    assert_eq!(gateway.put(&format!("/rentals/{}/return", rented[0])).await.problem(), "conflict");
    assert_eq!(gateway.delete(&format!("/rentals/{}", rented[1])).await.problem(), "conflict");
    assert_clean(&up);
}

#[tokio::test]
async fn a_hot_book_is_rented_by_all_while_its_service_is_rolled() {
    let (up, gateway) = stocked(5, 100_000_000).await;
    let crowd = (0..64).map(|name| {
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let mut answers = Vec::new();
            for nth in 0..20 {
                answers.push(rent(&gateway, 5, &format!("{name}-{nth}")).ask_once().await);
            }
            answers
        })
    });
    let crowd: Vec<_> = crowd.collect();
    let roll = up.command_of(&["roll", "book"]);
    let (status, said) = tokio::task::spawn_blocking(|| run(roll)).await.expect("a command");
    assert_eq!(status, 0, "{said}");
    for answers in join_all(crowd).await {
        for answer in answers.expect("no panic") {
            assert_eq!(answer.as_ref().map(|answer| answer.status), Ok(201), "{answer:?}");
        }
    }
    assert_eq!(gateway.get("/books/5").await.json()["stock"], 100_000_000 - 64 * 20);
    assert_clean(&up);
}

#[tokio::test]
async fn a_new_database_has_five_books_once() {
    let mut up = Up::of("book-rental", &SERVICES);
    up.set("superuser.userId=kim");
    up.start().await;
    for service in SERVICES.into_iter().chain(["gateway"]) {
        let info = up.client(service).get("/actuator/info").await.json();
        assert_eq!(info["values"], json!({ "superuser.userId": "kim" }), "{service}");
    }
    let gateway = up.client("gateway");
    let books = gateway.all("/books").await;
    let shown: Vec<_> = books.iter().map(|book| (book["id"].as_i64(), book["name"].as_str())).collect();
    let names = ["TV", "MASK", "NOTEBOOK", "TABLE", "CLOCK"];
    assert_eq!(shown, (1..).zip(names).map(|(id, name)| (Some(id), Some(name))).collect::<Vec<_>>());
    assert_eq!((&books[2]["price"], &books[2]["stock"]), (&json!(30_000), &json!(30)));
    let new = gateway.post("/books", &json!({ "name": "RUG", "price": 1 })).await;
    assert_eq!((new.status, new.id(), &new.json()["stock"]), (201, 6, &json!(0)), "{new:?}");
    up.tell(&["kill", "book"]);
    up.stop().await;
    up.start().await;
    assert_eq!(gateway.all("/books").await.len(), 6);
    let refused = gateway.post("/books", &json!({ "name": "RUG", "price": -1 })).await;
    assert_eq!((refused.status, &refused.json()["field"]), (422, &json!("price")), "{refused:?}");
    assert_clean(&up);
}

#[tokio::test]
async fn rentals_have_two_paths_and_one_name() {
    let up = patient().await;
    let gateway = up.client("gateway");
    let rental = rent(&gateway, 5, "kim").insist().await.answer;
    let path = format!("/rentals/{}", rental.id());
    assert_eq!(rental.header("location"), Some(&*path));
    assert_eq!(rental.json()["_links"]["self"]["href"], path);
    assert_eq!(gateway.get(&format!("/rental/{}", rental.id())).await.json()["_links"]["self"]["href"], path);
    let key = "rent-5-kim";
    let other = gateway.post_with_key("/rentals", key, &json!({ "bookId": "5", "qty": 1, "customerId": "kim" })).await;
    assert_eq!(other.map(|answer| answer.id()), Ok(rental.id()), "a repeat may come by the other path");
    let found = gateway.get("/rental/search/findByCustomerId?customerId=kim").await.json();
    assert_eq!(found["page"]["totalElements"], 1, "{found}");
    assert_eq!(found["_links"]["self"]["href"], "/rentals/search/findByCustomerId?page=0&size=20&customerId=kim");
    assert_eq!(gateway.delete(&format!("/rental/{}", rental.id())).await.status, 204);
}

#[tokio::test]
async fn a_book_that_is_unknown_or_out_or_away_is_said_so() {
    let mut up = Up::of("book-rental", &SERVICES);
    up.start().await;
    let gateway = up.client("gateway");
    for path in ["/rental", "/reserves"] {
        let unknown = gateway.post(path, &json!({ "bookId": 99, "qty": 1 })).await;
        assert_eq!((unknown.status, &unknown.json()["field"]), (422, &json!("bookId")), "{unknown:?}");
    }
    let far = gateway.post("/rental", &json!({ "bookId": 1, "qty": 11 })).await;
    assert_eq!((far.status, &*far.problem()), (409, "conflict"), "{far:?}");
    // An id that a client made up is none that new books come after.
    let unknown = gateway.post("/reserves", &json!({ "bookId": i64::MAX })).await;
    assert_eq!(unknown.status, 422, "{unknown:?}");
    assert_eq!(gateway.post("/books", &json!({ "name": "RUG", "price": 1 })).await.id(), 6);

    let rental = gateway.post("/rental", &json!({ "bookId": 1, "qty": 10, "customerId": "kim" })).await;
    assert_eq!(rental.status, 201, "{rental:?}");
    let reserve =
        async |customer: &str| gateway.post("/reserves", &json!({ "bookId": 1, "customerId": customer })).await.id();
    let (lee, park) = (reserve("lee").await, reserve("park").await);
    assert_eq!(gateway.get(&format!("/reserves/{lee}")).await.json()["status"], "WAITING");
    set_stock(&gateway, 1, 1).await;
    let one = rent(&gateway, 1, "choi").insist().await.answer;
    assert_eq!(gateway.put(&format!("/rentals/{}/return", one.id())).await.status, 200);
    gateway.until(&format!("/reserves/{lee}"), "status", "READY").await;
    assert_eq!(gateway.get(&format!("/reserves/{park}")).await.json()["status"], "WAITING");
    assert_eq!(gateway.delete(&format!("/reserves/{lee}")).await.status, 204);
    gateway.until(&format!("/reserves/{park}"), "status", "READY").await;
    assert_eq!(rent(&gateway, 1, "park").insist().await.answer.status, 201);
    gateway.until(&format!("/reserves/{park}"), "status", "FULFILLED").await;

    // A customer is the same one as a number and as a text.
    for (reserved_as, rented_as) in [(json!(77), json!("77")), (json!("78"), json!(78))] {
        let reserve = gateway.post("/reserves", &json!({ "bookId": 1, "customerId": reserved_as })).await.id();
        set_stock(&gateway, 1, 1).await;
        let rental = gateway.post("/rental", &json!({ "bookId": 1, "qty": 1, "customerId": rented_as })).await;
        assert_eq!((rental.status, &rental.json()["customerId"]), (201, &rented_as), "as it was sent: {rental:?}");
        gateway.until(&format!("/reserves/{reserve}"), "status", "FULFILLED").await;
    }

    up.tell(&["stop", "book"]);
    for path in ["/rental", "/reserves"] {
        let away = gateway.post(path, &json!({ "bookId": 1, "qty": 1 })).await;
        assert_eq!(away.status, 503, "{away:?}");
        assert!(away.header("retry-after").is_some(), "{away:?}");
    }
    up.tell(&["start", "book"]);
    wait_until(LONG, "book is back", async || gateway.get("/books/1").await.status == 200).await;
    assert_clean(&up);
}

#[tokio::test]
async fn a_flood_of_reservations_touches_no_rental() {
    let mut up = Up::of("book-rental", &SERVICES);
    // The flood ends at its own bulkhead.
    up.set("reserve.calls.book.bulkhead.max_concurrent=4");
    up.set("reserve.calls.book.bulkhead.max_wait=1ms");
    up.set("rent.calls.book.time_limit=20s");
    up.start().await;
    let gateway = up.client("gateway");
    let flood = (0..200).map(|nth| {
        let reserves = up.client("reserve");
        let body = json!({ "bookId": 5, "customerId": nth });
        tokio::spawn(async move { reserves.post("/reserves", &body).await.status })
    });
    let flood: Vec<_> = flood.collect();
    for nth in 0..20 {
        assert_eq!(rent(&gateway, 5, &format!("calm-{nth}")).ask_once().await.map(|answer| answer.status), Ok(201));
    }
    for status in join_all(flood).await {
        let status = status.expect("no panic");
        assert!(status == 201 || status == 503, "{status}");
    }
    assert_clean(&up);
}

/// Rentals take copies of a book by commands, while cancelled ones put theirs back by events.
#[tokio::test]
async fn stock_is_exact_while_customers_rent_and_cancel_at_once() {
    let up = patient().await;
    set_stock(&up.client("gateway"), 5, 1_000_000).await;
    let url = format!("http://{}", up.address("gateway"));
    let load = ["load", "book-rental", "--url", &url, "--requests", "900", "--concurrency", "48", "--cancel", "40%"];
    let (status, said) = up.jumun(&load);
    assert_eq!(status, 0, "{said}");
    let audit = up.audit("30s");
    assert_eq!((audit.exit_code, &audit.report["verdict"]), (0, &json!("clean")), "{audit:?}");
}
