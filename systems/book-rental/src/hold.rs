//! The copies that one rental holds: taken from the stock of their book when the rental asks for them, and given back once.

use crate::book::Book;
use crate::events::{Event, EventKind as On};
use crate::rental::Rental;
use jumun::prelude::*;

/// Take copies from stock before they are rented.
pub const TAKE: Ask<Take, Hold> = Ask::post("book", "/holds", |take| take.rental_id.cast());

jumun::documents! {
    /// The copies to take, and the rental that they are for.
    pub struct Take {
        /// The rental.
        pub rental_id: Id<Rental>,
        /// The book.
        pub book_id: Id<Book>,
        /// The number of copies.
        pub qty: Quantity,
    }

    /// The copies of one rental.
    pub struct Hold {
        /// The rental's id.
        pub id: Id<Hold>,
        /// What was taken from stock.
        #[serde(flatten)]
        pub taken: StockTaken,
        /// Where the copies are.
        pub status: HoldStatus,
    }

    /// Copies are taken for a rental.
    pub struct StockTaken {
        /// The rental.
        pub rental_id: Id<Rental>,
        /// The book.
        pub book_id: Id<Book>,
        /// Its title.
        pub book_name: Name,
        /// The number of copies.
        pub qty: Quantity,
        /// The price of all copies.
        pub price: Won,
    }

    /// The copies of a rental are back.
    pub struct StockReturned {
        /// The rental.
        pub rental_id: Id<Rental>,
        /// The book.
        pub book_id: Id<Book>,
        /// The number of copies.
        pub qty: Quantity,
        /// Whether there was no rental.
        pub status: HoldStatus,
    }
}

impl Answers<Take> for Hold {
    fn answers(&self, take: &Take) -> bool {
        let StockTaken { rental_id, book_id, qty, .. } = self.taken;
        (rental_id, book_id, qty, self.status) == (take.rental_id, take.book_id, take.qty, HoldStatus::Held)
    }
}

/// Where the copies of a rental are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum HoldStatus {
    /// The rental has them.
    Held,
    /// Back in stock: the rental was returned or cancelled.
    Returned,
    /// Back in stock: there was no rental.
    Voided,
}

/// The commands of a hold.
#[derive(Debug, Clone)]
pub enum Command {
    /// Take copies from stock.
    Take(Take),
    /// Put them back: they were not rented.
    Void,
    /// Put them back: the rental was cancelled, or the customer has returned them.
    PutBack,
}

impl Aggregate for Hold {
    type Terms = (Command, Event);

    const HEARS: &'static [On] = &[On::StockTaken, On::StockReturned, On::RentalCanceled, On::BookReturned];

    fn react(event: &Event) -> Option<Command> {
        matches!(event, Event::RentalCanceled(_) | Event::BookReturned(_)).then_some(Command::PutBack)
    }

    fn decide(hold: Option<&Hold>, command: Command, ctx: &Context<'_, Hold>) -> Decision<Event> {
        let put_back = |hold: &Hold, status| {
            let StockTaken { rental_id, book_id, qty, .. } = hold.taken;
            emit(Event::StockReturned(StockReturned { rental_id, book_id, qty, status }))
        };
        match (command, hold) {
            (Command::Take(Take { rental_id, book_id, qty }), None) => {
                let Some(book) = ctx.read(book_id)? else { return invalid("bookId", "there is no such book") };
                if book.stock.get() < qty.get() {
                    return conflict("there are not enough copies in stock");
                }
                let price = book.price.get().checked_mul(qty.get()).and_then(Won::new);
                let Some(price) = price else { return invalid("qty", "the price of so many copies is too high") };
                let book_name = book.name;
                emit(Event::StockTaken(StockTaken { rental_id, book_id, book_name, qty, price }))
            }
            (Command::Take(_), Some(_)) => conflict("copies were taken for this rental already"),
            (Command::Void, Some(hold)) if hold.status == HoldStatus::Held => put_back(hold, HoldStatus::Voided),
            (Command::PutBack, Some(hold)) if hold.status == HoldStatus::Held => put_back(hold, HoldStatus::Returned),
            (Command::Void | Command::PutBack, _) => nothing(),
        }
    }

    fn evolve(hold: Option<Hold>, event: &Event) -> Option<Hold> {
        match event {
            Event::StockTaken(taken) => {
                Some(Hold { id: taken.rental_id.cast(), taken: taken.clone(), status: HoldStatus::Held })
            }
            Event::StockReturned(returned) => hold.map(|hold| Hold { status: returned.status, ..hold }),
            _ => hold,
        }
    }
}
