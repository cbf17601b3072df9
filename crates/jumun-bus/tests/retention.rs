//! What retention deletes from a log: whole segments that are old and that no consumer needs.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use jumun_bus::{
    Bus, BusError, EmbeddedLog, Publisher, Record, Released, Wants,
    conformance::{after, contents, poll_all, record, source},
};
use std::{collections::BTreeSet, fs, path::Path, time::Duration};
use tempfile::TempDir;
use uuid::Uuid;

const SEGMENT_MAX_BYTES: u64 = 1_000;

fn open(folder: &Path) -> EmbeddedLog {
    EmbeddedLog::with_segments_of(folder, SEGMENT_MAX_BYTES).unwrap()
}

/// An event a second, from 1970 on.
fn event(sequence: u64) -> Record {
    Record { time_ms: i64::try_from(sequence).unwrap() * 1_000, ..record(0, sequence) }
}

fn append(publisher: &mut dyn Publisher, to: u64) {
    for sequence in publisher.last(0) + 1..=to {
        publisher.append(&[event(sequence)]).unwrap();
    }
    publisher.sync().unwrap();
}

fn consumers(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn up_to(sequence: u64) -> Released {
    Released { epoch: source("order", 1).epoch, up_to: vec![sequence] }
}

/// A log with a hundred events, and how it is read.
fn log() -> (TempDir, EmbeddedLog, Box<dyn Publisher>) {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path());
    let mut publisher = log.publisher(&source("order", 1)).unwrap();
    append(&mut *publisher, 100);
    (folder, log, publisher)
}

fn first(log: &EmbeddedLog) -> u64 {
    log.kept_from("order").unwrap()[0]
}

#[test]
fn what_is_young_stays_and_what_is_old_goes_but_for_a_segment() {
    let (folder, log, mut publisher) = log();
    assert_eq!(log.kept_from("nobody").unwrap(), Vec::<u64>::new());
    assert_eq!(log.retain_since("nobody", i64::MAX, &consumers(&[])).unwrap(), 0);
    assert_eq!((log.retain_since("order", 0, &consumers(&[])).unwrap(), first(&log)), (0, 1));
    assert!(log.retain_since("order", 50_000, &consumers(&[])).unwrap() > 1);
    let kept_from = first(&log);
    assert!((20..=50).contains(&kept_from), "{kept_from}");
    let kept = log.subscribe(&[after("order", 0, kept_from - 1)], Wants::All).unwrap();
    let kept = contents(poll_all(&mut *{ kept }));
    assert_eq!(kept, (kept_from..=100).map(event).collect::<Vec<_>>());

    // However old it is, there is a newest segment, and the numbers go on.
    log.retain_since("order", i64::MAX, &consumers(&[])).unwrap();
    assert!((51..=100).contains(&first(&log)));
    append(&mut *publisher, 120);
    drop(publisher);
    assert_eq!(open(folder.path()).publisher(&source("order", 1)).unwrap().last(0), 120);
}

#[test]
fn nothing_goes_that_a_consumer_needs_and_one_that_says_nothing_needs_everything() {
    let (folder, log, publisher) = log();
    let both = consumers(&["store", "dashboard"]);
    let retain = |log: &EmbeddedLog| {
        log.retain_since("order", i64::MAX, &both).unwrap();
        first(log)
    };
    assert_eq!(retain(&log), 1);
    log.release("order", "store", &up_to(100)).unwrap();
    assert_eq!(retain(&log), 1, "the dashboard has said nothing");
    log.release("order", "dashboard", &Released { epoch: Uuid::from_u128(99), ..up_to(100) }).unwrap();
    assert_eq!(retain(&log), 1, "of another log");
    log.release("order", "dashboard", &Released { up_to: vec![], ..up_to(0) }).unwrap();
    assert_eq!(retain(&log), 1, "nothing yet");
    log.release("order", "dashboard", &up_to(40)).unwrap();
    assert_eq!(log.released("order", "dashboard").unwrap(), Some(up_to(40)));
    let kept_from = retain(&log);
    assert!((10..=41).contains(&kept_from), "{kept_from}");
    assert_eq!(log.retain_since("order", 5_000, &both).unwrap(), 0, "and what is young stays whoever needs it");
    let rest = log.subscribe(&[after("order", 0, 40)], Wants::All).unwrap();
    assert_eq!(contents(poll_all(&mut *{ rest })), (41..=100).map(event).collect::<Vec<_>>());

    // An unreadable file permits no deletion.
    fs::write(folder.path().join("order/needed/dashboard.json"), "{").unwrap();
    let error = log.retain_since("order", i64::MAX, &both).unwrap_err();
    assert!(matches!(error, BusError::Damaged { .. }), "{error}");
    assert_eq!(first(&log), kept_from);
    log.release("order", "dashboard", &up_to(100)).unwrap();
    assert!(retain(&log) > kept_from);
    drop(publisher);
}

#[test]
fn a_segment_that_is_not_full_ends_after_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let segments = || fs::read_dir(folder.path().join("order")).unwrap().filter(is_segment).count();
    let log = EmbeddedLog::open(folder.path()).unwrap();
    append(&mut *log.publisher(&source("order", 1)).unwrap(), 20);
    assert_eq!(segments(), 1);
    // The first event was 20 seconds ago.
    let log = log.with_segments_for(Duration::from_secs(10));
    append(&mut *log.publisher(&source("order", 1)).unwrap(), 29);
    assert_eq!(segments(), 2);
    append(&mut *log.publisher(&source("order", 1)).unwrap(), 30);
    assert_eq!(segments(), 2);
    append(&mut *log.publisher(&source("order", 1)).unwrap(), 50);
    assert_eq!(segments(), 4);
    log.retain_since("order", 31_000, &consumers(&[])).unwrap();
    assert_eq!(first(&log), 31);
}

fn is_segment(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "log"))
}
