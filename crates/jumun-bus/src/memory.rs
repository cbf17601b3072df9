//! A bus in memory, for tests.

use crate::{
    Bus, BusError, Delivery, Position, Publisher, Record, Released, Source, Subscription, Wants, limits, rules,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use uuid::Uuid;

/// A bus in memory. A clone is the same bus.
#[derive(Clone, Default)]
pub struct MemoryBus {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    logs: Mutex<BTreeMap<String, Log>>,
    /// By source and consumer.
    released: Mutex<BTreeMap<(String, String), Released>>,
    appended: Condvar,
}

struct Log {
    source: Arc<Source>,
    partitions: Vec<Partition>,
    /// Counts publishers; the last one is active if `published` is true.
    publishers: u64,
    published: bool,
}

#[derive(Default)]
struct Partition {
    records: VecDeque<Record>,
    /// The last number before them.
    before: u64,
    synced: u64,
}

impl Partition {
    fn last(&self) -> u64 {
        self.before + self.records.len() as u64
    }

    fn get(&self, sequence: u64) -> Option<&Record> {
        let place = sequence.checked_sub(self.before + 1)?;
        self.records.get(usize::try_from(place).ok()?)
    }
}

impl Shared {
    fn logs(&self) -> MutexGuard<'_, BTreeMap<String, Log>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn released(&self) -> MutexGuard<'_, BTreeMap<(String, String), Released>> {
        self.released.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryBus {
    /// A bus with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// A power cut: it drops unsynced events and disconnects every publisher. Readers continue, as after a restart.
    pub fn lose_unsynced(&self) {
        for log in self.shared.logs().values_mut() {
            for partition in &mut log.partitions {
                let kept = partition.synced - partition.before;
                partition.records.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
            }
            log.publishers += 1;
            log.published = false;
        }
    }

    /// Forgets what lies before these numbers, one for each partition; what is not synced stays.
    pub fn retain(&self, service: &str, keep_from: &[u64]) {
        let mut logs = self.shared.logs();
        let Some(log) = logs.get_mut(service) else { return };
        for (partition, keep_from) in log.partitions.iter_mut().zip(keep_from) {
            while partition.before + 1 < *keep_from && partition.before < partition.synced {
                partition.records.pop_front();
                partition.before += 1;
            }
        }
    }
}

impl Bus for MemoryBus {
    fn publisher(&self, source: &Source) -> Result<Box<dyn Publisher>, BusError> {
        rules::check_source(source)?;
        let mut logs = self.shared.logs();
        let log = logs.entry(source.service.clone()).or_insert_with(|| Log {
            source: Arc::new(source.clone()),
            partitions: (0..source.partitions).map(|_| Partition::default()).collect(),
            publishers: 0,
            published: false,
        });
        if log.published {
            return Err(BusError::InUse { service: source.service.clone() });
        }
        rules::check_same(&log.source, source)?;
        log.published = true;
        log.publishers += 1;
        let number = log.publishers;
        Ok(Box::new(MemoryPublisher { shared: Arc::clone(&self.shared), source: source.clone(), number }))
    }

    fn is_slow(&self) -> bool {
        false
    }

    fn reached(&self, source: &Source) -> Result<Vec<u64>, BusError> {
        let logs = self.shared.logs();
        let Some(log) = logs.get(&source.service) else { return Ok(Vec::new()) };
        rules::check_same(&log.source, source)?;
        Ok(log.partitions.iter().map(Partition::last).collect())
    }

    fn set_aside(&self, source: &Source) -> Result<String, BusError> {
        self.shared.logs().remove(&source.service);
        Ok("nowhere".to_owned())
    }

    fn subscribe(&self, from: &[Position], wants: Wants) -> Result<Box<dyn Subscription>, BusError> {
        let mut feeds: Vec<Feed> = Vec::new();
        for Position { service, partition, epoch, sequence } in from {
            rules::check_service(service)?;
            let place = feeds.iter().position(|feed| feed.service == *service).unwrap_or(feeds.len());
            if place == feeds.len() {
                feeds.push(Feed { service: service.clone(), epochs: Vec::new(), last: Vec::new() });
            }
            let Feed { epochs, last, .. } = &mut feeds[place];
            last.resize(last.len().max(usize::from(*partition) + 1), 0);
            last[usize::from(*partition)] = *sequence;
            epochs.extend(epoch);
        }
        let (shared, failed) = (Arc::clone(&self.shared), rules::Postponed::default());
        Ok(Box::new(MemorySubscription { shared, feeds, wants, turn: 0, failed }))
    }

    fn source(&self, service: &str) -> Result<Option<Source>, BusError> {
        rules::check_service(service)?;
        Ok(self.shared.logs().get(service).map(|log| Source::clone(&log.source)))
    }

    fn sources(&self) -> Result<Vec<Source>, BusError> {
        Ok(self.shared.logs().values().map(|log| Source::clone(&log.source)).collect())
    }

    fn kept_from(&self, service: &str) -> Result<Vec<u64>, BusError> {
        self.keep_since(service, i64::MIN)
    }

    fn keep_since(&self, service: &str, since_ms: i64) -> Result<Vec<u64>, BusError> {
        rules::check_service(service)?;
        let logs = self.shared.logs();
        let partitions = logs.get(service).map(|log| log.partitions.as_slice()).unwrap_or_default();
        let first = |partition: &Partition| {
            let older = partition.records.iter().take_while(|record| record.time_ms < since_ms).count() as u64;
            partition.before + older + 1
        };
        Ok(partitions.iter().map(first).collect())
    }

    fn release(&self, service: &str, consumer: &str, released: &Released) -> Result<(), BusError> {
        rules::check_service(service)?;
        rules::check_service(consumer)?;
        self.shared.released().insert((service.to_owned(), consumer.to_owned()), released.clone());
        Ok(())
    }

    fn released(&self, service: &str, consumer: &str) -> Result<Option<Released>, BusError> {
        rules::check_service(service)?;
        rules::check_service(consumer)?;
        Ok(self.shared.released().get(&(service.to_owned(), consumer.to_owned())).cloned())
    }

    fn retain_since(&self, service: &str, since_ms: i64, consumers: &BTreeSet<String>) -> Result<usize, BusError> {
        let Some(epoch) = self.shared.logs().get(service).map(|log| log.source.epoch) else { return Ok(0) };
        let Some(keep_from) = rules::keep_from(self, service, epoch, since_ms, consumers)? else { return Ok(0) };
        let before = self.kept_from(service)?;
        self.retain(service, &keep_from);
        Ok(before.iter().zip(self.kept_from(service)?).filter(|(before, after)| *before != after).count())
    }
}

struct MemoryPublisher {
    shared: Arc<Shared>,
    source: Source,
    number: u64,
}

impl MemoryPublisher {
    /// Does something with the log, if this is still the one that publishes.
    fn with<T>(&self, work: impl FnOnce(&mut Log) -> Result<T, BusError>) -> Result<T, BusError> {
        match self.shared.logs().get_mut(&self.source.service) {
            Some(log) if log.publishers == self.number => work(log),
            _ => Err(BusError::Unavailable(format!("{}: the power was cut", self.source.service))),
        }
    }
}

impl Publisher for MemoryPublisher {
    fn last(&self, partition: u16) -> u64 {
        let last = self.with(|log| Ok(log.partitions.get(usize::from(partition)).map(Partition::last)));
        last.ok().flatten().unwrap_or_default()
    }

    fn append(&mut self, records: &[Record]) -> Result<(), BusError> {
        self.with(|log| {
            let last: Vec<u64> = log.partitions.iter().map(Partition::last).collect();
            rules::check_records(&self.source, &last, records)?;
            for record in records {
                log.partitions[usize::from(record.partition)].records.push_back(record.clone());
            }
            Ok(())
        })?;
        self.shared.appended.notify_all();
        Ok(())
    }

    fn sync(&mut self) -> Result<Vec<u64>, BusError> {
        self.with(|log| {
            for partition in &mut log.partitions {
                partition.synced = partition.last();
            }
            Ok(log.partitions.iter().map(|partition| partition.synced).collect())
        })
    }
}

impl Drop for MemoryPublisher {
    fn drop(&mut self) {
        let _ = self.with(|log| {
            log.published = false;
            Ok(())
        });
    }
}

struct MemorySubscription {
    shared: Arc<Shared>,
    feeds: Vec<Feed>,
    wants: Wants,
    turn: usize,
    failed: rules::Postponed,
}

struct Feed {
    service: String,
    epochs: Vec<Uuid>,
    last: Vec<u64>,
}

impl Feed {
    fn read(&mut self, log: &Log, until: usize, wants: &Wants, found: &mut Vec<Delivery>) -> Result<(), BusError> {
        let service = || self.service.clone();
        if let Some(wanted) = self.epochs.iter().find(|epoch| **epoch != log.source.epoch) {
            return Err(BusError::AnotherEpoch { service: service(), found: log.source.epoch, wanted: *wanted });
        }
        self.last.resize(self.last.len().max(log.partitions.len()), 0);
        for ((number, partition), last) in (0..).zip(&log.partitions).zip(&mut self.last) {
            if *last < partition.before {
                let (kept_from, wanted) = (partition.before + 1, *last + 1);
                return Err(BusError::Gone { service: service(), partition: number, kept_from, wanted });
            }
            while found.len() < until
                && let Some(record) = partition.get(*last + 1)
            {
                *last += 1;
                let wanted = match wants {
                    Wants::All => true,
                    Wants::Only(types) => types.contains(&record.event_type),
                };
                found.push(Delivery {
                    source: Arc::clone(&log.source),
                    partition: number,
                    sequence: *last,
                    record: wanted.then(|| record.clone()),
                });
                if self.epochs.is_empty() {
                    self.epochs.push(log.source.epoch);
                }
            }
        }
        Ok(())
    }
}

impl MemorySubscription {
    fn read(&mut self, logs: &BTreeMap<String, Log>, max: usize) -> Result<Vec<Delivery>, BusError> {
        let (mut found, mut failed) = (Vec::new(), None);
        let feeds = self.feeds.len().max(1);
        self.turn = (self.turn + 1) % feeds;
        for share in [max.div_ceil(feeds), max] {
            let (later, first) = self.feeds.split_at_mut(self.turn);
            for feed in first.iter_mut().chain(later) {
                let until = max.min(found.len() + share);
                let Some(log) = logs.get(&feed.service) else { continue };
                if let Err(error) = feed.read(log, until, &self.wants, &mut found) {
                    failed.get_or_insert(error);
                }
            }
        }
        self.failed.after(found, failed)
    }
}

impl Subscription for MemorySubscription {
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BusError> {
        self.failed.take()?;
        let begun = Instant::now();
        let shared = Arc::clone(&self.shared);
        let mut logs = shared.logs();
        loop {
            let found = self.read(&logs, max.min(limits::POLL_MAX_EVENTS))?;
            let left = wait.saturating_sub(begun.elapsed());
            if !found.is_empty() || left.is_zero() || max == 0 {
                return Ok(found);
            }
            logs = shared.appended.wait_timeout(logs, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn behind(&self) -> Result<Vec<(String, u64)>, BusError> {
        let logs = self.shared.logs();
        let behind = |feed: &Feed| {
            let log = logs.get(&feed.service)?;
            let last: u64 = log.partitions.iter().map(Partition::last).sum();
            Some(last.saturating_sub(feed.last.iter().sum()))
        };
        Ok(self.feeds.iter().map(|feed| (feed.service.clone(), behind(feed).unwrap_or_default())).collect())
    }
}
