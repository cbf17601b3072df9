//! The published language of book rental.

use crate::book::{Book, StockAdded};
use crate::delivery::Delivery;
use crate::hold::{StockReturned, StockTaken};
use crate::rental::Rental;
use crate::reserve::Reserve;

jumun::published_language! {
    /// An event of book rental.
    pub enum Event, EventKind {
        book(by book_id):
            /// Copies are bought in or written off. Also the first event of a book.
            StockAdded(StockAdded);
        book(by id):
            /// Name, price or picture of a book have changed.
            BookChanged(Book);
        book(by rental_id):
            /// Copies are taken for a rental.
            StockTaken(StockTaken),
            /// The copies of a rental are back.
            StockReturned(StockReturned);
        rent(by id):
            /// The books are rented.
            Rented(Rental),
            /// The rental is cancelled. Every service undoes its part.
            RentalCanceled(Rental),
            /// The customer has returned the books.
            BookReturned(Rental);
        delivery(by rental_id):
            /// The delivery is on its way.
            DeliveryCreated(Delivery),
            /// The rental was cancelled, so there is no delivery.
            DeliveryCanceled(Delivery);
        reserve(by id):
            /// A customer waits for a book.
            Reserved(Reserve),
            /// A returned copy is offered to the customer.
            ReserveReady(Reserve),
            /// The customer has rented the book.
            ReserveFulfilled(Reserve),
            /// The customer no longer waits.
            ReserveCanceled(Reserve);
    }
}
