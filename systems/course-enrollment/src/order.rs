//! An order: a customer applies for a course. It is placed once it is paid or, if the operator allows that, with its payment
//! delayed. It can be cancelled until its course has started.

use crate::events::{Event, EventKind as On};
use crate::pay::{PAY, Pay, PaymentStatus};
use crate::values::{CardNumber, EduNo, Enrollment, Reason};
use jumun::prelude::*;

jumun::documents! {
    /// What a customer applied for, and its status.
    pub struct Order {
        /// The id, which payment and reservation share.
        pub id: Id<Order>,
        /// Who enrolls for which course.
        #[serde(flatten)]
        pub enrollment: Enrollment,
        /// The card.
        pub card_no: Option<CardNumber>,
        /// The guest, as the client sends it.
        pub guest: Option<Reference>,
        /// Its status.
        pub status: OrderStatus,
        /// Whether its course has started, so that it cannot be cancelled.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub course_started: bool,
        /// Why it was cancelled, if nobody cancelled it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<Reason>,
    }

    /// What the customer sends.
    pub struct Application {
        /// The client's own reference.
        pub order_id: Option<Reference>,
        /// The customer.
        pub customer_id: Option<Reference>,
        /// The course.
        #[serde(alias = "EduNo")]
        pub edu_no: EduNo,
        /// The card.
        pub card_no: Option<CardNumber>,
        /// The guest, as the client sends it.
        pub guest: Option<Reference>,
    }

    /// A change of an order.
    pub struct Change {
        /// The status that it is to have.
        pub status: OrderStatus,
    }
}

/// The status of an order. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum OrderStatus {
    /// Placed; the payment is delayed.
    #[serde(rename = "Payment Delayed")]
    PaymentDelayed,
    /// Placed and paid.
    Ordered,
    /// Cancelled.
    #[serde(rename = "Order Canceled")]
    Canceled,
}

/// The commands of an order.
#[derive(Debug, Clone)]
pub enum Command {
    /// The customer applies.
    Place(Application),
    /// The delayed payment has a result.
    Settle,
    /// The customer changes it. The only possible change is to cancel it.
    Change(Change),
    /// The customer cancels it.
    Cancel,
    /// The course's manager has rejected the reservation, or not confirmed it in time.
    TurnDown(Option<Reason>),
}

impl Order {
    fn new(id: Id<Order>, application: Application) -> Order {
        let Application { order_id, customer_id, edu_no, card_no, guest } = application;
        let order_id = order_id.unwrap_or(Reference::Number(id.get()));
        let (enrollment, status) = (Enrollment { order_id, customer_id, edu_no }, OrderStatus::PaymentDelayed);
        Order { id, enrollment, card_no, guest, status, course_started: false, reason: None }
    }

    fn at(&self, status: OrderStatus) -> Order {
        Order { status, ..self.clone() }
    }

    /// The question of its payment: the same in each attempt.
    fn pay(&self) -> Pay {
        let Order { id, enrollment: Enrollment { order_id, customer_id, edu_no }, card_no, .. } = self.clone();
        Pay { id, order_id, customer_id, card_no, edu_no, status: PaymentStatus::Requested }
    }

    fn cancel(&self) -> Decision<Event> {
        match self.status {
            OrderStatus::Canceled => conflict("this order is cancelled already"),
            _ if self.course_started => conflict("its course has started"),
            _ => emit(Event::OrderCanceled(self.at(OrderStatus::Canceled))),
        }
    }
}

impl Aggregate for Order {
    type Terms = (Command, Event);

    const HEARS: &'static [On] =
        &[On::Ordered, On::PaymentSettled, On::OrderCanceled, On::CourseStarted, On::ReservationCanceled];

    fn is_ending(command: &Command) -> bool {
        matches!(command, Command::Cancel | Command::Change(Change { status: OrderStatus::Canceled }))
    }

    fn waits_for(&self, ask: AskTarget) -> bool {
        ask == PAY && self.status == OrderStatus::PaymentDelayed
    }

    fn react(event: &Event) -> Option<Command> {
        match event {
            Event::ReservationCanceled(seat) => Some(Command::TurnDown(seat.reason)),
            _ => None,
        }
    }

    fn decide(order: Option<&Order>, command: Command, ctx: &Context<'_, Order>) -> Decision<Event> {
        use OrderStatus::{Canceled, Ordered, PaymentDelayed};
        match (command, order) {
            (Command::Place(application), None) => {
                let order = Order::new(ctx.id, application);
                let paid = ctx.ask_or_later(&PAY, order.pay())?;
                emit(Event::Ordered(order.at(if paid.is_some() { Ordered } else { PaymentDelayed })))
            }
            (Command::Place(_), Some(_)) => conflict("this order was placed already"),
            (Command::Settle, Some(order)) if order.status == PaymentDelayed => {
                match ctx.try_ask(&PAY, order.pay())? {
                    Answer::Accepted(_) => emit(Event::PaymentSettled(order.at(Ordered))),
                    Answer::Refused(_) | Answer::Unavailable => emit(Event::OrderCanceled(order.at(Canceled))),
                }
            }
            (Command::Settle, Some(_)) => nothing(), // it was cancelled in the meantime
            (Command::Change(change), Some(order)) if change.status == order.status => nothing(),
            (Command::Change(Change { status: Canceled }) | Command::Cancel, Some(order)) => order.cancel(),
            (Command::Change(_), Some(_)) => {
                conflict("status words follow what happens; ask for `Order Canceled` only")
            }
            (Command::TurnDown(reason), Some(order)) if order.status != Canceled => {
                emit(Event::OrderCanceled(Order { reason, ..order.at(Canceled) }))
            }
            (Command::TurnDown(_), Some(_)) => nothing(), // the reservation was cancelled because the order was
            (_, None) => not_found(),
        }
    }

    fn evolve(known: Option<Order>, event: &Event) -> Option<Order> {
        match event {
            Event::Ordered(order) | Event::PaymentSettled(order) | Event::OrderCanceled(order) => Some(match known {
                Some(known) => Order { reason: order.reason, ..known.at(known.status.max(order.status)) },
                None => order.clone(),
            }),
            Event::CourseStarted(_) => known.map(|order| Order { course_started: true, ..order }),
            _ => known,
        }
    }
}
