//! What can be seen afterwards, in databases and over HTTP, and whether it is what was promised.

use super::Lab;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Unanswered requests that are looked up one by one; of the others only the list is looked at.
const LOOKED_UP_MAX: usize = 200;

/// A request as it stands in a database.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) key: Option<String>,
    pub(crate) state: String,
    /// The order, or what would have become one.
    pub(crate) subject: i64,
    pub(crate) answer_status: Option<u16>,
    pub(crate) until_ms: i64,
}

impl Attempt {
    /// Whether it has made an order.
    pub(crate) fn stands(&self) -> bool {
        self.state == "done" && self.answer_status.is_some_and(|status| status < 400)
    }
}

/// An event as it stands in a journal.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) partition: u16,
    pub(crate) sequence: i64,
    pub(crate) event_type: String,
    pub(crate) key: i64,
    pub(crate) body: Value,
}

impl Entry {
    /// `PaymentCanceled VOIDED`
    fn in_short(&self) -> String {
        match self.body["status"].as_str() {
            Some(status) => format!("{} {status}", self.event_type),
            None => self.event_type.clone(),
        }
    }
}

/// How far an order has come, in the words of each service; None where it knows nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stations {
    pub(crate) order: Option<String>,
    pub(crate) payment: Option<String>,
    pub(crate) store: Option<String>,
    pub(crate) delivery: Option<String>,
    pub(crate) dashboard: Option<String>,
}

impl Stations {
    /// In the order of [`super::SERVICES`]; `-` where nothing is known.
    pub(crate) fn words(&self) -> [&str; 5] {
        let Self { order, payment, store, delivery, dashboard } = self;
        [payment, order, store, delivery, dashboard].map(|word| word.as_deref().unwrap_or("-"))
    }
}

/// Services with a journal.
const PUBLISHERS: [&str; 4] = ["order", "payment", "store", "delivery"];

impl Lab {
    fn look(&self, service: &str) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(self.database(service), flags).expect("a database");
        connection.busy_timeout(Duration::from_secs(5)).expect("a time limit");
        connection
    }

    /// Every request of a service that asks a neighbour, the oldest first.
    pub(crate) fn attempts(&self, service: &str) -> Vec<Attempt> {
        let sql = "SELECT key, state, subject, answer_status, until_ms FROM requests
            WHERE ask_service IS NOT NULL ORDER BY id";
        let connection = self.look(service);
        let mut statement = connection.prepare(sql).expect("a statement");
        let rows = statement.query_map([], |row| {
            Ok(Attempt {
                key: row.get(0)?,
                state: row.get(1)?,
                subject: row.get(2)?,
                answer_status: row.get(3)?,
                until_ms: row.get(4)?,
            })
        });
        rows.expect("rows").collect::<Result<_, _>>().expect("rows")
    }

    /// The whole journal of a service.
    pub(crate) fn journal(&self, service: &str) -> Vec<Entry> {
        let sql = "SELECT partition, sequence, event_type, key, body FROM journal ORDER BY partition, sequence";
        let connection = self.look(service);
        let mut statement = connection.prepare(sql).expect("a statement");
        let rows = statement.query_map([], |row| {
            Ok(Entry {
                partition: row.get(0)?,
                sequence: row.get(1)?,
                event_type: row.get(2)?,
                key: row.get(3)?,
                body: serde_json::from_str(&row.get::<_, String>(4)?).expect("an event is JSON"),
            })
        });
        rows.expect("rows").collect::<Result<_, _>>().expect("rows")
    }

    /// What a service's events say, by correlation key; and that their numbers have no gaps, and none is told twice.
    fn told(&self, service: &str) -> BTreeMap<i64, Vec<String>> {
        let (mut told, mut numbers) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        let mut once = BTreeSet::new();
        for entry in self.journal(service) {
            let number = numbers.entry(entry.partition).or_insert(0_i64);
            *number += 1;
            assert_eq!(entry.sequence, *number, "a gap in the journal of {service}, partition {}", entry.partition);
            assert!(once.insert((entry.key, entry.event_type.clone())), "twice in the journal of {service}: {entry:?}");
            told.entry(entry.key).or_default().push(entry.in_short());
        }
        told
    }

    /// What is on the bus, source by source, each in its order: what `jumun events tail` tells of the journals' numbers.
    pub(crate) fn on_the_bus(&self) -> BTreeMap<String, (String, Value)> {
        let (exit_code, text) = self.jumun(&["events", "tail"], &["--json", "-n", "1000000"]);
        assert_eq!(exit_code, 0, "{text}");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let word = |line: &Value, field: &str| line[field].as_str().expect("a text").to_owned();
        lines.map(|line| (word(&line, "at"), (word(&line, "type"), line["event"].clone()))).collect()
    }

    /// The same, as the journals have it.
    pub(crate) fn in_the_journals(&self) -> BTreeMap<String, (String, Value)> {
        let mut found = BTreeMap::new();
        for service in PUBLISHERS {
            for Entry { partition, sequence, event_type, body, .. } in self.journal(service) {
                found.insert(format!("{service}/{partition}/{sequence}"), (event_type, body));
            }
        }
        found
    }

    /// Starts what does not run and waits until everybody has heard everything: the audit is clean.
    pub(crate) async fn settle(&mut self) {
        self.start_all().await;
        let audit = self.audit("20s");
        assert_eq!(audit.exit_code, 0, "{audit:?}\nin doubt: {:?}", self.asks());
        assert_eq!(audit.report["verdict"], "clean", "{audit:?}");
        assert_eq!(self.asks(), Vec::<Value>::new(), "something is in doubt");
    }

    /// What every service shows of an order that all have heard of. Everything runs.
    pub(crate) async fn stations(&self, id: i64) -> Stations {
        let word = async |service: &super::Service, path: &str, field: &str| {
            let answer = service.client().get(&format!("{path}/{id}")).await;
            if answer.status == 404 {
                return None;
            }
            Some(answer.json()[field].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned())
        };
        Stations {
            order: word(&self.order, "/orders", "orderStatus").await,
            payment: word(&self.payment, "/payinfos", "status").await,
            store: word(&self.store, "/stores", "orderStatus").await,
            delivery: word(&self.delivery, "/deliveries", "status").await,
            dashboard: word(&self.dashboard, "/dashboards", "status").await,
        }
    }

    /// An order stands if and only if its payment does, shop, rider and view agree, and a cancelled order is cancelled
    /// everywhere, once. Nothing is in doubt, nothing is lost, nothing is double, and the events tell the same story.
    pub(crate) async fn assert_the_promise(&mut self) {
        self.settle().await;
        let orders = self.order.client();
        let by_id = |rows: Vec<Value>| -> BTreeMap<i64, Value> {
            rows.into_iter().map(|row| (row["id"].as_i64().expect("an id"), row)).collect()
        };
        let (orders_found, payments_found) =
            (by_id(orders.all("/orders").await), by_id(self.payment.client().all("/payinfos").await));
        let (stores_found, views_found) =
            (by_id(self.store.client().all("/stores").await), by_id(self.dashboard.client().all("/dashboards").await));
        let deliveries_found = by_id(self.delivery.client().all("/deliveries").await);
        let [ordered, paid, shop, ridden] = PUBLISHERS.map(|service| self.told(service));
        assert!(orders_found.keys().eq(stores_found.keys()), "the shop knows the orders that stand, and no other");
        assert!(orders_found.keys().eq(views_found.keys()), "the view shows the orders that stand, and no other");

        for (id, order) in &orders_found {
            let is_cancelled = order["orderStatus"] == "CANCELED";
            let payment = payments_found.get(id).unwrap_or_else(|| panic!("order {id} has no payment"));
            assert_eq!(payment["price"], order["price"], "{payment} {order}");
            for field in ["storeName", "itemName", "itemQty"] {
                assert_eq!(stores_found[id][field], order[field], "{order}");
                assert_eq!(views_found[id][field], order[field], "{order}");
            }
            let (of_order, of_payment) = if is_cancelled {
                assert_eq!(payment["status"], "ORDER_CANCELED", "{payment}");
                (&["Ordered", "OrderCanceled"][..], &["PaymentApproved APPROVED", "PaymentCanceled ORDER_CANCELED"][..])
            } else {
                assert_eq!(payment["status"], "APPROVED", "{payment}");
                (&["Ordered"][..], &["PaymentApproved APPROVED"][..])
            };
            assert_eq!(ordered.get(id).map(Vec::as_slice), Some(&*owned(of_order)), "the events of order {id}");
            assert_eq!(paid.get(id).map(Vec::as_slice), Some(&*owned(of_payment)), "the events of payment {id}");
            let at =
                |rows: &BTreeMap<i64, Value>, field: &str| rows.get(id).map_or(Value::Null, |row| row[field].clone());
            for (field, source) in [
                ("price", order["price"].clone()),
                ("orderDt", order["orderDate"].clone()),
                ("paymentStatus", payment["status"].clone()),
                ("cookedCompDt", at(&stores_found, "completedDate")),
                ("deliveryCompDt", at(&deliveries_found, "compDt")),
            ] {
                assert_eq!(at(&views_found, field), source, "{field} in the view of order {id}");
            }
            let of_shop = shop.get(id).map(Vec::as_slice).unwrap_or_default();
            assert_eq!(of_shop.iter().any(|event| event == "StoreCanceled"), is_cancelled, "order {id}: {of_shop:?}");
        }
        for (id, payment) in payments_found.iter().filter(|(id, _)| !orders_found.contains_key(id)) {
            assert_eq!(payment["status"], "VOIDED", "there is no order {id}");
            let expected = owned(&["PaymentApproved APPROVED", "PaymentCanceled VOIDED"]);
            assert_eq!(paid.get(id), Some(&expected), "the events of payment {id}");
        }
        assert_eq!(ordered.len(), orders_found.len(), "an event of no order");
        assert_eq!(paid.len(), payments_found.len(), "an event of no payment");
        for id in shop.keys().chain(ridden.keys()) {
            assert!(orders_found.contains_key(id), "somebody worked on {id}, which is no order");
        }

        let attempts = self.attempts("order");
        assert_eq!(attempts.iter().filter(|attempt| attempt.stands()).count(), orders_found.len());
        let mut looked_up = 0;
        for attempt in attempts {
            let id = attempt.subject;
            if attempt.stands() {
                assert!(orders_found.contains_key(&id), "{attempt:?} is done and there is no order");
                continue;
            }
            assert!(["done", "voided"].contains(&&*attempt.state), "{attempt:?}");
            assert!(!orders_found.contains_key(&id), "{attempt:?} and its order is in the list");
            looked_up += 1;
            if looked_up <= LOOKED_UP_MAX {
                assert_eq!(orders.get(&format!("/orders/{id}")).await.problem(), "not-found");
            }
        }
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
