//! An order stands if and only if it is paid. A cancelled order gets its money back.
//!
//! This file puts the services together. Each has a file of its own.

pub mod audit;
pub mod events;
pub mod order;
pub mod payment;
pub mod receipt;

use jumun::{LoadLine, ReadModel, Resource, Service, System, SystemModel};
use order::Order;
use payment::{PAY, Payment};
use receipt::Receipt;

/// The system. Routes, tables, subscriptions and checks derive from the types.
pub fn system() -> SystemModel {
    let orders = Resource::<Order>::at("/orders")
        .on_post(order::Command::Place)
        .on_delete(order::Command::Cancel);
    let payments = Resource::<Payment>::at("/payments").on_ask(
        &PAY,
        payment::Command::Take,
        payment::Command::Return,
    );
    System::new("shop", include_str!("examples.jsonl"))
        .about("A customer orders and pays; a cancelled order gets its money back.")
        .service(Service::new("order", 8081).aggregate(orders).asks(&PAY))
        .service(Service::new("payment", 8082).aggregate(payments))
        .service(Service::new("receipt", 8083).view(ReadModel::<Receipt>::at("/receipts")))
        .audit(audit::audit)
        .ledger("taken", &["held", "returned"])
        .load(LoadLine {
            path: "/orders",
            body: r#"{"item":"tea","price":3000}"#,
            canceled: Some(("stage", "Canceled")),
            finished: Some(("/receipts", ("stage", "Ordered"))),
        })
        .build()
}
