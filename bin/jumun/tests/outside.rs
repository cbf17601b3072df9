//! A project outside this workspace, as `jumun new` writes it: built against the crates of this workspace, and run with
//! every process that a user of it gets.

mod lab;

use http::Method;
use lab::{LONG, Project, SHOP_SERVICES, Up, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::time::timeout;

#[tokio::test]
async fn a_system_outside_this_workspace_has_the_whole_program() {
    let project = Project::new("corner-shop");
    project.cargo("build");
    project.cargo("test");

    let mut shop = Up::with(project.program(), "corner-shop", &SHOP_SERVICES);
    shop.start().await;
    let ordered = shop.client("gateway").post("/orders", &json!({ "item": "tea", "price": 3_000 })).await;
    assert_eq!(ordered.status, 201, "{ordered:?}");
    let canceled = shop.client("gateway").post("/orders", &json!({ "item": "cake", "price": 5_000 })).await;
    let path = format!("/orders/{}", canceled.id());
    assert_eq!(shop.client("gateway").delete(&path).await.status, 204);
    assert_eq!(shop.client("gateway").post("/payments", &json!({})).await.problem(), "ask-only");

    let audit = shop.audit("10s");
    assert_eq!((audit.exit_code, &audit.report["verdict"]), (0, &json!("clean")), "{audit:?}");
    assert_eq!(audit.report["ledger"], json!({ "taken": 8_000, "held": 3_000, "returned": 5_000 }));
    let receipt = shop.client("gateway").get("/receipts/1").await.json();
    assert_eq!((&receipt["stage"], &receipt["paid"]), (&json!("Ordered"), &json!(3_000)), "{receipt}");

    let why = shop.tell(&["why", &canceled.id().to_string()]);
    for event in ["Ordered", "Paid", "OrderCanceled", "PaymentReturned"] {
        assert_eq!(why.lines().filter(|line| line.split_whitespace().nth(1) == Some(event)).count(), 1, "{why}");
    }

    let gateway = format!("http://{}", shop.address("gateway"));
    let load = ["load", "--url", &gateway, "--requests", "100", "--concurrency", "4", "--cancel", "10%", "--json"];
    let (status, told) = shop.jumun(&load);
    let report: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    assert_eq!((status, &report["orders"]), (0, &json!(100)), "{told}");

    shop.stop().await;
    serves_alone(&shop, "receipt", "/receipts/1").await;
    for (words, says) in [
        (&["serve", "reciept"][..], "Name one of: order, payment, receipt, gateway"),
        (&["parked", "discard", "reciept", "7"], "corner-shop has no service `reciept`"),
        (&["up", "food-delivery"], "Name one of: corner-shop"),
    ] {
        let (status, said) = shop.jumun(words);
        assert!(status == 1 && said.contains(says), "{words:?}: {said}");
    }
}

/// Runs one service as a container does, on the data that `up` left.
async fn serves_alone(shop: &Up, service: &str, path: &str) {
    let listen = shop.address(service).to_string();
    let mut command = shop.command_of(&["serve", service, "--listen", &listen]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = tokio::process::Command::from(command).kill_on_drop(true).spawn().expect("a process");
    let read = async || shop.client(service).send(Method::GET, path, &[], "").await;
    wait_until(LONG, "the service answers", async || read().await.is_ok_and(|answer| answer.status == 200)).await;
    assert_eq!(shop.client(service).get(path).await.json()["stage"], "Ordered");
    let pid = process.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("a process id");
    kill_process(pid, Signal::TERM).expect("a process of ours");
    let status = timeout(LONG, process.wait()).await.expect("it ends").expect("a status");
    assert!(status.success(), "{status}");
}
