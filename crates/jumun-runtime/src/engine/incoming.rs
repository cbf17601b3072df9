//! A command as it comes in, the key that it is known by, and what its client gets.

use jiff::Timestamp;
use jumun::ErasedCommand;
use jumun_http::Problem;
use jumun_telemetry::Origin;
use std::time::Duration;
use uuid::Uuid;

/// A command as it comes in.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The place of the resource in the model.
    pub resource: usize,
    /// The instance; none for one that is to be made.
    pub id: Option<i64>,
    /// What is asked of it.
    pub command: ErasedCommand,
    /// Under which it is known when it is repeated.
    pub key: Option<Key>,
    /// Of everything that makes it this request and no other.
    pub fingerprint: [u8; 16],
    /// The HTTP status of a yes.
    pub success: u16,
    /// Where it comes from.
    pub origin: Origin,
}

/// Under what a request is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A client's `Idempotency-Key`.
    Client(String),
    /// The id of a neighbour's ask, and until when the neighbour waits for the answer.
    Ask {
        /// The id.
        id: Uuid,
        /// Milliseconds since 1970 UTC.
        expires_ms: i64,
    },
}

impl Key {
    /// As it is stored: a client cannot guess its way to a neighbour's ask.
    pub(super) fn stored(&self) -> String {
        match self {
            Self::Client(key) => format!("client:{key}"),
            Self::Ask { id, .. } => ask_key(*id),
        }
    }

    /// For how long the neighbour still waits for the answer, where that is known.
    pub(super) fn left(&self, now: Timestamp) -> Option<Duration> {
        let Self::Ask { expires_ms, .. } = self else { return None };
        let left = expires_ms.saturating_sub(now.as_millisecond());
        Some(Duration::from_millis(u64::try_from(left).unwrap_or_default()))
    }
}

/// The stored key of a neighbour's ask.
pub(super) fn ask_key(id: Uuid) -> String {
    format!("ask:{id}")
}

/// A yes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Success {
    /// The HTTP status.
    pub status: u16,
    /// Where the thing is.
    pub location: Option<String>,
    /// The thing; empty where there is nothing to show.
    pub body: String,
    /// The last event that the command made, if it has just made one: a client may ask views to have applied it.
    pub seen: Option<String>,
}

/// What a client gets.
pub type Answer = Result<Success, Problem>;
