//! What the writer shows to other threads.

use super::{
    answers::Courier,
    counters::Counters,
    ids::Ids,
    job::{Done, Outcome},
};
use crate::{Stats, histogram::Filling, limits};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What the writer shows to other threads.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) ids: Ids,
    pub(crate) courier: Courier,
    commits: AtomicU64,
    groups: AtomicU64,
    conflicts: AtomicU64,
    group_jobs: Filling,
    sync_us: Filling,
}

impl Shared {
    pub(crate) fn new(counters: &Counters) -> Arc<Self> {
        Arc::new(Self {
            ids: Ids::new(counters),
            courier: Courier::default(),
            commits: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            group_jobs: Filling::new(limits::GROUP_JOBS_BOUNDS),
            sync_us: Filling::new(limits::SYNC_US_BOUNDS),
        })
    }

    /// Counts a transaction that is committed, before its callers get their answers.
    pub(crate) fn committed(&self, outcomes: &[Outcome], counters: &Counters, sync: Duration) {
        self.sync_us.add(u64::try_from(sync.as_micros()).unwrap_or(u64::MAX));
        self.group_jobs.add(outcomes.len() as u64);
        self.ids.raise(counters);
        let commits = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Done::Committed(_)))).count() as u64;
        let conflicts = outcomes.iter().filter(|outcome| outcome.is_err()).count() as u64;
        self.commits.fetch_add(commits, Ordering::Relaxed);
        self.conflicts.fetch_add(conflicts, Ordering::Relaxed);
        self.groups.fetch_add(u64::from(commits > 0), Ordering::Relaxed);
    }

    /// What the writer has done since the start.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            commits: self.commits.load(Ordering::Relaxed),
            groups: self.groups.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
            group_jobs: self.group_jobs.read(),
            sync_us: self.sync_us.read(),
            ..Stats::default()
        }
    }
}
