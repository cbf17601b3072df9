//! The published language of course enrollment.

use crate::notification::Notification;
use crate::order::Order;
use crate::pay::Payment;
use crate::reservation::Reservation;

jumun::published_language! {
    /// An event of course enrollment.
    pub enum Event, EventKind {
        order(by id):
            /// The order is placed. Its status says whether it is paid or its payment is delayed.
            Ordered(Order) hides card_no,
            /// The delayed payment of an order was taken.
            PaymentSettled(Order) hides card_no,
            /// The order is cancelled. Every service undoes its part.
            OrderCanceled(Order) hides card_no;
        pay(by id):
            /// The payment is taken.
            Paid(Payment) hides card_no,
            /// The payment is refunded or voided.
            PaymentCanceled(Payment) hides card_no;
        reservation(by id):
            /// A seat is requested or confirmed. Its status says which.
            Reserved(Reservation),
            /// The course has started.
            CourseStarted(Reservation),
            /// The reservation ended: the order was cancelled, or the manager has rejected it or not confirmed it in time.
            ReservationCanceled(Reservation);
        notification(by enrollment_id):
            /// A message is to be sent to the customer.
            NotificationRequested(Notification),
            /// The sender has accepted the message.
            NotificationSent(Notification),
            /// The message could not be sent and waits for an operator.
            NotificationParked(Notification);
    }
}
