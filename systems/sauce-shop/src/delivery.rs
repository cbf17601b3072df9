//! The delivery of one order. A cancellation of the order stops it at any time, also before it has started.

use crate::events::{Event, EventKind as On};
use crate::order::{BranchId, Order};
use jumun::prelude::*;

jumun::documents! {
    /// The delivery of one order.
    pub struct Delivery {
        /// The order's id.
        pub id: Id<Delivery>,
        /// The order.
        pub order_id: Id<Order>,
        /// The branch that gets the sauce.
        pub branch_id: BranchId,
        /// The sauce.
        pub sauce_id: Name,
        /// The number of bottles.
        pub qty: Quantity,
        /// Its state.
        pub state: DeliveryState,
    }

    /// What a client may change.
    pub struct Change {
        /// The state that the delivery is to have.
        pub state: Reached,
    }
}

/// The state of a delivery. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum DeliveryState {
    /// The order was cancelled before the delivery started. Never shown, never published.
    #[schemars(skip)]
    Withheld,
    /// It is prepared.
    Preparing,
    /// The branch has the sauce.
    Complete,
    /// The order was cancelled.
    Canceled,
}

/// The states that a client may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Reached {
    /// The branch has the sauce.
    Complete,
}

/// The commands of a delivery.
#[derive(Debug, Clone)]
pub enum Command {
    /// Start it for this order, which is paid.
    Start(Order),
    /// The driver reports what was reached.
    Change(Change),
    /// The order is cancelled.
    Cancel,
}

impl Delivery {
    /// The delivery of an order in this state.
    pub(crate) fn new(order: &Order, state: DeliveryState) -> Self {
        let basket = order.basket.clone();
        Self {
            id: order.id.cast(),
            order_id: order.id,
            branch_id: basket.branch_id,
            sauce_id: basket.sauce_id,
            qty: basket.qty,
            state,
        }
    }

    fn at(&self, state: DeliveryState) -> Self {
        Self { state, ..self.clone() }
    }
}

impl Aggregate for Delivery {
    type Terms = (Command, Event);

    const HEARS: &'static [On] =
        &[On::Ordered, On::OrderCanceled, On::DeliveryStarted, On::Delivered, On::DeliveryCanceled];

    fn react(event: &Event) -> Option<Command> {
        match event {
            Event::Ordered(order) => Some(Command::Start(order.clone())),
            Event::OrderCanceled(_) => Some(Command::Cancel),
            _ => None,
        }
    }

    fn decide(known: Option<&Delivery>, command: Command, _: &Context<'_, Delivery>) -> Decision<Event> {
        use DeliveryState::{Canceled, Complete, Preparing, Withheld};
        match (command, known.map(|known| (known, known.state))) {
            (Command::Start(order), None) => emit(Event::DeliveryStarted(Delivery::new(&order, Preparing))),
            (Command::Cancel, None | Some((_, Withheld | Canceled))) => nothing(),
            (Command::Start(_), Some((withheld, Withheld))) | (Command::Cancel, Some((withheld, _))) => {
                emit(Event::DeliveryCanceled(withheld.at(Canceled)))
            }
            (Command::Start(_), Some(_)) => nothing(),
            (Command::Change(_), None | Some((_, Withheld))) => not_found(),
            (Command::Change(Change { state: Reached::Complete }), Some((delivery, Preparing))) => {
                emit(Event::Delivered(delivery.at(Complete)))
            }
            (Command::Change(_), Some((_, Complete))) => conflict("this delivery is complete already"),
            (Command::Change(_), Some((_, Canceled))) => conflict("this delivery is cancelled"),
        }
    }

    fn evolve(known: Option<Delivery>, event: &Event) -> Option<Delivery> {
        match event {
            Event::OrderCanceled(order) => Some(known.unwrap_or_else(|| Delivery::new(order, DeliveryState::Withheld))),
            _ => event.carried_or(known),
        }
    }

    fn shown(&self) -> bool {
        self.state != DeliveryState::Withheld
    }
}
