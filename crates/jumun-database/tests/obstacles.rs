//! What others do to the files of a running database: they read for hours, lock, delete, replace, damage.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use jumun_database::{
    Changes, CommitError, Database, DatabaseFailure, DocumentChange, LogStats, Query, ReadDatabase, ReadError,
    SqliteDatabase,
    conformance::{event, order, schema},
    limits,
};
use rusqlite::Connection;
use serde_json::json;
use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader, Lines, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_mins(1);

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("order.db")
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", file.display()))
}

fn one(id: i64) -> Changes {
    Changes { documents: vec![order(id, 0, &json!({}))], journal: vec![event(id)], ..Changes::default() }
}

/// Two documents of half a megabyte.
fn large(id: i64) -> Changes {
    let body = json!({ "note": "x".repeat(500_000) }).to_string();
    let menu = |id| DocumentChange { collection: "menus", body: body.clone(), ..order(id, 0, &serde_json::json!({})) };
    Changes { documents: vec![menu(2 * id), menu(2 * id + 1)], ..Changes::default() }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "{what}: not within {LONG:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Another process that has a transaction open until it is let go.
struct Other {
    child: Child,
    /// It is not to write to a closed pipe.
    _output: Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn begin(file: &Path, sql: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "the_other_process"])
            .env(FILE, file)
            .env(SQL, sql)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("begun")), "it has ended");
        Self { child, _output: lines }
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

const FILE: &str = "JUMUN_TEST_OTHER_FILE";
const SQL: &str = "JUMUN_TEST_OTHER_SQL";

/// Not a test by itself: what [`Other`] runs.
#[test]
#[allow(clippy::print_stdout, clippy::disallowed_methods, reason = "it is a program of its own")]
fn the_other_process() {
    let (Some(file), Ok(sql)) = (env::var_os(FILE), env::var(SQL)) else { return };
    let connection = Connection::open(file).unwrap();
    connection.execute_batch(&sql).unwrap();
    connection.query_row("SELECT count(*) FROM orders_documents", [], |_| Ok(())).unwrap();
    println!("begun");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[tokio::test]
async fn a_reader_costs_disk_and_no_time_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    let reader = Other::begin(&file(&folder), "BEGIN");
    let mut longest = Duration::ZERO;
    let mut commits = 0;
    while database.stats().log.warning.is_none() {
        let began = Instant::now();
        database.commit(large(commits)).await.unwrap();
        longest = longest.max(began.elapsed());
        commits += 1;
        assert!(commits < 400, "400 MB are written, and nobody is warned: {:?}", database.stats().log);
    }
    // Each wait for a reader was five seconds long. The rest is the disk, with a megabyte a commit.
    assert!(longest < Duration::from_secs(2), "a commit took {longest:?}");

    let named = format!("process {}", reader.child.id());
    let mut stats = LogStats::default();
    until("the reader is named", || {
        stats = database.stats().log;
        cfg!(not(target_os = "linux")) || stats.held_by.as_ref().is_some_and(|by| by.contains(&named))
    })
    .await;
    assert!(stats.file_bytes >= limits::CHECKPOINT_URGENT_BYTES && stats.unfolded_bytes > 0, "{stats:?}");
    assert!(stats.given_up > 0 && stats.held_ms.is_some(), "{stats:?}");
    let warning = stats.warning.unwrap();
    assert!(cfg!(not(target_os = "linux")) || warning.contains(&named), "{warning}");

    // Nothing is written from here on: it shrinks by itself.
    reader.end();
    let log = beside(&file(&folder), "-wal");
    until("the log is empty", || fs::metadata(&log).unwrap().len() == 0).await;
    until("the warning is over", || database.stats().log.warning.is_none()).await;
    let stats = database.stats().log;
    assert_eq!((stats.unfolded_bytes, stats.held_ms, stats.held_by), (0, None, None));
    let all = Query { collection: "menus", filter: None, sort: Vec::new(), offset: 0, size: 1 };
    assert_eq!(i64::try_from(database.page(all).await.unwrap().total), Ok(2 * commits));
}

/// There is always a list that reads, so the log would never begin again.
#[tokio::test]
async fn lists_without_a_pause_do_not_keep_the_log_long() {
    let folder = tempfile::tempdir().unwrap();
    let database = Arc::new(SqliteDatabase::open(&file(&folder), schema(1)).unwrap());
    for id in 0..4 {
        database.commit(large(id)).await.unwrap();
    }
    let listing = Arc::clone(&database);
    let lists = (0..4).map(|_| {
        let database = Arc::clone(&listing);
        tokio::spawn(async move {
            loop {
                let all = Query { collection: "menus", filter: None, sort: Vec::new(), offset: 0, size: 8 };
                database.page(all).await.unwrap();
            }
        })
    });
    let lists: Vec<_> = lists.collect();
    let log = beside(&file(&folder), "-wal");
    let (mut id, mut longest) = (10, 0);
    while id < 260 {
        database.commit(large(id)).await.unwrap();
        longest = longest.max(fs::metadata(&log).unwrap().len());
        id += 1;
    }
    for list in lists {
        list.abort();
    }
    assert!(longest < 3 * limits::CHECKPOINT_URGENT_BYTES, "the log had {} MiB", longest >> 20);
}

#[tokio::test]
async fn a_lock_of_another_process_is_answered_in_time_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    for (id, lock) in [(10, "BEGIN IMMEDIATE"), (20, "BEGIN EXCLUSIVE")] {
        let other = Other::begin(&file(&folder), lock);
        let began = Instant::now();
        for n in 0..3 {
            let Err(CommitError::NotDone(why)) = database.commit(one(id + n)).await else { panic!("it was done") };
            let named = cfg!(not(target_os = "linux")) || why.contains(&format!("process {}", other.child.id()));
            assert!(named && why.ends_with("writes to the database file and does not end"), "{why}");
        }
        assert!(began.elapsed() < limits::BUSY_MAX, "three answers took {:?}", began.elapsed());
        other.end();
        database.commit(one(id)).await.unwrap();
    }
}

#[tokio::test]
async fn a_lock_that_goes_in_time_is_only_a_delay() {
    let folder = tempfile::tempdir().unwrap();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    let other = Other::begin(&file(&folder), "BEGIN IMMEDIATE");
    let committing = database.commit(one(1)); // it is on its way
    other.end();
    committing.await.unwrap();
}

type Deed<'a> = &'a dyn Fn(&Path);

#[tokio::test]
async fn nothing_is_committed_into_files_that_are_gone() {
    let remove = |suffix: &'static str| move |file: &Path| fs::remove_file(beside(file, suffix)).unwrap();
    let (database, log, memory, lock) = (remove(""), remove("-wal"), remove("-shm"), remove(".lock"));
    let emptied = |file: &Path| fs::write(file, "").unwrap();
    let folder = |file: &Path| fs::remove_dir_all(file.parent().unwrap()).unwrap();
    let moved = |file: &Path| fs::rename(file.parent().unwrap(), file.parent().unwrap().with_extension("old")).unwrap();
    let replaced = |file: &Path| {
        fs::copy(beside(file, ".lock"), beside(file, ".copy")).unwrap();
        fs::rename(beside(file, ".copy"), file).unwrap();
    };
    let deeds: [(&str, Deed<'_>); 8] = [
        ("database", &database),
        ("log", &log),
        ("memory", &memory),
        ("lock", &lock),
        ("emptied", &emptied),
        ("folder", &folder),
        ("moved", &moved),
        ("replaced", &replaced),
    ];
    for (name, deed) in deeds {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("data/order.db");
        let database = SqliteDatabase::open(&file, schema(1)).unwrap();
        database.commit(one(1)).await.unwrap();
        assert_eq!(database.failure(), None);
        deed(&file);
        for id in 2..4 {
            let error = database.commit(one(id)).await.unwrap_err();
            let CommitError::Failed(failure) = error else { panic!("{name}: {error}") };
            assert_eq!(failure.code(), "database-gone");
            let is_beside = ["log", "memory", "lock"].contains(&name);
            assert_eq!(failure.remedy().contains("has everything"), is_beside, "{name}: {}", failure.remedy());
            assert_eq!(database.failure(), Some(failure));
        }
        database.close().await;
    }
}

#[tokio::test]
async fn a_file_that_goes_is_missed_also_when_nothing_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    fs::remove_file(file(&folder)).unwrap();
    until("it is missed", || database.failure().is_some()).await;
}

/// A database with orders 1 to 20, just after its log was deleted.
async fn without_its_log() -> (TempDir, SqliteDatabase) {
    let folder = tempfile::tempdir().unwrap();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    for id in 1..=20 {
        database.commit(one(id)).await.unwrap();
    }
    fs::remove_file(beside(&file(&folder), "-wal")).unwrap();
    (folder, database)
}

async fn has_all_orders_when_it_opens_again(folder: &TempDir, database: SqliteDatabase) -> SqliteDatabase {
    database.close().await;
    drop(database);
    let database = SqliteDatabase::open(&file(folder), schema(1)).unwrap();
    assert_eq!(database.scan("orders", 0, 100).await.unwrap().len(), 20);
    database
}

#[tokio::test]
async fn a_log_that_is_deleted_takes_nothing_with_it() {
    let (folder, database) = without_its_log().await;
    until("what it held is in the database", || {
        database.failure().is_some() && database.stats().log.unfolded_bytes == 0
    })
    .await;
    has_all_orders_when_it_opens_again(&folder, database).await.commit(one(21)).await.unwrap();
}

/// A reader keeps the log from being folded back whole: it is tried again until that has gone.
#[tokio::test]
async fn a_log_that_is_deleted_under_a_reader_is_folded_back_when_that_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    database.commit(one(1)).await.unwrap();
    let reader = Other::begin(&file(&folder), "BEGIN");
    for id in 2..=20 {
        database.commit(one(id)).await.unwrap();
    }
    fs::remove_file(beside(&file(&folder), "-wal")).unwrap();
    until("it is missed", || database.failure().is_some()).await;
    let before = database.stats().log.given_up;
    until("the reader was in the way", || database.stats().log.given_up > before).await;
    assert!(database.stats().log.unfolded_bytes > 0);
    reader.end();
    until("what it held is in the database", || database.stats().log.unfolded_bytes == 0).await;
    has_all_orders_when_it_opens_again(&folder, database).await;
}

/// Nobody has looked at the files since.
#[tokio::test]
async fn a_log_that_is_deleted_just_before_the_end_takes_nothing_with_it() {
    let (folder, database) = without_its_log().await;
    has_all_orders_when_it_opens_again(&folder, database).await;
}

/// What was folded back before is not in the log any more: folding the rest back would make a damaged database.
#[tokio::test]
async fn a_database_that_is_emptied_stays_empty() {
    let folder = tempfile::tempdir().unwrap();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    database.commit(one(1)).await.unwrap();
    fs::write(file(&folder), "").unwrap();
    until("it is missed", || database.failure().is_some()).await;
    database.close().await;
    drop(database);
    assert_eq!(fs::metadata(file(&folder)).unwrap().len(), 0);
    assert_eq!(
        SqliteDatabase::open(&file(&folder), schema(1)).err().unwrap().code(),
        "database-damaged",
        "its log is there"
    );
}

#[tokio::test]
async fn a_damaged_page_is_remembered_and_nothing_is_written_into_the_file_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    for group in 0..4 {
        let body = json!({ "storeName": "s".repeat(200) });
        let documents = (1..=500).map(|id| order(500 * group + id, 0, &body)).collect();
        database.commit(Changes { documents, ..Changes::default() }).await.unwrap();
    }
    database.close().await;
    drop(database);
    let root: i64 = Connection::open(file(&folder))
        .unwrap()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'orders_documents'", [], |row| row.get(0))
        .unwrap();
    let pages = File::options().read(true).write(true).open(file(&folder)).unwrap();
    let at = |page: u64| 4096 * (page - 1);
    let mut bytes = [0; 4096];
    pages.read_exact_at(&mut bytes, at(u64::try_from(root).unwrap())).unwrap();
    let leaves = u64::from(u16::from_be_bytes([bytes[3], bytes[4]]));
    for leaf in 1..leaves {
        let cell = usize::try_from(12 + 2 * leaf).unwrap();
        let cell = usize::from(u16::from_be_bytes([bytes[cell], bytes[cell + 1]]));
        let page = u32::from_be_bytes(bytes[cell..cell + 4].try_into().unwrap());
        pages.write_all_at(&[0xff; 8], at(page.into())).unwrap();
    }
    drop(pages);

    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    assert!(database.document("orders", 1).await.unwrap().is_some(), "its page is whole");
    let error = database.document("orders", 1_000).await.unwrap_err();
    let ReadError::Failed(failure) = error else { panic!("{error}") };
    assert!(matches!(failure, DatabaseFailure::Damaged { .. }), "{failure}");
    assert_eq!(failure.code(), "database-damaged");
    assert_eq!(database.commit(one(9_999)).await, Err(CommitError::Failed(failure.clone())));
    assert_eq!(database.failure(), Some(failure));
    let all = Query { collection: "orders", filter: None, sort: Vec::new(), offset: 0, size: 1_000 };
    assert!(matches!(database.page(all).await, Err(ReadError::Failed(_))));
    assert!(database.document("orders", 1).await.unwrap().is_some(), "what can be read is read");
}
