//! The ports: a bus, its publishers and its subscriptions.

use crate::{BusError, Delivery, Position, Record, Released, Source, Wants};
use std::{collections::BTreeSet, time::Duration};

/// A bus.
///
/// # Retention
///
/// A log is kept whole unless its service calls [`Bus::retain_since`]. Each consumer publishes beside the log the
/// number below which it needs nothing ([`Bus::release`]), after that is durable in the consumer's own database. So the
/// published number may lag but never runs ahead, and a crash between the two costs only room. A consumer that has
/// published nothing needs the whole log.
pub trait Bus: Send + Sync + 'static {
    /// The one that appends for a source. There is one at a time: a second one is refused.
    ///
    /// # Errors
    /// [`BusError::InUse`], [`BusError::AnotherEpoch`] where the log of this source was written from another database,
    /// [`BusError::Damaged`] where a part is unreadable that was synced before.
    fn publisher(&self, source: &Source) -> Result<Box<dyn Publisher>, BusError>;

    /// The last number of each partition that the log of a source has reached, as far as it can be read; empty where there
    /// is no log. Also for a log that [`Bus::publisher`] refuses as damaged.
    ///
    /// # Errors
    /// [`BusError::AnotherEpoch`] where the log was written from another database, [`BusError::Unavailable`].
    fn reached(&self, source: &Source) -> Result<Vec<u64>, BusError>;

    /// Takes the log of a source away, as it is damaged; the next publisher begins with an empty one. Its source has
    /// all of it in its journal and appends it again. Returns where the log is kept now, for a person; a log that was
    /// set aside before is deleted. Readers wait until the log has reached their offset again.
    ///
    /// # Errors
    /// [`BusError::Unavailable`]; the log is as it was.
    fn set_aside(&self, source: &Source) -> Result<String, BusError>;

    /// Whether opening a log may take long, because it is read from a disk or a network: such work belongs on a thread of
    /// its own. What is in memory is there at once, so tests in virtual time stay reproducible.
    fn is_slow(&self) -> bool {
        true
    }

    /// Subscribes to these sources from these positions on. Events of unwanted types are delivered without content. A
    /// source that has published nothing yet is not an error. A subscription covers all partitions of a source: one
    /// that no position names is read from its first event on.
    ///
    /// # Errors
    /// Only for an invalid position; [`Subscription::poll`] reports what is wrong with a source.
    fn subscribe(&self, from: &[Position], wants: Wants) -> Result<Box<dyn Subscription>, BusError>;

    /// The source that has a log of this service here; None where there is none.
    ///
    /// # Errors
    /// [`BusError::Damaged`] where there is a log and it does not say whose, [`BusError::Unavailable`].
    fn source(&self, service: &str) -> Result<Option<Source>, BusError>;

    /// The sources that have a log here.
    fn sources(&self) -> Result<Vec<Source>, BusError>;

    /// The first number of each partition that the log of a service still has; empty where there is no log.
    ///
    /// # Errors
    /// [`BusError::Unavailable`], and [`BusError::Damaged`] where a part cannot be read.
    fn kept_from(&self, service: &str) -> Result<Vec<u64>, BusError>;

    /// The numbers, one for each partition, from which on a log must be kept for what has happened since a time (in
    /// milliseconds since 1970 UTC): all events before them happened earlier.
    ///
    /// # Errors
    /// As [`Bus::kept_from`].
    fn keep_since(&self, service: &str, since_ms: i64) -> Result<Vec<u64>, BusError>;

    /// Publishes what a consumer of this service no longer needs. It outlives a power cut.
    ///
    /// # Errors
    /// [`BusError::Unavailable`]; what the consumer published before remains.
    fn release(&self, service: &str, consumer: &str, released: &Released) -> Result<(), BusError>;

    /// What a consumer has published; None where it has published nothing.
    ///
    /// # Errors
    /// [`BusError::Unavailable`], and [`BusError::Damaged`] where it cannot be read.
    fn released(&self, service: &str, consumer: &str) -> Result<Option<Released>, BusError>;

    /// Deletes what happened before a time and none of these consumers needs, as far as the adapter can (a log of
    /// files: whole segments); returns the number of parts deleted. It deletes nothing where a consumer has published
    /// nothing, or was about another epoch. A reader further back gets [`BusError::Gone`].
    ///
    /// # Errors
    /// As [`Bus::kept_from`], and [`BusError::Damaged`] where what a consumer published cannot be read.
    fn retain_since(&self, service: &str, since_ms: i64, consumers: &BTreeSet<String>) -> Result<usize, BusError>;
}

/// Appends the events of one source.
pub trait Publisher: Send {
    /// The last number that the bus has of a partition; 0 for none.
    fn last(&self, partition: u16) -> u64;

    /// Appends events. Each must have the next number of its partition.
    ///
    /// # Errors
    /// [`BusError::Gap`] for another number; nothing is appended then. [`BusError::Unavailable`] where the disk is full
    /// and the like: some records may have been appended. [`Publisher::last`] returns how far; the caller may retry
    /// from there. [`BusError::Damaged`] where files of the log are gone: drop this publisher and open another one.
    fn append(&mut self, records: &[Record]) -> Result<(), BusError>;

    /// Makes what was appended outlive a power cut; returns the last durable number of each partition.
    ///
    /// # Errors
    /// [`BusError::Unavailable`]: how much would outlive a power cut is unknown. If the disk failed, this publisher
    /// does nothing any more: drop it and open another one. [`BusError::Damaged`] where a part of the log is missing or
    /// a reader has found it damaged, and it is: drop this publisher, and see [`Bus::set_aside`].
    fn sync(&mut self) -> Result<Vec<u64>, BusError>;
}

/// Reads events.
pub trait Subscription: Send + Sync {
    /// Up to `max` events (of all sources together, fairly), waiting up to `wait` for the first. Empty: there is
    /// nothing new.
    ///
    /// # Errors
    /// [`BusError::Gap`] where the next number is not there but a later one is, [`BusError::AnotherEpoch`] where a
    /// source has been replaced, [`BusError::Gone`] where the position is before the first number kept,
    /// [`BusError::Damaged`]. An error is about one source: what was found of the others is delivered by the poll
    /// before or after it, and the error comes again as long as it lasts.
    fn poll(&mut self, max: usize, wait: Duration) -> Result<Vec<Delivery>, BusError>;

    /// The consumer's lag: events between the reader and the end, by source, in the order of its positions.
    fn behind(&self) -> Result<Vec<(String, u64)>, BusError>;
}
