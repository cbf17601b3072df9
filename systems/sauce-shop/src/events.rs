//! The published language of the sauce shop.

use crate::delivery::Delivery;
use crate::order::Order;
use crate::payment::Payment;

jumun::published_language! {
    /// An event of the sauce shop.
    pub enum Event, EventKind {
        order(by id):
            /// The order is placed and paid.
            Ordered(Order),
            /// The order is cancelled. Payment and delivery undo their parts.
            OrderCanceled(Order);
        payment(by order_id):
            /// The payment is taken.
            Paid(Payment),
            /// The payment is refunded or voided.
            PaymentCanceled(Payment);
        delivery(by order_id):
            /// The delivery is prepared.
            DeliveryStarted(Delivery),
            /// The branch has the sauce.
            Delivered(Delivery),
            /// The delivery is stopped, because its order is cancelled.
            DeliveryCanceled(Delivery);
    }
}
