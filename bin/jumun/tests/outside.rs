//! A project outside this workspace: `examples/shop`, copied to a folder of its own, built against the crates of this
//! workspace, and run with every process that a user of it gets.

mod lab;

use http::Method;
use lab::{LONG, Up, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tempfile::TempDir;
use tokio::time::timeout;

/// The services of the shop.
const SERVICES: [&str; 3] = ["order", "payment", "receipt"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// The project in a folder of its own: its dependencies point to this workspace, its versions are those of this workspace.
fn project() -> TempDir {
    let (folder, example) = (TempDir::with_prefix("jumun-outside-").expect("a folder"), root().join("examples/shop"));
    fs::create_dir(folder.path().join("src")).expect("a folder");
    for file in fs::read_dir(example.join("src")).expect("a folder") {
        let file = file.expect("a file");
        fs::copy(file.path(), folder.path().join("src").join(file.file_name())).expect("a copy");
    }
    let manifest = fs::read_to_string(example.join("Cargo.toml")).expect("a manifest");
    let crates = format!("path = \"{}/", root().join("crates").display());
    let outside = manifest.replace("path = \"../../crates/", &crates);
    assert_ne!(outside, manifest, "its dependencies on Jumun are paths to this workspace");
    fs::write(folder.path().join("Cargo.toml"), outside).expect("a manifest");
    fs::copy(root().join("Cargo.lock"), folder.path().join("Cargo.lock")).expect("a lock file");
    folder
}

/// Runs cargo in the project, offline. It shares the target folder of this workspace: four of five dependencies are there
/// already, with the same versions, features and profile.
fn cargo(project: &TempDir, target: &Path, task: &str) {
    let mut command = Command::new(env!("CARGO"));
    command.args([task, "--offline", "--color", "never"]).current_dir(project).env("CARGO_TARGET_DIR", target);
    let output = command.output().expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {task}: {said}{}", String::from_utf8_lossy(&output.stdout));
    assert!(!said.contains("warning: "), "cargo {task}: {said}");
}

#[tokio::test]
async fn a_system_outside_this_workspace_has_the_whole_program() {
    let project = project();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target folder");
    cargo(&project, target, "build");
    cargo(&project, target, "test");

    let mut shop = Up::with(target.join("debug/shop"), "shop", &SERVICES);
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

    let why = shop.tell(&["why", "shop", &canceled.id().to_string()]);
    for event in ["Ordered", "Paid", "OrderCanceled", "PaymentReturned"] {
        assert_eq!(why.lines().filter(|line| line.split_whitespace().nth(1) == Some(event)).count(), 1, "{why}");
    }

    let gateway = format!("http://{}", shop.address("gateway"));
    let load =
        ["load", "shop", "--url", &gateway, "--requests", "100", "--concurrency", "4", "--cancel", "10%", "--json"];
    let (status, told) = shop.jumun(&load);
    let report: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    assert_eq!((status, &report["orders"]), (0, &json!(100)), "{told}");

    shop.stop().await;
    serves_alone(&shop, "receipt", "/receipts/1").await;
}

/// Runs one service as a container does, on the data that `up` left.
async fn serves_alone(shop: &Up, service: &str, path: &str) {
    let listen = shop.address(service).to_string();
    let mut command = shop.command_of(&["serve", "shop", service, "--listen", &listen]);
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
