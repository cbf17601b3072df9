//! Everything about an order on one line.

use crate::{
    events::{Event, EventKind},
    order::Order,
    payment::PaymentStatus,
};
use jiff::Timestamp;
use jumun::{Name, PublishedLanguage, Quantity, View, Won};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the customer and the shop look at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dashboard {
    /// The order's id.
    pub id: i64,
    /// The order.
    pub order_id: i64,
    /// The shop. None: the order has not been heard of yet.
    pub store_name: Option<Name>,
    /// The dish.
    pub item_name: Option<Name>,
    /// How many.
    pub item_qty: Option<Quantity>,
    /// For how much.
    pub price: Option<Won>,
    /// How far it has come.
    pub status: Status,
    /// What became of the money.
    pub payment_status: Option<PaymentStatus>,
    /// When it was ordered.
    pub order_dt: Option<Timestamp>,
    /// When it was cooked.
    pub cooked_comp_dt: Option<Timestamp>,
    /// When the customer got it.
    pub delivery_comp_dt: Option<Timestamp>,
}

/// How far an order has come, as its customer sees it. A later word never gives way to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It stands.
    Ordered,
    /// Its payment is known.
    Paid,
    /// The shop has taken it.
    OrderConfirmed,
    /// It is cooked.
    CookCompleted,
    /// A rider is called.
    DeliveryStarted,
    /// The rider has it.
    PickedUp,
    /// The customer has it.
    DeliveryCompleted,
    /// It is given up.
    OrderCanceled,
}

impl Dashboard {
    fn show(&mut self, order: &Order) {
        let basket = order.basket.clone();
        self.store_name = Some(basket.store_name);
        self.item_name = basket.item_name;
        self.item_qty = Some(basket.item_qty);
        self.price = Some(basket.price);
        self.order_dt = Some(order.order_date);
    }

    fn reach(&mut self, status: Status) {
        self.status = self.status.max(status);
    }
}

impl View for Dashboard {
    type Event = Event;

    const HEARS: &'static [EventKind] = Event::KINDS;

    fn row(id: i64) -> Self {
        Self {
            id,
            order_id: id,
            store_name: None,
            item_name: None,
            item_qty: None,
            price: None,
            status: Status::Ordered,
            payment_status: None,
            order_dt: None,
            cooked_comp_dt: None,
            delivery_comp_dt: None,
        }
    }

    fn fold(&mut self, event: &Event) {
        match event {
            Event::Ordered(order) => self.show(order),
            Event::OrderCanceled(_) => self.reach(Status::OrderCanceled),
            Event::PaymentApproved(payment) => {
                self.reach(Status::Paid);
                self.payment_status = self.payment_status.max(Some(payment.status));
            }
            Event::PaymentCanceled(payment) => self.payment_status = self.payment_status.max(Some(payment.status)),
            Event::StoreConfirmed(_) => self.reach(Status::OrderConfirmed),
            Event::StoreCanceled(_) => {} // the order follows, or was first
            Event::CookCompleted(order) => {
                self.reach(Status::CookCompleted);
                self.cooked_comp_dt = order.completed_date;
            }
            Event::DeliveryStarted(_) => self.reach(Status::DeliveryStarted),
            Event::PickedUp(_) => self.reach(Status::PickedUp),
            Event::DeliveryCompleted(delivery) => {
                self.reach(Status::DeliveryCompleted);
                self.delivery_comp_dt = delivery.comp_dt;
            }
        }
    }

    fn shown(&self) -> bool {
        self.store_name.is_some()
    }
}
