//! An order: a customer applies for a course. It stands once it is paid, or, where the operator lets payments come later,
//! says that its payment is delayed. It can be cancelled until its course has started.

use crate::{
    events::{Event, EventKind as On},
    pay::{PAY, Pay, PaymentStatus},
    values::{CardNumber, EduNo, Reference},
};
use jumun::{Aggregate, Answer, AskTarget, Context, Decision, Id, NoSettings, conflict, emit, not_found, nothing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a customer applied for, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The correlation key of everything that follows.
    pub id: Id<Order>,
    /// The client's own reference, which need not be unique; the id where there is none.
    pub order_id: Reference,
    /// Who applies.
    pub customer_id: Option<Reference>,
    /// For which course.
    pub edu_no: EduNo,
    /// How it is paid.
    pub card_no: Option<CardNumber>,
    /// The guest, as the client puts it.
    pub guest: Option<Reference>,
    /// What became of it.
    pub status: OrderStatus,
    /// Whether its course has started: then it cannot be cancelled any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub course_started: bool,
}

/// What the customer sends.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Application {
    /// The client's own reference.
    pub order_id: Option<Reference>,
    /// Who applies.
    pub customer_id: Option<Reference>,
    /// For which course.
    #[serde(alias = "EduNo")]
    pub edu_no: EduNo,
    /// How it is paid.
    pub card_no: Option<CardNumber>,
    /// The guest, as the client puts it.
    pub guest: Option<Reference>,
}

/// What is to be different about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Change {
    /// What it is to become.
    pub status: OrderStatus,
}

/// What became of an order. A later word never gives way to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum OrderStatus {
    /// It stands, and its payment is still to come.
    #[serde(rename = "Payment Delayed")]
    PaymentDelayed,
    /// It stands and is paid.
    Ordered,
    /// It is given up.
    #[serde(rename = "Order Canceled")]
    Canceled,
}

/// What can be asked of an order.
#[derive(Debug, Clone)]
pub enum Command {
    /// The customer applies.
    Place(Application),
    /// What became of the delayed payment is known.
    Settle,
    /// The customer changes it. All that can be changed is whether it stands.
    Change(Change),
    /// The customer gives it up.
    Cancel,
    /// The course's manager has turned it down.
    TurnDown,
}

impl Order {
    fn new(id: Id<Order>, application: Application) -> Order {
        let Application { order_id, customer_id, edu_no, card_no, guest } = application;
        let (order_id, status) = (order_id.unwrap_or(Reference::Number(id.get())), OrderStatus::PaymentDelayed);
        Order { id, order_id, customer_id, edu_no, card_no, guest, status, course_started: false }
    }

    fn at(&self, status: OrderStatus) -> Order {
        Order { status, ..self.clone() }
    }

    /// The question to pay for it: the same whenever it is asked.
    fn pay(&self) -> Pay {
        let Order { id, order_id, customer_id, edu_no, card_no, .. } = self.clone();
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
    type Command = Command;
    type Event = Event;
    type Settings = NoSettings;

    const HEARS: &'static [On] =
        &[On::Ordered, On::PaymentSettled, On::OrderCanceled, On::CourseStarted, On::ReservationCanceled];

    fn is_ending(command: &Command) -> bool {
        matches!(command, Command::Cancel | Command::Change(Change { status: OrderStatus::Canceled }))
    }

    fn waits_for(&self, ask: AskTarget) -> bool {
        ask == PAY && self.status == OrderStatus::PaymentDelayed
    }

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::ReservationCanceled(_)).then_some(Command::TurnDown)
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
            (Command::Settle, Some(_)) => nothing(), // it was cancelled meanwhile
            (Command::Change(change), Some(order)) if change.status == order.status => nothing(),
            (Command::Change(Change { status: Canceled }) | Command::Cancel, Some(order)) => order.cancel(),
            (Command::Change(_), Some(_)) => {
                conflict("status words follow what happens; ask for `Order Canceled` only")
            }
            (Command::TurnDown, Some(order)) if order.status != Canceled => {
                emit(Event::OrderCanceled(order.at(Canceled)))
            }
            (Command::TurnDown, Some(_)) => nothing(), // the reservation has followed a cancel
            (_, None) => not_found(),
        }
    }

    fn evolve(known: Option<Order>, event: &Event) -> Option<Order> {
        match event {
            Event::Ordered(order) | Event::PaymentSettled(order) | Event::OrderCanceled(order) => Some(match known {
                Some(known) => known.at(known.status.max(order.status)),
                None => order.clone(),
            }),
            Event::CourseStarted(_) => known.map(|order| Order { course_started: true, ..order }),
            _ => known,
        }
    }
}
