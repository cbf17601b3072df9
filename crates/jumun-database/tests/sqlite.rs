//! What is particular to the files of `SQLite`: who may open them, which files are refused, and a full disk.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use futures_util::FutureExt;
use jumun_database::{
    Changes, Collection, CommitError, Database, Document, DocumentChange, Field, OpenError, Query, ReadDatabase,
    ReadError, RebuildDatabase, RequestFilter, RequestState, Schema, Sharing, SqliteDatabase, SqliteReader,
    conformance::{event, order, schema},
    limits,
};
use jumun_testing::{SMALL_DISK, on_a_small_disk};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{self, Command},
};
use tempfile::TempDir;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("order.db")
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", file.display()))
}

fn documents(documents: impl IntoIterator<Item = DocumentChange>) -> Changes {
    Changes { documents: documents.into_iter().collect(), ..Changes::default() }
}

fn all() -> Query {
    Query { collection: "orders", filter: None, sort: Vec::new(), offset: 0, size: 100 }
}

/// A database that was used and stopped.
async fn stopped(file: &Path) {
    let database = SqliteDatabase::open(file, schema(1)).unwrap();
    let rows = (1..=3).map(|id| order(id, 0, &json!({ "storeName": "스토어99", "count": id })));
    database.commit(Changes { journal: vec![event(1)], ..documents(rows) }).await.unwrap();
    database.close().await;
}

/// Its files as a process leaves them that is killed: taken while it runs.
async fn killed(folder: &TempDir) -> PathBuf {
    let (alive, dead) = (folder.path().join("alive.db"), folder.path().join("dead.db"));
    let database = SqliteDatabase::open(&alive, schema(1)).unwrap();
    let rows = (1..=3).map(|id| order(id, 0, &json!({ "storeName": "스토어99", "count": id })));
    database.commit(documents(rows)).await.unwrap();
    for suffix in ["", "-wal", "-shm"] {
        // By another process: if this one closed the file, the locks that it has on it would go.
        let copied = Command::new("cp").arg(beside(&alive, suffix)).arg(beside(&dead, suffix)).status().unwrap();
        assert!(copied.success());
    }
    assert!(fs::metadata(beside(&dead, "-wal")).unwrap().len() > 0);
    database.close().await;
    dead
}

#[tokio::test]
async fn the_epoch_is_made_once_for_each_database() {
    let (folder, other) = (folder(), folder());
    let first = SqliteDatabase::open(&file(&folder), schema(1)).unwrap().identity().epoch;
    let again = SqliteDatabase::open(&file(&folder), schema(1)).unwrap().identity().epoch;
    let another = SqliteDatabase::open(&file(&other), schema(1)).unwrap().identity().epoch;
    assert_eq!(first, again);
    assert_ne!(first, another);
}

#[tokio::test]
async fn a_database_is_open_in_one_place_at_a_time() {
    let folder = folder();
    let first = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();

    let error = SqliteDatabase::open(&file(&folder), schema(1)).err().unwrap();
    assert!(matches!(error, OpenError::InUse { holder: Some(pid), .. } if pid == process::id()), "{error}");
    assert!(error.to_string().contains(&format!("process {} has this database open", process::id())), "{error}");
    assert_eq!(error.code(), "database-in-use");
    first.commit(documents([order(1, 0, &json!({}))])).await.unwrap();

    first.close().await;
    let second = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    assert!(second.document("orders", 1).await.unwrap().is_some());
}

#[tokio::test]
async fn a_link_to_a_database_is_the_database() {
    let (folder, other) = (folder(), folder());
    let (link, far) = (file(&folder), file(&other));
    symlink(&far, &link).unwrap(); // to a file that is not there yet
    let first = SqliteDatabase::open(&link, schema(1)).unwrap();
    first.commit(documents([order(1, 0, &json!({}))])).await.unwrap();
    assert_eq!(first.failure(), None);
    assert!(far.exists() && beside(&far, "-wal").exists());
    let error = SqliteDatabase::open(&far, schema(1)).err().unwrap();
    assert_eq!(error.code(), "database-in-use", "both names are one database");
    assert!(SqliteReader::open(&link).unwrap().document("orders", 1).await.unwrap().is_some());
    first.close().await;
    drop(first);
    let again = SqliteDatabase::open(&link, schema(1)).unwrap();
    assert!(again.document("orders", 1).await.unwrap().is_some());

    let circle = folder.path().join("circle.db");
    symlink("circle.db", &circle).unwrap();
    assert_eq!(SqliteDatabase::open(&circle, schema(1)).err().unwrap().code(), "database-unusable");
    assert_eq!(SqliteReader::open(&circle).err().unwrap().code(), "database-unusable");
}

/// As an earlier release left it: schema 4, which does not say how many processes may use it.
#[tokio::test]
async fn a_database_of_an_earlier_release_opens_and_keeps_what_it_holds() {
    let folder = folder();
    stopped(&file(&folder)).await;
    let before = Connection::open(file(&folder)).unwrap();
    before.execute("DELETE FROM meta WHERE name = 'processes'", []).unwrap();
    for column in ["answer_partition", "answer_sequence"] {
        before.execute(&format!("ALTER TABLE requests DROP COLUMN {column}"), []).unwrap();
    }
    before.execute("DROP TABLE waits", []).unwrap();
    before.pragma_update(None, "user_version", 4).unwrap();
    before.close().unwrap();
    let error = SqliteReader::open(&file(&folder)).err().unwrap();
    assert!(matches!(error, OpenError::Older { found: 4, known: 9, .. }), "not migrated yet: {error}");

    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    assert_eq!(database.identity().sharing, Sharing::OneProcess);
    assert!(database.document("orders", 3).await.unwrap().is_some());
    database.close().await;
    assert_eq!(SqliteReader::open(&file(&folder)).unwrap().identity().sharing, Sharing::OneProcess);
}

#[tokio::test]
async fn a_stopped_database_is_one_file() {
    let folder = folder();
    stopped(&file(&folder)).await;
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["order.db", "order.db.lock"]);
}

#[tokio::test]
async fn dropping_a_database_commits_what_is_queued() {
    let folder = folder();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    for id in 1..=20 {
        // Polled once, so that it is on its way, and then given up, as by a client that hangs up.
        let _ = database.commit(documents([order(id, 0, &json!({}))])).now_or_never();
    }
    drop(database);
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    assert_eq!(database.page(all()).await.unwrap().total, 20);
}

#[tokio::test]
async fn a_caller_that_does_not_look_at_its_answer_holds_up_no_other() {
    let folder = folder();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    for round in 0..50_i64 {
        let commit = |position| database.commit(documents([order(10 * round + position, 0, &json!({}))]));
        // In one group, probably: the first commit begins, the next two queue while it is on its way to the disk.
        let mut idle = [commit(1), commit(2), commit(3)];
        for commit in &mut idle {
            assert!(commit.now_or_never().is_none_or(|result| result.is_ok()));
        }
        let busy = tokio::time::timeout(std::time::Duration::from_secs(10), commit(4)).await;
        busy.expect("it waits for one that nobody polls").unwrap();
    }
}

/// Runs a future on this thread, without a runtime.
fn without_runtime<F: Future>(future: F) -> F::Output {
    struct Thread(std::thread::Thread);
    impl std::task::Wake for Thread {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(std::sync::Arc::new(Thread(std::thread::current())));
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn a_database_outlives_a_runtime() {
    let folder = folder();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    for round in 0..5_i64 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let commits = (0..50).map(|n| database.commit(documents([order(100 * round + n, 0, &json!({}))])));
        let results = runtime.block_on(futures_util::future::join_all(commits));
        assert!(results.iter().all(Result::is_ok));
        // And with none at all.
        let commits = (50..100).map(|n| database.commit(documents([order(100 * round + n, 0, &json!({}))])));
        let results = without_runtime(futures_util::future::join_all(commits));
        assert!(results.iter().all(Result::is_ok));
    }
    assert_eq!(database.stats().commits, 500);
}

#[tokio::test]
async fn folders_are_made_and_what_cannot_be_made_is_said() {
    let folder = folder();
    let deep = folder.path().join("a/b/c/order.db");
    stopped(&deep).await;
    let error = SqliteDatabase::open(&deep.join("order.db"), schema(1)).err().unwrap();
    assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_as_it_is() {
    let folder = folder();
    stopped(&file(&folder)).await;
    Connection::open(file(&folder)).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(file(&folder)).unwrap();

    for error in [
        SqliteDatabase::open(&file(&folder), schema(1)).err().unwrap(),
        SqliteReader::open(&file(&folder)).err().unwrap(),
    ] {
        assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    }

    assert_eq!(fs::read(file(&folder)).unwrap(), before);
}

#[tokio::test]
async fn the_database_of_another_program_is_refused_and_left_as_it_is() {
    let folder = folder();
    let theirs = Connection::open(file(&folder)).unwrap();
    theirs.execute("CREATE TABLE theirs (x)", []).unwrap();
    drop(theirs);
    let before = fs::read(file(&folder)).unwrap();

    let error = SqliteDatabase::open(&file(&folder), schema(1)).err().unwrap();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    let error = SqliteReader::open(&file(&folder)).err().unwrap();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");

    assert_eq!(fs::read(file(&folder)).unwrap(), before);
}

#[tokio::test]
async fn the_database_of_another_service_is_refused() {
    let folder = folder();
    stopped(&file(&folder)).await;
    let payment = Schema { service: "payment".to_owned(), ..schema(1) };
    let error = SqliteDatabase::open(&file(&folder), payment).err().unwrap();
    assert!(matches!(&error, OpenError::Foreign { why, .. } if why.contains("`order`")), "{error}");
}

#[tokio::test]
async fn another_number_of_partitions_is_refused() {
    let folder = folder();
    stopped(&file(&folder)).await;
    let error = SqliteDatabase::open(&file(&folder), schema(4)).err().unwrap();
    assert!(matches!(error, OpenError::Partitions { found: 1, wanted: 4, .. }), "{error}");
    SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
}

type Damage<'a> = &'a dyn Fn(&Path);

#[tokio::test]
async fn damage_is_seen_and_left_for_somebody_to_look_at() {
    let garbage = |file: &Path| fs::write(file, "this is no database, it is a text".repeat(1_000)).unwrap();
    let cut = |file: &Path| {
        let file = fs::File::options().write(true).open(file).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    let emptied = |file: &Path| {
        fs::write(file, "").unwrap();
        fs::write(beside(file, "-wal"), "what is left").unwrap();
    };
    let forgotten = |file: &Path| {
        Connection::open(file).unwrap().execute("DELETE FROM meta WHERE name = 'epoch'", []).unwrap();
    };
    let damages: [(&str, Damage<'_>); 4] =
        [("garbage", &garbage), ("cut", &cut), ("emptied", &emptied), ("forgotten", &forgotten)];
    for (name, damage) in damages {
        let folder = folder();
        stopped(&file(&folder)).await;
        damage(&file(&folder));
        let before = fs::read(file(&folder)).unwrap();

        let error = SqliteDatabase::open(&file(&folder), schema(1)).err().unwrap_or_else(|| panic!("{name}: opened"));
        assert!(matches!(error, OpenError::Damaged { .. }), "{name}: {error:?}");
        let error = SqliteReader::open(&file(&folder)).err().unwrap_or_else(|| panic!("{name}: opened"));
        assert!(matches!(error, OpenError::Damaged { .. }), "{name}: {error:?}");

        assert!(fs::read(file(&folder)).unwrap() == before, "{name}: the file was changed");
    }
}

#[tokio::test]
async fn names_that_would_mean_something_else_are_refused() {
    for name in ["journal", "Requests", "sqlite_x", "a_documents", "a\"b", "a'b", "a b", ""] {
        let folder = folder();
        let collections = vec![Collection { name, fields: vec![], indexes: vec![] }];
        let error = SqliteDatabase::open(&file(&folder), Schema { collections, ..schema(1) }).err().unwrap();
        assert!(matches!(error, OpenError::Unusable { .. }), "{name}: {error}");
    }
    let folder = folder();
    let fields =
        ["storeName", "주소", "line-2"].map(|name| Field { name: name.into(), indexed: true, is_date: false }).to_vec();
    let collections = vec![Collection { name: "주문", fields, indexes: vec![] }];
    let database = SqliteDatabase::open(&file(&folder), Schema { collections, ..schema(1) }).unwrap();
    let body = json!({ "주소": "서울", "line-2": 2 }).to_string();
    let document = DocumentChange { collection: "주문", body, ..order(1, 0, &json!({})) };
    database.commit(documents([document])).await.unwrap();
    for (field, value) in [("주소", "서울"), ("line-2", "2")] {
        let query = Query { collection: "주문", filter: Some((field.into(), value.to_owned())), ..all() };
        assert_eq!(database.page(query).await.unwrap().total, 1, "{field}");
    }
}

#[tokio::test]
async fn people_read_it_with_any_client() {
    let folder = folder();
    let file = file(&folder);
    stopped(&file).await;
    let select = |sql: &str| -> Vec<(i64, String, i64)> {
        let client = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut statement = client.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };

    let rows = select("SELECT id, storeName, count FROM orders WHERE count > 1 ORDER BY id");
    assert_eq!(rows, [(2, "스토어99".to_owned(), 2), (3, "스토어99".to_owned(), 3)]);

    // A later release has another field, and another index.
    let mut later = schema(1);
    later.collections[0].fields.push(Field { name: "address".into(), indexed: true, is_date: false });
    later.collections[0].fields[1].indexed = false;
    SqliteDatabase::open(&file, later).unwrap().close().await;
    let rows = select("SELECT id, coalesce(address, 'none'), count FROM orders WHERE id = 1");
    assert_eq!(rows, [(1, "none".to_owned(), 1)]);
    let indexes = select("SELECT 0, name, 0 FROM sqlite_schema WHERE name LIKE 'orders_by_%' ORDER BY name");
    assert_eq!(
        indexes.iter().map(|row| &*row.1).collect::<Vec<_>>(),
        ["orders_by_address", "orders_by_count", "orders_by_storeName+count"]
    );
}

/// A start after a rebuild must not create the indexes over all rows again, and people read the current rows.
#[tokio::test]
async fn a_switch_leaves_the_schema_as_the_next_start_wants_it() {
    let folder = folder();
    let file = file(&folder);
    let schema_of = |file: &Path| -> Vec<(String, i64, String)> {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let sql = "SELECT name, rootpage, sql FROM sqlite_schema WHERE name LIKE 'orders%' ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(Result::unwrap).collect()
    };
    stopped(&file).await;
    let texts = |schema: &[(String, i64, String)]| -> Vec<String> {
        let mut texts: Vec<_> = schema.iter().map(|(_, _, sql)| sql.replace('~', "")).collect();
        texts.sort();
        texts
    };
    let at_first = texts(&schema_of(&file));
    for round in 1..=2 {
        let database = SqliteDatabase::open(&file, schema(1)).unwrap();
        while !database.clear_shadow("orders").await.unwrap() {}
        let row = Document { id: round, version: 9, shown: true, body: json!({ "storeName": "anew" }).to_string() };
        database.write_shadow("orders", vec![row]).await.unwrap();
        database.switch_shadows(vec!["orders"], vec![]).await.unwrap();
        // The shadow remains as if a process had died here: it blocks nothing.
        database.close().await;
        let switched = schema_of(&file);
        SqliteDatabase::open(&file, schema(1)).unwrap().close().await;
        assert_eq!(schema_of(&file), switched);

        let database = SqliteDatabase::open(&file, schema(1)).unwrap();
        while !database.clear_shadow("orders").await.unwrap() {}
        database.close().await;
        assert_eq!(texts(&schema_of(&file)), at_first);
        let connection = Connection::open(&file).unwrap();
        let seen: (i64, String) =
            connection.query_row("SELECT id, storeName FROM orders", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(seen, (round, "anew".to_owned()));
    }
}

#[tokio::test]
async fn filters_and_recovery_use_their_indexes() {
    let folder = folder();
    stopped(&file(&folder)).await;
    let client = Connection::open(file(&folder)).unwrap();
    let plan = |sql: &str| -> String {
        let mut statement = client.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap().join("; ")
    };
    let check = |sql: &str, index: &str| {
        let plan = plan(sql);
        assert!(plan.contains(index) && !plan.contains("SCAN"), "{sql}: {plan}");
    };

    check(
        "SELECT * FROM orders_documents WHERE shown = 1 AND json_extract(body, '$.\"storeName\"') IN ('a', NULL)",
        "orders_by_storeName",
    );
    let in_doubt = "SELECT * FROM requests WHERE state NOT IN ('done', 'voided')";
    check(
        "SELECT id FROM orders_documents WHERE shown = 1 AND json_extract(body, '$.\"storeName\"') = 'a'
         AND json_extract(body, '$.\"count\"') = 7 AND id > 9 ORDER BY id LIMIT 9",
        "orders_by_storeName+count",
    );
    check(&format!("{in_doubt} AND state = 'asking' AND id > x'00' ORDER BY id"), "requests_in_doubt_by_state");
    check(&format!("{in_doubt} AND subject = 7 ORDER BY id"), "requests_in_doubt_by_subject");
    let delayed = "SELECT * FROM requests WHERE state = 'delayed' AND state = 'delayed' AND +id > x'00'";
    check(&format!("{delayed} AND until_ms < 7 ORDER BY id LIMIT 9"), "requests_delayed_by_until");
    check("SELECT * FROM requests WHERE key = 'a'", "requests_by_key");
    check("SELECT * FROM journal WHERE partition = 0 AND sequence > 7 ORDER BY sequence", "PRIMARY KEY");
}

#[tokio::test]
async fn a_reader_sees_each_commit_of_a_running_service() {
    let folder = folder();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    let reader = SqliteReader::open(&file(&folder)).unwrap();
    assert_eq!(reader.identity(), database.identity());
    for id in 1..=20_i64 {
        database.commit(documents([order(id, 0, &json!({ "storeName": "a" }))])).await.unwrap();
        assert!(reader.document("orders", id).await.unwrap().is_some());
        assert_eq!(i64::try_from(reader.page(all()).await.unwrap().total).unwrap(), id);
    }
    drop(reader);
    database.commit(documents([order(21, 0, &json!({}))])).await.unwrap();
}

#[tokio::test]
async fn a_reader_reads_what_a_stopped_service_left() {
    let folder = folder();
    stopped(&file(&folder)).await;
    let before = fs::read(file(&folder)).unwrap();
    let reader = SqliteReader::open(&file(&folder)).unwrap();
    assert_eq!(reader.page(all()).await.unwrap().total, 3);
    assert_eq!(reader.journal(0, 0, 10).await.unwrap().len(), 1);
    drop(reader);
    assert!(fs::read(file(&folder)).unwrap() == before, "the reader changed the file");
    // And blocks nothing.
    let _reader = SqliteReader::open(&file(&folder)).unwrap();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    database.commit(documents([order(4, 0, &json!({}))])).await.unwrap();
}

#[tokio::test]
async fn a_reader_reads_what_a_killed_service_left_and_leaves_it_so() {
    let folder = folder();
    let dead = killed(&folder).await;
    let bytes = || (fs::read(&dead).unwrap(), fs::read(beside(&dead, "-wal")).unwrap());
    let before = bytes();

    let reader = SqliteReader::open(&dead).unwrap();
    assert_eq!(reader.page(all()).await.unwrap().total, 3);
    drop(reader);
    assert!(bytes() == before, "the reader changed the files");

    let database = SqliteDatabase::open(&dead, schema(1)).unwrap();
    assert_eq!(database.page(all()).await.unwrap().total, 3);
}

#[tokio::test]
async fn a_reader_makes_no_database() {
    let folder = folder();
    let error = SqliteReader::open(&file(&folder)).err().unwrap();
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
    assert!(!file(&folder).exists());
    fs::write(file(&folder), "").unwrap();
    let error = SqliteReader::open(&file(&folder)).err().unwrap();
    assert!(matches!(error, OpenError::Missing { .. }), "{error}");
}

#[tokio::test]
async fn a_reader_of_a_closed_database_gets_an_error() {
    let folder = folder();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    database.close().await;
    let filter =
        RequestFilter { state: RequestState::Done, service: None, until_before_ms: None, after: None, limit: 1 };
    assert!(matches!(database.requests(filter).await, Err(ReadError::Unavailable(_))));
    assert!(matches!(database.positions().await, Err(ReadError::Unavailable(_))));
}

#[tokio::test]
async fn one_commit_that_cannot_be_stored_takes_no_other_with_it() {
    let folder = folder();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    let commits = (1..=50).map(|id| {
        let mut document = order(id, 0, &json!({ "storeName": "a" }));
        if id == 20 {
            // An indexed field cannot be taken out of this.
            document.body = "no JSON".to_owned();
        }
        database.commit(Changes { journal: vec![event(id)], ..documents([document]) })
    });
    let results = futures_util::future::join_all(commits).await;

    for (result, id) in results.iter().zip(1..) {
        match result {
            Err(CommitError::NotDone(_)) => assert_eq!(id, 20),
            other => assert!(other.is_ok() && id != 20, "{id}: {other:?}"),
        }
    }
    let journal = database.journal(0, 0, 100).await.unwrap();
    assert_eq!(journal.len(), 49);
    assert!(journal.iter().zip(1..).all(|(record, number)| record.sequence == number && record.key != 20));
    assert_eq!(database.page(all()).await.unwrap().total, 49);
}

#[tokio::test]
async fn the_log_grows_only_while_a_reader_is_in_the_way() {
    let folder = folder();
    let database = SqliteDatabase::open(&file(&folder), schema(1)).unwrap();
    let log = || fs::metadata(beside(&file(&folder), "-wal")).unwrap().len();
    let body = json!({ "note": "x".repeat(500_000) }).to_string();
    let mut id = 0;
    let mut write = async |bytes: u64| {
        for _ in 0..bytes / 1_000_000 {
            let commits = [1, 2].map(|_| {
                id += 1;
                let menu = DocumentChange { collection: "menus", body: body.clone(), ..order(id, 0, &json!({})) };
                database.commit(documents([menu]))
            });
            assert!(futures_util::future::join_all(commits).await.iter().all(Result::is_ok));
        }
        id
    };
    let urgent = limits::CHECKPOINT_URGENT_BYTES;

    // A reader keeps the database open for hours.
    let client = Connection::open_with_flags(file(&folder), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let transaction = client.unchecked_transaction().unwrap();
    transaction.query_row("SELECT count(*) FROM menus", [], |_| Ok(())).unwrap();
    write(urgent + 8_000_000).await;
    assert!(log() > urgent, "the log has {} bytes: nothing is kept for the reader", log());

    drop(transaction);
    let mut no_longer = 0;
    let mut written = 0;
    // What was held up has to be folded back first, beside everything that comes.
    for _ in 0..50 {
        let before = log();
        written = write(8_000_000).await;
        no_longer = if log() <= before { no_longer + 1 } else { 0 };
        if no_longer == 3 {
            break;
        }
    }
    assert_eq!(no_longer, 3, "the log grows on, to {} bytes", log());
    let page = database.page(Query { collection: "menus", size: 1, ..all() }).await.unwrap();
    assert_eq!(i64::try_from(page.total).unwrap(), written);
}

/// Runs again as a child, in a mount namespace of its own, with a tiny disk in memory: no other test, and nothing else
/// on this machine, sees it, and it is gone when the child is.
#[test]
fn a_full_disk_refuses_commits_and_keeps_what_it_has() {
    if let Some(disk) = env::var_os(SMALL_DISK) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        return runtime.block_on(fill(Path::new(&disk)));
    }
    on_a_small_disk("a_full_disk_refuses_commits_and_keeps_what_it_has");
}

async fn fill(disk: &Path) {
    let file = disk.join("order.db");
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; 1024 * 1024]).unwrap();
    let database = SqliteDatabase::open(&file, schema(1)).unwrap();
    let body = json!({ "storeName": "a", "note": "x".repeat(2_000) });
    let order = |id, version| Changes { journal: vec![event(id)], ..documents([order(id, version, &body)]) };

    let (mut done, mut refused) = (Vec::new(), Vec::new());
    for round in 0..1_000_i64 {
        let group = round * 8..round * 8 + 8;
        let results = futures_util::future::join_all(group.clone().map(|id| database.commit(order(id, 0)))).await;
        for (id, result) in group.zip(results) {
            match result {
                Ok(_) => done.push(id),
                Err(CommitError::NotDone(_)) => refused.push(id),
                Err(error) => panic!("{id}: {error}"),
            }
        }
        if refused.len() > 80 {
            break;
        }
    }
    assert!(done.len() > 50, "{} commits were done", done.len());
    assert!(refused.len() > 80, "the disk did not fill up");
    check(&database, &done).await;

    fs::remove_file(&ballast).unwrap();
    for id in 10_000..10_020 {
        database.commit(order(id, 0)).await.unwrap();
        done.push(id);
    }
    check(&database, &done).await;

    // The same after a restart.
    database.close().await;
    drop(database);
    let database = SqliteDatabase::open(&file, schema(1)).unwrap();
    check(&database, &done).await;
}

/// What was done is there, nothing else is, and the journal has no gap.
async fn check(database: &SqliteDatabase, done: &[i64]) {
    let mut stored: Vec<Document> = Vec::new();
    while let rows = database.scan("orders", stored.last().map_or(i64::MIN, |row| row.id), 1_000).await.unwrap()
        && !rows.is_empty()
    {
        stored.extend(rows);
    }
    assert_eq!(stored.iter().map(|row| row.id).collect::<Vec<_>>(), done);
    assert_eq!(database.page(all()).await.unwrap().total, done.len() as u64);
    let mut journal = Vec::new();
    while let records = database.journal(0, journal.len() as u64, 1_000).await.unwrap()
        && !records.is_empty()
    {
        journal.extend(records);
    }
    assert!(journal.iter().zip(1..).all(|(record, number)| record.sequence == number), "there is a gap");
    assert_eq!(journal.iter().map(|record| record.key).collect::<Vec<_>>(), done);
}
