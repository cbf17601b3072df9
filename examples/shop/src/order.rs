//! The order: it asks for its payment, and stands once it is paid.

use crate::events::{Event, EventKind as On};
use crate::payment::{PAY, Pay};
use jumun::prelude::*;

jumun::documents! {
    /// What a customer ordered: the document that clients read.
    pub struct Order {
        pub id: Id<Order>,
        pub item: Name,
        pub price: Won,
        pub stage: Stage,
    }

    /// What a customer sends.
    pub struct Basket {
        pub item: Name,
        pub price: Won,
    }
}

/// How far an order is. It only rises.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Stage {
    Ordered,
    Canceled,
}

/// What can be wanted of an order.
#[derive(Debug, Clone)]
pub enum Command {
    Place(Basket),
    Cancel,
}

impl Aggregate for Order {
    type Terms = (Command, Event);

    const HEARS: &'static [On] = &[On::Ordered, On::OrderCanceled];

    fn decide(
        order: Option<&Order>,
        command: Command,
        ctx: &Context<'_, Order>,
    ) -> Decision<Event> {
        match (command, order) {
            (Command::Place(Basket { item, price }), None) => {
                ctx.ask(
                    &PAY,
                    Pay {
                        order: ctx.id,
                        amount: price,
                    },
                )?;
                emit(Event::Ordered(Order {
                    id: ctx.id,
                    item,
                    price,
                    stage: Stage::Ordered,
                }))
            }
            (Command::Place(_), Some(_)) => conflict("this order was placed already"),
            (Command::Cancel, Some(order)) if order.stage == Stage::Canceled => {
                conflict("this order is cancelled already")
            }
            (Command::Cancel, Some(order)) => emit(Event::OrderCanceled(Order {
                stage: Stage::Canceled,
                ..order.clone()
            })),
            (Command::Cancel, None) => not_found(),
        }
    }
}
