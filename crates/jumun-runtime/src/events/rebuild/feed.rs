//! The input of a rebuild: the events of each source, in a queue for each partition.

use super::error::RebuildError;
use jumun_bus::{BusError, Subscription};
use std::collections::VecDeque;
use uuid::Uuid;

/// One source.
pub(super) struct Feed {
    pub(super) service: String,
    pub(super) epoch: Option<Uuid>,
    pub(super) subscription: Box<dyn Subscription>,
    /// By partition.
    pub(super) partitions: Vec<FeedPartition>,
}

pub(super) struct FeedPartition {
    /// The last number that was taken out of the queue.
    pub(super) done: u64,
    /// The last number that was put into it.
    pub(super) read: u64,
    /// The number up to which the rebuild folds.
    pub(super) target: u64,
    pub(super) queue: VecDeque<Event>,
}

/// An event in a queue.
pub(super) struct Event {
    pub(super) sequence: u64,
    pub(super) time_ms: i64,
    /// Type and body; `None`: the event concerns no view.
    pub(super) content: Option<(String, String)>,
}

impl FeedPartition {
    pub(super) const fn after(sequence: u64) -> Self {
        Self { done: sequence, read: sequence, target: sequence, queue: VecDeque::new() }
    }

    pub(super) fn put(&mut self, service: &str, partition: u16, event: Event) -> Result<(), RebuildError> {
        if event.sequence <= self.read {
            return Ok(()); // a duplicate
        }
        if event.sequence > self.read + 1 {
            let (service, after, found) = (service.to_owned(), self.read, event.sequence);
            return Err(BusError::Gap { service, partition, after, found }.into());
        }
        self.read = event.sequence;
        self.queue.push_back(event);
        Ok(())
    }
}
