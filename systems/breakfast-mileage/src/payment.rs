//! A payment: for one order, which asks for it, or made directly. It is taken once its mileage is earned, and given back once.

use crate::events::{Event, EventKind as On};
use crate::mileage::{EARN, Earn};
use crate::order::Order;
use jumun::prelude::*;

/// Pay for an order before it is placed.
pub const PAY: Ask<PayForOrder, Pay> = Ask::post("payment", "/pays", |pay| pay.order_id.cast());

jumun::documents! {
    /// The amount to pay, and the order that it is for.
    pub struct PayForOrder {
        /// The order.
        pub order_id: Id<Order>,
        /// Its amount.
        pub amount: Won,
    }

    /// What a customer sends who pays directly. The names of the first implementation are accepted, too.
    pub struct DirectPayment {
        /// The amount.
        #[serde(alias = "amout", default = "nothing_to_pay")]
        pub amount: Won,
        /// The customer's own number: a reference that joins nothing.
        #[serde(alias = "orderid")]
        pub order_id: Option<Id<Order>>,
    }

    /// A payment.
    pub struct Pay {
        /// The order's id; an id that no order has if it was made directly.
        pub id: Id<Pay>,
        /// The amount.
        pub amount: Won,
        /// Its status.
        pub status: PayStatus,
        /// The order; the customer's own number, if any, if it was made directly.
        pub order_id: Option<Id<Order>>,
        /// Whether it was made directly, and not for an order.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub direct: bool,
    }
}

const fn nothing_to_pay() -> Won {
    Won::new(0).expect("within bounds")
}

impl Answers<PayForOrder> for Pay {
    fn answers(&self, asked: &PayForOrder) -> bool {
        (self.id, self.amount, self.status) == (asked.order_id.cast(), asked.amount, PayStatus::Paid)
    }
}

/// The status of a payment. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum PayStatus {
    /// Taken.
    Paid,
    /// Given back.
    Cancelled,
}

/// The commands of a payment.
#[derive(Debug, Clone)]
pub enum Command {
    /// Take the money for an order.
    PayForOrder(PayForOrder),
    /// Take the money.
    PayDirectly(DirectPayment),
    /// The customer cancels it.
    Cancel,
    /// Give the money back: the order was cancelled, or never placed.
    GiveBack,
}

impl Aggregate for Pay {
    type Terms = (Command, Event, DeclineOver);

    const HEARS: &'static [On] = &[On::Paid, On::PayCancelled, On::OrderCancelled];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::OrderCancelled(_)).then_some(Command::GiveBack)
    }

    fn decide(pay: Option<&Pay>, command: Command, ctx: &Context<'_, Pay>) -> Decision<Event> {
        let take = |amount, order_id, direct| {
            if amount > ctx.settings.decline_over {
                return declined("the amount is over the limit");
            }
            ctx.ask(&EARN, Earn { pay_id: ctx.id, order_id, cnt: amount }).map_err(|stop| match stop {
                // A process that died over this payment has asked before, and that is being undone: not now, but not never.
                Stop::Reject(Rejection::Conflict(_)) => Rejection::Unavailable(EARN.service()).into(),
                stop => stop,
            })?;
            emit(Event::Paid(Pay { id: ctx.id, amount, status: PayStatus::Paid, order_id, direct }))
        };
        match (command, pay) {
            (Command::PayForOrder(PayForOrder { order_id, amount }), None) => take(amount, Some(order_id), false),
            (Command::PayDirectly(DirectPayment { amount, order_id }), None) => take(amount, order_id, true),
            (Command::PayForOrder(_) | Command::PayDirectly(_), Some(_)) => conflict("this was paid already"),
            (Command::Cancel | Command::GiveBack, Some(pay)) if pay.status == PayStatus::Paid => {
                emit(Event::PayCancelled(Pay { status: PayStatus::Cancelled, ..pay.clone() }))
            }
            (Command::Cancel, Some(_)) => conflict("this payment is cancelled already"),
            (Command::Cancel, None) => not_found(),
            (Command::GiveBack, _) => nothing(),
        }
    }
}
