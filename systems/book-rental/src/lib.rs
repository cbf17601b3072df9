//! Book rental: a customer rents books from stock, has them delivered, and returns them. A customer can reserve a book that is
//! out; a returned copy is offered to the customer who has waited longest.
//!
//! This file wires the system together; the business is in [`book`], [`hold`], [`rental`], [`delivery`], [`reserve`] and
//! [`rental_view`].

pub mod audit;
pub mod book;
pub mod delivery;
pub mod events;
pub mod hold;
pub mod rental;
pub mod rental_view;
pub mod reserve;

use book::{Book, LOOK};
use delivery::Delivery;
use hold::{Hold, TAKE};
use jumun::{LoadLine, ReadModel, Resource, Service, System, SystemModel};
use rental::Rental;
use rental_view::RentalView;
use reserve::{PLACES, QUEUE, Reserve};

/// The system.
pub fn system() -> SystemModel {
    let book = Resource::<Book>::at("/books").on_post(book::Command::Add).on_patch(book::Command::Change).on_inquiry(
        &LOOK,
        |_| book::Command::Look,
        book::Command::Forget,
    );
    let hold = Resource::<Hold>::at("/holds").on_ask(&TAKE, hold::Command::Take, hold::Command::Void);
    let rental = Resource::<Rental>::at("/rentals")
        .alias("/rental")
        .on_post(rental::Command::Rent)
        .on_delete(rental::Command::Cancel)
        .on_put("return", rental::Command::Return)
        .find_by("bookId")
        .find_by("customerId");
    let delivery = Resource::<Delivery>::at("/deliveries").find_by("rentalId");
    let reserve = Resource::<Reserve>::at("/reserves")
        .on_post(reserve::Command::Reserve)
        .on_delete(reserve::Command::Cancel)
        .find_by("bookId")
        .find_by("customerId")
        .index(QUEUE)
        .index(PLACES);
    let view = ReadModel::<RentalView>::at("/rentalViews").find_by("bookId").find_by("customerId");

    System::new("book-rental", include_str!("examples.jsonl"))
        .about("A customer rents books from stock and returns them, and reserves one that is out; a delivery follows a rental.")
        .service(Service::new("book", 8081).aggregate(book).aggregate(hold).seed(Book::seed()))
        .service(Service::new("rent", 8082).aggregate(rental).asks(&TAKE))
        .service(Service::new("delivery", 8083).aggregate(delivery))
        .service(Service::new("reserve", 8084).aggregate(reserve).asks(&LOOK))
        .service(Service::new("viewer", 8085).view(view))
        .value("superuser.userId")
        .audit(audit::audit)
        .total(audit::OWNED, &[audit::IN_STOCK, audit::RENTED])
        .load(LoadLine {
            path: "/rental",
            body: r#"{"bookId":"5","qty":1}"#,
            canceled: Some(("status", "CANCELED")),
            finished: Some(("/rentalViews", ("deliveryStatus", "CREATED"))),
        })
        .build()
}
