//! Many customers, some of whom change their minds, shops and riders, five services, and somebody who kills one of them
//! all the time.
//!
//! `JUMUN_KILLS=1000` makes it longer, `JUMUN_SEED` repeats the choices of an earlier run.

mod lab;

use http::Method;
use lab::{Answer, Client, Customer, LONG, Lab, SERVICES, Trap, Wait, basket, wait_for, wait_until};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const CUSTOMERS: usize = 16;
const PAUSE_MS: (u64, u64) = (20, 150);

/// How often the consumers are asked how far they are behind, once all services run again.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// Choices that can be made again: xorshift64* of Vigna, *An experimental exploration of Marsaglia's xorshift generators*.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, least: u64, most: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        least + (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % (most - least + 1)
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

/// What a customer remembers of one order.
struct Remembered {
    key: String,
    answer: Answer,
    /// What was answered when it was cancelled, if it was.
    cancelled: Option<Answer>,
    waited: Duration,
    tries: usize,
}

/// Orders one thing after the other, each with a key of its own, until nobody kills any more. Cancels one in four.
async fn buy(name: usize, client: Client, is_over: Arc<AtomicBool>) -> Vec<Remembered> {
    let mut remembered = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let nth = remembered.len();
        let key = format!("customer-{name}-{nth}");
        let price = i64::try_from(name * 1_000_000 + nth).expect("a price");
        let told = Customer::ordering(client.clone(), Some(&key), basket(&key, price)).insist().await;
        let tries = told.before.len() + 1;
        let mut cancelled = None;
        if nth % 4 == 3 && told.answer.status == 201 {
            let path = format!("/orders/{}", told.answer.id());
            let cancel = format!("{key}-cancel");
            let customer = Customer::new(client.clone(), Some(cancel), Method::DELETE, path);
            cancelled = Some(customer.insist().await.answer);
        }
        remembered.push(Remembered { key, answer: told.answer, cancelled, waited: told.waited, tries });
    }
    remembered
}

/// Does what is to be done with the newest things there are, each with a key of its own. What was answered, by status.
async fn work(
    client: Client,
    collection: &'static str,
    verbs: &'static [&'static str],
    is_over: Arc<AtomicBool>,
) -> BTreeMap<u16, usize> {
    let (mut done, mut answers) = (BTreeSet::new(), BTreeMap::new());
    while !is_over.load(Ordering::Relaxed) {
        let newest = client.send(Method::GET, &format!("/{collection}?sort=id,desc&size=20"), &[], "").await;
        let ids: Vec<i64> = newest.ok().filter(|page| page.status == 200).map_or_else(Vec::new, |page| {
            let page = page.json();
            let rows = page["_embedded"][collection].as_array().expect("a list");
            rows.iter().filter_map(|row| row["id"].as_i64()).filter(|id| done.insert(*id)).collect()
        });
        if ids.is_empty() {
            Wait::new(LONG, "there is something to do").a_moment().await;
        }
        for id in ids {
            for verb in verbs {
                let path = format!("/{collection}/{id}/{verb}");
                let (client, key) = (client.clone(), Some(path.clone()));
                let told = Customer::new(client, key, Method::PUT, path).insist().await;
                *answers.entry(told.answer.status).or_default() += 1;
            }
        }
    }
    answers
}

/// How long events of one type waited, in milliseconds, until somebody made another one of them: in ascending order. A
/// service that was killed, or had to be started, counts like one that was busy.
fn waited_ms(lab: &Lab, (teller, told): (&str, &str), (hearer, made): (&str, &str)) -> Vec<i64> {
    let times = |service: &str, event_type: &str| -> BTreeMap<i64, i64> {
        let of_type = lab.journal(service).into_iter().filter(|event| event.event_type == event_type);
        of_type.map(|event| (event.key, event.body["timestamp"].as_i64().expect("a time"))).collect()
    };
    let (told, made) = (times(teller, told), times(hearer, made));
    let mut waited: Vec<_> = made.iter().filter_map(|(key, made)| Some(made - told.get(key)?)).collect();
    waited.sort_unstable();
    waited
}

/// The events that are still to be heard, by everybody of everybody; None while somebody does not answer.
async fn behind(lab: &Lab) -> Option<u64> {
    let mut sum = 0;
    for service in [&lab.order, &lab.payment, &lab.store, &lab.delivery, &lab.dashboard] {
        let health = service.client().send(Method::GET, "/actuator/health", &[], "").await.ok()?;
        let behind = &health.json()["components"]["events"]["details"]["behind"];
        sum += behind.as_object()?.values().filter_map(Value::as_u64).sum::<u64>();
    }
    Some(sum)
}

#[tokio::test]
async fn no_order_is_lost_or_double_or_unpaid_however_often_a_service_is_killed() {
    let kills = number("JUMUN_KILLS").unwrap_or(60);
    let seed = number("JUMUN_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0) | 1;
    eprintln!("JUMUN_SEED={seed}");
    let mut dice = Dice(seed);
    let mut lab = Lab::new();
    // Payment dies so often that it would be left alone most of the time, and there were few orders to lose.
    lab.order.set("order.calls.payment.breaker.wait_open=100ms");
    lab.start_all().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|name| {
            let client = Client::with_idle_connections(lab.order.address(), 1);
            tokio::spawn(buy(name, client, is_over.clone()))
        })
        .collect();
    let store = Client::with_idle_connections(lab.store.address(), 1);
    let delivery = Client::with_idle_connections(lab.delivery.address(), 1);
    let shop = tokio::spawn(work(store, "stores", &["cook-complete"], is_over.clone()));
    let rider = tokio::spawn(work(delivery, "deliveries", &["pickup", "complete"], is_over.clone()));

    let began = Instant::now();
    for _ in 0..kills {
        wait_for(Duration::from_millis(dice.throw(PAUSE_MS.0, PAUSE_MS.1))).await;
        let which = usize::try_from(dice.throw(0, SERVICES.len() as u64 - 1)).expect("one of five");
        let service = lab.service(SERVICES[which]);
        assert!(service.is_alive(), "{} ended by itself", service.name());
        service.kill();
        service.spawn(Trap::None);
    }
    let lasted = began.elapsed();
    let restarted = Instant::now();
    for name in SERVICES {
        lab.service(name).wait_until_it_listens().await;
    }
    let running_again = restarted.elapsed();
    is_over.store(true, Ordering::Relaxed);
    let mut remembered = Vec::new();
    for customer in customers {
        remembered.extend(customer.await.expect("every customer has a final answer"));
    }
    let (cooked, ridden) = (shop.await.expect("a shop"), rider.await.expect("a rider"));

    // The last events were published about now: how long do they wait until everybody has heard them?
    let began = Instant::now();
    let (mut most_behind, mut last_look) = (0, began);
    wait_until(LONG + LONG, "everybody has heard everything", async || {
        if last_look.elapsed() < ASK_EVERY {
            return false;
        }
        last_look = Instant::now();
        let behind = behind(&lab).await;
        most_behind = most_behind.max(behind.unwrap_or(0));
        behind == Some(0)
    })
    .await;
    let caught_up = began.elapsed();

    lab.assert_the_promise().await;
    let mut by_item: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for order in lab.order.client().all("/orders").await {
        by_item.entry(order["itemName"].as_str().expect("a name").to_owned()).or_default().push(order);
    }
    let mut ids = BTreeSet::new();
    let mut cancelled = 0;
    for Remembered { key, answer, cancelled: cancel, .. } in &remembered {
        assert_eq!(answer.status, 201, "{key}: {answer:?}");
        assert!(ids.insert(answer.id()), "{key}: its order is somebody else's, too");
        let orders = by_item.remove(key).unwrap_or_default();
        assert_eq!(orders.len(), 1, "{key}: what was acknowledged, and what there is: {orders:?}");
        for field in ["id", "storeName", "itemName", "itemQty", "price", "orderDate"] {
            assert_eq!(orders[0][field], answer.json()[field], "{key}: what was acknowledged, and what there is");
        }
        let is_cancelled = orders[0]["orderStatus"] == "CANCELED";
        match cancel.as_ref().map(|cancel| cancel.status) {
            Some(204) => assert!(is_cancelled, "{key}: it was said to be cancelled: {orders:?}"),
            Some(409) => assert!(!is_cancelled, "{key}: its delivery had started: {orders:?}"),
            None => assert!(!is_cancelled, "{key}: nobody has cancelled it: {orders:?}"),
            Some(_) => panic!("{key}: {cancel:?}"),
        }
        cancelled += usize::from(is_cancelled);
    }
    assert!(by_item.is_empty(), "orders that nobody placed: {by_item:?}");

    let longest = remembered.iter().map(|order| order.waited).max().unwrap_or_default();
    let tries = remembered.iter().map(|order| order.tries).max().unwrap_or_default();
    let voided = lab.journal("payment").iter().filter(|event| event.body["status"] == "VOIDED").count();
    let delivered = lab.journal("delivery").iter().filter(|event| event.event_type == "DeliveryCompleted").count();
    eprintln!(
        "{kills} kills in {lasted:.1?}, {} orders, {cancelled} cancelled, {delivered} delivered, none lost, double, unpaid \
         or stuck; {voided} payments undone; longest until an answer {longest:.0?}, most tries {tries}",
        remembered.len(),
    );
    eprintln!(
        "all run again after {running_again:.0?}; at most {most_behind} events behind; everybody has heard everything \
         {caught_up:.0?} after the last answer; the shop was answered {cooked:?}, the rider {ridden:?}",
    );
    for (told, made) in [
        (("order", "Ordered"), ("store", "StoreConfirmed")),
        (("store", "CookCompleted"), ("delivery", "DeliveryStarted")),
        (("order", "OrderCanceled"), ("payment", "PaymentCanceled")),
    ] {
        let waited = waited_ms(&lab, told, made);
        let at = |share: usize| waited.get(waited.len() * share / 100).or(waited.last()).copied().unwrap_or_default();
        let (half, most, longest) = (at(50), at(99), at(100));
        eprintln!("{} → {}: half within {half} ms, 99 % within {most} ms, all within {longest:?} ms", told.1, made.1);
    }
    assert!(remembered.len() >= CUSTOMERS, "nobody could order anything");
    assert!(cooked.contains_key(&200) && ridden.contains_key(&200), "nobody could work: {cooked:?} {ridden:?}");
}
