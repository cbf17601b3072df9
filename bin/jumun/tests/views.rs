//! A view is made anew from the log while orders come in, by processes that are killed over it.

mod lab;

use lab::{Deed, LONG, Lab, SERVICES, Trap, run, run_apart, wait_for, wait_until};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Rows of the view as they stand in its database, without their versions.
fn rows(lab: &Lab) -> Vec<(i64, bool, String)> {
    let connection =
        Connection::open_with_flags(lab.database("dashboard"), OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database");
    let mut statement =
        connection.prepare("SELECT id, shown, body FROM dashboards_documents ORDER BY id").expect("a table");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

/// Does something to the rows that no service ever would.
fn spoil(lab: &Lab, statements: &[&str]) {
    let connection = Connection::open(lab.database("dashboard")).expect("a database");
    for sql in statements {
        connection.execute(sql, []).expect("it is a database of ours");
    }
}

/// What a rebuild said in the end.
fn rebuild(lab: &Lab) -> (i32, Value) {
    let (exit_code, text) = lab.jumun(&["view", "rebuild"], &["dashboard", "--json"]);
    (exit_code, text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::String(text)))
}

/// Orders, some of them cancelled and some cooked, one after the other until it is told to stop; how many.
fn keep_ordering(lab: &Lab, stop: Arc<AtomicBool>) -> tokio::task::JoinHandle<usize> {
    let (place, cook, cancel) =
        (Deed::Place.somebody(lab, 0), Deed::Cook.somebody(lab, 0), Deed::Cancel.somebody(lab, 0));
    tokio::spawn(async move {
        let mut placed = 0;
        while !stop.load(Ordering::Relaxed) {
            let mut somebody = place.clone();
            somebody.key = Some(uuid::Uuid::new_v4().to_string());
            let id = somebody.insist().await.answer.id();
            placed += 1;
            let mut then = if placed % 3 == 0 { cancel.clone() } else { cook.clone() };
            then.key = Some(uuid::Uuid::new_v4().to_string());
            then.path = then.path.replace("/0", &format!("/{id}"));
            drop(then.ask_once().await); // the shop may not have heard of it yet, or the view be about to die: no matter
        }
        placed
    })
}

#[tokio::test]
async fn a_view_is_rebuilt_under_running_orders_by_processes_that_are_killed_over_it() {
    let mut lab = Lab::all_running().await;
    let stop = Arc::<AtomicBool>::default();
    let ordering = keep_ordering(&lab, stop.clone());
    let first = Deed::Place.somebody(&lab, 0).insist().await.answer.id();
    lab.dashboard.client().until(&format!("/dashboards/{first}"), "status", "ORDER_CONFIRMED").await;

    for death in ["rebuild.after-portion", "rebuild.before-switch", "rebuild.after-switch"] {
        lab.dashboard.kill();
        lab.dashboard.start_with(Trap::Dies(death)).await;
        let rebuilding = lab.command(&["view", "rebuild"], &["dashboard"]);
        let rebuilding = tokio::task::spawn_blocking(|| run_apart(rebuilding));
        lab.dashboard.wait_until_dead().await;
        let (exit_code, _, said) = rebuilding.await.expect("a command");
        assert_eq!(exit_code, 1, "{death}: {said}");
        // What it says to do.
        let is_given_up = said.contains("error[rebuild-given-up]");
        let is_told = if is_given_up {
            said.contains("Start the service, then try again")
        } else {
            said.contains("error[service-silent]")
        };
        assert!(is_told, "{death}: {said}");
        lab.dashboard.start().await;
        // The view stands, old or new, and goes on.
        let order = lab.dashboard.client().get(&format!("/dashboards/{first}")).await;
        assert_eq!(order.status, 200, "{death}: {order:?}");
        let (exit_code, said) = rebuild(&lab);
        assert_eq!(exit_code, 0, "after {death}: {said}");
        assert_eq!(said["rebuilt"]["views"], serde_json::json!(["dashboards"]), "{said}");
    }
    stop.store(true, Ordering::Relaxed);
    let placed = ordering.await.expect("orders");
    assert!(placed > 0);
    lab.settle().await;
    lab.audit("20s").clean();

    // Rows by the log are the rows by the consumer; and they are so also if somebody has spoilt them.
    let by_consumer = rows(&lab);
    assert!(by_consumer.len() > placed);
    lab.dashboard.stop().await;
    spoil(
        &lab,
        &[
            "UPDATE dashboards_documents SET body = json_set(body, '$.price', 1) WHERE id % 2 = 0",
            "UPDATE dashboards_documents SET shown = 0, version = version + 1 WHERE id % 3 = 0",
            "DELETE FROM dashboards_documents WHERE id % 5 = 0",
            "UPDATE dashboards_documents SET body = '{}' WHERE id = (SELECT min(id) FROM dashboards_documents)",
            "INSERT INTO dashboards_documents VALUES (1000000, 1, 1, '{\"id\":1000000}')",
        ],
    );
    lab.dashboard.start().await;
    assert_eq!(lab.audit("1s").exit_code, 1, "what is spoilt is seen");
    let (exit_code, said) = rebuild(&lab);
    assert_eq!(exit_code, 0, "{said}");
    assert_eq!(rows(&lab), by_consumer);
    let shown = by_consumer.iter().filter(|(_, shown, _)| *shown).count();
    let page = lab.dashboard.client().get("/dashboards").await.json();
    assert_eq!(page["page"]["totalElements"], shown, "{page}");
    lab.assert_the_promise().await;

    // Nobody has asked for it to be cut: the log is whole, and nobody writes down what it needs no more.
    for source in ["order", "payment", "store", "delivery"] {
        assert!(first_segment(&lab, source).exists(), "{source}");
        assert!(!lab.bus().join(source).join("needed").exists(), "{source}");
    }
}

/// The log is cut while orders come in, by processes that are killed over it.
#[tokio::test]
async fn a_log_that_is_cut_has_all_that_anybody_needs() {
    let mut lab = Lab::new();
    for name in SERVICES {
        lab.service(name).set("retention=400ms");
    }
    // The dashboard has never run: nobody knows what it needs.
    lab.start_these(&["payment", "order", "store", "delivery"]).await;
    let stop = Arc::<AtomicBool>::default();
    let ordering = keep_ordering(&lab, stop.clone());
    wait_until(LONG, "the logs have more than one segment", async || {
        ["order", "store"].iter().all(|source| segments(&lab, source).len() > 3)
    })
    .await;
    wait_until(LONG, "the shop has said what it needs no more", async || {
        lab.bus().join("order/needed/store.json").exists()
    })
    .await;
    wait_for(Duration::from_millis(800)).await;
    assert!(first_segment(&lab, "order").exists(), "the dashboard has said nothing");

    lab.dashboard.start().await;
    wait_until(LONG, "the log is cut", async || !first_segment(&lab, "order").exists()).await;

    for (victim, death) in [
        ("dashboard", "base.before-kept"),
        ("dashboard", "base.after-kept"),
        ("dashboard", "retention.after-release"),
        ("store", "retention.after-release"),
        ("order", "retention.after-cut"),
    ] {
        lab.service(victim).kill();
        lab.service(victim).start_with(Trap::Dies(death)).await;
        lab.service(victim).wait_until_dead().await;
        lab.service(victim).start().await;
        let (exit_code, said) = rebuild(&lab);
        assert_eq!(exit_code, 0, "after {victim} died at {death}: {said}");
        assert_eq!(said["rebuilt"]["fromBase"], true, "{said}");
    }

    // One that is away loses nothing, however long it is.
    lab.dashboard.stop().await;
    lab.store.stop().await;
    let oldest = segments(&lab, "payment");
    wait_until(LONG, "more is there", async || {
        segments(&lab, "payment").last().zip(oldest.last()).is_some_and(|(now, then)| now > then)
    })
    .await;
    wait_for(Duration::from_millis(1_500)).await;
    lab.start_all().await;
    stop.store(true, Ordering::Relaxed);
    assert!(ordering.await.expect("orders") > 0);
    lab.settle().await;

    let by_consumer = rows(&lab);
    let (exit_code, said) = rebuild(&lab);
    assert_eq!((exit_code, &said["rebuilt"]["fromBase"]), (0, &Value::Bool(true)), "{said}");
    assert_eq!(rows(&lab), by_consumer);
    lab.dashboard.stop().await;
    spoil(
        &lab,
        &[
            "UPDATE dashboards_documents SET body = json_set(body, '$.price', 1) WHERE id % 2 = 0",
            "DELETE FROM dashboards_documents WHERE id % 5 = 0",
        ],
    );
    lab.dashboard.start().await;
    let (exit_code, said) = rebuild(&lab);
    assert_eq!(exit_code, 0, "{said}");
    assert_eq!(rows(&lab), by_consumer);
    lab.audit("20s").clean();

    // Who looks at it begins with what is there.
    let (exit_code, text) = lab.jumun(&["events", "tail"], &["-n", "100000"]);
    assert_eq!(exit_code, 0, "{text}");
    assert!(!text.is_empty() && !text.contains(" order/0/1 "), "{text}");
    let (exit_code, text) = lab.jumun(&["why"], &["1"]);
    assert_eq!(exit_code, 0, "{text}");
    assert!(text.contains("order/0: events before ") && text.contains("not kept any more"), "{text}");
    let (exit_code, text) = lab.jumun(&["events", "show"], &["order/0/1"]);
    assert!(exit_code == 1 && text.contains("bus-gone"), "{text}");

    // The remedy: the journal is whole, and so the log can be.
    lab.order.stop().await;
    fs::rename(lab.bus().join("order"), lab.data().join("order-that-was-cut")).expect("a folder");
    lab.order.set("retention="); // as nobody needs what is in it
    lab.order.start().await;
    wait_until(LONG, "the log is filled again", async || lab.jumun(&["events", "show"], &["order/0/1"]).0 == 0).await;
    lab.settle().await;
}

fn segments(lab: &Lab, source: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(lab.bus().join(source)).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<_> =
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    found.sort();
    found
}

fn first_segment(lab: &Lab, source: &str) -> PathBuf {
    lab.bus().join(source).join("00000000000000000000.log")
}

#[tokio::test]
async fn ending_the_command_gives_the_rebuild_up_and_only_one_is_at_work() {
    let mut lab = Lab::new();
    lab.start_all().await;
    let id = lab.have_done(Deed::Place, 0).await;
    let before = rows(&lab);
    lab.dashboard.stop().await;
    lab.dashboard.start_with(Trap::Stalls("rebuild.after-portion")).await;
    let mut first = lab.command(&["view", "rebuild"], &["dashboard"]);
    let mut first = first.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a process");
    lab.dashboard.wait_until_stalled().await;
    // Ctrl-C: the command goes, the service hears of it when it looks.
    first.kill().expect("a child of ours");
    first.wait().expect("a child of ours");
    lab.dashboard.go_on();
    wait_until(LONG, "the next rebuild is not in the way of the first", async || rebuild(&lab).0 == 0).await;
    assert_eq!(rows(&lab), before);

    // Two at once: the second is told so.
    lab.dashboard.stop().await;
    lab.dashboard.start_with(Trap::Stalls("rebuild.before-switch")).await;
    let first = lab.command(&["view", "rebuild"], &["dashboard"]);
    let first = tokio::task::spawn_blocking(|| run(first));
    lab.dashboard.wait_until_stalled().await;
    let second = lab.command(&["view", "rebuild"], &["dashboards"]);
    let second = tokio::task::spawn_blocking(|| run(second));
    lab.dashboard.go_on();
    let (first, second) = (first.await.expect("a command"), second.await.expect("a command"));
    assert_eq!(first.0, 0, "{first:?}");
    if second.0 != 0 {
        // What it says to do: the first one has ended.
        assert!(second.1.contains("error[rebuild-at-work]"), "{second:?}");
        assert!(second.1.contains("Wait for its end"), "{second:?}");
        assert_eq!(rebuild(&lab).0, 0);
    }
    assert_eq!(rows(&lab), before);
    lab.dashboard.client().until_confirmed(id).await;
    lab.assert_the_promise().await;
}

#[tokio::test]
async fn what_has_no_view_is_told_which_have() {
    let lab = Lab::new();
    for wanted in ["store", "orders", "nonsense"] {
        let (exit_code, said) = lab.jumun(&["view", "rebuild"], &[wanted]);
        assert_eq!(exit_code, 1);
        assert!(said.contains("view-unknown") && said.contains("dashboards of dashboard"), "{said}");
    }
    let (exit_code, said) = lab.jumun(&["view", "rebuild"], &["dashboard"]);
    assert_eq!(exit_code, 1);
    assert!(said.contains("service-not-running"), "{said}");
}
