//! Remedies for the databases.

use super::{
    all_up, assert_whole, clean, copy_folder, fails, healthy, move_all_away, starts_healthy, starts_whole, with_orders,
};
use crate::lab::{LONG, SERVICES, Up, wait_until};
use rusqlite::Connection;
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

/// What happens to a file.
type Change<'a> = &'a dyn Fn(&Path);

/// A database, and what SQLite keeps beside it.
fn files_of(up: &Up, service: &str) -> [std::path::PathBuf; 3] {
    ["db", "db-wal", "db-shm"].map(|end| up.data().join(format!("{service}.{end}")))
}

/// Moves a database away; [`restore`] brings it back.
fn move_away(up: &Up, service: &str) {
    keep(up, service, |file, kept| fs::rename(file, kept).expect("moved"));
}

/// Makes the copy of a database that [`restore`] brings back.
fn back_up(up: &Up, service: &str) {
    keep(up, service, |file, kept| {
        fs::copy(file, kept).expect("a copy");
    });
}

fn keep(up: &Up, service: &str, how: impl Fn(&Path, &Path)) {
    let kept = up.folder().join("kept");
    drop(fs::remove_dir_all(&kept));
    fs::create_dir_all(&kept).expect("a folder");
    for file in files_of(up, service) {
        if file.exists() {
            how(&file, &kept.join(file.file_name().expect("a name")));
        }
    }
}

fn restore(up: &Up, service: &str) {
    for file in files_of(up, service) {
        drop(fs::remove_file(&file));
        let kept = up.folder().join("kept").join(file.file_name().expect("a name"));
        if kept.exists() {
            fs::copy(kept, file).expect("restored");
        }
    }
}

/// Restores the whole data folder of a system from one backup, and stops the system again.
async fn restore_all(up: &mut Up, backup: &Path) {
    move_all_away(up);
    copy_folder(backup, &up.data());
    starts_whole(up).await;
    up.stop().await;
}

/// A view is whole again once it has a row for each order.
async fn view_is_whole(up: &Up) {
    wait_until(LONG, "the view is whole", async || {
        up.client("gateway").all("/dashboards").await.len() == up.client("gateway").all("/orders").await.len()
    })
    .await;
    assert_whole(up).await;
}

/// Overwrites the leaves of a table, but the first and the last one.
fn damage_pages(database: &Path, table: &str) {
    let connection = Connection::open(database).expect("a database");
    let root: u32 = connection
        .query_row("SELECT rootpage FROM sqlite_master WHERE name = ?1", [table], |row| row.get(0))
        .expect("a table");
    drop(connection);
    let file = File::options().read(true).write(true).open(database).expect("a file");
    let mut page = [0; 4_096];
    file.read_exact_at(&mut page, 4_096 * (u64::from(root) - 1)).expect("a page");
    let cells = usize::from(u16::from_be_bytes([page[3], page[4]]));
    assert_eq!(page[0], 5, "the table has leaves");
    for cell in 1..cells {
        let at = usize::from(u16::from_be_bytes([page[12 + 2 * cell], page[13 + 2 * cell]]));
        let leaf = u32::from_be_bytes(page[at..at + 4].try_into().expect("four bytes"));
        file.write_all_at(&[0xff; 8], 4_096 * (u64::from(leaf) - 1)).expect("overwritten");
    }
}

/// The commands that read databases of a stopped system.
const READERS: [&[&str]; 4] =
    [&["audit", "food-delivery"], &["why", "food-delivery", "3"], &["asks", "food-delivery"], &["parked", "list"]];

#[tokio::test]
async fn a_database_that_is_gone() {
    let mut up = with_orders(10).await;
    for service in SERVICES {
        move_away(&up, service);
        for words in READERS {
            let failed = fails(up.command_of(words), "database-lost");
            assert!(failed.said.contains(&format!("{service}.db")), "{words:?}: {}", failed.said);
            assert_eq!(failed.status, if words[0] == "audit" { 2 } else { 1 }, "{words:?}");
        }
        if service == "dashboard" {
            let failed = fails(up.command_of(READERS[0]), "database-lost");
            let words = failed.command("jumun up", &[("<system>", "food-delivery")]);
            assert_eq!(words, ["up", "food-delivery"]);
            starts_healthy(&mut up).await;
            view_is_whole(&up).await;
            up.stop().await;
            continue;
        }
        let failed = fails(up.command(), "database-lost");
        failed.says("Restore the newest copy of this file");
        assert!(!files_of(&up, service)[0].exists(), "no empty one is made in its place");
        // An empty file is no database either; nor does it help to take the bus away.
        File::create(&files_of(&up, service)[0]).expect("an empty file");
        fails(up.command_of(READERS[0]), "database-lost");
        fails(up.command(), "database-lost");
        let bus = up.data().join("bus");
        fs::rename(&bus, up.folder().join("bus")).expect("moved");
        fails(up.command(), "database-lost");
        drop(fs::remove_dir_all(&bus));
        // Not even where nothing but databases was kept: other services have applied events of the orders.
        if service == "order" {
            fs::remove_dir_all(up.data().join("epochs")).expect("removed");
            assert_eq!(fails(up.command_of(READERS[0]), "database-lost").status, 2);
            fails(up.command(), "database-lost");
            drop(fs::remove_dir_all(&bus));
        }
        fs::rename(up.folder().join("bus"), &bus).expect("restored");

        restore(&up, service);
        starts_healthy(&mut up).await;
        up.stop().await;
    }

    let backup = up.folder().join("backup");
    copy_folder(&up.data(), &backup);
    move_away(&up, "order");
    let failed = fails(up.command(), "database-lost");
    failed.says("If there is none, restore the whole data folder of the system from one backup");
    restore_all(&mut up, &backup).await;

    move_away(&up, "order");
    let failed = fails(up.command(), "database-lost");
    failed.says(
        "or move it away (all of it, and the bus if the key `bus` names another folder: the other databases do not fit an empty one) and start the system with nothing",
    );
    move_all_away(&up);
    starts_whole(&mut up).await; // its order is number 1 again, and is paid for
}

#[tokio::test]
async fn a_data_folder_that_is_gone_and_whose_bus_is_elsewhere() {
    let mut up = Up::new();
    let bus = up.folder().join("bus");
    let setting = format!("bus=log://{}", bus.display());
    up.set(setting.as_str());
    starts_healthy(&mut up).await;
    up.stop().await;
    move_all_away(&up);
    let lost = |up: &Up| {
        let audit = up.command_of(&["audit", "food-delivery", "--set", &setting]);
        assert_eq!(fails(audit, "database-lost").status, 2);
        let failed = fails(up.command(), "database-lost");
        for named in [bus.display().to_string(), "order.db".to_owned()] {
            assert!(failed.said.contains(&named), "{named}: {}", failed.said);
        }
        assert!(!files_of(up, "order")[0].exists(), "no empty one is made in its place");
        failed
    };
    // A log that is damaged is one, too.
    let (mark, kept) = (bus.join("order/synced"), up.folder().join("synced"));
    fs::rename(&mark, &kept).expect("moved");
    lost(&up);
    fs::rename(&kept, &mark).expect("restored");
    lost(&up).says("If not, restore the newest copy of this file");
    drop(fs::remove_dir_all(up.data()));
    fs::rename(up.data().with_extension("away"), up.data()).expect("restored");
    starts_healthy(&mut up).await;
    up.stop().await;

    move_all_away(&up);
    lost(&up).says("or move both away and start the system with nothing");
    fs::rename(&bus, up.folder().join("bus.away")).expect("moved");
    starts_whole(&mut up).await;
}

#[tokio::test]
async fn the_database_of_another_system() {
    let (mut up, other) = (with_orders(5).await, with_orders(5).await);
    move_away(&up, "order");
    fs::copy(other.data().join("order.db"), up.data().join("order.db")).expect("a copy");
    let failed = fails(up.command_of(READERS[0]), "database-replaced");
    assert_eq!(failed.status, 2, "{}", failed.said);
    assert!(failed.said.contains("order.db"), "{}", failed.said);
    let failed = fails(up.command(), "database-replaced");
    failed.says("Restore the newest copy of this file");
    // Nor does it fit where nothing but databases was kept.
    let (bus, kept_bus) = (up.data().join("bus"), up.folder().join("bus"));
    fs::rename(&bus, &kept_bus).expect("moved");
    fs::remove_dir_all(up.data().join("epochs")).expect("removed");
    assert_eq!(fails(up.command_of(READERS[0]), "database-replaced").status, 2);
    fails(up.command(), "database-replaced");
    drop(fs::remove_dir_all(&bus));
    fs::rename(&kept_bus, &bus).expect("restored");
    restore(&up, "order");
    starts_healthy(&mut up).await;
    up.stop().await;

    move_away(&up, "dashboard");
    fs::copy(other.data().join("dashboard.db"), up.data().join("dashboard.db")).expect("a copy");
    fails(up.command_of(READERS[0]), "database-replaced");
    fails(up.command(), "database-replaced")
        .says("Move this file and those beside it (-wal, -shm) away, and start the system");
    move_away(&up, "dashboard");
    starts_whole(&mut up).await;
    up.stop().await;

    let backup = up.folder().join("backup");
    copy_folder(&up.data(), &backup);
    fs::copy(other.data().join("order.db"), up.data().join("order.db")).expect("a copy");
    fails(up.command(), "database-replaced")
        .says("If there is no copy, restore the whole data folder of the system from one backup");
    restore_all(&mut up, &backup).await;

    fs::copy(other.data().join("order.db"), up.data().join("order.db")).expect("a copy");
    fails(up.command(), "database-replaced").says(
        "or move it away (all of it, and the bus if the key `bus` names another folder: the other databases do not fit another one) and start the system with nothing",
    );
    move_all_away(&up);
    starts_healthy(&mut up).await;
}

/// A backup of the databases alone, restored into the folder of a system that was started before.
#[tokio::test]
async fn the_databases_of_one_backup() {
    let (mut up, backup) = (with_orders(5).await, with_orders(10).await);
    for service in SERVICES {
        move_away(&up, service);
        fs::copy(backup.data().join(format!("{service}.db")), &files_of(&up, service)[0]).expect("restored");
    }
    fails(up.command(), "database-replaced")
        .says("If all databases here come from one backup, move `epochs` and `bus` of this system away and start");
    for folder in ["epochs", "bus"] {
        fs::rename(up.data().join(folder), up.folder().join(folder)).expect("moved");
    }
    starts_healthy(&mut up).await;
    view_is_whole(&up).await;
    assert_eq!(up.client("gateway").all("/orders").await.len(), 11);
}

#[tokio::test]
async fn a_database_of_something_else() {
    let mut up = with_orders(5).await;
    let foreign: [(&str, Change<'_>); 2] = [
        ("belongs to the service `payment`", &|file| {
            let copied = fs::copy(up.data().join("payment.db"), file).expect("a copy");
            assert!(copied > 0);
        }),
        ("another program", &|file| {
            let connection = Connection::open(file).expect("a database");
            connection.execute("CREATE TABLE theirs (x)", []).expect("a table");
        }),
    ];
    for (why, make) in foreign {
        move_away(&up, "order");
        make(&files_of(&up, "order")[0]);
        for command in [up.command_of(READERS[0]), up.command()] {
            let failed = fails(command, "database-foreign");
            assert!(failed.said.contains("order.db") && failed.said.contains(why), "{}", failed.said);
            failed.says("Move this file away and restore the database of this service in its place");
        }
        restore(&up, "order");
        clean(&up);
    }
    // The other half: the database is elsewhere.
    move_away(&up, "order");
    let elsewhere = up.folder().join("elsewhere.db");
    fs::copy(up.folder().join("kept/order.db"), &elsewhere).expect("moved");
    fs::copy(up.data().join("payment.db"), &files_of(&up, "order")[0]).expect("a copy");
    fails(up.command(), "database-foreign").says("set `database` of this service to where that is");
    up.set(format!("order.database=sqlite://{}", elsewhere.display()));
    up.start().await;
    all_up(&up).await;
    let gateway = up.client("gateway");
    gateway.place_confirmed("김밥", 3_000).await;
}

#[tokio::test]
async fn a_database_that_is_damaged() {
    let mut up = with_orders(10).await;
    let damage: [(&str, Change<'_>); 4] = [
        ("it is nonsense", &|file| fs::write(file, [7; 8_192]).expect("written")),
        ("its head is zeros", &|file| {
            File::options().write(true).open(file).expect("a file").write_all_at(&[0; 100], 0).expect("written");
        }),
        ("it is cut", &|file| {
            File::options().write(true).open(file).expect("a file").set_len(5_000).expect("cut");
        }),
        ("its log is there, and it is not", &|file| {
            fs::remove_file(file).expect("removed");
            fs::write(file.with_extension("db-wal"), "a log").expect("written");
        }),
    ];
    for (what, damage) in damage {
        let file = up.data().join("payment.db");
        let backup = up.folder().join("backup.db");
        fs::copy(&file, &backup).expect("a copy");
        damage(&file);
        let failed = fails(up.command_of(READERS[0]), "database-damaged");
        assert_eq!(failed.status, 2, "{what}: {}", failed.said);
        assert!(failed.said.contains("payment.db"), "{what}: {}", failed.said);
        let failed = fails(up.command(), "database-damaged");
        failed.says("Move this file and those beside it (-wal, -shm) away, restore the newest copy in its place, and start again");
        move_away(&up, "payment");
        fs::copy(&backup, &file).expect("restored");
        starts_whole(&mut up).await;
        up.stop().await;
    }
    fs::write(up.data().join("dashboard.db"), [7; 8_192]).expect("written");
    for command in [up.command_of(READERS[0]), up.command()] {
        fails(command, "database-damaged").says(
            "Move this file and those beside it (-wal, -shm) away, and start the system: this service fills its views",
        );
    }
    move_away(&up, "dashboard");
    starts_healthy(&mut up).await;
    view_is_whole(&up).await;
    up.stop().await;

    let backup = up.folder().join("backup");
    copy_folder(&up.data(), &backup);
    fs::write(up.data().join("payment.db"), [7; 8_192]).expect("written");
    fails(up.command(), "database-damaged")
        .says("If there is none, restore the whole data folder of the system from one backup");
    restore_all(&mut up, &backup).await;

    fs::write(up.data().join("payment.db"), [7; 8_192]).expect("written");
    fails(up.command(), "database-damaged").says("or move it away (all of it, and the bus if the key `bus` names another folder) and start the system with nothing");
    move_all_away(&up);
    starts_healthy(&mut up).await;
}

#[tokio::test]
async fn a_page_that_is_damaged_in_the_middle_of_an_audit() {
    let mut up = with_orders(300).await;
    for (service, table) in [("order", "orders_documents"), ("payment", "payinfos_documents")] {
        let file = up.data().join(format!("{service}.db"));
        let backup = up.folder().join("backup.db");
        fs::copy(&file, &backup).expect("a copy");
        damage_pages(&file, table);
        for words in [READERS[0], &["why", "food-delivery", "150"]] {
            let failed = fails(up.command_of(words), "database-damaged");
            assert!(failed.said.contains(&format!("{service}.db")), "{words:?}: {}", failed.said);
            assert!(!failed.said.contains("clean") && !failed.said.contains("violated"), "{}", failed.said);
            assert_eq!(failed.status, if words[0] == "audit" { 2 } else { 1 }, "{words:?}");
            failed.says("restore the newest copy in its place");
        }
        move_away(&up, service);
        fs::copy(&backup, &file).expect("restored");
        clean(&up);
    }
    starts_healthy(&mut up).await;
}

#[tokio::test]
async fn a_database_that_is_in_use() {
    let up = Up::running().await;
    let mut command = up.command_of(&["serve", "food-delivery", "order", "--listen", "127.0.0.1:0"]);
    let failed = fails(std::mem::replace(&mut command, up.command_of(&["status"])), "database-in-use");
    failed.says("Stop the other process");
    let other = Up::new();
    assert!(failed.remedy.contains("--data"), "{}", failed.remedy);
    let pid = up.pid("order").as_raw_nonzero().to_string();
    assert!(failed.said.contains(&pid), "it is named: {}", failed.said);
    up.tell(&["stop", "order"]); // the other process
    let mut child = up
        .command_of(&["serve", "food-delivery", "order", "--listen", &other.address("order").to_string()])
        .spawn()
        .expect("a process");
    let client = other.client("order");
    wait_until(LONG, "it serves", async || {
        crate::lab::Customer::ordering(client.clone(), None, serde_json::json!({})).ask_once().await.is_ok()
    })
    .await;
    child.kill().expect("killed");
    child.wait().expect("ended");
    up.tell(&["start", "order"]);
    healthy(&up).await;
}

#[tokio::test]
async fn a_database_of_a_newer_release() {
    let mut up = with_orders(5).await;
    back_up(&up, "store");
    let database = Connection::open(&files_of(&up, "store")[0]).expect("a database");
    database.pragma_update(None, "user_version", 99).expect("a version");
    drop(database);
    for command in [up.command(), up.command_of(READERS[0])] {
        let failed = fails(command, "database-newer");
        assert!(failed.said.contains("store.db"), "{}", failed.said);
        failed.says("or restore the copy that was made before the upgrade");
    }
    restore(&up, "store");
    starts_healthy(&mut up).await;
}

/// A command reads it before the first start after an upgrade.
#[tokio::test]
async fn a_database_of_the_release_before() {
    let mut up = with_orders(5).await;
    for service in SERVICES {
        let database = Connection::open(&files_of(&up, service)[0]).expect("a database");
        database.execute("DROP TABLE waits", []).expect("dropped");
        database.pragma_update(None, "user_version", 6).expect("a version");
    }
    for words in READERS {
        let failed = fails(up.command_of(words), "database-older");
        assert!(failed.said.contains(".db"), "{words:?}: {}", failed.said);
        assert_eq!(failed.command("jumun up", &[("<system>", "food-delivery")]), ["up", "food-delivery"]);
    }
    starts_whole(&mut up).await;
    up.stop().await;
    clean(&up);
}

#[tokio::test]
async fn a_database_of_other_partitions() {
    let mut up = with_orders(5).await;
    back_up(&up, "store");
    let connection = Connection::open(&files_of(&up, "store")[0]).expect("a database");
    connection.execute("UPDATE meta SET value = '4' WHERE name = 'partitions'", []).expect("changed");
    drop(connection);
    fails(up.command(), "database-partitions").says("or restore a copy that this one made");
    restore(&up, "store");
    starts_healthy(&mut up).await;
}

#[tokio::test]
async fn a_database_that_cannot_be_used() {
    let mut up = with_orders(5).await;
    move_away(&up, "order");
    let file = files_of(&up, "order")[0].clone();
    fs::create_dir(&file).expect("a folder");
    for command in [up.command(), up.command_of(READERS[0])] {
        let failed = fails(command, "database-unusable");
        assert!(failed.said.contains("order.db"), "{}", failed.said);
        failed.says("Check that the file and its folder exist, have room, and can be read and written by this user");
    }
    fs::remove_dir(&file).expect("removed");
    restore(&up, "order");
    starts_healthy(&mut up).await;
}

#[tokio::test]
async fn no_database_at_all() {
    let mut up = Up::new();
    let failed = fails(up.command_of(READERS[0]), "database-missing");
    assert_eq!(failed.status, 2, "{}", failed.said);
    assert_eq!(failed.command("jumun up", &[("<system>", "food-delivery")]), ["up", "food-delivery"]);
    assert!(failed.remedy.contains("--data"), "{}", failed.remedy);
    starts_healthy(&mut up).await;
    let elsewhere = Up::new();
    let data = up.folder().join("data").display().to_string();
    fails(elsewhere.command_of(READERS[0]), "database-missing");
    assert_eq!(elsewhere.jumun(&["audit", "food-delivery", "--data", &data]).0, 0);
}
