//! How many events a second the embedded log takes and gives, and how long one is under way.
//!
//! ```sh
//! cargo bench --package jumun-bus            # 1 s a row
//! cargo bench --package jumun-bus -- 5       # 5 s a row
//! ```
//!
//! The events are like those of an order: 300 bytes of JSON, one header, four types.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::cast_precision_loss, reason = "for a terminal")]

use jumun_bus::{
    Bus, EmbeddedLog, Publisher, Record, Subscription, Wants,
    conformance::{LONG, after, record, source},
    limits,
};
use jumun_testing::{folder_on_a_disk, length_of_a_row};
use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Read from the page cache, as by a consumer that follows.
const READ_EVENTS: u64 = 1_000_000;
const BODY_BYTES: usize = 300;

fn main() {
    let length = length_of_a_row(1);
    let folder = folder_on_a_disk(env!("CARGO_TARGET_TMPDIR"));

    println!("{:>34} {:>12} {:>12}", "append", "events/s", "µs/append");
    for (batch, synced) in [(1, false), (16, false), (512, false), (512, true)] {
        append(&folder.path().join(format!("append-{batch}-{synced}")), batch, synced, length);
    }

    println!("\n{:>34} {:>12} {:>12}", "read", "events/s", "MB/s");
    let log = EmbeddedLog::open(&folder.path().join("read")).unwrap();
    fill(&log);
    let types = |types: &[&str]| Wants::Only(types.iter().map(|&event_type| event_type.to_owned()).collect());
    read(&log, "all wanted", Wants::All);
    read(&log, "1 of 4 wanted", types(&["Paid"]));
    read(&log, "none wanted", types(&["Unheard"]));

    println!("\n{:>34} {:>9} {:>9} {:>9}", "append to poll, in µs", "p50", "p99", "most");
    for (name, pause) in [("busy (an event every 5 ms)", 5), ("idle (an event every 500 ms)", 500)] {
        let pause = Duration::from_millis(pause);
        // Enough to be a quantile of.
        let events = (length.as_millis() / pause.as_millis()).max(20);
        latency(&folder.path().join(name), name, pause, u64::try_from(events).unwrap());
    }

    println!("\n{:>34} {:>9}", "other", "µs");
    others(&log);
}

fn event(sequence: u64) -> Record {
    let mut event = record(0, sequence);
    event.body.push_str(&"x".repeat(BODY_BYTES - event.body.len()));
    event
}

fn append(folder: &Path, batch: u64, synced: bool, length: Duration) {
    let log = EmbeddedLog::open(folder).unwrap();
    let mut publisher = log.publisher(&source("order", 1)).unwrap();
    let mut records: Vec<_> = (1..=batch).map(event).collect();
    let (begun, mut last_sync, mut appends) = (Instant::now(), Instant::now(), 0_u64);
    while begun.elapsed() < length {
        publisher.append(&records).unwrap();
        for record in &mut records {
            record.sequence += batch;
        }
        appends += 1;
        if synced && last_sync.elapsed() > Duration::from_millis(100) {
            publisher.sync().unwrap();
            last_sync = Instant::now();
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let name = format!("batches of {batch}{}", if synced { ", synced every 100 ms" } else { "" });
    println!("{name:>34} {:>12.0} {:>12.1}", (appends * batch) as f64 / took, took * 1e6 / appends as f64);
}

fn fill(log: &EmbeddedLog) {
    let mut publisher = log.publisher(&source("order", 1)).unwrap();
    for first in (1..=READ_EVENTS).step_by(512) {
        let records: Vec<_> = (first..(first + 512).min(READ_EVENTS + 1)).map(event).collect();
        publisher.append(&records).unwrap();
    }
    publisher.sync().unwrap();
}

fn read(log: &EmbeddedLog, name: &str, wants: Wants) {
    let mut subscription = log.subscribe(&[after("order", 0, 0)], wants).unwrap();
    let (begun, mut events, mut bytes) = (Instant::now(), 0, 0);
    while events < READ_EVENTS {
        let found = subscription.poll(limits::POLL_MAX_EVENTS, Duration::ZERO).unwrap();
        events += found.len() as u64;
        bytes += found.len() * BODY_BYTES;
    }
    let took = begun.elapsed().as_secs_f64();
    println!("{name:>34} {:>12.0} {:>12.0}", events as f64 / took, bytes as f64 / took / 1e6);
}

fn latency(folder: &Path, name: &str, pause: Duration, events: u64) {
    let log = EmbeddedLog::open(folder).unwrap();
    let mut publisher = log.publisher(&source("order", 1)).unwrap();
    let mut subscription = log.subscribe(&[after("order", 0, 0)], Wants::All).unwrap();
    let reading = thread::spawn(move || (1..=events).map(|_| take(&mut *subscription)).collect::<Vec<_>>());
    let mut sent = Vec::new();
    for sequence in 1..=events {
        // Not in step with the reader.
        thread::park_timeout(pause + Duration::from_micros(sequence * 377 % 3_000));
        sent.push(Instant::now());
        publisher.append(&[event(sequence)]).unwrap();
    }
    let taken = reading.join().unwrap();
    let mut latencies: Vec<_> = taken.into_iter().zip(sent).map(|(taken, sent)| taken - sent).collect();
    latencies.sort_unstable();
    let quantile = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_micros();
    println!("{name:>34} {:>9} {:>9} {:>9}", quantile(50), quantile(99), quantile(100));
}

/// Waits for the next event; returns when it came.
fn take(subscription: &mut dyn Subscription) -> Instant {
    assert_eq!(subscription.poll(1, LONG).unwrap().len(), 1);
    Instant::now()
}

fn others(log: &EmbeddedLog) {
    const TIMES: u32 = 1_000;
    let print = |name: &str, took: Duration| println!("{name:>34} {:>9.1}", took.as_secs_f64() * 1e6);
    let begun = Instant::now();
    let mut publisher: Box<dyn Publisher> = log.publisher(&source("order", 1)).unwrap();
    print("open a publisher", begun.elapsed());
    let begun = Instant::now();
    publisher.append(&[event(READ_EVENTS + 1)]).unwrap();
    publisher.sync().unwrap();
    print("append and sync", begun.elapsed());
    let begun = Instant::now();
    let mut subscription = log.subscribe(&[after("order", 0, READ_EVENTS)], Wants::All).unwrap();
    assert_eq!(subscription.poll(1, Duration::ZERO).unwrap().len(), 1);
    print("find the end of 400 MB", begun.elapsed());
    let begun = Instant::now();
    for _ in 0..TIMES {
        assert_eq!(subscription.poll(1, Duration::ZERO).unwrap().len(), 0);
    }
    print("poll that finds nothing", begun.elapsed() / TIMES);
    let begun = Instant::now();
    for _ in 0..TIMES {
        assert_eq!(subscription.behind().unwrap()[0].1, 0);
    }
    print("behind", begun.elapsed() / TIMES);
}
