//! How customers are told of what happens: one port, [`Sender`], and behind it the console, a file, KakaoTalk, electronic
//! mail and webhooks.
//!
//! A sender makes *one* attempt a call and says what came of it. Whoever calls keeps the message durably, and sends it
//! again under the same id for as long as it likes: a message arrives at least once, and its id tells the copies apart.
//!
//! What an outcome means, for every adapter alike:
//!
//! * [`SendError::Refused`]: the message itself is at fault, its recipient or its text. It would be refused again.
//! * [`SendError::NotSent`]: surely not sent. What an operator can put right (a token, a permission, an address of a
//!   server) and what passes by itself (a quota, maintenance, a receiver that is down) is of this kind: the message goes
//!   out once that is over.
//! * [`SendError::Unknown`]: it may have been sent.

mod config;
mod http;
mod kakaotalk;
pub mod limits;
mod lines;
mod secret;
mod smtp;
mod templates;
mod tls;
mod webhook;

pub use config::{
    FileConfig, InvalidConfig, KakaoTalkConfig, Kind, SendTo, SenderConfig, SmtpConfig, Tls, WebhookConfig,
};
pub use futures_util::future::BoxFuture;
pub use lines::console;
pub use secret::Secret;
pub use templates::Templates;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{fmt, time::Duration};

/// What a customer is told.
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
    /// What the receiver calls it, where it says so: a mail server's `2.0.0 Ok: queued as 4XyZ`.
    pub reference: Option<String>,
}

/// Why a message was not taken, or nobody knows whether it was.
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
        /// How long the receiver wants to be left alone, where it says so.
        retry_after: Option<Duration>,
    },
    /// It may have been sent.
    #[error("unknown: {why}")]
    Unknown {
        /// Why nobody knows.
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

/// A way to the customers. `Debug` of it tells no secret.
pub trait Sender: fmt::Debug + Send + Sync {
    /// Makes one attempt, within the configured time limit. Where the future is dropped, nobody knows whether the message
    /// was sent.
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

/// What an adapter does with a message that is checked and in words.
pub(crate) trait Channel: fmt::Debug + Send + Sync {
    fn deliver<'a>(&'a self, message: &'a Message, letter: Letter) -> BoxFuture<'a, Result<Receipt, SendError>>;
}

/// A sender of a channel: what is the same for all of them.
#[derive(Debug)]
pub(crate) struct Templated<C> {
    pub(crate) templates: Templates,
    pub(crate) channel: C,
}

impl<C: Channel> Sender for Templated<C> {
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        let letter = check(message).and_then(|()| self.templates.write(message));
        match letter {
            Ok(letter) => self.channel.deliver(message, letter),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

/// What no adapter can send. Ids and recipients end up in headers and lines: they hold nothing that ends one.
fn check(message: &Message) -> Result<(), SendError> {
    let Message { id, recipient, time_ms, .. } = message;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !limits::ID_CHARS.contains(&id.len()) || !id.bytes().all(is_plain) {
        return Err(SendError::refused("its id must be 1 to 128 letters, digits, - or _"));
    }
    if recipient.len() > limits::RECIPIENT_MAX_BYTES || recipient.chars().any(char::is_control) {
        return Err(SendError::refused("its recipient is too long or has control characters"));
    }
    if *time_ms < 0 || jiff::Timestamp::from_millisecond(*time_ms).is_err() {
        return Err(SendError::refused("its time is none since 1970"));
    }
    Ok(())
}

/// An error with its causes, as most name none of them by themselves.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
