//! An order. It stands only once its payment does, and can be cancelled until its delivery has started.

use crate::{
    events::{Event, EventKind as On},
    payment::{PAY, Pay},
};
use jiff::Timestamp;
use jumun::{Aggregate, Context, Decision, Id, Name, NoSettings, Quantity, Won, conflict, emit, not_found, nothing};
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

/// How far an order has come. A later word never gives way to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// Paid, and on its way to the shop.
    Ordered,
    /// The shop has taken it.
    OrderConfirmed,
    /// It is cooked.
    CookCompleted,
    /// A rider is called.
    DeliveryStarted,
    /// A rider has it.
    PickedUp,
    /// The customer has it.
    DeliveryCompleted,
    /// Given up.
    Canceled,
}

/// What can be asked of an order.
#[derive(Debug, Clone)]
pub enum Command {
    /// The customer orders this.
    Place(Basket),
    /// The customer gives it up.
    Cancel,
    /// The shop has turned it down.
    TurnDown,
}

impl Order {
    fn at(&self, order_status: OrderStatus) -> Order {
        Order { order_status, ..self.clone() }
    }
}

impl Aggregate for Order {
    type Command = Command;
    type Event = Event;
    type Settings = NoSettings;

    const HEARS: &'static [On] = &[
        On::Ordered,
        On::OrderCanceled,
        On::StoreConfirmed,
        On::StoreCanceled,
        On::CookCompleted,
        On::DeliveryStarted,
        On::PickedUp,
        On::DeliveryCompleted,
    ];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::StoreCanceled(_)).then_some(Command::TurnDown)
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
            (Command::Cancel, Some(order)) => match order.order_status {
                OrderStatus::Canceled => conflict("this order is cancelled already"),
                status if status >= OrderStatus::DeliveryStarted => conflict("its delivery has started"),
                _ => emit(Event::OrderCanceled(order.at(OrderStatus::Canceled))),
            },
            (Command::TurnDown, Some(order)) if order.order_status != OrderStatus::Canceled => {
                emit(Event::OrderCanceled(order.at(OrderStatus::Canceled)))
            }
            (Command::TurnDown, Some(_)) => nothing(), // the shop has followed a cancel
            (Command::Cancel | Command::TurnDown, None) => not_found(),
        }
    }

    fn evolve(order: Option<Order>, event: &Event) -> Option<Order> {
        let status = match event {
            Event::Ordered(order) => return Some(order.clone()),
            Event::OrderCanceled(_) => OrderStatus::Canceled,
            Event::StoreConfirmed(_) => OrderStatus::OrderConfirmed,
            Event::CookCompleted(_) => OrderStatus::CookCompleted,
            Event::DeliveryStarted(_) => OrderStatus::DeliveryStarted,
            Event::PickedUp(_) => OrderStatus::PickedUp,
            Event::DeliveryCompleted(_) => OrderStatus::DeliveryCompleted,
            Event::StoreCanceled(_) | Event::PaymentApproved(_) | Event::PaymentCanceled(_) => return order,
        };
        order.map(|order| order.at(order.order_status.max(status)))
    }
}
