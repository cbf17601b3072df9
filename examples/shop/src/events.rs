//! The published language: every event, and which service publishes it.

use crate::order::Order;
use crate::payment::Payment;

jumun::published_language! {
    /// What has happened.
    pub enum Event, EventKind {
        order(by id): Ordered(Order), OrderCanceled(Order);
        payment(by id): Paid(Payment), PaymentReturned(Payment);
    }
}
