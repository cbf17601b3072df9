//! A place in the queue for a book that is out. A returned copy is offered to the customer who has waited longest. The offer
//! holds no copy: the customer rents the book like all others, which fulfils the reservation.

use crate::book::{Book, LOOK, Look};
use crate::events::{Event, EventKind as On};
use crate::hold::HoldStatus;
use jumun::prelude::*;

/// The queue for a book.
pub const QUEUE: Index = &["bookId", "status"];
/// The places of a customer in it.
pub const PLACES: Index = &["bookId", "customerId", "status"];

jumun::documents! {
    /// A customer who waits for a book.
    pub struct Reserve {
        /// The id: who has waited longer has a smaller one.
        pub id: Id<Reserve>,
        /// What the customer waits for.
        #[serde(flatten)]
        pub wish: Wish,
        /// Its status.
        pub status: ReserveStatus,
        /// When a copy was offered.
        pub ready_dt: Option<Time>,
        /// Why it was cancelled, if the customer did not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub reason: Option<Reason>,
    }

    /// What the customer sends.
    pub struct Wish {
        /// The book.
        pub book_id: Id<Book>,
        /// The number of copies; one by default.
        #[serde(default = "one")]
        pub qty: Quantity,
        /// The customer. Without it no rental fulfils the reservation.
        pub customer_id: Option<Reference>,
    }
}

/// Why a reservation was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// The customer has not rented the book in time.
    NotFetchedInTime,
}

/// What an operator can set.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Settings {
    /// How long an offer holds until it passes on.
    pub hold_for: TimeLimit,
}

const fn one() -> Quantity {
    const { Quantity::new(1).expect("within bounds") }
}

/// The status of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReserveStatus {
    /// The customer waits.
    Waiting,
    /// A copy is offered to the customer.
    Ready,
    /// The customer has rented the book.
    Fulfilled,
    /// The customer no longer waits.
    Canceled,
}

/// The commands of a reservation.
#[derive(Debug, Clone)]
pub enum Command {
    /// The customer waits for a book.
    Reserve(Wish),
    /// A copy is offered.
    Offer,
    /// The customer has rented the book.
    Fulfil,
    /// The customer no longer waits.
    Cancel,
    /// The customer has not rented the book in time.
    Expire,
}

impl Reserve {
    fn at(&self, status: ReserveStatus) -> Reserve {
        Reserve { status, ..self.clone() }
    }

    /// A copy for the customer who has waited longest.
    fn offer(book: Id<Book>) -> First<Command> {
        First::by(QUEUE, (book, ReserveStatus::Waiting), Command::Offer)
    }
}

impl Aggregate for Reserve {
    type Terms = (Command, Event, Settings);

    const HEARS: &'static [On] =
        &[On::Reserved, On::ReserveReady, On::ReserveFulfilled, On::ReserveCanceled, On::StockReturned, On::Rented];

    fn concerns(event: &Event) -> Option<Id<Reserve>> {
        match event {
            Event::Reserved(own)
            | Event::ReserveReady(own)
            | Event::ReserveFulfilled(own)
            | Event::ReserveCanceled(own) => Some(own.id),
            _ => None,
        }
    }

    fn time_out(&self, settings: &Settings) -> Option<TimeOut<Command>> {
        settings.hold_for.time_out(self.status == ReserveStatus::Ready, "hold_for", Command::Expire)
    }

    fn react_first(event: &Event) -> Option<First<Command>> {
        match event {
            Event::StockReturned(returned) if returned.status == HoldStatus::Returned => {
                Some(Reserve::offer(returned.book_id).at_most(returned.qty.get()))
            }
            // An offer that is not taken passes on.
            Event::ReserveCanceled(own) if own.ready_dt.is_some() => Some(Reserve::offer(own.wish.book_id)),
            Event::Rented(rental) => {
                let (book, customer) = (rental.wish.book_id, rental.wish.customer_id.as_ref()?);
                let places = [ReserveStatus::Ready, ReserveStatus::Waiting]
                    .into_iter()
                    .flat_map(|status| customer.spellings().map(move |customer| (book, customer, status)));
                Some(First::among(PLACES, places, Command::Fulfil))
            }
            _ => None,
        }
    }

    fn decide(reserve: Option<&Reserve>, command: Command, ctx: &Context<'_, Reserve>) -> Decision<Event> {
        use ReserveStatus::{Canceled, Fulfilled, Ready, Waiting};
        match (command, reserve) {
            (Command::Reserve(wish), None) => {
                ctx.ask(&LOOK, Look { book_id: wish.book_id })?;
                emit(Event::Reserved(Reserve { id: ctx.id, wish, status: Waiting, ready_dt: None, reason: None }))
            }
            (Command::Reserve(_), Some(_)) => conflict("this reservation was made already"),
            (command, Some(reserve)) => match (command, reserve.status) {
                (Command::Offer, Waiting) => {
                    emit(Event::ReserveReady(Reserve { ready_dt: Some(ctx.now), ..reserve.at(Ready) }))
                }
                (Command::Fulfil, Waiting | Ready) => emit(Event::ReserveFulfilled(reserve.at(Fulfilled))),
                (Command::Cancel, Waiting | Ready) => emit(Event::ReserveCanceled(reserve.at(Canceled))),
                (Command::Expire, Ready) => {
                    let reason = Some(Reason::NotFetchedInTime);
                    emit(Event::ReserveCanceled(Reserve { reason, ..reserve.at(Canceled) }))
                }
                (Command::Cancel, Fulfilled) => conflict("the customer has rented the book"),
                (Command::Cancel, Canceled) => conflict("this reservation is cancelled already"),
                (_, _) => nothing(),
            },
            (_, None) => not_found(),
        }
    }
}
