//! The delivery of one order. A cancellation stops it at any time, also before it has started.

use crate::events::{Event, EventKind as On};
use crate::order::{Order, Reason};
use jumun::prelude::*;

jumun::documents! {
    /// The delivery of one order.
    pub struct Delivery {
        /// The order's id.
        pub id: Id<Delivery>,
        /// The order.
        pub order_id: Id<Order>,
        /// Its status.
        pub status: DeliveryStatus,
        /// When a rider was assigned. None: it never started.
        pub start_dt: Option<Time>,
        /// When the rider picked it up.
        pub picked_up_dt: Option<Time>,
        /// When it was delivered.
        pub comp_dt: Option<Time>,
        /// Why it was cancelled, if its order was not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<Reason>,
    }
}

/// The status of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeliveryStatus {
    /// A rider is assigned.
    DeliveryStarted,
    /// The rider has picked it up.
    PickedUp,
    /// It is delivered.
    DeliveryCompleted,
    /// The order was cancelled, or no rider picked it up in time.
    Canceled,
}

/// The commands of a delivery.
#[derive(Debug, Clone)]
pub enum Command {
    /// Assign a rider.
    Start,
    /// The rider picks it up.
    PickUp,
    /// The rider delivers it.
    Complete,
    /// No rider has picked it up in time.
    GiveUp,
}

/// What an operator can set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settings {
    /// How long a rider has to pick the order up.
    pub pickup_within: TimeLimit,
}

impl Delivery {
    fn new(order_id: Id<Order>, status: DeliveryStatus) -> Self {
        let (start_dt, picked_up_dt, comp_dt, reason) = (None, None, None, None);
        Self { id: order_id.cast(), order_id, status, start_dt, picked_up_dt, comp_dt, reason }
    }

    fn at(&self, status: DeliveryStatus) -> Self {
        Self { status, ..self.clone() }
    }
}

impl Aggregate for Delivery {
    type Terms = (Command, Event, Settings);

    const HEARS: &'static [On] = &[
        On::CookCompleted,
        On::OrderCanceled,
        On::DeliveryStarted,
        On::PickedUp,
        On::DeliveryCompleted,
        On::DeliveryCanceled,
    ];

    fn time_out(&self, settings: &Settings) -> Option<TimeOut<Command>> {
        let waits = self.status == DeliveryStatus::DeliveryStarted;
        settings.pickup_within.time_out(waits, "pickup_within", Command::GiveUp)
    }

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::CookCompleted(_)).then_some(Command::Start)
    }

    fn decide(delivery: Option<&Delivery>, command: Command, ctx: &Context<'_, Delivery>) -> Decision<Event> {
        use DeliveryStatus::{Canceled, DeliveryCompleted, DeliveryStarted, PickedUp};
        match (command, delivery) {
            (Command::Start, None) => {
                let started = Delivery::new(ctx.id.cast(), DeliveryStarted);
                emit(Event::DeliveryStarted(Delivery { start_dt: Some(ctx.now), ..started }))
            }
            (Command::Start, Some(_)) => nothing(), // it has started, or was cancelled before
            (_, None) => not_found(),
            (_, Some(delivery)) if !delivery.shown() => not_found(),
            (command, Some(delivery)) => match (command, delivery.status) {
                (Command::PickUp, DeliveryStarted) => {
                    emit(Event::PickedUp(Delivery { picked_up_dt: Some(ctx.now), ..delivery.at(PickedUp) }))
                }
                (Command::Complete, PickedUp) => emit(Event::DeliveryCompleted(Delivery {
                    comp_dt: Some(ctx.now),
                    ..delivery.at(DeliveryCompleted)
                })),
                (Command::GiveUp, DeliveryStarted) => {
                    let reason = Some(Reason::NotPickedUpInTime);
                    emit(Event::DeliveryCanceled(Delivery { reason, ..delivery.at(Canceled) }))
                }
                (_, Canceled) => conflict("this delivery is cancelled"),
                (Command::PickUp | Command::GiveUp, _) => conflict("the rider has it already"),
                (_, _) => conflict("the rider does not have it"),
            },
        }
    }

    fn evolve(known: Option<Delivery>, event: &Event) -> Option<Delivery> {
        match event {
            Event::OrderCanceled(order) => {
                let canceled = DeliveryStatus::Canceled;
                Some(known.map_or_else(|| Delivery::new(order.id, canceled), |known| known.at(canceled)))
            }
            _ => event.carried_or(known),
        }
    }

    fn shown(&self) -> bool {
        self.start_dt.is_some()
    }
}
