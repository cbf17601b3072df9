//! Replies of handlers, and their conversion to HTTP responses.

use crate::{
    docs::POLICY,
    headers::SEEN,
    negotiation::{HTML, JSON},
    problem::{Code, Problem},
};
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// The reply of a handler.
#[derive(Debug)]
pub enum Reply {
    /// A resource, a list of them, or a page.
    Found(String),
    /// The result of a command: status, `Location` if any, the resource, the event to wait for if any.
    Done(StatusCode, Option<String>, String, Option<String>),
    /// A page about a state, with the status of that state.
    State(StatusCode, String),
    /// No content; the event to wait for, if any.
    Empty(Option<String>),
    /// No content: the client wants the resource only if it is not there.
    NotModified,
    /// No content; the methods of the path.
    Allowed(String),
}

/// The response for a reply, in the media type that [`Offer::choose`](crate::Offer::choose) has chosen.
pub fn respond<B: From<String>>(reply: Reply, media_type: &'static str) -> Response<B> {
    let (status, location, body, seen, allow) = match reply {
        Reply::Found(body) => (StatusCode::OK, None, body, None, None),
        Reply::Done(status, location, body, seen) => (status, location, body, seen, None),
        Reply::State(status, body) => (status, None, body, None, None),
        Reply::Empty(seen) => (StatusCode::NO_CONTENT, None, String::new(), seen, None),
        Reply::NotModified => (StatusCode::NOT_MODIFIED, None, String::new(), None, None),
        Reply::Allowed(allow) => (StatusCode::NO_CONTENT, None, String::new(), None, Some(allow)),
    };
    let mut response = Response::new(B::from(body));
    *response.status_mut() = status;
    let head = response.headers_mut();
    if !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        head.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    if media_type == HTML {
        head.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    }
    if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
        head.insert(header::LOCATION, location);
    }
    if let Some(seen) = seen.and_then(|seen| HeaderValue::try_from(seen).ok()) {
        head.insert(SEEN, seen);
    }
    if let Some(allow) = allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
        head.insert(header::ALLOW, allow);
    }
    response
}

/// The status of a problem. Codes that mean *temporarily unavailable* get the status that the operator has configured.
pub fn status_of(problem: &Problem, unavailable_status: StatusCode) -> StatusCode {
    if problem.code.is_unavailable() {
        return unavailable_status;
    }
    StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The response for a problem.
pub fn refuse<B: From<String>>(problem: &Problem, status: StatusCode, path: &str, request_id: &str) -> Response<B> {
    let mut response = Response::new(B::from(problem.body(status.as_u16(), path, request_id)));
    *response.status_mut() = status;
    let head = response.headers_mut();
    head.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Some(seconds) = problem.retry_after_s() {
        head.insert(header::RETRY_AFTER, seconds.into());
    }
    let acceptable = match problem.code {
        Code::UnsupportedMediaType => Some((header::ACCEPT, JSON)),
        Code::UnsupportedCoding => Some((header::ACCEPT_ENCODING, "identity")),
        _ => None,
    };
    if let Some((name, value)) = acceptable {
        head.insert(name, HeaderValue::from_static(value)); // RFC 9110, section 15.5.16
    }
    if problem.is_last {
        head.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(allow) = problem.allow.as_deref().and_then(|allow| HeaderValue::try_from(allow).ok()) {
        head.insert(header::ALLOW, allow);
    }
    response
}

/// The problem for a client that calls a path for other services.
pub fn ask_only() -> Problem {
    Problem::new(Code::AskOnly, "This is asked by other services of the system, as part of a command to them.")
}

/// The problem for a `Jumun-Seen` that names no event of the system.
pub fn no_event() -> Problem {
    Problem::new(Code::Malformed, "Jumun-Seen names an event of a service of this system: order/0/7.")
}

/// The problem for a method that a path does not support; `allow` has the methods that it supports (RFC 9110, section
/// 15.5.6).
pub fn wrong_method(method: &Method, path: &str, allow: impl Into<Cow<'static, str>>) -> Problem {
    let why = format!("{method} is not for {path}.");
    Problem { allow: Some(allow.into()), ..Problem::new(Code::MethodNotAllowed, why) }
}

/// The reply of a health page.
pub fn status(is_up: bool, components: Option<Value>) -> Reply {
    let mut body = json!({ "status": word(is_up) });
    if let Some(components) = components {
        body["components"] = components;
    }
    let status = if is_up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Reply::State(status, body.to_string())
}

/// The content of `/actuator/info`, the same for every process: what it is, and the values that an operator has set for
/// people to see.
pub fn info(system: &str, service: &str, values: Map<String, Value>) -> Value {
    json!({ "service": service, "system": system, "version": env!("CARGO_PKG_VERSION"), "values": values })
}

/// The word for a status on health pages.
pub const fn word(is_up: bool) -> &'static str {
    if is_up { "UP" } else { "DOWN" }
}
