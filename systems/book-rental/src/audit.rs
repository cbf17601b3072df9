//! What must be true of every rental, and of the stock of all books.

use crate::book::Book;
use crate::delivery::{Delivery, DeliveryStatus};
use crate::hold::{Hold, HoldStatus};
use crate::rental::{Rental, RentalStatus};
use crate::rental_view::RentalView;
use jumun::{Case, Findings};

/// Copies that shops own: bought in less those written off.
pub const OWNED: &str = "copies owned";
/// Copies on the shelf.
pub const IN_STOCK: &str = "in stock";
/// Copies of rentals that are neither returned nor cancelled.
pub const RENTED: &str = "rented";

/// A rental holds its copies until it is returned or cancelled; without a rental nothing is held. A rental has one delivery,
/// which is cancelled if and only if the rental is. The view agrees. Ids of books are no ids of rentals: a case may have both.
pub fn audit(case: &Case<'_>) -> Findings {
    let mut findings = Findings::default();
    if let Some(book) = case.row::<Book>() {
        findings.add(OWNED, book.owned.get());
        findings.add(IN_STOCK, book.stock.get());
    }
    let hold = case.row::<Hold>();
    let delivery = case.row::<Delivery>();
    let view = case.shown::<RentalView>();
    let Some(rental) = case.row::<Rental>() else {
        if hold.is_some_and(|hold| hold.status != HoldStatus::Voided) {
            findings.violation("there is no rental, but copies are held for it");
        }
        if delivery.is_some() || view.is_some() {
            findings.violation("there is no rental, but a delivery or a view of it");
        }
        return findings;
    };
    let (held, sent) = match rental.status {
        RentalStatus::Rented | RentalStatus::DeliveryCreated => (HoldStatus::Held, DeliveryStatus::Created),
        RentalStatus::Returned => (HoldStatus::Returned, DeliveryStatus::Created),
        RentalStatus::Canceled => (HoldStatus::Returned, DeliveryStatus::Canceled),
    };
    if held == HoldStatus::Held {
        findings.add(RENTED, rental.wish.qty.get());
    }
    match hold {
        Some(hold) if hold.status != held => {
            findings.violation(format_args!("the rental is {:?}, its copies are {:?}", rental.status, hold.status));
        }
        Some(Hold { taken, .. }) => {
            if (taken.book_id, taken.qty, taken.price) != (rental.wish.book_id, rental.wish.qty, rental.price) {
                findings.violation("the rental holds other copies than were rented");
            }
        }
        None => findings.violation("the rental holds no copies"),
    }
    let delivered = delivery.map(|delivery| delivery.status);
    if delivered != Some(sent) {
        findings.violation(format_args!("the rental is {:?}, its delivery {delivered:?}", rental.status));
    }
    if rental.status == RentalStatus::Rented {
        findings.violation("the rental does not know of its delivery");
    }
    // Of the delivery the view has a status of its own.
    let shown = if rental.status == RentalStatus::DeliveryCreated { RentalStatus::Rented } else { rental.status };
    let seen = view.map(|view| (view.rental_status, view.delivery_status, view.qty));
    if seen != Some((Some(shown), Some(sent), Some(rental.wish.qty))) {
        findings.violation(format_args!("the view shows {seen:?} of a rental that is {:?}", rental.status));
    }
    findings
}
