//! What is particular to the files of the embedded log: what a crash, a power cut, a full disk and a stranger do to
//! them.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use jumun_bus::{
    Bus, BusError, Delivery, EmbeddedLog, Publisher, Record, Subscription, Wants,
    conformance::{LONG, after, contents, poll_all, poll_many, record, records, source},
};
use jumun_testing::{SMALL_DISK, on_a_small_disk};
use std::{
    env,
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};
use tempfile::TempDir;

const SEGMENT: &str = "00000000000000000000.log";

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(folder: impl AsRef<Path>) -> EmbeddedLog {
    EmbeddedLog::open(folder.as_ref()).unwrap()
}

/// An empty log of segments of this size, and its folder.
fn segments_of(bytes: u64) -> (TempDir, EmbeddedLog) {
    let folder = folder();
    let log = EmbeddedLog::with_segments_of(folder.path(), bytes).unwrap();
    (folder, log)
}

fn publisher(log: &EmbeddedLog) -> Box<dyn Publisher> {
    log.publisher(&source("order", 1)).unwrap()
}

fn reader(log: &EmbeddedLog, sequence: u64) -> Box<dyn Subscription> {
    log.subscribe(&[after("order", 0, sequence)], Wants::All).unwrap()
}

fn read_all(log: &EmbeddedLog) -> Vec<Record> {
    contents(poll_all(&mut *reader(log, 0)))
}

/// What a reader finds until it gets an error.
fn read_until_error(subscription: &mut dyn Subscription) -> (Vec<Delivery>, BusError) {
    let mut found = Vec::new();
    loop {
        match subscription.poll(512, LONG) {
            Ok(more) => found.extend(more),
            Err(error) => {
                // And again, as long as it lasts.
                assert_eq!(subscription.poll(512, LONG), Err(error.clone()));
                return (found, error);
            }
        }
        assert!(!found.is_empty(), "neither an event nor an error");
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn cut(path: &Path, length: u64) {
    File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Writes a file over, in place: an empty one that is written again goes to the disk at once in some file systems,
/// which takes long.
fn put(path: &Path, bytes: &[u8]) {
    let file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 0x10;
    put(path, &bytes);
}

fn segments(folder: &TempDir) -> Vec<PathBuf> {
    let names = fs::read_dir(folder.path().join("order")).unwrap().map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = names.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    segments.sort();
    segments
}

/// A log of three segments, the newest of which is not synced; its folder and its last event.
fn three_segments() -> (TempDir, EmbeddedLog, u64) {
    let (folder, log) = segments_of(1_000);
    let mut publisher = publisher(&log);
    while segments(&folder).len() < 3 {
        publisher.append(&[record(0, publisher.last(0) + 1)]).unwrap();
    }
    let last = publisher.last(0);
    drop(publisher);
    (folder, log, last)
}

/// What comes after the place where a file is cut.
#[derive(Debug, Clone, Copy)]
enum Tail {
    Nothing,
    Zeros,
    Garbage,
}

fn append_tail(bytes: &mut Vec<u8>, tail: Tail, length: usize) {
    match tail {
        Tail::Nothing => {}
        Tail::Zeros => bytes.extend((0..length).map(|_| 0)),
        Tail::Garbage => bytes.extend((0..length).map(|byte| u8::try_from((byte + 11) * 7 % 251).unwrap())),
    }
}

/// A log of five events of which two are synced.
struct FiveEvents {
    folder: TempDir,
    log: EmbeddedLog,
    /// Its only segment, and all bytes in it.
    path: PathBuf,
    whole: Vec<u8>,
    /// Where each event ends, the header first.
    ends: Vec<u64>,
}

impl FiveEvents {
    fn written() -> Self {
        let folder = folder();
        let path = folder.path().join("order").join(SEGMENT);
        let written = open(&folder);
        let mut publisher = publisher(&written);
        let mut ends = vec![length(&path)];
        for sequence in 1..=5 {
            publisher.append(&[record(0, sequence)]).unwrap();
            ends.push(length(&path));
            if sequence == 2 {
                publisher.sync().unwrap();
            }
        }
        assert_eq!(written.synced_to("order").unwrap(), Some((path.clone(), ends[2])));
        let (log, whole) = (open(&folder), fs::read(&path).unwrap());
        Self { folder, log, path, whole, ends }
    }

    /// The end of what is synced.
    fn mark(&self) -> usize {
        usize::try_from(self.ends[2]).unwrap()
    }
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_off_and_appended_again() {
    let five = FiveEvents::written();
    for tail in [Tail::Nothing, Tail::Zeros, Tail::Garbage] {
        for cut in five.mark()..=five.whole.len() {
            let place = format!("cut at byte {cut}, then {tail:?}");
            // One reader that has read everything before, and so is ahead of the log; one in the middle; one at the
            // start.
            put(&five.path, &five.whole);
            let mut readers: Vec<_> = [5, 3, 0].map(|sequence| (reader(&five.log, 0), sequence)).into();
            for (reader, read) in &mut readers {
                assert_eq!(poll_many(&mut **reader, *read).len(), *read);
            }
            let mut torn = five.whole[..cut].to_vec();
            append_tail(&mut torn, tail, five.whole.len() + 10 - cut);
            put(&five.path, &torn);
            let left = five.ends.iter().filter(|end| **end <= cut as u64).count() - 1;

            assert_eq!(read_all(&five.log), records(0, 1, left as u64), "{place}");
            assert_eq!(reader(&five.log, 1).behind().unwrap()[0].1, left as u64 - 1, "{place}");
            let mut publisher = publisher(&five.log);
            assert_eq!(publisher.last(0), left as u64, "{place}");
            assert_eq!(length(&five.path), five.ends[left], "{place}");
            publisher.append(&records(0, left as u64 + 1, 7)).unwrap();
            assert_eq!(read_all(&five.log), records(0, 1, 7), "{place}");
            for (mut reader, read) in readers {
                let rest = contents(poll_many(&mut *reader, 7 - read));
                assert_eq!(rest, records(0, read as u64 + 1, 7), "{place}");
                assert_eq!(poll_all(&mut *reader), [], "{place}");
            }
        }
    }
}

#[test]
fn a_reader_waits_for_the_rest_of_a_record() {
    let five = FiveEvents::written();
    cut(&five.path, five.ends[2]);
    let mut reader = reader(&five.log, 0);
    for length in five.mark()..=five.whole.len() {
        put(&five.path, &five.whole[..length]);
        let complete = five.ends.iter().position(|end| *end == length as u64);
        let found = poll_all(&mut *reader);
        match complete {
            Some(2) => assert_eq!(contents(found), records(0, 1, 2)),
            Some(number) => assert_eq!(contents(found), [record(0, number as u64)], "at byte {length}"),
            None => assert_eq!(found, [], "at byte {length}"),
        }
    }
}

#[test]
fn a_log_that_ends_before_its_mark_is_damaged() {
    let five = FiveEvents::written();
    for cut in 0..five.mark() {
        put(&five.path, &five.whole[..cut]);
        let error = five.log.publisher(&source("order", 1)).err().unwrap_or_else(|| panic!("cut at {cut}: opened"));
        assert!(matches!(error, BusError::Damaged { .. }), "cut at {cut}: {error}");
        assert_eq!(length(&five.path), cut as u64, "it was changed");
        let left = five.ends.iter().filter(|end| **end <= cut as u64).count().saturating_sub(1) as u64;
        let (found, error) = read_until_error(&mut *reader(&five.log, 0));
        assert_eq!(contents(found), records(0, 1, left));
        assert!(matches!(error, BusError::Damaged { .. }), "cut at {cut}: {error}");
    }
    fs::remove_file(&five.path).unwrap();
    assert!(matches!(five.log.publisher(&source("order", 1)).err(), Some(BusError::Damaged { .. })));
}

#[test]
fn a_byte_that_is_wrong_below_the_mark_is_damage() {
    let five = FiveEvents::written();
    for wrong in 0..five.mark() {
        let mut bytes = five.whole.clone();
        bytes[wrong] ^= 0x10;
        put(&five.path, &bytes);
        let before = five.ends.iter().filter(|end| **end <= wrong as u64).count();
        // The publisher looks no further back than it must.
        if before != 1 {
            let error = five.log.publisher(&source("order", 1)).err().unwrap_or_else(|| panic!("byte {wrong}: opened"));
            assert!(matches!(error, BusError::Damaged { .. }), "byte {wrong}: {error}");
        }
        let (found, error) = read_until_error(&mut *reader(&five.log, 0));
        assert_eq!(contents(found), records(0, 1, before.saturating_sub(1) as u64));
        assert!(matches!(error, BusError::Damaged { .. }), "byte {wrong}: {error}");
    }
    // As soon as it is restored, reading continues.
    put(&five.path, &five.whole);
    assert_eq!(read_all(&five.log), records(0, 1, 5));
}

#[test]
fn a_mark_survives_damage_to_one_of_its_halves() {
    let FiveEvents { folder, log, .. } = FiveEvents::written();
    let mark = folder.path().join("order/synced");
    let whole = fs::read(&mark).unwrap();
    let interesting = |half: usize| (half..half + 100).chain(half + 4_000..half + 4_010);
    for wrong in interesting(0).chain(interesting(whole.len() / 2)) {
        flip(&mark, wrong);
        assert_eq!(publisher(&log).last(0), 5, "byte {wrong}");
        assert_eq!(log.sources().unwrap(), [source("order", 1)]);
        put(&mark, &whole);
    }
    for broken in [vec![], vec![0; whole.len()], whole[..whole.len() / 2].to_vec()] {
        put(&mark, &broken);
        let error = log.publisher(&source("order", 1)).err().unwrap();
        assert!(matches!(error, BusError::Damaged { .. }), "{error}");
    }
    // Readers do not need it.
    assert_eq!(read_all(&log), records(0, 1, 5));
}

#[test]
fn a_power_cut_right_after_the_log_was_made_leaves_nothing_to_repair() {
    let log_with = |damage: &dyn Fn(&Path)| {
        let folder = folder();
        let log = open(&folder);
        publisher(&log).append(&records(0, 1, 3)).unwrap();
        damage(&folder.path().join("order"));
        let mut reader = reader(&log, 0);
        assert_eq!(poll_all(&mut *reader), []);
        assert_eq!(reader.behind().unwrap()[0].1, 0);
        let mut publisher = publisher(&log);
        assert_eq!(publisher.last(0), 0);
        publisher.append(&records(0, 1, 4)).unwrap();
        assert_eq!(contents(poll_all(&mut *reader)), records(0, 1, 4));
    };
    log_with(&|order| fs::remove_file(order.join(SEGMENT)).unwrap());
    log_with(&|order| fs::write(order.join(SEGMENT), "").unwrap());
    log_with(&|order| fs::write(order.join(SEGMENT), vec![0; 3_000]).unwrap());
    log_with(&|order| cut(&order.join(SEGMENT), 20));
    log_with(&|order| fs::remove_dir_all(order).unwrap());
    log_with(&|order| {
        fs::remove_file(order.join(SEGMENT)).unwrap();
        fs::write(order.join("synced"), vec![0; 8_192]).unwrap();
        fs::write(order.join("next"), "a part").unwrap();
    });
}

#[test]
fn a_power_cut_at_the_beginning_of_a_segment_takes_only_that() {
    let (folder, log, last) = three_segments();
    let newest = segments(&folder).pop().unwrap();
    let whole = fs::read(&newest).unwrap();
    for tail in [Tail::Nothing, Tail::Zeros, Tail::Garbage] {
        for left in 0..whole.len() {
            let place = format!("{left} bytes, then {tail:?}");
            let mut torn = whole[..left].to_vec();
            append_tail(&mut torn, tail, 200);
            put(&newest, &torn);
            let mut reader = reader(&log, 0);
            assert_eq!(contents(poll_all(&mut *reader)), records(0, 1, last - 1), "{place}");
            assert_eq!(reader.behind().unwrap()[0].1, 0, "{place}");
            let mut publisher = publisher(&log);
            assert_eq!(publisher.last(0), last - 1, "{place}");
            publisher.append(&[record(0, last)]).unwrap();
            assert_eq!(contents(poll_all(&mut *reader)), [record(0, last)], "{place}");
            assert_eq!(fs::read(&newest).unwrap(), whole);
        }
    }
    fs::remove_file(&newest).unwrap();
    assert_eq!(publisher(&log).last(0), last - 1);
}

#[test]
fn a_segment_is_named_by_its_first_record_and_full_at_its_size() {
    let (folder, log) = segments_of(5_000);
    // A batch may be longer than a segment.
    publisher(&log).append(&records(0, 1, 100)).unwrap();
    let paths = segments(&folder);
    assert!(paths.len() > 3);
    let mut first = 0;
    for (path, number) in paths.iter().zip(1..) {
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), format!("{first:020}.log"));
        if number < paths.len() {
            assert!((5_000..5_500).contains(&length(path)));
            let next = paths[number].file_stem().unwrap().to_str().unwrap();
            first = next.parse::<u64>().unwrap();
        }
    }
    assert_eq!(read_all(&log), records(0, 1, 100));
}

#[test]
fn nobody_looks_into_segments_that_they_do_not_need() {
    let (folder, log) = segments_of(5_000);
    publisher(&log).append(&records(0, 1, 200)).unwrap();
    let paths = segments(&folder);
    for path in &paths[..paths.len() - 1] {
        let header = usize::try_from(length(path).min(200)).unwrap();
        let mut bytes = fs::read(path).unwrap();
        bytes[header..].fill(0);
        put(path, &bytes);
    }
    let newest: u64 = paths.last().unwrap().file_stem().unwrap().to_str().unwrap().parse().unwrap();
    for position in newest..=200 {
        let found = poll_all(&mut *reader(&log, position));
        assert_eq!(contents(found), records(0, position + 1, 200));
        assert_eq!(reader(&log, position).behind().unwrap()[0].1, 200 - position);
    }
    // The one before it is damaged at its end, where the mark is; else the publisher would not care either.
    let (_, error) = read_until_error(&mut *reader(&log, newest - 1));
    assert!(matches!(error, BusError::Damaged { .. }), "{error}");
}

#[test]
fn a_segment_that_is_missing_in_the_middle_is_damage() {
    let (folder, log) = segments_of(5_000);
    publisher(&log).append(&records(0, 1, 200)).unwrap();
    fs::remove_file(&segments(&folder)[2]).unwrap();
    let (found, error) = read_until_error(&mut *reader(&log, 0));
    let read = found.len() as u64;
    assert_eq!(contents(found), records(0, 1, read));
    assert!(matches!(error, BusError::Damaged { .. }), "{error}");
}

/// Damages a log: its folder, and its segments.
type Damage = fn(&Path, &[PathBuf]);

/// What may happen to the files of a log of several segments.
const DAMAGE: [(&str, Damage); 15] = [
    ("a byte of the first segment", |_, segments| flip(&segments[0], 700)),
    ("a byte of one in the middle", |_, segments| flip(&segments[2], 700)),
    ("a byte of the newest", |_, segments| flip(segments.last().unwrap(), 120)),
    ("the header of one in the middle", |_, segments| flip(&segments[1], 20)),
    ("one is cut", |_, segments| cut(&segments[1], 1_000)),
    ("one is empty", |_, segments| cut(&segments[2], 0)),
    ("the first is gone", |_, segments| fs::remove_file(&segments[0]).unwrap()),
    ("one in the middle cannot be read", |_, segments| replace_by_folder(&segments[1])),
    ("the newest cannot be read", |_, segments| replace_by_folder(segments.last().unwrap())),
    ("one in the middle is gone", |_, segments| fs::remove_file(&segments[2]).unwrap()),
    ("the newest is gone", |_, segments| fs::remove_file(segments.last().unwrap()).unwrap()),
    ("the mark is gone", |order, _| fs::remove_file(order.join("synced")).unwrap()),
    ("the mark is empty", |order, _| cut(&order.join("synced"), 0)),
    ("the mark is zeros", |order, _| put(&order.join("synced"), &[0; 8_192])),
    ("all is gone", |order, _| fs::remove_dir_all(order).unwrap()),
];

/// A file that the system does not read, as one on a disk that fails.
fn replace_by_folder(path: &Path) {
    fs::remove_file(path).unwrap();
    fs::create_dir(path).unwrap();
}

/// Reads to the end, as a consumer does: after an error it subscribes again.
fn read_on(log: &EmbeddedLog, last: &mut u64) {
    let mut subscription = reader(log, *last);
    while let Ok(found) = subscription.poll(512, Duration::ZERO) {
        let Some(delivery) = found.last() else { return };
        *last = delivery.sequence;
    }
}

/// Does what a relay does with a log that is damaged: sets it aside, and appends all of it again.
fn fill_again(log: &EmbeddedLog) -> Box<dyn Publisher> {
    let order = source("order", 1);
    let mut publisher = match log.publisher(&order) {
        Err(BusError::Damaged { .. }) => {
            assert!(log.reached(&order).unwrap().iter().all(|reached| *reached <= 200));
            log.set_aside(&order).unwrap();
            log.publisher(&order).unwrap()
        }
        opened => opened.unwrap(),
    };
    publisher.append(&records(0, publisher.last(0) + 1, 200)).unwrap();
    publisher.sync().unwrap();
    publisher
}

#[test]
fn a_log_that_is_damaged_while_nobody_publishes_is_filled_again() {
    for (what, damage) in DAMAGE {
        let (folder, log) = segments_of(5_000);
        drop(fill_again(&log));
        damage(&folder.path().join("order"), &segments(&folder));
        let mut last = 0;
        for _ in 0..2 {
            read_on(&log, &mut last); // leaves a note where it finds damage
        }
        let publisher = fill_again(&log);
        assert_eq!(read_all(&log), records(0, 1, 200), "{what}");
        let mut rest = reader(&log, last);
        assert_eq!(contents(poll_all(&mut *rest)), records(0, last + 1, 200), "{what}");
        assert!(!folder.path().join("order/doubt").exists(), "{what}");
        drop(publisher);
    }
}

#[test]
fn a_log_that_is_damaged_under_its_publisher_is_filled_again() {
    for (what, damage) in DAMAGE {
        let (folder, log) = segments_of(5_000);
        let mut publisher = fill_again(&log);
        damage(&folder.path().join("order"), &segments(&folder));
        let mut last = 0;
        read_on(&log, &mut last);
        let error = publisher.sync().expect_err(what);
        assert!(matches!(error, BusError::Damaged { .. } | BusError::Unavailable(_)), "{what}: {error}");
        drop(publisher);
        let mut publisher = fill_again(&log);
        assert_eq!(read_all(&log), records(0, 1, 200), "{what}");
        publisher.append(&records(0, 201, 210)).unwrap();
        publisher.sync().unwrap();
        let mut rest = reader(&log, last);
        assert_eq!(contents(poll_all(&mut *rest)), records(0, last + 1, 210), "{what}");
    }
}

#[test]
fn a_doubt_about_a_log_that_is_whole_is_dropped_and_a_cut_is_no_damage() {
    let (folder, log) = segments_of(5_000);
    let mut publisher = fill_again(&log);
    assert!(log.retain("order", &[90]).unwrap() > 0);
    let doubt = folder.path().join("order/doubt");
    put(&doubt, b"");
    publisher.sync().unwrap();
    assert!(!doubt.exists());
    drop(publisher);
    put(&doubt, b"");
    assert_eq!(log.publisher(&source("order", 1)).unwrap().last(0), 200);
    assert!(!doubt.exists());
}

/// Earlier releases did not note what they had cut, and left a part of a record at the end of a segment on a full disk.
#[test]
fn a_log_that_an_earlier_release_has_cut_is_no_damage() {
    let (folder, log) = segments_of(5_000);
    drop(fill_again(&log));
    assert!(log.retain("order", &[90]).unwrap() > 0);
    let (left, of_order) = (segments(&folder), folder.path().join("order"));
    fs::remove_file(of_order.join("cut")).unwrap();
    let mut bytes = fs::read(&left[1]).unwrap();
    bytes.extend([7; 100]);
    put(&left[1], &bytes);
    let newest = left.last().unwrap().file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(log.keep_since("order", i64::MAX).unwrap(), [newest + 1], "retention goes on behind it");
    put(&of_order.join("doubt"), b"");
    let mut publisher = publisher(&log);
    assert_eq!(publisher.last(0), 200);
    publisher.append(&records(0, 201, 201)).unwrap();
    publisher.sync().unwrap();
    drop(publisher);
    let from = log.kept_from("order").unwrap()[0];
    assert_eq!(contents(poll_all(&mut *reader(&log, from - 1))), records(0, from, 201));
    // From now on it is known what must be there.
    fs::remove_file(&left[0]).unwrap();
    assert!(matches!(log.publisher(&source("order", 1)), Err(BusError::Damaged { .. })));
}

#[test]
fn retention_deletes_whole_segments_and_never_the_newest() {
    let (folder, log) = segments_of(5_000);
    let mut publisher = log.publisher(&source("order", 2)).unwrap();
    let mixed: Vec<_> = (1..=100).flat_map(|sequence| [record(0, sequence), record(1, sequence)]).collect();
    publisher.append(&mixed).unwrap();
    publisher.sync().unwrap();
    let all = segments(&folder);

    // What one partition needs is kept for all; of a partition that is not named, everything is.
    log.retain("order", &[100, 1]).unwrap();
    log.retain("order", &[100]).unwrap();
    log.retain("order", &[]).unwrap();
    assert_eq!(segments(&folder), all);

    log.retain("order", &[50, 40]).unwrap();
    let kept = segments(&folder);
    assert!(kept.len() < all.len() && all.ends_with(&kept));
    let found = poll_all(&mut *log.subscribe(&[after("order", 0, 49), after("order", 1, 39)], Wants::All).unwrap());
    assert_eq!(found.len(), 51 + 61);
    let error = read_until_error(&mut *reader(&log, 0)).1;
    assert!(matches!(error, BusError::Gone { partition: 0, wanted: 1, .. }), "{error}");

    log.retain("order", &[1_000, 1_000]).unwrap();
    assert_eq!(segments(&folder), all[all.len() - 1..]);
    drop(publisher);
    let mut publisher = log.publisher(&source("order", 2)).unwrap();
    assert_eq!((publisher.last(0), publisher.last(1)), (100, 100));
    publisher.append(&[record(1, 101)]).unwrap();
    let found = poll_all(&mut *log.subscribe(&[after("order", 0, 100), after("order", 1, 100)], Wants::All).unwrap());
    assert_eq!(contents(found), [record(1, 101)]);
}

#[test]
fn retention_keeps_what_the_publisher_starts_from() {
    let (folder, log, _) = three_segments();
    // Nothing in the newest segment is synced: a power cut may take it.
    log.retain("order", &[1_000]).unwrap();
    assert_eq!(segments(&folder).len(), 2);
    log.lose_unsynced().unwrap();
    let mut publisher = publisher(&log);
    let next = publisher.last(0) + 1;
    publisher.append(&records(0, next, next)).unwrap();
    assert_eq!(contents(poll_all(&mut *reader(&log, next - 1))), [record(0, next)]);
}

/// Readers in threads of their own, each with polls of another size, beside a publisher that is replaced now and then.
#[test]
fn readers_follow_a_writer_and_miss_nothing() {
    const EVENTS: u64 = 15_000;
    let (_folder, log) = segments_of(100_000);
    let slowest = AtomicU64::new(0);
    thread::scope(|scope| {
        for size in [1, 7, 100, 512] {
            let (log, slowest) = (&log, &slowest);
            scope.spawn(move || {
                let mut next = [1, 1, 1];
                let positions = [0, 1, 2].map(|partition| after("order", partition, 0));
                let wants = Wants::Only(["Paid".to_owned()].into());
                let mut reader = log.subscribe(&positions, wants).unwrap();
                while next.iter().sum::<u64>() < EVENTS + 3 {
                    let found = reader.poll(size, LONG).unwrap();
                    assert!(!found.is_empty() && found.len() <= size);
                    for delivery in found {
                        let next = &mut next[usize::from(delivery.partition)];
                        assert_eq!(delivery.sequence, *next);
                        let whole = record(delivery.partition, delivery.sequence);
                        assert_eq!(delivery.record, (whole.event_type == "Paid").then_some(whole));
                        *next += 1;
                    }
                    slowest.fetch_max(next.iter().sum(), Ordering::Relaxed);
                }
            });
        }
        let (mut publisher, mut batch) = (log.publisher(&source("order", 3)).unwrap(), Vec::new());
        let mut numbers = [0_u64; 3];
        for event in 0..EVENTS {
            let partition = usize::try_from(event * 7 % 13 % 3).unwrap();
            numbers[partition] += 1;
            batch.push(record(u16::try_from(partition).unwrap(), numbers[partition]));
            // Batches of 1 to 300, many of them small.
            if event * 7_919 % 300 < 300 / batch.len() as u64 || event + 1 == EVENTS {
                publisher.append(&batch).unwrap();
                batch.clear();
            }
            if event % 2_000 == 1_999 {
                publisher.sync().unwrap();
            }
            if event % 3_500 == 3_499 {
                drop(publisher);
                publisher = log.publisher(&source("order", 3)).unwrap();
            }
        }
    });
    assert_eq!(slowest.into_inner(), EVENTS + 3);
}

/// Rewrites the third record with other bytes at one offset, and a correct checksum.
fn forge(path: &Path, ends: &[u64], at: usize, bytes: &[u8]) {
    let mut log = fs::read(path).unwrap();
    let (from, to) = (usize::try_from(ends[2]).unwrap(), usize::try_from(ends[3]).unwrap());
    let before = u32::from_le_bytes(log[from - 4..from].try_into().unwrap());
    log[from + at..from + at + bytes.len()].copy_from_slice(bytes);
    let checksum = crc32c::crc32c_append(before, &log[from..to - 4]);
    log[to - 4..to].copy_from_slice(&checksum.to_le_bytes());
    put(path, &log[..to]);
}

#[test]
fn a_number_that_is_missing_is_a_gap_and_said_loudly() {
    let FiveEvents { folder: _folder, log, path, ends, .. } = FiveEvents::written();
    forge(&path, &ends, 20, &4_u64.to_le_bytes());
    let (found, error) = read_until_error(&mut *reader(&log, 0));
    assert_eq!(contents(found), records(0, 1, 2));
    assert_eq!(error, BusError::Gap { service: "order".to_owned(), partition: 0, after: 2, found: 4 });
    assert_eq!(error.code(), "bus-gap");
    assert!(error.remedy().contains("Start it if it is stopped"), "{}", error.remedy());
    let error = log.publisher(&source("order", 1)).err().unwrap();
    assert!(matches!(error, BusError::Damaged { .. }), "{error}");
    drop(fill_again(&log));
    assert_eq!(contents(poll_all(&mut *reader(&log, 2))), records(0, 3, 200), "the service has filled it again");
}

#[test]
fn a_record_of_nonsense_is_damage() {
    for (what, at, bytes) in [("partition", 4, &[1, 0]), ("text", 60, &[0xFF, 0xFE])] {
        let FiveEvents { folder: _folder, log, path, ends, .. } = FiveEvents::written();
        forge(&path, &ends, at, bytes);
        let (found, error) = read_until_error(&mut *reader(&log, 0));
        assert_eq!(contents(found), records(0, 1, 2));
        assert!(matches!(error, BusError::Damaged { .. }), "{what}: {error}");
    }
}

#[test]
fn the_log_may_be_moved_away_and_filled_again_under_its_readers() {
    let folder = folder();
    let log = open(&folder);
    publisher(&log).append(&records(0, 1, 5)).unwrap();
    let mut readers: Vec<_> = (0..2).map(|_| reader(&log, 0)).collect();
    for reader in &mut readers {
        assert_eq!(poll_all(&mut **reader).len(), 5);
    }
    fs::rename(folder.path().join("order"), folder.path().join("order.away")).unwrap();
    publisher(&log).append(&records(0, 1, 7)).unwrap();
    assert_eq!(contents(poll_many(&mut *readers[0], 2)), records(0, 6, 7));

    // From another database.
    fs::rename(folder.path().join("order"), folder.path().join("order.away.too")).unwrap();
    let another = jumun_bus::Source { epoch: uuid::Uuid::from_u128(8), ..source("order", 1) };
    log.publisher(&another).unwrap().append(&records(0, 1, 9)).unwrap();
    for reader in &mut readers {
        // The second reader continues with the file it has, until it looks again.
        let error = loop {
            match reader.poll(10, LONG) {
                Ok(found) => assert!(!found.is_empty()),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, BusError::AnotherEpoch { .. }), "{error}");
    }
}

#[test]
fn a_log_under_another_name_is_not_taken_for_its_own() {
    let FiveEvents { folder, log, .. } = FiveEvents::written();
    fs::rename(folder.path().join("order"), folder.path().join("payment")).unwrap();
    let error = log.publisher(&source("payment", 1)).err().unwrap();
    assert!(error.to_string().contains("`order`"), "{error}");
    let mut reader = log.subscribe(&[after("payment", 0, 0)], Wants::All).unwrap();
    assert!(matches!(read_until_error(&mut *reader).1, BusError::Damaged { .. }));
}

#[test]
fn foreign_files_are_left_alone() {
    let folder = folder();
    let order = folder.path().join("order");
    fs::create_dir_all(order.join("00000000000000000007.logs")).unwrap();
    fs::create_dir_all(folder.path().join("no log")).unwrap();
    fs::create_dir_all(folder.path().join(".hidden")).unwrap();
    fs::write(folder.path().join("README"), "read me").unwrap();
    for name in ["notes.txt", "7.log", "0000000000000000000x.log", ".log", "0000000000000000000000.log", "synced~"] {
        fs::write(order.join(name), "not yours").unwrap();
    }
    let log = EmbeddedLog::with_segments_of(folder.path(), 2_000).unwrap();
    let mut reader = reader(&log, 0);
    assert_eq!(poll_all(&mut *reader), []);
    let mut publisher = publisher(&log);
    publisher.append(&records(0, 1, 50)).unwrap();
    publisher.sync().unwrap();
    log.retain("order", &[50]).unwrap();
    assert_eq!(contents(poll_all(&mut *self::reader(&log, 49))), records(0, 50, 50));
    assert_eq!(log.sources().unwrap(), [source("order", 1)]);
    assert_eq!(fs::read(order.join("7.log")).unwrap(), b"not yours");
    assert_eq!(fs::read(order.join("notes.txt")).unwrap(), b"not yours");
    let error = log.publisher(&source("README", 1)).err().unwrap();
    assert!(matches!(error, BusError::Unavailable(_)), "{error}");
    assert!(matches!(EmbeddedLog::open(&folder.path().join("README")), Err(BusError::Unavailable(_))));
}

#[test]
fn a_newer_format_is_said_to_be_one() {
    for name in [SEGMENT, "synced"] {
        let FiveEvents { folder, log, .. } = FiveEvents::written();
        let path = folder.path().join("order").join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] = 2;
        let end = usize::from(bytes[12]) - 4;
        let checksum = crc32c::crc32c(&bytes[..end]);
        bytes[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
        put(&path, &bytes);
        let error = log.publisher(&source("order", 1)).err().unwrap();
        assert!(matches!(error, BusError::Newer { version: 2, .. }), "{name}: {error}");
    }
}

/// A deleted file goes on taking writes, and no reader finds it.
#[test]
fn files_that_are_deleted_take_no_event_and_the_next_publisher_begins_again() {
    for gone in [".", SEGMENT, "synced"] {
        let folder = folder();
        let log = open(&folder);
        let mut publishing = publisher(&log);
        publishing.append(&records(0, 1, 20)).unwrap();
        let mut reading = reader(&log, 0);
        assert_eq!(poll_all(&mut *reading).len(), 20);
        let of_order = folder.path().join("order");
        match gone {
            "." => fs::remove_dir_all(&of_order).unwrap(),
            file => fs::remove_file(of_order.join(file)).unwrap(),
        }
        for _ in 0..2 {
            let error = publishing.append(&records(0, 21, 21)).unwrap_err();
            assert!(
                matches!(&error, BusError::Damaged { why, .. } if why.contains("it was deleted")),
                "{gone}: {error}"
            );
            assert!(publishing.sync().is_err(), "{gone}");
        }
        drop(publishing);
        if gone != "." {
            assert!(matches!(log.publisher(&source("order", 1)), Err(BusError::Damaged { .. })) || gone == SEGMENT);
            continue; // an operator decides
        }
        let mut publishing = publisher(&log);
        assert_eq!(publishing.last(0), 0, "it is filled again from the journal");
        publishing.append(&records(0, 1, 22)).unwrap();
        let mut found = Vec::new();
        while found.len() < 2 {
            found.extend(contents(reading.poll(512, LONG).unwrap()));
        }
        assert_eq!(found, records(0, 21, 22), "the reader goes on where it was");
    }
}

/// Needs Linux, and root or unprivileged user namespaces.
#[test]
fn a_full_disk_refuses_events_and_keeps_what_it_has() {
    if let Some(disk) = env::var_os(SMALL_DISK) {
        return fill(Path::new(&disk));
    }
    on_a_small_disk("a_full_disk_refuses_events_and_keeps_what_it_has");
}

/// Events of a batch: so many that one is done in part, wherever the disk ends.
const BATCH: u64 = 40;

fn fill(disk: &Path) {
    let ballast = disk.join("ballast");
    fs::write(&ballast, vec![1; 1024 * 1024]).unwrap();
    let log = EmbeddedLog::with_segments_of(&disk.join("bus"), 300_000).unwrap();
    let event = |sequence| Record { body: "x".repeat(2_000), ..record(0, sequence) };
    let mut publisher = publisher(&log);
    let mut reader = reader(&log, 0);
    let (mut read, mut refused, mut in_part) = (0, 0, 0);
    // After each step, the reader has exactly what the publisher says.
    let mut check = |publisher: &dyn Publisher, reader: &mut dyn Subscription| {
        for event in contents(poll_all(reader)) {
            read += 1;
            assert_eq!((event.sequence, event.body.len()), (read, 2_000));
        }
        assert_eq!(read, publisher.last(0));
    };
    while refused < 20 {
        let next = publisher.last(0) + 1;
        let batch: Vec<_> = (next..next + BATCH).map(event).collect();
        match publisher.append(&batch) {
            Ok(()) => assert_eq!(publisher.last(0), next + BATCH - 1),
            Err(BusError::Unavailable(_)) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        in_part += u64::from((next..next + BATCH - 1).contains(&publisher.last(0)));
        check(&*publisher, &mut *reader);
        assert!(publisher.sync().is_ok(), "what is in the log can be synced");
        if refused == 10 {
            drop(publisher);
            publisher = self::publisher(&log);
        }
    }
    let full = publisher.last(0);
    assert!(full > 1_000, "{full} events were done");
    assert!(in_part > 0, "no batch was done in part");

    fs::remove_file(&ballast).unwrap();
    let batch: Vec<_> = (full + 1..=full + 100).map(event).collect();
    publisher.append(&batch).unwrap();
    check(&*publisher, &mut *reader);
    drop(publisher);
    let publisher = self::publisher(&log);
    assert_eq!(publisher.last(0), full + 100);
    assert_eq!(poll_all(&mut *self::reader(&log, 0)).len() as u64, full + 100);
    assert_eq!(reader.poll(1, Duration::ZERO).unwrap(), []);
}
