//! What can be seen afterwards, in databases and over HTTP, and whether it is what was promised.

use super::Lab;
use serde_json::Value;
use std::collections::BTreeMap;

/// Unanswered requests that are looked up one by one; of the others only the list is looked at.
const LOOKED_UP_MAX: usize = 200;

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
    /// The same, as the journals have it.
    pub(crate) fn in_the_journals(&self) -> BTreeMap<String, (String, Value)> {
        let mut found = BTreeMap::new();
        for service in PUBLISHERS {
            for entry in self.journal(service) {
                found.insert(entry.token(service), (entry.event_type, entry.body));
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
