//! The alarm of the worker that decides time-outs: commits wake it when something is due earlier than it expects.

use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Notify;

/// When a worker looks next, in milliseconds since 1970 UTC, and how it is woken before.
#[derive(Debug)]
pub(crate) struct Alarm {
    at_ms: AtomicI64,
    earlier: Notify,
}

impl Alarm {
    pub(crate) fn new() -> Self {
        Self { at_ms: AtomicI64::new(i64::MAX), earlier: Notify::new() }
    }

    /// Something is due: wakes the worker if it would sleep longer.
    pub(crate) fn is_due(&self, due_ms: i64) {
        // Sequentially consistent: either the worker's next query finds what was committed, or this finds what the worker set.
        if due_ms < self.at_ms.load(Ordering::SeqCst) {
            self.earlier.notify_one();
        }
    }

    /// The worker begins to look: whatever is committed from now on wakes it.
    pub(crate) fn look(&self) {
        self.set(i64::MAX);
    }

    /// The worker sleeps until then.
    pub(crate) fn set(&self, at_ms: i64) {
        self.at_ms.store(at_ms, Ordering::SeqCst);
    }

    /// Waits until something is due earlier.
    pub(crate) async fn earlier(&self) {
        self.earlier.notified().await;
    }
}
