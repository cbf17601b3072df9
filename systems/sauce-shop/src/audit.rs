//! What must be true of every order.

use crate::dashboard::{OrderDashboard, State};
use crate::delivery::{Delivery, DeliveryState};
use crate::order::{Order, OrderState};
use crate::payment::{Payment, PaymentStatus};
use jumun::payments::{MONEY_IN, REFUNDED, STANDING, VOIDED};
use jumun::{Case, Findings};

/// An order that is not cancelled has a payment of the same price and a delivery; a cancelled order is refunded, and its
/// delivery is cancelled. Without an order there is no payment that is not voided and no delivery. The view agrees.
pub fn audit(case: &Case<'_>) -> Findings {
    let mut findings = Findings::default();
    let payment = case.row::<Payment>();
    let delivery = case.shown::<Delivery>();
    let view = case.shown::<OrderDashboard>();
    if let Some(payment) = &payment {
        findings.add(MONEY_IN, payment.price.get());
    }
    let status = payment.as_ref().map(|payment| payment.status);
    let Some(order) = case.row::<Order>() else {
        match payment {
            Some(payment) if payment.status == PaymentStatus::Voided => findings.add(VOIDED, payment.price.get()),
            Some(_) => findings.violation(format_args!("there is no order, its payment is {status:?}")),
            None => {}
        }
        if delivery.is_some() || view.is_some() {
            findings.violation("there is no order, but a delivery or a dashboard row");
        }
        return findings;
    };
    let (sum, due_payment, due_delivery, due_view) = match (order.state, order.delivered) {
        (OrderState::Canceled, _) => (REFUNDED, PaymentStatus::Canceled, DeliveryState::Canceled, State::Canceled),
        (OrderState::Registered, false) => (STANDING, PaymentStatus::Paid, DeliveryState::Preparing, State::Preparing),
        (OrderState::Registered, true) => (STANDING, PaymentStatus::Paid, DeliveryState::Complete, State::Complete),
    };
    findings.add(sum, order.basket.price.get());
    if status != Some(due_payment) {
        findings.violation(format_args!("the order is {:?}, its payment {status:?}", order.state));
    }
    if payment.is_some_and(|payment| payment.price != order.basket.price) {
        findings.violation("the payment has another price than the order");
    }
    let ordered = Delivery::new(&order, due_delivery);
    if delivery.as_ref() != Some(&ordered) {
        findings.violation(format_args!("the delivery is {delivery:?} instead of {ordered:?}"));
    }
    let seen = view.map(|view| (view.state, view.payment_state, view.delivery_state));
    if seen != Some((due_view, Some(due_payment), Some(due_delivery))) {
        findings.violation(format_args!("the view shows {seen:?} instead of {due_view:?}"));
    }
    findings
}
