//! All about one rental in one row.

use crate::book::Book;
use crate::delivery::DeliveryStatus;
use crate::events::{Event, EventKind as On};
use crate::rental::{Rental, RentalStatus};
use jumun::prelude::*;

jumun::documents! {
    /// What the customer sees of a rental. Each status comes from one service.
    #[derive(Default)]
    pub struct RentalView {
        /// The rental's id.
        pub id: i64,
        /// The rental.
        pub rental_id: i64,
        /// The book. None: `Rented` has not arrived yet.
        pub book_id: Option<Id<Book>>,
        /// Its title.
        pub book_name: Option<Name>,
        /// The number of copies.
        pub qty: Option<Quantity>,
        /// The price of all copies.
        pub price: Option<Won>,
        /// The customer.
        pub customer_id: Option<Reference>,
        /// The status of the rental.
        pub rental_status: Option<RentalStatus>,
        /// The status of the delivery.
        pub delivery_status: Option<DeliveryStatus>,
    }
}

impl RentalView {
    fn show(&mut self, rental: &Rental) {
        self.book_id = Some(rental.wish.book_id);
        self.book_name = Some(rental.book_name.clone());
        self.qty = Some(rental.wish.qty);
        self.price = Some(rental.price);
        self.customer_id.clone_from(&rental.wish.customer_id);
    }
}

impl View for RentalView {
    type Event = Event;

    const HEARS: &'static [On] =
        &[On::Rented, On::RentalCanceled, On::BookReturned, On::DeliveryCreated, On::DeliveryCanceled];

    fn row(id: i64) -> Self {
        Self { id, rental_id: id, ..Self::default() }
    }

    fn fold(&mut self, event: &Event) {
        match event {
            Event::Rented(rental) | Event::RentalCanceled(rental) | Event::BookReturned(rental) => {
                self.show(rental);
                self.rental_status = self.rental_status.max(Some(rental.status));
            }
            Event::DeliveryCreated(delivery) | Event::DeliveryCanceled(delivery) => {
                self.delivery_status = self.delivery_status.max(Some(delivery.status));
            }
            _ => {}
        }
    }

    fn shown(&self) -> bool {
        self.book_id.is_some()
    }
}
