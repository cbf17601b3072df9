//! Sauce shop: a branch orders sauce and pays for it; the sauce is delivered; a dashboard shows payment and delivery side by
//! side. An order exists only if it is paid.
//!
//! This file wires the system together; the business is in [`order`], [`payment`], [`delivery`] and [`dashboard`].

pub mod audit;
pub mod dashboard;
pub mod delivery;
pub mod events;
pub mod order;
pub mod payment;

use dashboard::OrderDashboard;
use delivery::Delivery;
use jumun::{LoadLine, ReadModel, Resource, Service, System, SystemModel, payments};
use order::Order;
use payment::{PAY, Payment, PaymentStatus};

/// The system.
pub fn system() -> SystemModel {
    let order = Resource::<Order>::at("/orders").on_post(order::Command::Place).on_delete(order::Command::Cancel);
    let payment = Resource::<Payment>::at("/payments")
        .on_ask(&PAY, payment::Command::Pay, payment::Command::GiveBack(PaymentStatus::Voided))
        .find_by("orderId");
    let delivery = Resource::<Delivery>::at("/deliveries").on_patch(delivery::Command::Change).find_by("orderId");
    let dashboard = ReadModel::<OrderDashboard>::at("/orderDashboards").find_by("orderId");

    // The first implementation called the address of payment so.
    let order = Service::new("order", 8084).aggregate(order).asks(&PAY).alias(
        "api.payment.url",
        "configurl",
        "calls.payment.url",
    );

    System::new("sauce-shop", include_str!("examples.jsonl"))
        .about("A branch orders sauce and pays; the sauce is delivered; a dashboard shows payment and delivery.")
        .service(order)
        .service(Service::new("payment", 8085).aggregate(payment))
        .service(Service::new("delivery", 8086).aggregate(delivery))
        .service(Service::new("orderdashboard", 8087).view(dashboard))
        .audit(audit::audit)
        .ledger(payments::MONEY_IN, payments::PARTS)
        .load(LoadLine {
            path: "/orders",
            body: r#"{"branchId":"1","sauceId":"1","qty":10,"price":10000}"#,
            canceled: Some(("state", "Canceled")),
            finished: Some(("/orderDashboards", ("state", "Preparing"))),
        })
        .build()
}
