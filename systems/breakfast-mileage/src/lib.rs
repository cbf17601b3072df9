//! Breakfast mileage: a customer orders breakfast and pays, and the payment earns mileage. A payment can also be made by
//! itself. An order exists only if it is paid, and a payment only if its mileage is earned. What is cancelled loses both.
//!
//! This file wires the system together; the business is in [`order`], [`payment`] and [`mileage`].

pub mod audit;
pub mod events;
pub mod mileage;
pub mod order;
pub mod payment;

use jumun::{LoadLine, ReadModel, Resource, Service, System, SystemModel, payments};
use mileage::{EARN, Mileage, MileageView};
use order::Order;
use payment::{PAY, Pay};

/// The system.
pub fn system() -> SystemModel {
    // Orders and payments by themselves both begin something, and what follows shares their id: so they share none.
    let order =
        Resource::<Order>::at("/orders").ids(1, 2).on_post(order::Command::Place).on_delete(order::Command::Cancel);
    let payment = Resource::<Pay>::at("/pays")
        .ids(2, 2)
        .on_post(payment::Command::PayDirectly)
        .on_ask(&PAY, payment::Command::PayForOrder, payment::Command::GiveBack)
        .on_delete(payment::Command::Cancel)
        .find_by("orderId");
    let mileage = Resource::<Mileage>::at("/mileages")
        .on_ask(&EARN, mileage::Command::Earn, mileage::Command::Remove)
        .find_by("payId");
    let view = ReadModel::<MileageView>::at("/mileageViews").find_by("payId");

    System::new("breakfast-mileage", include_str!("examples.jsonl"))
        .about("A customer orders breakfast and pays; a payment earns mileage, and a cancelled one takes it away.")
        .service(Service::new("order", 8081).aggregate(order).asks(&PAY).default_of("shed", "all"))
        .service(Service::new("payment", 8084).aggregate(payment).asks(&EARN).default_of("shed", "all"))
        .service(Service::new("mileage", 8087).aggregate(mileage).view(view).default_of("shed", "all"))
        .audit(audit::audit)
        .ledger(payments::MONEY_IN, payments::PARTS)
        .load(LoadLine {
            path: "/orders",
            body: r#"{"qty":1,"amount":4000,"customerId":"kim"}"#,
            canceled: Some(("status", "Cancelled")),
            finished: Some(("/mileageViews", ("status", "Earned"))),
        })
        .build()
}
