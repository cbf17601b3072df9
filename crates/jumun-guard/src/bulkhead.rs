//! The bulkhead: so many calls at once, so that a slow neighbour takes no more of us than that. A few more may wait, first
//! come first served, each no longer than it may.

use crate::{config::BulkheadConfig, limits::WAITING_MAX};
use serde::Serialize;
use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A bulkhead.
#[derive(Debug)]
pub struct Bulkhead {
    places: Semaphore,
    config: BulkheadConfig,
    waiting: AtomicU32,
    refused: AtomicU64,
}

/// A place among those at work; given back when dropped.
#[derive(Debug)]
#[must_use = "dropped at once, it is no place"]
pub struct Slot<'a>(#[expect(dead_code, reason = "it is there to be dropped")] SemaphorePermit<'a>);

/// No place became free in time, or too many wait for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// What there is to know about a bulkhead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BulkheadSnapshot {
    /// Calls at work at once, at most.
    pub max_concurrent: u32,
    /// Calls at work.
    pub at_work: u32,
    /// Calls that wait.
    pub waiting: u32,
    /// Calls that were refused since the process started.
    pub refused: u64,
}

/// One who waits; no more when dropped.
struct Waiting<'a>(&'a AtomicU32);

impl Bulkhead {
    /// An empty one.
    pub fn new(config: BulkheadConfig) -> Self {
        let places = usize::try_from(config.max_concurrent).map_or(Semaphore::MAX_PERMITS, |places| places);
        let places = Semaphore::new(places.min(Semaphore::MAX_PERMITS));
        Self { places, config, waiting: AtomicU32::new(0), refused: AtomicU64::new(0) }
    }

    /// A place, if one is free and nobody waits for it.
    pub fn try_enter(&self) -> Option<Slot<'_>> {
        self.places.try_acquire().ok().map(Slot)
    }

    /// A place, waiting for it as long as is configured, and no longer than this.
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

    /// What there is to know about it.
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
