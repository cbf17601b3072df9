//! Breakfast mileage in the laboratory: its three services, and whether what was promised of them holds.

use super::{Customer, LONG, Service, Site, laboratory, start, wait_until};
use http::Method;
use serde_json::{Value, json};
use std::ops::Deref;

laboratory! {
    /// Breakfast mileage. The gateway runs only where a test starts it.
    Breakfast: order payment mileage gateway
}

/// A breakfast for two.
pub(crate) fn breakfast() -> Value {
    json!({ "qty": 2, "amount": 8_000, "customerId": "민지" })
}

impl Breakfast {
    /// Nothing runs yet.
    pub(crate) fn new() -> Self {
        let site = Site::of("breakfast-mileage");
        let [mut order, mut payment, mileage, mut gateway] =
            ["order", "payment", "mileage", "gateway"].map(|name| site.new_service(name));
        order.set(format!("order.calls.payment.url=http://{}", payment.address()));
        payment.set(format!("payment.calls.mileage.url=http://{}", mileage.address()));
        for service in [&order, &payment, &mileage] {
            gateway.set(format!("gateway.upstreams.{}=http://{}", service.name(), service.address()));
        }
        Self { order, payment, mileage, gateway, site }
    }

    /// Starts all services that do not run.
    pub(crate) async fn start_all(&mut self) {
        let Self { order, payment, mileage, .. } = self;
        start([mileage, payment, order].into_iter()).await;
    }

    /// Somebody who orders breakfast.
    pub(crate) fn customer(&self, key: &str) -> Customer {
        Customer::ordering(self.order.client(), Some(key), breakfast())
    }

    /// Somebody who gives something up: an order, or a payment.
    pub(crate) fn quitter(service: &Service, path: String) -> Customer {
        Customer::new(service.client(), Some(format!("no-{path}")), Method::DELETE, path)
    }

    /// What order, payment, mileage and view say of an id; `-` for what is not there.
    pub(crate) async fn words(&self, id: i64) -> [String; 4] {
        let word = async |service: &Service, path: &str| {
            let answer = service.client().get(&format!("{path}/{id}")).await;
            if answer.status == 404 { "-".to_owned() } else { answer.json()["status"].as_str().expect("a word").into() }
        };
        [
            word(&self.order, "/orders").await,
            word(&self.payment, "/pays").await,
            word(&self.mileage, "/mileages").await,
            word(&self.mileage, "/mileageViews").await,
        ]
    }

    /// Waits until they say this. All services run.
    pub(crate) async fn wait_until_at(&self, id: i64, words: [&str; 4]) {
        let what = format!("{id} is at {words:?}");
        wait_until(LONG, &what, async || self.words(id).await == words).await;
    }

    /// Nothing is in doubt, the audit is clean, and no event was published twice.
    pub(crate) async fn assert_the_promise(&mut self) {
        self.start_all().await;
        wait_until(LONG, "nothing is in doubt", async || self.asks().is_empty()).await;
        let audit = self.audit("20s");
        assert_eq!((audit.exit_code, &audit.report["verdict"]), (0, &json!("clean")), "{audit:?}");
        for service in ["order", "payment", "mileage"] {
            self.told(service);
        }
        for attempt in [self.attempts("order"), self.attempts("payment")].concat() {
            assert!(["done", "voided"].contains(&&*attempt.state), "{attempt:?}");
        }
    }
}
