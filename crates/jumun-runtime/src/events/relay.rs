//! The relay of a service: publishes its journal on the bus (transactional outbox; Richardson, *Microservices Patterns*,
//! chapter 3).
//!
//! The relay is level-triggered: it reads the last number on the bus and appends the events of the journal beyond it. So it
//! repairs whatever a crash or a power cut took from the bus; the numbers are the journal's. Events of commits that were just
//! done it gets from memory (`feed.rs`), as long as they are the next ones.
//!
//! The relay is the only publisher of its service: see *One process per database* in `core.rs`.

use super::envelope::record;
use crate::{
    core::Core,
    crash,
    limits::{EVENTS_AT_ONCE, RELAY_EVERY, RELAY_PAUSE, SYNC_EVERY},
};
use jumun_bus::{Bus, BusError, Publisher, Record, Source};
use jumun_database::{Changes, CommitError, ReadError};
use jumun_telemetry::TraceContext;
use std::sync::Arc;
use tokio::{sync::Mutex, time::Instant};

/// Why a relay cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RelayError {
    /// The bus has events that the journal lacks: the database is older than the bus.
    #[error("{service}/{partition}: the bus has events up to {bus}, the journal only up to {journal}")]
    BusAhead {
        /// The service.
        service: String,
        /// The partition.
        partition: u16,
        /// The last number on the bus.
        bus: u64,
        /// The last number in the journal.
        journal: u64,
    },
    /// The bus fails.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] ReadError),
}

/// What to do about a database that lacks events of its service which others have.
pub const AHEAD_REMEDY: &str = "Restore the newest copy of this database: other services have applied its later events. If there is none, restore the whole data folder of the system from one backup, or move it away (all of it, and the bus if the key `bus` names another folder) and start the system with nothing.";

jumun_text::explained! { RelayError {
    Self::BusAhead { .. } => "bus-ahead", AHEAD_REMEDY;
    Self::Bus(error) => error;
    Self::Journal(error) => error;
} }

/// The relay of one service.
#[derive(Clone)]
pub struct Relay {
    core: Core,
    bus: Arc<dyn Bus>,
    source: Source,
    /// `None`: the disk did not confirm a write; the next use opens it again.
    publisher: Arc<Mutex<Option<Box<dyn Publisher>>>>,
}

impl Relay {
    /// Opens the relay. Refuses if the bus is ahead of the journal.
    pub async fn open(core: &Core, bus: Arc<dyn Bus>) -> Result<Self, RelayError> {
        let identity = core.database().identity();
        let source =
            Source { service: identity.service.clone(), epoch: identity.epoch, partitions: identity.partitions };
        core.feed().open();
        let publisher = open(core, &bus, &source).await?;
        for partition in 0..identity.partitions {
            let on_bus = publisher.last(partition);
            refuse_ahead(core, &source, partition, on_bus).await?;
            let mut beyond = on_bus.max(1);
            while !core.database().journal(partition, beyond - 1, 1).await?.is_empty() {
                beyond *= 2;
            }
            core.metrics().in_journal(partition, last_of(core, partition, beyond).await?);
            core.metrics().on_bus(partition, on_bus);
        }
        Ok(Self { core: core.clone(), bus, source, publisher: Arc::new(Mutex::new(Some(publisher))) })
    }

    /// Starts to publish and to sync, until the service is drained.
    pub fn start(&self) {
        let (publishing, syncing) = (self.clone(), self.clone());
        self.core.spawn_worker(async move { publishing.publish().await });
        self.core.spawn_worker(async move { syncing.sync_often().await });
    }

    /// Publishes the rest of the journal and syncs the bus: the last step of a service that stops.
    pub(crate) async fn finish(&self) {
        if let Err(error) = self.catch_up(false).await {
            tracing::warn!(%error, "not all events are published; the next start publishes the rest");
        }
        self.sync().await;
    }

    async fn publish(&self) {
        let mut is_told = false;
        loop {
            let began = Instant::now();
            match self.catch_up(is_told).await {
                Ok(()) => {
                    if self.core.note_unpublished(None) {
                        tracing::info!("the relay publishes again");
                    }
                    tokio::time::sleep_until(began + RELAY_EVERY).await;
                    // A missed notice costs a pause, nothing else.
                    let committed = self.core.to_publish().notified();
                    is_told = tokio::time::timeout(RELAY_PAUSE, committed).await.is_ok();
                }
                Err(error) => {
                    is_told = false;
                    let is_new = self.core.note_unpublished(Some(format!("{}: {error}", error.code())));
                    // Of a database that has failed everything is logged already.
                    if is_new && self.core.database().failure().is_none() {
                        let (code, remedy) = (error.code(), error.remedy());
                        tracing::error!(%error, code, remedy, "events wait in the journal; the relay tries again");
                    }
                    tokio::time::sleep(RELAY_PAUSE).await;
                }
            }
        }
    }

    /// Publishes what is committed and not published. Told of commits, it takes their events as they were handed over; it reads
    /// the journal where one is missing, and otherwise.
    async fn catch_up(&self, mut is_told: bool) -> Result<(), RelayError> {
        if self.core.database().failure().is_some() {
            return Ok(()); // what it still says is published once it is restored
        }
        let mut is_opened_again = false;
        for partition in 0..self.core.database().identity().partitions {
            loop {
                let mut held = self.publisher.lock().await;
                let publisher = match &mut *held {
                    Some(publisher) => publisher,
                    closed => {
                        is_told = false;
                        closed.insert(open(&self.core, &self.bus, &self.source).await?)
                    }
                };
                let last = publisher.last(partition);
                let mut records =
                    self.core.feed().take(partition, last, EVENTS_AT_ONCE as usize).unwrap_or_else(|| {
                        is_told = false;
                        Vec::new()
                    });
                if records.is_empty() && !is_told {
                    let events = self.core.database().journal(partition, last, EVENTS_AT_ONCE).await?;
                    records.extend(events.into_iter().map(record));
                }
                if records.is_empty() {
                    break;
                }
                crash::point("relay.before-append");
                let appended = publisher.append(&records);
                let metrics = self.core.metrics();
                metrics.on_bus(partition, publisher.last(partition));
                match appended {
                    // Its files are gone: another publisher makes the log again, and nothing is unavailable.
                    Err(error @ BusError::Damaged { .. }) => {
                        *held = None;
                        if is_opened_again {
                            return Err(error.into());
                        }
                        is_opened_again = true;
                        if self.has_database_gone().await {
                            return Ok(());
                        }
                        continue;
                    }
                    appended => appended?,
                }
                crash::point("relay.after-append");
                metrics.appended(records.len(), records.iter().map(bytes).sum());
                if tracing::enabled!(tracing::Level::DEBUG) {
                    records.iter().for_each(published);
                }
            }
        }
        Ok(())
    }

    /// Whether files of the log have gone together with the database, which looks when it commits. Then no log is made again
    /// where the data folder was.
    async fn has_database_gone(&self) -> bool {
        let looked = self.core.database().commit(Changes::default()).await;
        matches!(looked, Err(CommitError::Failed(_)))
    }

    async fn sync_often(&self) {
        loop {
            tokio::time::sleep(SYNC_EVERY).await;
            self.sync().await;
        }
    }

    /// A sync blocks on the disk, so it runs on a thread of its own.
    async fn sync(&self) {
        if self.core.database().failure().is_some() {
            return;
        }
        let mut publisher = self.publisher.clone().lock_owned().await;
        let began = Instant::now();
        let synced = tokio::task::spawn_blocking(move || {
            let synced = publisher.as_mut().map_or(Ok(Vec::new()), |publisher| publisher.sync());
            if synced.is_err() {
                // After a failed fsync a second one proves nothing, and files that were deleted are not found by readers:
                // another publisher writes the events again.
                *publisher = None;
            }
            synced
        });
        match synced.await {
            Ok(Ok(_)) => self.core.metrics().synced(began.elapsed()),
            // The relay opens the log again, and says what it does about it.
            Ok(Err(BusError::Damaged { .. })) => {
                if !self.has_database_gone().await {
                    self.core.to_publish().notify_one();
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "the bus cannot be synced; the journal keeps its events"),
            Err(error) => tracing::error!(%error, "the sync of the bus has failed"),
        }
    }
}

/// Opens the log of a service. One that is damaged is set aside: the journal has all of it, and the relay appends it again
/// under the same numbers, so that consumers continue at their positions.
async fn open(core: &Core, bus: &Arc<dyn Bus>, source: &Source) -> Result<Box<dyn Publisher>, RelayError> {
    let damage = match on_disk(bus, source, Bus::publisher).await {
        Err(damage @ BusError::Damaged { .. }) => damage,
        opened => return Ok(opened?),
    };
    // What was published must be in the journal, or the next events would get its numbers.
    let reached = on_disk(bus, source, Bus::reached).await?;
    for (partition, on_bus) in (0..).zip(reached) {
        refuse_ahead(core, source, partition, on_bus).await?;
    }
    let kept = on_disk(bus, source, Bus::set_aside).await?;
    tracing::warn!(%damage, kept, "the log was damaged; it is set aside, and the relay fills it again from the journal");
    Ok(on_disk(bus, source, Bus::publisher).await?)
}

/// Opening may read the whole log, so it runs on a thread of its own.
async fn on_disk<T: Send + 'static>(
    bus: &Arc<dyn Bus>,
    source: &Source,
    work: impl FnOnce(&dyn Bus, &Source) -> Result<T, BusError> + Send + 'static,
) -> Result<T, BusError> {
    if !bus.is_slow() {
        return work(bus.as_ref(), source);
    }
    let (bus, source) = (bus.clone(), source.clone());
    let done = tokio::task::spawn_blocking(move || work(bus.as_ref(), &source)).await;
    done.unwrap_or_else(|error| Err(BusError::Unavailable(error.to_string())))
}

/// Refuses a bus with a number that the journal lacks.
async fn refuse_ahead(core: &Core, source: &Source, partition: u16, on_bus: u64) -> Result<(), RelayError> {
    if on_bus == 0 || !core.database().journal(partition, on_bus - 1, 1).await?.is_empty() {
        return Ok(());
    }
    let journal = last_of(core, partition, on_bus).await?;
    Err(RelayError::BusAhead { service: source.service.clone(), partition, bus: on_bus, journal })
}

async fn last_of(core: &Core, partition: u16, below: u64) -> Result<u64, ReadError> {
    let (mut low, mut high) = (0, below);
    while low < high {
        let middle = low.midpoint(high);
        if core.database().journal(partition, middle, 1).await?.is_empty() { high = middle } else { low = middle + 1 }
    }
    Ok(low)
}

/// Bytes of an event on the bus, without what the bus adds.
fn bytes(record: &Record) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    record.event_type.len() + headers + record.body.len()
}

fn published(record: &Record) {
    let trace = TraceContext::of_headers(&record.headers).map(|trace| tracing::field::display(trace.id()));
    let Record { sequence, event_type, key: order, .. } = record;
    tracing::debug!(trace, order, event_type, sequence, "published");
}
