//! What must be true of every order.

use crate::{
    infomation::Infomation,
    notification::{Kind, Notification},
    order::{Order, OrderStatus},
    pay::{Payment, PaymentStatus},
    reservation::{Reservation, ReservationStatus},
};
use jumun::{Aggregate, Case, Findings, View};
use std::collections::BTreeSet;

/// All payments that were ever taken.
pub const PAID: &str = "paid";
/// Orders that stand and are paid.
pub const STANDING: &str = "standing";
/// Payments of cancelled orders that were given back.
pub const REFUNDED: &str = "refunded";
/// Payments for orders that never came to stand that were given back.
pub const VOIDED: &str = "voided";

/// All that there is about one order.
struct Rows {
    payment: Option<Payment>,
    /// A seat, if there was ever one or it was asked for.
    reservation: Option<Reservation>,
    /// As its customer sees it, if there is anything to see.
    view: Option<Infomation>,
    /// What its customer was told, or is to be told.
    told: Vec<Kind>,
}

/// Every standing order has one payment and one reservation; every cancelled order has neither; one whose payment is
/// delayed has no reservation, and somebody still asks for the payment; nothing stands for an order that does not; the
/// view agrees with all three.
pub fn audit(case: &Case<'_>) -> Findings {
    let mut findings = Findings::default();
    let rows = Rows {
        payment: case.row(),
        reservation: case.row::<Reservation>().filter(Reservation::shown),
        view: case.row::<Infomation>().filter(Infomation::shown),
        told: case.rows::<Notification>().map(|notification| notification.news.kind).collect(),
    };
    if rows.payment.is_some() {
        findings.add(PAID, 1);
    }
    let Some(order) = case.row::<Order>() else {
        nothing_stands(&rows, &mut findings);
        return findings;
    };
    match order.status {
        OrderStatus::PaymentDelayed => payment_is_to_come(&rows, &mut findings),
        OrderStatus::Ordered => all_goes_on(&order, &rows, &mut findings),
        OrderStatus::Canceled => all_is_undone(&rows, &mut findings),
    }
    all_is_of_the_same_order(&order, &rows, &mut findings);
    all_is_told_once(&order, &rows, &mut findings);
    seen(&order, &rows, &mut findings);
    findings
}

fn nothing_stands(rows: &Rows, findings: &mut Findings) {
    match rows.payment_status() {
        Some(PaymentStatus::Canceled) => findings.add(VOIDED, 1),
        Some(status) => findings.violation(format_args!("there is no order, its payment is {status:?}")),
        None => {}
    }
    if rows.reservation.is_some() || rows.view.is_some() || !rows.told.is_empty() {
        findings.violation("there is no order, and somebody works on it");
    }
}

/// While somebody asks for the payment this is in doubt, and the audit does not judge it. Afterwards it is wrong.
fn payment_is_to_come(rows: &Rows, findings: &mut Findings) {
    findings.violation("its payment is delayed, and nobody asks for it any more");
    if rows.reservation.is_some() {
        findings.violation("its payment is delayed, and there is a reservation");
    }
}

fn all_goes_on(order: &Order, rows: &Rows, findings: &mut Findings) {
    findings.add(STANDING, 1);
    if rows.payment_status() != Some(PaymentStatus::Paid) {
        findings.violation(format_args!("the order stands, its payment is {:?}", rows.payment_status()));
    }
    match rows.reservation_status() {
        None | Some(ReservationStatus::Withheld | ReservationStatus::Canceled) => {
            findings.violation(format_args!("the order stands, its reservation is {:?}", rows.reservation_status()));
        }
        Some(status) if order.course_started != (status == ReservationStatus::CourseStarted) => {
            findings.violation("order and reservation do not agree whether the course has started");
        }
        Some(_) => {}
    }
}

fn all_is_undone(rows: &Rows, findings: &mut Findings) {
    match rows.payment_status() {
        Some(PaymentStatus::Canceled) => findings.add(REFUNDED, 1),
        Some(status) => findings.violation(format_args!("the order is cancelled, its payment is {status:?}")),
        None if rows.reservation.is_some() => findings.violation("it was never paid, and there was a reservation"),
        None => {}
    }
    if rows.reservation_status().is_some_and(|status| status != ReservationStatus::Canceled) {
        findings.violation(format_args!("the order is cancelled, its reservation is {:?}", rows.reservation_status()));
    }
}

fn all_is_of_the_same_order(order: &Order, rows: &Rows, findings: &mut Findings) {
    let due = (&order.order_id, &order.customer_id, order.edu_no);
    let paid = rows.payment.as_ref().map(|paid| (&paid.order_id, &paid.customer_id, paid.edu_no));
    let reserved = rows.reservation.as_ref().map(|seat| (&seat.order_id, &seat.customer_id, seat.edu_no));
    if paid.is_some_and(|paid| paid != due) {
        findings.violation("the payment is for another order");
    }
    if reserved.is_some_and(|reserved| reserved != due) {
        findings.violation("the reservation is for another order");
    }
}

fn all_is_told_once(order: &Order, rows: &Rows, findings: &mut Findings) {
    let told: BTreeSet<_> = rows.told.iter().copied().collect();
    if told.len() != rows.told.len() {
        findings.violation(format_args!("the customer is told twice: {:?}", rows.told));
    }
    let was_delayed = told.contains(&Kind::PaymentDelayed);
    // Whether it was delayed, and whether it was paid before it was cancelled, is told and nowhere else to be seen.
    let was_paid = order.status == OrderStatus::Ordered || (!was_delayed || told.contains(&Kind::PaymentSettled));
    let refunded = rows.payment.as_ref().is_some_and(|paid| paid.status == PaymentStatus::Canceled && !paid.voided);
    let seat = rows.reservation_status();
    let due = [
        (Kind::Ordered, !was_delayed),
        (Kind::PaymentSettled, was_delayed && was_paid),
        (Kind::Paid, was_paid),
        (Kind::OrderCanceled, order.status == OrderStatus::Canceled),
        (Kind::PaymentCanceled, refunded),
        (Kind::ReservationCanceled, seat == Some(ReservationStatus::Canceled)),
    ];
    for (kind, is_due) in due {
        if told.contains(&kind) != is_due {
            let whether = if is_due { "is not told" } else { "is told" };
            findings.violation(format_args!("the customer {whether} of {kind:?}"));
        }
    }
    // What a cancel overtook may have been told before.
    let last = match seat {
        Some(ReservationStatus::Confirmed) => Some(Kind::ReservationConfirmed),
        Some(ReservationStatus::CourseStarted) => Some(Kind::CourseStarted),
        _ => None,
    };
    if last.is_some_and(|last| !told.contains(&last)) {
        findings.violation(format_args!("the customer is not told that the reservation is {seat:?}"));
    }
}

fn seen(order: &Order, rows: &Rows, findings: &mut Findings) {
    let is = (Some(order.status), rows.payment_status(), rows.reservation_status());
    let view = rows.view.as_ref().map(|view| (view.order_status, view.pay_status, view.reservation_status));
    if view != Some(is) {
        findings.violation(format_args!("the view shows {view:?} instead of {is:?}"));
    }
}

impl Rows {
    fn payment_status(&self) -> Option<PaymentStatus> {
        self.payment.as_ref().map(|payment| payment.status)
    }

    fn reservation_status(&self) -> Option<ReservationStatus> {
        self.reservation.as_ref().map(|reservation| reservation.status)
    }
}
