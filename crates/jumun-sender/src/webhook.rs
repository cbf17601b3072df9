//! A webhook, signed as *Standard Webhooks* has it (standardwebhooks.com, symmetric signatures).
//!
//! The receiver knows a message again by `webhook-id`, which is the message's id and so the same for every attempt, and
//! that it comes from us and is not old by `webhook-signature`, which is over id, time of the attempt and body.

use crate::{
    InvalidConfig, Message, Receipt, Secret, SendError, WebhookConfig,
    channel::Channel,
    http::{Answer, Http, retry_after, url},
    limits::WEBHOOK_KEY_BYTES,
    message::Letter,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::Sha256;

#[derive(Debug)]
pub(crate) struct Webhook {
    http: Http,
    url: Uri,
    key: Key,
}

impl Webhook {
    pub(crate) fn new(config: &WebhookConfig, http: Http) -> Result<Self, InvalidConfig> {
        let url = url(&config.url).map_err(|why| InvalidConfig::value("webhook.url", why))?;
        let key = Key::parse(&config.secret).map_err(|why| InvalidConfig::value("webhook.secret", why))?;
        Ok(Self { http, url, key })
    }

    async fn attempt(&self, message: &Message, letter: Letter) -> Result<Receipt, SendError> {
        let body = body(message, &letter)?;
        let timestamp = jiff::Timestamp::now().as_second();
        let signature = self.key.sign(&message.id, timestamp, &body);
        let mut head = HeaderMap::new();
        head.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in [
            ("webhook-id", &message.id),
            ("webhook-timestamp", &timestamp.to_string()),
            ("webhook-signature", &signature),
        ] {
            let value = HeaderValue::from_str(value).map_err(|_| SendError::refused("its id cannot be a header"))?;
            head.insert(HeaderName::from_static(name), value);
        }
        judge(&self.http.post(&self.url, head, body).await?)
    }
}

impl Channel for Webhook {
    fn deliver<'a>(&'a self, message: &'a Message, letter: Letter) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(self.attempt(message, letter))
    }
}

/// The body, the same for every attempt.
fn body(message: &Message, letter: &Letter) -> Result<Bytes, SendError> {
    #[derive(Serialize)]
    struct Body<'a> {
        r#type: &'a str,
        timestamp: String,
        data: Data<'a>,
    }
    #[derive(Serialize)]
    struct Data<'a> {
        id: &'a str,
        recipient: &'a str,
        subject: &'a str,
        text: &'a str,
        fields: &'a Map<String, Value>,
    }
    let Message { id, recipient, template, fields, time_ms } = message;
    let Letter { subject, text } = letter;
    let timestamp = jiff::Timestamp::from_millisecond(*time_ms).unwrap_or_default(); // checked before
    let timestamp = format!("{timestamp:.3}");
    let body = Body { r#type: template, timestamp, data: Data { id, recipient, subject, text, fields } };
    let body = serde_json::to_vec(&body);
    body.map(Bytes::from).map_err(|error| SendError::refused(format!("it cannot be written as JSON: {error}")))
}

/// What webhooks are signed with.
struct Key(Hmac<Sha256>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Key {
    /// Reads `whsec_` and base64.
    fn parse(secret: &Secret) -> Result<Self, String> {
        let wrong = || {
            let (min, max) = (WEBHOOK_KEY_BYTES.start(), WEBHOOK_KEY_BYTES.end());
            format!("must be whsec_ and then {min} to {max} random bytes in base64")
        };
        let bytes = secret.expose().strip_prefix("whsec_").and_then(|text| BASE64_STANDARD.decode(text).ok());
        let bytes = bytes.filter(|bytes| WEBHOOK_KEY_BYTES.contains(&bytes.len())).ok_or_else(wrong)?;
        Hmac::new_from_slice(&bytes).map(Self).map_err(|_| wrong())
    }

    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// What a status says. Only it counts: a body may say anything.
fn judge(answer: &Answer) -> Result<Receipt, SendError> {
    let status = answer.status;
    let why = format!("it answered {status}");
    if status.is_success() {
        return Ok(Receipt { reference: None });
    }
    let retry_after = retry_after(&answer.head);
    Err(match status {
        // Too early, too often, too slowly.
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            SendError::NotSent { why, retry_after }
        }
        // The receiver answers this before it does anything.
        StatusCode::SERVICE_UNAVAILABLE => SendError::NotSent { why, retry_after },
        // Another secret here than there, or not let in at all: an operator's business, as a moved address is. The
        // message is innocent.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            SendError::NotSent { why, retry_after }
        }
        _ if status.is_redirection() => SendError::NotSent { why, retry_after },
        // 410 among them: the receiver is gone for good.
        _ if status.is_client_error() => SendError::Refused { why },
        _ => SendError::Unknown { why },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(bytes: &[u8]) -> Result<Key, String> {
        Key::parse(&format!("whsec_{}", BASE64_STANDARD.encode(bytes)).into())
    }

    /// The example of the reference libraries of Standard Webhooks.
    #[test]
    fn signs_as_the_standard_does() {
        let key = Key::parse(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).expect("a secret");
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_cannot_be_is_refused_and_not_told() {
        let short = format!("whsec_{}", BASE64_STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", BASE64_STANDARD.encode([7; 65]));
        for secret in ["", "whsec_", "whsec_!!!", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &short, &long] {
            let why = Key::parse(&secret.into()).expect_err(secret);
            assert!(secret.len() < 10 || !why.contains(secret), "{why}");
        }
    }

    #[test]
    fn every_status_says_what_came_of_the_message() {
        for status in 200..600 {
            let status = StatusCode::from_u16(status).expect("a status");
            let mut head = HeaderMap::new();
            head.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
            let wait = Some(std::time::Duration::from_secs(7));
            match (status.as_u16(), judge(&Answer { status, head, body: None })) {
                (200..300, Ok(_)) => {}
                (300..400 | 401 | 403 | 407 | 408 | 425 | 429 | 503, Err(SendError::NotSent { retry_after, .. })) => {
                    assert_eq!(retry_after, wait, "{status}");
                }
                (400..500, Err(SendError::Refused { .. })) => {}
                (500..600, Err(SendError::Unknown { .. })) => {}
                (_, other) => panic!("{status}: {other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn a_signature_is_of_this_key_id_time_and_body(
            secret in proptest::collection::vec(any::<u8>(), 24..=64),
            id in "[A-Za-z0-9_-]{1,40}",
            time in 0_i64..4_000_000_000,
            body in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<proptest::sample::Index>(),
        ) {
            let signed = key(&secret).expect("a key").sign(&id, time, &body);
            prop_assert_eq!(&signed, &key(&secret).expect("a key").sign(&id, time, &body));
            prop_assert_ne!(&signed, &key(&secret).expect("a key").sign(&format!("{id}x"), time, &body));
            prop_assert_ne!(&signed, &key(&secret).expect("a key").sign(&id, time + 1, &body));
            prop_assert_ne!(&signed, &key(&secret).expect("a key").sign(&id, time, &[&body[..], b"x"].concat()));
            let mut other = secret.clone();
            other[at.index(secret.len())] ^= 1;
            prop_assert_ne!(&signed, &key(&other).expect("a key").sign(&id, time, &body));
        }
    }
}
