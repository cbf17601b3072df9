//! An ask: admitted by its guard, committed, sent, and its outcome committed. See the protocol in [`super`].

use super::{
    Engine,
    answers::{asks_twice, given_up, refuse, stored_answer, to_store, too_many_conflicts, unreadable},
    command::Halt,
    incoming::{Answer, Incoming, Key, Success},
};
use crate::{
    asks::{
        budget::Room,
        guards::report,
        transport::{Answered, Outcome as CallOutcome, Question},
    },
    crash,
    limits::{ATTEMPTS_MAX, DECISIONS_MAX, NESTED_MARGIN, OUTCOME_GRACE, REPEAT_PAUSE},
    metrics::AskOutcome,
    reading::Reading,
};
use jiff::Timestamp;
use jumun::{Asked, DocumentKey, Outcome, Reply, Step};
use jumun_database::{AskRecord, Changes, CommitError, Conflict, Request, RequestChange, RequestState};
use jumun_guard::{Admitted, Refusal};
use jumun_http::{Code, Problem};
use jumun_telemetry::{Kind, Origin, Span};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// How a question ended: what the decision gets to see, and whether something may be left to undo.
struct Ended {
    reply: Reply,
    is_unknown: bool,
}

/// A question that is committed and may go out.
pub(super) struct Begun {
    id: Uuid,
    time_limit: Duration,
    expires_ms: i64,
}

impl Engine {
    /// Room for a question that is asked later, where its answer has somewhere to go and the operator allows it.
    pub(super) fn room(&self, (resource, _): DocumentKey, asked: &Asked) -> Option<Room<'_>> {
        let mut settles = self.core.model().resources[resource].settles.iter();
        let is_settled = settles.any(|settle| settle.target == asked.target);
        is_settled.then(|| self.core.delays().room(asked.target.service)).flatten()
    }

    /// Lets a call to a neighbour pass its guard, before anything of it is committed: a refused call leaves nothing behind.
    /// Gives the time that the call may take.
    pub(super) async fn admit(
        &self,
        incoming: &Incoming,
        callee: &'static str,
    ) -> Result<Result<(Admitted<'_>, Duration), Refusal>, Problem> {
        let mut time_limit = self.guards().time_limit(callee)?;
        if let Some(Key::Ask { expires_ms, .. }) = &incoming.key {
            // Our caller waits only so long: limits shrink inwards.
            let left = u64::try_from(expires_ms - self.core.now().as_millisecond()).unwrap_or_default();
            time_limit = time_limit.min(Duration::from_millis(left).saturating_sub(NESTED_MARGIN));
            if time_limit.is_zero() {
                return Err(Problem::new(Code::AskExpired, "Too little time is left to ask on."));
            }
        }
        let began = Instant::now();
        let admitted = self.guards().admit(callee, time_limit).await?;
        if let Err(why) = &admitted {
            let Origin { trace, request, .. } = &incoming.origin;
            tracing::debug!(%request, trace = %trace.id(), callee, %why, "not asked");
        }
        Ok(admitted.map(|admitted| (admitted, time_limit.saturating_sub(began.elapsed()))))
    }

    /// Commits that a neighbour is about to be asked: from here on recovery completes the request.
    pub(super) async fn begin(
        &self,
        incoming: &Incoming,
        mut request: Request,
        release: Option<RequestChange>,
        asked: &Asked,
        time_limit: Duration,
    ) -> Result<Begun, Halt> {
        let now = self.core.now();
        let service = asked.target.service;
        let given_up_ms = now.as_millisecond().saturating_add(millis(time_limit));
        // A delayable question is asked again: the neighbour may go on with this attempt after we have hung up.
        let delays = self.core.delays();
        let is_delayable = delays.is_accepting(service);
        let (id, until_ms) = (request.id, delays.until_ms(service, now.as_millisecond()));
        request.ask = Some(AskRecord {
            service: service.to_owned(),
            path: asked.target.path.to_owned(),
            question: is_delayable.then(|| asked.body.clone()),
        });
        request.until_ms = given_up_ms.saturating_add(millis(OUTCOME_GRACE));
        let mut changes = Changes::default();
        changes.requests.extend(release);
        changes.requests.push(RequestChange::Insert(Box::new(request)));

        crash::point("asking.before-commit");
        match self.core.commit_of(Some(&incoming.origin), changes).await {
            Ok(_) => {}
            Err(CommitError::Conflict(_)) => return Err(Halt::KeyTaken),
            Err(error) => return Err(refuse(&error).into()),
        }
        crash::point("asking.after-commit");
        // The time limit is that of the call: what the commit took is not the neighbour's.
        let given_up_ms = self.core.now().as_millisecond().saturating_add(millis(time_limit));
        let expires_ms = match &incoming.key {
            _ if is_delayable => until_ms,
            Some(Key::Ask { expires_ms, .. }) => given_up_ms.min(*expires_ms),
            _ => given_up_ms,
        };
        Ok(Begun { id, time_limit, expires_ms })
    }

    /// Asks, and commits the outcome.
    pub(super) async fn ask(
        &self,
        incoming: &Incoming,
        begun: Begun,
        admitted: Admitted<'_>,
        decider: DocumentKey,
        now: Timestamp,
        asked: Asked,
    ) -> Answer {
        let Begun { id, time_limit, expires_ms } = begun;
        let (target, is_answer, body) = (asked.target, asked.is_answer, asked.body.as_str().into());
        let origin = incoming.origin.child();
        let question = Question { target, id, body, expires_ms, time_limit, is_answer, origin };
        let outcome = self.call(Some(admitted), question, decider.1).await;
        crash::point("call.after-answer");
        self.conclude(incoming, id, decider, now, ended(outcome), &asked).await
    }

    /// Calls a neighbour; counts, traces and logs the call. Without a guard's admission the call is a probe: it finds out
    /// whether a neighbour whose circuit is open answers again.
    pub(crate) async fn call(&self, admitted: Option<Admitted<'_>>, question: Question, order: i64) -> CallOutcome {
        let (target, id, time_limit, origin) =
            (question.target, question.id, question.time_limit, question.origin.clone());
        let Origin { trace, request, .. } = &origin;
        let began = Instant::now();
        let called = match admitted {
            Some(admitted) => admitted.run(time_limit, report, self.send(question)).await,
            None => tokio::time::timeout(time_limit, self.send(question)).await.ok(),
        };
        let no_answer = || CallOutcome::Unknown(format!("no answer within {time_limit:?}"));
        let outcome = called.map_or_else(no_answer, |answered| answered.outcome);
        let took = began.elapsed();
        self.guards().ended(target.service, took);
        let (counted, why) = counted(&outcome);
        self.core.metrics().ask(target.service, counted, took);
        let (callee, word) = (target.service, counted.word());
        tracing::debug!(%request, trace = %trace.id(), order, ask = %id, callee, outcome = word, why, ?took, "asked");
        self.core.tracer().record(trace, || Span {
            context: *trace,
            parent: origin.parent,
            kind: Kind::Client,
            name: format!("POST {callee}{}", target.path).into(),
            took,
            attributes: vec![
                ("peer.service", callee.into()),
                ("jumun.outcome", word.into()),
                ("jumun.order", order.to_string().into()),
            ],
            is_failed: !matches!(outcome, CallOutcome::Accepted(_) | CallOutcome::Refused(_)),
        });
        outcome
    }

    /// Sends a question. If the connection breaks, sends the same again under the same id while there is time: a process
    /// that is killed or replaced behind a listening socket that stays costs its callers a moment, not an order.
    ///
    /// From the second attempt on, *not done* says nothing about the first: that one may still have its effect.
    async fn send(&self, question: Question) -> Answered {
        let mut answered = self.transport().ask(question.clone()).await;
        let mut pause = REPEAT_PAUSE;
        for _ in 1..ATTEMPTS_MAX {
            let CallOutcome::Broken(why) = answered.outcome else { break };
            // Meanwhile the client finds its other connections to the dead process closed.
            tokio::time::sleep(pause).await;
            pause *= 4;
            let left = u64::try_from(question.expires_ms - self.core.now().as_millisecond()).unwrap_or_default();
            if left == 0 {
                return CallOutcome::Unknown(why).into();
            }
            tracing::debug!(ask = %question.id, why, "the connection broke; the question is sent again");
            let again = Question { time_limit: Duration::from_millis(left), ..question.clone() };
            answered = self.transport().ask(again).await;
            if let CallOutcome::NotDone(why) | CallOutcome::Busy(why) = answered.outcome {
                answered.outcome = CallOutcome::Unknown(why);
            }
        }
        answered
    }

    /// Decides again, with the answer and on the state of now, and commits the outcome.
    async fn conclude(
        &self,
        incoming: &Incoming,
        id: Uuid,
        decider: DocumentKey,
        now: Timestamp,
        mut ended: Ended,
        asked: &Asked,
    ) -> Answer {
        let mut reading = if incoming.id.is_none() { Reading::of_new(decider) } else { Reading::default() };
        let room = if ended.reply == Reply::Unavailable { self.room(decider, asked) } else { None };
        if room.is_some() {
            ended.reply = Reply::Later;
        }
        for _ in 0..DECISIONS_MAX {
            let step = Step { decider, command: &incoming.command, now, reply: Some(&ended.reply) };
            let mut changes = Changes::default();
            let mut is_delayed = false;
            let (answer, is_decided) = match self.decide(step, &mut reading, &incoming.origin).await {
                Ok(Outcome::Decided(mut decided)) => {
                    // A delayed question stays the same question: it keeps its id.
                    let later = decided.later.iter().position(|(key, later)| *key == decider && later == asked);
                    is_delayed = later.map(|at| decided.later.remove(at)).is_some();
                    let success = self.success(incoming, decider, &decided, &reading.documents);
                    match self.core.add(decided, now, &incoming.origin.trace, Some(id), &mut changes).await {
                        Ok(()) => (Ok(success), true),
                        Err(error) => {
                            changes = Changes::default();
                            is_delayed = false;
                            (Err(unreadable(&error)), false)
                        }
                    }
                }
                Ok(Outcome::Rejected(why)) => (Err(Problem::from(why)), false),
                Ok(Outcome::Ask(_) | Outcome::Needs(_) | Outcome::Find(_)) => (Err(asks_twice()), false),
                Err(problem) => (Err(problem), false),
            };
            let kept = to_store(&answer);
            // A yes of the neighbour that leads to nothing is undone like one that was never received.
            let is_residue =
                !is_delayed && (ended.is_unknown || (matches!(ended.reply, Reply::Accepted(_)) && !is_decided));
            let to = match (is_residue, &kept) {
                (true, _) => RequestState::Voiding,
                (false, Some(_)) => RequestState::Done,
                (false, None) => RequestState::Voided,
            };
            changes.requests.push(if is_delayed {
                let until_ms = self.core.delays().until_ms(asked.target.service, now.as_millisecond());
                RequestChange::Delay { id, until_ms, answer: kept }
            } else {
                RequestChange::Move { id, from: RequestState::Asking, to, answer: kept }
            });
            crash::point("outcome.before-commit");
            match reading.commit(&self.core, Some(&incoming.origin), changes).await {
                Ok(receipt) => {
                    crash::point("outcome.after-commit");
                    let Origin { trace, request, .. } = &incoming.origin;
                    let state = if is_delayed { RequestState::Delayed } else { to };
                    tracing::debug!(%request, trace = %trace.id(), order = decider.1, ask = %id, %state, "concluded");
                    if is_residue {
                        self.core.to_undo().notify_one();
                    }
                    return answer.map(|success| Success { seen: self.core.last_event(&receipt), ..success });
                }
                Err(CommitError::Conflict(Conflict::Document { .. })) => reading.give_up(),
                Err(CommitError::Conflict(Conflict::Request { id: other })) if other != id => reading.give_up(),
                Err(CommitError::Conflict(_)) => return Err(given_up()), // recovery, or an undo, was first
                Err(CommitError::Unknown(why)) => return self.read_outcome(id, &why).await,
                // It stays in doubt until its time is up, and is undone then.
                Err(error) => return Err(refuse(&error)),
            }
        }
        Err(too_many_conflicts())
    }

    /// What became of a commit of unknown outcome.
    async fn read_outcome(&self, id: Uuid, why: &str) -> Answer {
        let unknown = || Problem::new(Code::OutcomeUnknown, format!("{why}. Ask again with the same Idempotency-Key."));
        match self.core.database().request(id).await {
            Ok(Some(Request { answer: Some(answer), .. })) => stored_answer(&answer, self.core.model().name),
            Ok(Some(Request { state: RequestState::Voiding | RequestState::Voided, .. })) => Err(given_up()),
            _ => Err(unknown()),
        }
    }
}

/// What came of a question, for the decision.
fn ended(outcome: CallOutcome) -> Ended {
    let (reply, is_unknown) = match outcome {
        CallOutcome::Accepted(body) => (Reply::Accepted(body), false),
        CallOutcome::Refused(why) => (Reply::Refused(why), false),
        CallOutcome::NotDone(_) | CallOutcome::Busy(_) => (Reply::Unavailable, false),
        CallOutcome::Broken(_) | CallOutcome::Unknown(_) => (Reply::Unavailable, true),
    };
    Ended { reply, is_unknown }
}

/// The same for metrics and the log.
fn counted(outcome: &CallOutcome) -> (AskOutcome, Option<&str>) {
    match outcome {
        CallOutcome::Accepted(_) => (AskOutcome::Accepted, None),
        CallOutcome::Refused(_) => (AskOutcome::Refused, None),
        CallOutcome::NotDone(why) | CallOutcome::Busy(why) => (AskOutcome::NotDone, Some(why)),
        CallOutcome::Broken(why) | CallOutcome::Unknown(why) => (AskOutcome::Unknown, Some(why)),
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
