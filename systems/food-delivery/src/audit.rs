//! What must be true of every order.

use crate::dashboard::{Dashboard, Status};
use crate::delivery::{Delivery, DeliveryStatus};
use crate::order::{Order, OrderStatus};
use crate::payment::{Payinfo, PaymentStatus};
use crate::store::StoreOrder;
use jumun::payments::{MONEY_IN, REFUNDED, STANDING, VOIDED};
use jumun::{Case, Findings};

/// All rows of one order.
struct Rows {
    payment: Option<Payinfo>,
    /// None if the shop does not show it.
    store: Option<StoreOrder>,
    /// None if no rider was assigned.
    delivery: Option<Delivery>,
    /// None if the dashboard does not show it.
    view: Option<Dashboard>,
}

/// An order that is not cancelled has an approved payment of the same price and a store order. A cancelled order is refunded,
/// its store order and delivery are cancelled. Without an order there is no payment that is not voided, no store order and
/// no delivery. The view agrees with all of them.
pub fn audit(case: &Case<'_>) -> Findings {
    let mut findings = Findings::default();
    let rows = Rows { payment: case.row(), store: case.shown(), delivery: case.shown(), view: case.shown() };
    if let Some(payment) = &rows.payment {
        findings.add(MONEY_IN, payment.price.get());
    }
    match case.row::<Order>() {
        None => without_order(&rows, &mut findings),
        Some(order) if order.order_status == OrderStatus::Canceled => canceled(&order, &rows, &mut findings),
        Some(order) => standing(&order, &rows, &mut findings),
    }
    findings
}

fn without_order(rows: &Rows, findings: &mut Findings) {
    match &rows.payment {
        Some(payment) if payment.status == PaymentStatus::Voided => findings.add(VOIDED, payment.price.get()),
        Some(payment) => findings.violation(format_args!("there is no order, its payment is {:?}", payment.status)),
        None => {}
    }
    if rows.store.is_some() || rows.delivery.is_some() || rows.view.is_some() {
        findings.violation("there is no order, but a store order, a delivery or a dashboard row");
    }
}

fn canceled(order: &Order, rows: &Rows, findings: &mut Findings) {
    findings.add(REFUNDED, order.basket.price.get());
    paid(order, PaymentStatus::OrderCanceled, rows, findings);
    if rows.store.as_ref().is_none_or(|store| store.order_status != OrderStatus::Canceled) {
        findings.violation("the order is cancelled, its store order is not");
    }
    if rows.delivery.as_ref().is_some_and(|delivery| delivery.status != DeliveryStatus::Canceled) {
        findings.violation("the order is cancelled, its delivery is not");
    }
    seen(Status::OrderCanceled, PaymentStatus::OrderCanceled, rows, findings);
}

fn standing(order: &Order, rows: &Rows, findings: &mut Findings) {
    findings.add(STANDING, order.basket.price.get());
    paid(order, PaymentStatus::Approved, rows, findings);
    match &rows.store {
        None => findings.violation("the order has no store order"),
        Some(store) if store.item_price != Some(order.basket.price) => {
            findings.violation("the store order has another price than the order");
        }
        Some(_) => {}
    }
    if rows.delivery.is_none()
        && rows.store.as_ref().is_some_and(|store| store.order_status == OrderStatus::CookCompleted)
    {
        findings.violation("the order is cooked, but no rider is assigned");
    }
    let reached = [
        Some(OrderStatus::Ordered),
        rows.store.as_ref().map(|store| store.order_status),
        rows.delivery.as_ref().map(|delivery| reached_by(delivery.status)),
    ];
    let reached = reached.into_iter().flatten().max().unwrap_or(OrderStatus::Ordered);
    if order.order_status != reached {
        findings.violation(format_args!("the order is {:?}, shop and rider are at {reached:?}", order.order_status));
    }
    seen(shown_as(order.order_status), PaymentStatus::Approved, rows, findings);
}

fn paid(order: &Order, due: PaymentStatus, rows: &Rows, findings: &mut Findings) {
    match &rows.payment {
        Some(payment) if payment.status == due => {}
        payment => {
            let status = payment.as_ref().map(|payment| payment.status);
            findings.violation(format_args!("the order is {:?}, its payment {status:?}", order.order_status));
        }
    }
    if rows.payment.as_ref().is_some_and(|payment| payment.price != order.basket.price) {
        findings.violation("the payment has another price than the order");
    }
}

fn seen(status: Status, payment_status: PaymentStatus, rows: &Rows, findings: &mut Findings) {
    let view = rows.view.as_ref().map(|view| (view.status, view.payment_status));
    if view != Some((status, Some(payment_status))) {
        findings.violation(format_args!("the view shows {view:?} instead of {status:?}"));
    }
}

const fn reached_by(status: DeliveryStatus) -> OrderStatus {
    match status {
        DeliveryStatus::DeliveryStarted => OrderStatus::DeliveryStarted,
        DeliveryStatus::PickedUp => OrderStatus::PickedUp,
        DeliveryStatus::DeliveryCompleted => OrderStatus::DeliveryCompleted,
        DeliveryStatus::Canceled => OrderStatus::Canceled,
    }
}

const fn shown_as(status: OrderStatus) -> Status {
    match status {
        OrderStatus::Ordered => Status::Paid, // an order is only placed when it is paid
        OrderStatus::OrderConfirmed => Status::OrderConfirmed,
        OrderStatus::CookCompleted => Status::CookCompleted,
        OrderStatus::DeliveryStarted => Status::DeliveryStarted,
        OrderStatus::PickedUp => Status::PickedUp,
        OrderStatus::DeliveryCompleted => Status::DeliveryCompleted,
        OrderStatus::Canceled => Status::OrderCanceled,
    }
}
