//! All about one order in one row. Its name is spelled as its users know it.

use crate::events::{Event, EventKind as On};
use crate::order::OrderStatus;
use crate::pay::PaymentStatus;
use crate::reservation::ReservationStatus;
use jumun::prelude::*;

jumun::documents! {
    /// What the customer sees of an order. Each status comes from one service.
    #[derive(Default)]
    pub struct Infomation {
        /// The order's id.
        pub id: i64,
        /// The client's reference. None: `Ordered` has not arrived yet.
        pub order_id: Option<Reference>,
        /// The status of the order.
        pub order_status: Option<OrderStatus>,
        /// The status of the payment.
        pub pay_status: Option<PaymentStatus>,
        /// The status of the reservation.
        pub reservation_status: Option<ReservationStatus>,
    }
}

impl View for Infomation {
    type Event = Event;

    const HEARS: &'static [On] = &[
        On::Ordered,
        On::PaymentSettled,
        On::OrderCanceled,
        On::Paid,
        On::PaymentCanceled,
        On::Reserved,
        On::CourseStarted,
        On::ReservationCanceled,
    ];

    fn row(id: i64) -> Self {
        Self { id, ..Self::default() }
    }

    fn fold(&mut self, event: &Event) {
        match event {
            Event::Ordered(order) => {
                self.order_id = Some(order.enrollment.order_id.clone());
                self.order_status = self.order_status.max(Some(order.status));
            }
            Event::PaymentSettled(order) | Event::OrderCanceled(order) => {
                self.order_status = self.order_status.max(Some(order.status));
            }
            Event::Paid(payment) | Event::PaymentCanceled(payment) => {
                self.pay_status = self.pay_status.max(Some(payment.status));
            }
            Event::Reserved(seat) | Event::CourseStarted(seat) | Event::ReservationCanceled(seat) => {
                self.reservation_status = self.reservation_status.max(Some(seat.status));
            }
            _ => {}
        }
    }

    fn shown(&self) -> bool {
        self.order_id.is_some()
    }
}
