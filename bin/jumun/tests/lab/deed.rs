//! What customers, shops and riders do with an order, and services that die over it.

use super::{Customer, LONG, Lab, basket, wait_until};
use http::Method;
use serde_json::Value;

/// Something that somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// A customer orders.
    Place,
    /// The shop has cooked.
    Cook,
    /// The rider picks up.
    PickUp,
    /// The rider hands over.
    HandOver,
    /// The customer cancels an order that is not cooked yet.
    Cancel,
}

impl Deed {
    /// An order from its first station to its last one.
    pub(crate) const WAY: [Self; 4] = [Self::Place, Self::Cook, Self::PickUp, Self::HandOver];

    /// Who is told to do it.
    pub(crate) const fn done_by(self) -> &'static str {
        match self {
            Self::Place | Self::Cancel => "order",
            Self::Cook => "store",
            Self::PickUp | Self::HandOver => "delivery",
        }
    }

    /// What every service shows in the end, in the order of [`super::SERVICES`].
    pub(crate) const fn leads_to(self) -> [&'static str; 5] {
        match self {
            Self::Place => ["APPROVED", "ORDER_CONFIRMED", "ORDER_CONFIRMED", "-", "ORDER_CONFIRMED"],
            Self::Cook => ["APPROVED", "DELIVERY_STARTED", "COOK_COMPLETED", "DELIVERY_STARTED", "DELIVERY_STARTED"],
            Self::PickUp => ["APPROVED", "PICKED_UP", "COOK_COMPLETED", "PICKED_UP", "PICKED_UP"],
            Self::HandOver => {
                ["APPROVED", "DELIVERY_COMPLETED", "COOK_COMPLETED", "DELIVERY_COMPLETED", "DELIVERY_COMPLETED"]
            }
            Self::Cancel => ["ORDER_CANCELED", "CANCELED", "CANCELED", "-", "ORDER_CANCELED"],
        }
    }

    /// Somebody who does it, with a key, and repeats it until it is done.
    pub(crate) fn somebody(self, lab: &Lab, id: i64) -> Customer {
        let key = Some(uuid::Uuid::new_v4().to_string());
        let (service, method, path) = match self {
            Self::Place => (&lab.order, Method::POST, "/orders".to_owned()),
            Self::Cancel => (&lab.order, Method::DELETE, format!("/orders/{id}")),
            Self::Cook => (&lab.store, Method::PUT, format!("/stores/{id}/cook-complete")),
            Self::PickUp => (&lab.delivery, Method::PUT, format!("/deliveries/{id}/pickup")),
            Self::HandOver => (&lab.delivery, Method::PUT, format!("/deliveries/{id}/complete")),
        };
        Customer::new(service.client(), key, method, path).with_body(basket("삼겹살", 15_000))
    }
}

impl Lab {
    /// Waits until every service shows this of an order. Everything runs.
    pub(crate) async fn wait_until_at(&self, id: i64, words: [&str; 5]) {
        let mut last = None;
        let mut what = String::new();
        let began = std::time::Instant::now();
        wait_until(LONG + LONG, "all services show the same of an order", async || {
            let stations = self.stations(id).await;
            let is_there = stations.words() == words;
            if !is_there && began.elapsed() > LONG {
                what = format!("order {id} is at {:?} and not at {words:?}", stations.words());
            }
            last = Some(stations);
            is_there || !what.is_empty()
        })
        .await;
        assert!(what.is_empty(), "{what}");
    }

    /// Does something while a service dies over it at these points, one death after the other. Everything else runs. The
    /// order.
    pub(crate) async fn die_over(&mut self, deed: Deed, id: i64, victim: &str, deaths: &[&'static str]) -> i64 {
        let somebody = deed.somebody(self, id);
        let told = self.service(victim).die_over(deaths, async move { somebody.insist().await }).await;
        assert!(told.answer.status < 300, "{deed:?}: {told:?}");
        let id = if deed == Deed::Place { told.answer.id() } else { id };
        self.wait_until_at(id, deed.leads_to()).await;
        id
    }

    /// Takes an order from its first station to its last one. The order.
    pub(crate) async fn have_all_done(&self) -> i64 {
        let mut id = 0;
        for deed in Deed::WAY {
            id = self.have_done(deed, id).await;
        }
        id
    }

    /// Does something, and waits until everybody has heard of it. The order.
    pub(crate) async fn have_done(&self, deed: Deed, id: i64) -> i64 {
        let told = deed.somebody(self, id).insist().await;
        assert!(told.answer.status < 300, "{deed:?}: {told:?}");
        let id = if deed == Deed::Place { told.answer.id() } else { id };
        self.wait_until_at(id, deed.leads_to()).await;
        id
    }
}
