//! The budget of delayed asks: how many may be delayed, until when, and how many are.
//!
//! The count is exact, because a command that is accepted without its answer needs room in the budget before its commit. It
//! moves with each commit ([`DelayBudget::committed`]). After a commit of unknown outcome the count is unsure, and the budget gives
//! no room until a worker has counted the rows again.
//!
//! It counts the rows of one process: see *One process per database* in `core.rs`.

use jumun_database::{CommitError, Receipt, RequestChange, RequestState};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::sync::watch;

/// How asks of one neighbour may be delayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayConfig {
    /// Whether the service accepts a command whose ask gets no answer, and asks later.
    pub is_accepting: bool,
    /// Delayed asks of the service at most. At the limit it refuses commands as if it accepted none without an answer.
    pub max_delayed: u32,
    /// How long the service repeats a delayed ask.
    pub deadline: Duration,
}

/// The budget, and what is used of it.
#[derive(Debug)]
pub struct DelayBudget {
    configs: BTreeMap<String, DelayConfig>,
    /// Delayed requests in the database.
    standing: AtomicU64,
    /// Room reserved for requests that are not committed yet.
    reserved: AtomicU64,
    /// Whether `standing` is unknown: nothing was counted yet, or the outcome of a commit is unknown. There is no room for one
    /// more until a worker has counted.
    is_unsure: AtomicBool,
    /// Notifies the workers of new delayed requests.
    more: watch::Sender<()>,
}

/// Room for one more delayed ask; given back when dropped.
#[derive(Debug)]
pub(crate) struct Room<'a>(&'a DelayBudget);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.reserved.fetch_sub(1, Relaxed);
    }
}

impl Default for DelayBudget {
    /// Nothing may be delayed.
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl DelayBudget {
    /// A budget, with its configuration by neighbour.
    pub fn new(configs: BTreeMap<String, DelayConfig>) -> Self {
        let (standing, reserved) = Default::default();
        Self { configs, standing, reserved, is_unsure: AtomicBool::new(true), more: watch::Sender::new(()) }
    }

    /// Reserves room for a delayed ask, if the service may accept a command without its answer.
    pub(crate) fn room(&self, callee: &str) -> Option<Room<'_>> {
        let config = self.configs.get(callee).filter(|config| config.is_accepting && self.is_sure())?;
        let before = self.reserved.fetch_add(1, Relaxed);
        let room = Room(self); // dropped, and so given back, if the budget is used up
        (self.standing.load(Relaxed) + before < u64::from(config.max_delayed)).then_some(room)
    }

    /// The deadline of an ask that is delayed now, in milliseconds since 1970 UTC.
    pub(crate) fn until_ms(&self, callee: &str, now_ms: i64) -> i64 {
        let deadline = self.configs.get(callee).map_or(Duration::ZERO, |config| config.deadline);
        now_ms.saturating_add(i64::try_from(deadline.as_millis()).unwrap_or(i64::MAX))
    }

    /// Whether asks of this neighbour may be delayed.
    pub(crate) fn is_accepting(&self, callee: &str) -> bool {
        self.configs.get(callee).is_some_and(|config| config.is_accepting)
    }

    /// The number of delayed asks.
    pub fn standing(&self) -> u64 {
        self.standing.load(Relaxed)
    }

    /// By how many these changes raise, or lower, the number of delayed asks.
    pub(crate) fn difference(changes: &[RequestChange]) -> i64 {
        let difference = |change: &RequestChange| match change {
            RequestChange::Insert(request) if request.state == RequestState::Delayed => 1,
            RequestChange::Delay { .. } => 1,
            RequestChange::Move { from: RequestState::Delayed, to, .. } if *to != RequestState::Delayed => -1,
            _ => 0,
        };
        changes.iter().map(difference).sum()
    }

    /// Updates the count after a commit. To be called before the next count can begin.
    pub(crate) fn committed(&self, difference: i64, result: &Result<Receipt, CommitError>) {
        match result {
            _ if difference == 0 => {}
            Ok(_) => {
                self.standing.fetch_add(difference.cast_unsigned(), Relaxed); // wraps around to less
                if difference > 0 {
                    self.more.send_replace(());
                }
            }
            Err(CommitError::Unknown(_)) => {
                self.is_unsure.store(true, Relaxed);
                self.more.send_replace(()); // a worker that wakes counts first
            }
            Err(_) => {}
        }
    }

    /// Whether the number of delayed asks is known.
    pub fn is_sure(&self) -> bool {
        !self.is_unsure.load(Relaxed)
    }

    /// Notifies of new delayed requests.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.more.subscribe()
    }

    /// Sets the count to the number of rows that a worker found.
    pub(crate) fn counted(&self, standing: u64) {
        self.standing.store(standing, Relaxed);
        self.is_unsure.store(false, Relaxed);
    }
}
