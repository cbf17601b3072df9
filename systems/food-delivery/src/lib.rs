//! Food delivery: a customer orders and pays. An order that is not paid never stands.
//!
//! Here the parts are put together; the business is in [`order`] and [`payment`].

pub mod audit;
pub mod events;
pub mod order;
pub mod payment;

use events::Event;
use jumun::{Resource, Service, System};
use order::Order;
use payment::{PAY, Pay, Payinfo};

/// The system.
pub fn system() -> System<Event> {
    let order = Resource::<Order>::at("/orders")
        .on_post(order::Command::Place)
        .on_delete(order::Command::Cancel)
        .find_by("storeName");
    let payment = Resource::<Payinfo>::at("/payinfos")
        .on_ask(&PAY, Pay::about, payment::Command::Pay, payment::Command::Void)
        .find_by("orderId");

    System::new("food-delivery", include_str!("examples.jsonl"))
        .service(Service::new("order", 8081).aggregate(order).asks(&PAY))
        .service(Service::new("payment", 8084).aggregate(payment))
        .audit(audit::audit)
        .ledger(audit::MONEY_IN, &[audit::STANDING, audit::REFUNDED, audit::VOIDED])
}
