//! The published language of food delivery.

use crate::delivery::Delivery;
use crate::order::Order;
use crate::payment::Payinfo;
use crate::store::StoreOrder;

jumun::published_language! {
    /// An event of food delivery.
    pub enum Event, EventKind {
        order(by id):
            /// The order is placed and paid.
            Ordered(Order),
            /// The order is cancelled. Every service undoes its part.
            OrderCanceled(Order);
        payment(by order_id):
            /// The payment is taken.
            PaymentApproved(Payinfo),
            /// The payment is refunded or voided.
            PaymentCanceled(Payinfo);
        store(by order_id):
            /// The shop has confirmed the order.
            StoreConfirmed(StoreOrder),
            /// The shop does not cook the order: the order was cancelled, or the shop has rejected it or not
            /// accepted it in time.
            StoreCanceled(StoreOrder),
            /// The order is cooked.
            CookCompleted(StoreOrder);
        delivery(by order_id):
            /// A rider is assigned.
            DeliveryStarted(Delivery),
            /// The rider has picked the order up.
            PickedUp(Delivery),
            /// The order is delivered.
            DeliveryCompleted(Delivery),
            /// No rider picked the order up in time. A delivery that ends because its order was cancelled publishes nothing.
            DeliveryCanceled(Delivery);
    }
}
