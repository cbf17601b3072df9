//! What surrounds each exchange, whether it comes alone or with others: the check of its head before, and what is counted,
//! logged and recorded of it after.

use super::shared::Shared;
use axum::{
    body::{Body, HttpBody},
    http::{Method, StatusCode, request::Parts},
};
use jumun_http::{Code, Offer, Problem, check_head, limits::HEAD_MAX_LINES, status_of};
use jumun_telemetry::{Kind, Origin, Route, Span};
use tokio::time::Instant;

/// A request that is being answered: what is counted, logged and recorded of it at its end.
pub(super) struct Exchange<'a> {
    pub(super) shared: &'a Shared,
    pub(super) route: &'a Route,
    pub(super) began: Instant,
    pub(super) origin: Origin,
    pub(super) method: Method,
    pub(super) path: String,
}

impl Exchange<'_> {
    /// The status of a refusal, which is logged.
    pub(super) fn refused(&self, problem: &Problem) -> StatusCode {
        // The detail of a problem with a body may quote the body, which may contain a secret: a card number in another field.
        let is_about_body = matches!(problem.code, Code::Invalid | Code::Malformed);
        let why = if is_about_body { problem.field.as_deref().unwrap_or_default() } else { &problem.detail };
        let Self { method, path, origin: Origin { trace, request, .. }, .. } = self;
        tracing::debug!(%method, path, %request, trace = %trace.id(), code = problem.code.as_str(), why, "refused");
        status_of(problem, self.shared.unavailable_status)
    }

    pub(super) fn ended(self, status: u16) {
        let Self { shared, route, began, origin: Origin { trace, parent, request, .. }, method, path } = self;
        let took = began.elapsed();
        route.answered(status, took);
        tracing::debug!(%method, path, %request, trace = %trace.id(), status, ?took, "answered");
        shared.engine.core().tracer().record(&trace, || Span {
            context: trace,
            parent,
            kind: Kind::Server,
            name: route.name().into(),
            took,
            attributes: vec![
                ("http.request.method", method.to_string().into()),
                ("http.route", route.route().to_owned().into()),
                ("http.response.status_code", status.to_string().into()),
                ("jumun.request", request.to_string().into()),
            ],
            is_failed: status >= 500,
        });
    }
}

/// Checks a head before anything is done. The media type of the answer.
pub(super) fn check(head: &Parts, body: &Body, offer: Offer) -> Result<&'static str, Problem> {
    check_head(head, !body.is_end_stream(), HEAD_MAX_LINES)?;
    offer.choose(&head.headers)
}
