//! The delivery of one rental: on its way once the books are rented, cancelled if the rental is.

use crate::events::{Event, EventKind as On};
use crate::rental::{Rental, Wish};
use jumun::prelude::*;

jumun::documents! {
    /// The delivery of one rental.
    pub struct Delivery {
        /// The rental's id.
        pub id: Id<Delivery>,
        /// The rental.
        pub rental_id: Id<Rental>,
        /// The customer.
        pub customer_id: Option<Reference>,
        /// The customer's name.
        pub customer_name: Option<Name>,
        /// The number of copies.
        pub qty: Quantity,
        /// Its status.
        pub status: DeliveryStatus,
    }
}

/// The status of a delivery. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeliveryStatus {
    /// On its way.
    Created,
    /// The rental was cancelled.
    Canceled,
}

/// The commands of a delivery.
#[derive(Debug, Clone)]
pub enum Command {
    /// Send the books.
    Create(Rental),
    /// Do not.
    Cancel,
}

impl Aggregate for Delivery {
    type Terms = (Command, Event);

    const HEARS: &'static [On] = &[On::Rented, On::RentalCanceled, On::DeliveryCreated, On::DeliveryCanceled];

    fn react(event: &Event) -> Option<Command> {
        match event {
            Event::Rented(rental) => Some(Command::Create(rental.clone())),
            Event::RentalCanceled(_) => Some(Command::Cancel),
            _ => None,
        }
    }

    fn decide(delivery: Option<&Delivery>, command: Command, ctx: &Context<'_, Delivery>) -> Decision<Event> {
        match (command, delivery) {
            (Command::Create(Rental { id, wish, .. }), None) => {
                let Wish { qty, customer_id, customer_name, .. } = wish;
                let (rental_id, status) = (id, DeliveryStatus::Created);
                let delivery = Delivery { id: ctx.id, rental_id, customer_id, customer_name, qty, status };
                emit(Event::DeliveryCreated(delivery))
            }
            (Command::Cancel, Some(delivery)) if delivery.status != DeliveryStatus::Canceled => {
                let canceled = Delivery { status: DeliveryStatus::Canceled, ..delivery.clone() };
                emit(Event::DeliveryCanceled(canceled))
            }
            (Command::Create(_) | Command::Cancel, _) => nothing(),
        }
    }
}
