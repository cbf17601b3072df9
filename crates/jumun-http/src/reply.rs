//! Replies of handlers, and their conversion to HTTP responses.

use crate::{
    headers::SEEN,
    problem::{Code, Problem},
};
use http::{HeaderValue, Response, StatusCode, header};
use jumun_telemetry::CONTENT_TYPE;
use serde_json::{Value, json};

/// The reply of a handler.
#[derive(Debug)]
pub enum Reply {
    /// A resource or a list of them.
    Hal(String),
    /// The result of a command: status, `Location` if any, the resource, the event to wait for if any.
    Done(StatusCode, Option<String>, String, Option<String>),
    /// Plain JSON.
    Json(StatusCode, String),
    /// Metrics.
    Metrics(String),
    /// No content; the event to wait for, if any.
    Empty(Option<String>),
}

/// The response for a reply. Resources are HAL, unless the client accepts plain JSON only.
pub fn respond<B: From<String>>(reply: Reply, accepts_json: bool) -> Response<B> {
    let hal = if accepts_json { "application/json" } else { "application/hal+json" };
    let (status, kind, location, body, seen) = match reply {
        Reply::Hal(body) => (StatusCode::OK, Some(hal), None, body, None),
        Reply::Done(status, location, body, seen) => (status, Some(hal), location, body, seen),
        Reply::Json(status, body) => (status, Some("application/json"), None, body, None),
        Reply::Metrics(page) => (StatusCode::OK, Some(CONTENT_TYPE), None, page, None),
        Reply::Empty(seen) => (StatusCode::NO_CONTENT, None, None, String::new(), seen),
    };
    let mut response = Response::new(B::from(body));
    *response.status_mut() = status;
    let head = response.headers_mut();
    if let Some(kind) = kind {
        head.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if let Some(location) = location.and_then(|location| HeaderValue::try_from(location).ok()) {
        head.insert(header::LOCATION, location);
    }
    if let Some(seen) = seen.and_then(|seen| HeaderValue::try_from(seen).ok()) {
        head.insert(SEEN, seen);
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
    if problem.code == Code::TooLarge || problem.code == Code::Timeout {
        head.insert(header::CONNECTION, HeaderValue::from_static("close")); // the rest of the body is not read
    }
    response
}

/// The problem for a client that calls a path for other services.
pub fn ask_only() -> Problem {
    Problem::new(Code::AskOnly, "This is asked by other services of the system, as part of a command to them.")
}

/// The reply of a health page.
pub fn status(is_up: bool, components: Option<Value>) -> Reply {
    let mut body = json!({ "status": word(is_up) });
    if let Some(components) = components {
        body["components"] = components;
    }
    let status = if is_up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Reply::Json(status, body.to_string())
}

/// The word for a status on health pages.
pub const fn word(is_up: bool) -> &'static str {
    if is_up { "UP" } else { "DOWN" }
}
