//! Turns: commands on one aggregate, and repeats of one request, queue in the process instead of conflicting in the database.
//! A command holds no turn of an aggregate while it asks a neighbour; it does hold the turn of its key, for which repeats of
//! the same request queue.
//!
//! Turns are of one process: see *One process per database* in `core.rs`.

use crate::limits::TURNS_WAITING_MAX;
use jumun::DocumentKey;
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::OwnedMutexGuard;

/// What steps queue for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum QueueKey {
    /// A document.
    Document(DocumentKey),
    /// An idempotency key.
    Key(String),
}

type Queues<K> = Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>;

/// A queue for each key that a caller holds or waits for.
#[derive(Debug)]
pub(crate) struct Turns<K: Eq + Hash>(Arc<Queues<K>>);

/// The queue of the key is full.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// The turn of a key; released when dropped.
#[derive(Debug)]
pub(crate) struct Turn<K: Eq + Hash> {
    queues: Arc<Queues<K>>,
    key: K,
    guard: Option<OwnedMutexGuard<()>>,
}

impl<K: Eq + Hash + Clone> Turns<K> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Waits for the turn of this key, first come first served.
    pub(crate) async fn take(&self, key: K) -> Result<Turn<K>, TooMany> {
        let queue = lock(&self.0).entry(key.clone()).or_default().clone();
        if Arc::strong_count(&queue) > TURNS_WAITING_MAX {
            return Err(TooMany);
        }
        // Made before the wait, so that a caller that gives up while it waits also cleans up.
        let mut turn = Turn { queues: self.0.clone(), key, guard: None };
        turn.guard = Some(queue.lock_owned().await);
        Ok(turn)
    }
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        let mut queues = lock(&self.queues);
        self.guard = None;
        if queues.get(&self.key).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(&self.key);
        }
    }
}

fn lock<K: Eq + Hash>(queues: &Queues<K>) -> MutexGuard<'_, HashMap<K, Arc<tokio::sync::Mutex<()>>>> {
    queues.lock().unwrap_or_else(PoisonError::into_inner) // no panic leaves the map half changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, poll};
    use std::pin::pin;

    #[tokio::test]
    async fn one_at_a_time_and_first_come_first_served() {
        let turns = Turns::new();
        let first = turns.take(7).await.expect("a turn");
        let mut second = pin!(turns.take(7));
        let mut third = pin!(turns.take(7));
        assert!(poll!(second.as_mut()).is_pending());
        assert!(poll!(third.as_mut()).is_pending());
        assert!(turns.take(8).now_or_never().is_some(), "another key is free");
        drop(first);
        let second = second.await.expect("a turn");
        assert!(poll!(third.as_mut()).is_pending());
        drop(second);
        drop(third.await);
        assert!(lock(&turns.0).is_empty(), "nothing is left behind");
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_leaves_no_queue_behind() {
        let turns = Turns::new();
        let first = turns.take(7).await.expect("a turn");
        {
            let mut second = pin!(turns.take(7));
            assert!(poll!(second.as_mut()).is_pending());
        }
        drop(first);
        assert!(lock(&turns.0).is_empty());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_callers() {
        let turns = Turns::new();
        let first = turns.take(7).await.expect("a turn");
        let mut waiting: Vec<_> = (0..TURNS_WAITING_MAX).map(|_| Box::pin(turns.take(7))).collect();
        let refused = waiting.iter_mut().filter_map(FutureExt::now_or_never).filter(Result::is_err).count();
        assert!(refused > 0);
        drop(first);
    }
}
