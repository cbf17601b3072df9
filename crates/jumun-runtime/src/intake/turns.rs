//! Turns: commands on one aggregate, and repeats of one request, queue in the process instead of conflicting in the database.
//! A command holds no turn of an aggregate while it asks a neighbour; it does hold the turn of its key, for which repeats of
//! the same request queue.
//!
//! # One hot document
//!
//! A commit takes an fsync, and commands on one document come one after the other. If each waited for the fsync of the one
//! before it, a hot document would be as slow as the disk. So a command passes its turn on once its commit is handed to the
//! database, together with what the document is after it; the next command decides on that, and their commits share an
//! fsync. What is passed on is a guess until then: see [`Reading`](crate::reading::Reading).
//!
//! A guess rests on the guess before it. So when a commit fails, all after it fail, too, those included that are not handed to
//! the database yet. That is why guesses belong to a *generation* of their queue, which ends with the first commit that fails:
//! what is passed on after that in an ended generation is ignored, and the next command reads the document.
//!
//! Turns are of one process: see *One process per database* in `core.rs`.

use crate::limits::TURNS_WAITING_MAX;
use jumun::{DocumentKey, Stored};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

/// What steps queue for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum QueueKey {
    /// A document.
    Document(DocumentKey),
    /// An idempotency key.
    Key(String),
}

type Queues<K> = Mutex<HashMap<K, Arc<Queue>>>;

#[derive(Debug, Default)]
struct Queue {
    /// Locked by the caller whose turn it is. What the caller before has passed on.
    turn: Arc<tokio::sync::Mutex<Option<Guess>>>,
    /// How many generations of guesses have ended.
    generation: AtomicU64,
}

/// A document as it is after commits that the database has and that are not done yet.
#[derive(Debug, Clone)]
pub(crate) struct Guess {
    pub(crate) document: Stored,
    /// Cancelled when the last of these commits is done, or is not.
    pub(crate) ended: CancellationToken,
    generation: u64,
}

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
    queue: Arc<Queue>,
    guard: Option<OwnedMutexGuard<Option<Guess>>>,
    /// What the caller before has passed on.
    guess: Option<Guess>,
    /// The generation of the queue when it was this caller's turn.
    generation: u64,
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
        let lock = queue.turn.clone();
        let mut turn = Turn { queues: self.0.clone(), key, queue, guard: None, guess: None, generation: 0 };
        let mut guard = lock.lock_owned().await;
        turn.generation = turn.queue.generation.load(Ordering::Acquire);
        turn.guess = guard.take().filter(|guess| guess.generation == turn.generation);
        turn.guard = Some(guard);
        Ok(turn)
    }

    /// Whether a caller holds or waits for the turn of this key, or has passed it on and is not done.
    pub(crate) fn is_wanted(&self, key: &K) -> bool {
        lock(&self.0).contains_key(key)
    }
}

impl<K: Eq + Hash> Turn<K> {
    /// Whether other callers wait for this turn, or have passed theirs on and are not done.
    pub(crate) fn is_contended(&self) -> bool {
        Arc::strong_count(&self.queue) > 2 // the map and this one
    }

    /// What the caller before has passed on.
    pub(crate) fn guess(&self) -> Option<&Guess> {
        self.guess.as_ref()
    }

    /// Whether a commit has failed on which the guess of this turn rests.
    pub(crate) fn is_outdated(&self) -> bool {
        self.guess.is_some() && self.queue.generation.load(Ordering::Acquire) != self.generation
    }

    /// Passes the turn on, with the document as it is after the caller's commit; None: as the caller got it.
    pub(crate) fn pass(&mut self, document: Option<Stored>, ended: &CancellationToken) {
        let generation = self.generation;
        let guess = document.map(|document| Guess { document, ended: ended.clone(), generation });
        if let Some(mut guard) = self.guard.take() {
            *guard = guess.or_else(|| self.guess.clone());
        }
    }

    /// Releases the turn of a caller that has committed nothing: the next one gets what this one got.
    pub(crate) fn give_back(mut self) {
        if let Some(mut guard) = self.guard.take() {
            *guard = self.guess.take();
        }
    }

    /// The commit of the caller failed: what rests on it is wrong.
    pub(crate) fn fail(&self) {
        let generation = self.generation;
        // An error: the queue is in a later generation already.
        let _ = self.queue.generation.compare_exchange(generation, generation + 1, Ordering::AcqRel, Ordering::Relaxed);
    }
}

impl<K: Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        let mut queues = lock(&self.queues);
        self.guard = None;
        // The map and this one.
        if queues.get(&self.key).is_some_and(|queue| Arc::strong_count(queue) == 2) {
            queues.remove(&self.key);
        }
    }
}

fn lock<K: Eq + Hash>(queues: &Queues<K>) -> MutexGuard<'_, HashMap<K, Arc<Queue>>> {
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

    fn version(version: u64) -> Stored {
        Stored { version, body: "{}".to_owned() }
    }

    fn guessed(turn: &Turn<u8>) -> Option<u64> {
        turn.guess().map(|guess| guess.document.version)
    }

    #[tokio::test]
    async fn a_turn_is_passed_on_with_the_document_once() {
        let (turns, ended) = (Turns::new(), CancellationToken::new());
        let mut first = turns.take(7).await.expect("a turn");
        assert!(!first.is_contended() && turns.is_wanted(&7) && !turns.is_wanted(&8));
        let mut second = pin!(turns.take(7));
        assert!(poll!(second.as_mut()).is_pending());
        assert!(first.is_contended());
        first.pass(Some(version(2)), &ended);
        let second = second.await.expect("a turn");
        assert_eq!(guessed(&second), Some(2));
        second.give_back();
        let mut third = turns.take(7).await.expect("a turn");
        assert_eq!(guessed(&third), Some(2));
        third.pass(None, &ended);
        let fourth = turns.take(7).await.expect("a turn");
        assert_eq!(guessed(&fourth), Some(2));
        drop(fourth);
        let fifth = turns.take(7).await.expect("a turn");
        assert_eq!(guessed(&fifth), None, "a caller that has committed alone knows better");
        drop((first, third, fifth));
        assert!(lock(&turns.0).is_empty());
    }

    #[tokio::test]
    async fn nothing_that_rests_on_a_failed_commit_is_passed_on() {
        let (turns, ended) = (Turns::new(), CancellationToken::new());
        let mut first = turns.take(7).await.expect("a turn");
        first.pass(Some(version(2)), &ended);
        let mut second = turns.take(7).await.expect("a turn");
        second.pass(Some(version(3)), &ended);
        let mut third = turns.take(7).await.expect("a turn");
        assert!(guessed(&third) == Some(3) && !third.is_outdated());
        first.fail();
        assert!(third.is_outdated());
        third.pass(Some(version(4)), &ended);
        let mut fourth = turns.take(7).await.expect("a turn");
        assert_eq!(guessed(&fourth), None);
        fourth.pass(Some(version(2)), &ended);
        for late in [&second, &third] {
            late.fail();
        }
        assert_eq!(guessed(&turns.take(7).await.expect("a turn")), Some(2), "what does not rest on them stays");
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
