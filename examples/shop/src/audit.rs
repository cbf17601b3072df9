//! What must be true of every order.

use crate::order::{Order, Stage};
use crate::payment::Payment;
use crate::receipt::Receipt;
use jumun::{Case, Findings};

/// There is money if and only if there is an order that is not cancelled, and the receipt agrees.
pub fn audit(case: &Case<'_>) -> Findings {
    let mut findings = Findings::default();
    let order = case.row::<Order>();
    let payment = case.row::<Payment>();
    let receipt = case.shown::<Receipt>();

    let standing = order.as_ref().filter(|order| order.stage == Stage::Ordered);
    let held = payment.as_ref().filter(|payment| !payment.returned);
    let (due, held) = (
        standing.map(|order| order.price),
        held.map(|payment| payment.amount),
    );
    if due != held {
        findings.violation(format_args!("due is {due:?}, held is {held:?}"));
    }
    let stage = receipt.as_ref().and_then(|receipt| receipt.stage);
    if stage != order.as_ref().map(|order| order.stage) {
        findings.violation(format_args!("the receipt shows {stage:?}"));
    }
    if let Some(payment) = payment {
        findings.add("taken", payment.amount.get());
        let part = if payment.returned { "returned" } else { "held" };
        findings.add(part, payment.amount.get());
    }
    findings
}
