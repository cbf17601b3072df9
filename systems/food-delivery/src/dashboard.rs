//! All about one order in one row.

use crate::events::{Event, EventKind};
use crate::order::Order;
use crate::payment::PaymentStatus;
use jumun::prelude::*;

jumun::documents! {
    /// What customer and shop see of an order.
    #[derive(Default)]
    pub struct Dashboard {
        /// The order's id.
        pub id: i64,
        /// The order.
        pub order_id: i64,
        /// The shop. None: `Ordered` has not arrived yet.
        pub store_name: Option<Name>,
        /// The dish.
        pub item_name: Option<Name>,
        /// The number of portions.
        pub item_qty: Option<Quantity>,
        /// The price of all portions.
        pub price: Option<Won>,
        /// The status of the order.
        pub status: Status,
        /// The status of the payment.
        pub payment_status: Option<PaymentStatus>,
        /// When the order was placed.
        pub order_dt: Option<Time>,
        /// When it was cooked.
        pub cooked_comp_dt: Option<Time>,
        /// When it was delivered.
        pub delivery_comp_dt: Option<Time>,
    }
}

/// The status of an order, as its customer sees it. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It is placed.
    #[default]
    Ordered,
    /// It is paid.
    Paid,
    /// The shop has confirmed it.
    OrderConfirmed,
    /// It is cooked.
    CookCompleted,
    /// A rider is assigned.
    DeliveryStarted,
    /// The rider has picked it up.
    PickedUp,
    /// It is delivered.
    DeliveryCompleted,
    /// It is cancelled.
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
        Self { id, order_id: id, ..Self::default() }
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
            Event::StoreCanceled(_) | Event::DeliveryCanceled(_) => {} // `OrderCanceled` follows, or came first
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
