//! An order with its payment and its delivery in one row.

use crate::delivery::DeliveryState;
use crate::events::{Event, EventKind};
use crate::order::BranchId;
use crate::payment::PaymentStatus;
use jumun::prelude::*;

jumun::documents! {
    /// What a branch sees of its order.
    #[derive(Default)]
    pub struct OrderDashboard {
        /// The order's id.
        pub id: i64,
        /// The order.
        pub order_id: i64,
        /// The branch. None: `Ordered` has not arrived yet.
        pub branch_id: Option<BranchId>,
        /// The sauce.
        pub sauce_id: Option<Name>,
        /// The number of bottles.
        pub qty: Option<Quantity>,
        /// The price of all bottles.
        pub price: Option<Won>,
        /// The state of the order.
        pub state: State,
        /// The status of the payment.
        pub payment_state: Option<PaymentStatus>,
        /// The state of the delivery.
        pub delivery_state: Option<DeliveryState>,
    }
}

/// The state of an order, as its branch sees it. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// It is placed.
    #[default]
    Registered,
    /// It is paid.
    Paid,
    /// It is prepared for delivery.
    Preparing,
    /// It is delivered.
    Complete,
    /// It is cancelled.
    Canceled,
}

impl OrderDashboard {
    fn reach(&mut self, state: State) {
        self.state = self.state.max(state);
    }
}

impl View for OrderDashboard {
    type Event = Event;

    const HEARS: &'static [EventKind] = Event::KINDS;

    fn row(id: i64) -> Self {
        Self { id, order_id: id, ..Self::default() }
    }

    fn fold(&mut self, event: &Event) {
        match event {
            Event::Ordered(order) => {
                let basket = order.basket.clone();
                self.branch_id = Some(basket.branch_id);
                self.sauce_id = Some(basket.sauce_id);
                self.qty = Some(basket.qty);
                self.price = Some(basket.price);
            }
            Event::OrderCanceled(_) => self.reach(State::Canceled),
            Event::Paid(payment) => {
                self.reach(State::Paid);
                self.payment_state = self.payment_state.max(Some(payment.status));
            }
            Event::PaymentCanceled(payment) => self.payment_state = self.payment_state.max(Some(payment.status)),
            Event::DeliveryStarted(delivery) => {
                self.reach(State::Preparing);
                self.delivery_state = self.delivery_state.max(Some(delivery.state));
            }
            Event::Delivered(delivery) => {
                self.reach(State::Complete);
                self.delivery_state = self.delivery_state.max(Some(delivery.state));
            }
            Event::DeliveryCanceled(delivery) => {
                self.delivery_state = self.delivery_state.max(Some(delivery.state));
            }
        }
    }

    fn shown(&self) -> bool {
        self.branch_id.is_some()
    }
}
