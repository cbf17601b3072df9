//! Problems: every error that a client or a neighbour sees, as RFC 9457 has it.

use jumun::Rejection;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, time::Duration};

/// What went wrong, in a word that stays the same over releases. It is the end of the problem's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The body is not JSON, or a header makes no sense.
    Malformed,
    /// The money was refused.
    Declined,
    /// The path takes only asks of neighbours.
    AskOnly,
    /// There is no such thing.
    NotFound,
    /// The method is not for this path.
    MethodNotAllowed,
    /// The client was too slow.
    Timeout,
    /// Not in this state.
    Conflict,
    /// The ask was undone before, so it is not done again.
    Voided,
    /// The body is too large.
    TooLarge,
    /// The body is not JSON by its own account.
    UnsupportedMediaType,
    /// A field is missing or impossible.
    Invalid,
    /// The idempotency key belongs to another request.
    KeyReused,
    /// The client asks more often than it may; nothing was done.
    TooManyRequests,
    /// A defect of ours.
    Internal,
    /// A fault that an operator asked for.
    Fault,
    /// What answers for a path talks nonsense.
    BadGateway,
    /// A neighbour that is needed does not answer; nothing stands.
    NeighbourUnavailable,
    /// There is more to do than can be done in time; nothing was done.
    Overloaded,
    /// Nothing was done; try again.
    NotDone,
    /// The ask came too late to be answered; nothing was done.
    AskExpired,
    /// It may have been done; ask again with the same key.
    OutcomeUnknown,
    /// What answers for a path does not answer in time.
    GatewayTimeout,
}

impl Code {
    /// All of them.
    pub const ALL: [Code; 22] = [
        Self::Malformed,
        Self::Declined,
        Self::AskOnly,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::Conflict,
        Self::Voided,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::KeyReused,
        Self::TooManyRequests,
        Self::Internal,
        Self::Fault,
        Self::BadGateway,
        Self::NeighbourUnavailable,
        Self::Overloaded,
        Self::NotDone,
        Self::AskExpired,
        Self::OutcomeUnknown,
        Self::GatewayTimeout,
    ];

    /// The word, the HTTP status and the title.
    const fn facts(self) -> (&'static str, u16, &'static str) {
        match self {
            Self::Malformed => ("malformed", 400, "The request cannot be read"),
            Self::Declined => ("declined", 402, "The payment was declined"),
            Self::AskOnly => ("ask-only", 403, "Only services of this system may ask here"),
            Self::NotFound => ("not-found", 404, "There is no such thing"),
            Self::MethodNotAllowed => ("method-not-allowed", 405, "The method is not for this path"),
            Self::Timeout => ("timeout", 408, "The request came too slowly"),
            Self::Conflict => ("conflict", 409, "Not in this state"),
            Self::Voided => ("voided", 409, "This was undone before"),
            Self::TooLarge => ("too-large", 413, "The request is too large"),
            Self::UnsupportedMediaType => ("unsupported-media-type", 415, "The media type is not JSON"),
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

    /// The word.
    pub const fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// The HTTP status, where the operator has not set another one.
    pub const fn status(self) -> u16 {
        self.facts().1
    }

    /// A short title.
    pub const fn title(self) -> &'static str {
        self.facts().2
    }

    /// The code of a problem's `type`.
    pub fn of_type(uri: &str) -> Option<Self> {
        let word = uri.strip_prefix(TYPE_PREFIX)?;
        Self::ALL.into_iter().find(|code| code.as_str() == word)
    }

    /// Whether the same request will always be answered the same, so that the answer is kept under its key.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Declined | Self::NotFound | Self::Conflict | Self::Voided | Self::Invalid)
    }

    /// Whether the one who says so has surely done nothing and surely will not.
    pub const fn is_surely_not_done(self) -> bool {
        matches!(
            self,
            Self::NotDone | Self::NeighbourUnavailable | Self::AskExpired | Self::Overloaded | Self::TooManyRequests
        )
    }

    /// Whether it means that the service cannot answer now: the status that an operator may choose.
    pub const fn is_unavailable(self) -> bool {
        self.status() == 503
    }
}

/// What a problem's `type` begins with.
pub const TYPE_PREFIX: &str = "urn:jumun:problem:";

/// Something that went wrong, for the one who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What.
    pub code: Code,
    /// In which way, and what to do.
    pub detail: Cow<'static, str>,
    /// The field that is to blame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// When to come again, where that is known better than by the code.
    #[serde(skip)]
    pub wait: Option<Duration>,
}

impl Problem {
    /// A problem in words.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), field: None, wait: None }
    }

    /// When to come again, in whole seconds from 1, where that makes sense.
    pub fn retry_after_s(&self) -> Option<u64> {
        let wait = self.wait.unwrap_or_default();
        let is_for_later = self.code.is_unavailable() || self.code == Code::TooManyRequests;
        is_for_later.then(|| (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
    }

    /// As `application/problem+json`.
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
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// What a neighbour's problem says about our question: its no, if it is a final one.
    pub fn into_rejection(self) -> Option<Rejection> {
        match self.code {
            Code::Declined => Some(Rejection::Declined(self.detail)),
            Code::NotFound => Some(Rejection::NotFound),
            Code::Conflict | Code::Voided => Some(Rejection::Conflict(self.detail)),
            Code::Invalid | Code::KeyReused => Some(Rejection::Invalid { field: self.field, why: self.detail }),
            _ => None,
        }
    }

    /// Reads a neighbour's problem. None if it is none of ours.
    pub fn parse(body: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Theirs {
            r#type: String,
            #[serde(default)]
            detail: String,
            field: Option<String>,
        }
        let theirs: Theirs = serde_json::from_str(body).ok()?;
        let code = Code::of_type(&theirs.r#type)?;
        Some(Self { code, detail: theirs.detail.into(), field: theirs.field, wait: None })
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
                    "{service} does not answer. Nothing stands; try again, with the same Idempotency-Key if there was one."
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
    fn when_to_come_again_is_told_in_whole_seconds() {
        let after = |code, ms| Problem { wait: ms, ..Problem::new(code, "why") }.retry_after_s();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(after(Code::NotDone, None), Some(1));
        for (wait, told) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (4_200, 5)] {
            assert_eq!(after(Code::NeighbourUnavailable, ms(wait)), Some(told), "{wait}");
        }
        assert_eq!(after(Code::TooManyRequests, ms(4_200)), Some(5));
        assert_eq!(after(Code::Invalid, ms(4_200)), None);
    }

    #[test]
    fn what_others_call_a_problem_is_none_of_ours() {
        for body in
            ["", "{}", "<html>", r#"{"type":"about:blank"}"#, r#"{"type":"urn:jumun:problem:nonsense"}"#, "[]", "null"]
        {
            assert_eq!(Problem::parse(body), None, "{body}");
        }
    }

    #[test]
    fn nothing_is_both_final_and_worth_another_try() {
        assert!(Code::ALL.iter().all(|code| !(code.is_final() && code.is_surely_not_done())));
    }
}
