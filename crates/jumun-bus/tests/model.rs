//! Whatever is appended, synced, cut off, deleted and read in whatever order: readers miss nothing and see nothing
//! twice.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use jumun_bus::{
    Bus, EmbeddedLog, MemoryBus, Publisher, Subscription, Wants,
    conformance::{after, poll_all, record, source},
};
use proptest::{collection::vec, prelude::*};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::Duration,
};

const PARTITIONS: u16 = 2;
const READERS: usize = 3;

#[derive(Debug, Clone)]
enum Action {
    /// This many events of each partition, alternating, in batches of this size.
    Append {
        events: [u64; 2],
        batch: usize,
    },
    Sync,
    /// The publisher's process is restarted.
    Restart,
    PowerCut(Loss),
    Poll {
        reader: usize,
        max: usize,
    },
    /// The reader's process is restarted: it knows its numbers, and nothing else.
    Resume {
        reader: usize,
    },
    /// What all readers have read may go.
    Retain,
}

/// What is left of what was not synced.
#[derive(Debug, Clone)]
struct Loss {
    /// Of a thousand bytes.
    left: u64,
    tail: Tail,
    bytes: usize,
    /// Whether a new segment is gone with its name.
    unnamed: bool,
    /// Whether readers are there before the source is.
    readers_first: bool,
}

#[derive(Debug, Clone, Copy)]
enum Tail {
    Nothing,
    Zeros,
    Garbage,
}

fn action() -> impl Strategy<Value = Action> {
    let tail = prop_oneof![Just(Tail::Nothing), Just(Tail::Zeros), Just(Tail::Garbage)];
    let loss = (0..=1_000_u64, tail, 0..2_000_usize, any::<bool>(), any::<bool>());
    let loss =
        loss.prop_map(|(left, tail, bytes, unnamed, readers_first)| Loss { left, tail, bytes, unnamed, readers_first });
    let append = ([0..20_u64, 0..20_u64], 1..30_usize).prop_map(|(events, batch)| Action::Append { events, batch });
    prop_oneof![
        6 => append,
        2 => Just(Action::Sync),
        1 => Just(Action::Restart),
        2 => loss.prop_map(Action::PowerCut),
        8 => (0..READERS, 1..40_usize).prop_map(|(reader, max)| Action::Poll { reader, max }),
        1 => (0..READERS).prop_map(|reader| Action::Resume { reader }),
        1 => Just(Action::Retain),
    ]
}

/// A bus, and how it is treated badly.
trait Subject {
    fn bus(&self) -> &dyn Bus;
    fn power_cut(&self, loss: &Loss);
    fn retain(&self, keep_from: &[u64]);
}

impl Subject for MemoryBus {
    fn bus(&self) -> &dyn Bus {
        self
    }

    fn power_cut(&self, _: &Loss) {
        self.lose_unsynced();
    }

    fn retain(&self, keep_from: &[u64]) {
        MemoryBus::retain(self, "order", keep_from);
    }
}

struct Folder {
    folder: tempfile::TempDir,
    log: EmbeddedLog,
}

impl Subject for Folder {
    fn bus(&self) -> &dyn Bus {
        &self.log
    }

    fn power_cut(&self, loss: &Loss) {
        let (marked, synced) = self.log.synced_to("order").unwrap().unwrap();
        let mut segments: Vec<PathBuf> = fs::read_dir(self.folder.path().join("order"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "log") && *path >= marked)
            .collect();
        segments.sort();
        assert!(segments.len() <= 2, "more than the newest segment is not synced");
        for path in segments {
            let synced = if path == marked { synced } else { 0 };
            damage(&path, synced, loss);
            if path != marked && loss.unnamed {
                fs::remove_file(path).unwrap();
            }
        }
    }

    fn retain(&self, keep_from: &[u64]) {
        self.log.retain("order", keep_from).unwrap();
    }
}

fn damage(path: &Path, synced: u64, loss: &Loss) {
    let file = File::options().write(true).open(path).unwrap();
    let left = synced + (file.metadata().unwrap().len() - synced) * loss.left / 1_000;
    file.set_len(left).unwrap();
    let tail: Vec<u8> = match loss.tail {
        Tail::Nothing => return,
        Tail::Zeros => vec![0; loss.bytes],
        Tail::Garbage => (0..loss.bytes).map(|byte| u8::try_from(byte * 31 % 251).unwrap()).collect(),
    };
    file.write_all_at(&tail, left).unwrap();
}

struct Reader {
    subscription: Box<dyn Subscription>,
    numbers: [u64; 2],
}

impl Reader {
    fn new(bus: &dyn Bus, numbers: [u64; 2]) -> Self {
        let positions = [after("order", 0, numbers[0]), after("order", 1, numbers[1])];
        let wants = Wants::Only(["Paid".to_owned(), "Ordered".to_owned()].into());
        Self { subscription: bus.subscribe(&positions, wants).unwrap(), numbers }
    }

    fn take(&mut self, found: Vec<jumun_bus::Delivery>) -> Result<(), TestCaseError> {
        for delivery in found {
            let number = &mut self.numbers[usize::from(delivery.partition)];
            *number += 1;
            prop_assert_eq!(delivery.sequence, *number);
            let whole = record(delivery.partition, delivery.sequence);
            let wanted = ["Paid", "Ordered"].contains(&&*whole.event_type);
            prop_assert_eq!(delivery.record, wanted.then_some(whole));
        }
        Ok(())
    }
}

fn run(subject: &dyn Subject, actions: Vec<Action>) -> Result<(), TestCaseError> {
    let bus = subject.bus();
    let open = || bus.publisher(&source("order", PARTITIONS)).unwrap();
    let mut publisher = open();
    let mut readers: Vec<_> = (0..READERS).map(|_| Reader::new(bus, [0, 0])).collect();
    // What the source has in its journal; what the bus has; what it has for good.
    let (mut journal, mut synced) = ([0_u64; 2], [0_u64; 2]);
    for action in actions {
        match action {
            Action::Append { events, batch } => {
                let mut records = Vec::new();
                for event in 1..=events[0].max(events[1]) {
                    for partition in [0, 1].into_iter().filter(|partition| event <= events[*partition]) {
                        records.push(record(u16::try_from(partition).unwrap(), journal[partition] + event));
                    }
                }
                for batch in records.chunks(batch) {
                    publisher.append(batch).unwrap();
                }
                journal = [journal[0] + events[0], journal[1] + events[1]];
            }
            Action::Sync => {
                prop_assert_eq!(publisher.sync().unwrap(), journal);
                synced = journal;
            }
            Action::Restart => {
                drop(publisher);
                publisher = open();
                prop_assert_eq!(last(&*publisher), journal);
            }
            Action::PowerCut(loss) => {
                drop(publisher);
                subject.power_cut(&loss);
                if loss.readers_first {
                    readers = readers.into_iter().map(|reader| Reader::new(bus, reader.numbers)).collect();
                    for reader in &mut readers {
                        let found = poll_all(&mut *reader.subscription);
                        reader.take(found)?;
                    }
                }
                publisher = open();
                let left = last(&*publisher);
                for partition in 0..2 {
                    prop_assert!((synced[partition]..=journal[partition]).contains(&left[partition]));
                    // From the journal, one partition after the other.
                    let number = u16::try_from(partition).unwrap();
                    let again: Vec<_> =
                        (left[partition] + 1..=journal[partition]).map(|sequence| record(number, sequence)).collect();
                    publisher.append(&again).unwrap();
                }
            }
            Action::Poll { reader, max } => {
                let found = readers[reader].subscription.poll(max, Duration::ZERO).unwrap();
                prop_assert!(found.len() <= max);
                readers[reader].take(found)?;
            }
            Action::Resume { reader } => readers[reader] = Reader::new(bus, readers[reader].numbers),
            Action::Retain => {
                let least =
                    |partition: usize| readers.iter().map(|reader| reader.numbers[partition] + 1).min().unwrap();
                subject.retain(&[least(0), least(1)]);
            }
        }
        prop_assert_eq!(last(&*publisher), journal);
        for reader in &readers {
            let ahead = journal.iter().sum::<u64>() - reader.numbers.iter().sum::<u64>();
            prop_assert_eq!(reader.subscription.behind().unwrap()[0].1, ahead);
        }
    }
    for reader in &mut readers {
        let found = poll_all(&mut *reader.subscription);
        reader.take(found)?;
        prop_assert_eq!(reader.numbers, journal);
    }
    Ok(())
}

fn last(publisher: &dyn Publisher) -> [u64; 2] {
    [publisher.last(0), publisher.last(1)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_log_keeps_its_promises(actions in vec(action(), 1..40), segment_bytes in 200..10_000_u64) {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::with_segments_of(folder.path(), segment_bytes).unwrap();
        run(&Folder { folder, log }, actions)?;
    }

    #[test]
    fn so_does_the_bus_in_memory(actions in vec(action(), 1..40)) {
        run(&MemoryBus::new(), actions)?;
    }
}
