//! What happens in food delivery, as everybody hears it.

use crate::{delivery::Delivery, order::Order, payment::Payinfo, store::StoreOrder};

jumun::published_language! {
    /// An event of food delivery.
    pub enum Event, EventKind {
        order(by id):
            /// The order stands: it is paid.
            Ordered(Order),
            /// The order is given up. Everything that followed from it is undone.
            OrderCanceled(Order);
        payment(by order_id):
            /// Money was taken.
            PaymentApproved(Payinfo),
            /// Money was given back.
            PaymentCanceled(Payinfo);
        store(by order_id):
            /// The shop has taken the order.
            StoreConfirmed(StoreOrder),
            /// The shop does not cook it: it was cancelled, or the shop has turned it down.
            StoreCanceled(StoreOrder),
            /// It is cooked.
            CookCompleted(StoreOrder);
        delivery(by order_id):
            /// A rider is called.
            DeliveryStarted(Delivery),
            /// The rider has it.
            PickedUp(Delivery),
            /// The customer has it.
            DeliveryCompleted(Delivery);
    }
}
