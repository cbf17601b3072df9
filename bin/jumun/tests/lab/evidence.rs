//! What can be seen afterwards, in databases and over HTTP, and whether it is what was promised.

use super::Lab;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

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

    /// What a service's events say, by correlation key; and that their numbers have no gaps.
    fn told(&self, service: &str) -> BTreeMap<i64, Vec<String>> {
        let (mut told, mut numbers) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        for entry in self.journal(service) {
            let number = numbers.entry(entry.partition).or_insert(0_i64);
            *number += 1;
            assert_eq!(entry.sequence, *number, "a gap in the journal of {service}, partition {}", entry.partition);
            told.entry(entry.key).or_default().push(entry.in_short());
        }
        told
    }

    /// An order stands if and only if its payment does. Nothing is in doubt, nothing is lost, nothing is double, and the
    /// events tell the same story. Both services run.
    pub(crate) async fn assert_the_promise(&self) {
        let (orders, payments) = (self.order.client(), self.payment.client());
        let audit = self.audit("10s");
        assert_eq!(audit.exit_code, 0, "{audit:?}\nin doubt: {:?}", self.asks());
        assert_eq!(audit.report["verdict"], "clean", "{audit:?}");
        assert_eq!(self.asks(), Vec::<Value>::new(), "something is in doubt");

        let by_id = |rows: Vec<Value>| -> BTreeMap<i64, Value> {
            rows.into_iter().map(|row| (row["id"].as_i64().expect("an id"), row)).collect()
        };
        let (orders_found, payments_found) =
            (by_id(orders.all("/orders").await), by_id(payments.all("/payinfos").await));
        let (ordered, paid) = (self.told("order"), self.told("payment"));

        for (id, order) in &orders_found {
            assert_eq!(order["orderStatus"], "ORDERED", "{order}");
            assert_eq!(ordered.get(id), Some(&vec!["Ordered".to_owned()]), "the events of order {id}");
            let payment = payments_found.get(id).unwrap_or_else(|| panic!("order {id} has no payment"));
            assert_eq!(payment["status"], "APPROVED", "{payment}");
            assert_eq!(payment["price"], order["price"], "{payment} {order}");
        }
        for (id, payment) in &payments_found {
            let mut expected = vec!["PaymentApproved APPROVED"];
            if !orders_found.contains_key(id) {
                assert_eq!(payment["status"], "VOIDED", "there is no order {id}");
                expected.push("PaymentCanceled VOIDED");
            }
            let told = paid.get(id).map(|events| events.iter().map(String::as_str).collect());
            assert_eq!(told, Some(expected), "the events of payment {id}");
        }
        assert_eq!(ordered.len(), orders_found.len(), "an event of no order");
        assert_eq!(paid.len(), payments_found.len(), "an event of no payment");

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
