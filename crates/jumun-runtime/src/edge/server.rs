//! The server of one service: listens, serves connections, drains.

use super::{
    http, operator,
    readiness::Readiness,
    shared::{Shared, SharedParts},
};
use crate::{
    asks::{delayed, recovery},
    core::{Core, SharedDatabase, require_one_process},
    engine::Engine,
    events::{
        consumer::{Consumer, ConsumerError},
        rebuild::Rebuilds,
        relay::{Relay, RelayError},
        retention::Retention,
    },
    limits::{FAILURE_LOOK, FOLLOWERS_MAX},
    metrics::AskOutcome,
    time_outs,
};
use axum::http::StatusCode;
use hyper::service::Service as HttpService;
use hyper_util::service::TowerToHyperService;
use jumun_bus::Bus;
use jumun_control::Control;
use jumun_http::{
    Terms,
    limits::{DRAIN_TIME_LIMIT, HEAD_TIME_LIMIT},
    serve_until,
};
use jumun_telemetry::{
    Summary, Traffic, Window,
    limits::{SPAN_EXPORT_TIME_LIMIT, SUMMARY_SECONDS},
};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

/// How a service is served.
pub struct Serving {
    /// The services of the system: there are no events of others.
    pub services: BTreeSet<&'static str>,
    /// The status of answers that mean *not now*.
    pub unavailable_status: StatusCode,
    /// The OpenAPI document of the service, JSON.
    pub openapi: String,
    /// The bus that it publishes on and consumes from.
    pub bus: Arc<dyn Bus>,
    /// How long it keeps its log. `None`: forever.
    pub retention: Option<Retention>,
    /// The path of its control socket.
    pub control: PathBuf,
    /// How long it stays not ready after it could serve, for drills.
    pub start_delay: Duration,
    /// What `/actuator/info` shows, JSON. No secrets.
    pub info: String,
}

/// Where a process listens, and how the program follows it.
pub struct Socket {
    /// Where requests come in.
    pub listener: TcpListener,
    /// Called once the process can surely serve: from then on requests may come, and the socket queues them.
    pub announce: Box<dyn FnOnce() + Send>,
    /// Called once the database of the service has failed, with what happened and what to do: from then on no order is taken.
    pub report: Box<dyn FnOnce(String) + Send>,
    /// Ends the process: it takes no new connections, finishes the requests in progress, and closes the database.
    pub stop: CancellationToken,
}

/// Why a service cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Other processes may use its database.
    #[error(transparent)]
    Shared(#[from] SharedDatabase),
    /// It cannot publish.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// It cannot consume.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
}

jumun_text::explained! { ServeError {
    Self::Shared(error) => error;
    Self::Relay(error) => error;
    Self::Consumer(error) => error;
} }

/// Recovers what an earlier process left, serves until the socket is stopped, then drains.
pub async fn serve(engine: Engine, serving: Serving, socket: Socket) -> Result<(), ServeError> {
    let Serving { services, unavailable_status, openapi, bus, retention, control, start_delay, info } = serving;
    let Socket { listener, announce, report, stop } = socket;
    require_one_process(engine.core().database().identity())?;
    engine.core().seed().await;
    let has_events = !engine.core().model().publishes.is_empty();
    let relay = if has_events { Some(Relay::open(engine.core(), bus.clone()).await?) } else { None };
    let readiness = Readiness::default();
    let given_up = recovery::start(engine.core(), engine.transport()).await;
    delayed::start(&engine).await;
    time_outs::start(&engine);
    if given_up > 0 {
        tracing::info!(given_up, "an earlier process left requests in doubt; recovery undoes them");
    }

    if let Some(relay) = &relay {
        relay.start();
    }
    let consumer = if engine.core().model().listens.is_empty() {
        None
    } else {
        Some(Consumer::start(engine.core(), bus.clone()).await?)
    };
    let rebuilds = Rebuilds::start(engine.core(), bus, consumer.clone());
    if let Some(retention) = retention {
        retention.start(engine.core(), &rebuilds);
    }
    let control = Control::listen(&control, operator::routes(&engine, consumer.clone(), rebuilds));
    if let Err(error) = &control {
        tracing::warn!(%error, "the control socket cannot listen; operators cannot reach this process");
    }
    let shared = Shared::new(SharedParts {
        engine: engine.clone(),
        readiness,
        services,
        unavailable_status,
        openapi,
        info,
        followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)),
        stop: stop.clone(),
        consumer,
    });
    let router = http::router(&shared);
    if !start_delay.is_zero() {
        tracing::warn!(?start_delay, "not ready during the start delay, which is a fault that an operator configured");
        let _ = stop.run_until_cancelled(tokio::time::sleep(start_delay)).await;
    }
    shared.readiness.set_ready(true);
    announce();
    let summary = tokio::spawn(summarize(shared.clone()));
    let watch = tokio::spawn(report_failure(engine.core().clone(), report));

    let service = TowerToHyperService::new(router);
    let unreadable = engine.core().metrics().http.route("*", "unreadable");
    serve_until(
        listener,
        |_| {
            let service = service.clone();
            move |request| {
                let answered = service.call(request);
                async { answered.await.unwrap_or_else(|never| match never {}) }
            }
        },
        Terms::of_service(HEAD_TIME_LIMIT, unreadable),
        &stop,
        || {
            shared.readiness.set_ready(false);
            drop(control);
        },
    )
    .await;

    summary.abort();
    watch.abort();
    engine.drain(DRAIN_TIME_LIMIT).await;
    if let Some(relay) = relay {
        relay.finish().await; // it releases the log before the next process may lock the database
    }
    engine.core().database().close().await;
    engine.core().tracer().finish(SPAN_EXPORT_TIME_LIMIT).await;
    Ok(())
}

/// Reports that the database has failed, once.
async fn report_failure(core: Core, report: Box<dyn FnOnce(String) + Send>) {
    let mut every = tokio::time::interval(FAILURE_LOOK);
    while core.database().failure().is_none() {
        every.tick().await;
    }
    report(core.trouble().unwrap_or_default());
}

/// Logs a line per window while there is traffic.
async fn summarize(shared: Shared) {
    let metrics = shared.engine.core().metrics();
    let mut every = tokio::time::interval(Duration::from_secs(1));
    let mut summary = Summary::new(metrics.http.clone());
    loop {
        every.tick().await;
        if let Some(Window { traffic, turned_away }) = summary.second_ended(shared.engine.admission().look()) {
            let Traffic { requests, failures, slowest } = traffic;
            tracing::info!(
                requests,
                failures,
                ?slowest,
                turned_away,
                asks.accepted = metrics.asks(AskOutcome::Accepted),
                asks.refused = metrics.asks(AskOutcome::Refused),
                asks.not_done = metrics.asks(AskOutcome::NotDone),
                asks.unknown = metrics.asks(AskOutcome::Unknown),
                asks.voided = metrics.asks(AskOutcome::Voided),
                "traffic of the last {SUMMARY_SECONDS} s, and asks since the start"
            );
        }
    }
}
