//! How a service reaches its neighbours.
//!
//! An outcome is what the service knows of the neighbour's state: *accepted* and *refused* are final, *not done* means that
//! nothing happened there and nothing will, and everything else is *unknown* and must be undone by a call.

use futures_util::future::BoxFuture;
use http::StatusCode;
use jumun::{AskTarget, Rejection};
use jumun_guard::Capacity;
use jumun_http::{Code, Problem};
use jumun_telemetry::Origin;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// A question on its way out.
#[derive(Debug, Clone)]
pub struct Question {
    /// The neighbour, and the path there.
    pub target: AskTarget,
    /// Its id; the same for every attempt.
    pub id: Uuid,
    /// The question, JSON.
    pub body: Arc<str>,
    /// When it is given up, in milliseconds since 1970 UTC.
    pub expires_ms: i64,
    /// How long to wait for an answer.
    pub time_limit: Duration,
    /// Whether a body (the second) answers the question (the first).
    pub is_answer: fn(&str, &str) -> bool,
    /// The cause of the question, and so of the neighbour's work.
    pub origin: Origin,
}

/// The outcome of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The neighbour accepted it, with this body.
    Accepted(String),
    /// The neighbour refused it, finally. Nothing was done.
    Refused(Rejection),
    /// Nothing was done and nothing will be; why.
    NotDone(String),
    /// Nothing was done and nothing will be: the neighbour has too much to do.
    Busy(String),
    /// The connection broke before there was an answer, as it does when a process dies. The question may have been done; to
    /// ask it again under the same id finds out.
    Broken(String),
    /// It may have been done, or may still be; why that is unknown.
    Unknown(String),
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Its outcome.
    pub outcome: Outcome,
    /// What the neighbour told of its places with its answer.
    pub capacity: Option<Capacity>,
}

impl From<Outcome> for Answered {
    /// An outcome without a word of places.
    fn from(outcome: Outcome) -> Self {
        Self { outcome, capacity: None }
    }
}

/// An undo call in progress.
pub type VoidFuture<'a> = BoxFuture<'a, Result<(), VoidError>>;

/// The way to the neighbours.
pub trait Transport: Send + Sync + 'static {
    /// Asks, and waits for the answer up to the time limit.
    fn ask(&self, question: Question) -> BoxFuture<'_, Answered>;

    /// Has a question undone, whatever its outcome. `Ok` once the neighbour confirms it.
    fn void<'a>(&'a self, service: &'a str, path: &'a str, id: Uuid, origin: &'a Origin) -> VoidFuture<'a>;
}

/// Why it is unknown whether a question is undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VoidError {
    /// The neighbour does not answer: it is down, or far away. It would not answer the next one either.
    #[error("{0}")]
    NoAnswer(String),
    /// It answers, but not that the question is undone. That is about this question only.
    #[error("{0}")]
    NotUndone(String),
}

/// A neighbour outside the system, such as the sender of messages. What was sent to it cannot be undone.
pub trait External: Send + Sync + 'static {
    /// Sends it a body, once. The id is the same for every attempt. The implementation bounds its own time.
    fn tell<'a>(&'a self, id: Uuid, body: &'a str) -> BoxFuture<'a, Outcome>;
}

/// The outcome that a response means. A response that is not clearly of a Jumun service means nothing: `is_problem` says
/// whether it claims to be a problem.
pub(super) fn classify(status: StatusCode, is_problem: bool, body: &[u8], is_answer: impl Fn(&str) -> bool) -> Outcome {
    let unknown = |why: &str| Outcome::Unknown(format!("it answered {status} {why}"));
    let Ok(body) = std::str::from_utf8(body) else { return unknown("with a body that is not text") };
    if status.is_success() {
        return if is_answer(body) {
            Outcome::Accepted(body.to_owned())
        } else {
            unknown("with a body that does not answer the question")
        };
    }
    match is_problem.then(|| Problem::parse(body)).flatten() {
        None => unknown("with a body that is no problem of a Jumun service"),
        Some(problem) => of_problem(problem),
    }
}

/// The outcome that a problem of a Jumun service means.
pub fn of_problem(problem: Problem) -> Outcome {
    let text = problem.to_string();
    if problem.code == Code::Overloaded {
        return Outcome::Busy(text);
    }
    if problem.code.is_surely_not_done() {
        return Outcome::NotDone(text);
    }
    problem.into_rejection().map_or(Outcome::Unknown(text), Outcome::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn classify_text(status: u16, kind: &str, body: &[u8]) -> Outcome {
        let is_problem = kind == "application/problem+json";
        classify(StatusCode::from_u16(status).expect("a status"), is_problem, body, |body| body == "yes")
    }

    fn problem(code: Code) -> String {
        Problem::new(code, "why").body(code.status(), "/payinfos", "r")
    }

    #[test]
    fn only_a_readable_yes_is_accepted() {
        assert_eq!(classify_text(201, "application/hal+json", b"yes"), Outcome::Accepted("yes".into()));
        for body in [&b""[..], b"{}", b"<html>", b"\xff\xfe"] {
            assert!(matches!(classify_text(200, "application/json", body), Outcome::Unknown(_)));
        }
    }

    #[test]
    fn a_refusal_counts_only_as_a_problem_of_a_service() {
        let declined = problem(Code::Declined);
        assert_eq!(
            classify_text(402, "application/problem+json", declined.as_bytes()),
            Outcome::Refused(Rejection::Declined("why".into()))
        );
        assert!(
            matches!(classify_text(404, "text/html", b"<h1>404"), Outcome::Unknown(_)),
            "a 404 of another server means nothing"
        );
        assert!(matches!(classify_text(503, "text/plain", b"busy"), Outcome::Unknown(_)));
    }

    #[test]
    fn the_type_of_a_problem_decides_whatever_the_status() {
        for status in [429, 500, 503] {
            let outcome = classify_text(status, "application/problem+json", problem(Code::NotDone).as_bytes());
            assert!(matches!(outcome, Outcome::NotDone(_)));
        }
        let outcome = classify_text(503, "application/problem+json", problem(Code::OutcomeUnknown).as_bytes());
        assert!(matches!(outcome, Outcome::Unknown(_)));
    }

    proptest! {
        #[test]
        fn nonsense_is_never_taken_for_an_answer(status in 100_u16..600, kind in "[a-z/+]{0,30}", body in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assume!(body != b"yes");
            prop_assert!(matches!(classify_text(status, &kind, &body), Outcome::Unknown(_)));
        }
    }
}
