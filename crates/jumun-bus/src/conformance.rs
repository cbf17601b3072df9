//! What every adapter must do, as tests that every adapter runs.
//!
//! ```ignore
//! jumun_bus::conformance!(Memory::default());
//! ```
//!
//! expands to one test a function of this module; the expression gives each of them a [`Home`] of its own.

#![allow(clippy::unwrap_used, reason = "these are tests, compiled here so that adapters elsewhere can run them")]

use crate::{Bus, BusError, Delivery, Position, Publisher, Record, Released, Source, Subscription, Wants, limits};
use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Makes one `#[test]` of each test of the suite. The argument is an expression that makes a [`Home`].
#[macro_export]
macro_rules! conformance {
    ($home:expr) => {
        $crate::conformance! { $home =>
            what_is_appended_is_delivered_in_order
            any_content_arrives_as_it_was
            each_partition_is_numbered_on_its_own
            a_number_that_is_not_the_next_appends_nothing
            what_is_over_a_limit_is_refused
            nonsense_is_refused
            a_source_has_one_publisher
            a_publisher_goes_on_where_the_last_one_stopped
            the_log_of_another_database_is_refused
            another_number_of_partitions_is_refused
            a_position_in_another_epoch_is_an_error
            a_reader_goes_on_from_its_position
            a_partition_that_no_position_names_is_read_from_its_beginning
            readers_do_not_disturb_each_other
            events_that_are_not_wanted_come_without_content
            a_source_may_appear_later
            sources_are_listed
            a_poll_delivers_no_more_than_was_asked_for
            a_poll_is_fair_to_all_sources
            a_poll_waits_for_the_first_event
            a_poll_that_finds_nothing_is_empty_in_time
            an_error_of_one_source_keeps_no_other_back
            sync_tells_what_outlives_a_power_cut
            what_a_power_cut_took_is_appended_again
            a_reader_ahead_of_the_log_waits_and_reads_nothing_twice
            a_reader_that_lives_through_it_reads_nothing_twice
            what_is_not_kept_is_gone
            a_log_is_kept_from_its_first_event_on
            what_a_consumer_published_is_read_again
            retention_deletes_what_is_old_and_no_consumer_needs
            a_reader_knows_how_far_it_is_behind
        }
    };
    ($home:expr => $($test:ident)*) => {
        $(
            #[test]
            fn $test() {
                $crate::conformance::$test(&$home);
            }
        )*
    };
}

/// A place for one bus.
pub trait Home {
    /// The adapter.
    type Bus: Bus;

    /// The bus that lives here; every time the same.
    fn bus(&self) -> Self::Bus;

    /// A power cut. No process publishes at that moment.
    fn lose_unsynced(&self);

    /// Deletes what lies before these numbers of a source. It may keep up to [`Home::KEPT_LONGER`] events more.
    fn retain(&self, service: &str, keep_from: &[u64]);

    /// See [`Home::retain`].
    const KEPT_LONGER: u64;
}

/// Longer than anything takes here, on any machine.
pub const LONG: Duration = Duration::from_secs(20);

/// A source; of the same name always the same.
pub fn source(service: &str, partitions: u16) -> Source {
    Source { service: service.to_owned(), epoch: Uuid::from_u128(7), partitions }
}

/// An event that differs from every other by its position.
pub fn record(partition: u16, sequence: u64) -> Record {
    let key = i64::try_from(sequence).unwrap() * 100 + i64::from(partition);
    let event_type = ["Ordered", "Paid", "Shipped", "Delivered"][usize::try_from(sequence % 4).unwrap()].to_owned();
    let body = format!(r#"{{"eventType":"{event_type}","id":{key},"storeName":"스토어{sequence}"}}"#);
    let headers = vec![("traceparent".to_owned(), format!("00-{key:032x}-{sequence:016x}-01"))];
    Record { partition, sequence, event_type, key, time_ms: 1_700_000_000_000 + key, headers, body }
}

/// Events of one partition, from one number to another.
pub fn records(partition: u16, from: u64, to: u64) -> Vec<Record> {
    (from..=to).map(|sequence| record(partition, sequence)).collect()
}

/// A place in a source of which this much was read.
pub fn after(service: &str, partition: u16, sequence: u64) -> Position {
    let epoch = (sequence > 0).then_some(Uuid::from_u128(7));
    Position { service: service.to_owned(), partition, epoch, sequence }
}

/// Polls until there are this many events, within [`LONG`].
pub fn poll_many(subscription: &mut dyn Subscription, many: usize) -> Vec<Delivery> {
    let (mut found, begun) = (Vec::new(), Instant::now());
    while found.len() < many {
        found.extend(subscription.poll(many - found.len(), LONG).unwrap());
        assert!(begun.elapsed() < LONG, "{} of {many} events have come", found.len());
    }
    found
}

/// What there is now.
pub fn poll_all(subscription: &mut dyn Subscription) -> Vec<Delivery> {
    let mut found = Vec::new();
    while let more = subscription.poll(limits::POLL_MAX_EVENTS, Duration::ZERO).unwrap()
        && !more.is_empty()
    {
        found.extend(more);
    }
    found
}

/// The events of deliveries that all have one.
pub fn contents(deliveries: Vec<Delivery>) -> Vec<Record> {
    deliveries.into_iter().map(|delivery| delivery.record.expect("it is wanted")).collect()
}

fn numbers(deliveries: &[Delivery], partition: u16) -> Vec<u64> {
    deliveries.iter().filter(|delivery| delivery.partition == partition).map(|delivery| delivery.sequence).collect()
}

fn open(home: &impl Home, partitions: u16) -> Box<dyn Publisher> {
    home.bus().publisher(&source("order", partitions)).unwrap()
}

fn reader(home: &impl Home, from: &[Position]) -> Box<dyn Subscription> {
    home.bus().subscribe(from, Wants::All).unwrap()
}

fn poll_error(subscription: &mut dyn Subscription) -> BusError {
    match subscription.poll(10, Duration::ZERO) {
        Err(error) => error,
        Ok(found) => panic!("expected an error, got {found:?}"),
    }
}

#[doc(hidden)]
pub fn what_is_appended_is_delivered_in_order(home: &impl Home) {
    let mut publisher = open(home, 1);
    let mut subscription = reader(home, &[after("order", 0, 0)]);
    assert_eq!(subscription.poll(10, Duration::ZERO).unwrap(), []);

    publisher.append(&[]).unwrap();
    publisher.append(&records(0, 1, 3)).unwrap();
    let first = poll_all(&mut *subscription);
    publisher.append(&records(0, 4, 4)).unwrap();
    publisher.append(&records(0, 5, 1_500)).unwrap();
    let rest = poll_all(&mut *subscription);

    for delivery in first.iter().chain(&rest) {
        assert_eq!(*delivery.source, source("order", 1));
        assert_eq!((delivery.partition, delivery.sequence), (0, delivery.record.as_ref().unwrap().sequence));
    }
    assert_eq!(contents(first), records(0, 1, 3));
    assert_eq!(contents(rest), records(0, 4, 1_500));
    assert_eq!(publisher.last(0), 1_500);
}

#[doc(hidden)]
pub fn any_content_arrives_as_it_was(home: &impl Home) {
    let plain = record(0, 1);
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut all = vec![
        Record { body: String::new(), event_type: String::new(), headers: vec![], ..plain.clone() },
        Record { key: i64::MIN, time_ms: i64::MAX, ..plain.clone() },
        Record { key: i64::MAX, time_ms: i64::MIN, ..plain.clone() },
        Record { event_type: "주문됨".to_owned(), body: "\0\n\u{10FFFF}\"".to_owned(), ..plain.clone() },
        Record { headers: vec![header("", ""), header("a", &"x".repeat(9_000)), header("a", "二")], ..plain.clone() },
        Record { body: "대".repeat(256 * 1024 / 3), ..plain.clone() },
        Record { body: "x".repeat(limits::RECORD_MAX_BYTES - 1_000), ..plain.clone() },
        Record { body: "JUMUNLOG".to_owned(), ..plain.clone() },
    ];
    for (record, sequence) in all.iter_mut().zip(1..) {
        record.sequence = sequence;
    }
    let mut publisher = open(home, 1);
    publisher.append(&all).unwrap();
    let mut subscription = reader(home, &[after("order", 0, 0)]);
    assert!(contents(poll_many(&mut *subscription, all.len())) == all);
}

#[doc(hidden)]
pub fn each_partition_is_numbered_on_its_own(home: &impl Home) {
    let mut publisher = open(home, 3);
    publisher.append(&[record(2, 1), record(0, 1), record(2, 2)]).unwrap();
    publisher.append(&[record(2, 3), record(0, 2)]).unwrap();
    assert_eq!([0, 1, 2, 3].map(|partition| publisher.last(partition)), [2, 0, 3, 0]);
    let found = poll_all(&mut *reader(home, &[after("order", 0, 0), after("order", 1, 0), after("order", 2, 0)]));
    assert_eq!(numbers(&found, 0), [1, 2]);
    assert_eq!(numbers(&found, 1), [0_u64; 0]);
    assert_eq!(numbers(&found, 2), [1, 2, 3]);
}

#[doc(hidden)]
pub fn a_number_that_is_not_the_next_appends_nothing(home: &impl Home) {
    let mut publisher = open(home, 2);
    publisher.append(&records(0, 1, 5)).unwrap();
    for (batch, after, found) in [
        (vec![record(0, 5)], 5, 5),
        (vec![record(0, 7)], 5, 7),
        (vec![record(1, 1), record(0, 6), record(0, 6)], 6, 6),
        (vec![record(1, 1), record(0, 6), record(0, 8)], 6, 8),
    ] {
        let gap = BusError::Gap { service: "order".to_owned(), partition: 0, after, found };
        assert_eq!(publisher.append(&batch), Err(gap));
        assert_eq!((publisher.last(0), publisher.last(1)), (5, 0));
    }
    publisher.append(&records(0, 6, 6)).unwrap();
    assert_eq!(numbers(&poll_all(&mut *reader(home, &[after("order", 0, 0)])), 0), [1, 2, 3, 4, 5, 6]);
}

#[doc(hidden)]
pub fn what_is_over_a_limit_is_refused(home: &impl Home) {
    let mut publisher = open(home, 1);
    let long = "x".repeat(limits::NAME_MAX_BYTES + 1);
    for large in [
        Record { body: "x".repeat(limits::RECORD_MAX_BYTES), ..record(0, 2) },
        Record { event_type: long.clone(), ..record(0, 2) },
        Record { headers: vec![(long.clone(), String::new())], ..record(0, 2) },
    ] {
        let error = publisher.append(&[record(0, 1), large]).unwrap_err();
        assert!(matches!(error, BusError::Unavailable(_)), "{error}");
    }
    assert_eq!(publisher.last(0), 0);
}

#[doc(hidden)]
pub fn nonsense_is_refused(home: &impl Home) {
    let bus = home.bus();
    let long = "x".repeat(1_000);
    for name in ["", ".", "..", "a/b", "/", "\0", &*long] {
        assert!(matches!(bus.publisher(&source(name, 1)).err(), Some(BusError::Unavailable(_))), "{name:?}");
        let subscribed = bus.subscribe(&[after(name, 0, 0)], Wants::All);
        assert!(matches!(subscribed.err(), Some(BusError::Unavailable(_))), "{name:?}");
    }
    for partitions in [0, limits::PARTITIONS_MAX + 1] {
        assert!(matches!(bus.publisher(&source("order", partitions)).err(), Some(BusError::Unavailable(_))));
    }
    let mut publisher = bus.publisher(&source("order", limits::PARTITIONS_MAX)).unwrap();
    publisher.append(&[record(limits::PARTITIONS_MAX - 1, 1)]).unwrap();
    assert!(matches!(publisher.append(&[record(limits::PARTITIONS_MAX, 1)]), Err(BusError::Unavailable(_))));
    assert!(publisher.sync().is_ok());
    assert_eq!(poll_all(&mut *reader(home, &[after("order", 0, 0)])).len(), 1);
    assert_eq!(poll_all(&mut *reader(home, &[])), []);
}

#[doc(hidden)]
pub fn a_source_has_one_publisher(home: &impl Home) {
    let bus = home.bus();
    let first = bus.publisher(&source("order", 1)).unwrap();
    for bus in [bus, home.bus()] {
        let in_use = BusError::InUse { service: "order".to_owned() };
        assert_eq!(bus.publisher(&source("order", 1)).err(), Some(in_use));
        assert!(bus.publisher(&source("payment", 1)).is_ok());
    }
    drop(first);
    assert!(home.bus().publisher(&source("order", 1)).is_ok());
}

#[doc(hidden)]
pub fn a_publisher_goes_on_where_the_last_one_stopped(home: &impl Home) {
    let mut subscription = reader(home, &[after("order", 0, 0)]);
    for from in [1, 4, 7] {
        let mut publisher = open(home, 2);
        assert_eq!((publisher.last(0), publisher.last(1)), (from - 1, 0));
        publisher.append(&records(0, from, from + 2)).unwrap();
        if from == 4 {
            publisher.sync().unwrap();
        }
    }
    assert_eq!(contents(poll_all(&mut *subscription)), records(0, 1, 9));
}

#[doc(hidden)]
pub fn the_log_of_another_database_is_refused(home: &impl Home) {
    open(home, 1).append(&records(0, 1, 3)).unwrap();
    let another = Source { epoch: Uuid::from_u128(8), ..source("order", 1) };
    let error = home.bus().publisher(&another).err().unwrap();
    let (found, wanted) = (Uuid::from_u128(7), Uuid::from_u128(8));
    assert_eq!(error, BusError::AnotherEpoch { service: "order".to_owned(), found, wanted });
    assert_eq!(open(home, 1).last(0), 3);
}

#[doc(hidden)]
pub fn another_number_of_partitions_is_refused(home: &impl Home) {
    drop(open(home, 2));
    let error = home.bus().publisher(&source("order", 3)).err().unwrap();
    assert_eq!((error.code(), error.to_string().contains("2 partitions")), ("bus-partitions", true), "{error}");
}

#[doc(hidden)]
pub fn a_position_in_another_epoch_is_an_error(home: &impl Home) {
    open(home, 1).append(&records(0, 1, 3)).unwrap();
    let wanted = Uuid::from_u128(8);
    let position = Position { epoch: Some(wanted), ..after("order", 0, 2) };
    let mut subscription = reader(home, &[position]);
    let another = BusError::AnotherEpoch { service: "order".to_owned(), found: Uuid::from_u128(7), wanted };
    assert_eq!(poll_error(&mut *subscription), another);
    assert_eq!(poll_error(&mut *subscription), another);
}

#[doc(hidden)]
pub fn a_reader_goes_on_from_its_position(home: &impl Home) {
    let mut publisher = open(home, 2);
    let interleaved: Vec<_> = (1..=20).flat_map(|sequence| [record(0, sequence), record(1, sequence)]).collect();
    publisher.append(&interleaved).unwrap();
    for (first, second) in [(0, 0), (20, 20), (20, 0), (0, 20), (7, 13), (19, 20)] {
        let mut subscription = reader(home, &[after("order", 0, first), after("order", 1, second)]);
        let found = poll_all(&mut *subscription);
        assert_eq!(numbers(&found, 0), (first + 1..=20).collect::<Vec<_>>());
        assert_eq!(numbers(&found, 1), (second + 1..=20).collect::<Vec<_>>());
    }
}

#[doc(hidden)]
pub fn a_partition_that_no_position_names_is_read_from_its_beginning(home: &impl Home) {
    open(home, 3).append(&[record(0, 1), record(1, 1), record(2, 1)]).unwrap();
    let found = poll_all(&mut *reader(home, &[after("order", 1, 1)]));
    assert_eq!([0, 1, 2].map(|partition| numbers(&found, partition).len()), [1, 0, 1]);
}

#[doc(hidden)]
pub fn readers_do_not_disturb_each_other(home: &impl Home) {
    open(home, 1).append(&records(0, 1, 100)).unwrap();
    let mut readers: Vec<_> = (0..3).map(|_| reader(home, &[after("order", 0, 0)])).collect();
    for round in 0..10 {
        for (reader, share) in readers.iter_mut().zip([10, 3, 1]) {
            let found = reader.poll(share, Duration::ZERO).unwrap();
            let from = round * share as u64 + 1;
            assert_eq!(numbers(&found, 0), (from..from + share as u64).collect::<Vec<_>>());
        }
    }
}

#[doc(hidden)]
pub fn events_that_are_not_wanted_come_without_content(home: &impl Home) {
    open(home, 1).append(&records(0, 1, 100)).unwrap();
    let read = |types: &[&str]| {
        let wants = Wants::Only(types.iter().map(|&event_type| event_type.to_owned()).collect());
        poll_all(&mut *home.bus().subscribe(&[after("order", 0, 0)], wants).unwrap())
    };
    assert!(read(&[]).iter().all(|delivery| delivery.record.is_none()));
    assert!(read(&["Order", "ordered", ""]).iter().all(|delivery| delivery.record.is_none()));
    let found = read(&["Shipped", "Paid", "Unheard"]);
    assert_eq!(numbers(&found, 0), (1..=100).collect::<Vec<_>>());
    for delivery in found {
        let whole = record(0, delivery.sequence);
        let wanted = ["Shipped", "Paid"].contains(&&*whole.event_type);
        assert_eq!(delivery.record, wanted.then_some(whole));
    }
}

#[doc(hidden)]
pub fn a_source_may_appear_later(home: &impl Home) {
    let mut subscription = reader(home, &[after("payment", 0, 0), after("order", 0, 0)]);
    assert_eq!(subscription.poll(10, Duration::ZERO).unwrap(), []);
    let mut publisher = open(home, 1);
    assert_eq!(subscription.poll(10, Duration::ZERO).unwrap(), []);
    publisher.append(&records(0, 1, 2)).unwrap();
    assert_eq!(contents(poll_all(&mut *subscription)), records(0, 1, 2));
    home.bus().publisher(&source("payment", 1)).unwrap().append(&records(0, 1, 1)).unwrap();
    assert_eq!(subscription.poll(10, Duration::ZERO).unwrap()[0].source.service, "payment");
}

#[doc(hidden)]
pub fn sources_are_listed(home: &impl Home) {
    let bus = home.bus();
    assert_eq!((bus.sources().unwrap(), bus.source("order").unwrap()), (vec![], None));
    let _publisher = open(home, 2);
    bus.publisher(&source("delivery", 1)).unwrap().append(&records(0, 1, 2)).unwrap();
    let mut subscription = reader(home, &[after("store", 0, 0)]);
    assert_eq!(subscription.poll(1, Duration::ZERO).unwrap(), []);
    assert_eq!(bus.sources().unwrap(), [source("delivery", 1), source("order", 2)]);
    assert_eq!((bus.source("order").unwrap(), bus.source("store").unwrap()), (Some(source("order", 2)), None));
}

#[doc(hidden)]
pub fn a_poll_delivers_no_more_than_was_asked_for(home: &impl Home) {
    open(home, 1).append(&records(0, 1, 2_000)).unwrap();
    let mut subscription = reader(home, &[after("order", 0, 0)]);
    let sizes = [0, 1, 7, 512, 513, usize::MAX].map(|max| subscription.poll(max, Duration::ZERO).unwrap().len());
    assert_eq!(sizes, [0, 1, 7, 512, 512, 512]);
    // Nor more than fits.
    let big = |sequence| Record { body: "x".repeat(limits::RECORD_MAX_BYTES - 500), ..record(0, sequence) };
    for sequence in 2_001..=2_020 {
        open(home, 1).append(&[big(sequence)]).unwrap();
    }
    let mut subscription = reader(home, &[after("order", 0, 2_000)]);
    let found = poll_many(&mut *subscription, 20);
    assert_eq!(numbers(&found, 0), (2_001..=2_020).collect::<Vec<_>>());
}

#[doc(hidden)]
pub fn a_poll_is_fair_to_all_sources(home: &impl Home) {
    let services = ["order", "payment", "store"];
    for (service, events) in services.into_iter().zip([1_000, 200, 30]) {
        home.bus().publisher(&source(service, 1)).unwrap().append(&records(0, 1, events)).unwrap();
    }
    let mut subscription = reader(home, &services.map(|service| after(service, 0, 0)));
    let count = |found: &[Delivery]| {
        services.map(|service| found.iter().filter(|delivery| delivery.source.service == service).count())
    };
    let found = subscription.poll(90, Duration::ZERO).unwrap();
    assert_eq!(count(&found), [30, 30, 30]);
    // What one does not need is the others'.
    let found = subscription.poll(90, Duration::ZERO).unwrap();
    assert_eq!((found.len(), count(&found)[2]), (90, 0));
    assert!(count(&found)[..2].iter().all(|count| *count >= 30), "{:?}", count(&found));
    // With less room than sources each source has its turn.
    let found: Vec<_> = (0..2).flat_map(|_| subscription.poll(1, Duration::ZERO).unwrap()).collect();
    assert_eq!(found.len(), 2);
    let mut subscription = reader(home, &services.map(|service| after(service, 0, 0)));
    let found: Vec<_> = (0..3).flat_map(|_| subscription.poll(1, Duration::ZERO).unwrap()).collect();
    assert_eq!(count(&found), [1, 1, 1]);
}

#[doc(hidden)]
pub fn a_poll_waits_for_the_first_event(home: &impl Home) {
    let mut publisher = open(home, 1);
    let mut subscription = reader(home, &[after("order", 0, 0)]);
    thread::scope(|scope| {
        let reading = scope.spawn(move || poll_many(&mut *subscription, 3));
        for sequence in 1..=3 {
            publisher.append(&[record(0, sequence)]).unwrap();
        }
        assert_eq!(contents(reading.join().unwrap()), records(0, 1, 3));
    });
}

#[doc(hidden)]
pub fn a_poll_that_finds_nothing_is_empty_in_time(home: &impl Home) {
    let _publisher = open(home, 1);
    let mut subscription = reader(home, &[after("order", 0, 0), after("payment", 0, 0)]);
    let (begun, wait) = (Instant::now(), Duration::from_millis(30));
    assert_eq!(subscription.poll(10, wait).unwrap(), []);
    assert!((wait..LONG).contains(&begun.elapsed()));
}

#[doc(hidden)]
pub fn an_error_of_one_source_keeps_no_other_back(home: &impl Home) {
    for service in ["order", "payment"] {
        home.bus().publisher(&source(service, 1)).unwrap().append(&records(0, 1, 20)).unwrap();
    }
    let elsewhere = Position { epoch: Some(Uuid::from_u128(8)), ..after("payment", 0, 3) };
    let mut subscription = reader(home, &[after("order", 0, 0), elsewhere]);
    let (mut found, mut errors) = (Vec::new(), 0);
    for _ in 0..20 {
        match subscription.poll(2, Duration::ZERO) {
            Ok(more) => found.extend(more),
            Err(BusError::AnotherEpoch { service, .. }) if service == "payment" => errors += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(numbers(&found, 0), (1..=found.len() as u64).collect::<Vec<_>>());
    assert!(found.len() >= 10 && errors >= 5, "{} events, {errors} errors", found.len());
}

#[doc(hidden)]
pub fn sync_tells_what_outlives_a_power_cut(home: &impl Home) {
    let mut publisher = open(home, 2);
    assert_eq!(publisher.sync().unwrap(), [0, 0]);
    publisher.append(&[record(0, 1), record(1, 1), record(0, 2)]).unwrap();
    assert_eq!(publisher.sync().unwrap(), [2, 1]);
    assert_eq!(publisher.sync().unwrap(), [2, 1]);
    publisher.append(&[record(1, 2)]).unwrap();
    drop(publisher);
    home.lose_unsynced();
    let mut publisher = open(home, 2);
    assert_eq!((publisher.last(0), publisher.last(1)), (2, 1));
    assert_eq!(publisher.sync().unwrap(), [2, 1]);
}

#[doc(hidden)]
pub fn what_a_power_cut_took_is_appended_again(home: &impl Home) {
    for (synced, appended) in [(0, 12), (15, 20), (30, 30), (31, 40)] {
        let mut publisher = open(home, 1);
        let next = publisher.last(0) + 1;
        publisher.append(&records(0, next, synced)).unwrap();
        assert!(publisher.sync().unwrap()[0] >= synced);
        let next = publisher.last(0) + 1;
        publisher.append(&records(0, next, appended)).unwrap();
        let found = poll_all(&mut *reader(home, &[after("order", 0, 0)]));
        assert_eq!(contents(found), records(0, 1, appended));
        drop(publisher);
        home.lose_unsynced();
        // More may be left than was synced, but nothing else.
        let found = contents(poll_all(&mut *reader(home, &[after("order", 0, 0)])));
        assert!((synced..=appended).contains(&(found.len() as u64)), "{}", found.len());
        assert_eq!(found, records(0, 1, found.len() as u64));
        assert_eq!(open(home, 1).last(0), found.len() as u64);
    }
}

#[doc(hidden)]
pub fn a_reader_ahead_of_the_log_waits_and_reads_nothing_twice(home: &impl Home) {
    let mut publisher = open(home, 1);
    publisher.append(&records(0, 1, 5)).unwrap();
    publisher.sync().unwrap();
    publisher.append(&records(0, 6, 10)).unwrap();
    drop(publisher);
    home.lose_unsynced();

    let mut subscription = reader(home, &[after("order", 0, 10)]);
    assert_eq!(poll_all(&mut *subscription), []);
    assert_eq!(subscription.behind().unwrap(), [("order".to_owned(), 0)]);
    let mut publisher = open(home, 1);
    for sequence in publisher.last(0) + 1..=10 {
        publisher.append(&[record(0, sequence)]).unwrap();
        assert_eq!(poll_all(&mut *subscription), []);
    }
    publisher.append(&records(0, 11, 12)).unwrap();
    assert_eq!(contents(poll_all(&mut *subscription)), records(0, 11, 12));
}

#[doc(hidden)]
pub fn a_reader_that_lives_through_it_reads_nothing_twice(home: &impl Home) {
    let mut readers: Vec<_> = (0..4).map(|_| reader(home, &[after("order", 0, 0)])).collect();
    let mut publisher = open(home, 2);
    let mixed: Vec<_> = (1..=10).flat_map(|sequence| [record(0, sequence), record(1, sequence)]).collect();
    publisher.append(&mixed[..6]).unwrap();
    publisher.sync().unwrap();
    publisher.append(&mixed[6..]).unwrap();
    // They have different offsets when it happens.
    let mut read: Vec<_> =
        readers.iter_mut().zip([0, 5, 9, 20]).map(|(reader, many)| poll_many(&mut **reader, many)).collect();
    drop(publisher);
    home.lose_unsynced();

    // From the journal they come in another order: one partition after the other.
    let mut publisher = open(home, 2);
    for (reader, read) in readers.iter_mut().zip(&mut read).skip(1).step_by(2) {
        read.extend(poll_all(&mut **reader));
    }
    let left = [publisher.last(0), publisher.last(1)];
    assert!(left.iter().all(|left| (3..=10).contains(left)));
    publisher.append(&records(1, left[1] + 1, 10)).unwrap();
    publisher.append(&records(0, left[0] + 1, 12)).unwrap();
    publisher.append(&records(1, 11, 12)).unwrap();
    for (reader, mut read) in readers.iter_mut().zip(read) {
        let rest = 24 - read.len();
        read.extend(poll_many(&mut **reader, rest));
        for partition in [0, 1] {
            assert_eq!(numbers(&read, partition), (1..=12).collect::<Vec<_>>());
        }
        for event in contents(read) {
            assert_eq!(event, record(event.partition, event.sequence));
        }
    }
}

#[doc(hidden)]
pub fn what_is_not_kept_is_gone<H: Home>(home: &H) {
    let mut publisher = open(home, 1);
    home.retain("order", &[5]);
    home.retain("payment", &[5]);
    for sequence in 1..=400 {
        publisher.append(&[record(0, sequence)]).unwrap();
    }
    publisher.sync().unwrap();
    home.retain("order", &[0]);
    let mut slow = reader(home, &[after("order", 0, 0)]);
    assert_eq!(numbers(&slow.poll(1, Duration::ZERO).unwrap(), 0), [1]);
    home.retain("order", &[301]);

    // What was asked to be kept is.
    let found = poll_all(&mut *reader(home, &[after("order", 0, 300)]));
    assert_eq!(contents(found), records(0, 301, 400));
    // What was before it is not, but for a little.
    let error = poll_error(&mut *reader(home, &[after("order", 0, 10)]));
    let BusError::Gone { service, partition: 0, kept_from, wanted: 11 } = error else { panic!("{error}") };
    assert!(service == "order" && (301 - H::KEPT_LONGER..=301).contains(&kept_from), "{kept_from}");
    // A reader in the middle of it reads on, or gets an error.
    let mut read = 1;
    loop {
        match slow.poll(1, Duration::ZERO) {
            Ok(found) if found.is_empty() => break assert_eq!(read, 400),
            Ok(found) => {
                read += 1;
                assert_eq!(numbers(&found, 0), [read]);
            }
            Err(BusError::Gone { wanted, .. }) => break assert_eq!(wanted, read + 1),
            Err(error) => panic!("{error}"),
        }
    }
    publisher.append(&records(0, 401, 401)).unwrap();
    drop(publisher);
    assert_eq!(open(home, 1).last(0), 401);
}

#[doc(hidden)]
pub fn a_log_is_kept_from_its_first_event_on<H: Home>(home: &H) {
    let bus = home.bus();
    assert_eq!(bus.kept_from("order").unwrap(), [0_u64; 0]);
    let mut publisher = open(home, 2);
    for sequence in 1..=400 {
        publisher.append(&[record(0, sequence), record(1, sequence)]).unwrap();
    }
    publisher.sync().unwrap();
    assert_eq!(bus.kept_from("order").unwrap(), [1, 1]);
    home.retain("order", &[301, 301]);
    let kept_from = bus.kept_from("order").unwrap();
    assert!(kept_from.iter().all(|first| (301 - H::KEPT_LONGER..=301).contains(first)), "{kept_from:?}");
    let read =
        poll_all(&mut *reader(home, &[after("order", 0, kept_from[0] - 1), after("order", 1, kept_from[1] - 1)]));
    assert_eq!(numbers(&read, 0), (kept_from[0]..=400).collect::<Vec<_>>());
    for nonsense in ["", "a/b"] {
        assert!(bus.kept_from(nonsense).is_err());
    }
}

#[doc(hidden)]
pub fn what_a_consumer_published_is_read_again(home: &impl Home) {
    let bus = home.bus();
    let released = |up_to| Released { epoch: Uuid::from_u128(7), up_to };
    assert_eq!(bus.released("order", "store").unwrap(), None);
    for up_to in [vec![3, 1], vec![9, 9], vec![]] {
        bus.release("order", "store", &released(up_to.clone())).unwrap();
        assert_eq!(home.bus().released("order", "store").unwrap(), Some(released(up_to)));
    }
    assert_eq!(bus.released("order", "delivery").unwrap(), None);
    assert_eq!(bus.released("payment", "store").unwrap(), None);
    assert!(bus.release("order", "../x", &released(vec![])).is_err());
    assert!(bus.release("../x", "store", &released(vec![])).is_err());
}

#[doc(hidden)]
pub fn retention_deletes_what_is_old_and_no_consumer_needs<H: Home>(home: &H) {
    let bus = home.bus();
    let consumers: BTreeSet<_> = ["delivery", "store"].map(str::to_owned).into();
    assert_eq!(bus.retain_since("order", i64::MAX, &consumers).unwrap(), 0);
    let mut publisher = open(home, 1);
    for sequence in 1..=400 {
        publisher.append(&[record(0, sequence)]).unwrap();
    }
    publisher.sync().unwrap();
    let time_of = |sequence| record(0, sequence).time_ms;
    let kept_from = || bus.kept_from("order").unwrap()[0];
    let is_near = |first: u64, wanted: u64| (wanted.saturating_sub(H::KEPT_LONGER).max(1)..=wanted).contains(&first);
    assert!(is_near(bus.keep_since("order", time_of(301)).unwrap()[0], 301));

    // One consumer has published nothing, then about another epoch: it needs the whole log.
    let released = |epoch, up_to| Released { epoch: Uuid::from_u128(epoch), up_to: vec![up_to] };
    bus.release("order", "store", &released(7, 400)).unwrap();
    for elsewhere in [None, Some(released(8, 400))] {
        if let Some(elsewhere) = &elsewhere {
            bus.release("order", "delivery", elsewhere).unwrap();
        }
        assert_eq!((bus.retain_since("order", i64::MAX, &consumers).unwrap(), kept_from()), (0, 1));
    }
    // The slowest consumer decides, then the time.
    bus.release("order", "delivery", &released(7, 250)).unwrap();
    bus.retain_since("order", i64::MAX, &consumers).unwrap();
    assert!(is_near(kept_from(), 251), "{}", kept_from());
    bus.release("order", "delivery", &released(7, 400)).unwrap();
    bus.retain_since("order", time_of(350), &consumers).unwrap();
    assert!(is_near(kept_from(), 350), "{}", kept_from());
    assert_eq!(numbers(&poll_all(&mut *reader(home, &[after("order", 0, 349)])), 0), (350..=400).collect::<Vec<_>>());
}

#[doc(hidden)]
pub fn a_reader_knows_how_far_it_is_behind(home: &impl Home) {
    let mut publisher = open(home, 2);
    let mut subscription = reader(home, &[after("payment", 0, 0), after("order", 0, 3)]);
    let behind = |subscription: &dyn Subscription| {
        let behind = subscription.behind().unwrap();
        assert_eq!(behind.iter().map(|(service, _)| &**service).collect::<Vec<_>>(), ["payment", "order"]);
        behind[1].1
    };
    assert_eq!(behind(&*subscription), 0);
    publisher.append(&records(0, 1, 10)).unwrap();
    assert_eq!(behind(&*subscription), 7);
    publisher.append(&records(1, 1, 5)).unwrap();
    assert_eq!(behind(&*subscription), 12);
    assert_eq!(subscription.poll(4, Duration::ZERO).unwrap().len(), 4);
    assert_eq!(behind(&*subscription), 8);
    poll_all(&mut *subscription);
    assert_eq!(behind(&*subscription), 0);
}
