//! An order of sauce. It is placed once its payment is taken, and can be cancelled until it is delivered.

use crate::events::{Event, EventKind as On};
use crate::payment::{PAY, Pay};
use jumun::prelude::*;

jumun::documents! {
    /// What a branch ordered, and its state.
    pub struct Order {
        /// The id, which payment and delivery share.
        pub id: Id<Order>,
        /// What was ordered.
        #[serde(flatten)]
        pub basket: Basket,
        /// Its state.
        pub state: OrderState,
        /// Whether it is delivered, so that it cannot be cancelled.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub delivered: bool,
    }

    /// What the branch sends.
    pub struct Basket {
        /// The branch.
        pub branch_id: BranchId,
        /// The sauce.
        pub sauce_id: Name,
        /// The number of bottles.
        pub qty: Quantity,
        /// The price of all bottles.
        pub price: Won,
    }
}

/// The number of a branch, 1 to 10^12. Another system keeps the branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BranchId(pub Quantity);

/// The state of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrderState {
    /// Placed and paid.
    Registered,
    /// Cancelled.
    Canceled,
}

/// The commands of an order.
#[derive(Debug, Clone)]
pub enum Command {
    /// The branch places it.
    Place(Basket),
    /// The branch cancels it.
    Cancel,
}

impl Aggregate for Order {
    type Terms = (Command, Event);

    const HEARS: &'static [On] = &[On::Ordered, On::OrderCanceled, On::Delivered];

    fn decide(order: Option<&Order>, command: Command, ctx: &Context<'_, Order>) -> Decision<Event> {
        match (command, order) {
            (Command::Place(basket), None) => {
                ctx.ask(&PAY, Pay { order_id: ctx.id, price: basket.price })?;
                let state = OrderState::Registered;
                emit(Event::Ordered(Order { id: ctx.id, basket, state, delivered: false }))
            }
            (Command::Place(_), Some(_)) => conflict("this order was placed already"),
            (Command::Cancel, Some(order)) => match order.state {
                OrderState::Canceled => conflict("this order is cancelled already"),
                OrderState::Registered if order.delivered => conflict("it is delivered already"),
                OrderState::Registered => {
                    emit(Event::OrderCanceled(Order { state: OrderState::Canceled, ..order.clone() }))
                }
            },
            (Command::Cancel, None) => not_found(),
        }
    }

    fn evolve(known: Option<Order>, event: &Event) -> Option<Order> {
        match event {
            Event::Delivered(_) => known.map(|order| Order { delivered: true, ..order }),
            _ => event.carried_or(known),
        }
    }
}
