//! The port: a message, one attempt to send it, and the outcome.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{fmt, time::Duration};

/// A message to a customer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The same for every attempt, another for every message. Letters, digits, `-` and `_`: a UUID, say.
    pub id: String,
    /// Whom: the customer's id, or nothing where it is not known.
    pub recipient: String,
    /// What it is about, which is also the name of the template: `Ordered`.
    pub template: String,
    /// What the template may show.
    pub fields: Map<String, Value>,
    /// When it happened, in milliseconds since 1970 UTC.
    pub time_ms: i64,
}

/// A message was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The receiver's own reference, where it gives one: a mail server's `2.0.0 Ok: queued as 4XyZ`.
    pub reference: Option<String>,
}

/// Why a message was not taken, or why that is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The message cannot be sent as it is. Trying again does not help.
    #[error("refused: {why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// It was surely not sent. Trying again may help.
    #[error("not sent: {why}")]
    NotSent {
        /// Why.
        why: String,
        /// How long the receiver asks to be left alone, where it does.
        retry_after: Option<Duration>,
    },
    /// It may have been sent.
    #[error("unknown: {why}")]
    Unknown {
        /// Why the outcome is unknown.
        why: String,
    },
}

impl SendError {
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self::Refused { why: why.into() }
    }

    pub(crate) fn not_sent(why: impl Into<String>) -> Self {
        Self::NotSent { why: why.into(), retry_after: None }
    }

    pub(crate) fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }
}

/// An adapter that sends messages. Its `Debug` shows no secret.
pub trait Sender: fmt::Debug + Send + Sync {
    /// Makes one attempt, within the configured time limit. If the future is dropped, the outcome is unknown.
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>>;
}

/// A message in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Letter {
    /// One line, not empty, without control characters.
    pub(crate) subject: String,
    /// Lines that end with `\n`, without other control characters than that and tabs.
    pub(crate) text: String,
}

/// An error with its causes, as most name none of them by themselves.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
