//! A payment for one order: taken when the order asks for it; given back once if the order is cancelled or was never placed.

use crate::events::{Event, EventKind as On};
use crate::order::Order;
use jumun::prelude::*;

/// Pay for an order before it is placed.
pub const PAY: Ask<Pay, Payinfo> = Ask::post("payment", "/payinfos", |pay| pay.order_id.cast());

jumun::documents! {
    /// The amount to pay, and the order that it is for.
    pub struct Pay {
        /// The order.
        pub order_id: Id<Order>,
        /// Its price.
        pub price: Won,
    }

    /// The payment of one order.
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
    /// Give it back. The payment then has this status.
    GiveBack(PaymentStatus),
}

impl Aggregate for Payinfo {
    type Terms = (Command, Event, DeclineOver);

    const HEARS: &'static [On] = &[On::PaymentApproved, On::PaymentCanceled, On::OrderCanceled];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::OrderCanceled(_)).then_some(Command::GiveBack(PaymentStatus::OrderCanceled))
    }

    fn decide(payment: Option<&Payinfo>, command: Command, ctx: &Context<'_, Payinfo>) -> Decision<Event> {
        match (command, payment) {
            (Command::Pay(pay), None) if pay.price > ctx.settings.decline_over => {
                declined("the price is over the limit")
            }
            (Command::Pay(Pay { order_id, price }), None) => {
                emit(Event::PaymentApproved(Payinfo { id: ctx.id, order_id, price, status: PaymentStatus::Approved }))
            }
            (Command::Pay(_), Some(_)) => conflict("this order was paid for already"),
            (Command::GiveBack(status), Some(payment)) if payment.status == PaymentStatus::Approved => {
                emit(Event::PaymentCanceled(Payinfo { status, ..payment.clone() }))
            }
            (Command::GiveBack(_), _) => nothing(), // it was given back before, or never taken
        }
    }
}
