//! The routes of a service, derived from its model, and what surrounds each request: metrics, tracing, logging.

use super::{
    commands, health, reads,
    request::{At, Handled},
    shared::Shared,
};
use crate::asks::capacity;
use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, Method, header},
    response::Response,
    routing::{get, post, put},
};
use futures_util::future::BoxFuture;
use jumun::Verb;
use jumun_http::{CAPACITY, Code, Problem, refuse, respond, status_of};
use jumun_telemetry::{Kind, Origin, REQUEST_ID, Route, Span};
use tokio::time::Instant;

type Handler = fn(At, Request) -> BoxFuture<'static, Handled>;

/// All routes of a service.
pub(crate) fn router(shared: &Shared) -> Router {
    let http = &shared.engine.core().metrics().http;
    let mut router = Router::new();
    for (resource, model) in shared.engine.core().model().resources.iter().enumerate() {
        let serve_command = |method: Method, path: &str, command: usize, handler: Handler| {
            let (shared, route) = (shared.clone(), http.route(method.as_str(), path));
            move |request: Request| {
                let (shared, route) = (shared.clone(), route.clone());
                async move {
                    let at = |origin| At { shared: shared.clone(), resource, command, origin };
                    answer(&shared, &route, request, |request, origin| handler(at(origin), request)).await
                }
            }
        };
        let serve = |method: Method, path: &str, handler: Handler| serve_command(method, path, 0, handler);
        let path = model.path;
        let (one_path, void_path) = (format!("{path}/{{id}}"), format!("{path}/void"));
        let (search_path, finder_path) = (format!("{path}/search"), format!("{path}/search/{{finder}}"));

        let mut collection = get(serve(Method::GET, path, |at, request| Box::pin(reads::list(at, request))));
        let mut one = get(serve(Method::GET, &one_path, |at, request| Box::pin(reads::show(at, request))));
        if model.ask.is_some() {
            let serve_ask = |path: &str, handler: Handler| {
                let (shared, answer) = (shared.clone(), serve(Method::POST, path, handler));
                move |request: Request| {
                    let (shared, answer) = (shared.clone(), answer(request));
                    async move { with_capacity(answer.await, &shared) }
                }
            };
            collection = collection.post(serve_ask(path, |at, request| Box::pin(commands::asked(at, request))));
            let undo = serve_ask(&void_path, |at, request| Box::pin(commands::void(at, request)));
            router = router.route(&void_path, post(undo));
        }
        for (nth, command) in model.commands.iter().enumerate() {
            let handle: Handler = |at, request| Box::pin(commands::command(at, request));
            match command.verb {
                Verb::Post if model.ask.is_some() => {} // its `POST` is for asks
                Verb::Post => collection = collection.post(serve_command(Method::POST, path, nth, handle)),
                Verb::Delete => one = one.delete(serve_command(Method::DELETE, &one_path, nth, handle)),
                Verb::Patch => one = one.patch(serve_command(Method::PATCH, &one_path, nth, handle)),
                Verb::Put(action) => {
                    let path = format!("{one_path}/{action}");
                    router = router.route(&path, put(serve_command(Method::PUT, &path, nth, handle)));
                }
            }
        }
        let search = serve(Method::GET, &search_path, |at, _| Box::pin(async move { Ok(reads::finders(&at)) }));
        let finder = serve(Method::GET, &finder_path, |at, request| Box::pin(reads::find(at, request)));
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
    // A path or method of a client is no label: it would be unbounded.
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

/// Tells the asking service how many asks this one works on at once, and how many queue, whatever the answer is.
fn with_capacity(mut response: Response, shared: &Shared) -> Response {
    if let Some(capacity) = capacity::to_header(shared.engine.capacity()) {
        response.headers_mut().insert(CAPACITY, capacity);
    }
    response
}

/// Runs a handler and makes a response of its outcome.
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
            // The detail of a problem with a body may quote the body, which may contain a secret: a card number in another field.
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
