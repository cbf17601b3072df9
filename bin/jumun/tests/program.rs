//! The program as an operator meets it: what it says when it cannot do what it is told, and what `audit` and `asks` tell.

mod lab;

use lab::{Lab, Trap, basket, run};
use serde_json::json;
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
    process::Command,
};

fn jumun(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
    command.current_dir(folder).args(arguments);
    run(command)
}

/// It ends with this status, says this code, and what to do.
#[track_caller]
fn assert_refused((status, said): (i32, String), expected: i32, code: &str) {
    assert_eq!(status, expected, "{said}");
    assert!(said.starts_with(&format!("error[{code}]: ")), "{said}");
    assert!(said.lines().count() >= 2, "it says what to do: {said}");
}

#[test]
fn help_teaches_by_example() {
    let folder = tempfile::tempdir().expect("a folder");
    let (status, said) = jumun(folder.path(), &["serve", "--help"]);
    assert_eq!(status, 0);
    assert!(said.contains("jumun serve food-delivery order"), "{said}");
    assert_eq!(jumun(folder.path(), &["--version"]).0, 0);
}

#[test]
fn a_command_line_that_cannot_be_read_acts_on_no_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let (status, said) = jumun(folder.path(), &["\u{202e}\u{1b}[2J\u{9b}31m"]);
    assert_eq!(status, 2, "{said}");
    assert!(said.contains(r"\u202e") && said.contains(r"\u009b31m") && said.contains("--help"), "{said}");
    assert!(!said.contains(['\u{202e}', '\u{1b}', '\u{9b}']), "{said}");
}

#[test]
fn a_help_text_that_cannot_be_written_is_no_success() {
    for arguments in [&["--help"][..], &["load", "--help"], &["--version"], &["explain", "not-done"]] {
        let full = fs::File::options().write(true).open("/dev/full").expect("the device");
        let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
        let output = command.args(arguments).stdout(full).output().expect("a process");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("error[output-unwritable]"),
            "{arguments:?}: {output:?}"
        );
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn what_there_is_not_is_named_together_with_what_there_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = jumun(folder.path(), &["serve", "space-travel", "order"]);
    assert!(refused.1.contains("food-delivery"), "{}", refused.1);
    assert_refused(refused, 1, "system-unknown");
    let refused = jumun(folder.path(), &["serve", "food-delivery", "catapult"]);
    assert!(refused.1.contains("order, store, delivery, payment, dashboard"), "{}", refused.1);
    assert_refused(refused, 1, "service-unknown");
}

#[test]
fn a_command_that_reads_data_says_if_there_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    for arguments in [&["asks"][..], &["why", "7"], &["events", "tail"], &["parked", "list"]] {
        let refused = jumun(folder.path(), arguments);
        assert!(
            refused.1.contains("no data of a system") && refused.1.contains("`jumun up <system>`"),
            "{}",
            refused.1
        );
        assert_refused(refused, 1, "not-up");
    }
}

#[test]
fn a_key_that_nobody_knows_is_an_error_wherever_it_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = jumun(folder.path(), &["serve", "food-delivery", "payment", "--set", "payment.decline_ovre=1"]);
    assert_refused(refused, 1, "configuration-unknown-key");

    let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
    command.current_dir(folder.path()).args(["serve", "food-delivery", "payment"]).env("JUMUN__PAYMENT__LISTN", "x");
    assert_refused(run(command), 1, "configuration-unknown-key");

    fs::write(folder.path().join("jumun.toml"), "[order.calls.paymnt]\nurl = \"http://127.0.0.1:1\"\n")
        .expect("a file");
    assert_refused(jumun(folder.path(), &["serve", "food-delivery", "order"]), 1, "configuration-unknown-key");
    fs::write(folder.path().join("jumun.toml"), "[payment]\ndecline_over = -1\n").expect("a file");
    assert_refused(jumun(folder.path(), &["serve", "food-delivery", "payment"]), 1, "configuration-invalid");
    fs::write(folder.path().join("jumun.toml"), "[payment\n").expect("a file");
    assert_refused(jumun(folder.path(), &["serve", "food-delivery", "payment"]), 1, "configuration-unreadable");
    assert!(!folder.path().join("data").exists(), "nothing was made");
}

#[test]
fn a_variable_that_only_resembles_ours_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = |name: &str, value: &OsStr| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
        command.current_dir(folder.path()).args(["config", "food-delivery"]).env(name, value);
        run(command)
    };
    for name in ["JUMUN_PORT_OFFSET", "JUMUN_ORDER__LISTEN"] {
        let refused = config(name, OsStr::new("1"));
        assert!(refused.1.contains(name), "{}", refused.1);
        assert_refused(refused, 1, "configuration-unknown-key");
    }
    assert_eq!(config("JUMUN_PORT", OsStr::new("tcp://10.0.0.1:8088")).0, 0, "Kubernetes sets it for a service jumun");
    assert_refused(config("OTEL_EXPORTER_OTLP_ENDPOINT", OsStr::from_bytes(b"\xff")), 1, "configuration-invalid");
}

#[test]
fn a_file_of_configuration_that_is_there_is_never_ignored() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("jumun.toml");
    let config = |arguments: &[&str]| jumun(folder.path(), &[&["config", "food-delivery"], arguments].concat());
    fs::write(folder.path().join("jumun.toml.toml"), "nonsense = 1").expect("a file");
    fs::write(folder.path().join("other.toml"), "port_offset = 1").expect("a file");
    assert_eq!(config(&[]).0, 0, "a file of another name is not read");
    assert_refused(config(&["--config", "other"]), 1, "configuration-unreadable");
    fs::create_dir(&file).expect("a folder");
    assert_refused(config(&[]), 1, "configuration-unreadable");
    fs::remove_dir(&file).expect("a folder");
    symlink("nothing", &file).expect("a link");
    assert_refused(config(&[]), 1, "configuration-unreadable");
}

#[tokio::test]
async fn a_taken_port_a_taken_database_and_an_unusable_folder_are_told_apart() {
    let lab = Lab::running().await;
    let data = lab.data().display().to_string();
    let address = lab.payment.address().to_string();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let serve = |data: &str, listen: &str| {
        jumun(elsewhere.path(), &["serve", "food-delivery", "payment", "--data", data, "--listen", listen])
    };
    assert_refused(serve("./data", &address), 1, "listen");
    assert_refused(serve(&data, "127.0.0.1:0"), 1, "database-in-use");
    fs::write(elsewhere.path().join("file"), "not a folder").expect("a file");
    assert_refused(serve("./file", "127.0.0.1:0"), 1, "database-unusable");
    fs::create_dir_all(elsewhere.path().join("damaged/food-delivery")).expect("a folder");
    let damaged = elsewhere.path().join("damaged/food-delivery/payment.db");
    fs::write(&damaged, "no database at all ".repeat(100)).expect("a file");
    assert_refused(serve("./damaged", "127.0.0.1:0"), 1, "database-damaged");
    assert_eq!(fs::read(&damaged).expect("a file").len(), 1_900, "it is as it was");

    let answer = lab.order.client().post("/orders", &basket("치킨", 22_000)).await;
    assert_eq!(answer.status, 201, "and the one that runs goes on");
}

#[tokio::test]
async fn the_audit_is_clean_over_services_that_run_and_over_services_that_are_stopped() {
    let mut lab = Lab::all_running().await;
    for _ in 0..3 {
        lab.order.client().place("치킨", 22_000).await;
    }
    for is_running in [true, false] {
        let audit = lab.audit("5s");
        assert_eq!(audit.exit_code, 0, "running: {is_running}, {audit:?}");
        assert_eq!(audit.report["verdict"], "clean");
        assert_eq!(audit.report["orders"], 3);
        assert_eq!(audit.report["ledger"]["money in"], 66_000);
        assert_eq!(audit.report["ledger"]["standing"], 66_000);
        if is_running {
            lab.order.stop().await;
            lab.store.stop().await;
            lab.kill_all();
        }
    }
}

#[tokio::test]
async fn the_audit_finds_what_must_not_be() {
    let mut lab = Lab::all_running().await;
    for _ in 0..3 {
        lab.order.client().place("치킨", 22_000).await;
    }
    lab.settle().await;
    lab.stop_all().await;
    let change = |service: &str, sql: &str| {
        let database = rusqlite::Connection::open(lab.database(service)).expect("a database");
        assert_eq!(database.execute(sql, []).expect("a statement"), 1, "{sql}");
    };
    // Money without an order, and an order that is dearer than its payment.
    change("order", "DELETE FROM orders_documents WHERE id = 1");
    change("order", "UPDATE orders_documents SET body = replace(body, '22000', '33000') WHERE id = 2");
    let audit = lab.audit("0s");
    assert_eq!(audit.exit_code, 1, "{audit:?}");
    let violations = audit.report["violations"].as_array().expect("a list");
    let found: BTreeSet<_> = violations.iter().filter_map(|found| found["order"].as_i64()).collect();
    assert_eq!(found, BTreeSet::from([1, 2]), "{audit:?}");
}

#[tokio::test]
async fn the_audit_says_when_it_cannot_tell() {
    let mut lab = Lab::new();
    let audit = lab.audit("0s");
    assert_eq!(audit.exit_code, 2, "there is nothing to look at: {audit:?}");

    // An order is in doubt: payment stands still while it is asked, and the order service dies.
    lab.payment.start().await;
    lab.order.start().await;
    assert_eq!(lab.order.client().post("/orders", &basket("치킨", 22_000)).await.status, 201);
    lab.order.kill();
    lab.order.start_with(Trap::Dies("asking.after-commit")).await;
    let broken = lab.order.client().post_with_key("/orders", "k", &basket("치킨", 1)).await;
    assert!(broken.is_err(), "it died while it was asked");
    lab.order.wait_until_dead().await;

    let audit = lab.audit("0s");
    assert_eq!(audit.exit_code, 2, "{audit:?}");
    assert_eq!(audit.report["inDoubt"], 1);
    let asks = lab.asks();
    assert_eq!(asks.len(), 1, "{asks:?}");
    assert_eq!(
        (&asks[0]["service"], &asks[0]["state"], &asks[0]["asks"]),
        (&json!("order"), &json!("asking"), &json!("payment/payinfos"))
    );

    lab.order.start().await;
    lab::wait_until(lab::LONG, "nothing is in doubt", async || lab.asks().is_empty()).await;
    let audit = lab.audit("0s");
    assert_eq!(audit.exit_code, 2, "the shop and the view have not heard of the order, and will: {audit:?}");
    assert_eq!((&audit.report["open"], &audit.report["violations"]), (&json!([1]), &json!([])), "{audit:?}");
    lab.assert_the_promise().await;
}

#[test]
fn the_configuration_is_shown_as_it_can_be_written_down() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("jumun.toml"), "[order.calls.payment]\ntime_limit = \"610ms\"\n").expect("a file");
    fs::create_dir(folder.path().join("mounted")).expect("a folder");
    fs::write(folder.path().join("mounted/payment.decline_over"), "5000\n").expect("a file");
    let show = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
        command.current_dir(folder.path()).args(["config", "food-delivery", "--config-dir", "mounted"]).args(more);
        command.env("JUMUN__STORE__CONFIRM", "manual");
        run(command)
    };
    let (status, said) = show(&["--port-offset", "100"]);
    assert_eq!(status, 0, "{said}");
    let lines: Vec<Vec<_>> = said.lines().map(|line| line.split("  #").map(str::trim).collect()).collect();
    for line in [
        ["order.calls.payment.time_limit = \"610ms\"", "jumun.toml"],
        ["payment.decline_over = 5000", "mounted"],
        ["store.confirm = \"manual\"", "environment"],
        ["port_offset = 100", "flag"],
        ["order.listen = \"127.0.0.1:8181\"", "default"],
        ["gateway.upstreams.order = [\"http://127.0.0.1:8181\"]", "default"],
        ["gateway.cors_origins = []", "default"],
    ] {
        assert!(lines.iter().any(|shown| shown[..] == line), "{line:?}\n{said}");
    }
    let (status, json) = show(&["--json"]);
    assert_eq!(status, 0, "{json}");
    let first: serde_json::Value = serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first, json!({ "key": "port_offset", "value": 0, "origin": "default" }));

    // What is shown is a file of configuration that says the same.
    let without_origin = |said: &str| -> Vec<String> {
        said.lines().map(|line| line.split("  #").next().unwrap_or_default().trim().to_owned()).collect()
    };
    fs::write(folder.path().join("jumun.toml"), &said).expect("a file");
    let (status, again) = show(&[]);
    assert_eq!((status, without_origin(&again)), (0, without_origin(&said)));

    fs::write(folder.path().join("mounted/payment.decline_over"), "much").expect("a file");
    assert_refused(show(&[]), 1, "configuration-invalid");
}
