//! What must be true of every order.

use crate::{
    order::{Order, OrderStatus},
    payment::{Payinfo, PaymentStatus},
};
use jumun::{Case, Findings};

/// All money that was ever taken.
pub const MONEY_IN: &str = "money in";
/// What standing orders cost.
pub const STANDING: &str = "standing";
/// What cancelled orders had cost.
pub const REFUNDED: &str = "refunded";
/// What was taken for orders that never came to stand, and was given back.
pub const VOIDED: &str = "voided";

/// Every standing order has one approved payment of the same price; every cancelled one is refunded; there is no money
/// without an order.
pub fn audit(case: &Case<'_>) -> Findings {
    let order = case.row::<Order>();
    let payment = case.row::<Payinfo>();
    let mut findings = Findings::default();

    if let Some(payment) = &payment {
        findings.add(MONEY_IN, payment.price.get());
    }
    match (&order, payment.as_ref().map(|payment| payment.status)) {
        (Some(order), status) => {
            let price = order.basket.price;
            let (sum, due) = match order.order_status {
                OrderStatus::Canceled => (REFUNDED, PaymentStatus::OrderCanceled),
                OrderStatus::Ordered => (STANDING, PaymentStatus::Approved),
            };
            findings.add(sum, price.get());
            if status != Some(due) {
                findings.violation(format_args!("the order is {:?}, its payment {status:?}", order.order_status));
            }
            if payment.is_some_and(|payment| payment.price != price) {
                findings.violation("the payment has another price than the order");
            }
        }
        (None, Some(PaymentStatus::Voided)) => findings.add(VOIDED, payment.map_or(0, |payment| payment.price.get())),
        (None, Some(status)) => findings.violation(format_args!("there is no order, its payment is {status:?}")),
        (None, None) => {}
    }
    findings
}
