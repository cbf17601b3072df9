//! Where requests go: the addresses of a service, whether they are ready, and connections to them.

use crate::limits::{ANSWER_PAUSE_MAX, CONNECT_TIME_LIMIT, PROBE_EVERY, PROBES_FAILED_MAX};
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
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
    time::Instant,
};
use tokio::{net::TcpStream, time::Sleep};

/// A service by all its addresses.
#[derive(Debug)]
pub(super) struct Upstreams {
    /// Its addresses.
    pub(super) all: Vec<Arc<Upstream>>,
    /// For requests at work on all of them.
    pub(super) places: Places,
    next: AtomicUsize,
}

/// One address.
#[derive(Debug)]
pub(super) struct Upstream {
    authority: String,
    /// The same for the header `Host`.
    pub(super) host: HeaderValue,
    is_ready: AtomicBool,
    idle: Mutex<VecDeque<(Sender, Instant)>>,
}

type Sender = SendRequest<Full<Bytes>>;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// There is no connection; nothing was sent.
    Refused(String),
    /// The connection broke before there was an answer.
    Broken(String),
    /// What came is no answer.
    Nonsense(String),
}

/// Places for requests at work.
#[derive(Debug)]
pub(super) struct Places {
    at_work: AtomicU32,
    max: u32,
}

/// A request at work.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a AtomicU32);

impl Places {
    pub(super) const fn new(max: u32) -> Self {
        Self { at_work: AtomicU32::new(0), max }
    }

    /// A place, if there is one, or `anyway`.
    pub(super) fn enter(&self, anyway: bool) -> Option<Place<'_>> {
        let place = Place(&self.at_work);
        (self.at_work.fetch_add(1, Ordering::Relaxed) < self.max || anyway).then_some(place)
    }

    /// Requests at work.
    pub(super) fn at_work(&self) -> u32 {
        self.at_work.load(Ordering::Relaxed)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Upstreams {
    pub(super) fn new(addresses: &[Address], max_concurrent: u32) -> Self {
        let all = addresses.iter().map(|address| Arc::new(Upstream::new(address.uri()))).collect();
        Self { all, places: Places::new(max_concurrent), next: AtomicUsize::new(0) }
    }

    /// Whose turn it is among those that are ready. One that is the only one is always tried.
    pub(super) fn pick(&self) -> Option<&Arc<Upstream>> {
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

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed)
    }

    pub(super) fn set_ready(&self, is_ready: bool, why: &str) {
        if self.is_ready.swap(is_ready, Ordering::Relaxed) != is_ready {
            let upstream = &self.authority;
            if is_ready {
                tracing::info!(upstream, "an upstream is ready");
            } else {
                tracing::warn!(upstream, why, "an upstream is not ready");
            }
        }
    }

    /// Sends a request and waits for the head of the answer; on a new connection if it must be. Notes when it is sent:
    /// from then on it may have an effect.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        mut request: Request<Full<Bytes>>,
        must_be_new: bool,
        was_sent: &AtomicBool,
    ) -> Result<(Response<Incoming>, Lease), Failed> {
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
                    // It was closed while nobody looked, and nothing was sent on it.
                    Some(unsent) if !is_new => {
                        request = unsent;
                        was_sent.store(was_sent_before, Ordering::Relaxed);
                    }
                    _ => {
                        let error = error.into_error();
                        let why = chain(&error);
                        return Err(if is_nonsense(&error) { Failed::Nonsense(why) } else { Failed::Broken(why) });
                    }
                },
            }
        }
    }

    async fn connect(&self) -> Result<Sender, Failed> {
        let connecting = tokio::time::timeout(CONNECT_TIME_LIMIT, TcpStream::connect(&self.authority)).await;
        let stream = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(|error| Failed::Refused(error.to_string()))?;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "requests may be delayed a little");
        }
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_MAX_BYTES).max_header_size(HEAD_MAX_BYTES);
        let (sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| Failed::Broken(chain(&error)))?;
        let upstream = self.authority.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, upstream, "a connection to an upstream broke");
            }
        });
        Ok(sender)
    }

    /// The connection that was used last, so that those that are too many grow old.
    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle();
        std::iter::from_fn(|| idle.pop_back()).map(|(sender, _)| sender).find(Sender::is_ready)
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Sender, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes connections that nobody has needed for a while: before the upstream does it, and a request runs into that.
    fn close_old(&self) {
        let mut idle = self.idle();
        while idle.front().is_some_and(|(sender, since)| sender.is_closed() || since.elapsed() > IDLE_CONNECTION_KEPT) {
            idle.pop_front();
        }
    }

    /// Looks again and again whether it is ready.
    pub(super) async fn probe(self: Arc<Self>) {
        let mut every = tokio::time::interval(PROBE_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failed = 0;
        loop {
            every.tick().await;
            self.close_old();
            match tokio::time::timeout(PROBE_EVERY, self.ask_whether_ready()).await {
                Ok(Ok(())) => {
                    failed = 0;
                    self.set_ready(true, "");
                    continue;
                }
                Ok(Err(Failed::Refused(why))) => self.set_ready(false, &why),
                Ok(Err(Failed::Broken(why) | Failed::Nonsense(why))) if failed + 1 >= PROBES_FAILED_MAX => {
                    self.set_ready(false, &why);
                }
                Err(_) if failed + 1 >= PROBES_FAILED_MAX => self.set_ready(false, "it does not say whether it is"),
                _ => {}
            }
            failed += 1;
        }
    }

    async fn ask_whether_ready(self: &Arc<Self>) -> Result<(), Failed> {
        let mut head = HeaderMap::new();
        head.insert(header::HOST, self.host.clone());
        let uri = Uri::from_static("/actuator/health/readiness");
        let (response, lease) =
            self.exchange(request(Method::GET, uri, head, Bytes::new()), false, &AtomicBool::default()).await?;
        let status = response.status();
        let body = Leased::new(response.into_body(), lease);
        // Read to its end, the connection can be used again.
        drop(Limited::new(body, HEAD_MAX_BYTES).collect().await);
        if status.is_success() { Ok(()) } else { Err(Failed::Nonsense(format!("it answers {status}"))) }
    }
}

/// A request as services get it.
pub(super) fn request(method: Method, uri: Uri, head: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = head;
    request
}

fn is_nonsense(error: &hyper::Error) -> bool {
    error.is_parse() || error.is_parse_too_large()
}

/// A connection that an answer comes over. Whoever drops it before the answer's end closes it.
#[derive(Debug)]
pub(super) struct Lease {
    upstream: Arc<Upstream>,
    sender: Sender,
}

impl Lease {
    /// The answer has come whole: the connection may be used again.
    fn give_back(self) {
        if self.sender.is_closed() {
            return;
        }
        let mut idle = self.upstream.idle();
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push_back((self.sender, Instant::now()));
        }
    }
}

/// The body of an answer, as it comes, and the connection it comes over.
#[derive(Debug)]
pub(super) struct Leased {
    body: Incoming,
    lease: Option<Lease>,
    /// How much longer the next part is waited for. Only there while it is.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Leased {
    pub(super) fn new(body: Incoming, lease: Lease) -> Self {
        let mut leased = Self { body, lease: Some(lease), patience: None };
        leased.give_back_at_the_end();
        leased
    }

    fn give_back_at_the_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for Leased {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                this.patience = None;
                this.give_back_at_the_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.lease = None;
                Poll::Ready(Some(Err(error.into())))
            }
            Poll::Ready(None) => {
                if let Some(lease) = this.lease.take() {
                    lease.give_back();
                }
                Poll::Ready(None)
            }
            Poll::Pending => {
                let patience = this.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(ANSWER_PAUSE_MAX)));
                std::task::ready!(patience.as_mut().poll(context));
                this.lease = None;
                Poll::Ready(Some(Err("an upstream does not go on with its answer".into())))
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
