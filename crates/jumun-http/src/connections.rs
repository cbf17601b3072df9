//! Client connections: accepts them up to a bound, serves them, drains them at the stop.
//!
//! # How a server drains
//!
//! 1. It closes the listener.
//! 2. During the farewell it keeps serving open connections; an answer tells its client that the connection closes.
//! 3. It closes idle connections and waits for requests in progress, up to [`DRAIN_TIME_LIMIT`].

use crate::{
    closing::Closing,
    head::is_continue_expected,
    limits::{ACCEPT_PAUSE, CONNECTIONS_MAX, DRAIN_TIME_LIMIT, HEAD_ADDED_BYTES, HEAD_MAX_BYTES},
    link::{AnswerBody, Link, LinkStream, RequestBody},
};
use http::{HeaderValue, Method, Request, Response, Version, header};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1::{self, Parts},
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jumun_telemetry::Route;
use std::{convert::Infallible, error::Error, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

/// What a server accepts of its clients, and how long it waits for them.
#[derive(Debug)]
pub struct Terms {
    /// The largest head of a request, in bytes.
    pub head_max_bytes: usize,
    /// Time limit for the head of a request.
    pub head_time_limit: Duration,
    /// How long clients may keep their connections after the stop: time to send one more request, whose answer says that
    /// the connection closes. Only for a server whose successor accepts new connections meanwhile. Afterwards the server
    /// closes idle connections.
    pub farewell: Duration,
    /// Metrics of requests whose head cannot be read.
    pub unreadable: Route,
}

impl Terms {
    /// The terms of a gateway.
    pub const fn of_gateway(head_time_limit: Duration, farewell: Duration, unreadable: Route) -> Self {
        Self { head_max_bytes: HEAD_MAX_BYTES, head_time_limit, farewell, unreadable }
    }

    /// The terms of a service: it accepts what a gateway accepts, with all that a gateway adds.
    pub const fn of_service(head_time_limit: Duration, unreadable: Route) -> Self {
        let head_max_bytes = HEAD_MAX_BYTES + HEAD_ADDED_BYTES;
        Self { head_max_bytes, head_time_limit, farewell: Duration::ZERO, unreadable }
    }
}

/// Serves connections until the stop, then drains them: finishes the requests in progress. `handler` makes the handler of
/// a client's requests.
///
/// An answer that comes before the body of its request was read is heard by the client in any case: the server reads a
/// small rest, or announces that it closes the connection and closes it in stages.
pub async fn serve_until<H, F, B>(
    listener: TcpListener,
    handler: impl Fn(SocketAddr) -> H,
    terms: Terms,
    stop: &CancellationToken,
    when_stopping: impl FnOnce(),
) where
    H: Fn(Request<RequestBody>) -> F + Send + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Terms { head_max_bytes, head_time_limit, farewell, unreadable } = terms;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(head_time_limit)
        .max_buf_size(head_max_bytes)
        .max_header_size(head_max_bytes);
    let closing = Arc::new(Closing::new(head_time_limit, unreadable));
    let draining = CancellationToken::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX as usize));
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
                let (link, handler, closing) = (Link::new(), handler(peer), closing.clone());
                let stream = TokioIo::new(LinkStream::new(link.clone(), stream));
                let answered = link.clone();
                let service = service_fn(move |request| answer(answered.clone(), request, &handler));
                let (mut connection, draining) = (builder.serve_connection(stream, service), draining.clone());
                tokio::spawn(async move {
                    let ended = if let Some(ended) = draining.run_until_cancelled(&mut connection).await {
                        ended
                    } else {
                        Pin::new(&mut connection).graceful_shutdown();
                        (&mut connection).await
                    };
                    drop(permit); // a client that goes on sending holds no place of another one
                    let Parts { io, read_buf, .. } = connection.into_parts();
                    closing.close(&link, io.into_inner().into_stream(), &read_buf, ended, peer).await;
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
        open = CONNECTIONS_MAX as usize - permits.available_permits(),
        "stopping: accepting no new connections, finishing requests in progress"
    );
    let all_closed = async || drop(permits.acquire_many(CONNECTIONS_MAX).await);
    // Connections that are still open are closed below: idle ones at once, others after their request.
    drop(tokio::time::timeout(farewell, all_closed()).await);
    draining.cancel();
    if tokio::time::timeout(DRAIN_TIME_LIMIT, all_closed()).await.is_err() {
        tracing::warn!("some requests did not finish in time; closing their connections");
    }
}

/// Has a request answered. Announces the end of the connection if it cannot take another request.
fn answer<H, F, B>(
    link: Arc<Link>,
    request: Request<Incoming>,
    handler: &H,
) -> impl Future<Output = Result<Response<AnswerBody<B>>, Infallible>> + use<H, F, B>
where
    H: Fn(Request<RequestBody>) -> F,
    F: Future<Output = Response<B>>,
    B: Body,
{
    link.begin();
    let waits_for_continue = request.headers().get_all(header::EXPECT).iter().any(is_continue_expected);
    // What follows a CONNECT is no HTTP.
    let (is_last, is_old) = (request.method() == Method::CONNECT, request.version() == Version::HTTP_10);
    let response = handler(request.map(|body| RequestBody::new(body, link.clone())));
    async move {
        let mut response = response.await;
        if is_last || !link.read_rest(waits_for_continue).await {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if is_old && response.body().size_hint().exact().is_none() {
            link.ends_with_connection();
        }
        Ok(response.map(|body| AnswerBody::new(body, link)))
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
