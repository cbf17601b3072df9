//! A rider's errand for one order. A cancel stops it whenever it comes, also before it began.

use crate::{
    events::{Event, EventKind as On},
    order::Order,
};
use jiff::Timestamp;
use jumun::{Aggregate, Context, Decision, Id, NoSettings, conflict, emit, not_found, nothing};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The delivery of one order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The order's id.
    pub id: Id<Delivery>,
    /// The order.
    pub order_id: Id<Order>,
    /// How far it has come.
    pub status: DeliveryStatus,
    /// When a rider was called. None: it never began.
    pub start_dt: Option<Timestamp>,
    /// When the rider got it.
    pub picked_up_dt: Option<Timestamp>,
    /// When the customer got it.
    pub comp_dt: Option<Timestamp>,
}

/// How far a delivery has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeliveryStatus {
    /// A rider is called.
    DeliveryStarted,
    /// The rider has it.
    PickedUp,
    /// The customer has it.
    DeliveryCompleted,
    /// The order was cancelled.
    Canceled,
}

/// What can be asked of a delivery.
#[derive(Debug, Clone)]
pub enum Command {
    /// Call a rider.
    Start,
    /// The rider has it.
    PickUp,
    /// The customer has it.
    Complete,
}

impl Aggregate for Delivery {
    type Command = Command;
    type Event = Event;
    type Settings = NoSettings;

    const HEARS: &'static [On] =
        &[On::CookCompleted, On::OrderCanceled, On::DeliveryStarted, On::PickedUp, On::DeliveryCompleted];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::CookCompleted(_)).then_some(Command::Start)
    }

    fn decide(delivery: Option<&Delivery>, command: Command, ctx: &Context<'_, Delivery>) -> Decision<Event> {
        use DeliveryStatus::{Canceled, DeliveryCompleted, DeliveryStarted, PickedUp};
        match (command, delivery) {
            (Command::Start, None) => emit(Event::DeliveryStarted(Delivery {
                id: ctx.id,
                order_id: ctx.id.cast(),
                status: DeliveryStarted,
                start_dt: Some(ctx.now),
                picked_up_dt: None,
                comp_dt: None,
            })),
            (Command::Start, Some(_)) => nothing(), // it runs, or was cancelled before it began
            (_, None) => not_found(),
            (_, Some(delivery)) if !delivery.shown() => not_found(),
            (Command::PickUp, Some(delivery)) if delivery.status == DeliveryStarted => {
                emit(Event::PickedUp(Delivery { status: PickedUp, picked_up_dt: Some(ctx.now), ..delivery.clone() }))
            }
            (Command::Complete, Some(delivery)) if delivery.status == PickedUp => {
                let completed = Delivery { status: DeliveryCompleted, comp_dt: Some(ctx.now), ..delivery.clone() };
                emit(Event::DeliveryCompleted(completed))
            }
            (_, Some(delivery)) if delivery.status == Canceled => conflict("this delivery is cancelled"),
            (Command::PickUp, Some(_)) => conflict("the rider has it already"),
            (Command::Complete, Some(_)) => conflict("the rider does not have it"),
        }
    }

    fn evolve(known: Option<Delivery>, event: &Event) -> Option<Delivery> {
        match event {
            Event::DeliveryStarted(delivery) | Event::PickedUp(delivery) | Event::DeliveryCompleted(delivery) => {
                Some(delivery.clone())
            }
            Event::OrderCanceled(order) => Some(match known {
                Some(delivery) => Delivery { status: DeliveryStatus::Canceled, ..delivery },
                None => Delivery {
                    id: order.id.cast(),
                    order_id: order.id,
                    status: DeliveryStatus::Canceled,
                    start_dt: None,
                    picked_up_dt: None,
                    comp_dt: None,
                },
            }),
            _ => known,
        }
    }

    fn shown(&self) -> bool {
        self.start_dt.is_some()
    }
}
