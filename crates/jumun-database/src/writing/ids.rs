//! The ids of new documents. They rise from 1 per collection. An id that was handed out and never committed leaves a gap.

use super::counters::Counters;
use std::sync::atomic::{AtomicI64, Ordering};

/// The last id of each collection, in memory. The counters of the database follow with each commit.
#[derive(Debug)]
pub(crate) struct Ids(Vec<(&'static str, AtomicI64)>);

impl Ids {
    pub(crate) fn new(counters: &Counters) -> Self {
        Self(counters.last_ids().map(|(name, last)| (name, AtomicI64::new(last))).collect())
    }

    pub(crate) fn next(&self, collection: &str) -> Option<i64> {
        let (_, last) = self.0.iter().find(|(name, _)| *name == collection)?;
        let step = |last: i64| last.checked_add(1);
        last.fetch_update(Ordering::AcqRel, Ordering::Acquire, step).ok().and_then(step)
    }

    /// Publishes the counters of a commit, before its callers get their answers.
    pub(crate) fn raise(&self, counters: &Counters) {
        for ((_, last), (_, committed)) in self.0.iter().zip(counters.last_ids()) {
            last.fetch_max(committed, Ordering::AcqRel);
        }
    }
}
