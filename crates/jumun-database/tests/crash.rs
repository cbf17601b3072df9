//! A process that commits is killed at any moment, again and again: what it acknowledged is there, whole.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use jumun_database::{
    Changes, Database, ReadDatabase, RequestChange, RequestState, SqliteDatabase,
    conformance::{event, order, request, schema},
};
use jumun_testing::{random, run_and_kill};
use std::{collections::BTreeSet, env, io::Write, path::Path, sync::Arc};

const FILE: &str = "JUMUN_TEST_CRASH_FILE";
const ROUNDS: u32 = 40;
const TASKS: usize = 64;

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    if let Some(file) = env::var_os(FILE) {
        return runtime.block_on(commit_for_ever(Path::new(&file)));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("order.db");
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        let before = acknowledged.len();
        // From "at its first commits" to "in full swing".
        let path = file.as_path();
        run_and_kill("what_was_acknowledged_survives_kill_9", (FILE, path), random(1 << (round % 12)), |line| {
            note(line, &mut acknowledged)
        });
        assert!(acknowledged.len() > before);
        runtime.block_on(check(&file, &acknowledged));
    }
}

fn note(line: &str, acknowledged: &mut BTreeSet<i64>) -> bool {
    let Some(id) = line.strip_prefix("done ").and_then(|rest| rest.strip_suffix('.')) else { return false };
    acknowledged.insert(id.parse().unwrap())
}

async fn commit_for_ever(file: &Path) {
    let database = Arc::new(SqliteDatabase::open(file, schema(1)).unwrap());
    let task = |database: Arc<SqliteDatabase>| async move {
        loop {
            let id = database.next_id("orders").await.unwrap();
            database.commit(changes(id)).await.unwrap();
            let mut stdout = std::io::stdout().lock();
            writeln!(stdout, "done {id}.").unwrap();
            stdout.flush().unwrap();
            drop(stdout);
        }
    };
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(task(Arc::clone(&database)))).collect();
    for task in tasks {
        let () = task.await.unwrap();
    }
}

fn changes(id: i64) -> Changes {
    let asked = request(Some(&id.to_string()), RequestState::Asking, id);
    Changes {
        requests: vec![RequestChange::Insert(Box::new(asked))],
        documents: vec![order(id, 0, &serde_json::json!({ "storeName": "스토어99", "count": id }))],
        journal: vec![event(id), event(id)],
        positions: vec![],
        ..Changes::default()
    }
}

async fn check(file: &Path, acknowledged: &BTreeSet<i64>) {
    let database = SqliteDatabase::open(file, schema(1)).unwrap();
    let mut documents = BTreeSet::new();
    while let rows = database.scan("orders", documents.last().copied().unwrap_or(0), 1_000).await.unwrap()
        && !rows.is_empty()
    {
        documents.extend(rows.iter().map(|row| row.id));
    }
    let mut journal = Vec::new();
    while let records = database.journal(0, journal.len() as u64, 1_000).await.unwrap()
        && !records.is_empty()
    {
        journal.extend(records);
    }
    let mut requests = BTreeSet::new();
    let mut after = None;
    loop {
        let state = RequestState::Asking;
        let filter = jumun_database::RequestFilter { state, service: None, until_before_ms: None, after, limit: 1_000 };
        let batch = database.requests(filter).await.unwrap();
        let Some(last) = batch.last() else { break };
        after = Some(last.id);
        requests.extend(batch.iter().map(|request| request.subject));
    }

    let lost: Vec<_> = acknowledged.difference(&documents).collect();
    assert!(lost.is_empty(), "of {} acknowledged commits these are lost: {lost:?}", acknowledged.len());
    assert!(journal.iter().zip(1..).all(|(record, number)| record.sequence == number), "the journal has a gap");
    assert_eq!(journal.len(), 2 * documents.len(), "a commit is there in part");
    for pair in journal.chunks(2) {
        assert_eq!(pair[0].key, pair[1].key, "the events of one commit do not follow each other");
    }
    assert_eq!(journal.iter().map(|record| record.key).collect::<BTreeSet<_>>(), documents);
    assert_eq!(requests, documents, "a commit is there in part");
    let largest = documents.last().copied().unwrap_or(0);
    assert!(database.next_id("orders").await.unwrap() > largest);
    let total = database.page(all()).await.unwrap().total;
    assert_eq!(total, documents.len() as u64);
}

fn all() -> jumun_database::Query {
    jumun_database::Query { collection: "orders", filter: None, sort: Vec::new(), offset: 0, size: 1 }
}
