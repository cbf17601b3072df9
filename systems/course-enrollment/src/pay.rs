//! A payment for one order: taken when the order asks for it, given back once when the order does not come to stand or
//! is cancelled.

use crate::{
    events::{Event, EventKind as On},
    order::Order,
    values::{CardNumber, EduNo, Reference},
};
use jumun::{Aggregate, Answers, Ask, Context, Decision, Id, conflict, declined, emit, nothing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Pay for an order.
pub const PAY: Ask<Pay, Payment> = Ask::post("pay", "/pays");

/// What is to be paid, and by whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pay {
    /// The order.
    pub id: Id<Order>,
    /// Its client's reference.
    pub order_id: Reference,
    /// Who pays.
    pub customer_id: Option<Reference>,
    /// How.
    pub card_no: Option<CardNumber>,
    /// For which course.
    pub edu_no: EduNo,
    /// `Pay Request`
    pub status: PaymentStatus,
}

impl Pay {
    /// The payment of an order carries the order's id.
    pub fn about(&self) -> Id<Payment> {
        self.id.cast()
    }

    /// What comes of it.
    fn paid(self) -> Payment {
        let Pay { id, order_id, customer_id, card_no, edu_no, .. } = self;
        Payment { id: id.cast(), order_id, customer_id, edu_no, card_no, status: PaymentStatus::Paid, voided: false }
    }
}

/// The payment of one order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    /// The order's id.
    pub id: Id<Payment>,
    /// The order's reference.
    pub order_id: Reference,
    /// Who paid.
    pub customer_id: Option<Reference>,
    /// For which course.
    pub edu_no: EduNo,
    /// How.
    pub card_no: Option<CardNumber>,
    /// Whether the money still is taken.
    pub status: PaymentStatus,
    /// Whether it was given back because its order did not come to stand.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub voided: bool,
}

impl Answers<Pay> for Payment {
    fn answers(&self, pay: &Pay) -> bool {
        *self == pay.clone().paid()
    }
}

/// What became of the money. A later word never gives way to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum PaymentStatus {
    /// Asked for.
    #[serde(rename = "Pay Request")]
    Requested,
    /// Taken.
    Paid,
    /// Given back.
    #[serde(rename = "Payment Canceled")]
    Canceled,
}

/// What can be asked of a payment.
#[derive(Debug, Clone)]
pub enum Command {
    /// Take the money.
    Pay(Pay),
    /// Give it back: its order does not stand.
    Void,
    /// Give it back: its order was cancelled.
    Refund,
}

/// What an operator may set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Cards whose number ends so are declined. For drills.
    pub decline_card: Option<CardNumber>,
}

impl Payment {
    fn given_back(&self, voided: bool) -> Payment {
        Payment { status: PaymentStatus::Canceled, voided, ..self.clone() }
    }
}

impl Aggregate for Payment {
    type Command = Command;
    type Event = Event;
    type Settings = Settings;

    const HEARS: &'static [On] = &[On::Paid, On::PaymentCanceled, On::OrderCanceled];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::OrderCanceled(_)).then_some(Command::Refund)
    }

    fn decide(payment: Option<&Payment>, command: Command, ctx: &Context<'_, Payment>) -> Decision<Event> {
        match (command, payment) {
            (Command::Pay(pay), None) if pay.card_no.is_some() && pay.card_no == ctx.settings.decline_card => {
                declined("the card is declined")
            }
            (Command::Pay(pay), None) => emit(Event::Paid(pay.paid())),
            (Command::Pay(_), Some(_)) => conflict("this order was paid for already"),
            (Command::Void, Some(payment)) if payment.status == PaymentStatus::Paid => {
                emit(Event::PaymentCanceled(payment.given_back(true)))
            }
            (Command::Refund, Some(payment)) if payment.status == PaymentStatus::Paid => {
                emit(Event::PaymentCanceled(payment.given_back(false)))
            }
            (Command::Void | Command::Refund, _) => nothing(),
        }
    }

    fn evolve(known: Option<Payment>, event: &Event) -> Option<Payment> {
        match event {
            Event::Paid(payment) | Event::PaymentCanceled(payment) => {
                let status = known.map_or(payment.status, |known| known.status.max(payment.status));
                Some(Payment { status, ..payment.clone() })
            }
            _ => known,
        }
    }
}
