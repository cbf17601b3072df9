//! Business time-outs: decides what [`jumun::Aggregate::time_out`] says once its time is over.
//!
//! A wait begins and ends in the commits of its document, so it is as durable as that. This worker lists what is due, the oldest
//! first, and decides each in one commit that ends the wait, by compare-and-set on the version of the document. Hence a
//! time-out is decided once, whatever dies when; and of a time-out and a command in the same moment exactly one is first.
//!
//! Time is the clock of the service. A clock that is set back delays what is due. One that is set forward makes due what the new
//! time says.
//!
//! What has become due while no process ran is worked off in rounds, about a thousand a second, so that orders keep their share.
//! After a round that took long the worker rests three times as long: on a busy machine, or a slow disk, it slows down.

use crate::{
    core::StepError,
    crash,
    engine::Engine,
    limits::{
        DATABASE_PAUSE, DECISIONS_MAX, DEFECT_PAUSE, SWEEP_EVERY, TIME_OUTS_AT_ONCE, TIME_OUTS_EVERY, TIME_OUTS_REST,
    },
    panic_text,
    reading::Reading,
};
use futures_util::{FutureExt, future::join_all};
use jumun::{Decided, DocumentKey, Outcome, Reply, Step};
use jumun_database::{Changes, CommitError, Document, DocumentChange, ReadError, Wait, WaitChange, Waiting};
use jumun_telemetry::Origin;
use std::{panic::AssertUnwindSafe, time::Duration};
use tokio::time::Instant;

/// Starts the worker.
pub fn start(engine: &Engine) {
    let worker = engine.clone();
    engine.core().spawn_worker(async move { run(&worker).await });
}

async fn run(engine: &Engine) {
    loop {
        let began = Instant::now();
        match round(engine).await {
            Ok(Round::Worked) => {
                let rest = (TIME_OUTS_REST * began.elapsed()).min(SWEEP_EVERY);
                tokio::time::sleep_until((Instant::now() + rest).max(began + TIME_OUTS_EVERY)).await;
            }
            Ok(Round::Nothing(wait)) => {
                // Level-triggered: a missed notice, or a clock that is set, costs the interval of a sweep.
                let _ = tokio::time::timeout(wait.min(SWEEP_EVERY), engine.core().alarm().earlier()).await;
            }
            Ok(Round::Failed) => tokio::time::sleep(DATABASE_PAUSE).await,
            Err(error) => {
                tracing::debug!(%error, "what is due cannot be read");
                tokio::time::sleep(DATABASE_PAUSE).await;
            }
        }
    }
}

/// A look at what is due.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// Time-outs were decided; there may be more.
    Worked,
    /// Nothing is due yet. Something may be after this time.
    Nothing(Duration),
    /// The database takes no commit now.
    Failed,
}

/// What became of a time-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It is decided, or no longer due.
    Done,
    /// It is due as before.
    Left,
}

async fn round(engine: &Engine) -> Result<Round, ReadError> {
    let core = engine.core();
    if core.database().failure().is_some() {
        return Ok(Round::Nothing(SWEEP_EVERY));
    }
    core.alarm().look();
    let next = core.database().due(i64::MAX, TIME_OUTS_AT_ONCE).await?;
    let now_ms = core.now().as_millisecond();
    let due: Vec<_> = next.iter().take_while(|waiting| waiting.wait.due_ms <= now_ms).collect();
    if due.is_empty() {
        let next_ms = next.first().map_or(i64::MAX, |waiting| waiting.wait.due_ms);
        core.alarm().set(next_ms);
        let wait = u64::try_from(next_ms.saturating_sub(now_ms)).unwrap_or_default();
        return Ok(Round::Nothing(Duration::from_millis(wait)));
    }
    let ended = join_all(due.into_iter().map(|waiting| isolated(engine, waiting))).await;
    Ok(if ended.contains(&Ended::Done) { Round::Worked } else { Round::Failed })
}

/// Catches a panic over one time-out: the defect must not end the others, nor the service, again and again.
async fn isolated(engine: &Engine, waiting: &Waiting) -> Ended {
    match AssertUnwindSafe(time_out(engine, waiting)).catch_unwind().await {
        Ok(ended) => ended,
        Err(panic) => put_off(engine, waiting, panic_text(panic.as_ref())).await,
    }
}

/// Decides a time-out, unless another commit is first and ends the wait.
async fn time_out(engine: &Engine, waiting: &Waiting) -> Ended {
    let core = engine.core();
    let Some(decider) = key(engine, waiting) else { return Ended::Left }; // the database lists what this release keeps
    let origin = Origin::following(waiting.wait.trace.as_ref(), || core.tracer().samples());
    let mut reading = Reading::default();
    for _ in 0..DECISIONS_MAX {
        let now = core.now();
        match reading.take(core, vec![decider]).await {
            Ok(()) => {}
            Err(error) => return failed(engine, waiting, error).await,
        }
        reading.settle().await; // the wait is in the database
        let document = match due(engine, decider, waiting, now.as_millisecond()).await {
            Ok(Some(document)) => document,
            Ok(None) => return Ended::Done,
            Err(error) => return left(waiting, &error),
        };
        let waits = match core.behaviour().time_out(decider, &document.body) {
            Ok(waits) => waits,
            Err(defect) => return put_off(engine, waiting, &defect.to_string()).await,
        };
        let decided = match &waits {
            None => Decided::default(), // its limit was turned off
            Some(waits) => {
                let step = Step { decider, command: &waits.command, now, reply: Some(&Reply::OnlyLater) };
                match reading.decide(core, step).await {
                    Ok(Outcome::Decided(decided)) => decided,
                    Ok(Outcome::Rejected(why)) => {
                        tracing::warn!(order = waiting.id, name = waits.name, ?why, "the state refuses a time-out");
                        Decided::default()
                    }
                    Ok(_) => return put_off(engine, waiting, "a time-out asks and waits for the answer").await,
                    Err(error) => return failed(engine, waiting, error).await,
                }
            }
        };
        if reading.documents.get(&decider).and_then(Option::as_ref).is_none_or(|read| read.version != document.version)
        {
            return Ended::Left; // an event has changed it meanwhile, and may have ended the wait
        }
        let is_decided = !decided.events.is_empty();
        let mut changes = Changes::default();
        if let Err(error) = core.add(decided, now, &origin.trace, None, &mut changes).await {
            return left(waiting, &error);
        }
        end_wait(engine, decider, document, &mut changes);
        crash::point("time-out.before-commit");
        match reading.commit(core, Some(&origin), changes).await {
            Ok(_) => {
                crash::point("time-out.after-commit");
                let (order, name, trace) = (waiting.id, &*waiting.wait.name, origin.trace.id());
                let late_ms = now.as_millisecond().saturating_sub(waiting.wait.due_ms);
                tracing::debug!(request = %origin.request, %trace, order, name, late_ms, is_decided, "not done in time");
                if let Some(waits) = waits.filter(|_| is_decided) {
                    core.metrics().timed_out(waits.name);
                }
                return Ended::Done;
            }
            Err(CommitError::Conflict(_)) => reading.give_up(), // another commit was first
            Err(CommitError::Limit(why)) => return put_off(engine, waiting, &why).await,
            // Whether or not it was done, the next round finds what is due.
            Err(error) => return left(waiting, &error),
        }
    }
    Ended::Left
}

/// A step cannot be taken: another one of the same document holds this one up, the database does, or the code.
async fn failed(engine: &Engine, waiting: &Waiting, error: StepError) -> Ended {
    match error {
        StepError::Crowded => Ended::Left,
        StepError::Unreadable(error) => left(waiting, &error),
        StepError::Defect(defect) => put_off(engine, waiting, &defect.to_string()).await,
    }
}

/// The document, if it is still due. The wait is read after the document: a commit in between changes the version, so the
/// commit of the time-out conflicts.
async fn due(
    engine: &Engine,
    decider: DocumentKey,
    waiting: &Waiting,
    now_ms: i64,
) -> Result<Option<Document>, ReadError> {
    let (database, collection) = (engine.core().database(), engine.core().model().resources[decider.0].collection);
    let document = database.document(collection, waiting.id).await?;
    let waits = database.waits_of(waiting.id).await?;
    let is_due = |now: &Waiting| now.collection == waiting.collection && now.wait.due_ms <= now_ms;
    Ok(document.filter(|_| waits.iter().any(is_due)))
}

/// A wait ends with its time-out, whatever that decides: nothing is decided twice.
fn end_wait(engine: &Engine, (resource, id): DocumentKey, document: Document, changes: &mut Changes) {
    let collection = engine.core().model().resources[resource].collection;
    let mut documents = changes.documents.iter_mut();
    match documents.find(|document| (document.collection, document.id) == (collection, id)) {
        Some(document) if document.wait == WaitChange::Keep => document.wait = WaitChange::End,
        Some(_) => {} // it waits for something else now
        None => changes.documents.push(unchanged(engine, (resource, id), document, WaitChange::End)),
    }
}

/// Tries a time-out again later, because the code fails on it: it must not hold up the others.
async fn put_off(engine: &Engine, waiting: &Waiting, why: &str) -> Ended {
    let (order, name) = (waiting.id, &*waiting.wait.name);
    tracing::error!(order, name, why, "a time-out cannot be decided; this is a defect");
    let core = engine.core();
    let Some(decider) = key(engine, waiting) else { return Ended::Left };
    let now_ms = core.now().as_millisecond();
    let document = match due(engine, decider, waiting, now_ms).await {
        Ok(Some(document)) => document,
        Ok(None) => return Ended::Done,
        Err(error) => return left(waiting, &error),
    };
    let pause_ms = i64::try_from(DEFECT_PAUSE.as_millis()).unwrap_or(i64::MAX);
    let later = Wait { due_ms: now_ms.saturating_add(pause_ms), ..waiting.wait.clone() };
    let change = unchanged(engine, decider, document, WaitChange::Begin(later));
    match core.commit(Changes { documents: vec![change], ..Changes::default() }).await {
        Ok(_) | Err(CommitError::Conflict(_)) => Ended::Done,
        Err(error) => left(waiting, &error),
    }
}

/// A document as it is, with another wait.
fn unchanged(engine: &Engine, (resource, id): DocumentKey, document: Document, wait: WaitChange) -> DocumentChange {
    let Document { version: expected_version, shown, body, .. } = document;
    let collection = engine.core().model().resources[resource].collection;
    DocumentChange { collection, id, expected_version, shown, body, wait }
}

fn left(waiting: &Waiting, why: &dyn std::fmt::Display) -> Ended {
    tracing::debug!(%why, order = waiting.id, name = &*waiting.wait.name, "a time-out cannot be decided yet");
    Ended::Left
}

/// The document that waits.
fn key(engine: &Engine, waiting: &Waiting) -> Option<DocumentKey> {
    let mut resources = engine.core().model().resources.iter();
    Some((resources.position(|resource| resource.collection == waiting.collection)?, waiting.id))
}

#[cfg(test)]
mod tests;
