//! A payment for one order: taken when the order asks for it; given back once if the order is cancelled or was never placed.

use crate::events::{Event, EventKind as On};
use crate::order::Order;
use jumun::prelude::*;

/// Pay for an order before it is placed.
pub const PAY: Ask<Pay, Payinfo> = Ask::post("payment", "/payinfos");

/// The amount to pay, and the order that it is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pay {
    /// The order.
    pub order_id: Id<Order>,
    /// Its price.
    pub price: Won,
}

impl Pay {
    /// The payment has the order's id.
    pub fn about(&self) -> Id<Payinfo> {
        self.order_id.cast()
    }
}

/// The payment of one order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Payinfo {
    /// The order's id.
    pub id: Id<Payinfo>,
    /// The order.
    pub order_id: Id<Order>,
    /// The amount.
    pub price: Won,
    /// Its status.
    pub status: PaymentStatus,
}

impl Answers<Pay> for Payinfo {
    fn answers(&self, pay: &Pay) -> bool {
        (self.order_id, self.price, self.status) == (pay.order_id, pay.price, PaymentStatus::Approved)
    }
}

/// The status of a payment. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PaymentStatus {
    /// Taken.
    Approved,
    /// Refunded: the order was cancelled.
    OrderCanceled,
    /// Voided: the order was never placed.
    Voided,
}

/// The commands of a payment.
#[derive(Debug, Clone)]
pub enum Command {
    /// Take the money.
    Pay(Pay),
    /// Give it back: the order was not placed.
    Void,
    /// Give it back: the order was cancelled.
    Refund,
}

impl Aggregate for Payinfo {
    type Terms = (Command, Event, DeclineOver);

    const HEARS: &'static [On] = &[On::PaymentApproved, On::PaymentCanceled, On::OrderCanceled];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::OrderCanceled(_)).then_some(Command::Refund)
    }

    fn decide(payment: Option<&Payinfo>, command: Command, ctx: &Context<'_, Payinfo>) -> Decision<Event> {
        let give_back = |payment: &Payinfo, status| emit(Event::PaymentCanceled(Payinfo { status, ..payment.clone() }));
        match (command, payment) {
            (Command::Pay(pay), None) if pay.price > ctx.settings.decline_over => {
                declined("the price is over the limit")
            }
            (Command::Pay(Pay { order_id, price }), None) => {
                emit(Event::PaymentApproved(Payinfo { id: ctx.id, order_id, price, status: PaymentStatus::Approved }))
            }
            (Command::Pay(_), Some(_)) => conflict("this order was paid for already"),
            (Command::Void, Some(payment)) if payment.status == PaymentStatus::Approved => {
                give_back(payment, PaymentStatus::Voided)
            }
            (Command::Refund, Some(payment)) if payment.status == PaymentStatus::Approved => {
                give_back(payment, PaymentStatus::OrderCanceled)
            }
            (Command::Void | Command::Refund, _) => nothing(),
        }
    }
}
