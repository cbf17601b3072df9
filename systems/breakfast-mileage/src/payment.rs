//! A payment: for one order, which asks for it, or made directly. It is taken once its mileage is earned, and given back once.

use crate::events::{Event, EventKind as On};
use crate::mileage::{EARN, Earn};
use crate::order::Order;
use jumun::prelude::*;

/// Pay for an order before it is placed.
pub const PAY: Ask<PayForOrder, Pay> = Ask::post("payment", "/pays");

/// The amount to pay, and the order that it is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PayForOrder {
    /// The order.
    pub order_id: Id<Order>,
    /// Its amount.
    pub amount: Won,
}

impl PayForOrder {
    /// The payment has the order's id.
    pub fn about(&self) -> Id<Pay> {
        self.order_id.cast()
    }
}

/// What a customer sends who pays directly. The names of the first implementation are accepted, too.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DirectPayment {
    /// The amount.
    #[serde(alias = "amout", default = "nothing_to_pay")]
    pub amount: Won,
    /// The customer's own number: a reference that joins nothing.
    #[serde(alias = "orderid")]
    pub order_id: Option<Id<Order>>,
}

const fn nothing_to_pay() -> Won {
    Won::new(0).expect("within bounds")
}

/// A payment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
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

impl Answers<PayForOrder> for Pay {
    fn answers(&self, asked: &PayForOrder) -> bool {
        (self.id, self.amount, self.status) == (asked.about(), asked.amount, PayStatus::Paid)
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
    /// Give the money back: the order was not placed.
    Void,
    /// Give the money back: the order was cancelled.
    Refund,
}

/// What an operator can set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// An amount above this is declined.
    pub decline_over: Won,
}

impl Default for Settings {
    fn default() -> Self {
        Self { decline_over: const { Won::new(1_000_000_000).expect("within bounds") } }
    }
}

impl Aggregate for Pay {
    type Terms = (Command, Event, Settings);

    const HEARS: &'static [On] = &[On::Paid, On::PayCancelled, On::OrderCancelled];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::OrderCancelled(_)).then_some(Command::Refund)
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
            (Command::Cancel | Command::Void | Command::Refund, Some(pay)) if pay.status == PayStatus::Paid => {
                emit(Event::PayCancelled(Pay { status: PayStatus::Cancelled, ..pay.clone() }))
            }
            (Command::Cancel, Some(_)) => conflict("this payment is cancelled already"),
            (Command::Cancel, None) => not_found(),
            (Command::Void | Command::Refund, _) => nothing(),
        }
    }
}
