//! The budget of delayed asks: how many may be delayed, until when, and how many are. It counts those of one process: see
//! *One process a database* in `core.rs`.

use jumun_database::{CommitError, Receipt, RequestChange, RequestState};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use tokio::sync::watch;

/// How questions to one neighbour may be delayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayConfig {
    /// Whether a command is accepted without the answer of a neighbour that does not answer now.
    pub is_accepting: bool,
    /// How many questions of the service may be delayed; then commands are refused as if there were no delay.
    pub max_delayed: u32,
    /// For how long a question is asked.
    pub deadline: Duration,
}

/// What is delayed, and what may be.
#[derive(Debug)]
pub struct Delays {
    configs: BTreeMap<String, DelayConfig>,
    /// Requests that are delayed by a commit.
    standing: AtomicU64,
    /// Places of requests that are about to be.
    reserved: AtomicU64,
    /// Nobody knows how many are standing: they were not counted yet, or nobody knows what became of a commit. There is no
    /// room for one more until they are counted.
    is_unsure: AtomicBool,
    /// Changes when there are more of them.
    more: watch::Sender<()>,
}

/// A place for one more delayed question.
#[derive(Debug)]
pub(crate) struct Room<'a>(&'a Delays);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.reserved.fetch_sub(1, Relaxed);
    }
}

impl Default for Delays {
    /// Nothing may be delayed.
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl Delays {
    /// By the neighbour that is asked.
    pub fn new(configs: BTreeMap<String, DelayConfig>) -> Self {
        let (standing, reserved) = Default::default();
        Self { configs, standing, reserved, is_unsure: AtomicBool::new(true), more: watch::Sender::new(()) }
    }

    /// A place for a delayed question, if a command may be accepted without its answer.
    pub(crate) fn room(&self, callee: &str) -> Option<Room<'_>> {
        let config = self.configs.get(callee).filter(|config| config.is_accepting && self.is_sure())?;
        let before = self.reserved.fetch_add(1, Relaxed);
        let room = Room(self); // given back if it is not to be had
        (self.standing.load(Relaxed) + before < u64::from(config.max_delayed)).then_some(room)
    }

    /// Until when a question that is delayed now is asked, in milliseconds since 1970 UTC.
    pub(crate) fn until_ms(&self, callee: &str, now_ms: i64) -> i64 {
        let deadline = self.configs.get(callee).map_or(Duration::ZERO, |config| config.deadline);
        now_ms.saturating_add(i64::try_from(deadline.as_millis()).unwrap_or(i64::MAX))
    }

    /// Whether a question to this neighbour may be delayed.
    pub(crate) fn is_accepting(&self, callee: &str) -> bool {
        self.configs.get(callee).is_some_and(|config| config.is_accepting)
    }

    /// How many are delayed.
    pub fn standing(&self) -> u64 {
        self.standing.load(Relaxed)
    }

    /// How many more, or fewer, these changes delay.
    pub(crate) fn difference(changes: &[RequestChange]) -> i64 {
        let difference = |change: &RequestChange| match change {
            RequestChange::Insert(request) if request.state == RequestState::Delayed => 1,
            RequestChange::Delay { .. } => 1,
            RequestChange::Move { from: RequestState::Delayed, to, .. } if *to != RequestState::Delayed => -1,
            _ => 0,
        };
        changes.iter().map(difference).sum()
    }

    /// Takes what a commit has come to. To be called before the next count can begin.
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
                self.more.send_replace(()); // whoever asks counts first
            }
            Err(_) => {}
        }
    }

    /// Whether it is known how many are delayed.
    pub fn is_sure(&self) -> bool {
        !self.is_unsure.load(Relaxed)
    }

    /// Changes when there are more of them.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.more.subscribe()
    }

    /// Takes how many were found.
    pub(crate) fn counted(&self, standing: u64) {
        self.standing.store(standing, Relaxed);
        self.is_unsure.store(false, Relaxed);
    }
}
