//! What must be true of every order and of every direct payment.

use crate::mileage::{Mileage, MileageStatus, MileageView};
use crate::order::{Order, OrderStatus};
use crate::payment::{Pay, PayStatus};
use jumun::payments::{MONEY_IN, REFUNDED, STANDING, VOIDED};
use jumun::{Case, Findings, Won};

/// An order that is not cancelled has a payment of the same amount, a cancelled one a cancelled payment. Without an order
/// only direct payments stand. Mileage stands exactly if its payment does, with amount × rate points; the view agrees.
pub fn audit(case: &Case<'_>) -> Findings {
    let mut findings = Findings::default();
    let pay = case.row::<Pay>();
    if let Some(pay) = &pay {
        findings.add(MONEY_IN, pay.amount.get());
    }
    match case.shown::<Order>() {
        Some(order) => ordered(&order, pay.as_ref(), &mut findings),
        None => without_order(pay.as_ref(), &mut findings),
    }
    earned(case.row::<Mileage>().as_ref(), pay.as_ref(), &mut findings);
    seen(case.row::<MileageView>().as_ref(), case.row::<Mileage>().as_ref(), &mut findings);
    findings
}

fn ordered(order: &Order, pay: Option<&Pay>, findings: &mut Findings) {
    let amount = order.breakfast.as_ref().map(|breakfast| breakfast.amount);
    let (sum, due) = match order.status {
        OrderStatus::Ordered => (STANDING, PayStatus::Paid),
        OrderStatus::Cancelled => (REFUNDED, PayStatus::Cancelled),
    };
    findings.add(sum, amount.map_or(0, Won::get));
    match pay {
        Some(pay) if pay.direct => findings.violation("the payment of the order is a direct one"),
        Some(pay) if pay.status == due => {}
        pay => {
            let status = pay.map(|pay| pay.status);
            findings.violation(format_args!("the order is {:?}, its payment {status:?}", order.status));
        }
    }
    if pay.is_some_and(|pay| Some(pay.amount) != amount) {
        findings.violation("the payment has another amount than the order");
    }
}

fn without_order(pay: Option<&Pay>, findings: &mut Findings) {
    let Some(pay) = pay else { return };
    match (pay.direct, pay.status) {
        (true, PayStatus::Paid) => findings.add(STANDING, pay.amount.get()),
        (true, PayStatus::Cancelled) => findings.add(REFUNDED, pay.amount.get()),
        (false, PayStatus::Cancelled) => findings.add(VOIDED, pay.amount.get()),
        (false, PayStatus::Paid) => findings.violation("there is no order, its payment is taken"),
    }
}

fn earned(mileage: Option<&Mileage>, pay: Option<&Pay>, findings: &mut Findings) {
    let is_earned = mileage.is_some_and(|mileage| mileage.status == MileageStatus::Earned);
    let is_paid = pay.is_some_and(|pay| pay.status == PayStatus::Paid);
    if is_earned != is_paid {
        let (mileage, pay) = (mileage.map(|mileage| mileage.status), pay.map(|pay| pay.status));
        findings.violation(format_args!("the payment is {pay:?}, its mileage {mileage:?}"));
    }
    if let (Some(mileage), Some(pay)) = (mileage, pay)
        && mileage.cnt != pay.amount.get() * i64::from(mileage.rate)
    {
        findings.violation(format_args!("{} won have earned {} points", pay.amount, mileage.cnt));
    }
}

fn seen(view: Option<&MileageView>, mileage: Option<&Mileage>, findings: &mut Findings) {
    let due = mileage.map(|mileage| match mileage.status {
        MileageStatus::Earned => (mileage.status, mileage.cnt),
        MileageStatus::Removed => (mileage.status, 0),
    });
    let shown = view.map(|view| (view.status, view.cnt));
    if shown != due {
        findings.violation(format_args!("the view shows {shown:?} instead of {due:?}"));
    }
}
