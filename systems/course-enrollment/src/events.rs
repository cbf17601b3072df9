//! What happens in course enrollment, as everybody hears it.

use crate::{notification::Notification, order::Order, pay::Payment, reservation::Reservation};

jumun::published_language! {
    /// An event of course enrollment.
    pub enum Event, EventKind {
        order(by id):
            /// The order stands: it is paid, or will be. Its status says which.
            Ordered(Order) hides card_no,
            /// The payment of an order that stood without it has come.
            PaymentSettled(Order) hides card_no,
            /// The order is given up. Everything that followed from it is undone.
            OrderCanceled(Order) hides card_no;
        pay(by id):
            /// Money was taken.
            Paid(Payment) hides card_no,
            /// Money was given back.
            PaymentCanceled(Payment) hides card_no;
        reservation(by id):
            /// There is a seat; or, where the course's manager confirms, one is requested first. Its status says which.
            Reserved(Reservation),
            /// The course has started.
            CourseStarted(Reservation),
            /// There is no seat any more: the order was cancelled, or the manager has turned it down.
            ReservationCanceled(Reservation);
        notification(by enrollment_id):
            /// A message is to be sent to the customer.
            NotificationRequested(Notification),
            /// It was sent.
            NotificationSent(Notification),
            /// It could not be sent, and waits for somebody to look at it.
            NotificationParked(Notification);
    }
}
