//! An order. It is placed once its payment is taken, and can be cancelled until its delivery has started.

use crate::events::{Event, EventKind as On};
use crate::payment::{PAY, Pay};
use jumun::prelude::*;

jumun::documents! {
    /// What a customer ordered, and its status.
    pub struct Order {
        /// The id, which payment, store order and delivery share.
        pub id: Id<Order>,
        /// What was ordered.
        #[serde(flatten)]
        pub basket: Basket,
        /// Its status.
        pub order_status: OrderStatus,
        /// When the order was placed.
        pub order_date: Time,
        /// Why it was cancelled, if nobody cancelled it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<Reason>,
    }

    /// What the customer sends.
    pub struct Basket {
        /// The shop.
        pub store_name: Name,
        /// The dish.
        pub item_name: Option<Name>,
        /// The number of portions.
        pub item_qty: Quantity,
        /// The price of all portions.
        pub price: Won,
    }
}

/// Why something was cancelled that nobody cancelled: it was not done in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// The shop did not accept it.
    NotAcceptedInTime,
    /// No rider picked it up.
    NotPickedUpInTime,
}

/// The status of an order. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OrderStatus {
    /// Placed and paid.
    Ordered,
    /// The shop has confirmed it.
    OrderConfirmed,
    /// It is cooked.
    CookCompleted,
    /// A rider is assigned.
    DeliveryStarted,
    /// The rider has picked it up.
    PickedUp,
    /// It is delivered.
    DeliveryCompleted,
    /// Cancelled.
    Canceled,
}

/// The commands of an order.
#[derive(Debug, Clone)]
pub enum Command {
    /// The customer places it.
    Place(Basket),
    /// The customer cancels it.
    Cancel,
    /// The shop has rejected it, or something was not done in time.
    TurnDown(Option<Reason>),
}

impl Order {
    fn at(&self, order_status: OrderStatus) -> Order {
        Order { order_status, ..self.clone() }
    }
}

impl Aggregate for Order {
    type Terms = (Command, Event);

    const HEARS: &'static [On] = &[
        On::Ordered,
        On::OrderCanceled,
        On::StoreConfirmed,
        On::StoreCanceled,
        On::CookCompleted,
        On::DeliveryStarted,
        On::PickedUp,
        On::DeliveryCompleted,
        On::DeliveryCanceled,
    ];

    fn react(event: &Event) -> Option<Command> {
        match event {
            Event::StoreCanceled(order) => Some(Command::TurnDown(order.reason)),
            Event::DeliveryCanceled(delivery) => Some(Command::TurnDown(delivery.reason)),
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
                    reason: None,
                }))
            }
            (Command::Place(_), Some(_)) => conflict("this order was placed already"),
            (Command::Cancel, Some(order)) => match order.order_status {
                OrderStatus::Canceled => conflict("this order is cancelled already"),
                status if status >= OrderStatus::DeliveryStarted => conflict("its delivery has started"),
                _ => emit(Event::OrderCanceled(order.at(OrderStatus::Canceled))),
            },
            (Command::TurnDown(reason), Some(order)) if order.order_status != OrderStatus::Canceled => {
                emit(Event::OrderCanceled(Order { reason, ..order.at(OrderStatus::Canceled) }))
            }
            (Command::TurnDown(_), Some(_)) => nothing(), // the shop cancelled because the order was
            (Command::Cancel | Command::TurnDown(_), None) => not_found(),
        }
    }

    fn evolve(order: Option<Order>, event: &Event) -> Option<Order> {
        let status = match event {
            Event::Ordered(order) => return Some(order.clone()),
            Event::OrderCanceled(canceled) => {
                return order.map(|order| Order { reason: canceled.reason, ..order.at(OrderStatus::Canceled) });
            }
            Event::StoreConfirmed(_) => OrderStatus::OrderConfirmed,
            Event::CookCompleted(_) => OrderStatus::CookCompleted,
            Event::DeliveryStarted(_) => OrderStatus::DeliveryStarted,
            Event::PickedUp(_) => OrderStatus::PickedUp,
            Event::DeliveryCompleted(_) => OrderStatus::DeliveryCompleted,
            Event::StoreCanceled(_)
            | Event::DeliveryCanceled(_)
            | Event::PaymentApproved(_)
            | Event::PaymentCanceled(_) => return order,
        };
        order.map(|order| order.at(order.order_status.max(status)))
    }
}
