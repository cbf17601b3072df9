//! Asks: requests to another service whose answer a decision needs.
//!
//! An ask names the service and the path that answer it, the instance that answers, the type of the question and the type of
//! the answer. It is declared once, beside the aggregate that answers it; both sides refer to that declaration.

use crate::{rejection::Rejection, value::Id};
use serde::{Serialize, de::DeserializeOwned};

/// A request with a question `Q` that is accepted with an answer `T`.
#[derive(Debug)]
pub struct Ask<Q, T> {
    service: &'static str,
    path: &'static str,
    about: Option<fn(&Q) -> Id<T>>,
    is_answer: fn(&str, &str) -> bool,
}

/// An answer that can be compared with its question. Every answer is, when it arrives: one to another question counts as
/// no answer, and what the other service did is undone.
pub trait Answers<Q> {
    /// Whether it grants all that the question asks for.
    fn answers(&self, question: &Q) -> bool;
}

impl<Q: Serialize + DeserializeOwned, T: DeserializeOwned + Answers<Q>> Ask<Q, T> {
    /// An ask that is posted to a path of a service and undone by a post to `<path>/void`. `about` is the instance that
    /// answers it.
    pub const fn post(service: &'static str, path: &'static str, about: fn(&Q) -> Id<T>) -> Self {
        let is_answer = |question: &str, answer: &str| match (
            serde_json::from_str::<Q>(question),
            serde_json::from_str::<T>(answer),
        ) {
            (Ok(question), Ok(answer)) => answer.answers(&question),
            _ => false,
        };
        Self { service, path, about: Some(about), is_answer }
    }
}

impl<Q, T: DeserializeOwned> Ask<Q, T> {
    /// An ask to an external party, such as a message sender. It cannot be undone. Use [`later`](crate::Context::later)
    /// only: no command should wait for an external party.
    pub const fn external(name: &'static str) -> Self {
        let is_answer = |_: &str, answer: &str| serde_json::from_str::<T>(answer).is_ok();
        Self { service: name, path: "", about: None, is_answer }
    }
}

impl<Q: Serialize, T> Ask<Q, T> {
    pub(crate) fn asked(&self, question: &Q) -> Asked {
        Asked {
            target: self.target(),
            // A question is plain data. If it is not, the other service rejects `null`.
            body: serde_json::to_string(question).unwrap_or_else(|_| "null".to_owned()),
            is_answer: self.is_answer,
        }
    }
}

impl<Q, T> Ask<Q, T> {
    /// The service that answers.
    pub const fn service(&self) -> &'static str {
        self.service
    }

    /// The service and the path that answer.
    pub const fn target(&self) -> AskTarget {
        AskTarget { service: self.service, path: self.path }
    }

    /// The instance that a question is about. None: an external party answers.
    pub(crate) const fn about(&self) -> Option<fn(&Q) -> Id<T>> {
        self.about
    }

    pub(crate) const fn is_answer(&self) -> fn(&str, &str) -> bool {
        self.is_answer
    }
}

/// The service and the path that answer an ask. It compares with the ask itself: `target == PAY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskTarget {
    /// The service, or the name of an external party.
    pub service: &'static str,
    /// The path, `/payinfos`; empty for an external party.
    pub path: &'static str,
}

impl AskTarget {
    /// Whether an external party answers.
    pub const fn is_external(self) -> bool {
        self.path.is_empty()
    }
}

impl<Q, T> PartialEq<Ask<Q, T>> for AskTarget {
    fn eq(&self, ask: &Ask<Q, T>) -> bool {
        *self == ask.target()
    }
}

/// An ask with its question, ready to be sent.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The service and the path that answer.
    pub target: AskTarget,
    /// The question, JSON.
    pub body: String,
    /// Whether the second body is an answer to the first.
    pub is_answer: fn(&str, &str) -> bool,
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        self.target == other.target && self.body == other.body
    }
}

/// The result of an ask, as the runtime passes it to a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The other service accepts, with this JSON.
    Accepted(String),
    /// The other service refuses for good.
    Refused(Rejection),
    /// No answer in time, or none that answers the question. The runtime undoes what the other service may have done.
    Unavailable,
    /// No answer yet. The decision may go on without it, and the runtime repeats the ask.
    Later,
    /// The decision cannot wait for an answer, as in a policy. It can only ask later.
    OnlyLater,
}

/// The result of an ask, as a decision sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// The other service accepts.
    Accepted(T),
    /// The other service refuses for good.
    Refused(Rejection),
    /// There is no answer.
    Unavailable,
}
