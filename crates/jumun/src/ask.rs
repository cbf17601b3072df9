//! Asks: requests to a neighbour that must be answered before a decision stands.
//!
//! An ask names who is asked, where, with what, and what a yes looks like. It is declared once, beside the aggregate that
//! answers it; who asks and who answers both refer to that declaration.

use crate::rejection::Rejection;
use serde::{Serialize, de::DeserializeOwned};
use std::marker::PhantomData;

/// A kind of question, `Q`, and its yes, `T`.
#[derive(Debug)]
pub struct Ask<Q, T> {
    service: &'static str,
    path: &'static str,
    is_answer: fn(&str, &str) -> bool,
    kind: PhantomData<fn(Q) -> T>,
}

/// A yes that says what it is a yes to. It is held against the question wherever it comes in: a yes to something else is
/// no answer at all, and whatever it stands for is undone.
pub trait Answers<Q> {
    /// Whether it grants what was asked, all of it.
    fn answers(&self, question: &Q) -> bool;
}

impl<Q: Serialize + DeserializeOwned, T: DeserializeOwned + Answers<Q>> Ask<Q, T> {
    /// A question that is posted to a path of a service, and undone by a post to `<path>/void`.
    pub const fn post(service: &'static str, path: &'static str) -> Self {
        let is_answer = |question: &str, answer: &str| match (
            serde_json::from_str::<Q>(question),
            serde_json::from_str::<T>(answer),
        ) {
            (Ok(question), Ok(answer)) => answer.answers(&question),
            _ => false,
        };
        Self { service, path, is_answer, kind: PhantomData }
    }
}

impl<Q, T: DeserializeOwned> Ask<Q, T> {
    /// A question to somebody outside the system, such as whoever carries messages: what is said to them cannot be taken
    /// back. Only [`later`](crate::Context::later), as nobody should wait for them.
    pub const fn outside(name: &'static str) -> Self {
        let is_answer = |_: &str, answer: &str| serde_json::from_str::<T>(answer).is_ok();
        Self { service: name, path: "", is_answer, kind: PhantomData }
    }
}

impl<Q: Serialize, T> Ask<Q, T> {
    pub(crate) fn asked(&self, question: &Q) -> Asked {
        Asked {
            target: self.target(),
            // A question is plain data of ours. If it is not, the neighbour will say what it thinks of `null`.
            body: serde_json::to_string(question).unwrap_or_else(|_| "null".to_owned()),
            is_answer: self.is_answer,
        }
    }
}

impl<Q, T> Ask<Q, T> {
    /// Who is asked.
    pub const fn service(&self) -> &'static str {
        self.service
    }

    /// Who is asked, and where.
    pub const fn target(&self) -> AskTarget {
        AskTarget { service: self.service, path: self.path }
    }

    pub(crate) const fn is_answer(&self) -> fn(&str, &str) -> bool {
        self.is_answer
    }
}

/// Who is asked, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskTarget {
    /// The service.
    pub service: &'static str,
    /// The path, `/payinfos`; empty for somebody outside the system.
    pub path: &'static str,
}

impl AskTarget {
    /// Whether it is somebody outside the system.
    pub const fn is_outside(self) -> bool {
        self.path.is_empty()
    }
}

/// A question as it goes out.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who is asked.
    pub target: AskTarget,
    /// The question, JSON.
    pub body: String,
    /// Whether the second body is a yes to the first. Anything else is no answer at all.
    pub is_answer: fn(&str, &str) -> bool,
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        self.target == other.target && self.body == other.body
    }
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A yes, JSON.
    Accepted(String),
    /// A final no.
    Refused(Rejection),
    /// No answer in time, or none that means anything. Whether the neighbour did it is not the decision's business: the
    /// runtime undoes it.
    Unavailable,
    /// No answer now, and the decision may be taken without it: the same is asked until there is one.
    Later,
    /// Nobody can be asked now, as in a policy: what is asked is asked later, or not at all.
    OnlyLater,
}

/// What came of a question, as a decision sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// Yes.
    Accepted(T),
    /// No, for good.
    Refused(Rejection),
    /// No answer.
    Unavailable,
}
