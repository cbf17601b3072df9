//! An order on its way through all services, which hear of each other over the bus, and what an operator sees of it.

mod lab;

use jumun_bus::{Bus, EmbeddedLog};
use lab::{Deed, Lab, SERVICES, basket, run, wait_for, wait_until};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long it may take until the view shows what has happened. On an idle machine it is some 20 ms.
const SEEN_WITHIN: Duration = Duration::from_secs(3);

// ---- the way of an order

#[tokio::test]
async fn an_order_goes_its_way_and_everybody_sees_it() {
    let mut lab = Lab::all_running().await;
    let dashboards = lab.dashboard.client();
    let mut id = 0;
    for deed in Deed::WAY {
        let began = Instant::now();
        let told = deed.somebody(&lab, id).insist().await;
        id = if deed == Deed::Place { told.answer.id() } else { id };
        dashboards.until(&format!("/dashboards/{id}"), "status", deed.leads_to()[4]).await;
        let took = began.elapsed();
        assert!(took < SEEN_WITHIN, "{deed:?} was seen after {took:?}");
        lab.wait_until_at(id, deed.leads_to()).await;
    }
    let store = lab.store.client().get(&format!("/stores/{id}")).await.json();
    let delivery = lab.delivery.client().get(&format!("/deliveries/{id}")).await.json();
    let order = lab.order.client().get(&format!("/orders/{id}")).await.json();
    let view = dashboards.get(&format!("/dashboards/{id}")).await.json();
    let expected = json!({
        "id": id, "orderId": id, "storeName": "스토어99", "itemName": "삼겹살", "itemQty": 2, "price": 15_000,
        "status": "DELIVERY_COMPLETED", "paymentStatus": "APPROVED", "orderDt": order["orderDate"],
        "cookedCompDt": store["completedDate"], "deliveryCompDt": delivery["compDt"],
        "_links": { "self": { "href": format!("/dashboards/{id}") } },
    });
    assert_eq!(view, expected);
    for date in [&store["completedDate"], &delivery["startDt"], &delivery["pickedUpDt"], &delivery["compDt"]] {
        assert!(date.is_string(), "{store} {delivery}");
    }
    for (client, finder) in
        [(lab.store.client(), "/stores"), (lab.delivery.client(), "/deliveries"), (lab.payment.client(), "/payinfos")]
    {
        let found = client.get(&format!("{finder}/search/findByOrderId?orderId={id}")).await.json();
        assert_eq!(found["page"]["totalElements"], 1, "{found}");
    }
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn the_owner_accepts_or_rejects() {
    let mut lab = Lab::with(&["store.confirm=manual"]).all_started().await;
    let (orders, stores) = (lab.order.client(), lab.store.client());
    let [accepted, rejected, regretted] =
        [orders.place("가", 1).await, orders.place("나", 2).await, orders.place("다", 3).await];
    for id in [accepted, rejected, regretted] {
        lab.wait_until_at(id, ["APPROVED", "ORDERED", "ORDERED", "-", "PAID"]).await;
        let too_early = stores.put(&format!("/stores/{id}/cook-complete")).await;
        assert_eq!((too_early.status, &*too_early.problem()), (409, "conflict"));
    }
    let answer = stores.put(&format!("/stores/{accepted}/accept")).await;
    assert_eq!((answer.status, &answer.json()["orderStatus"]), (200, &json!("ORDER_CONFIRMED")), "{answer:?}");
    lab.wait_until_at(accepted, Deed::Place.leads_to()).await;
    assert_eq!(stores.put(&format!("/stores/{accepted}/accept")).await.problem(), "conflict");

    // A rejected order is cancelled and paid back; so is one that was confirmed first.
    for id in [rejected, accepted] {
        let answer = stores.put(&format!("/stores/{id}/reject")).await;
        assert_eq!((answer.status, &answer.json()["orderStatus"]), (200, &json!("CANCELED")), "{answer:?}");
        lab.wait_until_at(id, Deed::Cancel.leads_to()).await;
        for verb in ["accept", "reject", "cook-complete"] {
            assert_eq!(stores.put(&format!("/stores/{id}/{verb}")).await.problem(), "conflict");
        }
    }
    orders.cancel(regretted).await;
    lab.wait_until_at(regretted, Deed::Cancel.leads_to()).await;
    assert_eq!(stores.put(&format!("/stores/{regretted}/accept")).await.problem(), "conflict");
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn a_no_is_409_and_no_event() {
    let mut lab = Lab::all_running().await;
    let (orders, stores, deliveries) = (lab.order.client(), lab.store.client(), lab.delivery.client());
    for path in ["/stores/77/accept", "/stores/77/reject", "/stores/77/cook-complete"] {
        assert_eq!(stores.put(path).await.problem(), "not-found");
    }
    for path in ["/deliveries/77/pickup", "/deliveries/77/complete"] {
        assert_eq!(deliveries.put(path).await.problem(), "not-found");
    }
    let mut id = 0;
    for deed in Deed::WAY {
        id = lab.have_done(deed, id).await;
        let events = lab.in_the_journals().len();
        for (is_allowed, client, path) in [
            (deed == Deed::Place, &stores, format!("/stores/{id}/cook-complete")),
            (deed == Deed::Place, &stores, format!("/stores/{id}/reject")),
            (false, &stores, format!("/stores/{id}/accept")),
            (deed == Deed::Cook, &deliveries, format!("/deliveries/{id}/pickup")),
            (deed == Deed::PickUp, &deliveries, format!("/deliveries/{id}/complete")),
        ] {
            if !is_allowed {
                let status = client.put(&path).await.status;
                let expected = if deed == Deed::Place && path.starts_with("/deliveries") { 404 } else { 409 };
                assert_eq!(status, expected, "{path} after {deed:?}");
            }
        }
        if deed != Deed::Place {
            let no = orders.delete(&format!("/orders/{id}")).await;
            assert_eq!((no.status, &*no.problem()), (409, "conflict"), "delivery has started");
        }
        assert_eq!(lab.in_the_journals().len(), events, "a no is no event");
    }
    let cancelled = lab.have_done(Deed::Place, 0).await;
    lab.have_done(Deed::Cancel, cancelled).await;
    let events = lab.in_the_journals().len();
    assert_eq!(orders.delete(&format!("/orders/{cancelled}")).await.problem(), "conflict");
    for verb in ["accept", "reject", "cook-complete"] {
        assert_eq!(stores.put(&format!("/stores/{cancelled}/{verb}")).await.problem(), "conflict");
    }
    for verb in ["pickup", "complete"] {
        assert_eq!(deliveries.put(&format!("/deliveries/{cancelled}/{verb}")).await.problem(), "not-found");
    }
    assert_eq!(lab.in_the_journals().len(), events, "a no is no event");
    lab.assert_the_promise().await;
}

/// The same key, the same answer, one event: for every verb of every service.
#[tokio::test]
async fn a_repeated_command_gets_the_same_answer() {
    let mut lab = Lab::all_running().await;
    let mut id = 0;
    for deed in Deed::WAY {
        let somebody = deed.somebody(&lab, id);
        let first = somebody.insist().await.answer;
        assert!(first.status < 300, "{first:?}");
        lab.service(deed.done_by()).kill();
        lab.start_all().await;
        let again = somebody.insist().await.answer;
        assert_eq!((again.status, again.body), (first.status, first.body.clone()), "{deed:?}");
        id = if deed == Deed::Place { first.id() } else { id };
        lab.wait_until_at(id, deed.leads_to()).await;
    }
    lab.assert_the_promise().await;
}

// ---- cancelling, and services that are away

#[tokio::test]
async fn a_cancel_reaches_everybody_once_also_whoever_was_away() {
    let mut lab = Lab::all_running().await;
    for away in [
        &[][..],
        &["payment"],
        &["store"],
        &["delivery"],
        &["dashboard"],
        &SERVICES[..1],
        &["payment", "store", "delivery", "dashboard"],
    ] {
        let id = lab.have_done(Deed::Place, 0).await;
        for name in away {
            lab.service(name).kill();
        }
        lab.order.client().cancel(id).await;
        lab.start_all().await;
        lab.wait_until_at(id, Deed::Cancel.leads_to()).await;
    }
    // The cancel comes to a shop that never heard of the order, and a cancel that is heard while a rider is being called.
    for (away, is_cooked) in [("store", false), ("delivery", true)] {
        if is_cooked {
            let id = lab.have_done(Deed::Place, 0).await;
            lab.service(away).kill();
            lab.store.client().put(&format!("/stores/{id}/cook-complete")).await;
            lab.order.client().until(&format!("/orders/{id}"), "orderStatus", "COOK_COMPLETED").await;
            lab.order.client().cancel(id).await;
            lab.start_all().await;
            lab.settle().await;
            let words = lab.stations(id).await;
            assert_eq!(words.words()[..3], Deed::Cancel.leads_to()[..3], "{words:?}");
            assert!(["-", "CANCELED"].contains(&words.words()[3]), "{words:?}");
        } else {
            lab.service(away).kill();
            let id = lab.order.client().place("삼겹살", 15_000).await;
            lab.order.client().cancel(id).await;
            lab.start_all().await;
            lab.wait_until_at(id, Deed::Cancel.leads_to()).await;
        }
    }
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn orders_go_on_whoever_else_is_away_and_all_catch_up() {
    let mut lab = Lab::all_running().await;
    for which in 0..8_u8 {
        let names = ["store", "delivery", "dashboard"];
        let away: Vec<_> = (0..3).filter(|nth| which & (1 << nth) != 0).map(|nth| names[nth]).collect();
        for (nth, name) in away.iter().enumerate() {
            if (usize::from(which) + nth).is_multiple_of(2) {
                lab.service(name).stop().await;
            } else {
                lab.service(name).kill();
            }
        }
        let orders = lab.order.client();
        let mut placed = Vec::new();
        for nth in 0..6 {
            placed.push(orders.place("삼겹살", 1_000 + nth).await);
        }
        for id in placed.iter().step_by(2) {
            orders.cancel(*id).await;
        }
        lab.start_all().await;
        for (nth, id) in placed.iter().enumerate() {
            let deed = if nth % 2 == 0 { Deed::Cancel } else { Deed::Place };
            lab.wait_until_at(*id, deed.leads_to()).await;
        }
    }
    lab.assert_the_promise().await;
}

/// What has not been heard yet is open, and no violation: not for a rider, a shop, a refund or the view.
#[tokio::test]
async fn the_audit_waits_for_whoever_has_not_heard_yet() {
    let mut lab = Lab::all_running().await;
    for (away, deed) in
        [("store", Deed::Place), ("dashboard", Deed::Place), ("delivery", Deed::Cook), ("payment", Deed::Cancel)]
    {
        let id = if deed == Deed::Place { 0 } else { lab.have_done(Deed::Place, 0).await };
        lab.settle().await;
        lab.service(away).kill();
        let told = deed.somebody(&lab, id).insist().await.answer;
        assert!(told.status < 300, "{told:?}");
        let id = if deed == Deed::Place { told.id() } else { id };
        let audit = lab.audit("0s");
        assert_eq!((audit.exit_code, &audit.report["open"]), (2, &json!([id])), "{deed:?}, {away} is away: {audit:?}");
        assert_eq!(audit.report["violations"], json!([]), "{audit:?}");
        lab.start_all().await;
        lab.wait_until_at(id, deed.leads_to()).await;
        lab.settle().await;
    }
    lab.assert_the_promise().await;
}

/// A service that joins late, or whose place is at the very beginning, comes to the same state.
#[tokio::test]
async fn a_view_that_never_ran_reads_everything_from_the_beginning() {
    let mut lab = Lab::new();
    lab.start_these(&["payment", "order", "store", "delivery"]).await;
    let mut ids = Vec::new();
    for nth in 0..20 {
        let id = lab.order.client().place("삼겹살", nth).await;
        if nth % 3 == 0 {
            lab.order.client().cancel(id).await;
        }
        ids.push(id);
    }
    lab.dashboard.start().await;
    for (nth, id) in ids.into_iter().enumerate() {
        let deed = if nth % 3 == 0 { Deed::Cancel } else { Deed::Place };
        lab.wait_until_at(id, deed.leads_to()).await;
    }
    lab.assert_the_promise().await;
}

// ---- what an operator sees

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

impl Lab {
    fn tail(&self, arguments: &[&str]) -> Vec<Value> {
        let (exit_code, text) = self.jumun(&["events", "tail"], &[&["--json"], arguments].concat());
        assert_eq!(exit_code, 0, "{text}");
        lines(&text)
    }
}

#[tokio::test]
async fn the_tail_shows_what_is_meant() {
    let mut lab = Lab::all_running().await;
    let early = lab.have_done(Deed::Place, 0).await;
    lab.have_done(Deed::Cancel, early).await;
    wait_for(Duration::from_millis(1_500)).await;
    let pause = Instant::now();
    wait_for(Duration::from_millis(1_500)).await;
    let late = lab.have_done(Deed::Place, 0).await;
    lab.assert_the_promise().await;

    let all = lab.tail(&[]);
    assert_eq!(all.len(), 9, "{all:?}");
    assert_eq!(lab.on_the_bus(), lab.in_the_journals());
    for event in &all {
        assert_eq!(event["event"]["eventType"], event["type"], "{event}");
        assert!(event["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{event}");
    }
    let types = |events: &[Value]| -> BTreeSet<(String, i64)> {
        let pair =
            |event: &Value| (event["type"].as_str().expect("a type").to_owned(), event["key"].as_i64().expect("a key"));
        events.iter().map(pair).collect()
    };
    let pairs = |pairs: &[(&str, i64)]| pairs.iter().map(|(name, key)| ((*name).to_owned(), *key)).collect();
    assert_eq!(types(&lab.tail(&["--type", "OrderCanceled"])), pairs(&[("OrderCanceled", early)]));
    let two = lab.tail(&["--type", "OrderCanceled", "--type", "Ordered"]);
    assert_eq!(types(&two), pairs(&[("Ordered", early), ("OrderCanceled", early), ("Ordered", late)]));
    let of_late: BTreeSet<_> = pairs(&[("Ordered", late), ("PaymentApproved", late), ("StoreConfirmed", late)]);
    assert_eq!(types(&lab.tail(&["--key", &late.to_string()])), of_late);
    let since = format!("{}ms", pause.elapsed().as_millis());
    assert_eq!(types(&lab.tail(&["--since", &since])), of_late);
    assert_eq!(types(&lab.tail(&["--since", "1h"])).len(), 9);
    assert_eq!(lab.tail(&["-n", "1"]), all[8..]);
    assert_eq!(lab.tail(&["--key", "4711"]), Vec::<Value>::new());

    let (exit_code, text) = lab.jumun(&["events", "tail"], &["--type", "OrderCanceled"]);
    assert_eq!((exit_code, text.lines().count()), (0, 1), "{text}");
    assert!(text.contains("order/0/2") && text.contains("OrderCanceled"), "{text}");

    let (exit_code, text) = lab.jumun(&["events", "show"], &["order/0/1"]);
    assert_eq!(exit_code, 0, "{text}");
    let shown: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&shown["at"], &shown["key"]), (&json!("order/0/1"), &json!(early)));
    assert_eq!(shown["event"], lab.journal("order")[0].body);
    for (event, code) in [
        ("order/0/99", "event-missing"),
        ("nobody/0/1", "event-missing"),
        ("order/0", "event-unclear"),
        ("x", "event-unclear"),
        ("order/0/0", "event-unclear"),
    ] {
        let (exit_code, said) = lab.jumun(&["events", "show"], &[event]);
        assert_eq!(exit_code, 1, "{said}");
        assert!(said.contains(&format!("error[{code}]")), "{event}: {said}");
    }
    let nowhere = Lab::new();
    let (exit_code, said) = nowhere.jumun(&["events", "tail"], &[]);
    assert_eq!(exit_code, 1);
    assert!(said.contains("error[bus-missing]"), "{said}");
}

/// A process that is gone at the end, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test]
async fn a_follower_sees_what_happens_after_it_came() {
    let mut lab = Lab::all_running().await;
    let before = lab.have_done(Deed::Place, 0).await;
    let file = lab.data().join("followed");
    let mut command = lab.command(&["events", "tail"], &["--json", "--follow", "-n", "100"]);
    command.stdin(Stdio::null()).stdout(File::create(&file).expect("a file"));
    let _follower = Running(command.spawn().expect("a process"));
    let seen = |id: i64| -> BTreeSet<String> {
        let text = fs::read_to_string(&file).expect("a file");
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let of_it = lines(whole).into_iter().filter(|event| event["key"] == id);
        of_it.map(|event| event["at"].as_str().expect("a place").to_owned()).collect()
    };
    wait_until(lab::LONG, "the follower shows what there is", async || seen(before).len() == 3).await;
    lab.order.kill();
    lab.order.start().await;
    let after = lab.have_done(Deed::Place, 0).await;
    lab.have_done(Deed::Cancel, after).await;
    wait_until(lab::LONG, "the follower shows what happens", async || seen(after).len() == 6).await;
    let text = fs::read_to_string(&file).expect("a file");
    assert_eq!(text.lines().count(), 9, "every event once: {text}");
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn why_tells_the_story_of_an_order() {
    let mut lab = Lab::all_running().await;
    lab.have_all_done().await;
    let cancelled = lab.have_done(Deed::Place, 0).await;
    lab.have_done(Deed::Cancel, cancelled).await;
    lab.settle().await;
    for is_running in [true, false] {
        let (exit_code, story) = lab.jumun(&["why"], &["1"]);
        assert_eq!(exit_code, 0, "{story}");
        // In order, but for what follows within the same millisecond.
        let mut rest = &story[..];
        for word in ["What happened", "Ordered", "CookCompleted", "PickedUp", "DeliveryCompleted", "Where it stands"] {
            let at =
                rest.find(word).unwrap_or_else(|| panic!("running: {is_running}, no {word} in its place: {story}"));
            rest = &rest[at..];
        }
        for word in ["PaymentApproved", "StoreConfirmed", "DeliveryStarted"] {
            assert!(story.contains(word), "{word}: {story}");
        }
        for service in SERVICES {
            assert!(rest.contains(&format!("\n  {service:<13} {{")), "{service}: {story}");
        }
        let (_, story) = lab.jumun(&["why"], &[&cancelled.to_string()]);
        for word in ["OrderCanceled", "PaymentCanceled", "StoreCanceled", "ORDER_CANCELED"] {
            assert!(story.contains(word), "{word}: {story}");
        }
        let (exit_code, refused) = lab.jumun(&["why"], &["seven"]);
        assert!(exit_code == 1 && refused.contains("order-unclear"), "{refused}");
        let (exit_code, story) = lab.jumun(&["why"], &["4711"]);
        assert_eq!(exit_code, 0);
        assert!(story.contains("no service has data of this order"), "{story}");
        lab.stop_all().await;
    }
}

// ---- the folder of the bus

/// Everything that is stored of orders, service by service, and everything that was told of them.
async fn everything(lab: &Lab) -> Vec<Value> {
    let mut all = Vec::new();
    all.extend(lab.order.client().all("/orders").await);
    all.extend(lab.payment.client().all("/payinfos").await);
    all.extend(lab.store.client().all("/stores").await);
    all.extend(lab.delivery.client().all("/deliveries").await);
    all.extend(lab.dashboard.client().all("/dashboards").await);
    all
}

/// What is on the bus.
type Told = std::collections::BTreeMap<String, (String, Value)>;

/// Lets some orders go through; what is on the bus then, and what is stored.
async fn some_history(lab: &mut Lab) -> (Told, Vec<Value>) {
    for nth in 0..12 {
        let id = lab.have_done(Deed::Place, 0).await;
        match nth % 3 {
            0 => drop(lab.have_done(Deed::Cancel, id).await),
            1 => drop(lab.have_done(Deed::Cook, id).await),
            _ => {}
        }
    }
    lab.settle().await;
    (lab.on_the_bus(), everything(lab).await)
}

/// All services were stopped, and something was done to the bus: it has all the numbers again, and nothing happens twice.
async fn assert_refilled(lab: &mut Lab, told: &Told, stored: &[Value]) {
    lab.start_all().await;
    wait_until(lab::LONG, "the bus is as it was", async || lab.on_the_bus() == *told).await;
    assert_eq!(lab.in_the_journals(), *told, "nothing has happened");
    assert_eq!(everything(lab).await, stored, "nothing has happened");
    let id = lab.have_done(Deed::Place, 0).await;
    lab.have_done(Deed::Cancel, id).await;
    lab.assert_the_promise().await;
    assert_eq!(lab.in_the_journals().len(), told.len() + 6, "and it goes on from there");
    assert_eq!(lab.on_the_bus(), lab.in_the_journals());
}

#[tokio::test]
async fn a_bus_that_is_deleted_is_filled_again_from_the_journals() {
    let mut lab = Lab::all_running().await;
    let (told, stored) = some_history(&mut lab).await;
    lab.stop_all().await;
    fs::remove_dir_all(lab.bus()).expect("a folder");
    assert_refilled(&mut lab, &told, &stored).await;
}

#[tokio::test]
async fn a_view_without_its_database_is_built_again_from_the_bus() {
    let mut lab = Lab::all_running().await;
    let (told, stored) = some_history(&mut lab).await;
    lab.dashboard.stop().await;
    fs::remove_file(lab.database("dashboard")).expect("a file");
    lab.start_all().await;
    wait_until(lab::LONG, "the view is as it was", async || everything(&lab).await == stored).await;
    assert_eq!(lab.on_the_bus(), told);
    lab.assert_the_promise().await;
}

/// A power cut takes from a log what is behind its mark, or a part of it.
#[tokio::test]
async fn a_torn_bus_is_mended_from_the_journals() {
    let mut lab = Lab::all_running().await;
    let mut torn = 0;
    for round in 0..4 {
        let (told, stored) = some_history(&mut lab).await;
        lab.kill_all();
        let bus = EmbeddedLog::open(&lab.bus()).expect("a bus");
        for (nth, source) in bus.sources().expect("sources").into_iter().enumerate() {
            let Some((log, synced)) = bus.synced_to(&source.service).expect("a mark") else { continue };
            let length = fs::metadata(&log).expect("a file").len();
            let unsynced = length - synced;
            if unsynced > 0 {
                torn += 1;
                let cut = [1, unsynced / 2, unsynced - 1, 0][(round + nth) % 4];
                File::options().write(true).open(&log).expect("a file").set_len(length - cut).expect("a shorter file");
            }
        }
        if round == 3 {
            bus.lose_unsynced().expect("nobody publishes");
        }
        assert_refilled(&mut lab, &told, &stored).await;
    }
    assert!(torn > 0, "nothing was torn: this test tests nothing");
}

/// More is gone than a power cut can take: it is refused, with a remedy that works.
#[tokio::test]
async fn a_bus_that_lost_what_was_synced_is_set_aside_and_filled_again() {
    let mut lab = Lab::all_running().await;
    let (told, stored) = some_history(&mut lab).await;
    lab.stop_all().await;
    let (log, synced) =
        EmbeddedLog::open(&lab.bus()).expect("a bus").synced_to("order").expect("a mark").expect("a log");
    File::options().write(true).open(log).expect("a file").set_len(synced - 10).expect("a shorter file");
    assert_refilled(&mut lab, &told, &stored).await;
    assert!(lab.bus().join(".damaged/order").is_dir(), "what was there is kept");
}

impl Lab {
    /// Serves a service that is to be refused.
    fn jumun_serve(&self, service: &str, data: &Path) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
        command.current_dir(self.data()).args(["serve", "food-delivery", service, "--listen", "127.0.0.1:0", "--data"]);
        command.arg(data).env("JUMUN_LOG", "error").stdout(Stdio::null());
        let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).output().expect("a process");
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// It ends, says this code, and what to do.
#[track_caller]
fn assert_refused((status, said): &(i32, String), code: &str) {
    assert_eq!(*status, 1, "{said}");
    assert!(said.contains(&format!("error[{code}]: ")), "{said}");
    assert!(said.lines().count() >= 2, "it says what to do: {said}");
}

#[tokio::test]
async fn a_second_publisher_of_the_same_events_is_refused() {
    let mut lab = Lab::all_running().await;
    lab.have_done(Deed::Place, 0).await;
    // From another data folder, and so with another database: it does not even make that.
    let second = |lab: &Lab, service: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
        command.current_dir(lab.data()).args(["serve", "food-delivery", service, "--listen", "127.0.0.1:0"]);
        command.args(["--data", "another", "--set"]).arg(format!("bus=log://{}", lab.bus().display()));
        command.stdout(Stdio::null());
        run(command)
    };
    for service in ["order", "payment", "store", "delivery"] {
        assert_refused(&second(&lab, service), "database-lost");
        assert!(lab.service(service).is_alive());
    }
    lab.have_done(Deed::Place, 0).await;

    // Not even while nobody else publishes.
    lab.stop_all().await;
    assert_refused(&second(&lab, "order"), "database-lost");

    // In this folder, a database elsewhere is another one than before.
    let database = format!("order.database=sqlite://{}", lab.data().join("another.db").display());
    let mut command = lab.command(&["serve"], &["order", "--listen", "127.0.0.1:0", "--set", &database]);
    command.stdout(Stdio::null());
    assert_refused(&run(command), "database-lost");
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn an_older_copy_of_a_database_beside_a_newer_bus_is_refused() {
    let mut lab = Lab::all_running().await;
    lab.have_done(Deed::Place, 0).await;
    lab.settle().await;
    lab.order.stop().await;
    let (database, copy) = (lab.database("order"), lab.data().join("copy"));
    fs::copy(&database, &copy).expect("a copy");
    lab.order.start().await;
    let id = lab.have_done(Deed::Place, 0).await;
    lab.have_done(Deed::Cancel, id).await;
    lab.order.stop().await;
    let newest = lab.data().join("newest");
    fs::rename(&database, &newest).expect("a file");
    fs::rename(&copy, &database).expect("a file");
    let refused = lab.jumun_serve("order", lab.data());
    assert_refused(&refused, "bus-ahead");
    assert!(refused.1.contains("Restore the newest"), "{}", refused.1);
    fs::rename(&newest, &database).expect("a file");
    lab.order.start().await;
    assert_eq!(lab.order.client().post("/orders", &basket("냉면", 1)).await.status, 201);
    lab.assert_the_promise().await;
}
