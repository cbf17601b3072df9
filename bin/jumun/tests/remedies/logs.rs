//! Remedies for the bus: a log is the copy of a journal.

use super::{
    Failed, all_up, assert_whole, copy_folder, fails, healthy, move_all_away, outcome, starts_healthy, starts_whole,
    with_orders,
};
use crate::lab::{LONG, Up, wait_until};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

fn segment(order: &Path) -> PathBuf {
    order.join("00000000000000000000.log")
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(path, bytes).expect("a segment");
}

fn cut(path: &Path, length: impl Fn(u64) -> u64) {
    let file = File::options().write(true).open(path).expect("a file");
    file.set_len(length(file.metadata().expect("its length").len())).expect("it is cut");
}

fn zero(path: &Path) {
    let file = File::options().write(true).open(path).expect("a file");
    let length = usize::try_from(file.metadata().expect("its length").len()).expect("a length");
    file.write_all_at(&vec![0; length], 0).expect("it is zeroed");
}

/// Damages the log in a folder.
type Damage = fn(&Path);

/// What may happen to the log of the orders. The folder is `bus/order`.
const DAMAGE: [(&str, &str, Damage); 10] = [
    ("a byte is wrong", "bus-damaged", |order| flip(&segment(order))),
    ("it is cut", "bus-damaged", |order| cut(&segment(order), |length| length / 2)),
    ("it is empty", "bus-damaged", |order| cut(&segment(order), |_| 0)),
    ("it is zeros", "bus-damaged", |order| zero(&segment(order))),
    ("it is moved away", "bus-damaged", |order| fs::rename(segment(order), order.join("../../moved")).expect("moved")),
    ("the mark is gone", "bus-damaged", |order| fs::remove_file(order.join("synced")).expect("removed")),
    ("the mark is empty", "bus-damaged", |order| cut(&order.join("synced"), |_| 0)),
    ("the mark is zeros", "bus-damaged", |order| zero(&order.join("synced"))),
    ("the folder is gone", "bus-missing", |order| fs::remove_dir_all(order).expect("removed")),
    ("the bus is gone", "bus-missing", |order| fs::remove_dir_all(order.parent().expect("a bus")).expect("removed")),
];

/// The remedy of a damaged log.
fn assert_by_itself(failed: &Failed) {
    failed.says("fills it again from its journal, within seconds while it runs. Start it if it is stopped");
    failed.says("then try again");
}

/// Rebuilds the view, which reads the whole log, until it can be; what it then says.
async fn rebuild(up: &Up) -> String {
    let mut said = String::new();
    wait_until(LONG, "the view is rebuilt", async || {
        let (status, now) = outcome(up.command_of(&["view", "rebuild", "food-delivery", "dashboard"]));
        if status != 0 {
            let is_transient = ["bus-damaged", "bus-behind", "bus-missing"].iter().any(|code| now.contains(code));
            assert!(is_transient, "{now}");
        }
        said = now;
        status == 0
    })
    .await;
    said
}

#[tokio::test]
async fn a_log_that_is_damaged_while_all_is_stopped() {
    let mut up = with_orders(20).await;
    for (what, code, damage) in DAMAGE {
        damage(&up.data().join("bus/order"));
        let failed = fails(up.command_of(&["events", "tail", "food-delivery"]), code);
        assert!(failed.said.contains("bus"), "{what}: the file is named: {}", failed.said);
        if code == "bus-damaged" {
            assert_by_itself(&failed);
        }
        assert_eq!(failed.command("jumun up", &[("<system>", "food-delivery")]), ["up", "food-delivery"], "{what}");
        up.start().await;
        rebuild(&up).await;
        healthy(&up).await;
        assert_whole(&up).await;
        up.stop().await;
        assert_eq!(up.jumun(&["events", "tail", "food-delivery"]).0, 0, "{what}");
    }
}

#[tokio::test]
async fn a_log_that_is_damaged_while_all_runs() {
    let mut up = with_orders(20).await;
    up.start().await;
    for (what, _, damage) in DAMAGE {
        healthy(&up).await;
        damage(&up.data().join("bus/order"));
        let said = rebuild(&up).await;
        assert!(said.contains("rebuilt"), "{what}: {said}");
        wait_until(LONG, "the log is whole", async || up.jumun(&["events", "tail", "food-delivery"]).0 == 0).await;
        healthy(&up).await;
        assert_whole(&up).await;
    }
}

#[tokio::test]
async fn the_log_of_another_database() {
    let (mut up, other) = (with_orders(10).await, with_orders(5).await);
    let order = up.data().join("bus/order");
    fs::remove_dir_all(&order).expect("removed");
    copy_folder(&other.data().join("bus/order"), &order);
    let failed = fails(up.command(), "bus-another-epoch");
    failed.says("Move the folder of this log (bus/<service> in the data folder, or <service> in the folder that the key `bus` names) away while its service is stopped");
    fs::rename(&order, up.folder().join("moved")).expect("moved");
    starts_whole(&mut up).await;
}

#[tokio::test]
async fn a_consumer_of_another_database() {
    let (mut up, other) = (with_orders(10).await, with_orders(5).await);
    let backup = up.folder().join("backup");
    copy_folder(&up.data(), &backup);
    let views = ["dashboard.db", "dashboard.db-wal", "dashboard.db-shm"];
    let replace = |up: &Up| {
        for file in views {
            drop(fs::remove_file(up.data().join(file)));
        }
        fs::copy(other.data().join(views[0]), up.data().join(views[0])).expect("a copy");
        fs::remove_file(up.data().join("epochs/dashboard")).expect("removed");
    };
    replace(&up);
    up.start().await;
    let failed = says_in_log(&up, "dashboard", "bus-another-epoch").await;
    let service = [("<service>", "dashboard")];
    let (stop, start) = (failed.command("jumun stop", &service), failed.command("jumun start", &service));
    failed.says("move its database and the files beside it (-wal, -shm) away");
    tell(&up, &stop);
    for file in views {
        drop(fs::rename(up.data().join(file), up.folder().join(file)));
    }
    tell(&up, &start);
    healthy(&up).await;
    assert_whole(&up).await;
    up.stop().await;

    replace(&up);
    up.start().await;
    let failed = says_in_log(&up, "dashboard", "bus-another-epoch").await;
    failed.says("restore the whole data folder of the system from one backup");
    up.stop().await;
    move_all_away(&up);
    copy_folder(&backup, &up.data());
    starts_whole(&mut up).await;
}

#[tokio::test]
async fn a_database_that_is_older_than_its_log() {
    let mut up = with_orders(5).await;
    let database = up.data().join("order.db");
    let (older, newest) = (up.folder().join("older.db"), up.folder().join("newest.db"));
    fs::copy(&database, &older).expect("a copy");
    let (bus, older_bus) = (up.data().join("bus"), up.folder().join("older-bus"));
    copy_folder(&bus, &older_bus);
    starts_healthy(&mut up).await;
    up.stop().await;
    fs::copy(&database, &newest).expect("a copy");

    fs::copy(&older, &database).expect("restored");
    let failed = fails(up.command(), "bus-ahead");
    failed.says("Restore the newest copy of this database");
    fs::copy(&newest, &database).expect("restored");
    starts_healthy(&mut up).await;
    up.stop().await;

    let backup = up.folder().join("backup");
    copy_folder(&up.data(), &backup);
    fs::copy(&older, &database).expect("restored");
    let failed = fails(up.command(), "bus-ahead");
    failed.says("If there is none, restore the whole data folder of the system from one backup");
    move_all_away(&up);
    copy_folder(&backup, &up.data());
    starts_whole(&mut up).await;
    up.stop().await;

    fs::copy(&older, &database).expect("restored");
    let failed = fails(up.command(), "bus-ahead");
    failed.says("or move it away (all of it, and the bus if the key `bus` names another folder) and start the system with nothing");
    // The services that have applied its events know them, even if the bus is as old as the database or not there, and no note
    // says what was there.
    let (newest_bus, notes) = (up.folder().join("newest-bus"), up.data().join("epochs"));
    fs::rename(&bus, &newest_bus).expect("moved");
    copy_folder(&older_bus, &bus);
    fails(up.command(), "bus-ahead").says("Restore the newest copy of this database");
    fs::remove_dir_all(&bus).expect("removed");
    fs::remove_dir_all(&notes).expect("removed");
    fails(up.command(), "bus-ahead");
    drop(fs::remove_dir_all(&bus));
    fs::rename(&newest_bus, &bus).expect("restored");
    // Not even a damaged log makes the service forget what it has published.
    flip(&segment(&up.data().join("bus/order")));
    cut(&up.data().join("bus/order/synced"), |_| 0);
    fails(up.command(), "bus-ahead");
    move_all_away(&up);
    starts_healthy(&mut up).await;
}

#[tokio::test]
async fn events_that_are_not_kept() {
    let mut up = with_orders(20).await;
    starts_healthy(&mut up).await;
    up.stop().await;
    // A log that was cut, and a view that begins anew: its service has lost its database.
    let order = up.data().join("bus/order");
    let events = jumun_bus::EmbeddedLog::with_segments_of(&up.data().join("bus"), 1_000).expect("a bus");
    let source = jumun_bus::Bus::sources(&events).expect("sources").into_iter().find(|it| it.service == "order");
    let mut subscription = jumun_bus::Bus::subscribe(
        &events,
        &[jumun_bus::Position { service: "order".into(), partition: 0, epoch: None, sequence: 0 }],
        jumun_bus::Wants::All,
    )
    .expect("a subscription");
    let all = subscription.poll(512, std::time::Duration::ZERO).expect("events");
    let records: Vec<_> = all.into_iter().filter_map(|delivery| delivery.record).collect();
    let count = records.len() as u64;
    fs::remove_dir_all(&order).expect("removed");
    let mut publisher = jumun_bus::Bus::publisher(&events, &source.expect("a source")).expect("a publisher");
    publisher.append(&records).expect("appended");
    publisher.sync().expect("synced");
    drop(publisher);
    assert!(events.retain("order", &[count]).expect("cut") > 0);
    for file in ["dashboard.db", "dashboard.db-wal", "dashboard.db-shm"] {
        drop(fs::remove_file(up.data().join(file)));
    }
    let failed = fails(up.command_of(&["audit", "food-delivery"]), "database-lost");
    failed.says("If that was cut (key `retention`), the service then says bus-gone, and how to fill the log again");
    up.start().await;
    let failed = says_in_log(&up, "dashboard", "bus-gone").await;
    wait_until(LONG, "it is DOWN", async || up.tell(&["status"]).contains("DOWN")).await;
    let service = [("<service>", "order")];
    let (stop, start) = (failed.command("jumun stop", &service), failed.command("jumun start", &service));
    failed.says("move its folder on the bus (bus/<service> in the data folder, or <service> in the folder that the key `bus` names) away");
    tell(&up, &stop);
    fs::rename(&order, up.folder().join("moved")).expect("moved");
    tell(&up, &start);
    all_up(&up).await;
    healthy(&up).await;
    assert_whole(&up).await;
}

/// What a service says that nobody asks: in its log, and in health.
async fn says_in_log(up: &Up, service: &str, code: &str) -> Failed {
    wait_until(LONG, "the service says so", async || up.tell(&["logs", service]).contains(code)).await;
    let said = up.tell(&["logs", service]);
    let remedy = said.lines().find(|line| line.contains(code)).unwrap_or_default().to_owned();
    Failed { status: 1, said, remedy }
}

fn fails_rebuild(up: &Up, code: &str) -> Failed {
    fails(up.command_of(&["view", "rebuild", "food-delivery", "dashboard"]), code)
}

fn tell(up: &Up, words: &[String]) {
    up.tell(&words.iter().map(String::as_str).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_log_that_ends_before_the_position_of_a_view() {
    let mut up = with_orders(10).await;
    up.start().await;
    up.tell(&["stop", "order"]);
    fs::remove_dir_all(up.data().join("bus/order")).expect("removed");
    let failed = fails_rebuild(&up, "bus-behind");
    let start = failed.command("jumun start", &[("<service>", "order")]);
    failed.says("Then try again");
    tell(&up, &start);
    rebuild(&up).await;
    healthy(&up).await;
    assert_whole(&up).await;
}

#[tokio::test]
async fn a_log_of_a_newer_release() {
    let mut up = with_orders(5).await;
    for file in ["00000000000000000000.log", "synced"] {
        let folder = up.data().join("bus/order");
        let mut bytes = fs::read(folder.join(file)).expect("a file");
        bytes[8] = 99; // the version; its head ends with a checksum
        let end = usize::from(bytes[12]) - 4;
        let checksum = crc32c::crc32c(&bytes[..end]);
        bytes[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
        fs::write(folder.join(file), bytes).expect("a file");
        let failed = fails(up.command(), "bus-newer");
        assert!(failed.said.contains(file), "it is named: {}", failed.said);
        failed.says("stop the system and move the folder of this log (bus/<service> in the data folder, or <service> in the folder that the key `bus` names) away");
        fs::rename(folder, up.folder().join(format!("{file}.away"))).expect("moved");
        starts_whole(&mut up).await;
        up.stop().await;
    }
}

#[tokio::test]
async fn two_systems_on_one_bus() {
    let up = Up::running().await;
    let mut other = Up::new();
    let shared = format!("bus=log://{}", up.data().join("bus").display());
    let own = format!("bus=log://{}", other.folder().join("own-bus").display());
    other.set(shared.as_str());
    let failed = fails(other.command(), "database-lost");
    failed.says("If that is the bus of another system, give this system a bus of its own with the key `bus`");
    other.set(own.as_str());
    other.start().await;
    other.stop().await;
    other.set(shared);
    let failed = fails(other.command(), "bus-in-use");
    failed.says("give this system a bus of its own with the key `bus`");
    other.set(own);
    other.start().await;
    healthy(&other).await;
    healthy(&up).await;
}

#[tokio::test]
async fn a_bus_that_cannot_be_written() {
    let mut up = with_orders(5).await;
    let bus = up.data().join("bus");
    fs::rename(&bus, up.folder().join("kept")).expect("moved");
    fs::write(&bus, "a file").expect("a file");
    let failed = fails(up.command(), "bus-unavailable");
    failed.says("Check that the bus folder exists, has room, and can be written by this user");
    assert!(failed.said.contains(&"bus".to_owned()), "it is named: {}", failed.said);
    fs::remove_file(&bus).expect("removed");
    fs::rename(up.folder().join("kept"), &bus).expect("restored");
    starts_healthy(&mut up).await;
}
