//! An order. It is placed once its payment is taken, and is cancelled by its customer or with its payment.

use crate::events::{Event, EventKind as On};
use crate::payment::{PAY, PayForOrder};
use jumun::prelude::*;

jumun::documents! {
    /// What a customer ordered, and its status.
    pub struct Order {
        /// The id, which payment and mileage share.
        pub id: Id<Order>,
        /// What was ordered. None: the payment was cancelled, and `Ordered` has not been emitted.
        #[serde(flatten)]
        pub breakfast: Option<Breakfast>,
        /// Its status.
        pub status: OrderStatus,
    }

    /// What the customer sends.
    pub struct Breakfast {
        /// The number of breakfasts.
        pub qty: Quantity,
        /// The price of all of them.
        #[serde(alias = "amout")]
        pub amount: Won,
        /// The customer.
        pub customer_id: Option<Reference>,
    }
}

/// The status of an order. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum OrderStatus {
    /// Placed and paid.
    Ordered,
    /// Cancelled.
    Cancelled,
}

/// The commands of an order.
#[derive(Debug, Clone)]
pub enum Command {
    /// The customer places it.
    Place(Breakfast),
    /// The customer cancels it.
    Cancel,
    /// Its payment was cancelled.
    TurnDown,
}

impl Aggregate for Order {
    type Terms = (Command, Event);

    const HEARS: &'static [On] = &[On::Ordered, On::OrderCancelled, On::PayCancelled];

    /// A direct payment is that of no order.
    fn concerns(event: &Event) -> Option<Id<Order>> {
        (!matches!(event, Event::PayCancelled(pay) if pay.direct)).then(|| event.key())
    }

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::PayCancelled(_)).then_some(Command::TurnDown)
    }

    fn decide(order: Option<&Order>, command: Command, ctx: &Context<'_, Order>) -> Decision<Event> {
        let cancel =
            |order: &Order| emit(Event::OrderCancelled(Order { status: OrderStatus::Cancelled, ..order.clone() }));
        let standing = order.filter(|order| order.status == OrderStatus::Ordered);
        match (command, order.filter(|order| order.shown())) {
            (Command::Place(_), _) if order.is_some_and(|order| !order.shown()) => {
                conflict("its payment was cancelled")
            }
            (Command::Place(breakfast), None) => {
                ctx.ask(&PAY, PayForOrder { order_id: ctx.id, amount: breakfast.amount })?;
                emit(Event::Ordered(Order { id: ctx.id, breakfast: Some(breakfast), status: OrderStatus::Ordered }))
            }
            (Command::Place(_), Some(_)) => conflict("this order was placed already"),
            (Command::Cancel, None) => not_found(),
            (Command::Cancel, Some(_)) => standing.map_or_else(|| conflict("this order is cancelled already"), cancel),
            (Command::TurnDown, _) => standing.map_or_else(nothing, cancel),
        }
    }

    fn evolve(known: Option<Order>, event: &Event) -> Option<Order> {
        match event {
            // The order that asked for this payment must not be placed any more.
            Event::PayCancelled(pay) => Some(known.unwrap_or_else(|| Order {
                id: pay.id.cast(),
                breakfast: None,
                status: OrderStatus::Cancelled,
            })),
            _ => event.carried_or(known),
        }
    }

    fn shown(&self) -> bool {
        self.breakfast.is_some()
    }
}
