//! The payment: it takes the money of an order when it is asked, and returns it when the order is
//! cancelled.

use crate::events::{Event, EventKind as On};
use crate::order::Order;
use jumun::prelude::*;

/// The question of an order to the payment service.
pub const PAY: Ask<Pay, Payment> = Ask::post("payment", "/payments", |pay| pay.order.cast());

jumun::documents! {
    /// Take this amount for this order.
    pub struct Pay {
        pub order: Id<Order>,
        pub amount: Won,
    }

    /// The money of one order.
    pub struct Payment {
        pub id: Id<Payment>,
        pub amount: Won,
        pub returned: bool,
    }
}

impl Answers<Pay> for Payment {
    fn answers(&self, pay: &Pay) -> bool {
        self.id == pay.order.cast() && self.amount == pay.amount && !self.returned
    }
}

/// What can be wanted of a payment.
#[derive(Debug, Clone)]
pub enum Command {
    Take(Pay),
    Return,
}

impl Aggregate for Payment {
    type Terms = (Command, Event);

    const HEARS: &'static [On] = &[On::Paid, On::PaymentReturned, On::OrderCanceled];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::OrderCanceled(_)).then_some(Command::Return)
    }

    fn decide(
        payment: Option<&Payment>,
        command: Command,
        ctx: &Context<'_, Payment>,
    ) -> Decision<Event> {
        match (command, payment) {
            (Command::Take(Pay { amount, .. }), None) => emit(Event::Paid(Payment {
                id: ctx.id,
                amount,
                returned: false,
            })),
            (Command::Take(_), Some(_)) => conflict("this order is paid already"),
            (Command::Return, Some(payment)) if !payment.returned => {
                emit(Event::PaymentReturned(Payment {
                    returned: true,
                    ..payment.clone()
                }))
            }
            (Command::Return, _) => nothing(),
        }
    }
}
