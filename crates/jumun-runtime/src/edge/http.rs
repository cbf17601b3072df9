//! HTTP: the paths of a service, derived from its model. Reads requests, hands commands to the engine, shows documents.

use super::{health, shared::Shared};
use crate::{
    engine::{Incoming, Key, Success},
    events::Token,
    limits::{KEY_MAX_BYTES, PAGE_SIZE, PAGE_SIZE_MAX, SEEN_TIME_LIMIT},
};
use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
    routing::{get, post, put},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jumun::{AnyCommand, BadInput, ResourceModel, Verb};
use jumun_database::{Direction, Document, Query, ReadError};
use jumun_http::{
    Code, EXPIRES, IDEMPOTENCY_KEY, Problem, Reply, SEEN, ask_only,
    limits::{BODY_MAX_BYTES, BODY_TIME_LIMIT},
    refuse, respond, status_of,
};
use jumun_telemetry::{Kind, Origin, REQUEST_ID, Route, Span};
use sha2::{Digest, Sha256};
use std::{borrow::Cow, fmt::Write};
use tokio::time::Instant;
use uuid::Uuid;

/// A request as a handler sees it: the resource that it is for, by its place in the model, and where it comes from.
struct At {
    shared: Shared,
    resource: usize,
    origin: Origin,
}

impl At {
    fn model(&self) -> &ResourceModel {
        &self.shared.engine.core().model().resources[self.resource]
    }
}

type Handled = Result<Reply, Problem>;
type Handler = fn(At, Request) -> BoxFuture<'static, Handled>;

/// All paths of a service.
pub(crate) fn router(shared: &Shared) -> Router {
    let http = &shared.engine.core().metrics().http;
    let mut router = Router::new();
    for (resource, model) in shared.engine.core().model().resources.iter().enumerate() {
        let serve = |method: Method, path: &str, handler: Handler| {
            let (shared, route) = (shared.clone(), http.route(method.as_str(), path));
            move |request: Request| {
                let (shared, route) = (shared.clone(), route.clone());
                async move {
                    let at = |origin| At { shared: shared.clone(), resource, origin };
                    answer(&shared, &route, request, |request, origin| handler(at(origin), request)).await
                }
            }
        };
        let path = model.path;
        let (one_path, void_path) = (format!("{path}/{{id}}"), format!("{path}/void"));
        let (search_path, finder_path) = (format!("{path}/search"), format!("{path}/search/{{finder}}"));
        let has = |verb| model.commands.iter().any(|command| command.verb == verb);

        let mut collection = get(serve(Method::GET, path, |at, request| Box::pin(list(at, request))));
        if model.ask.is_some() {
            collection = collection.post(serve(Method::POST, path, |at, request| Box::pin(asked(at, request))));
            let undo = serve(Method::POST, &void_path, |at, request| Box::pin(void(at, request)));
            router = router.route(&void_path, post(undo));
        } else if has(Verb::Post) {
            let make: Handler = |at, request| Box::pin(command(at, Verb::Post, request));
            collection = collection.post(serve(Method::POST, path, make));
        }
        let mut one = get(serve(Method::GET, &one_path, |at, request| Box::pin(show(at, request))));
        if has(Verb::Delete) {
            let end: Handler = |at, request| Box::pin(command(at, Verb::Delete, request));
            one = one.delete(serve(Method::DELETE, &one_path, end));
        }
        if has(Verb::Patch) {
            let change: Handler = |at, request| Box::pin(command(at, Verb::Patch, request));
            one = one.patch(serve(Method::PATCH, &one_path, change));
        }
        for action in model.commands.iter().filter_map(|command| command.verb.action()) {
            let path = format!("{one_path}/{action}");
            let put = put(serve(Method::PUT, &path, |at, request| Box::pin(act(at, request))));
            router = router.route(&path, put);
        }
        let search = serve(Method::GET, &search_path, |at, _| Box::pin(async move { Ok(finders(&at)) }));
        let finder = serve(Method::GET, &finder_path, |at, request| Box::pin(find(at, request)));
        router = router
            .route(path, collection)
            .route(&one_path, one)
            .route(&search_path, get(search))
            .route(&finder_path, get(finder));
    }
    for (path, page) in health::PAGES {
        let (shared, route) = (shared.clone(), http.route("GET", path));
        let serve = move |request: Request| {
            let (shared, route) = (shared.clone(), route.clone());
            async move { answer(&shared, &route, request, async |_, _| Ok(page(&shared).await)).await }
        };
        router = router.route(path, get(serve));
    }
    // What clients make up is no label.
    let (nothing_here, not_this_way) = (shared.clone(), shared.clone());
    let (nowhere, no_way) = (http.route("*", "nothing here"), http.route("*", "wrong method"));
    let fallback = async move |request: Request| {
        let detail = format!("Nothing is served at {}.", request.uri().path());
        answer(&nothing_here, &nowhere, request, async |_, _| Err(Problem::new(Code::NotFound, detail))).await
    };
    let wrong_method = async move |request: Request| {
        let detail = format!("{} is not for {}.", request.method(), request.uri().path());
        let problem = Problem::new(Code::MethodNotAllowed, detail);
        answer(&not_this_way, &no_way, request, async |_, _| Err(problem)).await
    };
    router.fallback(fallback).method_not_allowed_fallback(wrong_method)
}

/// Runs a handler and makes a response of what it says.
async fn answer<F: Future<Output = Handled>>(
    shared: &Shared,
    route: &Route,
    request: Request,
    handler: impl FnOnce(Request, Origin) -> F,
) -> Response {
    let began = Instant::now();
    let tracer = shared.engine.core().tracer();
    let origin = Origin::of_head(request.headers(), || tracer.samples());
    let Origin { trace, parent, request: request_id, .. } = origin.clone();
    let accepts_json = request.headers().get(header::ACCEPT).is_some_and(|accept| accept == "application/json");
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let response = match handler(request, origin).await {
        Ok(reply) => respond(reply, accepts_json),
        Err(problem) => {
            let status = status_of(&problem, shared.unavailable_status);
            // What is wrong with a body is told in its own words, and they may be anything: a card number in another field.
            let is_about_body = matches!(problem.code, Code::Invalid | Code::Malformed);
            let why = if is_about_body { problem.field.as_deref().unwrap_or_default() } else { &problem.detail };
            let code = problem.code.as_str();
            tracing::debug!(%method, path, request = %request_id, trace = %trace.id(), code, why, "refused");
            refuse(&problem, status, &path, &request_id)
        }
    };
    let took = began.elapsed();
    let status = response.status().as_u16();
    route.answered(status, took);
    tracing::debug!(%method, path, request = %request_id, trace = %trace.id(), status, ?took, "answered");
    tracer.record(&trace, || Span {
        context: trace,
        parent,
        kind: Kind::Server,
        name: route.name().into(),
        took,
        attributes: vec![
            ("http.request.method", method.to_string().into()),
            ("http.route", route.route().to_owned().into()),
            ("http.response.status_code", status.to_string().into()),
            ("jumun.request", request_id.to_string().into()),
        ],
        is_failed: status >= 500,
    });
    let mut response = response;
    if let Ok(value) = HeaderValue::try_from(&*request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

// ---- commands

async fn command(at: At, verb: Verb, request: Request) -> Handled {
    let model = at.model().commands.iter().find(|command| command.verb == verb).cloned();
    let model = model.ok_or_else(|| Problem::new(Code::MethodNotAllowed, "This cannot be done here."))?;
    let (id, success) = match verb {
        Verb::Post => (None, StatusCode::CREATED),
        Verb::Delete => (Some(parse_id(last_segment(&request))?), StatusCode::NO_CONTENT),
        Verb::Put(_) => (Some(parse_id(segment_before_last(&request))?), StatusCode::OK),
        Verb::Patch => (Some(parse_id(last_segment(&request))?), StatusCode::OK),
    };
    let key = client_key(request.headers())?;
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let has_body = matches!(verb, Verb::Post | Verb::Patch);
    let body = if has_body { json_body(request).await? } else { Bytes::new() };
    let command = model.read(&body).map_err(bad_input)?;
    let fingerprint = fingerprint(&method, &path, &body);
    let At { resource, origin, .. } = at;
    let success = success.as_u16();
    take(&at.shared, Incoming { resource, id, command, key, fingerprint, success, origin }).await
}

/// `PUT /stores/7/accept`
async fn act(at: At, request: Request) -> Handled {
    let action = last_segment(&request);
    let verb = at.model().commands.iter().map(|command| command.verb).find(|verb| verb.action() == Some(action));
    let verb = verb.ok_or_else(|| Problem::new(Code::NotFound, "This cannot be done here."))?;
    command(at, verb, request).await
}

/// A question of a neighbour.
async fn asked(at: At, request: Request) -> Handled {
    let key = ask_key(request.headers())?;
    let model = at.model().ask.clone();
    let model = model.ok_or_else(|| Problem::new(Code::NotFound, "Nothing is asked here."))?;
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = json_body(request).await?;
    let (id, command): (i64, AnyCommand) = model.read(&body).map_err(bad_input)?;
    let fingerprint = fingerprint(&method, &path, &body);
    let success = StatusCode::CREATED.as_u16();
    crate::crash::point("ask.received");
    let At { resource, origin, .. } = at;
    let (id, key) = (Some(id), Some(key));
    take(&at.shared, Incoming { resource, id, command, key, fingerprint, success, origin }).await
}

async fn take(shared: &Shared, incoming: Incoming) -> Handled {
    let Success { status, location, body, seen } = shared.engine.take(incoming).await?;
    match StatusCode::from_u16(status) {
        Ok(status) if status != StatusCode::NO_CONTENT => Ok(Reply::Done(status, location, body, seen)),
        _ => Ok(Reply::Empty(seen)),
    }
}

/// A neighbour takes its question back.
async fn void(at: At, request: Request) -> Handled {
    let Key::Ask { id, .. } = ask_key(request.headers())? else { return Err(ask_only()) };
    at.shared.engine.void(at.resource, id, at.origin).await?;
    Ok(Reply::Empty(None))
}

fn client_key(head: &HeaderMap) -> Result<Option<Key>, Problem> {
    let Some(key) = head.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let sane = |key: &&str| (1..=KEY_MAX_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = key.to_str().ok().filter(sane);
    let why = "An Idempotency-Key is 1 to 255 visible ASCII characters.";
    key.map(|key| Some(Key::Client(key.to_owned()))).ok_or_else(|| Problem::new(Code::Malformed, why))
}

fn ask_key(head: &HeaderMap) -> Result<Key, Problem> {
    let text = |name: &str| head.get(name).and_then(|value| value.to_str().ok());
    let id = text(IDEMPOTENCY_KEY).and_then(|id| Uuid::try_parse(id).ok()).filter(|id| id.get_version_num() == 7);
    let expires_ms = text(EXPIRES).and_then(|expires| expires.parse().ok());
    match (id, expires_ms) {
        (Some(id), Some(expires_ms)) => Ok(Key::Ask { id, expires_ms }),
        _ => Err(ask_only()),
    }
}

/// Of everything that makes a request this one and no other.
fn fingerprint(method: &Method, path: &str, body: &[u8]) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(method.as_str());
    hash.update([0]);
    hash.update(path);
    hash.update([0]);
    hash.update(body);
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&hash.finalize()[..16]);
    fingerprint
}

async fn json_body(request: Request) -> Result<Bytes, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    if kind != b"application/json" && !(kind.starts_with(b"application/") && kind.ends_with(b"+json")) {
        return Err(Problem::new(Code::UnsupportedMediaType, "Send JSON, and say so: content-type: application/json"));
    }
    let too_large = || Problem::new(Code::TooLarge, format!("A body has at most {BODY_MAX_BYTES} bytes."));
    let announced =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_MAX_BYTES as u64) {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), BODY_MAX_BYTES).collect();
    match tokio::time::timeout(BODY_TIME_LIMIT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Code::Malformed, "The body ended before its end.")),
        Err(_) => Err(Problem::new(Code::Timeout, format!("The body did not arrive within {BODY_TIME_LIMIT:?}."))),
    }
}

fn bad_input(bad: BadInput) -> Problem {
    match bad {
        BadInput::Malformed(why) => Problem::new(Code::Malformed, format!("The body is not JSON: {why}")),
        BadInput::Rejected(why) => why.into(),
    }
}

// ---- reading

fn last_segment(request: &Request) -> &str {
    request.uri().path().rsplit('/').next().unwrap_or_default()
}

/// The id at the end of the path. `+1` and `01` are numbers, too, but not the name of anything.
fn segment_before_last(request: &Request) -> &str {
    request.uri().path().rsplit('/').nth(1).unwrap_or_default()
}

fn parse_id(segment: &str) -> Result<i64, Problem> {
    segment.parse().ok().filter(|id: &i64| id.to_string() == segment).ok_or_else(not_there)
}

fn not_there() -> Problem {
    Problem::new(Code::NotFound, "There is nothing of this id.")
}

/// Waits until a view has heard what its client has seen. Bounded: better a clear 503 than a client that hangs.
async fn catch_up(at: &At, head: &HeaderMap) -> Result<(), Problem> {
    let Some(seen) = head.get(SEEN) else { return Ok(()) };
    let token = seen.to_str().ok().and_then(|token| token.parse::<Token>().ok());
    let token = token.ok_or_else(|| Problem::new(Code::Malformed, "Jumun-Seen names an event: order/0/7."))?;
    let Some(consumer) = &at.shared.consumer else { return Ok(()) };
    let listens = &at.shared.engine.core().model().listens;
    if !listens.iter().any(|event| event.source == token.service) || consumer.has_heard(&token, SEEN_TIME_LIMIT).await {
        return Ok(()); // what does not concern it needs no waiting
    }
    Err(Problem::new(
        Code::NotDone,
        format!("{token} has not been heard of within {SEEN_TIME_LIMIT:?}. Try again later."),
    ))
}

async fn show(at: At, request: Request) -> Handled {
    catch_up(&at, request.headers()).await?;
    let id = parse_id(last_segment(&request))?;
    let _permit = at.shared.engine.admission().read().await?;
    let document = at
        .shared
        .engine
        .core()
        .database()
        .document(at.model().collection, id)
        .await
        .map_err(|error| unreadable(&error))?;
    let document = document.filter(|document| document.shown).ok_or_else(not_there)?;
    Ok(Reply::Hal(render(&at, &document)))
}

fn render(at: &At, document: &Document) -> String {
    at.model().render(document.id, &document.body, at.shared.engine.core().zone())
}

async fn list(at: At, request: Request) -> Handled {
    catch_up(&at, request.headers()).await?;
    let wanted = Wanted::parse(at.model(), request.uri().query().unwrap_or_default())?;
    pages(&at, at.model().path, wanted, None).await
}

/// The finders that there are.
fn finders(at: &At) -> Reply {
    let path = at.model().path;
    let mut links = format!(r#"{{"_links":{{"self":{{"href":"{path}/search"}}"#);
    for field in at.model().fields.iter().filter(|field| field.is_finder) {
        let (finder, name) = (field.finder_name(), &field.name);
        let _ = write!(links, r#","{finder}":{{"href":"{path}/search/{finder}{{?{name}}}","templated":true}}"#);
    }
    links.push_str("}}");
    Reply::Hal(links)
}

async fn find(at: At, request: Request) -> Handled {
    catch_up(&at, request.headers()).await?;
    let finder = last_segment(&request);
    let field = at.model().fields.iter().find(|field| field.is_finder && field.finder_name() == finder);
    let field = field.ok_or_else(|| Problem::new(Code::NotFound, format!("There is no finder {finder}.")))?;
    let query = request.uri().query().unwrap_or_default();
    let value = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| *name == field.name);
    let (_, value) = value.ok_or_else(|| invalid(&field.name, "is required"))?;
    let wanted = Wanted::parse(at.model(), query)?;
    let path = format!("{}/search/{finder}", at.model().path);
    pages(&at, &path, wanted, Some((field.name.clone(), value.into_owned()))).await
}

/// What a client wants of a list.
struct Wanted {
    page: u64,
    size: u32,
    sort: Option<(String, Direction)>,
}

impl Wanted {
    fn parse(model: &ResourceModel, query: &str) -> Result<Self, Problem> {
        let mut wanted = Self { page: 0, size: PAGE_SIZE, sort: None };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "page" => {
                    let page = value.parse::<u32>().map_err(|_| invalid("page", "must be a whole number from 0"))?;
                    wanted.page = page.into();
                }
                "size" => {
                    let size = value.parse::<u32>().ok().filter(|size| *size > 0);
                    wanted.size =
                        size.ok_or_else(|| invalid("size", "must be a whole number from 1"))?.min(PAGE_SIZE_MAX);
                }
                "sort" if wanted.sort.is_none() => wanted.sort = Some(Self::sort(model, &value)?),
                _ => {}
            }
        }
        Ok(wanted)
    }

    fn sort(model: &ResourceModel, value: &str) -> Result<(String, Direction), Problem> {
        let (field, direction) = value.split_once(',').unwrap_or((value, "asc"));
        if !model.fields.iter().any(|known| known.name == field) {
            return Err(invalid("sort", format!("there is no field {field}")));
        }
        let direction = match direction.to_ascii_lowercase().as_str() {
            "asc" => Direction::Ascending,
            "desc" => Direction::Descending,
            _ => return Err(invalid("sort", "a field, then asc or desc: sort=id,desc")),
        };
        Ok((field.to_owned(), direction))
    }
}

fn invalid(field: &str, why: impl Into<Cow<'static, str>>) -> Problem {
    Problem { field: Some(field.to_owned()), ..Problem::new(Code::Invalid, why) }
}

async fn pages(at: &At, path: &str, wanted: Wanted, filter: Option<(String, String)>) -> Handled {
    let Wanted { page, size, sort } = wanted;
    let _permit = at.shared.engine.admission().read().await?;
    let rest = query_without_page(size, sort.as_ref(), filter.as_ref());
    let query = Query {
        collection: at.model().collection,
        filter: filter.map(|(field, value)| (field.into(), value)),
        sort: sort.map(|(field, direction)| (field.into(), direction)),
        offset: page * u64::from(size),
        size,
    };
    let found = at.shared.engine.core().database().page(query).await.map_err(|error| unreadable(&error))?;
    let pages = found.total.div_ceil(u64::from(size));
    let last = pages.saturating_sub(1);

    let mut body = format!(r#"{{"_embedded":{{"{}":["#, at.model().collection);
    for (nth, document) in found.documents.iter().enumerate() {
        if nth > 0 {
            body.push(',');
        }
        body.push_str(&render(at, document));
    }
    body.push_str("]},\"_links\":{");
    let mut link = |comma: &str, name: &str, page: u64| {
        let _ = write!(body, r#"{comma}"{name}":{{"href":"{path}?page={page}&{rest}"}}"#);
    };
    link("", "self", page);
    link(",", "first", 0);
    if page > 0 {
        link(",", "prev", (page - 1).min(last));
    }
    if page < last {
        link(",", "next", page + 1);
    }
    link(",", "last", last);
    let total = found.total;
    let _ =
        write!(body, r#"}},"page":{{"size":{size},"totalElements":{total},"totalPages":{pages},"number":{page}}}}}"#);
    Ok(Reply::Hal(body))
}

/// What the links of a list repeat: everything that was asked for but the page.
fn query_without_page(size: u32, sort: Option<&(String, Direction)>, filter: Option<&(String, String)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("size", &size.to_string());
    if let Some((field, direction)) = sort {
        let direction = if *direction == Direction::Ascending { "asc" } else { "desc" };
        query.append_pair("sort", &format!("{field},{direction}"));
    }
    if let Some((field, value)) = filter {
        query.append_pair(field, value);
    }
    query.finish()
}

fn unreadable(error: &ReadError) -> Problem {
    let advice = match error {
        ReadError::TooLong => "Sort by id, or look for less at a time.",
        ReadError::Unavailable(_) => "Try again later.",
    };
    Problem::new(Code::NotDone, format!("{error}. {advice}"))
}
