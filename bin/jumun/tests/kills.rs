//! Many customers, two services, and somebody who kills one of them all the time.
//!
//! `JUMUN_KILLS=1000` makes it longer, `JUMUN_SEED` repeats the choices of an earlier run.

mod lab;

use lab::{Answer, Client, Customer, Lab, Trap, basket, wait_for};
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
    waited: Duration,
    tries: usize,
}

/// Orders one thing after the other, each with a key of its own, until nobody kills any more.
async fn buy(name: usize, client: Client, is_over: Arc<AtomicBool>) -> Vec<Remembered> {
    let mut remembered = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let nth = remembered.len();
        let key = format!("customer-{name}-{nth}");
        let price = i64::try_from(name * 1_000_000 + nth).expect("a price");
        let told = Customer::ordering(client.clone(), Some(&key), basket(&key, price)).insist().await;
        let tries = told.before.len() + 1;
        remembered.push(Remembered { key, answer: told.answer, waited: told.waited, tries });
    }
    remembered
}

#[tokio::test]
async fn no_order_is_lost_or_double_or_unpaid_however_often_a_service_is_killed() {
    let kills = number("JUMUN_KILLS").unwrap_or(60);
    let seed = number("JUMUN_SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0) | 1;
    eprintln!("JUMUN_SEED={seed}");
    let mut dice = Dice(seed);
    let mut lab = Lab::running().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let customers: Vec<_> = (0..CUSTOMERS)
        .map(|name| {
            let client = Client::with_idle_connections(lab.order.address(), 1);
            tokio::spawn(buy(name, client, is_over.clone()))
        })
        .collect();

    let began = Instant::now();
    for _ in 0..kills {
        wait_for(Duration::from_millis(dice.throw(PAUSE_MS.0, PAUSE_MS.1))).await;
        let service = if dice.throw(0, 1) == 0 { &mut lab.order } else { &mut lab.payment };
        assert!(service.is_alive(), "{} ended by itself", service.name());
        service.kill();
        service.spawn(Trap::None);
    }
    let lasted = began.elapsed();
    lab.order.wait_until_it_listens().await;
    lab.payment.wait_until_it_listens().await;
    is_over.store(true, Ordering::Relaxed);
    let mut remembered = Vec::new();
    for customer in customers {
        remembered.extend(customer.await.expect("every customer has a final answer"));
    }

    lab.assert_the_promise().await;
    let mut by_item: BTreeMap<String, Vec<serde_json::Value>> = BTreeMap::new();
    for order in lab.order.client().all("/orders").await {
        by_item.entry(order["itemName"].as_str().expect("a name").to_owned()).or_default().push(order);
    }
    let mut ids = BTreeSet::new();
    for Remembered { key, answer, .. } in &remembered {
        assert_eq!(answer.status, 201, "{key}: {answer:?}");
        assert!(ids.insert(answer.id()), "{key}: its order is somebody else's, too");
        let orders = by_item.remove(key).unwrap_or_default();
        assert_eq!(orders, [answer.json()], "{key}: what was acknowledged, and what there is");
    }
    assert!(by_item.is_empty(), "orders that nobody placed: {by_item:?}");

    let longest = remembered.iter().map(|order| order.waited).max().unwrap_or_default();
    let tries = remembered.iter().map(|order| order.tries).max().unwrap_or_default();
    let undone = lab.journal("payment").iter().filter(|event| event.event_type == "PaymentCanceled").count();
    eprintln!(
        "{kills} kills in {lasted:.1?}, {} orders, none lost, double, unpaid or stuck; {undone} payments undone; \
         longest until an answer {longest:.0?}, most tries {tries}",
        remembered.len(),
    );
    assert!(remembered.len() >= CUSTOMERS, "nobody could order anything");
}
