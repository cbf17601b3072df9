//! The forwarder: takes a client's request through admission, buffering and an upstream to its answer.
//!
//! # Why a request may be sent twice
//!
//! If a connection breaks before the answer, the forwarder sends the request once more. A read may be repeated, and every
//! command has an idempotency key: the client's own, or one that the gateway adds.
//!
//! # Why a command runs in a task of its own
//!
//! A client that disconnects cancels the future of its request. A command must not be cancelled half way, so it goes on in
//! a task, and the drain waits for it.

use crate::{
    body::{Body, BufferedBody},
    config::{GATEWAY, GatewayConfig},
    head::{self, Cors, Peer},
    limits::GATEWAY_ATTEMPTS,
    pages::{self, Pages},
    rate::Rates,
    routes::{Routes, Service, ServiceIndex},
    shedding::LoadShedding,
    slots::{Slot, Slots},
    upstream::{self, ExchangeError, UpstreamBody},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};
use http_body_util::Full;
use hyper::body::Body as _;
use jumun::SystemModel;
use jumun_http::{
    Code, IDEMPOTENCY_KEY, Problem, RequestBody, SEEN, Shed, ask_only, check_head,
    limits::{HEAD_ADDED_LINES, HEAD_MAX_LINES},
    no_event, refuse, status_of,
};
use jumun_telemetry::{self as telemetry, HttpMetrics, REQUEST_ID, given_request_id};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The state that all connections share.
pub(crate) struct Forwarder {
    pub(crate) routes: Routes,
    cors: Cors,
    time_limit: Duration,
    body_time_limit: Duration,
    unavailable_status: StatusCode,
    is_ready: AtomicBool,
    /// Bounds the requests in progress to all services.
    slots: Slots,
    pub(crate) rates: Option<Rates>,
    pub(crate) shedding: LoadShedding,
    pub(crate) metrics: HttpMetrics,
    pages: Pages,
    /// Metrics of requests for the gateway's own pages, which are no traffic.
    own_pages: telemetry::Route,
    /// Metrics of requests without a route.
    unrouted: telemetry::Route,
    /// Commands in progress. Like a service, the gateway finishes a command whose client has disconnected.
    pub(crate) commands: TaskTracker,
    /// Bytes of all buffered bodies.
    buffered_bytes: Arc<AtomicUsize>,
}

/// A request for a service. The forwarder keeps it while it may have to send it again.
struct ForwardedRequest {
    method: Method,
    uri: Uri,
    head: HeaderMap,
    body: BufferedBody,
    /// The idempotency key of a command.
    key: Option<HeaderValue>,
}

/// The reason why no service has answered a request.
struct Unanswered {
    problem: Problem,
    /// The key for a retry, if the service may have done the command.
    key: Option<HeaderValue>,
}

impl From<Problem> for Unanswered {
    fn from(problem: Problem) -> Self {
        Self { problem, key: None }
    }
}

impl Unanswered {
    /// The request was sent, so the service may have done it.
    fn in_doubt(problem: Problem, key: Option<HeaderValue>) -> Self {
        let Some(key) = key else { return problem.into() };
        let code = match problem.code {
            Code::NeighbourUnavailable => Code::OutcomeUnknown,
            code => code,
        };
        let why = format!(
            "{} It may have been done. Ask again with the same Idempotency-Key, {}.",
            problem.detail,
            key.to_str().unwrap_or_default()
        );
        Self { problem: Problem::new(code, why), key: Some(key) }
    }
}

impl Forwarder {
    pub(crate) fn new(
        model: &SystemModel,
        config: &GatewayConfig,
        restarts: u32,
        unavailable_status: StatusCode,
        (info, openapi): (String, String),
        shed: &BTreeMap<String, Shed>,
    ) -> Self {
        let mut registry = telemetry::registry(GATEWAY, restarts);
        let metrics = HttpMetrics::register(&mut registry);
        let shedding = LoadShedding::new(&mut registry);
        Self {
            routes: Routes::new(model, config, shed, &metrics),
            cors: Cors::new(&config.cors_origins),
            time_limit: config.time_limit,
            body_time_limit: config.body_time_limit,
            unavailable_status,
            is_ready: AtomicBool::new(true),
            slots: Slots::new(config.max_concurrent_total),
            rates: Rates::new(config.rate, &config.trusted_proxies),
            shedding,
            own_pages: metrics.route("*", pages::BASE),
            unrouted: metrics.route("*", "elsewhere"),
            metrics,
            pages: Pages { info, openapi, registry },
            commands: TaskTracker::new(),
            buffered_bytes: Arc::default(),
        }
    }

    /// Marks the gateway as not ready, and closes each connection with its next answer.
    pub(crate) fn begin_drain(&self) {
        self.is_ready.store(false, Ordering::Relaxed);
    }

    /// Answers a request: with the answer of a service, a page of the gateway, or a problem.
    pub(crate) async fn answer(self: Arc<Self>, peer: Arc<Peer>, request: Request<RequestBody>) -> Response<Body> {
        let began = Instant::now();
        let (mut head, body) = request.into_parts();
        let checked = check_head(&head, !body.is_end_stream(), HEAD_MAX_LINES - HEAD_ADDED_LINES);
        let has_id = given_request_id(&head.headers).is_some();
        let is_command = !head.method.is_safe();
        let has_key = head.headers.contains_key(IDEMPOTENCY_KEY);
        // One new id serves both purposes: request id in logs, and idempotency key of the command.
        let fresh = (!has_id || is_command && !has_key).then(Uuid::now_v7);
        if let (false, Some(fresh)) = (has_id, fresh) {
            head.headers.insert(REQUEST_ID, value_of(fresh.simple()));
        }
        if let (true, false, Some(fresh)) = (is_command, has_key, fresh) {
            head.headers.insert(IDEMPOTENCY_KEY, value_of(fresh.hyphenated()));
        }
        let request_id = head.headers.get(REQUEST_ID).cloned().unwrap_or_else(|| HeaderValue::from_static("none"));
        let origin = if self.cors.is_off() { None } else { head.headers.get(header::ORIGIN).cloned() };
        let method = head.method.clone();
        let path = head.uri.path_and_query().cloned();
        let path = path.as_ref().map_or("*", PathAndQuery::path);

        let answered = match checked {
            Err(problem) => Err(problem.into()),
            Ok(()) if self.cors.is_preflight(&method, &head.headers) => Ok(preflight()),
            Ok(()) => self.clone().forward_or_answer(path, &peer, head, body, &request_id).await,
        };
        let mut response = answered.unwrap_or_else(|Unanswered { problem, key }| {
            let request_id = request_id.to_str().unwrap_or_default();
            tracing::debug!(%method, path, request = request_id, %problem, "refused a request");
            let mut response = refuse(&problem, status_of(&problem, self.unavailable_status), path, request_id);
            if let Some(key) = key {
                response.headers_mut().insert(IDEMPOTENCY_KEY, key);
            }
            response
        });
        if let Body::Whole(_) = response.body() {
            response.headers_mut().insert(REQUEST_ID, request_id.clone());
        }
        self.cors.allow(origin.as_ref(), response.headers_mut());
        if !self.is_ready.load(Ordering::Relaxed) {
            // Another gateway takes over: the client reconnects to it, and sends nothing on a closing connection.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let took = began.elapsed();
        let without_route = if pages::is_one(path) { &self.own_pages } else { &self.unrouted };
        let metrics = self.routes.find(path).map_or(without_route, |route| &route.metrics);
        metrics.answered(response.status().as_u16(), took);
        let status = response.status().as_u16();
        tracing::debug!(%method, path, request = ?request_id, status, ?took, "answered a request");
        response
    }

    async fn forward_or_answer(
        self: Arc<Self>,
        path: &str,
        peer: &Peer,
        mut head: http::request::Parts,
        body: RequestBody,
        request_id: &HeaderValue,
    ) -> Result<Response<Body>, Unanswered> {
        let host = requested_host(&head);
        let Some(route) = self.routes.find(path) else { return Ok(self.page(&head, path)?) };
        if route.is_for_services(&head.method, path) {
            return Err(ask_only().into());
        }
        if head.method == Method::TRACE || (head.method == Method::OPTIONS && !head::may_forward(&mut head.headers)?) {
            let allow = route.allowed(path);
            let allow = allow.ok_or_else(|| Problem::new(Code::NotFound, format!("Nothing is served at {path}.")))?;
            return Ok(pages::not_by_this_method(&head.method, path, allow)?);
        }
        if head.headers.get(SEEN).is_some_and(|seen| !self.routes.has_service_of(seen.as_bytes())) {
            return Err(no_event().into());
        }
        let service = route.service;
        self.admit(peer, &head, self.routes.service(service))?;
        let body = BufferedBody::read(body, &self.buffered_bytes, self.body_time_limit).await?;
        let key = if head.method.is_safe() { None } else { head.headers.get(IDEMPOTENCY_KEY).cloned() };
        head::prepare_request(&mut head.headers, head.version, peer, host);
        if let Some(key) = &key {
            head.headers.insert(IDEMPOTENCY_KEY, key.clone()); // even if `Connection` names it
        }
        let uri = head.uri.into_parts().path_and_query.map(Uri::from).unwrap_or_default();
        let request = ForwardedRequest { method: head.method, uri, head: head.headers, body, key };

        let key = request.key.clone();
        let answer = if key.is_some() {
            let this = self.clone();
            // Boxed, as Tokio moves a task several times.
            let command = self.commands.spawn(Box::pin(async move { this.forward(service, request).await }));
            command
                .await
                .map_err(|_| Problem::new(Code::Internal, "The gateway failed while it forwarded the request."))?
        } else {
            self.forward(service, request).await
        };
        let mut response = answer?;
        head::prepare_response(&mut response, request_id);
        if route.is_for_services(&Method::POST, path)
            && let (Some(allow), Some(allowed)) = (response.headers_mut().get_mut(header::ALLOW), route.allowed(path))
        {
            *allow = value_of(allowed); // the service names the method that is not for clients
        }
        if let Some(key) = key
            && response.status().is_server_error()
        {
            // A retry must use this key, and the client may not know it.
            response.headers_mut().insert(IDEMPOTENCY_KEY, key);
        }
        Ok(response)
    }

    fn page(&self, head: &http::request::Parts, path: &str) -> Result<Response<Body>, Problem> {
        let state = pages::State {
            is_ready: self.is_ready.load(Ordering::Relaxed),
            routes: &self.routes,
            slots: &self.slots,
            shedding: &self.shedding,
        };
        self.pages.answer(head, path, &state)
    }

    /// Refuses excess requests before their bodies are read, which costs next to nothing.
    fn admit(&self, peer: &Peer, head: &http::request::Parts, service: &Service) -> Result<(), Problem> {
        if let Some(rates) = &self.rates {
            let checked = rates.check(peer.ip, &head.headers, service.may_end(&head.method));
            checked.map_err(|wait| self.shedding.too_many_requests(wait))?;
        }
        self.take_slots(service, &head.method).map(drop) // frees them: a client that sends slowly holds no slot
    }

    /// Takes a slot of the gateway and one of the service. A request that may end a resource may exceed the bounds.
    fn take_slots<'a>(&'a self, service: &'a Service, method: &Method) -> Result<[Slot<'a>; 2], Problem> {
        let may_exceed = service.may_exceed(method);
        let of_gateway = self.slots.take(may_exceed).ok_or_else(|| self.shedding.gateway_overloaded(GATEWAY))?;
        let of_service = service.slots.take(may_exceed);
        let of_service = of_service.ok_or_else(|| self.shedding.service_overloaded(service.name))?;
        Ok([of_gateway, of_service])
    }

    /// Sends a request to a service and waits for the head of the response.
    async fn forward(&self, service: ServiceIndex, request: ForwardedRequest) -> Result<Response<Body>, Unanswered> {
        let service = self.routes.service(service);
        let _slots = self.take_slots(service, &request.method)?;
        let was_sent = AtomicBool::new(false);
        let answer = tokio::time::timeout(self.time_limit, attempt(service, &request, &was_sent)).await;
        let problem = match answer {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(problem)) => problem,
            Err(_) => {
                let why = format!("{} did not answer within {:?}.", service.name, self.time_limit);
                Problem::new(Code::GatewayTimeout, why)
            }
        };
        tracing::debug!(service = service.name, %problem, "a service does not answer");
        Err(if was_sent.load(Ordering::Relaxed) { Unanswered::in_doubt(problem, request.key) } else { problem.into() })
    }
}

/// Sends a request to the upstreams of a service, until one answers or the attempts are used up. Sets `was_sent` once an
/// upstream may have received it.
async fn attempt(
    service: &Service,
    request: &ForwardedRequest,
    was_sent: &AtomicBool,
) -> Result<Response<Body>, Problem> {
    let Service { name, upstreams, .. } = service;
    let (mut broken, mut refused) = (0, 0);
    loop {
        let unavailable = || {
            let done = if was_sent.load(Ordering::Relaxed) { "" } else { " Nothing was done; try again later." };
            Problem::new(Code::NeighbourUnavailable, format!("{name} does not answer.{done}"))
        };
        let Some(upstream) = upstreams.pick() else { return Err(unavailable()) };
        match upstream.exchange(request.copy(&upstream.host), broken > 0, was_sent).await {
            // The first attempt may have taken effect, even if the second one failed.
            Ok((response, _)) if broken > 0 && request.key.is_some() && response.status().is_server_error() => {
                return Err(Problem::new(Code::NeighbourUnavailable, format!("{name} was interrupted.")));
            }
            Ok((response, lease)) if response.status() != StatusCode::SWITCHING_PROTOCOLS => {
                let (mut head, body) = response.into_parts();
                if let Err(why) = head::check_response(&mut head) {
                    tracing::warn!(service = name, why, "an upstream sent an invalid response");
                    return Err(Problem::new(Code::BadGateway, format!("{name} sent an invalid HTTP response.")));
                }
                head.extensions.clear();
                return Ok(Response::from_parts(head, Body::Forwarded(UpstreamBody::new(body, lease))));
            }
            Ok(_) => return Err(Problem::new(Code::BadGateway, format!("{name} switched to another protocol."))),
            Err(ExchangeError::Connect(why)) => {
                upstream.set_ready(false, &why);
                refused += 1;
                if refused >= upstreams.all.len() {
                    return Err(unavailable());
                }
            }
            Err(ExchangeError::Broken(why)) => {
                tracing::debug!(service = name, why, "a connection broke before the answer");
                broken += 1;
                if broken >= GATEWAY_ATTEMPTS {
                    return Err(Problem::new(Code::NeighbourUnavailable, format!("The connection to {name} broke.")));
                }
            }
            Err(ExchangeError::Malformed(why)) => {
                tracing::warn!(service = name, why, "an upstream sent an invalid response");
                return Err(Problem::new(Code::BadGateway, format!("{name} sent an invalid HTTP response.")));
            }
        }
    }
}

impl ForwardedRequest {
    fn copy(&self, host: &HeaderValue) -> Request<Full<Bytes>> {
        let mut head = self.head.clone();
        head.insert(header::HOST, host.clone());
        upstream::request(self.method.clone(), self.uri.clone(), head, self.body.bytes())
    }
}

fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::from(String::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    Cors::allow_preflight(response.headers_mut());
    response
}

/// The host that the client requests (RFC 9112, section 3.2).
fn requested_host(head: &http::request::Parts) -> Option<HeaderValue> {
    match head.uri.authority() {
        Some(authority) => HeaderValue::try_from(authority.as_str()).ok(),
        None => head.headers.get(header::HOST).cloned(),
    }
}

fn value_of(text: impl fmt::Display) -> HeaderValue {
    HeaderValue::try_from(text.to_string()).unwrap_or_else(|_| HeaderValue::from_static("none"))
}
