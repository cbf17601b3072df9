//! The server of one service: listens, serves connections, drains.

use crate::{
    consumer::{Consumer, ConsumerError},
    control::Control,
    engine::{Counters, Engine},
    health::Health,
    http::{self, Shared, SharedParts},
    limits::{CONNECTIONS_MAX, DRAIN_TIME_LIMIT, HEAD_MAX_BYTES, HEAD_TIME_LIMIT},
    rebuild::Rebuilds,
    recovery,
    relay::{Relay, RelayError},
};
use axum::{Router, http::StatusCode};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use jumun_bus::Bus;
use serde_json::json;
use std::{io, path::PathBuf, sync::Arc, sync::atomic::Ordering, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// How a service is served.
pub struct Serving {
    /// Where requests come in.
    pub listener: TcpListener,
    /// The status of answers that say *not now*.
    pub unavailable_status: StatusCode,
    /// How it hears of its neighbours, and they of it.
    pub bus: Arc<dyn Bus>,
    /// Where operators tell it things.
    pub control: PathBuf,
    /// Called once it is sure that it can serve: from then on requests may come, the socket keeps them.
    pub announce: Box<dyn FnOnce() + Send>,
    /// Ends the serving: no new connections, what is at work is finished, the database is closed.
    pub stop: CancellationToken,
}

/// Why a service cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It cannot publish.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// It cannot hear.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
}

impl ServeError {
    /// A code that stays the same over releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Relay(error) => error.code(),
            Self::Consumer(error) => error.code(),
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Relay(error) => error.remedy(),
            Self::Consumer(error) => error.remedy(),
        }
    }
}

/// Serves until told to stop, then drains. Recovers first what an earlier process left.
pub async fn serve(engine: Engine, serving: Serving) -> Result<(), ServeError> {
    let Serving { listener, unavailable_status, bus, control, announce, stop } = serving;
    let relay = if engine.model().publishes { Some(Relay::open(&engine, bus.clone()).await?) } else { None };
    let name = engine.model().name;
    let info = json!({ "service": name, "version": env!("CARGO_PKG_VERSION") });
    let health = Health::new(info.as_object().cloned().unwrap_or_default());
    let given_up = recovery::start(&engine).await;
    if given_up > 0 {
        tracing::info!(given_up, "an earlier process left requests in doubt; they are being undone");
    }

    if let Some(relay) = &relay {
        relay.start();
    }
    let consumer =
        if engine.model().listens.is_empty() { None } else { Some(Consumer::start(&engine, bus.clone()).await?) };
    let rebuilds = Rebuilds::start(&engine, bus, consumer.clone());
    let control = Control::listen(&control, consumer.clone(), rebuilds);
    if let Err(error) = &control {
        tracing::warn!(%error, "operators cannot tell this process anything");
    }
    let traffic = http::Traffic::default();
    let shared = Shared::new(SharedParts { engine: engine.clone(), health, unavailable_status, traffic, consumer });
    let router = http::router(&shared);
    shared.health.set_ready(true);
    announce();
    let summary = tokio::spawn(summarize(shared.clone()));

    let connections = GracefulShutdown::new();
    accept(&listener, &router, &connections, &stop).await;

    shared.health.set_ready(false);
    drop((listener, control));
    tracing::info!(open = connections.count(), "stopping: no new connections, what is at work is finished");
    if tokio::time::timeout(DRAIN_TIME_LIMIT, connections.shutdown()).await.is_err() {
        tracing::warn!("some clients did not end in time; they are cut off");
    }
    summary.abort();
    engine.drain(DRAIN_TIME_LIMIT).await;
    if let Some(relay) = relay {
        relay.finish().await; // and lets go of the log, before the next process may take the database
    }
    engine.database().close().await;
    Ok(())
}

async fn accept(listener: &TcpListener, router: &Router, connections: &GracefulShutdown, stop: &CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let Some((place, accepted)) = stop.run_until_cancelled(next).await else { return };
        match accepted {
            Ok((stream, _)) => {
                let connection = connections.watch(connection(stream, router.clone()));
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection broke");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: connections that end give some back.
                if !is_of_one_connection(&error) {
                    tracing::warn!(%error, "no connection can be accepted; trying again");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

fn connection(stream: TcpStream, router: Router) -> http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "answers may be delayed a little");
    }
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_LIMIT)
        .max_buf_size(HEAD_MAX_BYTES)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// One line a second while there is traffic.
async fn summarize(shared: Shared) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    loop {
        every.tick().await;
        let (requests, failures, slowest) = shared.traffic.take();
        if requests > 0 {
            let Counters { asks_accepted, asks_refused, asks_not_done, asks_unknown, voided, .. } =
                shared.engine.counters();
            let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            tracing::info!(
                requests,
                failures,
                ?slowest,
                asks.accepted = of(asks_accepted),
                asks.refused = of(asks_refused),
                asks.not_done = of(asks_not_done),
                asks.unknown = of(asks_unknown),
                asks.voided = of(voided),
                "this second, and asks since the start"
            );
        }
    }
}
