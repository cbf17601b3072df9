//! An order. It stands only once its payment does, and can be cancelled while it stands.

use crate::{
    events::Event,
    payment::{PAY, Pay},
};
use jiff::Timestamp;
use jumun::{Aggregate, Context, Decision, Id, Name, NoSettings, Quantity, Won, conflict, emit, not_found};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a customer ordered, and how far it has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The correlation key of everything that follows.
    pub id: Id<Order>,
    /// What was ordered.
    #[serde(flatten)]
    pub basket: Basket,
    /// How far it has come.
    pub order_status: OrderStatus,
    /// When it was placed.
    pub order_date: Timestamp,
}

/// What the customer chose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Basket {
    /// The shop.
    pub store_name: Name,
    /// The dish.
    pub item_name: Option<Name>,
    /// How many.
    pub item_qty: Quantity,
    /// For how much, all together.
    pub price: Won,
}

/// How far an order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// Paid, and on its way to the shop.
    Ordered,
    /// Given up.
    Canceled,
}

/// What a customer can do.
#[derive(Debug, Clone)]
pub enum Command {
    /// Order this.
    Place(Basket),
    /// Give it up.
    Cancel,
}

impl Aggregate for Order {
    type Command = Command;
    type Event = Event;
    type Settings = NoSettings;

    fn concerns(event: &Event) -> Option<Id<Order>> {
        match event {
            Event::Ordered(order) | Event::OrderCanceled(order) => Some(order.id),
            _ => None,
        }
    }

    fn decide(order: Option<&Order>, command: Command, ctx: &Context<'_, Order>) -> Decision<Event> {
        match (command, order) {
            (Command::Place(basket), None) => {
                ctx.ask(&PAY, Pay { order_id: ctx.id, price: basket.price })?;
                emit(Event::Ordered(Order {
                    id: ctx.id,
                    basket,
                    order_status: OrderStatus::Ordered,
                    order_date: ctx.now,
                }))
            }
            (Command::Place(_), Some(_)) => conflict("this order was placed already"),
            (Command::Cancel, Some(order)) if order.order_status == OrderStatus::Canceled => {
                conflict("this order is cancelled already")
            }
            (Command::Cancel, Some(order)) => {
                emit(Event::OrderCanceled(Order { order_status: OrderStatus::Canceled, ..order.clone() }))
            }
            (Command::Cancel, None) => not_found(),
        }
    }

    fn evolve(_: Option<Order>, event: &Event) -> Option<Order> {
        match event {
            Event::Ordered(order) | Event::OrderCanceled(order) => Some(order.clone()),
            _ => None,
        }
    }
}
