//! A process that publishes is killed at any moment, again and again: what it has synced is there, and everything is in
//! order, for a reader that lives through all of it as for one that comes later.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use jumun_bus::{
    Bus, EmbeddedLog, Subscription, Wants,
    conformance::{after, contents, poll_all, record, source},
};
use jumun_testing::{random, run_and_kill};
use std::{env, io::Write, path::Path};

const FOLDER: &str = "JUMUN_TEST_CRASH_FOLDER";
const ROUNDS: u32 = 40;
const PARTITIONS: u16 = 2;

#[test]
fn what_was_synced_survives_kill_9() {
    if let Some(folder) = env::var_os(FOLDER) {
        return publish_for_ever(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut witness = subscribe(folder.path());
    let mut witnessed = vec![0; usize::from(PARTITIONS)];
    let mut synced = vec![0; usize::from(PARTITIONS)];
    for round in 0..ROUNDS {
        // From "at its first events" to "in full swing".
        let path = folder.path();
        run_and_kill("what_was_synced_survives_kill_9", (FOLDER, path), random(1 << (round % 6)), |line| {
            note(line, &mut synced)
        });
        follow(&mut *witness, &mut witnessed);
        let mut found = vec![0; usize::from(PARTITIONS)];
        // All of it now and then; it takes long.
        if round % 10 == 9 {
            follow(&mut *subscribe(folder.path()), &mut found);
            assert_eq!(found, witnessed);
        }
        let lost: Vec<_> = synced.iter().zip(&witnessed).filter(|(synced, found)| synced > found).collect();
        assert!(lost.is_empty(), "synced and found: {lost:?}");
    }
}

fn subscribe(folder: &Path) -> Box<dyn Subscription> {
    let positions: Vec<_> = (0..PARTITIONS).map(|partition| after("order", partition, 0)).collect();
    log(folder).subscribe(&positions, Wants::All).unwrap()
}

/// Small segments, so that processes are killed between two of them, too.
fn log(folder: &Path) -> EmbeddedLog {
    EmbeddedLog::with_segments_of(folder, 200_000).unwrap()
}

/// Reads on, and checks that each event is the next one and what it was.
fn follow(subscription: &mut dyn Subscription, numbers: &mut [u64]) {
    for event in contents(poll_all(subscription)) {
        let number = &mut numbers[usize::from(event.partition)];
        assert_eq!(event, record(event.partition, *number + 1));
        *number += 1;
    }
}

fn note(line: &str, synced: &mut [u64]) -> bool {
    let Some(numbers) = line.strip_prefix("synced ").and_then(|rest| rest.strip_suffix('.')) else { return false };
    for (known, number) in synced.iter_mut().zip(numbers.split(' ')) {
        let number = number.parse().unwrap();
        assert!(number >= *known, "it has lost what it had synced: {number} of {known}");
        *known = number;
    }
    true
}

fn publish_for_ever(folder: &Path) {
    let mut publisher = log(folder).publisher(&source("order", PARTITIONS)).unwrap();
    loop {
        for _ in 0..random(20) {
            let mut batch = Vec::new();
            for partition in 0..PARTITIONS {
                let last = publisher.last(partition);
                batch.extend((last + 1..=last + random(30) as u64).map(|sequence| record(partition, sequence)));
            }
            publisher.append(&batch).unwrap();
        }
        let synced = publisher.sync().unwrap();
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "synced {} {}.", synced[0], synced[1]).unwrap();
        stdout.flush().unwrap();
    }
}
