//! What is the same for all adapters: checking a message, and putting it into words.

use crate::{Message, Receipt, SendError, Sender, Templates, limits, message::Letter};
use futures_util::future::BoxFuture;
use std::fmt;

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
