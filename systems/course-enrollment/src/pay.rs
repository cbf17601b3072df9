//! A payment for one order: taken when the order asks for it; given back once if the order is cancelled or was never placed.

use crate::events::{Event, EventKind as On};
use crate::order::Order;
use crate::values::{CardNumber, EduNo, Enrollment};
use jumun::prelude::*;

/// Pay for an order.
pub const PAY: Ask<Pay, Payment> = Ask::post("pay", "/pays", |pay| pay.id.cast());

jumun::documents! {
    /// The order to pay for, and the customer who pays.
    pub struct Pay {
        /// The order.
        pub id: Id<Order>,
        /// The client's reference.
        pub order_id: Reference,
        /// The customer.
        pub customer_id: Option<Reference>,
        /// The card.
        pub card_no: Option<CardNumber>,
        /// The course.
        pub edu_no: EduNo,
        /// `Pay Request`
        pub status: PaymentStatus,
    }

    /// The payment of one order.
    pub struct Payment {
        /// The order's id.
        pub id: Id<Payment>,
        /// Who enrolls for which course.
        #[serde(flatten)]
        pub enrollment: Enrollment,
        /// The card.
        pub card_no: Option<CardNumber>,
        /// Its status.
        pub status: PaymentStatus,
        /// Whether it was given back because the order was never placed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub voided: bool,
    }
}

impl Pay {
    /// The payment has the order's id.
    pub fn about(&self) -> Id<Payment> {
        self.id.cast()
    }

    /// The payment that answers it.
    fn paid(self) -> Payment {
        let Pay { id, order_id, customer_id, card_no, edu_no, .. } = self;
        let enrollment = Enrollment { order_id, customer_id, edu_no };
        Payment { id: id.cast(), enrollment, card_no, status: PaymentStatus::Paid, voided: false }
    }
}

impl Answers<Pay> for Payment {
    fn answers(&self, pay: &Pay) -> bool {
        *self == pay.clone().paid()
    }
}

/// The status of a payment. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum PaymentStatus {
    /// Requested.
    #[serde(rename = "Pay Request")]
    Requested,
    /// Taken.
    Paid,
    /// Given back.
    #[serde(rename = "Payment Canceled")]
    Canceled,
}

/// The commands of a payment.
#[derive(Debug, Clone)]
pub enum Command {
    /// Take the money.
    Pay(Pay),
    /// Give it back: the order was cancelled, or never placed.
    GiveBack {
        /// Whether it was never placed.
        voided: bool,
    },
}

/// What an operator can set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Declines cards whose number ends in these digits. For drills.
    pub decline_card: Option<CardNumber>,
}

impl Aggregate for Payment {
    type Terms = (Command, Event, Settings);

    const HEARS: &'static [On] = &[On::Paid, On::PaymentCanceled, On::OrderCanceled];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::OrderCanceled(_)).then_some(Command::GiveBack { voided: false })
    }

    fn decide(payment: Option<&Payment>, command: Command, ctx: &Context<'_, Payment>) -> Decision<Event> {
        match (command, payment) {
            (Command::Pay(pay), None) if pay.card_no.is_some() && pay.card_no == ctx.settings.decline_card => {
                declined("the card is declined")
            }
            (Command::Pay(pay), None) => emit(Event::Paid(pay.paid())),
            (Command::Pay(_), Some(_)) => conflict("this order was paid for already"),
            (Command::GiveBack { voided }, Some(payment)) if payment.status == PaymentStatus::Paid => {
                emit(Event::PaymentCanceled(Payment { status: PaymentStatus::Canceled, voided, ..payment.clone() }))
            }
            (Command::GiveBack { .. }, _) => nothing(), // it was given back before, or never taken
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
