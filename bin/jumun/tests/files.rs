//! What others do to the files of a running system, and what its users and operators then see: they read a database for
//! hours, lock it, delete or damage it.

mod lab;

use lab::{Client, Customer, LONG, Up, basket, wait_until, wire::Wire};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

fn log_of(database: &Path) -> PathBuf {
    PathBuf::from(format!("{}-wal", database.display()))
}

async fn database_of(service: &Client) -> Value {
    service.get("/actuator/health").await.json()["components"]["database"].take()
}

/// Refused with words, and not done.
async fn assert_refused(client: &Client, code: &str) {
    let answer = client.post("/orders", &basket("치킨", 22_000)).await;
    assert_eq!((answer.status, &*answer.problem()), (503, "not-done"), "{answer:?}");
    assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.contains(code)), "{answer:?}");
}

/// Health, probes, metrics, log, `jumun status` and the terminal of `jumun up` all say that a database has failed.
async fn assert_down(up: &Up, service: &str, code: &str) {
    let client = up.client(service);
    assert_eq!(client.get("/actuator/health").await.status, 503);
    let database = database_of(&client).await;
    assert_eq!(database["status"], "DOWN");
    assert!(database["details"]["trouble"].as_str().is_some_and(|trouble| trouble.starts_with(code)), "{database}");
    assert_eq!(client.get("/actuator/health/readiness").await.status, 503);
    assert_eq!(client.get("/actuator/health/liveness").await.status, 200, "a restart would not help");
    let metrics = String::from_utf8_lossy(&client.get("/actuator/prometheus").await.body).into_owned();
    assert!(metrics.contains(&format!("jumun_database_failed{{service=\"{service}\"}} 1")), "{metrics}");
    let says = |text: &str| text.lines().any(|line| line.starts_with(&format!("{service}: {code}: ")));
    wait_until(LONG, "status says why", async || says(&up.jumun(&["status"]).1)).await;
    let line = format!("{service} is DOWN: {code}: ");
    wait_until(LONG, "`up` says why", async || up.said().lines().any(|said| said.starts_with(&line))).await;
    assert_eq!(up.status(service)["restarts"], 0, "it is not restarted: that would not help");
}

/// Lines of a service's log that call something an error.
fn errors(up: &Up, service: &str) -> Vec<String> {
    let log = fs::read_to_string(up.data().join("logs").join(format!("{service}.log"))).expect("a log");
    log.lines().filter(|line| line.contains("ERROR")).map(str::to_owned).collect()
}

/// Deletes a folder that processes write into: what they add meanwhile goes, too.
async fn delete(folder: &Path) {
    wait_until(LONG, "the folder is deleted", async || fs::remove_dir_all(folder).is_ok()).await;
}

#[tokio::test]
async fn a_reader_of_a_database_costs_disk_and_not_one_order() {
    let up = Up::patient().await;
    let (order, file) = (up.client("order"), up.data().join("order.db"));
    // This process reads for a long time.
    let reader = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database");
    let transaction = reader.unchecked_transaction().expect("a transaction");
    transaction.query_row("SELECT count(*) FROM orders", [], |_| Ok(())).expect("a count");

    // And writes, so that the log is long soon.
    let writer = Connection::open(&file).expect("a database");
    writer.pragma_update(None, "wal_autocheckpoint", 0).expect("a setting");
    writer.execute("CREATE TABLE ballast (bytes)", []).expect("a table");
    for _ in 0..17 {
        writer.execute("INSERT INTO ballast VALUES (zeroblob(4000000))", []).expect("a row");
    }

    let mut longest = Duration::ZERO;
    let began = Instant::now();
    let mut database = Value::Null;
    while database["details"]["warning"].is_null() {
        assert!(began.elapsed() < 2 * LONG, "nobody is warned: {database}");
        let placed = (0..8).map(|_| async {
            let (client, began) = (up.client("gateway"), Instant::now());
            let answer = Customer::ordering(client, None, basket("치킨", 22_000)).ask_once().await.expect("an answer");
            assert_eq!(answer.status, 201, "{answer:?}");
            began.elapsed()
        });
        longest = futures(placed).await.into_iter().fold(longest, Duration::max);
        database = database_of(&order).await;
    }
    // Each wait for the reader was five seconds long.
    assert!(longest < Duration::from_secs(4), "an order took {longest:?}");

    let warning = database["details"]["warning"].as_str().expect("a text").to_owned();
    assert_eq!(database["status"], "UP", "orders go on");
    assert!(database["details"]["log"]["unfoldedBytes"].as_u64().is_some_and(|bytes| bytes > 0), "{database}");
    let named = format!("process {}", std::process::id());
    assert!(cfg!(not(target_os = "linux")) || warning.contains(&named), "{warning}");
    let says = |text: String| text.contains("order: the write-ahead log has");
    wait_until(LONG, "status says so", async || says(up.jumun(&["status"]).1)).await;
    let log = fs::read_to_string(up.data().join("logs/order.log")).expect("a log");
    assert_eq!(log.matches("the write-ahead log has").count(), 1, "one warning: {log}");

    drop(transaction);
    drop((reader, writer));
    wait_until(LONG, "the log is empty", async || fs::metadata(log_of(&file)).is_ok_and(|log| log.len() == 0)).await;
    wait_until(LONG, "the warning is over", async || database_of(&order).await["details"]["warning"].is_null()).await;
    up.audit("60s").clean();
}

/// All of them at once.
async fn futures<T: Send + 'static>(these: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut these: Vec<_> = these.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_done = true;
        for (one, output) in &mut these {
            if output.is_none() {
                match one.as_mut().poll(context) {
                    std::task::Poll::Ready(ready) => *output = Some(ready),
                    std::task::Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    these.into_iter().filter_map(|(_, output)| output).collect()
}

#[tokio::test]
async fn a_lock_on_a_database_is_named_and_orders_go_on_when_it_goes() {
    let up = Up::patient().await;
    let order = up.client("order");
    let other = Connection::open(up.data().join("order.db")).expect("a database");
    let transaction = other.unchecked_transaction().expect("a transaction");
    transaction.execute("UPDATE counters SET value = value + 0", []).expect("a lock");
    let began = Instant::now();
    let answer = order.post("/orders", &basket("치킨", 22_000)).await;
    assert_eq!((answer.status, &*answer.problem()), (503, "not-done"), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
    let database = database_of(&order).await;
    assert_eq!(database["status"], "DOWN");
    let trouble = database["details"]["trouble"].as_str().unwrap_or_default().to_owned();
    let named = format!("process {}", std::process::id());
    assert!(cfg!(not(target_os = "linux")) || trouble.contains(&named), "{database}");
    drop(transaction);
    up.client("gateway").place("치킨", 22_000).await;
    assert_eq!(database_of(&order).await["status"], "UP");
}

#[tokio::test]
async fn no_order_is_acknowledged_into_a_folder_that_is_gone() {
    let mut up = Up::patient().await;
    let gateway = up.client("gateway");
    gateway.place("치킨", 22_000).await;
    delete(&up.data()).await;
    assert_refused(&gateway, "database-gone").await;
    wait_until(LONG, "all have missed their files", async || {
        up.said().lines().filter(|line| line.contains(" is DOWN: database-gone: ")).count() >= 5
    })
    .await;
    assert_down(&up, "order", "database-gone").await;
    assert_refused(&gateway, "database-gone").await;
    for entry in fs::read_dir(up.data()).expect("a folder") {
        let left = entry.expect("an entry").path();
        assert_eq!(left.extension(), Some("control".as_ref()), "nothing begins again by itself: {}", left.display());
    }
    let (status, said) = up.jumun(&["breakers", "--system", "food-delivery"]);
    assert_eq!(status, 0, "operators can still ask: {said}");
    // A process that is killed does not begin again with nothing, either.
    let (status, said) = up.jumun(&["kill", "order"]);
    assert!(status == 1 && said.contains("database-missing"), "{said}");

    // What the error says to do.
    assert!(said.contains("Stop the system, then start it (jumun up <system>)"), "{said}");
    up.stop().await;
    up.start().await;
    gateway.place("치킨", 22_000).await;
    up.stop().await;
}

#[tokio::test]
async fn a_folder_that_was_moved_away_can_be_moved_back() {
    let mut up = Up::patient().await;
    let gateway = up.client("gateway");
    let id = gateway.place_confirmed("치킨", 22_000).await;
    let moved = up.folder().join("moved");
    fs::rename(up.data(), &moved).expect("moved");
    // The supervisor makes it again for its socket.
    let says = async || up.jumun(&["status"]).1.contains("order: database-gone: ");
    wait_until(LONG, "status says why", says).await;
    assert_refused(&gateway, "database-gone").await;
    up.stop().await;
    assert!(!up.data().exists(), "nothing is left at its path");
    fs::rename(&moved, up.data()).expect("moved back");
    up.start().await;
    assert_eq!(gateway.get(&format!("/orders/{id}")).await.status, 200);
    gateway.place("치킨", 22_000).await;
    up.audit("20s").clean();
}

/// The supervisor starts it again and again; what an operator starts may begin with nothing.
#[tokio::test]
async fn an_operator_starts_a_service_whose_database_was_taken_away() {
    let up = Up::patient().await;
    for instructions in [&["start"][..], &["stop", "start"]] {
        delete(&up.data()).await;
        wait_until(LONG, "operators are listened to again", async || up.jumun(&["status"]).0 == 0).await;
        let (status, said) = up.jumun(&["kill", "dashboard"]);
        assert!(status == 1 && said.contains("database-missing"), "{said}");
        for instruction in instructions {
            // It may just be on its way again, and fail.
            let is_done = async || up.jumun(&[*instruction, "dashboard"]).0 == 0;
            wait_until(LONG, instruction, is_done).await;
        }
        assert!(up.data().join("dashboard.db").exists());
    }
}

/// The remedies of `database-gone` where nothing has to be restored.
/// Its process writes on to the file that it has opened.
#[tokio::test]
async fn a_log_file_that_was_deleted_or_moved_is_told_and_made_again() {
    let up = Up::patient().await;
    let logs = up.data().join("logs");
    fs::remove_file(logs.join("order.log")).expect("a log");
    fs::rename(logs.join("store.log"), logs.join("store.1")).expect("a log");
    for service in ["order", "store"] {
        let roll = format!("jumun roll {service}");
        let said = || fs::read_to_string(logs.join(format!("{service}.log"))).unwrap_or_default();
        wait_until(LONG, "it is told", async || said().contains("was deleted or moved away")).await;
        assert!(up.said().contains(&roll) && said().contains(&roll), "{} {}", up.said(), said());
        // What it says to do.
        let words: Vec<_> = roll.split(' ').skip(1).collect();
        assert_eq!(up.jumun(&words).0, 0, "{roll}");
        let mut wire = Wire::to(up.address(service)).await;
        wire.say("nonsense\r\n\r\n").await;
        wait_until(LONG, "the next process writes there", async || said().contains("cannot be read")).await;
        assert_eq!(said().matches("was deleted or moved away").count(), 1, "{}", said());
    }
}

#[tokio::test]
async fn a_log_and_a_view_that_are_deleted_are_no_loss() {
    let mut up = Up::patient().await;
    let gateway = up.client("gateway");
    let mut id = gateway.place("치킨", 22_000).await;
    let (log, view) = (log_of(&up.data().join("order.db")), up.data().join("dashboard.db"));
    fs::remove_file(log).expect("a file");
    assert_refused(&gateway, "database-gone").await;
    assert_down(&up, "order", "database-gone").await;
    let remedy = "Stop the system and start it again: the database file has everything that was acknowledged";
    assert!(errors(&up, "order")[0].contains(remedy), "{:?}", errors(&up, "order"));
    up.stop().await;
    up.start().await;
    assert_eq!(gateway.get(&format!("/orders/{id}")).await.status, 200);
    id = gateway.place_confirmed("치킨", 22_000).await;

    fs::remove_file(&view).expect("a file");
    let dashboard = up.client("dashboard");
    wait_until(LONG, "it is missed", async || database_of(&dashboard).await["status"] == "DOWN").await;
    assert_down(&up, "dashboard", "database-gone").await;
    let remedy = "a service that has only views needs no copy. Then start again";
    assert!(errors(&up, "dashboard")[0].contains(remedy), "{:?}", errors(&up, "dashboard"));
    up.stop().await;
    for left in ["-wal", "-shm"] {
        let left = PathBuf::from(format!("{}{left}", view.display()));
        if left.exists() {
            fs::rename(&left, up.folder().join(left.file_name().expect("a name"))).expect("moved");
        }
    }
    up.start().await;
    gateway.until_confirmed(id).await;
    up.audit("20s").clean();
}

#[tokio::test]
async fn a_database_that_is_moved_away_takes_only_its_service_down() {
    let mut up = Up::patient().await;
    let gateway = up.client("gateway");
    let id = gateway.place_confirmed("치킨", 22_000).await;
    let (file, moved) = (up.data().join("payment.db"), up.data().join("payment.moved"));
    fs::rename(&file, &moved).expect("a file");
    let answer = gateway.post("/orders", &basket("치킨", 22_000)).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_down(&up, "payment", "database-gone").await;
    assert_eq!(up.client("order").get("/actuator/health").await.status, 200);
    assert_eq!(gateway.get(&format!("/orders/{id}")).await.status, 200);
    assert_eq!(errors(&up, "payment").len(), 1, "{:?}", errors(&up, "payment"));

    // What the error says to do.
    up.stop().await;
    fs::rename(&moved, &file).expect("a file");
    up.start().await;
    gateway.place("치킨", 22_000).await;
    up.audit("20s").clean();
}

/// The log of events is made again from the journals: nobody is down, and no event is lost.
#[tokio::test]
async fn a_bus_that_is_deleted_is_filled_again() {
    let up = Up::patient().await;
    let gateway = up.client("gateway");
    gateway.place("치킨", 22_000).await;
    delete(&up.data().join("bus")).await;
    for _ in 0..3 {
        let id = gateway.place("치킨", 22_000).await;
        assert_eq!(up.client("order").get("/actuator/health").await.status, 200);
        gateway.until_confirmed(id).await;
    }
    assert!(errors(&up, "order").iter().all(|line| !line.contains("bus-unavailable")), "{:?}", errors(&up, "order"));
    up.audit("20s").clean();
}

#[tokio::test]
async fn a_damaged_database_is_down_and_takes_no_order() {
    let mut up = Up::patient().await;
    let gateway = up.client("gateway");
    let mut last = 0;
    for _ in 0..120 {
        last = gateway.place("치킨", 22_000).await;
    }
    gateway.until(&format!("/dashboards/{last}"), "status", "ORDER_CONFIRMED").await;
    up.stop().await;
    let (file, copy) = (up.data().join("order.db"), up.data().join("order.copy"));
    fs::copy(&file, &copy).expect("a copy");
    damage(&file);
    up.start().await;
    assert_eq!(gateway.get("/orders/1").await.status, 200, "its page is whole");
    for path in [format!("/orders/{}", last / 2), "/orders?size=200".to_owned()] {
        let answer = gateway.get(&path).await;
        assert_eq!((answer.status, &*answer.problem()), (503, "not-done"), "{answer:?}");
        assert!(answer.json()["detail"].as_str().is_some_and(|it| it.contains("database-damaged")), "{answer:?}");
    }
    assert_refused(&gateway, "database-damaged").await;
    assert_down(&up, "order", "database-damaged").await;
    let errors = errors(&up, "order");
    assert!(errors.len() == 1 && errors[0].contains("database disk image is malformed"), "{errors:?}");
    assert!(
        errors[0].contains("(-wal, -shm) away, restore the newest copy in its place, and start again"),
        "{errors:?}"
    );

    // What the error says to do.
    fs::rename(&file, up.data().join("damaged.db")).expect("a file");
    fs::rename(log_of(&file), up.data().join("damaged.db-wal")).expect("a file");
    fs::rename(&copy, &file).expect("a file");
    up.tell(&["restart", "order"]);
    gateway.place("치킨", 22_000).await;
    assert_eq!(up.client("order").get("/actuator/health").await.status, 200);
    up.audit("20s").clean();
}

/// Overwrites the leaves of the table of orders, but the first one and the last one.
fn damage(file: &Path) {
    let root: i64 = Connection::open(file)
        .and_then(|database| {
            let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'orders_documents'";
            database.query_row(sql, [], |row| row.get(0))
        })
        .expect("a database");
    let pages = File::options().read(true).write(true).open(file).expect("a file");
    let at = |page: u64| 4_096 * (page - 1);
    let mut root_page = [0; 4_096];
    pages.read_exact_at(&mut root_page, at(u64::try_from(root).expect("a page"))).expect("a page");
    let number = |at: usize| usize::from(u16::from_be_bytes([root_page[at], root_page[at + 1]]));
    let leaves = number(3);
    assert!(leaves > 1, "the table has more than two leaves");
    for leaf in 1..leaves {
        let cell = number(12 + 2 * leaf);
        let page = u32::from_be_bytes(root_page[cell..cell + 4].try_into().expect("four bytes"));
        pages.write_all_at(&[0xff; 8], at(page.into())).expect("a page");
    }
}
