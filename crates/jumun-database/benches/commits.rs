//! How many commits a second, by how many callers at once, and what they cost.
//!
//! ```sh
//! cargo bench --package jumun-database            # 2 s a row
//! cargo bench --package jumun-database -- 10      # 10 s a row
//! ```
//!
//! Each commit is what an order takes: one new document, one event, one request. All callers share one thread, as in a
//! service. The first row is the same through plain `rusqlite`, a transaction a commit.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::cast_precision_loss, reason = "for a terminal")]

use jumun_database::{
    Changes, Database, Request, RequestChange, RequestState, SqliteDatabase,
    conformance::{event, order, request, schema},
};
use jumun_testing::{folder_on_a_disk, length_of_a_row};
use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const CALLERS: [usize; 4] = [1, 8, 64, 256];

fn main() {
    let length = length_of_a_row(2);
    let folder = folder_on_a_disk(env!("CARGO_TARGET_TMPDIR"));

    println!(
        "{:>22} {:>10} {:>9} {:>9} {:>14} {:>14}",
        "callers", "commits/s", "p50 µs", "p99 µs", "commits/fsync", "CPU µs/commit"
    );
    alone(&folder.path().join("alone.db"), length).print("1, plain rusqlite");
    for callers in CALLERS {
        together(&folder.path().join(format!("{callers}.db")), callers, length).print(&callers.to_string());
    }
}

struct Row {
    length: Duration,
    groups: u64,
    latencies: Vec<Duration>,
    cpu: Option<Duration>,
}

impl Row {
    fn print(mut self, callers: &str) {
        self.latencies.sort_unstable();
        let commits = self.latencies.len();
        let quantile = |percent: usize| self.latencies[(commits - 1) * percent / 100].as_micros();
        let per_second = commits as u128 * 1_000 / self.length.as_millis();
        let group = commits as f64 / self.groups as f64;
        let cpu = self.cpu.map_or("-".to_owned(), |cpu| format!("{:.1}", cpu.as_secs_f64() * 1e6 / commits as f64));
        println!("{callers:>22} {per_second:>10} {:>9} {:>9} {group:>14.1} {cpu:>14}", quantile(50), quantile(99));
    }
}

fn changes(id: i64) -> Changes {
    let body = serde_json::json!({
        "id": id, "storeName": "스토어99", "count": id % 100,
        "note": "two portions, no onions, leave it at the door, do not ring: the baby is asleep",
        "address": { "street": "Teheran-ro 152", "city": "Seoul", "zip": "06236" },
    });
    let asked = Request { answer: None, ..request(None, RequestState::Done, id) };
    Changes {
        requests: vec![RequestChange::Insert(Box::new(Request { key: Some(asked.id.to_string()), ..asked }))],
        documents: vec![order(id, 0, &body)],
        journal: vec![event(id)],
        positions: vec![],
        ..Changes::default()
    }
}

fn together(file: &Path, callers: usize, length: Duration) -> Row {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let database = Arc::new(SqliteDatabase::open(file, schema(1)).unwrap());
    let (started, cpu) = (Instant::now(), cpu_time());
    let caller = |database: Arc<SqliteDatabase>| async move {
        let mut latencies = Vec::new();
        while started.elapsed() < length {
            let id = database.next_id("orders").await.unwrap();
            let changes = changes(id);
            let begun = Instant::now();
            database.commit(changes).await.unwrap();
            latencies.push(begun.elapsed());
        }
        latencies
    };
    let latencies = runtime.block_on(async {
        let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(caller(Arc::clone(&database)))).collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await.unwrap());
        }
        latencies
    });
    let cpu = cpu_time().zip(cpu).map(|(after, before)| after.saturating_sub(before));
    Row { length: started.elapsed(), groups: database.stats().groups, latencies, cpu }
}

fn alone(file: &Path, length: Duration) -> Row {
    drop(SqliteDatabase::open(file, schema(1)).unwrap());
    let connection = rusqlite::Connection::open(file).unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    let (started, cpu) = (Instant::now(), cpu_time());
    let mut latencies = Vec::new();
    for id in 1.. {
        if started.elapsed() >= length {
            break;
        }
        let Changes { requests, documents, journal, .. } = changes(id);
        let RequestChange::Insert(request) = &requests[0] else { continue };
        let begun = Instant::now();
        let transaction = connection.unchecked_transaction().unwrap();
        let run = |sql, values: &[&dyn rusqlite::ToSql]| {
            transaction.prepare_cached(sql).unwrap().execute(values).unwrap();
        };
        let (document, event, id_bytes) = (&documents[0], &journal[0], request.id.into_bytes());
        run(
            "INSERT INTO requests VALUES (?1, ?2, x'00', 'done', 'orders', ?3, NULL, NULL, NULL, NULL, NULL, x'00', 1, NULL, NULL)",
            &[&id_bytes, &request.key, &request.subject],
        );
        run("INSERT INTO orders_documents VALUES (?1, 1, 1, ?2)", &[&document.id, &document.body]);
        run(
            "INSERT INTO journal VALUES (0, ?1, ?2, ?3, ?4, ?5, NULL)",
            &[&id, &event.event_type, &event.key, &event.time_ms, &event.body],
        );
        transaction.commit().unwrap();
        latencies.push(begun.elapsed());
    }
    let cpu = cpu_time().zip(cpu).map(|(after, before)| after.saturating_sub(before));
    Row { length: started.elapsed(), groups: latencies.len() as u64, latencies, cpu }
}

/// User and system time of this process, where the system reports it as Linux does (in hundredths of a second).
fn cpu_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}
