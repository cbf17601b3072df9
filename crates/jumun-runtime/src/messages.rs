//! Messages to customers, as they are handed to whoever carries them; see [`jumun_sender`].

use crate::transport::{Outcome, Outside};
use futures_util::future::BoxFuture;
use jumun::Rejection;
use jumun_sender::{Message, SendError, Sender};
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

/// Whoever carries messages, as a service asks it. The message itself says which it is: it is the same even if somebody has
/// it sent again long after its question was given up.
#[derive(Debug)]
pub struct Carrier(pub Arc<dyn Sender>);

impl Outside for Carrier {
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
            match self.0.send(&message).await {
                Ok(receipt) => Outcome::Accepted(json!({ "reference": receipt.reference }).to_string()),
                Err(SendError::Refused { why }) => refused(why),
                Err(SendError::NotSent { why, .. }) => Outcome::NotDone(why),
                Err(SendError::Unknown { why }) => Outcome::Unknown(why),
            }
        })
    }
}
