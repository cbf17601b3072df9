//! Connections of clients: accepted, bounded, drained.

use crate::limits::{CONNECTIONS_MAX, DRAIN_TIME_LIMIT, FAREWELL_LOOK, HEAD_MAX_BYTES};
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

/// How long clients are waited for.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// For the head of a request.
    pub head_time_limit: Duration,
    /// After the stop, for those who keep a connection to send one more request, be told with its answer that the connection
    /// closes, and go. Only where somebody else takes new connections meanwhile. After it, idle connections are closed.
    pub farewell: Duration,
}

/// Serves connections until told to stop, then sees those through on which something is at work.
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
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let Some((place, accepted)) = stop.run_until_cancelled(next).await else { break };
        match accepted {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "answers may be delayed a little");
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
    when_stopping();
    drop(listener);
    tracing::info!(open = connections.count(), "stopping: no new connections, what is at work is finished");
    let gone = async {
        while connections.count() > 0 {
            tokio::time::sleep(FAREWELL_LOOK).await;
        }
    };
    drop(tokio::time::timeout(farewell, gone).await); // whoever stays is idle
    if tokio::time::timeout(DRAIN_TIME_LIMIT, connections.shutdown()).await.is_err() {
        tracing::warn!("some clients did not end in time; they are cut off");
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
