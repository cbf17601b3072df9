//! Delayed asks: questions whose answer may come after the client has gone. A delayed payment is one, and a message to a
//! customer another.
//!
//! # The life of a delayed ask
//!
//! The commit of a decision without the answer inserts a request in state `Delayed`. From then on the ask is durable: one
//! worker per neighbour repeats it, always under the same id, until the neighbour answers or the deadline is over. A command
//! of the instance that waits for the answer settles it, in one commit with the end of the request:
//!
//! - accepted: `Done`;
//! - refused, or no answer before the deadline: `Voiding`, because an earlier attempt whose answer was lost may have had its
//!   effect. The neighbour undoes it, or remembers to refuse the question should it still come;
//! - the instance no longer waits, because it was cancelled: `Voiding`, in the commit that cancels.
//!
//! An attempt without an answer in time has not failed: the neighbour may go on with it until the deadline, and the next
//! attempt gets its answer. So no work of an overloaded neighbour is wasted.
//!
//! # Delayed asks are the probes of an open circuit
//!
//! The worker asks the oldest first, up to [`DELAYED_AT_ONCE`] at a time while the circuit is closed, and one at a time while it
//! is open. No client waits for a delayed ask, so the worker probes the neighbour with it, and clients are not used for that.
//! Once the neighbour answers a probe, the circuit is half-open at once.
//!
//! # Orders of now come first
//!
//! The calls in flight to a neighbour are bounded, as its places are. Of them, delayed asks always have a part
//! ([`DELAYED_PART`]), for which they queue like orders of now; more only while a slot is free that no order queues for. So a
//! narrow neighbour is fully used, and a backlog does not hold up the orders of now.
//!
//! Where the neighbour is fast, the disk is what they share. Few answers are committed at once ([`DELAYED_COMMITS_AT_ONCE`]), and
//! a question that cannot be committed yet holds up the next: when commits become slow, the backlog slows down first. Messages
//! to an external party are neither paced nor held up so: they are the work of their service.
//!
//! # One bad ask does not hold up the others
//!
//! A round that ends early goes on where it ended the next time. So asks that fail for reasons of their own (a full mailbox)
//! do not hold up all others.

use super::transport::{Outcome as Reached, Question};
use crate::{
    crash,
    engine::Engine,
    limits::{
        DECISIONS_MAX, DELAYED_AT_ONCE, DELAYED_CATCH_UP, DELAYED_COMMITS_AT_ONCE, DELAYED_EVERY, DELAYED_PART,
        DELAYED_PAUSE, DELAYED_READ_ROWS, DELAYED_ROUND_ROWS, EXPIRE_EVERY,
    },
    panic_text,
    reading::Reading,
};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use jumun::{Outcome, Reply, SettleModel, Step};
use jumun_database::{
    Changes, CommitError, Conflict, ReadError, Request, RequestChange, RequestFilter, RequestState,
    limits::PAGE_MAX_ROWS,
};
use jumun_guard::{Admitted, Command, Refusal, State};
use jumun_http::Problem;
use jumun_telemetry::Origin;
use std::{
    collections::{BTreeSet, VecDeque},
    panic::AssertUnwindSafe,
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};
use uuid::Uuid;

/// Counts the delayed asks that earlier processes left, and starts the workers. To be called before the first command is taken.
pub async fn start(engine: &Engine) {
    if let Err(error) = count(engine).await {
        // The workers count again.
        tracing::warn!(%error, "delayed asks cannot be counted yet");
    }
    let settles = engine.core().model().resources.iter().flat_map(|resource| &resource.settles);
    let callees: BTreeSet<_> = settles.map(|settle| settle.target.service).collect();
    for callee in callees {
        let worker = Worker { engine: engine.clone(), callee, ended_at: None };
        engine.core().spawn_worker(worker.clone().run());
        engine.core().spawn_worker(worker.expire());
    }
}

async fn count(engine: &Engine) -> Result<(), ReadError> {
    let _held = engine.core().hold_commits().await;
    let (mut after, mut standing) = (None, 0);
    loop {
        let found = engine.core().database().requests(delayed(None, after, PAGE_MAX_ROWS)).await?;
        let Some(last) = found.last() else { break };
        after = Some(last.id);
        standing += found.len() as u64;
    }
    engine.core().delays().counted(standing);
    Ok(())
}

/// Selects the delayed asks of one neighbour, or of all.
const fn delayed(service: Option<&'static str>, after: Option<Uuid>, limit: u32) -> RequestFilter {
    RequestFilter { state: RequestState::Delayed, service, until_before_ms: None, after, limit }
}

/// Repeats the delayed asks of one neighbour.
#[derive(Clone)]
struct Worker {
    engine: Engine,
    callee: &'static str,
    /// The last ask without an answer in a round that ended early.
    ended_at: Option<Uuid>,
}

/// One round over the delayed asks.
#[derive(Debug, Default)]
struct Round {
    settled: usize,
    left: usize,
    /// The last refusal of the guard.
    refused: Option<Refusal>,
}

/// The outcome of one attempt.
#[derive(Debug)]
enum Attempt {
    /// The ask is settled.
    Settled,
    /// The ask is not settled, or that is unknown.
    Left,
    /// The guard refused the call.
    Refused(Refusal),
    /// The guard refused the call; the worker probed the neighbour, which did not answer.
    ProbeFailed(Refusal),
}

impl Worker {
    async fn run(mut self) {
        let (shortest, longest) = DELAYED_PAUSE;
        let mut pause = shortest;
        let mut more = self.engine.core().delays().subscribe();
        loop {
            more.mark_unchanged();
            let is_from_the_oldest = self.ended_at.is_none();
            let round = self.round().await;
            let wait = match &round {
                Ok(Round { left: 0, settled: 0, .. }) if is_from_the_oldest => {
                    // Level-triggered: a missed notice costs a pause, nothing else.
                    let _ = tokio::time::timeout(EXPIRE_EVERY, more.changed()).await;
                    pause = shortest;
                    continue;
                }
                Ok(Round { left: 0, .. }) => {
                    pause = shortest;
                    continue;
                }
                Ok(Round { refused: Some(Refusal::Open { retry_after }), settled: 0, .. }) => pause.min(*retry_after),
                Ok(Round { settled, .. }) if *settled > 0 => {
                    pause = shortest;
                    pause
                }
                Ok(_) => pause,
                Err(error) => {
                    tracing::debug!(%error, callee = self.callee, "delayed asks cannot be read");
                    pause
                }
            };
            tokio::time::sleep(wait.min(EXPIRE_EVERY)).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Asks each of them once, the oldest first. Ends early if the guard refuses or the neighbour does not answer; the next
    /// round then goes on from there.
    async fn round(&mut self) -> Result<Round, ReadError> {
        let mut asked = self.ended_at.take();
        if self.engine.core().database().failure().is_some() {
            return Ok(Round::default()); // no answer could be settled, so each round would ask the same again
        }
        if !self.engine.core().delays().is_sure() {
            count(&self.engine).await?;
        }
        let (engine, callee) = (&self.engine, self.callee);
        let mut round = Round::default();
        let commits = Semaphore::new(DELAYED_COMMITS_AT_ONCE);
        let commits = &commits;
        let mut at_work = FuturesUnordered::new();
        let mut waiting: VecDeque<Request> = VecDeque::new();
        let (mut after, mut is_last, mut ended_early, mut unanswered) = (asked, false, false, 0);
        let (mut unreadable, mut asked_rows, mut next_at) = (None, 0, Instant::now());
        loop {
            // A round is bounded, so that the oldest get their turn again; and it ends if the count became unsure.
            is_last |= asked_rows >= DELAYED_ROUND_ROWS || !engine.core().delays().is_sure();
            if waiting.is_empty() && !is_last {
                match engine.core().database().requests(delayed(Some(callee), after, DELAYED_READ_ROWS)).await {
                    Ok(found) => {
                        is_last = found.len() < DELAYED_READ_ROWS as usize;
                        after = found.last().map(|request| request.id).or(after);
                        waiting.extend(found);
                    }
                    // Attempts in progress run to their end: the outcome of a dropped commit would be unknown.
                    Err(error) => (is_last, unreadable) = (true, Some(error)),
                }
            }
            // A half-open circuit bounds the calls itself.
            let is_open = matches!(engine.guards().state(callee), Some(State::Open | State::ForcedOpen));
            let width = if is_open { 1 } else { DELAYED_AT_ONCE };
            let is_next = at_work.len() < width && !waiting.is_empty();
            let is_due = next_at <= Instant::now();
            let share = (engine.guards().limit(callee) / DELAYED_PART).max(1);
            let queues = at_work.len() < share as usize;
            let free = if is_next && is_due && !queues { engine.guards().admit_if_free(callee) } else { None };
            if (queues || free.is_some())
                && is_next
                && is_due
                && let Some(request) = waiting.pop_front()
            {
                asked_rows += 1;
                if !is_external(&request) {
                    let behind = Instant::now().checked_sub(DELAYED_CATCH_UP);
                    next_at = behind.map_or(next_at, |behind| next_at.max(behind)) + DELAYED_EVERY;
                }
                at_work.push(async move {
                    (request.id, isolated(&request, attempt(engine, callee, &request, free, commits)).await)
                });
                continue;
            }
            let ended = tokio::select! {
                biased;
                Some(ended) = at_work.next(), if !at_work.is_empty() => ended,
                () = tokio::time::sleep_until(next_at), if is_next && !is_due => continue,
                else => {
                    self.ended_at = asked.filter(|_| ended_early);
                    return unreadable.map_or(Ok(round), Err);
                }
            };
            match ended {
                (_, Attempt::Settled) => (round.settled, unanswered) = (round.settled + 1, 0),
                (id, Attempt::Left) => {
                    (round.left, unanswered, asked) = (round.left + 1, unanswered + 1, asked.max(Some(id)));
                }
                (_, Attempt::Refused(why)) => (round.left, round.refused) = (round.left + 1, Some(why)),
                (id, Attempt::ProbeFailed(why)) => {
                    (round.left, round.refused, asked) = (round.left + 1, Some(why), asked.max(Some(id)));
                }
            }
            if round.refused.is_some() || unanswered >= DELAYED_AT_ONCE {
                (is_last, ended_early, round.left) = (true, true, round.left + waiting.len());
                waiting.clear();
            }
        }
    }

    /// Settles asks past their deadline. It runs beside the rounds, because a round may take longer than a deadline.
    async fn expire(self) {
        loop {
            if let Err(error) = self.expire_once().await {
                tracing::debug!(%error, callee = self.callee, "asks past their deadline cannot be read");
            }
            tokio::time::sleep(EXPIRE_EVERY).await;
        }
    }

    async fn expire_once(&self) -> Result<(), ReadError> {
        if self.engine.core().database().failure().is_some() {
            return Ok(());
        }
        let mut after = None;
        loop {
            let before = Some(self.engine.core().now().as_millisecond());
            let filter =
                RequestFilter { until_before_ms: before, ..delayed(Some(self.callee), after, DELAYED_READ_ROWS) };
            let expired = self.engine.core().database().requests(filter).await?;
            let Some(last) = expired.last() else { return Ok(()) };
            after = Some(last.id);
            for request in &expired {
                let Some(settle) = settle_model(&self.engine, request) else { continue };
                let origin = Origin::following(request.trace.as_ref(), || self.engine.core().tracer().samples());
                tracing::warn!(order = request.subject, ask = %request.id, callee = self.callee, "no answer before the deadline");
                let settled = settled(&self.engine, request, settle, &Reply::Unavailable, &origin);
                isolated(request, settled).await;
            }
        }
    }
}

/// What settles a request. `None`: an earlier release delayed it, and the model of this one cannot settle it.
fn settle_model<'a>(engine: &'a Engine, request: &Request) -> Option<(usize, &'a SettleModel)> {
    let ask = request.ask.as_ref()?;
    let mut resources = engine.core().model().resources.iter().enumerate();
    let (at, resource) = resources.find(|(_, resource)| resource.collection == request.collection)?;
    let settle = resource
        .settles
        .iter()
        .find(|settle| (settle.target.service, settle.target.path) == (ask.service.as_str(), ask.path.as_str()));
    if settle.is_none() {
        tracing::error!(order = request.subject, ask = %request.id, callee = ask.service, "nothing settles a delayed ask; this is a defect");
    }
    Some((at, settle?))
}

fn is_external(request: &Request) -> bool {
    request.ask.as_ref().is_some_and(|ask| ask.path.is_empty())
}

/// Catches a panic over one ask: the defect must not end the other asks, nor the service, again and again.
async fn isolated(request: &Request, work: impl Future<Output = Attempt>) -> Attempt {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| {
        let why = panic_text(panic.as_ref());
        tracing::error!(order = request.subject, ask = %request.id, why, "the code panicked over a delayed ask; this is a defect");
        Attempt::Left
    })
}

/// Takes a delayed ask past the guard, unless it is admitted already. Also gives the time limit of the call, admitted or not.
async fn admit<'a>(
    engine: &'a Engine,
    callee: &'static str,
    admitted: Option<Admitted<'a>>,
) -> Result<(Result<Admitted<'a>, Refusal>, Duration), Problem> {
    let time_limit = engine.guards().time_limit(callee)?;
    let admitted = match admitted {
        Some(admitted) => Ok(admitted),
        None => engine.guards().admit_delayed(callee).await?,
    };
    Ok((admitted, time_limit))
}

/// Asks once. `admitted`: the guard has admitted the call already; without it, it queues for a slot.
async fn attempt<'a>(
    engine: &'a Engine,
    callee: &'static str,
    request: &Request,
    admitted: Option<Admitted<'a>>,
    commits: &Semaphore,
) -> Attempt {
    let Some(settle) = settle_model(engine, request) else { return Attempt::Left };
    // No client waits for it, so it may probe a neighbour whose circuit is open.
    let may_probe = |refusal: &Refusal| {
        matches!(refusal, Refusal::Open { .. }) && engine.guards().state(callee) == Some(State::Open)
    };
    let (admitted, refusal, time_limit) = match admit(engine, callee, admitted).await {
        Ok((Ok(admitted), time_limit)) => (Some(admitted), None, time_limit),
        Ok((Err(refusal), time_limit)) if may_probe(&refusal) => (None, Some(refusal), time_limit),
        Ok((Err(refusal), _)) => return Attempt::Refused(refusal),
        Err(problem) => {
            tracing::error!(%problem, callee, "a delayed ask cannot be repeated");
            return Attempt::Left;
        }
    };
    if engine.core().database().failure().is_some() {
        return Attempt::Left; // it failed while this ask waited for its turn
    }
    let origin = Origin::following(request.trace.as_ref(), || engine.core().tracer().samples());
    let question = Question {
        target: settle.1.target,
        id: request.id,
        body: request.ask.as_ref().and_then(|ask| ask.question.as_deref()).unwrap_or_default().into(),
        expires_ms: request.until_ms,
        time_limit,
        is_answer: settle.1.is_answer,
        origin: origin.clone(),
    };
    crash::point("delayed.before-call");
    let reply = match engine.call(admitted, question, request.subject).await {
        Reached::Accepted(answer) => Reply::Accepted(answer),
        Reached::Refused(why) => Reply::Refused(why),
        Reached::NotDone(_) | Reached::Busy(_) | Reached::Broken(_) | Reached::Unknown(_) => {
            return refusal.map_or(Attempt::Left, Attempt::ProbeFailed);
        }
    };
    if refusal.is_some() {
        engine.guards().command(callee, Command::Probe);
    }
    crash::point("delayed.after-answer");
    // Messages are what their service is for: what has gone out is committed together.
    let _commit = if is_external(request) { None } else { Some(commits.acquire().await) };
    settled(engine, request, settle, &reply, &origin).await
}

/// Decides what the answer means and commits that together with the end of the request.
async fn settled(
    engine: &Engine,
    request: &Request,
    (resource, settle): (usize, &SettleModel),
    reply: &Reply,
    origin: &Origin,
) -> Attempt {
    let (decider, now) = ((resource, request.subject), engine.core().now());
    let mut reading = Reading::default();
    for _ in 0..DECISIONS_MAX {
        let step = Step { decider, command: &settle.command, now, reply: Some(reply) };
        let mut changes = Changes::default();
        let is_decided = match engine.decide(step, &mut reading, origin).await {
            Ok(Outcome::Decided(decided)) => {
                // An instance that no longer waits decides nothing: it did not take the answer.
                let is_taken = !decided.documents.is_empty();
                if engine.core().add(decided, now, &origin.trace, Some(request.id), &mut changes).await.is_err() {
                    return Attempt::Left;
                }
                is_taken
            }
            // The instance no longer waits for this. What the neighbour did is undone.
            Ok(Outcome::Rejected(_)) => false,
            Ok(other @ (Outcome::Ask(_) | Outcome::Needs(_) | Outcome::Find(_))) => {
                tracing::error!(order = request.subject, ask = %request.id, ?other, "an answer cannot be settled; this is a defect");
                return Attempt::Left;
            }
            Err(problem) => return left(request, &problem),
        };
        // Only an accepted answer that was taken leaves nothing to undo: an attempt before a refusal may have had its effect.
        let is_taken = is_decided && matches!(reply, Reply::Accepted(_));
        let to = if is_taken { RequestState::Done } else { RequestState::Voiding };
        changes.requests.push(RequestChange::Move { id: request.id, from: RequestState::Delayed, to, answer: None });
        crash::point("settle.before-commit");
        match reading.commit(engine.core(), Some(origin), changes).await {
            Ok(_) => {
                crash::point("settle.after-commit");
                let (trace, order, ask) = (origin.trace.id(), request.subject, request.id);
                tracing::debug!(request = %origin.request, %trace, order, %ask, state = %to, "settled");
                if !is_taken {
                    engine.core().to_undo().notify_one();
                }
                return Attempt::Settled;
            }
            Err(CommitError::Conflict(Conflict::Request { id })) if id == request.id => return Attempt::Settled,
            Err(CommitError::Conflict(_)) => reading.give_up(),
            // Whether or not the commit was done, the next round finds the state of the request.
            Err(error) => {
                tracing::debug!(%error, order = request.subject, ask = %request.id, "an answer cannot be settled yet");
                return Attempt::Left;
            }
        }
    }
    Attempt::Left
}

fn left(request: &Request, problem: &Problem) -> Attempt {
    tracing::debug!(%problem, order = request.subject, ask = %request.id, "an answer cannot be settled yet");
    Attempt::Left
}

#[cfg(test)]
mod tests;
