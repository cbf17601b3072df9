//! The gateway: one address for all services of a system.
//!
//! # Why a forwarder of its own
//!
//! A general proxy lacks two facts about the system: only services may call some paths, and every command has an
//! idempotency key, so that the gateway may send it again when the service dies before its answer. Also, the gateway
//! must add very little to the cost of a request.
//!
//! # The path of a request
//!
//! [`serve`] accepts connections. For each request `forward` finds the route (`routes`), checks the rate of the client
//! (`rate`), takes slots (`slots`, `shedding`), buffers the body (`body`), rewrites the head (`head`) and exchanges it with
//! an upstream (`upstream`). The gateway's own pages are in `pages`.

mod body;
mod config;
mod forward;
mod head;
pub mod limits;
mod pages;
mod patient;
mod rate;
mod routes;
mod shedding;
mod slots;
mod upstream;

pub use config::{GATEWAY, GatewayConfig, PORT};
pub use rate::{Network, RateConfig};

use crate::{forward::Forwarder, head::Peer, limits::FAREWELL};
use http::StatusCode;
use jumun::SystemModel;
use jumun_http::{Shed, Terms, limits::DRAIN_TIME_LIMIT, serve_until};
use jumun_telemetry::{Summary, Traffic, Window, limits::SUMMARY_SECONDS};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The parts of the gateway that its process provides.
pub struct Gateway {
    /// The socket that accepts connections.
    pub listener: TcpListener,
    /// Called once the gateway serves requests.
    pub announce: Box<dyn FnOnce() + Send>,
    /// Stops the gateway: it closes the listener and finishes the requests in progress.
    pub stop: CancellationToken,
    /// The number of restarts by a supervisor.
    pub restarts: u32,
    /// The status of answers that mean *temporarily unavailable*.
    pub unavailable_status: StatusCode,
    /// The OpenAPI document of the gateway, JSON.
    pub openapi: String,
    /// What `/actuator/info` shows, JSON. No secrets.
    pub info: String,
    /// Which requests to each service are shed under overload. A service that is missing has the default.
    pub shed: BTreeMap<String, Shed>,
}

/// Serves until the stop, then drains.
pub async fn serve(model: &SystemModel, config: &GatewayConfig, gateway: Gateway) {
    let Gateway { listener, announce, stop, restarts, unavailable_status, openapi, info, shed } = gateway;
    let forwarder = Arc::new(Forwarder::new(model, config, restarts, unavailable_status, (info, openapi), &shed));
    let mut background = tokio::task::JoinSet::new();
    for upstream in forwarder.routes.services().iter().flat_map(|service| &service.upstreams.all) {
        background.spawn(upstream.clone().probe());
    }
    background.spawn(summarize(forwarder.clone()));
    announce();
    let handler = |peer: SocketAddr| {
        let (forwarder, peer) = (forwarder.clone(), Arc::new(Peer::new(peer.ip())));
        move |request| forwarder.clone().answer(peer.clone(), request)
    };
    let unreadable = forwarder.metrics.route("*", "unreadable");
    let terms = Terms::of_gateway(config.head_time_limit, FAREWELL, unreadable);
    serve_until(listener, handler, terms, &stop, || forwarder.begin_drain()).await;
    forwarder.commands.close();
    if tokio::time::timeout(DRAIN_TIME_LIMIT, forwarder.commands.wait()).await.is_err() {
        tracing::warn!("some commands did not finish in time; abandoning them");
    }
}

/// Logs a line per window while there is traffic.
async fn summarize(forwarder: Arc<Forwarder>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    let mut summary = Summary::new(forwarder.metrics.clone());
    loop {
        every.tick().await;
        if let Some(rates) = &forwarder.rates {
            rates.forget_idle();
        }
        if let Some(Window { traffic, turned_away }) = summary.second_ended(forwarder.shedding.shed_since_last()) {
            let Traffic { requests, failures, slowest } = traffic;
            tracing::info!(requests, failures, ?slowest, turned_away, "traffic of the last {SUMMARY_SECONDS} s");
        }
    }
}
