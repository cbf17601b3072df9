//! Messages to customers: adapts a [`Sender`] to the transport of asks; see [`jumun_sender`].

use super::transport::{External, Outcome};
use crate::limits::{QUIET_MAX, SENDER_TROUBLE_EVERY};
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

/// The sender of messages as a neighbour. The message carries its own id, which stays the same even if an operator has it sent
/// again long after its ask was given up.
#[derive(Debug)]
pub struct SenderAdapter {
    sender: Arc<dyn Sender>,
    receiver: Mutex<Receiver>,
}

/// The state of the receiver.
#[derive(Debug, Default)]
struct Receiver {
    /// The end of the pause that it requested.
    quiet_until: Option<Instant>,
    /// When the service last logged that messages do not go out.
    logged_at: Option<Instant>,
}

impl SenderAdapter {
    /// Adapts a sender.
    pub fn new(sender: Arc<dyn Sender>) -> Self {
        Self { sender, receiver: Mutex::default() }
    }

    fn receiver(&self) -> MutexGuard<'_, Receiver> {
        self.receiver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rest of the pause that the receiver requested.
    fn quiet(&self) -> Option<Duration> {
        let left = self.receiver().quiet_until?.saturating_duration_since(Instant::now());
        Some(left).filter(|left| !left.is_zero())
    }

    /// Notes an attempt that failed and will be repeated. Logs it only now and then, because attempts are many.
    fn failed(&self, id: Uuid, why: &str, retry_after: Option<Duration>) {
        let (now, mut receiver) = (Instant::now(), self.receiver());
        receiver.quiet_until = receiver.quiet_until.max(retry_after.map(|wait| now + wait.min(QUIET_MAX)));
        if receiver.logged_at.is_none_or(|at| now - at >= SENDER_TROUBLE_EVERY) {
            receiver.logged_at = Some(now);
            let retry_after = retry_after.map(tracing::field::debug);
            tracing::warn!(ask = %id, why, retry_after, "messages do not go out; the service retries them");
        }
    }
}

impl External for SenderAdapter {
    fn tell<'a>(&'a self, id: Uuid, body: &'a str) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let refused = |why: String| {
                tracing::warn!(ask = %id, why, "the receiver refuses a message");
                Outcome::Refused(Rejection::Conflict(why.into()))
            };
            let message: Message = match serde_json::from_str(body) {
                Ok(message) => message,
                Err(error) => return refused(format!("the body is not a message: {error}")),
            };
            if let Some(quiet) = self.quiet() {
                return Outcome::NotDone(format!("the receiver requested a pause of {quiet:.1?} more"));
            }
            match self.sender.send(&message).await {
                Ok(receipt) => Outcome::Accepted(json!({ "reference": receipt.reference }).to_string()),
                Err(SendError::Refused { why }) => refused(why),
                Err(SendError::NotSent { why, retry_after }) => {
                    self.failed(id, &why, retry_after);
                    Outcome::NotDone(why)
                }
                Err(SendError::Unknown { why }) => {
                    self.failed(id, &why, None);
                    Outcome::Unknown(why)
                }
            }
        })
    }
}
