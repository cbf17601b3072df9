//! Answers: what the engine keeps under a key, how it replays a known key, and the problems that it answers with.

use super::incoming::{Answer, Incoming, Success};
use crate::{events::token::Token, limits::ANSWERS_KEPT};
use jiff::Timestamp;
use jumun::Defect;
use jumun_database::{CommitError, DatabaseFailure, ReadError, Request, RequestState, StoredAnswer};
use jumun_http::{Code, Problem};
use jumun_telemetry::Origin;
use uuid::Uuid;

/// Replays a known request of the service for one with the same key. `None`: the known request has no final answer and gives
/// up the key.
pub(super) fn replay(known: &Request, incoming: &Incoming, service: &str) -> Result<Option<Answer>, Problem> {
    let is_tombstone = known.fingerprint == [0; 16];
    if known.fingerprint != incoming.fingerprint && !is_tombstone {
        return Err(Problem::new(
            Code::KeyReused,
            "This Idempotency-Key came with another request before. Take a new one.",
        ));
    }
    match (&known.answer, known.state) {
        (Some(answer), _) => Ok(Some(stored_answer(answer, service))),
        (None, RequestState::Voiding | RequestState::Voided) => Ok(None),
        (None, RequestState::Asking | RequestState::Delayed | RequestState::Done) => Err(Problem::new(
            Code::OutcomeUnknown,
            "This request is still being worked on. Ask again with the same Idempotency-Key.",
        )),
    }
}

/// Checks that an ask may still be answered: it is in time, and not older than answers are kept.
pub(super) fn check_ask(id: Uuid, expires_ms: i64, now: Timestamp) -> Result<(), Problem> {
    let now_ms = now.as_millisecond();
    if now_ms >= expires_ms {
        let late = now_ms.saturating_sub(expires_ms);
        return Err(Problem::new(
            Code::AskExpired,
            format!("It came {late} ms after its time limit. If that is always so, the clocks of the services differ."),
        ));
    }
    if is_older_than_answers(id, now) {
        return Err(Problem::new(Code::AskExpired, "The ask is older than answers are kept."));
    }
    Ok(())
}

/// Whether the answer to an ask may be deleted already.
pub(super) fn is_older_than_answers(id: Uuid, now: Timestamp) -> bool {
    let made = id.get_timestamp().and_then(|made| i64::try_from(made.to_unix().0).ok()).unwrap_or_default();
    made.saturating_add(ANSWERS_KEPT.as_secs().cast_signed()) < now.as_second()
}

/// What is kept of an answer under its key. Only final answers are kept.
pub(super) fn to_store(answer: &Answer) -> Option<StoredAnswer> {
    match answer {
        Ok(Success { status, location, body, .. }) => {
            Some(StoredAnswer { status: *status, location: location.clone(), body: body.clone(), last_event: None })
        }
        Err(problem) if problem.code.is_final() => Some(StoredAnswer {
            status: problem.code.status(),
            location: None,
            body: serde_json::to_string(problem).unwrap_or_default(),
            last_event: None,
        }),
        Err(_) => None,
    }
}

/// An answer as it was given the first time.
pub(super) fn stored_answer(stored: &StoredAnswer, service: &str) -> Answer {
    if stored.status < 400 {
        let StoredAnswer { status, location, body, last_event } = stored.clone();
        let seen = last_event.map(|(partition, sequence)| Token { service: service.to_owned(), partition, sequence });
        return Ok(Success { status, location, body, seen: seen.map(|token| token.to_string()) });
    }
    let problem = serde_json::from_str(&stored.body);
    Err(problem.unwrap_or_else(|_| Problem::new(Code::Internal, "The stored answer cannot be read.")))
}

/// The answer to an ask that was undone: the service never does it again.
pub(super) fn tombstone() -> StoredAnswer {
    let problem = Problem::new(Code::Voided, "This ask was undone; it is not done again.");
    StoredAnswer {
        status: problem.code.status(),
        location: None,
        body: serde_json::to_string(&problem).unwrap_or_default(),
        last_event: None,
    }
}

pub(super) fn given_up() -> Problem {
    Problem::new(Code::NeighbourUnavailable, "The answer came too late and is undone. No effect remains; try again.")
}

pub(super) fn asks_twice() -> Problem {
    Problem::new(Code::Internal, "A decision asks twice. This is a defect.")
}

pub(super) fn crowded() -> Problem {
    Problem::new(Code::NotDone, "Too many wait for the same thing. Try again a little later.")
}

pub(super) fn too_many_conflicts() -> Problem {
    Problem::new(Code::NotDone, "Too many change the same thing. Try again a little later.")
}

pub(super) fn refuse(error: &CommitError) -> Problem {
    match error {
        CommitError::Limit(why) => Problem::new(Code::Invalid, why.clone()),
        CommitError::NotDone(why) => {
            Problem::new(Code::NotDone, format!("It could not be stored: {why}. Try again later."))
        }
        CommitError::Unknown(why) => {
            Problem::new(Code::OutcomeUnknown, format!("{why}. Ask again with the same Idempotency-Key."))
        }
        CommitError::Failed(failure) => failed(failure),
        CommitError::Conflict(_) => too_many_conflicts(),
    }
}

pub(super) fn unreadable(error: &ReadError) -> Problem {
    match error {
        ReadError::Failed(failure) => failed(failure),
        error => Problem::new(Code::NotDone, format!("{error}. Try again later.")),
    }
}

/// A database that takes nothing before an operator has acted: trying again does not help.
pub(crate) fn failed(failure: &DatabaseFailure) -> Problem {
    Problem::new(Code::NotDone, failure.for_clients())
}

pub(super) fn defect(damaged: &Defect, order: i64, origin: &Origin) -> Problem {
    let Origin { trace, request, .. } = origin;
    tracing::error!(%request, trace = %trace.id(), order, %damaged, "a document or a decision is not as it must be");
    Problem::new(
        Code::Internal,
        format!("{}/{} cannot be worked on. This is a defect.", damaged.collection, damaged.id),
    )
}
