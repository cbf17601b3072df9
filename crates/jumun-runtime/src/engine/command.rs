//! A command: answered from its key if it was answered before, otherwise decided; a neighbour is asked where that is
//! needed.

use super::{
    Engine,
    answers::{asks_twice, check_ask, refuse, replay, to_store, too_many_conflicts, unreadable},
    incoming::{Answer, Incoming, Key, Success},
};
use crate::{
    asks::{budget::Room, guards::not_asked},
    crash,
    limits::DECISIONS_MAX,
    reading::Reading,
};
use jumun::{Outcome, Rejection, Reply, Step};
use jumun_database::{Changes, CommitError, Conflict, RequestChange, RequestState};
use jumun_guard::Refusal;
use jumun_http::{Code, Problem};
use jumun_telemetry::Origin;
use uuid::Uuid;

/// The claim of a request to its key.
struct Claim {
    /// The key as it is stored.
    key: String,
    /// The earlier attempt that has the key and gives it up: it has no final answer.
    takes_over: Option<Uuid>,
}

impl Claim {
    /// What makes the earlier attempt give up the key.
    fn release(&self) -> Option<RequestChange> {
        self.takes_over.map(|id| RequestChange::ReleaseKey { id })
    }
}

/// A neighbour that must not be asked now.
struct NotAsked<'a> {
    callee: &'static str,
    why: Refusal,
    /// Room for the question, where the neighbour may be asked later instead.
    room: Option<Room<'a>>,
}

/// Why a command has no answer yet.
pub(super) enum Halt {
    /// It never will: this is what the client gets.
    Problem(Problem),
    /// Another request with the same key was first.
    KeyTaken,
}

impl From<Problem> for Halt {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Halt> for Problem {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Problem(problem) => problem,
            Halt::KeyTaken => too_many_conflicts(), // a command without a key has none to lose
        }
    }
}

impl Engine {
    /// Whether a command repeats one that has an answer.
    pub(super) async fn is_answered(&self, incoming: &Incoming) -> bool {
        let Some(key) = &incoming.key else { return false };
        let known = self.request_of(&key.stored()).await;
        known.is_ok_and(|known| known.is_some_and(|known| known.answer.is_some()))
    }

    pub(super) async fn answer(&self, incoming: &Incoming) -> Answer {
        let Some(key) = &incoming.key else {
            self.faults().apply().await?;
            return Ok(self.first_answer(incoming, None).await?);
        };
        let stored = key.stored();
        let _turn = self.turn(stored.clone()).await?;
        let in_time = || match key {
            Key::Ask { id, expires_ms } => check_ask(*id, *expires_ms, self.core.now()),
            Key::Client(_) => Ok(()),
        };
        // Hardly any key has been seen before. The commit finds out, as no key can be taken twice; so the key is looked up
        // first only where that decides something: a late ask is answered if it was done, faults do not apply to a repeat.
        let mut look_up = in_time().is_err() || self.faults().is_on();
        for _ in 0..DECISIONS_MAX {
            let known = if look_up { self.request_of(&stored).await? } else { None };
            let takes_over = match known {
                None => None,
                Some(known) => match replay(&known, incoming, self.core.model().name)? {
                    Some(answer) => return answer,
                    None => Some(known.id),
                },
            };
            in_time()?;
            self.faults().apply().await?;
            in_time()?; // faults may have taken a while
            let was_looked_up = std::mem::replace(&mut look_up, true);
            match self.first_answer(incoming, Some(Claim { key: stored.clone(), takes_over })).await {
                Ok(success) => return Ok(success),
                Err(Halt::Problem(problem)) if was_looked_up => return Err(problem),
                Err(Halt::Problem(problem)) => return Box::pin(self.unless_known(&stored, incoming, problem)).await,
                Err(Halt::KeyTaken) => {} // the other request has the key: look what became of it
            }
        }
        Err(too_many_conflicts())
    }

    /// A no, unless the key has an answer: a failure now does not mean that nothing was done before.
    async fn unless_known(&self, key: &str, incoming: &Incoming, problem: Problem) -> Answer {
        let Ok(known) = self.request_of(key).await else {
            let why = "Whether it was done before cannot be looked up now. Ask again with the same Idempotency-Key.";
            return Err(Problem::new(Code::OutcomeUnknown, why));
        };
        match known.map(|known| replay(&known, incoming, self.core.model().name)) {
            Some(Ok(Some(answer))) => answer,
            Some(Err(reused)) if reused.code == Code::KeyReused => Err(reused),
            _ => Err(problem),
        }
    }

    /// Decides; asks first where that is needed.
    async fn first_answer(&self, incoming: &Incoming, claim: Option<Claim>) -> Result<Success, Halt> {
        let now = self.core.now();
        let id = match incoming.id {
            Some(id) => id,
            None => self.core.new_document_id(incoming.resource).await.map_err(|error| unreadable(&error))?,
        };
        let decider = (incoming.resource, id);
        let mut reading = if incoming.id.is_none() { Reading::of_new(decider) } else { Reading::default() };
        // A neighbour that must not be asked now is one that does not answer: the business decides without it.
        let mut refused: Option<NotAsked<'_>> = None;
        let takes_over = claim.as_ref().and_then(|claim| claim.takes_over);
        for _ in 0..DECISIONS_MAX {
            let without = |refused: &NotAsked<'_>| match refused.room {
                Some(_) => &Reply::Later,
                None => &Reply::Unavailable,
            };
            let reply = refused.as_ref().map(without);
            let step = Step { decider, command: &incoming.command, now, reply };
            let mut changes = Changes::default();
            let answer = match self.decide(step, &mut reading, &incoming.origin).await? {
                Outcome::Needs(_) | Outcome::Find(_) => unreachable!("`decide` reads what is needed"),
                Outcome::Ask(_) if refused.is_some() => Err(asks_twice()),
                Outcome::Ask(asked) => {
                    reading.give_up(); // nothing is held while a neighbour is asked
                    let callee = asked.target.service;
                    let (admitted, time_limit) = match self.admit(incoming, callee).await? {
                        Ok(admitted) => admitted,
                        Err(why) => {
                            let room = self.room(decider, &asked);
                            refused = Some(NotAsked { callee, why, room });
                            continue;
                        }
                    };
                    let release = claim.as_ref().and_then(Claim::release);
                    let request = self.request(incoming, id, now, claim.map(|claim| claim.key));
                    let begun = self.begin(incoming, request, release, &asked, time_limit).await?;
                    return Ok(Box::pin(self.ask(incoming, begun, admitted, decider, now, *asked)).await?);
                }
                Outcome::Rejected(why) => Err(match (why, &refused) {
                    (Rejection::Unavailable(_), Some(NotAsked { callee, why, .. })) => not_asked(callee, *why),
                    (why, _) => Problem::from(why),
                }),
                Outcome::Decided(decided) => {
                    let success = self.success(incoming, decider, &decided, &reading.documents);
                    let added = self.core.add(decided, now, &incoming.origin.trace, None, &mut changes).await;
                    added.map_err(|error| unreadable(&error))?;
                    Ok(success)
                }
            };
            if let Some(claim) = &claim
                && let Some(kept) = to_store(&answer)
            {
                changes.requests.extend(claim.release());
                let mut request = self.request(incoming, id, now, Some(claim.key.clone()));
                request.state = RequestState::Done;
                request.answer = Some(kept);
                changes.requests.push(RequestChange::Insert(Box::new(request)));
            }
            crash::point("decided.before-commit");
            match reading.commit(&self.core, Some(&incoming.origin), changes).await {
                Ok(receipt) => {
                    crash::point("decided.after-commit");
                    let Origin { trace, request, .. } = &incoming.origin;
                    tracing::debug!(%request, trace = %trace.id(), order = id, is_accepted = answer.is_ok(), "decided");
                    return Ok(Success { seen: self.core.last_event(&receipt), ..answer? });
                }
                Err(CommitError::Conflict(Conflict::Document { .. })) => reading.give_up(),
                // A question to be taken back was settled meanwhile, or the earlier attempt of the key has gone on.
                Err(CommitError::Conflict(Conflict::Request { id })) if Some(id) != takes_over => reading.give_up(),
                Err(CommitError::Conflict(_)) => return Err(Halt::KeyTaken),
                Err(error) => return Err(refuse(&error).into()),
            }
        }
        Err(too_many_conflicts().into())
    }
}
