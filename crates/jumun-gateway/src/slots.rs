//! Slots: bound the requests in progress.

use std::sync::atomic::{AtomicU32, Ordering};

/// A number of slots for requests in progress.
#[derive(Debug)]
pub(crate) struct Slots {
    taken: AtomicU32,
    max: u32,
}

/// A request in progress. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Slot<'a>(&'a AtomicU32);

impl Slots {
    pub(crate) const fn new(max: u32) -> Self {
        Self { taken: AtomicU32::new(0), max }
    }

    /// Takes a slot. None if all are taken, unless the request may exceed the bound.
    pub(crate) fn take(&self, may_exceed: bool) -> Option<Slot<'_>> {
        let slot = Slot(&self.taken);
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.max || may_exceed).then_some(slot)
    }

    /// Requests in progress.
    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
