//! The gateway: one address for all services of a system. A short forwarder, because what it adds to a request must cost
//! next to nothing, and because of what it must know that no other one does: which paths only services may ask, and that
//! a command has a key, so that it may be sent again when the service dies under it.

mod config;
mod head;
pub mod limits;
mod rate;
mod upstream;

pub use config::{GATEWAY, GatewayConfig, PORT};
pub use rate::{Network, RateConfig};

use crate::limits::{BODIES_MAX_BYTES, FAREWELL, GATEWAY_ATTEMPTS};
use axum::BoxError;
use bytes::{Bytes, BytesMut};
use head::{Cors, Peer};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, uri::PathAndQuery};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body as _, Frame, Incoming, SizeHint},
    service::Service as HttpService,
};
use jumun::{SystemModel, Verb};
use jumun_http::{
    Code, IDEMPOTENCY_KEY, Pace, Problem, Reply, Shed, Shedding, ask_only,
    limits::{BODY_MAX_BYTES, DRAIN_TIME_LIMIT},
    refuse, serve_until, status_of,
};
use jumun_telemetry::{self as telemetry, AdmissionMetrics, HttpMetrics, REQUEST_ID, given_request_id};
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use rate::Rates;
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use upstream::{Failed, Leased, Place, Places, Upstreams};
use uuid::Uuid;

/// How the gateway is served.
pub struct Gateway {
    /// Where requests come in.
    pub listener: TcpListener,
    /// Called once requests may come.
    pub announce: Box<dyn FnOnce() + Send>,
    /// Ends the serving: no new connections, what is at work is finished.
    pub stop: CancellationToken,
    /// How often a supervisor had to start it again.
    pub restarts: u32,
    /// The status of answers that say *not now*.
    pub unavailable_status: StatusCode,
    /// What each service turns away when there is too much; what is not named is as by default.
    pub shed: BTreeMap<String, Shed>,
}

/// Serves until told to stop, then drains.
pub async fn serve(model: &SystemModel, config: &GatewayConfig, gateway: Gateway) {
    let Gateway { listener, announce, stop, restarts, unavailable_status, shed } = gateway;
    let forwarder = Arc::new(Forwarder::new(model, config, restarts, unavailable_status, &shed));
    let upstreams = forwarder.services.iter().flat_map(|service| &service.upstreams.all);
    let mut beside = tokio::task::JoinSet::new();
    for upstream in upstreams {
        beside.spawn(upstream.clone().probe());
    }
    beside.spawn(summarize(forwarder.clone()));
    announce();
    let service = |peer: SocketAddr| Client { forwarder: forwarder.clone(), peer: Arc::new(Peer::new(peer.ip())) };
    let pace = Pace { head_time_limit: config.head_time_limit, farewell: FAREWELL };
    serve_until(listener, service, pace, &stop, || {
        forwarder.is_ready.store(false, Ordering::Relaxed);
    })
    .await;
    forwarder.commands.close();
    if tokio::time::timeout(DRAIN_TIME_LIMIT, forwarder.commands.wait()).await.is_err() {
        tracing::warn!("some commands were not answered in time; nobody waits for them any more");
    }
}

/// What all connections share.
struct Forwarder {
    services: Vec<Service>,
    routes: Vec<Route>,
    cors: Cors,
    time_limit: Duration,
    body_time_limit: Duration,
    unavailable_status: StatusCode,
    is_ready: AtomicBool,
    info: Value,
    /// For requests at work on all services.
    places: Places,
    rates: Option<Rates>,
    shed: Sheds,
    metrics: HttpMetrics,
    registry: Registry,
    /// Counts what is answered without a service.
    elsewhere: telemetry::Route,
    /// Commands at work. Like a service, the gateway finishes them when their clients have gone.
    commands: TaskTracker,
    /// Bytes of bodies held.
    held: Arc<AtomicUsize>,
}

/// Counts what is turned away, and says when that begins and ends.
struct Sheds {
    metrics: AdmissionMetrics,
    shedding: Shedding,
    /// A service has as many as it may.
    service: Counter,
    /// The gateway has.
    gateway: Counter,
    /// The client has sent as many.
    rate: Counter,
}

impl Sheds {
    fn new(registry: &mut Registry) -> Self {
        let metrics = AdmissionMetrics::default();
        metrics.register(registry);
        let [service, gateway, rate] = ["service", "gateway", "rate"].map(|why| metrics.shed("requests", why));
        Self { metrics, shedding: Shedding::default(), service, gateway, rate }
    }

    fn overloaded(&self, counter: &Counter, who: &str) -> Problem {
        counter.inc();
        self.shedding.one_more("requests", who);
        let why = format!("{who} has more to do than it may have at once. Nothing was done; try again later.");
        Problem::new(Code::Overloaded, why)
    }

    fn too_many(&self, wait: Duration) -> Problem {
        self.rate.inc();
        self.shedding.one_more("requests", "rate");
        let why = "This client sends more requests than it may. Nothing was done; come again when Retry-After says.";
        Problem { wait: Some(wait), ..Problem::new(Code::TooManyRequests, why) }
    }
}

struct Service {
    name: &'static str,
    upstreams: Upstreams,
    /// What of it is turned away.
    shed: Shed,
    /// Whether anything of it takes a `PATCH`.
    has_patch: bool,
}

/// A path, and everything below it.
struct Route {
    path: &'static str,
    service: usize,
    /// Whether its `POST` is for neighbours only.
    is_ask: bool,
    /// Counts what is answered on it.
    counted: telemetry::Route,
}

/// A request as services get it. It is kept while it may have to be sent again.
struct Forwarded {
    method: Method,
    uri: Uri,
    head: HeaderMap,
    body: Held,
    /// The key of a command.
    key: Option<HeaderValue>,
}

/// Why a request is not answered by a service, and the key under which it can be sent again.
type Refusal = (Problem, Option<HeaderValue>);

impl Forwarder {
    fn new(
        model: &SystemModel,
        config: &GatewayConfig,
        restarts: u32,
        unavailable_status: StatusCode,
        shed: &BTreeMap<String, Shed>,
    ) -> Self {
        let mut registry = telemetry::registry(GATEWAY, restarts);
        let metrics = HttpMetrics::register(&mut registry);
        let (mut services, mut routes) = (Vec::new(), Vec::new());
        for service in &model.services {
            let urls = config.upstreams.get(service.name).map(Vec::as_slice).unwrap_or_default();
            for resource in &service.resources {
                routes.push(Route {
                    path: resource.path,
                    service: services.len(),
                    is_ask: resource.ask.is_some(),
                    counted: metrics.route("*", resource.path),
                });
            }
            let upstreams = Upstreams::new(urls, config.max_concurrent);
            let shed = shed.get(service.name).copied().unwrap_or_default();
            let mut commands = service.resources.iter().flat_map(|resource| &resource.commands);
            let has_patch = commands.any(|command| command.verb == Verb::Patch);
            services.push(Service { name: service.name, upstreams, shed, has_patch });
        }
        Self {
            services,
            routes,
            cors: Cors::new(&config.cors_origins),
            time_limit: config.time_limit,
            body_time_limit: config.body_time_limit,
            unavailable_status,
            is_ready: AtomicBool::new(true),
            info: json!({ "service": GATEWAY, "system": model.name, "version": env!("CARGO_PKG_VERSION") }),
            places: Places::new(config.max_concurrent_total),
            rates: Rates::new(config.rate, &config.trusted_proxies),
            shed: Sheds::new(&mut registry),
            elsewhere: metrics.route("*", "elsewhere"),
            metrics,
            registry,
            commands: TaskTracker::new(),
            held: Arc::default(),
        }
    }

    fn route(&self, path: &str) -> Option<&Route> {
        self.routes.iter().find(|route| {
            path.strip_prefix(route.path).is_some_and(|rest| rest.is_empty() || rest.as_bytes()[0] == b'/')
        })
    }

    /// Answers a request: some by itself, most by a service.
    async fn answer(self: Arc<Self>, peer: Arc<Peer>, request: Request<Incoming>) -> Response<Body> {
        let began = Instant::now();
        let (mut head, body) = request.into_parts();
        let is_sane = given_request_id(&head.headers).is_some();
        let is_command = !head.method.is_safe();
        let has_key = head.headers.contains_key(IDEMPOTENCY_KEY);
        // One new number does for both: it names the request in logs, and the command for repeats.
        let fresh = (!is_sane || is_command && !has_key).then(Uuid::now_v7);
        if let (false, Some(fresh)) = (is_sane, fresh) {
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

        let answered = if self.cors.is_preflight(&method, &head.headers) {
            Ok(preflight())
        } else {
            self.clone().forward_or_answer(path, &peer, head, body, &request_id).await
        };
        let mut response = answered.unwrap_or_else(|(problem, key)| {
            let request_id = request_id.to_str().unwrap_or_default();
            tracing::debug!(%method, path, request = request_id, %problem, "refused");
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
            // Another gateway takes over: the client is told to go there, and no request runs into a closing connection.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let took = began.elapsed();
        self.route(path).map_or(&self.elsewhere, |route| &route.counted).answered(response.status().as_u16(), took);
        tracing::debug!(%method, path, request = ?request_id, status = response.status().as_u16(), ?took, "answered");
        response
    }

    async fn forward_or_answer(
        self: Arc<Self>,
        path: &str,
        peer: &Peer,
        mut head: http::request::Parts,
        body: Incoming,
        request_id: &HeaderValue,
    ) -> Result<Response<Body>, Refusal> {
        let alone = |problem| (problem, None);
        let asked_for = asked_for(&head).map_err(alone)?;
        let Some(route) = self.route(path) else { return self.page(&head.method, path).map_err(alone) };
        if route.is_ask && head.method == Method::POST {
            return Err(alone(ask_only()));
        }
        if head.method == Method::TRACE || head.method == Method::CONNECT {
            return Err(alone(wrong_method(&head.method, path)));
        }
        let service = route.service;
        self.admit(peer, &head, &self.services[service]).map_err(alone)?;
        let held = self.read(body).await.map_err(alone)?;
        let key = if head.method.is_safe() { None } else { head.headers.get(IDEMPOTENCY_KEY).cloned() };
        head::of_request(&mut head.headers, peer, asked_for);
        if let Some(key) = &key {
            head.headers.insert(IDEMPOTENCY_KEY, key.clone()); // whatever `Connection` names
        }
        let uri = head.uri.into_parts().path_and_query.map(Uri::from).unwrap_or_default();
        let request = Forwarded { method: head.method, uri, head: head.headers, body: held, key };

        let key = request.key.clone();
        let answer = if request.key.is_some() {
            // In a task of its own: a client that hangs up cancels nothing.
            let this = self.clone();
            let command = self.commands.spawn(async move { this.forward(service, request).await });
            let defect = |_| (Problem::new(Code::Internal, "The gateway broke off."), None);
            command.await.map_err(defect)?
        } else {
            self.forward(service, request).await
        };
        let mut response = answer?;
        head::of_answer(response.headers_mut(), request_id);
        if let Some(key) = key
            && response.status().is_server_error()
        {
            response.headers_mut().insert(IDEMPOTENCY_KEY, key); // the client may not know it, and is told to use it
        }
        Ok(response)
    }

    /// Refuses what is too much, before its body is read: then it costs next to nothing.
    fn admit(&self, peer: &Peer, head: &http::request::Parts, service: &Service) -> Result<(), Problem> {
        if let Some(rates) = &self.rates {
            rates
                .check(peer.ip, &head.headers, service.may_end(&head.method))
                .map_err(|wait| self.shed.too_many(wait))?;
        }
        self.enter(service, &head.method).map(drop) // nobody holds a place for a client that sends its body slowly
    }

    /// Places among the requests at work: of all, and of those of one service. What ends things gets them anyway.
    fn enter<'a>(&'a self, service: &'a Service, method: &Method) -> Result<[Place<'a>; 2], Problem> {
        let anyway = service.may_end(method) && service.shed == Shed::New;
        let of_all = self.places.enter(anyway).ok_or_else(|| self.shed.overloaded(&self.shed.gateway, GATEWAY))?;
        let of_it = service.upstreams.places.enter(anyway);
        let of_it = of_it.ok_or_else(|| self.shed.overloaded(&self.shed.service, service.name))?;
        Ok([of_all, of_it])
    }

    /// Sends a request to a service and waits for the head of its answer. Sends it once more if the connection breaks
    /// before: what reads may be repeated, and commands have keys.
    async fn forward(&self, service: usize, request: Forwarded) -> Result<Response<Body>, Refusal> {
        let service = &self.services[service];
        let _places = self.enter(service, &request.method).map_err(|problem| (problem, None))?;
        let Service { name, upstreams, shed: _, has_patch: _ } = service;
        let was_sent = AtomicBool::new(false);
        let answer = tokio::time::timeout(self.time_limit, self.attempt(name, upstreams, &request, &was_sent)).await;
        let problem = match answer {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(problem)) => problem,
            Err(_) => {
                Problem::new(Code::GatewayTimeout, format!("{name} did not answer within {:?}.", self.time_limit))
            }
        };
        tracing::debug!(service = name, %problem, "a service does not answer");
        Err(if was_sent.load(Ordering::Relaxed) { in_doubt(problem, request.key) } else { (problem, None) })
    }

    async fn attempt(
        &self,
        name: &str,
        upstreams: &Upstreams,
        request: &Forwarded,
        was_sent: &AtomicBool,
    ) -> Result<Response<Body>, Problem> {
        let (mut broken, mut refused) = (0, 0);
        loop {
            let gone = || {
                let done = if was_sent.load(Ordering::Relaxed) { "" } else { " Nothing was done; try again later." };
                Problem::new(Code::NeighbourUnavailable, format!("{name} does not answer.{done}"))
            };
            let Some(upstream) = upstreams.pick() else { return Err(gone()) };
            match upstream.exchange(request.copy(&upstream.host), broken > 0, was_sent).await {
                // The first copy may have had its effect, whatever the service says of the second one.
                Ok((response, _)) if broken > 0 && request.key.is_some() && response.status().is_server_error() => {
                    return Err(Problem::new(Code::NeighbourUnavailable, format!("{name} was interrupted.")));
                }
                Ok((response, lease)) if response.status() != StatusCode::SWITCHING_PROTOCOLS => {
                    let (mut head, body) = response.into_parts();
                    head.version = Version::HTTP_11;
                    head.extensions.clear();
                    return Ok(Response::from_parts(head, Body::Forwarded(Leased::new(body, lease))));
                }
                Ok(_) => return Err(Problem::new(Code::BadGateway, format!("{name} wants another protocol."))),
                Err(Failed::Refused(why)) => {
                    upstream.set_ready(false, &why);
                    refused += 1;
                    if refused >= upstreams.all.len() {
                        return Err(gone());
                    }
                }
                Err(Failed::Broken(why)) => {
                    tracing::debug!(service = name, why, "a connection broke before there was an answer");
                    broken += 1;
                    if broken >= GATEWAY_ATTEMPTS {
                        return Err(Problem::new(Code::NeighbourUnavailable, format!("{name} breaks off.")));
                    }
                }
                Err(Failed::Nonsense(why)) => {
                    tracing::warn!(service = name, why, "an upstream talks nonsense");
                    return Err(Problem::new(Code::BadGateway, format!("{name} does not speak HTTP.")));
                }
            }
        }
    }

    /// The whole body of a request: it may have to be sent twice.
    async fn read(&self, mut body: Incoming) -> Result<Held, Problem> {
        let mut held = Held { bytes: Bytes::new(), counted: 0, all: self.held.clone() };
        if body.is_end_stream() {
            return Ok(held);
        }
        let too_large = || Problem::new(Code::TooLarge, format!("A body has at most {BODY_MAX_BYTES} bytes."));
        if body.size_hint().lower() > BODY_MAX_BYTES as u64 {
            return Err(too_large());
        }
        let reading = async {
            let mut more = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Problem::new(Code::Malformed, "The body ended before its end."))?;
                let Ok(part) = frame.into_data() else { continue };
                if held.counted + part.len() > BODY_MAX_BYTES {
                    return Err(too_large());
                }
                if !held.count(part.len()) {
                    let why = "The gateway holds as much as it may. Nothing was done; try again later.";
                    return Err(Problem::new(Code::NotDone, why));
                }
                if held.bytes.is_empty() {
                    held.bytes = part; // most bodies come in one part
                } else {
                    if more.is_empty() {
                        more.extend_from_slice(&held.bytes);
                    }
                    more.extend_from_slice(&part);
                }
            }
            if !more.is_empty() {
                held.bytes = more.freeze();
            }
            Ok(held)
        };
        let limit = self.body_time_limit;
        let too_slow = || Problem::new(Code::Timeout, format!("The body did not arrive within {limit:?}."));
        tokio::time::timeout(limit, reading).await.unwrap_or_else(|_| Err(too_slow()))
    }

    /// A page of the gateway itself.
    fn page(&self, method: &Method, path: &str) -> Result<Response<Body>, Problem> {
        let is_ready = self.is_ready.load(Ordering::Relaxed);
        let reply = match path {
            "/actuator/health" => jumun_http::status(is_ready, Some(self.components())),
            "/actuator/health/liveness" => jumun_http::status(true, None),
            "/actuator/health/readiness" => jumun_http::status(is_ready, None),
            "/actuator/info" => Reply::Json(StatusCode::OK, self.info.to_string()),
            "/actuator/prometheus" => {
                self.shed.metrics.set("requests", self.places.at_work(), 0);
                Reply::Metrics(telemetry::page(&self.registry))
            }
            _ => return Err(Problem::new(Code::NotFound, format!("Nothing is served at {path}."))),
        };
        if method != Method::GET && method != Method::HEAD {
            return Err(wrong_method(method, path));
        }
        let (status, kind, body) = match reply {
            Reply::Json(status, body) => (status, "application/json", body),
            Reply::Metrics(page) => (StatusCode::OK, telemetry::CONTENT_TYPE, page),
            _ => return Err(Problem::new(Code::Internal, "This is no page.")),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        Ok(response)
    }

    /// Every service with its paths and addresses. One that is down is shown as such, and the gateway is not down with
    /// it: the others are there.
    fn components(&self) -> Value {
        let of_service = |(at, service): (usize, &Service)| {
            let upstreams = &service.upstreams;
            let paths: Vec<_> =
                self.routes.iter().filter(|route| route.service == at).map(|route| route.path).collect();
            let addresses: Map<_, _> = upstreams
                .all
                .iter()
                .map(|upstream| (upstream.authority().to_owned(), json!(jumun_http::word(upstream.is_ready()))))
                .collect();
            let is_up = upstreams.all.iter().any(|upstream| upstream.is_ready());
            let details = json!({ "paths": paths, "upstreams": addresses, "atWork": upstreams.places.at_work() });
            (service.name.to_owned(), json!({ "status": jumun_http::word(is_up), "details": details }))
        };
        Value::Object(self.services.iter().enumerate().map(of_service).collect())
    }
}

/// What is said of a request that a service may have got.
fn in_doubt(mut problem: Problem, key: Option<HeaderValue>) -> Refusal {
    let Some(key) = key else { return (problem, None) };
    if problem.code == Code::NeighbourUnavailable {
        problem.code = Code::OutcomeUnknown;
    }
    let why = format!(
        "{} It may have been done. Ask again with the same Idempotency-Key, {}.",
        problem.detail,
        key.to_str().unwrap_or_default()
    );
    (Problem::new(problem.code, why), Some(key))
}

fn wrong_method(method: &Method, path: &str) -> Problem {
    Problem::new(Code::MethodNotAllowed, format!("{method} is not for {path}."))
}

fn preflight() -> Response<Body> {
    let mut response = Response::new(Body::from(String::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    Cors::allow_preflight(response.headers_mut());
    response
}

/// The host that a client means (RFC 9112, section 3.2).
fn asked_for(head: &http::request::Parts) -> Result<Option<HeaderValue>, Problem> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() || (first.is_none() && head.version == Version::HTTP_11) {
        return Err(Problem::new(Code::Malformed, "A request names one Host."));
    }
    match head.uri.authority() {
        Some(authority) => Ok(HeaderValue::try_from(authority.as_str()).ok()),
        None => Ok(first.cloned()),
    }
}

fn value_of(text: impl fmt::Display) -> HeaderValue {
    HeaderValue::try_from(text.to_string()).unwrap_or_else(|_| HeaderValue::from_static("none"))
}

impl Forwarded {
    fn copy(&self, host: &HeaderValue) -> Request<Full<Bytes>> {
        let mut head = self.head.clone();
        head.insert(header::HOST, host.clone());
        upstream::request(self.method.clone(), self.uri.clone(), head, self.body.bytes.clone())
    }
}

/// A body that is held, and counted as such.
struct Held {
    bytes: Bytes,
    counted: usize,
    all: Arc<AtomicUsize>,
}

impl Held {
    /// Whether so many more bytes may be held.
    fn count(&mut self, bytes: usize) -> bool {
        self.counted += bytes;
        self.all.fetch_add(bytes, Ordering::Relaxed) + bytes <= BODIES_MAX_BYTES
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// The body of an answer: of ours, or of a service as it comes.
enum Body {
    Whole(Full<Bytes>),
    Forwarded(Leased),
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::Whole(Full::from(text))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Forwarded(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Forwarded(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Forwarded(body) => body.size_hint(),
        }
    }
}

/// A connection of a client.
struct Client {
    forwarder: Arc<Forwarder>,
    peer: Arc<Peer>,
}

impl HttpService<Request<Incoming>> for Client {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (forwarder, peer) = (self.forwarder.clone(), self.peer.clone());
        Box::pin(async move { Ok(forwarder.answer(peer, request).await) })
    }
}

/// One line a second while there is traffic.
async fn summarize(forwarder: Arc<Forwarder>) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    let mut before = forwarder.metrics.traffic();
    loop {
        every.tick().await;
        let now = forwarder.metrics.traffic();
        let turned_away = forwarder.shed.shedding.look();
        if let Some(rates) = &forwarder.rates {
            rates.forget();
        }
        let (requests, failures) = (now.requests - before.requests, now.failures - before.failures);
        before = now;
        if requests > 0 {
            tracing::info!(requests, failures, slowest = ?now.slowest, turned_away, "this second");
        }
    }
}

impl Service {
    /// Whether a request may be one that ends something. Whether a `PATCH` is, the service sees.
    fn may_end(&self, method: &Method) -> bool {
        *method == Method::DELETE || (self.has_patch && *method == Method::PATCH)
    }
}
