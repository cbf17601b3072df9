//! Course enrollment: a customer applies for a course and pays, the course's manager confirms the reservation and starts the
//! course. The customer can cancel, gets a message about every change, and can see the status at any time. An order can be
//! placed with its payment delayed; a seat is reserved only once it is paid.
//!
//! This file wires the system together; the business is in [`order`], [`pay`], [`reservation`], [`notification`] and
//! [`infomation`].

pub mod audit;
pub mod events;
pub mod infomation;
pub mod notification;
pub mod order;
pub mod pay;
pub mod reservation;
pub mod values;

use infomation::Infomation;
use jumun::{LoadLine, ReadModel, Resource, Service, System, SystemModel, Text, payments};
use notification::{Notification, SEND};
use order::Order;
use pay::{PAY, Payment};
use reservation::Reservation;

/// The texts of messages: a line with the subject, an empty line, the text. Operators can replace them.
macro_rules! texts {
    ($($name:ident)*) => { &[$(
        ("ko", stringify!($name), include_str!(concat!("../templates/ko/", stringify!($name), ".txt"))),
        ("en", stringify!($name), include_str!(concat!("../templates/en/", stringify!($name), ".txt"))),
    )*] };
}

const TEXTS: &[Text] = texts! {
    Ordered PaymentDelayed PaymentSettled OrderCanceled Paid PaymentCanceled
    Reserved ReservationConfirmed ReservationCanceled CourseStarted
};

/// The system.
pub fn system() -> SystemModel {
    let order = Resource::<Order>::at("/orders")
        .on_post(order::Command::Place)
        .on_patch(order::Command::Change)
        .on_delete(order::Command::Cancel)
        .settle(&PAY, order::Command::Settle)
        .find_by("orderId");
    let pay = Resource::<Payment>::at("/pays")
        .on_ask(&PAY, pay::Command::Pay, pay::Command::GiveBack { voided: true })
        .find_by("orderId");
    let reservation = Resource::<Reservation>::at("/reservations")
        .on_put("confirm", reservation::Command::Confirm)
        .on_put("reject", reservation::Command::Reject)
        .on_put("start", reservation::Command::Start)
        .find_by("orderId");
    let notification = Resource::<Notification>::at("/notifications")
        .on_put("retry", notification::Command::Retry)
        .settle(&SEND, notification::Command::Settle)
        .belongs_by("enrollmentId")
        .find_by("orderId");
    let infomation = ReadModel::<Infomation>::at("/infomations").find_by("orderId");

    System::new("course-enrollment", include_str!("examples.jsonl"))
        .about("A customer applies for a course and pays, now or later; the manager confirms the seat and starts the course.")
        .service(Service::new("order", 8081).aggregate(order).asks(&PAY))
        .service(Service::new("pay", 8082).aggregate(pay))
        .service(Service::new("reservation", 8083).aggregate(reservation))
        .service(Service::new("notification", 8084).aggregate(notification).view(infomation).asks(&SEND).texts(TEXTS))
        .audit(audit::audit)
        .ledger(audit::PAID, payments::PARTS)
        .load(LoadLine {
            path: "/orders",
            body: r#"{"orderId": 2, "eduNo": 102}"#,
            canceled: Some(("status", "Order Canceled")),
            finished: Some(("/infomations", ("reservationStatus", "Reservation Confirmed"))),
        })
        .build()
}
