//! Recovery: completes abandoned requests.
//!
//! Three workers: the *sweep* gives up requests whose time is up, the *undoer* has the neighbours undo them, the *purge*
//! deletes old answers. [`start`] first gives up requests of a process that died. Each worker is level-triggered: it acts on
//! what is stored, not on what was signalled.

use super::transport::{Transport, VoidError};
use crate::{
    core::Core,
    crash,
    limits::{ANSWERS_KEPT, PURGE_EVERY, SWEEP_EVERY, VOID_PAUSE, VOIDS_AT_ONCE},
    metrics::AskOutcome,
};
use futures_util::future::join_all;
use jumun_database::{
    Changes, CommitError, ReadError, Request, RequestChange, RequestFilter, RequestState, limits::PAGE_MAX_ROWS,
    limits::REQUESTS_KEPT_MAX,
};
use jumun_telemetry::{Kind, Origin, Span};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;
use uuid::Uuid;

/// Gives up the requests that an earlier process of this database left in doubt, then starts the workers. To be called before
/// the first command is taken. Returns how many requests it gave up.
pub async fn start(core: &Core, transport: &Arc<dyn Transport>) -> usize {
    crash::point("recovery.before-commit");
    let given_up = give_up(core, None).await.unwrap_or_else(|why| {
        // They stay in doubt, and the sweep finds them once their time is up.
        tracing::warn!(why, "requests that the last process left in doubt cannot be given up yet");
        0
    });
    crash::point("recovery.after-commit");
    let sweeper = core.clone();
    core.spawn_worker(async move { sweep(&sweeper).await });
    let undoer = Undoer { core: core.clone(), transport: transport.clone() };
    core.spawn_worker(async move { undoer.run().await });
    let purger = core.clone();
    core.spawn_worker(async move { purge(&purger).await });
    given_up
}

/// Moves requests from asking to voiding: those whose time is up, or all of other processes, which have ended: see
/// *One process per database* in `core.rs`.
async fn give_up(core: &Core, until_before_ms: Option<i64>) -> Result<usize, String> {
    let mut after = None;
    let mut given_up = 0;
    loop {
        let found =
            requests(core, RequestState::Asking, until_before_ms, after).await.map_err(|error| error.to_string())?;
        let Some(last) = found.last() else { return Ok(given_up) };
        after = Some(last.id);
        let theirs = |request: &&Request| until_before_ms.is_some() || request.incarnation != core.incarnation();
        let moves = join_all(found.iter().filter(theirs).map(|request| async {
            match change_state(core, request.id, RequestState::Asking, RequestState::Voiding).await {
                Ok(()) => Ok(1),
                Err(CommitError::Conflict(_)) => Ok(0), // it got its answer after all
                Err(error) => Err(error.to_string()),
            }
        }));
        given_up += moves.await.into_iter().sum::<Result<usize, String>>()?;
    }
}

async fn sweep(core: &Core) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        match give_up(core, Some(core.now().as_millisecond())).await {
            Ok(0) => {}
            Ok(count) => {
                tracing::info!(count, "requests in doubt are given up, and will be undone");
                core.to_undo().notify_one();
            }
            Err(why) => tracing::debug!(why, "requests in doubt cannot be given up yet"),
        }
    }
}

/// Has the neighbours undo asks.
struct Undoer {
    core: Core,
    transport: Arc<dyn Transport>,
}

/// One round over the asks to undo.
#[derive(Debug, Default)]
struct Round {
    undone: usize,
    left: usize,
}

/// The outcome of one attempt to undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    Undone,
    /// The neighbour answers, but not that this ask is undone. That is about this ask only.
    Failed,
    /// The neighbour, or the own database, does not answer: the next ask would fail too.
    NoAnswer,
}

impl Undoer {
    /// Undoes the oldest first; backs off while nothing succeeds.
    async fn run(&self) {
        let (shortest, longest) = VOID_PAUSE;
        let mut pause = shortest;
        loop {
            match self.round().await {
                Ok(Round { undone: 0, left: 0 }) => {
                    // A missed notice costs the interval of a sweep, nothing else.
                    let _ = tokio::time::timeout(SWEEP_EVERY, self.core.to_undo().notified()).await;
                    continue;
                }
                Ok(Round { left: 0, .. }) => {
                    pause = shortest;
                    continue;
                }
                Ok(Round { undone, .. }) if undone > 0 => pause = shortest,
                Ok(Round { left, .. }) => tracing::debug!(left, ?pause, "asks wait to be undone"),
                Err(error) => tracing::debug!(%error, "asks that wait to be undone cannot be read"),
            }
            tokio::time::sleep(jittered(&self.core, pause)).await;
            pause = (pause * 2).min(longest);
        }
    }

    async fn round(&self) -> Result<Round, ReadError> {
        let mut round = Round::default();
        if self.core.database().failure().is_some() {
            return Ok(round); // it would not be noted that an ask is undone, so each round would call again
        }
        let mut after = None;
        let mut down = BTreeSet::new(); // neighbours without an answer are not called again in this round
        loop {
            let found = requests(&self.core, RequestState::Voiding, None, after).await?;
            let Some(last) = found.last() else { return Ok(round) };
            after = Some(last.id);
            let mut by_neighbour: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for request in &found {
                let neighbour = request.ask.as_ref().map(|ask| ask.service.clone()).unwrap_or_default();
                by_neighbour.entry(neighbour).or_default().push(request);
            }
            for (neighbour, requests) in by_neighbour {
                for chunk in requests.chunks(VOIDS_AT_ONCE) {
                    if down.contains(&neighbour) {
                        round.left += chunk.len();
                        continue;
                    }
                    let attempts = join_all(chunk.iter().map(|request| self.attempt(request))).await;
                    if attempts.iter().all(|attempt| *attempt == Attempt::NoAnswer) {
                        down.insert(neighbour.clone());
                    }
                    let undone = attempts.iter().filter(|attempt| **attempt == Attempt::Undone).count();
                    round.undone += undone;
                    round.left += chunk.len() - undone;
                }
            }
        }
    }

    async fn attempt(&self, request: &Request) -> Attempt {
        let core = &self.core;
        let Some(ask) = &request.ask else {
            tracing::error!(order = request.subject, ask = %request.id, "a request without an ask waits to be undone; this is a defect");
            return Attempt::Failed;
        };
        let origin = Origin::following(request.trace.as_ref(), || core.tracer().samples());
        let (trace, order) = (&origin.trace, request.subject);
        if core.database().failure().is_some() {
            return Attempt::NoAnswer; // it failed during this round
        }
        crash::point("void.before-call");
        let began = Instant::now();
        let undone = if ask.path.is_empty() {
            Ok(()) // what was sent outside the system cannot be undone
        } else {
            self.transport.void(&ask.service, &ask.path, request.id, &origin).await
        };
        let took = began.elapsed();
        core.tracer().record(trace, || Span {
            context: *trace,
            parent: origin.parent,
            kind: Kind::Client,
            name: format!("POST {}{}/void", ask.service, ask.path).into(),
            took,
            attributes: vec![("peer.service", ask.service.clone().into()), ("jumun.order", order.to_string().into())],
            is_failed: undone.is_err(),
        });
        let (trace, callee, ask_id) = (trace.id(), &ask.service, request.id);
        tracing::debug!(request = %origin.request, %trace, order, ask = %ask_id, callee, ?undone, ?took, "asked to undo");
        if let Err(why) = undone {
            return match why {
                VoidError::NoAnswer(_) => Attempt::NoAnswer,
                VoidError::NotUndone(_) => Attempt::Failed,
            };
        }
        crash::point("void.after-answer");
        match change_state(core, request.id, RequestState::Voiding, RequestState::Voided).await {
            Ok(()) => {
                crash::point("void.after-commit");
                core.metrics().ask(&ask.service, AskOutcome::Voided, took);
                Attempt::Undone
            }
            Err(CommitError::Conflict(_)) => Attempt::Undone, // another commit was first
            Err(error) => {
                tracing::debug!(%error, order, ask = %ask_id, "the neighbour has undone an ask; the commit of that failed");
                Attempt::NoAnswer
            }
        }
    }
}

/// Deletes old answers. A clock that is set forward makes none old: a client that repeats its request would be served twice.
async fn purge(core: &Core) {
    let (began, began_at) = (Instant::now(), core.now());
    loop {
        tokio::time::sleep(PURGE_EVERY).await;
        let kept = i64::try_from(ANSWERS_KEPT.as_millis()).unwrap_or(i64::MAX);
        let now = began_at.checked_add(began.elapsed()).map_or(began_at, |passed| passed.min(core.now()));
        let before_ms = now.as_millisecond().saturating_sub(kept);
        loop {
            match core.database().purge_requests(before_ms, REQUESTS_KEPT_MAX).await {
                Ok(0) => break,
                Ok(deleted) => tracing::debug!(deleted, "old answers are deleted"),
                Err(error) => {
                    tracing::debug!(%error, "old answers cannot be deleted yet");
                    break;
                }
            }
        }
    }
}

async fn requests(
    core: &Core,
    state: RequestState,
    until_before_ms: Option<i64>,
    after: Option<Uuid>,
) -> Result<Vec<Request>, ReadError> {
    let filter = RequestFilter { state, service: None, until_before_ms, after, limit: PAGE_MAX_ROWS };
    core.database().requests(filter).await
}

async fn change_state(core: &Core, id: Uuid, from: RequestState, to: RequestState) -> Result<(), CommitError> {
    let change = RequestChange::Move { id, from, to, answer: None };
    core.commit(Changes { requests: vec![change], ..Changes::default() }).await.map(drop)
}

/// Half to one and a half times a pause, so that services that lost the same neighbour do not call it all at once.
fn jittered(core: &Core, pause: Duration) -> Duration {
    let mut hash = DefaultHasher::new();
    (core.model().name, core.now().as_millisecond()).hash(&mut hash);
    let share = u32::try_from(hash.finish() % 1_000).unwrap_or_default();
    pause / 2 + pause * share / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Engine, Parts,
        asks::transport::{Answered, Outcome, Question, VoidFuture},
        failing::Failing,
        schema,
    };
    use futures_util::future::{BoxFuture, ready};
    use jumun_database::{AskRecord, MemoryDatabase};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A neighbour that undoes asks after an id, and answers with the same error for all asks up to it.
    struct Neighbour {
        cannot_up_to: Uuid,
        error: VoidError,
        calls: AtomicUsize,
    }

    impl Transport for Arc<Neighbour> {
        fn ask(&self, _: Question) -> BoxFuture<'_, Answered> {
            Box::pin(ready(Outcome::NotDone("this test asks no neighbour".into()).into()))
        }
        fn void<'a>(&'a self, _: &'a str, _: &'a str, id: Uuid, _: &'a Origin) -> VoidFuture<'a> {
            self.calls.fetch_add(1, Ordering::Relaxed);
            Box::pin(ready(if id > self.cannot_up_to { Ok(()) } else { Err(self.error.clone()) }))
        }
    }

    /// Many asks to undo, of which the oldest cannot be undone, with their neighbour and their database.
    async fn undoer(error: VoidError) -> (Undoer, Arc<Neighbour>, Failing) {
        let model = food_delivery::system().service("order").expect("a service").clone();
        let database = Failing::new(MemoryDatabase::new(schema(&model)));
        let ids: Vec<_> = (0..3 * VOIDS_AT_ONCE).map(|_| Uuid::now_v7()).collect();
        let cannot_up_to = ids[2 * VOIDS_AT_ONCE - 1];
        let neighbour = Arc::new(Neighbour { cannot_up_to, error, calls: AtomicUsize::new(0) });
        let behaviour = model.behaviour(&serde_json::Map::new()).expect("default settings");
        let transport: Arc<dyn Transport> = Arc::new(neighbour.clone());
        let engine = Engine::new(Parts::new(model, behaviour, Arc::new(database.clone()), transport.clone()));
        let undoer = Undoer { core: engine.core().clone(), transport };
        let ask = AskRecord { service: "payment".into(), path: "/payinfos".into(), question: None };
        let requests = ids.into_iter().zip(1..).map(|(id, subject)| {
            RequestChange::Insert(Box::new(Request {
                id,
                key: None,
                fingerprint: [0; 16],
                state: RequestState::Voiding,
                collection: "orders".into(),
                subject,
                ask: Some(ask.clone()),
                trace: None,
                answer: None,
                incarnation: Uuid::nil(),
                until_ms: 0,
            }))
        });
        undoer.core.commit(Changes { requests: requests.collect(), ..Changes::default() }).await.expect("a commit");
        (undoer, neighbour, database)
    }

    /// One round over them, and the number of its calls.
    async fn round(error: VoidError) -> (Round, usize) {
        let (undoer, neighbour, _) = undoer(error).await;
        let round = undoer.round().await.expect("memory can be read");
        (round, neighbour.calls.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn no_neighbour_is_called_while_the_database_has_failed() {
        let (undoer, neighbour, database) = undoer(VoidError::NotUndone("it answered 500".into())).await;
        let last = requests(&undoer.core, RequestState::Voiding, None, None).await.expect("memory can be read").pop();
        database.fails(true);
        let Round { undone, left } = undoer.round().await.expect("memory can be read");
        assert_eq!((undone, left), (0, 0));
        let late = undoer.attempt(&last.expect("an ask")).await;
        assert_eq!((late, neighbour.calls.load(Ordering::Relaxed)), (Attempt::NoAnswer, 0), "it failed in the round");
        database.fails(false);
        assert_eq!(undoer.round().await.expect("memory can be read").undone, VOIDS_AT_ONCE);
    }

    #[tokio::test]
    async fn what_cannot_be_undone_holds_nothing_else_up() {
        let (Round { undone, left }, calls) = round(VoidError::NotUndone("it answered 500".into())).await;
        assert_eq!((undone, left, calls), (VOIDS_AT_ONCE, 2 * VOIDS_AT_ONCE, 3 * VOIDS_AT_ONCE));
    }

    #[tokio::test]
    async fn a_neighbour_that_does_not_answer_is_not_called_again_in_this_round() {
        let (Round { undone, left }, calls) = round(VoidError::NoAnswer("connection refused".into())).await;
        assert_eq!((undone, left, calls), (0, 3 * VOIDS_AT_ONCE, VOIDS_AT_ONCE));
    }
}
