//! The gateway's own pages: health, information, metrics, documentation. No resource may have their paths.

use crate::{body::Body, routes::Routes, shedding::LoadShedding, slots::Slots};
use http::{Method, Response, request::Parts};
use jumun_http::{
    ALL_METHODS, Code, DOCS, DOCS_FILES, Page, Precondition, Problem, READ_ONLY, Reply, respond, wrong_method,
};
use jumun_telemetry as telemetry;
use prometheus_client::registry::Registry;
use std::borrow::Cow;

/// Where most pages are.
pub(crate) const BASE: &str = "/actuator";

/// Whether a path is that of a page, or below it.
pub(crate) fn is_one(path: &str) -> bool {
    let is_below = |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    [BASE, DOCS, Page::OpenApi.path()].into_iter().any(is_below)
}

/// What the pages show besides the state of the forwarder.
pub(crate) struct Pages {
    /// What `/actuator/info` shows, JSON.
    pub(crate) info: String,
    /// The OpenAPI document, JSON.
    pub(crate) openapi: String,
    pub(crate) registry: Registry,
}

/// The state of the forwarder, as a page shows it.
pub(crate) struct State<'a> {
    pub(crate) is_ready: bool,
    pub(crate) routes: &'a Routes,
    pub(crate) slots: &'a Slots,
    pub(crate) shedding: &'a LoadShedding,
}

impl Pages {
    /// Answers a request for a page.
    ///
    /// The health page shows services that are down, but the gateway itself stays up: it still forwards to the others.
    pub(crate) fn answer(&self, head: &Parts, path: &str, state: &State<'_>) -> Result<Response<Body>, Problem> {
        let method = &head.method;
        if path == "*" || *method == Method::CONNECT {
            return not_by_this_method(method, path, ALL_METHODS); // the server as a whole
        }
        let file = DOCS_FILES.iter().find(|file| file.path == path);
        let offer = file.map(|file| file.offer).or_else(|| Some(Page::at(path)?.offer()));
        let offer = offer.ok_or_else(|| Problem::new(Code::NotFound, format!("Nothing is served at {path}.")))?;
        if method != Method::GET && method != Method::HEAD {
            return not_by_this_method(method, path, READ_ONLY);
        }
        let media_type = offer.choose(&head.headers)?;
        let reply = match (file, Page::at(path)) {
            (Some(file), _) => Reply::Found(file.content.to_owned()),
            (None, Some(Page::OpenApi)) => Reply::Found(self.openapi.clone()),
            (None, Some(Page::Health)) => jumun_http::status(state.is_ready, Some(state.routes.components())),
            (None, Some(Page::Readiness)) => jumun_http::status(state.is_ready, None),
            (None, Some(Page::Info)) => Reply::Found(self.info.clone()),
            (None, Some(Page::Metrics)) => {
                state.shedding.set_in_progress(state.slots.taken());
                Reply::Found(telemetry::page(&self.registry))
            }
            (None, Some(Page::Liveness) | None) => jumun_http::status(true, None),
        };
        Ok(respond(Precondition::of(method, &head.headers).answer(reply)?, media_type))
    }
}

/// What the gateway answers to a method that it neither handles nor forwards.
pub(crate) fn not_by_this_method(
    method: &Method,
    path: &str,
    allow: impl Into<Cow<'static, str>>,
) -> Result<Response<Body>, Problem> {
    let allow = allow.into();
    if *method == Method::OPTIONS {
        return Ok(respond(Reply::Allowed(allow.into_owned()), ""));
    }
    Err(wrong_method(method, path, allow))
}
