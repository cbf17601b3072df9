//! Messages to customers, as they are handed to whoever carries them; see [`jumun_sender`].

use super::transport::{External, Outcome};
use crate::limits::{QUIET_MAX, TROUBLE_TOLD_EVERY};
use futures_util::future::BoxFuture;
use jumun::Rejection;
use jumun_sender::{Message, SendError, Sender};
use serde_json::json;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use uuid::Uuid;

/// Whoever carries messages, as a service asks it. The message itself says which it is: it is the same even if somebody has
/// it sent again long after its question was given up.
#[derive(Debug)]
pub struct SenderAdapter {
    sender: Arc<dyn Sender>,
    seen: Mutex<Seen>,
}

/// What was seen of the receiver.
#[derive(Debug, Default)]
struct Seen {
    /// Until when it wants to be left alone.
    quiet_until: Option<Instant>,
    /// When operators were last told that messages do not go out.
    told_at: Option<Instant>,
}

impl SenderAdapter {
    /// By way of a sender.
    pub fn new(sender: Arc<dyn Sender>) -> Self {
        Self { sender, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For how long the receiver still wants to be left alone.
    fn quiet(&self) -> Option<Duration> {
        let left = self.seen().quiet_until?.saturating_duration_since(Instant::now());
        Some(left).filter(|left| !left.is_zero())
    }

    /// A message did not go out, and is tried again. Operators are told now and then, as attempts are many.
    fn in_vain(&self, id: Uuid, why: &str, retry_after: Option<Duration>) {
        let (now, mut seen) = (Instant::now(), self.seen());
        seen.quiet_until = seen.quiet_until.max(retry_after.map(|wait| now + wait.min(QUIET_MAX)));
        if seen.told_at.is_none_or(|at| now - at >= TROUBLE_TOLD_EVERY) {
            seen.told_at = Some(now);
            let retry_after = retry_after.map(tracing::field::debug);
            tracing::warn!(ask = %id, why, retry_after, "messages do not go out; they are tried again");
        }
    }
}

impl External for SenderAdapter {
    fn tell<'a>(&'a self, id: Uuid, body: &'a str) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let refused = |why: String| {
                tracing::warn!(ask = %id, why, "a message is refused");
                Outcome::Refused(Rejection::Conflict(why.into()))
            };
            let message: Message = match serde_json::from_str(body) {
                Ok(message) => message,
                Err(error) => return refused(format!("it is no message: {error}")),
            };
            if let Some(quiet) = self.quiet() {
                return Outcome::NotDone(format!("the receiver wants to be left alone for {quiet:.1?}"));
            }
            match self.sender.send(&message).await {
                Ok(receipt) => Outcome::Accepted(json!({ "reference": receipt.reference }).to_string()),
                Err(SendError::Refused { why }) => refused(why),
                Err(SendError::NotSent { why, retry_after }) => {
                    self.in_vain(id, &why, retry_after);
                    Outcome::NotDone(why)
                }
                Err(SendError::Unknown { why }) => {
                    self.in_vain(id, &why, None);
                    Outcome::Unknown(why)
                }
            }
        })
    }
}
