//! What happens in food delivery, as everybody hears it.

use crate::{order::Order, payment::Payinfo};

jumun::published_language! {
    /// An event of food delivery.
    pub enum Event {
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
    }
}
