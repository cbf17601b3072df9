//! Food delivery: a customer orders and pays, the shop confirms and cooks, a rider delivers. The customer can cancel, and can
//! see the status at any time. An order exists only if it is paid.
//!
//! This file wires the system together; the business is in [`order`], [`payment`], [`store`], [`delivery`] and [`dashboard`].

pub mod audit;
pub mod dashboard;
pub mod delivery;
pub mod events;
pub mod order;
pub mod payment;
pub mod store;

use dashboard::Dashboard;
use delivery::Delivery;
use jumun::{LoadLine, ReadModel, Resource, Service, System, SystemModel, payments};
use order::Order;
use payment::{PAY, Payinfo, PaymentStatus};
use store::StoreOrder;

/// The system.
pub fn system() -> SystemModel {
    let order = Resource::<Order>::at("/orders")
        .on_post(order::Command::Place)
        .on_delete(order::Command::Cancel)
        .find_by("storeName");
    let payment = Resource::<Payinfo>::at("/payinfos")
        .on_ask(&PAY, payment::Command::Pay, payment::Command::GiveBack(PaymentStatus::Voided))
        .find_by("orderId");
    let store = Resource::<StoreOrder>::at("/stores")
        .on_put("accept", store::Command::Accept)
        .on_put("reject", store::Command::Reject)
        .on_put("cook-complete", store::Command::CompleteCooking)
        .find_by("orderId")
        .find_by("storeName");
    let delivery = Resource::<Delivery>::at("/deliveries")
        .on_put("pickup", delivery::Command::PickUp)
        .on_put("complete", delivery::Command::Complete)
        .find_by("orderId");
    let dashboard = ReadModel::<Dashboard>::at("/dashboards");

    System::new("food-delivery", include_str!("examples.jsonl"))
        .about("A customer orders and pays, the shop confirms and cooks, a rider delivers.")
        .service(Service::new("order", 8081).aggregate(order).asks(&PAY))
        .service(Service::new("store", 8082).aggregate(store))
        .service(Service::new("delivery", 8083).aggregate(delivery))
        .service(Service::new("payment", 8084).aggregate(payment))
        .service(Service::new("dashboard", 8085).view(dashboard))
        .audit(audit::audit)
        .ledger(payments::MONEY_IN, payments::PARTS)
        .load(LoadLine {
            path: "/orders",
            body: r#"{"storeName":"s","itemName":"i","itemQty":1,"price":1000}"#,
            canceled: Some(("orderStatus", "CANCELED")),
            finished: Some(("/dashboards", ("status", "ORDER_CONFIRMED"))),
        })
        .build()
}
