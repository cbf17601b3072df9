//! The gateway's own pages: health, information, metrics.

use crate::{body::Body, config::GATEWAY, routes::Routes, shedding::LoadShedding, slots::Slots};
use http::{Method, Response, StatusCode};
use jumun_http::{Code, Problem, Reply};
use jumun_telemetry as telemetry;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

/// What the pages show besides the state of the forwarder.
pub(crate) struct Pages {
    info: Value,
    registry: Registry,
}

/// The state of the forwarder, as a page shows it.
pub(crate) struct State<'a> {
    pub(crate) is_ready: bool,
    pub(crate) routes: &'a Routes,
    pub(crate) slots: &'a Slots,
    pub(crate) shedding: &'a LoadShedding,
}

impl Pages {
    pub(crate) fn new(system: &str, registry: Registry) -> Self {
        let info = json!({ "service": GATEWAY, "system": system, "version": env!("CARGO_PKG_VERSION") });
        Self { info, registry }
    }

    /// Answers a request for a page.
    ///
    /// The health page shows services that are down, but the gateway itself stays up: it still forwards to the others.
    pub(crate) fn answer(&self, method: &Method, path: &str, state: &State<'_>) -> Result<Response<Body>, Problem> {
        let reply = match path {
            "/actuator/health" => jumun_http::status(state.is_ready, Some(state.routes.components())),
            "/actuator/health/liveness" => jumun_http::status(true, None),
            "/actuator/health/readiness" => jumun_http::status(state.is_ready, None),
            "/actuator/info" => Reply::Json(StatusCode::OK, self.info.to_string()),
            "/actuator/prometheus" => {
                state.shedding.set_in_progress(state.slots.taken());
                Reply::Metrics(telemetry::page(&self.registry))
            }
            _ => return Err(Problem::new(Code::NotFound, format!("Nothing is served at {path}."))),
        };
        if method != Method::GET && method != Method::HEAD {
            return Err(wrong_method(method, path));
        }
        Ok(jumun_http::respond(reply, true))
    }
}

/// The problem for a method that a path does not support.
pub(crate) fn wrong_method(method: &Method, path: &str) -> Problem {
    Problem::new(Code::MethodNotAllowed, format!("{method} is not for {path}."))
}
