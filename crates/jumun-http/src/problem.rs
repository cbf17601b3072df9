//! Problems: every error that a client or another service receives, in the format of RFC 9457.

use jumun::Rejection;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, time::Duration};

/// The kind of a problem, stable across releases. It is the end of the problem's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The body is not JSON, or a header is invalid.
    Malformed,
    /// The payment was declined.
    Declined,
    /// The path accepts only asks of other services.
    AskOnly,
    /// The resource or path does not exist.
    NotFound,
    /// The path does not support the method.
    MethodNotAllowed,
    /// The answer has no media type that the client accepts.
    NotAcceptable,
    /// The client was too slow.
    Timeout,
    /// The state of the resource does not allow it.
    Conflict,
    /// The ask was undone before, so the service does not do it again.
    Voided,
    /// The events that the client has read are not those of this service.
    PositionUnknown,
    /// A precondition of the request does not hold.
    PreconditionFailed,
    /// The body is too large.
    TooLarge,
    /// The target of the request is too long.
    UriTooLong,
    /// The `Content-Type` is not JSON.
    UnsupportedMediaType,
    /// The body has a `Content-Encoding`.
    UnsupportedCoding,
    /// The `Expect` of the request is not met.
    ExpectationFailed,
    /// The request is for another server.
    Misdirected,
    /// A field is missing or invalid.
    Invalid,
    /// The idempotency key belongs to another request.
    KeyReused,
    /// The head of the request is too large.
    HeadTooLarge,
    /// The client exceeds its rate limit; nothing was done.
    TooManyRequests,
    /// A defect of this program.
    Internal,
    /// A fault that an operator injected.
    Fault,
    /// The method or the transfer coding is not known.
    NotImplemented,
    /// The version of HTTP is not supported.
    VersionUnsupported,
    /// An upstream sent an invalid response.
    BadGateway,
    /// A required service does not answer; nothing remains done.
    NeighbourUnavailable,
    /// The load exceeds the capacity; nothing was done.
    Overloaded,
    /// Nothing was done; the caller can retry.
    NotDone,
    /// The ask arrived too late to be answered; nothing was done.
    AskExpired,
    /// The outcome is unknown; the client can retry with the same key.
    OutcomeUnknown,
    /// An upstream did not answer in time.
    GatewayTimeout,
}

impl Code {
    /// All codes.
    pub const ALL: [Code; 32] = [
        Self::Malformed,
        Self::Declined,
        Self::AskOnly,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::Timeout,
        Self::Conflict,
        Self::Voided,
        Self::PositionUnknown,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::UriTooLong,
        Self::UnsupportedMediaType,
        Self::UnsupportedCoding,
        Self::ExpectationFailed,
        Self::Misdirected,
        Self::Invalid,
        Self::KeyReused,
        Self::HeadTooLarge,
        Self::TooManyRequests,
        Self::Internal,
        Self::Fault,
        Self::NotImplemented,
        Self::VersionUnsupported,
        Self::BadGateway,
        Self::NeighbourUnavailable,
        Self::Overloaded,
        Self::NotDone,
        Self::AskExpired,
        Self::OutcomeUnknown,
        Self::GatewayTimeout,
    ];

    /// The text of the code, the HTTP status and the title.
    const fn describe(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Malformed => ("malformed", 400, "The request cannot be read"),
            Self::Declined => ("declined", 402, "The payment was declined"),
            Self::AskOnly => ("ask-only", 403, "Only services of this system may ask here"),
            Self::NotFound => ("not-found", 404, "There is no such thing"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "The method is not for this path"),
            Self::NotAcceptable => ("not-acceptable", 406, "No acceptable media type"),
            Self::Timeout => ("timeout", 408, "The request came too slowly"),
            Self::Conflict => ("conflict", 409, "Not in this state"),
            Self::Voided => ("voided", 409, "This was undone before"),
            Self::PositionUnknown => ("position-unknown", 409, "These are the events of another database"),
            Self::TooLarge => ("too-large", 413, "The request is too large"),
            Self::PreconditionFailed => ("precondition-failed", 412, "A precondition does not hold"),
            Self::UriTooLong => ("uri-too-long", 414, "The path is too long"),
            Self::UnsupportedMediaType => ("unsupported-media-type", 415, "The media type is not JSON"),
            Self::UnsupportedCoding => ("unsupported-coding", 415, "The body is encoded"),
            Self::ExpectationFailed => ("expectation-failed", 417, "The expectation is not met"),
            Self::Misdirected => ("misdirected", 421, "The request is for another server"),
            Self::HeadTooLarge => ("head-too-large", 431, "The head of the request is too large"),
            Self::NotImplemented => ("not-implemented", 501, "The method or coding is not known"),
            Self::VersionUnsupported => ("version-unsupported", 505, "The version of HTTP is not supported"),
            Self::Invalid => ("invalid", 422, "A value is missing or impossible"),
            Self::KeyReused => ("key-reused", 422, "The idempotency key belongs to another request"),
            Self::TooManyRequests => ("too-many-requests", 429, "More requests than a client may send"),
            Self::Internal => ("internal", 500, "A defect of this service"),
            Self::Fault => ("fault", 500, "A fault that was asked for"),
            Self::BadGateway => ("bad-gateway", 502, "A service does not answer sensibly"),
            Self::NeighbourUnavailable => ("neighbour-unavailable", 503, "A service that is needed does not answer"),
            Self::Overloaded => ("overloaded", 503, "There is too much to do"),
            Self::NotDone => ("not-done", 503, "Nothing was done"),
            Self::AskExpired => ("ask-expired", 503, "The ask came too late"),
            Self::OutcomeUnknown => ("outcome-unknown", 503, "It may have been done"),
            Self::GatewayTimeout => ("gateway-timeout", 504, "A service does not answer in time"),
        }
    }

    /// The text of the code.
    pub const fn as_str(self) -> &'static str {
        self.describe().0
    }

    /// The HTTP status, unless the operator has configured another one.
    pub const fn status(self) -> u16 {
        self.describe().1
    }

    /// A short title.
    pub const fn title(self) -> &'static str {
        self.describe().2
    }

    /// Parses the code from a problem's `type`.
    pub fn of_type(uri: &str) -> Option<Self> {
        let text = uri.strip_prefix(TYPE_PREFIX)?;
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// Whether a retry would always get the same answer, so that the answer is stored under its key.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Declined | Self::NotFound | Self::Conflict | Self::Voided | Self::Invalid)
    }

    /// Whether the sender of the problem has certainly done nothing and certainly never will.
    pub const fn is_surely_not_done(self) -> bool {
        matches!(
            self,
            Self::NotDone | Self::NeighbourUnavailable | Self::AskExpired | Self::Overloaded | Self::TooManyRequests
        )
    }

    /// Whether the service is temporarily unavailable. For these codes the operator may configure the status.
    pub const fn is_unavailable(self) -> bool {
        self.status() == 503
    }
}

/// The prefix of a problem's `type`.
pub const TYPE_PREFIX: &str = "urn:jumun:problem:";

/// An error for the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its kind.
    pub code: Code,
    /// What happened, and what the caller can do.
    pub detail: Cow<'static, str>,
    /// The invalid field, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// When to retry, if that is known more precisely than by the code.
    #[serde(skip)]
    pub wait: Option<Duration>,
    /// The methods of the path, if the method of the request is not one of them.
    #[serde(skip)]
    pub allow: Option<Cow<'static, str>>,
    /// Whether the connection ends with the answer: what follows on it may not be a request.
    #[serde(skip)]
    pub is_last: bool,
}

impl Problem {
    /// A problem with this detail.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), field: None, wait: None, allow: None, is_last: false }
    }

    /// The value of `Retry-After`: whole seconds, at least 1. None if a retry does not help.
    pub fn retry_after_s(&self) -> Option<u64> {
        let wait = self.wait.unwrap_or_default();
        let is_for_later = self.code.is_unavailable() || self.code == Code::TooManyRequests;
        is_for_later.then(|| (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
    }

    /// The body, as `application/problem+json`. What a client sent and the detail quotes does not act on the terminal that shows
    /// it.
    pub fn body(&self, status: u16, instance: &str, request_id: &str) -> String {
        let body = Body {
            r#type: format!("{TYPE_PREFIX}{}", self.code.as_str()),
            title: self.code.title(),
            status,
            detail: &self.detail,
            field: self.field.as_deref(),
            instance,
            request_id,
        };
        jumun_text::escape(&serde_json::to_string(&body).unwrap_or_default()).into_owned()
    }

    /// The rejection in another service's problem, if it is final.
    pub fn into_rejection(self) -> Option<Rejection> {
        match self.code {
            Code::Declined => Some(Rejection::Declined(self.detail)),
            Code::NotFound => Some(Rejection::NotFound),
            Code::Conflict | Code::Voided => Some(Rejection::Conflict(self.detail)),
            Code::Invalid | Code::KeyReused => Some(Rejection::Invalid { field: self.field, why: self.detail }),
            _ => None,
        }
    }

    /// Parses another service's problem. None if it is not a problem of Jumun.
    pub fn parse(body: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Received {
            r#type: String,
            #[serde(default)]
            detail: String,
            field: Option<String>,
        }
        let received: Received = serde_json::from_str(body).ok()?;
        let code = Code::of_type(&received.r#type)?;
        Some(Self {
            code,
            detail: received.detail.into(),
            field: received.field,
            wait: None,
            allow: None,
            is_last: false,
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    instance: &'a str,
    request_id: &'a str,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NotFound => Self::new(Code::NotFound, "There is nothing of this id."),
            Rejection::Conflict(why) => Self::new(Code::Conflict, why),
            Rejection::Declined(why) => Self::new(Code::Declined, why),
            Rejection::Invalid { field, why } => Self { field, ..Self::new(Code::Invalid, why) },
            Rejection::Unavailable(service) => Self::new(
                Code::NeighbourUnavailable,
                format!(
                    "{service} does not answer. No change was kept; try again, with the same Idempotency-Key if there was one."
                ),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire() {
        for code in Code::ALL {
            let problem = Problem { field: Some("price".into()), ..Problem::new(code, "why \"so\"") };
            assert_eq!(Problem::parse(&problem.body(code.status(), "/orders", "r1")), Some(problem));
        }
    }

    #[test]
    fn what_a_detail_quotes_does_not_act_on_a_terminal() {
        let problem = Problem::new(Code::Invalid, "there is no field \u{202e}x\u{9b}");
        let body = problem.body(422, "/orders", "r1");
        assert!(body.contains(r"\u202ex\u009b"), "{body}");
        assert_eq!(Problem::parse(&body), Some(problem));
    }

    #[test]
    fn retry_after_is_in_whole_seconds() {
        let after = |code, ms| Problem { wait: ms, ..Problem::new(code, "why") }.retry_after_s();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(after(Code::NotDone, None), Some(1));
        for (wait, expected) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (4_200, 5)] {
            assert_eq!(after(Code::NeighbourUnavailable, ms(wait)), Some(expected), "{wait}");
        }
        assert_eq!(after(Code::TooManyRequests, ms(4_200)), Some(5));
        assert_eq!(after(Code::Invalid, ms(4_200)), None);
    }

    #[test]
    fn problems_of_others_are_ignored() {
        for body in
            ["", "{}", "<html>", r#"{"type":"about:blank"}"#, r#"{"type":"urn:jumun:problem:nonsense"}"#, "[]", "null"]
        {
            assert_eq!(Problem::parse(body), None, "{body}");
        }
    }

    #[test]
    fn no_code_is_both_final_and_retryable() {
        assert!(Code::ALL.iter().all(|code| !(code.is_final() && code.is_surely_not_done())));
    }
}
