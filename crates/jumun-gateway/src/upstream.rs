//! Upstreams: the addresses of a service, their readiness, and connections to them.
//!
//! # Connections
//!
//! A request leases a connection: an idle one, or a new one. The lease goes with the body of the response. At the end of
//! the body the connection becomes idle again; a body that is dropped before closes it. The probe closes connections that
//! have been idle for too long before the upstream does, so that no request is sent on a closing connection.

use crate::{
    limits::{ANSWER_PAUSE_MAX, CONNECT_TIME_LIMIT, PROBE_EVERY, PROBES_FAILED_MAX},
    patient::PatientStream,
};
use axum::BoxError;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use jumun_http::{
    Address, chain,
    limits::{HEAD_MAX_BYTES, IDLE_CONNECTION_KEPT, IDLE_CONNECTIONS_MAX},
};
use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
    time::Instant,
};
use tokio::{net::TcpStream, time::Sleep};

/// The addresses of one service.
#[derive(Debug)]
pub(crate) struct Upstreams {
    pub(crate) all: Vec<Arc<Upstream>>,
    next: AtomicUsize,
}

/// One address of a service.
#[derive(Debug)]
pub(crate) struct Upstream {
    authority: String,
    /// The value of the header `Host`.
    pub(crate) host: HeaderValue,
    is_ready: AtomicBool,
    idle: Mutex<VecDeque<(Sender, Instant)>>,
}

type Sender = SendRequest<Full<Bytes>>;

/// Why an exchange got no response.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// No connection was made; nothing was sent.
    Connect(String),
    /// The connection broke before the response.
    Broken(String),
    /// The response is invalid.
    Malformed(String),
}

impl Upstreams {
    pub(crate) fn new(addresses: &[Address]) -> Self {
        let all = addresses.iter().map(|address| Arc::new(Upstream::new(address.uri()))).collect();
        Self { all, next: AtomicUsize::new(0) }
    }

    /// The next ready upstream, round-robin. A single upstream is picked even if it is not ready.
    pub(crate) fn pick(&self) -> Option<&Arc<Upstream>> {
        if let [only] = &self.all[..] {
            return Some(only);
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.all.len()).map(|nth| &self.all[(next + nth) % self.all.len()]).find(|upstream| upstream.is_ready())
    }
}

impl Upstream {
    fn new(url: &Uri) -> Self {
        let authority = format!("{}:{}", url.host().unwrap_or_default(), url.port_u16().unwrap_or(80));
        let host = HeaderValue::try_from(&authority).unwrap_or_else(|_| HeaderValue::from_static("upstream"));
        Self { authority, host, is_ready: AtomicBool::new(true), idle: Mutex::default() }
    }

    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ready(&self, is_ready: bool, why: &str) {
        if self.is_ready.swap(is_ready, Ordering::Relaxed) != is_ready {
            let upstream = &self.authority;
            if is_ready {
                tracing::info!(upstream, "an upstream became ready");
            } else {
                tracing::warn!(upstream, why, "an upstream is no longer ready");
            }
        }
    }

    /// Sends a request and waits for the head of the response. Sets `was_sent` before it sends: from then on the request
    /// may have an effect.
    pub(crate) async fn exchange(
        self: &Arc<Self>,
        mut request: Request<Full<Bytes>>,
        must_be_new: bool,
        was_sent: &AtomicBool,
    ) -> Result<(Response<Incoming>, Lease), ExchangeError> {
        loop {
            let idle = if must_be_new { None } else { self.take_idle() };
            let is_new = idle.is_none();
            let mut sender = match idle {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            let was_sent_before = was_sent.swap(true, Ordering::Relaxed);
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((response, Lease { upstream: self.clone(), sender })),
                Err(mut error) => match error.take_message() {
                    // The upstream had closed the idle connection, and nothing was sent on it.
                    Some(unsent) if !is_new => {
                        request = unsent;
                        was_sent.store(was_sent_before, Ordering::Relaxed);
                    }
                    _ => {
                        let error = error.into_error();
                        let why = chain(&error);
                        return Err(if is_malformed(&error) {
                            ExchangeError::Malformed(why)
                        } else {
                            ExchangeError::Broken(why)
                        });
                    }
                },
            }
        }
    }

    async fn connect(&self) -> Result<Sender, ExchangeError> {
        let connecting = tokio::time::timeout(CONNECT_TIME_LIMIT, TcpStream::connect(&self.authority)).await;
        let stream = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(|error| ExchangeError::Connect(error.to_string()))?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "failed to set TCP_NODELAY; requests may be delayed");
        }
        let mut builder = http1::Builder::new();
        // RFC 9112, section 5.1: a gateway removes the space before a colon in an answer.
        builder.max_buf_size(HEAD_MAX_BYTES).max_header_size(HEAD_MAX_BYTES);
        builder.allow_spaces_after_header_name_in_responses(true);
        let (sender, connection) = builder
            .handshake(TokioIo::new(PatientStream::new(stream)))
            .await
            .map_err(|error| ExchangeError::Broken(chain(&error)))?;
        let upstream = self.authority.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, upstream, "a connection to an upstream broke");
            }
        });
        Ok(sender)
    }

    /// The most recently used connection, so that surplus ones stay idle and are closed.
    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle();
        std::iter::from_fn(|| idle.pop_back()).map(|(sender, _)| sender).find(Sender::is_ready)
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Sender, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes connections that have been idle for too long.
    fn close_idle(&self) {
        let mut idle = self.idle();
        while idle.front().is_some_and(|(sender, since)| sender.is_closed() || since.elapsed() > IDLE_CONNECTION_KEPT) {
            idle.pop_front();
        }
    }

    /// Probes the readiness at intervals, for ever.
    pub(crate) async fn probe(self: Arc<Self>) {
        let mut every = tokio::time::interval(PROBE_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failed = 0;
        loop {
            every.tick().await;
            self.close_idle();
            match tokio::time::timeout(PROBE_EVERY, self.check_readiness()).await {
                Ok(Ok(())) => {
                    failed = 0;
                    self.set_ready(true, "");
                    continue;
                }
                Ok(Err(ExchangeError::Connect(why))) => self.set_ready(false, &why),
                Ok(Err(ExchangeError::Broken(why) | ExchangeError::Malformed(why)))
                    if failed + 1 >= PROBES_FAILED_MAX =>
                {
                    self.set_ready(false, &why);
                }
                Err(_) if failed + 1 >= PROBES_FAILED_MAX => self.set_ready(false, "the probe timed out"),
                _ => {}
            }
            failed += 1;
        }
    }

    async fn check_readiness(self: &Arc<Self>) -> Result<(), ExchangeError> {
        let mut head = HeaderMap::new();
        head.insert(header::HOST, self.host.clone());
        let uri = Uri::from_static("/actuator/health/readiness");
        let (response, lease) =
            self.exchange(request(Method::GET, uri, head, Bytes::new()), false, &AtomicBool::default()).await?;
        let status = response.status();
        let body = UpstreamBody::new(response.into_body(), lease);
        // Reading the body to its end frees the connection.
        drop(Limited::new(body, HEAD_MAX_BYTES).collect().await);
        if status.is_success() {
            Ok(())
        } else {
            Err(ExchangeError::Malformed(format!("the probe got status {status}")))
        }
    }
}

/// A request to an upstream.
pub(crate) fn request(method: Method, uri: Uri, head: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = head;
    request
}

fn is_malformed(error: &hyper::Error) -> bool {
    error.is_parse() || error.is_parse_too_large()
}

/// The connection of a response in progress. Dropping the lease closes it.
#[derive(Debug)]
pub(crate) struct Lease {
    upstream: Arc<Upstream>,
    sender: Sender,
}

impl Lease {
    /// Returns the connection for reuse, after the whole response.
    fn release(self) {
        if self.sender.is_closed() {
            return;
        }
        let mut idle = self.upstream.idle();
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push_back((self.sender, Instant::now()));
        }
    }
}

/// The body of a response, streamed, with the lease of its connection.
#[derive(Debug)]
pub(crate) struct UpstreamBody {
    body: Incoming,
    lease: Option<Lease>,
    /// The time limit for the next part, while the body waits for one.
    time_limit: Option<Pin<Box<Sleep>>>,
}

impl UpstreamBody {
    pub(crate) fn new(body: Incoming, lease: Lease) -> Self {
        let mut streamed = Self { body, lease: Some(lease), time_limit: None };
        streamed.release_at_end();
        streamed
    }

    fn release_at_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.release();
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            // Trailers are about this connection: the header that announces them is not forwarded either.
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => self.poll_frame(context),
            Poll::Ready(Some(Ok(frame))) => {
                this.time_limit = None;
                this.release_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.lease = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                if let Some(lease) = this.lease.take() {
                    lease.release();
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                let time_limit = this.time_limit.get_or_insert_with(|| Box::pin(tokio::time::sleep(ANSWER_PAUSE_MAX)));
                std::task::ready!(time_limit.as_mut().poll(context));
                this.lease = None;
                Poll::Ready(Some(Err("the upstream sent no further part of its response in time".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
