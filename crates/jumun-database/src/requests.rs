//! Requests: commands in progress, and their outcomes.

use crate::Trace;
use std::{borrow::Cow, fmt};
use uuid::Uuid;

/// The state of a request. `Asking → Done | Voiding → Voided`; a request without an ask is born `Done`; a withdrawn
/// answer goes `Done → Voiding → Voided`. Where the client need not wait for the neighbour's answer, it goes `Asking →
/// Delayed → Done | Voiding → Voided`, or is born `Delayed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestState {
    /// The service asks a neighbour; nothing is decided yet.
    Asking,
    /// Its client has an answer, and a neighbour is still to be asked: again and again, until it answers or the time is
    /// up.
    Delayed,
    /// Answered: it took effect, or was refused for good.
    Done,
    /// What the neighbour did, or may have done, is being undone.
    Voiding,
    /// Undone, or surely never done.
    Voided,
}

impl RequestState {
    /// All of them.
    pub const ALL: [RequestState; 5] = [Self::Asking, Self::Delayed, Self::Done, Self::Voiding, Self::Voided];

    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asking => "asking",
            Self::Delayed => "delayed",
            Self::Done => "done",
            Self::Voiding => "voiding",
            Self::Voided => "voided",
        }
    }

    /// The state of a stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

impl RequestState {
    /// Whether the service still has to ask or undo something. Such a request is never deleted.
    pub const fn is_in_doubt(self) -> bool {
        matches!(self, Self::Asking | Self::Delayed | Self::Voiding)
    }
}

impl fmt::Display for RequestState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A command in progress: what a client or a neighbour sent, and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// A UUID of version 7. It is also the id of the question that this request asks a neighbour.
    pub id: Uuid,
    /// Under which the same request is known when it is repeated. At most one request has a key.
    pub key: Option<String>,
    /// What was asked for, so that a key is not taken for another request.
    pub fingerprint: [u8; 16],
    /// Its state.
    pub state: RequestState,
    /// The collection of the document that it is about.
    pub collection: Cow<'static, str>,
    /// The id of that document. Never given to another document, even if this one never comes to be.
    pub subject: i64,
    /// The question it waits for, or waited for.
    pub ask: Option<AskRecord>,
    /// The final answer. A repeat under the same key gets it again.
    pub answer: Option<StoredAnswer>,
    /// The process that works on it. A request that an ended process left in [`RequestState::Asking`] has no worker.
    pub incarnation: Uuid,
    /// When it is given up, in milliseconds since 1970 UTC.
    pub until_ms: i64,
    /// In which trace it came, so that undoing it is part of the same.
    pub trace: Option<Trace>,
}

impl Request {
    /// Whether no new document may get the id of its subject: its neighbour may know something of this id. A request that is
    /// done at once has left its document, or nothing; and of the id of nothing a client decides.
    pub(crate) fn takes_its_subject(&self) -> bool {
        self.state != RequestState::Done
    }
}

/// Whom a request asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskRecord {
    /// The service asked.
    pub service: String,
    /// The path asked at: `/payinfos`. Undone at `/payinfos/void`. Empty where nothing can be undone.
    pub path: String,
    /// What is asked, where it may be asked again later; JSON.
    pub question: Option<String>,
}

/// An answer as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// `Location`, where there is one.
    pub location: Option<String>,
    /// The body; may be empty.
    pub body: String,
    /// The last event of the commit that stored the answer, as partition and sequence. The database sets it when it
    /// stores the answer; what is given to it is ignored.
    pub last_event: Option<(u16, u64)>,
}

/// A change to the requests. Each is a compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestChange {
    /// A new request. Refused if its id is known or its key is taken (unless the same commit releases the key first).
    Insert(Box<Request>),
    /// From one state to another, or to the same with an answer. Refused if it is not in `from`, and if it would go
    /// back in the order of [`RequestState`]. An answer is set where one is given.
    Move {
        /// Which request.
        id: Uuid,
        /// The state it must be in.
        from: RequestState,
        /// The state it shall be in.
        to: RequestState,
        /// The final answer, if there is one now.
        answer: Option<StoredAnswer>,
    },
    /// From [`RequestState::Asking`] to [`RequestState::Delayed`]: refused if it is not in the first.
    Delay {
        /// Which request.
        id: Uuid,
        /// When it is given up now, in milliseconds since 1970 UTC.
        until_ms: i64,
        /// The final answer to its client.
        answer: Option<StoredAnswer>,
    },
    /// Its key goes to a new attempt. Refused unless it is voiding or voided, has a key and has no answer.
    ReleaseKey {
        /// Which request.
        id: Uuid,
    },
}

impl RequestChange {
    /// The request that it is about.
    pub(crate) fn id(&self) -> Uuid {
        match self {
            Self::Insert(request) => request.id,
            Self::Move { id, .. } | Self::Delay { id, .. } | Self::ReleaseKey { id } => *id,
        }
    }
}

/// Which requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFilter {
    /// In this state.
    pub state: RequestState,
    /// That ask this service.
    pub service: Option<&'static str>,
    /// Given up before this time, in milliseconds since 1970 UTC.
    pub until_before_ms: Option<i64>,
    /// With an id after this one; ids are in order of time.
    pub after: Option<Uuid>,
    /// At most this many, the oldest first.
    pub limit: u32,
}
