//! A payment for one order: taken when the order asks for it; given back once if the order is cancelled or was never placed.

use crate::events::{Event, EventKind as On};
use crate::order::Order;
use jumun::prelude::*;

/// Pay for an order before it is placed.
pub const PAY: Ask<Pay, Payment> = Ask::post("payment", "/payments", |pay| pay.order_id.cast());

jumun::documents! {
    /// The amount to pay, and the order that it is for.
    #[derive(Copy)]
    pub struct Pay {
        /// The order.
        pub order_id: Id<Order>,
        /// Its price.
        pub price: Won,
    }

    /// The payment of one order.
    pub struct Payment {
        /// The order's id.
        pub id: Id<Payment>,
        /// The order.
        pub order_id: Id<Order>,
        /// The amount.
        pub price: Won,
        /// Its status.
        pub status: PaymentStatus,
    }
}

impl Pay {
    /// The payment has the order's id.
    pub fn about(&self) -> Id<Payment> {
        self.order_id.cast()
    }

    /// The payment that answers it.
    fn paid(self) -> Payment {
        Payment { id: self.order_id.cast(), order_id: self.order_id, price: self.price, status: PaymentStatus::Paid }
    }
}

impl Answers<Pay> for Payment {
    fn answers(&self, pay: &Pay) -> bool {
        *self == pay.paid()
    }
}

/// The status of a payment. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum PaymentStatus {
    /// Taken.
    Paid,
    /// Refunded: the order was cancelled.
    Canceled,
    /// Given back: the order was never placed.
    #[serde(rename = "VOIDED")]
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

impl Aggregate for Payment {
    type Terms = (Command, Event, DeclineOver);

    const HEARS: &'static [On] = &[On::Paid, On::PaymentCanceled, On::OrderCanceled];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::OrderCanceled(_)).then_some(Command::GiveBack(PaymentStatus::Canceled))
    }

    fn decide(payment: Option<&Payment>, command: Command, ctx: &Context<'_, Payment>) -> Decision<Event> {
        match (command, payment) {
            (Command::Pay(pay), None) if pay.price > ctx.settings.decline_over => {
                declined("the price is over the limit")
            }
            (Command::Pay(pay), None) => emit(Event::Paid(pay.paid())),
            (Command::Pay(_), Some(_)) => conflict("this order was paid for already"),
            (Command::GiveBack(status), Some(payment)) if payment.status == PaymentStatus::Paid => {
                emit(Event::PaymentCanceled(Payment { status, ..payment.clone() }))
            }
            (Command::GiveBack(_), _) => nothing(), // it was given back before, or never taken
        }
    }
}
