//! Several asks of a neighbour in one request; see [`crate::asks::together`] for what is on the wire.

use super::{
    commands::{bad_input, fingerprint, read_body},
    exchange::{Exchange, check},
    shared::Shared,
};
use crate::{
    asks::together::{AskLine, push_answer, questions},
    crash,
    engine::{Answer, Incoming, Key, Success},
};
use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::Response,
};
use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, FuturesUnordered},
};
use jumun_http::{ASKS, Code, EXPIRES, Offer, Problem, refuse};
use jumun_telemetry::{Origin, Route};
use std::{convert::Infallible, future::ready, sync::Arc};
use tokio::time::Instant;
use uuid::Uuid;

/// Whether a request brings several asks. The gateway passes no header of an ask on.
pub(super) fn is_it(head: &HeaderMap) -> bool {
    head.contains_key(EXPIRES) && head.get(header::CONTENT_TYPE).is_some_and(|kind| kind == ASKS)
}

/// Takes the asks, each by itself. They are one commit group, as they come to the database in the same moment.
pub(super) async fn answer(shared: &Shared, resource: usize, route: &Route, request: Request) -> Response {
    let (began, path) = (Instant::now(), Arc::<str>::from(request.uri().path()));
    let (head, body) = request.into_parts();
    let body = match check(&head, &body, Offer::Nothing) {
        Ok(_) => read_body(body).await,
        Err(problem) => Err(problem),
    };
    let asks = body.and_then(|body| {
        let questions = questions(&body).map_err(|error| Problem::new(Code::Malformed, error.to_string()))?;
        Ok(questions.iter().map(|line| take(shared, resource, route, &path, began, line)).collect())
    });
    match asks {
        Ok(asks) => respond(asks).await,
        Err(problem) => {
            let origin = Origin::of_head(&head.headers, || false);
            let (request_id, method) = (origin.request.clone(), Method::POST);
            let exchange = Exchange { shared, route, began, origin, method, path: path.to_string() };
            let response = refuse(&problem, exchange.refused(&problem), &path, &request_id);
            exchange.ended(response.status().as_u16());
            response
        }
    }
}

/// Takes one ask; gives the line of its answer.
fn take(
    shared: &Shared,
    resource: usize,
    route: &Route,
    path: &Arc<str>,
    began: Instant,
    line: &AskLine<'_>,
) -> BoxFuture<'static, Vec<u8>> {
    let origin = line.origin(|| shared.engine.core().tracer().samples());
    let answer = match incoming(shared, resource, path, line, origin.clone()) {
        Ok(incoming) => {
            crash::point("ask.received");
            let engine = shared.engine.clone();
            async move { engine.take(incoming).await }.left_future()
        }
        Err(problem) => ready(Err(problem)).right_future(),
    };
    let (id, shared, route, path) = (line.id, shared.clone(), route.clone(), path.clone());
    async move {
        let answer = answer.await;
        let exchange =
            Exchange { shared: &shared, route: &route, began, origin, method: Method::POST, path: path.to_string() };
        to_line(id, answer, exchange)
    }
    .boxed()
}

fn incoming(
    shared: &Shared,
    resource: usize,
    path: &str,
    line: &AskLine<'_>,
    origin: Origin,
) -> Result<Incoming, Problem> {
    let model = shared.engine.core().model().resources[resource].ask.as_ref();
    let model = model.ok_or_else(|| Problem::new(Code::NotFound, "Nothing is asked here."))?;
    if line.id.get_version_num() != 7 {
        return Err(jumun_http::ask_only());
    }
    let (id, command): (i64, _) = model.read(line.body()).map_err(bad_input)?;
    Ok(Incoming {
        resource,
        id: Some(id),
        command,
        key: Some(Key::Ask { id: line.id, expires_ms: line.expires }),
        fingerprint: fingerprint(&Method::POST, path, line.body()),
        success: StatusCode::CREATED.as_u16(),
        origin,
    })
}

fn to_line(id: Uuid, answer: Answer, exchange: Exchange<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    let status = match answer {
        Ok(Success { status, body, .. }) => {
            push_answer(&mut line, id, status, &body);
            status
        }
        Err(problem) => {
            let status = exchange.refused(&problem).as_u16();
            push_answer(&mut line, id, status, &problem.body(status, &exchange.path, &exchange.origin.request));
            status
        }
    };
    exchange.ended(status);
    line
}

/// The response: begins with the first answers, and has each other one as soon as it is there.
async fn respond(mut asks: FuturesUnordered<BoxFuture<'static, Vec<u8>>>) -> Response {
    let first = next(&mut asks).await;
    let body = match first {
        Some(first) if !asks.is_empty() => {
            let rest = stream::unfold(asks, |mut asks| async { Some((next(&mut asks).await?, asks)) });
            Body::from_stream(stream::once(ready(first)).chain(rest).map(Ok::<_, Infallible>))
        }
        all => Body::from(all.unwrap_or_default()),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(ASKS));
    response
}

/// Waits for an answer, and gives all that are there then.
async fn next(asks: &mut FuturesUnordered<BoxFuture<'static, Vec<u8>>>) -> Option<Vec<u8>> {
    let mut lines = asks.next().await?;
    while let Some(Some(line)) = asks.next().now_or_never() {
        lines.extend(line);
    }
    Some(lines)
}
