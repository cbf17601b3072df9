//! The routes of a service, derived from its model.

use super::{
    commands,
    exchange::{Exchange, check},
    followers, health, reads,
    request::{At, Handled},
    shared::Shared,
    together,
};
use crate::{asks::capacity, limits::TOGETHER_MAX};
use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, Method},
    response::Response,
    routing::{MethodRouter, get, post, put},
};
use futures_util::{FutureExt, future::BoxFuture};
use jumun::Verb;
use jumun_http::{
    ALL_METHODS, CAPACITY, Code, DOCS_FILES, Offer, Page, Precondition, Problem, READ_ONLY, Reply, allowed, refuse,
    respond, wrong_method,
};
use jumun_telemetry::{Origin, REQUEST_ID, Route};
use tokio::time::Instant;

type Handler = fn(At, Request) -> BoxFuture<'static, Handled>;

/// All routes of a service.
pub(crate) fn router(shared: &Shared) -> Router {
    let http = &shared.engine.core().metrics().http;
    // A path or method of a client is no label: it would be unbounded.
    let (nowhere, no_way) = (http.route("*", "nothing here"), http.route("*", "wrong method"));
    let mut router = Router::new();
    // A path with its methods, which answers OPTIONS, and refuses other methods.
    let finish = |methods: MethodRouter, allow: String| {
        let (shared, route) = (shared.clone(), no_way.clone());
        methods.fallback(async move |request: Request| {
            let handle = async |request: Request, _| not_by_this_method(&request, &allow);
            answer(&shared, &route, Offer::Nothing, request, handle).await
        })
    };
    let resources = shared.engine.core().model().resources.iter().enumerate();
    for (resource, model, path) in resources.flat_map(|(at, model)| model.paths().map(move |path| (at, model, path))) {
        let serve_command = |method: Method, path: &str, offer: Offer, command: usize, handler: Handler| {
            let (shared, route) = (shared.clone(), http.route(method.as_str(), path));
            move |request: Request| {
                let (shared, route) = (shared.clone(), route.clone());
                async move {
                    let at = |origin| At { shared: shared.clone(), resource, command, origin };
                    answer(&shared, &route, offer, request, |request, origin| handler(at(origin), request)).await
                }
            }
        };
        let read = |path: &str, handler: Handler| serve_command(Method::GET, path, Offer::Hal, 0, handler);
        let (one_path, void_path) = (format!("{path}/{{id}}"), format!("{path}/void"));
        let (search_path, finder_path) = (format!("{path}/search"), format!("{path}/search/{{finder}}"));
        let with_allow = |methods, rest: &str| finish(methods, allowed(model, rest).unwrap_or_default());

        let mut collection = get(read(path, |at, request| Box::pin(reads::list(at, request))));
        let mut one = get(read(&one_path, |at, request| Box::pin(reads::show(at, request))));
        if model.ask.is_some() {
            let posted = model.commands.iter().position(|command| command.verb == Verb::Post);
            let serve_ask = |path: &str, offer: Offer, handler: Handler| {
                let nth = posted.unwrap_or_default();
                let (shared, answer) = (shared.clone(), serve_command(Method::POST, path, offer, nth, handler));
                move |request: Request| {
                    let (shared, answer) = (shared.clone(), answer(request));
                    async move { with_capacity(answer.await, &shared) }
                }
            };
            let serve_asks = |path: &str, handler: Handler| {
                let (shared, route) = (shared.clone(), http.route("POST", path));
                let alone = serve_ask(path, Offer::Hal, handler);
                move |request: Request| {
                    let (shared, route) = (shared.clone(), route.clone());
                    if together::is_it(request.headers()) {
                        async move { with_capacity(together::answer(&shared, resource, &route, request).await, &shared) }.boxed()
                    } else {
                        alone(request).boxed()
                    }
                }
            };
            let ask: Handler = match posted {
                None => |at, request| Box::pin(commands::asked(at, request)),
                Some(_) => |at, request| Box::pin(commands::asked_or_posted(at, request)),
            };
            let undo: Handler = |at, request| Box::pin(commands::void(at, request));
            collection = collection.post(serve_asks(path, ask));
            let void = post(serve_ask(&void_path, Offer::Nothing, undo));
            router = router.route(&void_path, with_allow(void, "/void"));
        }
        for (nth, command) in model.commands.iter().enumerate() {
            let handle: Handler = |at, request| Box::pin(commands::command(at, request));
            match command.verb {
                Verb::Post if model.ask.is_some() => {} // served above
                Verb::Post => {
                    collection = collection.post(serve_command(Method::POST, path, Offer::Hal, nth, handle));
                }
                Verb::Delete => {
                    one = one.delete(serve_command(Method::DELETE, &one_path, Offer::Nothing, nth, handle));
                }
                Verb::Patch => one = one.patch(serve_command(Method::PATCH, &one_path, Offer::Hal, nth, handle)),
                Verb::Put(action) => {
                    let path = format!("{one_path}/{action}");
                    let verb = put(serve_command(Method::PUT, &path, Offer::Hal, nth, handle));
                    router = router.route(&path, with_allow(verb, &format!("/1/{action}")));
                }
            }
        }
        let search = get(read(&search_path, |at, _| Box::pin(async move { Ok(reads::finders(&at)) })));
        let finder = get(read(&finder_path, |at, request| Box::pin(reads::find(at, request))));
        router = router
            .route(path, with_allow(collection, ""))
            .route(&one_path, with_allow(one, "/1"))
            .route(&search_path, with_allow(search, "/search"))
            .route(&finder_path, with_allow(finder, "/search/findBy"));
    }
    if !shared.engine.core().model().publishes.is_empty() {
        let (shared, route) = (shared.clone(), http.route("GET", followers::PATH));
        let serve = move |request: Request| {
            let (shared, route) = (shared.clone(), route.clone());
            async move {
                let mut events = None;
                let begin = async |request: Request, _| {
                    events = Some(followers::follow(&shared, &request.into_parts().0).await?);
                    Ok(Reply::Found(String::new()))
                };
                let response = answer(&shared, &route, Offer::Events, request, begin).await;
                match events {
                    Some(events) if response.status().is_success() => followers::stream(response, events),
                    _ => response,
                }
            }
        };
        router = router.route(followers::PATH, finish(get(serve), READ_ONLY.to_owned()));
    }
    for page in Page::ALL {
        let (shared, route) = (shared.clone(), http.route("GET", page.path()));
        let serve = move |request: Request| {
            let (shared, route) = (shared.clone(), route.clone());
            async move {
                let content = async |_, _| Ok(health::page(page, &shared).await);
                answer(&shared, &route, page.offer(), request, content).await
            }
        };
        router = router.route(page.path(), finish(get(serve), READ_ONLY.to_owned()));
    }
    for file in DOCS_FILES {
        let (shared, route) = (shared.clone(), http.route("GET", file.path));
        let serve = move |request: Request| {
            let (shared, route) = (shared.clone(), route.clone());
            let content = async |_: Request, _| Ok(Reply::Found(file.content.to_owned()));
            async move { answer(&shared, &route, file.offer, request, content).await }
        };
        router = router.route(file.path, finish(get(serve), READ_ONLY.to_owned()));
    }
    let nothing_here = shared.clone();
    router.fallback(async move |request: Request| {
        let handle = async |request: Request, _| nowhere_to_be_found(&request);
        answer(&nothing_here, &nowhere, Offer::Nothing, request, handle).await
    })
}

/// What a path answers to a method that it has no handler for.
fn not_by_this_method(request: &Request, allow: &str) -> Handled {
    if request.method() == Method::OPTIONS {
        return Ok(Reply::Allowed(allow.to_owned()));
    }
    Err(wrong_method(request.method(), request.uri().path(), allow.to_owned()))
}

/// What a path answers that is not served.
fn nowhere_to_be_found(request: &Request) -> Handled {
    let path = request.uri().path();
    if path == "*" {
        return not_by_this_method(request, ALL_METHODS); // the server as a whole
    }
    if request.method() == Method::CONNECT {
        return Err(wrong_method(request.method(), "this server", ALL_METHODS));
    }
    Err(Problem::new(Code::NotFound, format!("Nothing is served at {path}.")))
}

/// Tells the asking service how many asks this one works on at once, and how many queue, whatever the answer is; and how
/// many it takes in one request.
pub(super) fn with_capacity(mut response: Response, shared: &Shared) -> Response {
    if let Some(capacity) = capacity::to_header(shared.engine.capacity(), TOGETHER_MAX) {
        response.headers_mut().insert(CAPACITY, capacity);
    }
    response
}

/// Runs a handler and makes a response of its outcome.
async fn answer<F: Future<Output = Handled>>(
    shared: &Shared,
    route: &Route,
    offer: Offer,
    request: Request,
    handler: impl FnOnce(Request, Origin) -> F,
) -> Response {
    let began = Instant::now();
    let origin = Origin::of_head(request.headers(), || shared.engine.core().tracer().samples());
    let path = Some(request.uri().path()).filter(|path| !path.is_empty()).unwrap_or("*"); // a target may have none
    let (method, path) = (request.method().clone(), path.to_owned());
    let exchange = Exchange { shared, route, began, origin: origin.clone(), method, path };
    let (head, body) = request.into_parts();
    let precondition = Precondition::of(&exchange.method, &head.headers);
    let handled = match check(&head, &body, offer) {
        Ok(media_type) => {
            // Of a command, its handler asks before it is done.
            let handled = handler(Request::from_parts(head, body), origin).await;
            handled.and_then(|reply| precondition.answer(reply)).map(|reply| (reply, media_type))
        }
        Err(problem) => Err(problem),
    };
    let request_id = exchange.origin.request.clone();
    let mut response = match handled {
        Ok((reply, media_type)) => respond(reply, media_type),
        Err(problem) => refuse(&problem, exchange.refused(&problem), &exchange.path, &request_id),
    };
    exchange.ended(response.status().as_u16());
    if let Ok(value) = HeaderValue::try_from(&*request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}
