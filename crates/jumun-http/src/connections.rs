//! Client connections: accepts them up to a bound, serves them, drains them at the stop.
//!
//! # How a server drains
//!
//! 1. It closes the listener.
//! 2. During the farewell it keeps serving open connections; an answer tells its client that the connection closes.
//! 3. It closes idle connections and waits for requests in progress, up to [`DRAIN_TIME_LIMIT`].

use crate::limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, DRAIN_TIME_LIMIT, FAREWELL_LOOK, HEAD_MAX_BYTES};
use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::Service as HttpService,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use std::{error::Error, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

/// How long a server waits for its clients.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Time limit for the head of a request.
    pub head_time_limit: Duration,
    /// How long clients may keep their connections after the stop: time to send one more request, whose answer says that
    /// the connection closes. Only for a server whose successor accepts new connections meanwhile. Afterwards the server
    /// closes idle connections.
    pub farewell: Duration,
}

/// Serves connections until the stop, then drains them: finishes the requests in progress.
pub async fn serve_until<S, B>(
    listener: TcpListener,
    service: impl Fn(SocketAddr) -> S,
    Pace { head_time_limit, farewell }: Pace,
    stop: &CancellationToken,
    when_stopping: impl FnOnce(),
) where
    S: HttpService<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let connections = GracefulShutdown::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let Some((permit, accepted)) = stop.run_until_cancelled(next).await else { break };
        match accepted {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "failed to set TCP_NODELAY; answers may be delayed");
                }
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(head_time_limit)
                    .max_buf_size(HEAD_MAX_BYTES)
                    .max_header_size(HEAD_MAX_BYTES)
                    .serve_connection(TokioIo::new(stream), service(peer));
                let connection = connections.watch(connection);
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection broke");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                // Usually out of file descriptors. Connections that end free some.
                if !concerns_one_connection(&error) {
                    tracing::warn!(%error, "failed to accept a connection; retrying");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    when_stopping();
    drop(listener);
    tracing::info!(
        open = connections.count(),
        "stopping: accepting no new connections, finishing requests in progress"
    );
    let all_closed = async {
        while connections.count() > 0 {
            tokio::time::sleep(FAREWELL_LOOK).await;
        }
    };
    // Connections that are still open are closed below: idle ones at once, others after their request.
    drop(tokio::time::timeout(farewell, all_closed).await);
    if tokio::time::timeout(DRAIN_TIME_LIMIT, connections.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time; closing their connections");
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
