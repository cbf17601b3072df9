//! A rental: copies of one book for one customer. It is made once they are taken from stock, and ends when they are returned or
//! it is cancelled.

use crate::book::Book;
use crate::events::{Event, EventKind as On};
use crate::hold::{StockTaken, TAKE, Take};
use jumun::prelude::*;

jumun::documents! {
    /// What a customer rented, and its status.
    pub struct Rental {
        /// The id, which hold, delivery and view share.
        pub id: Id<Rental>,
        /// What was rented.
        #[serde(flatten)]
        pub wish: Wish,
        /// The title of the book.
        pub book_name: Name,
        /// The price of all copies.
        pub price: Won,
        /// Its status.
        pub status: RentalStatus,
    }

    /// What the customer sends.
    pub struct Wish {
        /// The book.
        pub book_id: Id<Book>,
        /// The number of copies.
        pub qty: Quantity,
        /// The customer.
        pub customer_id: Option<Reference>,
        /// The customer's name.
        pub customer_name: Option<Name>,
    }
}

/// The status of a rental. It only rises, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RentalStatus {
    /// The copies are taken from stock.
    Rented,
    /// Their delivery is on its way.
    DeliveryCreated,
    /// The customer has returned them.
    Returned,
    /// Cancelled.
    Canceled,
}

/// The commands of a rental.
#[derive(Debug, Clone)]
pub enum Command {
    /// The customer rents.
    Rent(Wish),
    /// The customer returns the books.
    Return,
    /// The customer cancels.
    Cancel,
}

impl Rental {
    fn at(&self, status: RentalStatus) -> Rental {
        Rental { status, ..self.clone() }
    }
}

impl Aggregate for Rental {
    type Terms = (Command, Event);

    const HEARS: &'static [On] = &[On::Rented, On::RentalCanceled, On::BookReturned, On::DeliveryCreated];

    fn decide(rental: Option<&Rental>, command: Command, ctx: &Context<'_, Rental>) -> Decision<Event> {
        use RentalStatus::{Canceled, Rented, Returned};
        match (command, rental) {
            (Command::Rent(wish), None) => {
                let take = Take { rental_id: ctx.id, book_id: wish.book_id, qty: wish.qty };
                let StockTaken { book_name, price, .. } = ctx.ask(&TAKE, take)?.taken;
                emit(Event::Rented(Rental { id: ctx.id, wish, book_name, price, status: Rented }))
            }
            (Command::Rent(_), Some(_)) => conflict("this rental was made already"),
            (Command::Return | Command::Cancel, Some(rental)) if rental.status == Canceled => {
                conflict("this rental is cancelled")
            }
            (Command::Return | Command::Cancel, Some(rental)) if rental.status == Returned => {
                conflict("the books are returned already")
            }
            (Command::Return, Some(rental)) => emit(Event::BookReturned(rental.at(Returned))),
            (Command::Cancel, Some(rental)) => emit(Event::RentalCanceled(rental.at(Canceled))),
            (Command::Return | Command::Cancel, None) => not_found(),
        }
    }

    fn evolve(rental: Option<Rental>, event: &Event) -> Option<Rental> {
        match event {
            Event::DeliveryCreated(_) => {
                rental.map(|rental| rental.at(rental.status.max(RentalStatus::DeliveryCreated)))
            }
            _ => event.carried_or(rental),
        }
    }
}
