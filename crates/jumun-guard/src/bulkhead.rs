//! The bulkhead: a bound on the calls in flight, so that a slow neighbour ties up no more of its caller than that. A
//! few more calls queue, first in first out, each for a bounded time.

use crate::{config::BulkheadConfig, limits::WAITING_MAX};
use serde::Serialize;
use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A bound on the calls in flight to one neighbour, with a bounded queue.
#[derive(Debug)]
pub struct Bulkhead {
    places: Semaphore,
    config: BulkheadConfig,
    waiting: AtomicU32,
    refused: AtomicU64,
}

/// A slot for one call in flight. Dropping it gives it back.
#[derive(Debug)]
#[must_use = "dropping it gives the slot back"]
pub struct Slot<'a>(#[expect(dead_code, reason = "held only to be dropped")] SemaphorePermit<'a>);

/// No slot became free in time, or the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The state of a bulkhead at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BulkheadSnapshot {
    /// Bound on the calls in flight.
    pub max_concurrent: u32,
    /// Calls in flight.
    pub at_work: u32,
    /// Calls in the queue.
    pub waiting: u32,
    /// Calls refused since the process started.
    pub refused: u64,
}

/// Counts one queued call until it is dropped.
struct Waiting<'a>(&'a AtomicU32);

impl Bulkhead {
    /// An empty bulkhead.
    pub fn new(config: BulkheadConfig) -> Self {
        let places = usize::try_from(config.max_concurrent).map_or(Semaphore::MAX_PERMITS, |places| places);
        let places = Semaphore::new(places.min(Semaphore::MAX_PERMITS));
        Self { places, config, waiting: AtomicU32::new(0), refused: AtomicU64::new(0) }
    }

    /// A slot without queueing. If one is free the queue is empty: released slots go to queued calls first.
    pub fn try_enter(&self) -> Option<Slot<'_>> {
        self.places.try_acquire().ok().map(Slot)
    }

    /// A slot, queueing for at most `max_wait` of the configuration and at most this long.
    pub async fn enter(&self, at_most: Duration) -> Result<Slot<'_>, Full> {
        if let Some(slot) = self.try_enter() {
            return Ok(slot);
        }
        let slot = self.wait(at_most.min(self.config.max_wait)).await;
        slot.ok_or_else(|| {
            self.refused.fetch_add(1, Relaxed);
            Full
        })
    }

    async fn wait(&self, at_most: Duration) -> Option<Slot<'_>> {
        if at_most.is_zero() {
            return None;
        }
        let waiting = Waiting(&self.waiting);
        if waiting.0.fetch_add(1, Relaxed) >= WAITING_MAX {
            return None;
        }
        tokio::time::timeout(at_most, self.places.acquire()).await.ok()?.ok().map(Slot)
    }

    /// Its state.
    pub fn snapshot(&self) -> BulkheadSnapshot {
        let free = u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX);
        BulkheadSnapshot {
            max_concurrent: self.config.max_concurrent,
            at_work: self.config.max_concurrent.saturating_sub(free),
            waiting: self.waiting.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
