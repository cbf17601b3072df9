//! The published language of breakfast mileage.

use crate::mileage::Mileage;
use crate::order::Order;
use crate::payment::Pay;

jumun::published_language! {
    /// An event of breakfast mileage.
    pub enum Event, EventKind {
        order(by id):
            /// The order is placed and paid.
            Ordered(Order),
            /// The order is cancelled. Its payment follows.
            OrderCancelled(Order);
        payment(by id):
            /// The payment is taken, and its mileage is earned.
            Paid(Pay),
            /// The payment is refunded or voided. Its mileage and its order follow.
            PayCancelled(Pay);
        mileage(by id):
            /// The mileage is earned.
            MileageAdded(Mileage),
            /// The mileage is taken away.
            MileageRemoved(Mileage);
    }
}
