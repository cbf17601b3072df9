//! The bulkhead: a bound on the calls in flight, so that a slow neighbour ties up no more of its caller than that, and
//! gets no more calls than it has places for ([`Pace`]). A few more calls queue, first in first out, each for a bounded
//! time.

use crate::{
    call_times::CallTimes,
    config::BulkheadConfig,
    limits::{PATIENCE_MIN, WAITING_MAX},
    pace::{Capacity, Pace},
};
use serde::Serialize;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A bound on the calls in flight to one neighbour, with a bounded queue.
#[derive(Debug)]
pub struct Bulkhead {
    slots: Semaphore,
    config: BulkheadConfig,
    size: Mutex<Size>,
    waiting: AtomicU32,
    refused: AtomicU64,
}

/// How many slots there are.
#[derive(Debug)]
struct Size {
    pace: Pace,
    /// The limit that `slots` has been set to.
    limit: u32,
    /// Slots in use that are not given back but go: the limit shrank while they were in use.
    surplus: u32,
    times: CallTimes,
}

/// A slot for one call in flight. Dropping it gives it back.
#[derive(Debug)]
#[must_use = "dropping it gives the slot back"]
pub struct Slot<'a> {
    bulkhead: &'a Bulkhead,
    /// `None` only while it is dropped.
    permit: Option<SemaphorePermit<'a>>,
}

/// No slot became free in time, or the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// The state of a bulkhead at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BulkheadSnapshot {
    /// Configured bound on the calls in flight.
    pub max_concurrent: u32,
    /// The bound that applies: less where the neighbour has fewer places.
    pub limit: u32,
    /// What the neighbour told of its places, if it did.
    pub told: Option<Capacity>,
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
    /// An empty bulkhead, for calls with this time limit.
    pub fn new(config: BulkheadConfig, time_limit: Duration) -> Self {
        let pace = Pace::new(config.max_concurrent, time_limit);
        let limit = pace.limit();
        let slots = Semaphore::new(count(limit));
        let size = Mutex::new(Size { pace, limit, surplus: 0, times: CallTimes::default() });
        Self { slots, config, size, waiting: AtomicU32::new(0), refused: AtomicU64::new(0) }
    }

    /// A slot without queueing. If one is free the queue is empty: released slots go to queued calls first.
    pub fn try_enter(&self) -> Option<Slot<'_>> {
        self.slots.try_acquire().ok().map(|permit| self.slot(permit))
    }

    /// A slot, queueing for at most `max_wait` of the configuration, at most this long, and not until too little of that time
    /// is left for the call: it would be in vain, and may have to be undone.
    pub async fn enter(&self, at_most: Duration) -> Result<Slot<'_>, Full> {
        if let Some(slot) = self.try_enter() {
            return Ok(slot);
        }
        let leaves_time = at_most.saturating_sub(self.size().times.at_most()).max(PATIENCE_MIN);
        self.enter_patiently(at_most.min(self.config.max_wait).min(leaves_time)).await
    }

    /// A slot, queueing for at most this long: for a call that nobody waits for.
    pub async fn enter_patiently(&self, at_most: Duration) -> Result<Slot<'_>, Full> {
        if let Some(slot) = self.try_enter() {
            return Ok(slot);
        }
        let slot = self.wait(at_most).await;
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
        let permit = tokio::time::timeout(at_most, self.slots.acquire()).await.ok()?.ok()?;
        Some(self.slot(permit))
    }

    fn slot<'a>(&'a self, permit: SemaphorePermit<'a>) -> Slot<'a> {
        Slot { bulkhead: self, permit: Some(permit) }
    }

    /// The neighbour answered a call that was sent at this time; to be told before the call's slot is given back.
    pub fn answered(&self, capacity: Option<Capacity>, sent: Instant, now: Instant) {
        self.size().times.record(now.saturating_duration_since(sent));
        if self.config.keep_to_places {
            let is_used_up = self.slots.available_permits() == 0;
            self.resize(|pace| pace.answered(capacity, sent, is_used_up, now));
        }
    }

    /// A call that was sent at this time ended without an answer.
    pub fn unanswered(&self, sent: Instant, now: Instant) {
        self.size().times.record(now.saturating_duration_since(sent));
        if self.config.keep_to_places {
            self.resize(|pace| pace.unanswered(now));
        }
    }

    fn resize(&self, change: impl FnOnce(&mut Pace)) {
        let mut size = self.size();
        change(&mut size.pace);
        let limit = size.pace.limit();
        if limit >= size.limit {
            let more = limit - size.limit;
            let kept = more.min(size.surplus);
            size.surplus -= kept;
            self.slots.add_permits(count(more - kept));
        } else {
            let fewer = size.limit - limit;
            let free = self.slots.forget_permits(count(fewer));
            size.surplus += fewer - u32::try_from(free).unwrap_or(fewer);
        }
        size.limit = limit;
    }

    /// The bound on the calls in flight that applies now.
    pub fn limit(&self) -> u32 {
        self.size().limit
    }

    /// Its state.
    pub fn snapshot(&self) -> BulkheadSnapshot {
        let size = self.size();
        let free = u32::try_from(self.slots.available_permits()).unwrap_or(u32::MAX);
        BulkheadSnapshot {
            max_concurrent: self.config.max_concurrent,
            limit: size.limit,
            told: size.pace.told(),
            at_work: (size.limit + size.surplus).saturating_sub(free),
            waiting: self.waiting.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }

    fn size(&self) -> MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(slots: u32) -> usize {
    usize::try_from(slots).map_or(Semaphore::MAX_PERMITS, |slots| slots.min(Semaphore::MAX_PERMITS))
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut size = self.bulkhead.size(); // held until the slot is free: whoever resizes sees it free or in use
        if let Some(permit) = self.permit.take()
            && size.surplus > 0
        {
            size.surplus -= 1;
            permit.forget();
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
