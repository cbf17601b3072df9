//! What must be true of every order.

use crate::infomation::Infomation;
use crate::notification::{Kind, Notification};
use crate::order::{Order, OrderStatus};
use crate::pay::{Payment, PaymentStatus};
use crate::reservation::{Reservation, ReservationStatus};
use jumun::payments::{REFUNDED, STANDING, VOIDED};
use jumun::{Case, Findings};
use std::collections::BTreeSet;

/// All payments that were ever taken.
pub const PAID: &str = "paid";

/// All rows of one order.
struct Rows {
    payment: Option<Payment>,
    /// None if no seat was ever requested.
    reservation: Option<Reservation>,
    /// None if the view does not show it.
    view: Option<Infomation>,
    /// The messages that were sent or are to be sent.
    messages: Vec<Kind>,
}

/// A paid order has a payment and a reservation; a cancelled order has neither; an order with a delayed payment has no
/// reservation, and its payment is still asked for. Without an order there is no payment that is not voided, no reservation and
/// no message. The view agrees with all three.
pub fn audit(case: &Case<'_>) -> Findings {
    let mut findings = Findings::default();
    let rows = Rows {
        payment: case.row(),
        reservation: case.shown(),
        view: case.shown(),
        messages: case.rows::<Notification>().map(|notification| notification.news.kind).collect(),
    };
    if rows.payment.is_some() {
        findings.add(PAID, 1);
    }
    let Some(order) = case.row::<Order>() else {
        without_order(&rows, &mut findings);
        return findings;
    };
    match order.status {
        OrderStatus::PaymentDelayed => delayed(&rows, &mut findings),
        OrderStatus::Ordered => standing(&order, &rows, &mut findings),
        OrderStatus::Canceled => canceled(&rows, &mut findings),
    }
    same_order(&order, &rows, &mut findings);
    informed_once(&order, &rows, &mut findings);
    seen(&order, &rows, &mut findings);
    findings
}

fn without_order(rows: &Rows, findings: &mut Findings) {
    match rows.payment_status() {
        Some(PaymentStatus::Canceled) => findings.add(VOIDED, 1),
        Some(status) => findings.violation(format_args!("there is no order, its payment is {status:?}")),
        None => {}
    }
    if rows.reservation.is_some() || rows.view.is_some() || !rows.messages.is_empty() {
        findings.violation("there is no order, but a reservation, a view or a message");
    }
}

/// While the payment is asked for, the order is in doubt and not audited. Later this is a violation.
fn delayed(rows: &Rows, findings: &mut Findings) {
    findings.violation("its payment is delayed, but no longer asked for");
    if rows.reservation.is_some() {
        findings.violation("its payment is delayed, but it has a reservation");
    }
}

fn standing(order: &Order, rows: &Rows, findings: &mut Findings) {
    findings.add(STANDING, 1);
    if rows.payment_status() != Some(PaymentStatus::Paid) {
        findings.violation(format_args!("the order is placed, its payment is {:?}", rows.payment_status()));
    }
    match rows.reservation_status() {
        None | Some(ReservationStatus::Withheld | ReservationStatus::Canceled) => {
            findings.violation(format_args!("the order is placed, its reservation is {:?}", rows.reservation_status()));
        }
        Some(status) if order.course_started != (status == ReservationStatus::CourseStarted) => {
            findings.violation("order and reservation disagree on whether the course has started");
        }
        Some(_) => {}
    }
}

fn canceled(rows: &Rows, findings: &mut Findings) {
    match rows.payment_status() {
        Some(PaymentStatus::Canceled) => findings.add(REFUNDED, 1),
        Some(status) => findings.violation(format_args!("the order is cancelled, its payment is {status:?}")),
        None if rows.reservation.is_some() => findings.violation("it was never paid, but had a reservation"),
        None => {}
    }
    if rows.reservation_status().is_some_and(|status| status != ReservationStatus::Canceled) {
        findings.violation(format_args!("the order is cancelled, its reservation is {:?}", rows.reservation_status()));
    }
}

fn same_order(order: &Order, rows: &Rows, findings: &mut Findings) {
    if rows.payment.as_ref().is_some_and(|paid| paid.enrollment != order.enrollment) {
        findings.violation("the payment is for another order");
    }
    if rows.reservation.as_ref().is_some_and(|seat| seat.enrollment != order.enrollment) {
        findings.violation("the reservation is for another order");
    }
}

fn informed_once(order: &Order, rows: &Rows, findings: &mut Findings) {
    let sent: BTreeSet<_> = rows.messages.iter().copied().collect();
    if sent.len() != rows.messages.len() {
        findings.violation(format_args!("a message is sent twice: {:?}", rows.messages));
    }
    let was_delayed = sent.contains(&Kind::PaymentDelayed);
    // Only the messages show whether the payment was delayed, and whether it was taken before a cancellation.
    let was_paid = order.status == OrderStatus::Ordered || (!was_delayed || sent.contains(&Kind::PaymentSettled));
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
        if sent.contains(&kind) != is_due {
            let whether = if is_due { "is missing" } else { "must not be sent" };
            findings.violation(format_args!("the message {kind:?} {whether}"));
        }
    }
    // A cancellation may arrive after earlier messages were sent.
    let last = match seat {
        Some(ReservationStatus::Confirmed) => Some(Kind::ReservationConfirmed),
        Some(ReservationStatus::CourseStarted) => Some(Kind::CourseStarted),
        _ => None,
    };
    if last.is_some_and(|last| !sent.contains(&last)) {
        findings.violation(format_args!("the message that the reservation is {seat:?} is missing"));
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
