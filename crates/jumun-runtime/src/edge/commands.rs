//! Commands of clients and asks of neighbours: reads them, gives them to the engine, and answers.

use super::{
    reads,
    request::{At, Handled, id, single},
    shared::Shared,
};
use crate::{
    crash,
    engine::{Incoming, Key, Success},
};
use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::{HeaderMap, Method, StatusCode},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use jumun::{BadInput, ResourceModel, Verb};
use jumun_http::{
    Code, EXPIRES, IDEMPOTENCY_KEY, Precondition, Problem, Reply, ask_only, check_json,
    limits::{BODY_MAX_BYTES, BODY_TIME_LIMIT, KEY_MAX_BYTES},
};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use uuid::Uuid;

/// A command of a client.
pub(super) async fn command(at: At, mut request: Request) -> Handled {
    let model = at.model().commands[at.command].clone();
    let (id, success, has_body) = match model.verb {
        Verb::Post => (None, StatusCode::CREATED, true),
        Verb::Delete => (Some(id(&mut request).await?), StatusCode::NO_CONTENT, false),
        Verb::Put(_) => (Some(id(&mut request).await?), StatusCode::OK, false),
        Verb::Patch => (Some(id(&mut request).await?), StatusCode::OK, true),
    };
    let key = client_key(request.headers())?;
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let precondition = Precondition::of(&method, request.headers());
    let body = if has_body { json_body(request).await? } else { Bytes::new() };
    let command = model.read(&body).map_err(bad_input)?;
    if let (Precondition::Fails, Some(id)) = (precondition, id) {
        reads::document(&at, id).await?; // not there is 404, with conditions or without (RFC 9110, section 13.2.1)
    }
    precondition.check()?;
    let fingerprint = fingerprint(&method, &canonical(at.model(), &path), &body);
    let At { resource, origin, .. } = at;
    let success = success.as_u16();
    take(&at.shared, Incoming { resource, id, command, key, fingerprint, success, origin }).await
}

/// An ask of a neighbour.
pub(super) async fn asked(at: At, request: Request) -> Handled {
    let key = ask_key(request.headers())?;
    let model = at.model().ask.clone();
    let model = model.ok_or_else(|| Problem::new(Code::NotFound, "Nothing is asked here."))?;
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let precondition = Precondition::of(&method, request.headers());
    let body = json_body(request).await?;
    let (id, command): (i64, _) = model.read(&body).map_err(bad_input)?;
    precondition.check()?;
    let fingerprint = fingerprint(&method, &path, &body);
    let success = StatusCode::CREATED.as_u16();
    crash::point("ask.received");
    let At { resource, origin, .. } = at;
    let (id, key) = (Some(id), Some(key));
    take(&at.shared, Incoming { resource, id, command, key, fingerprint, success, origin }).await
}

/// An ask of a neighbour or a command of a client, at a path that takes both. The gateway passes no header of an ask on.
pub(super) async fn asked_or_posted(at: At, request: Request) -> Handled {
    if request.headers().contains_key(EXPIRES) { asked(at, request).await } else { command(at, request).await }
}

async fn take(shared: &Shared, incoming: Incoming) -> Handled {
    let Success { status, location, body, seen } = shared.engine.take(incoming).await?;
    match StatusCode::from_u16(status) {
        Ok(status) if status != StatusCode::NO_CONTENT => Ok(Reply::Done(status, location, body, seen)),
        _ => Ok(Reply::Empty(seen)),
    }
}

/// A neighbour has its ask undone.
pub(super) async fn void(at: At, request: Request) -> Handled {
    let Key::Ask { id, .. } = ask_key(request.headers())? else { return Err(ask_only()) };
    at.shared.engine.void(at.resource, id, at.origin).await?;
    Ok(Reply::Empty(None))
}

fn client_key(head: &HeaderMap) -> Result<Option<Key>, Problem> {
    let Some(key) = single(head, IDEMPOTENCY_KEY)? else { return Ok(None) };
    let sane = |key: &&str| (1..=KEY_MAX_BYTES).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = key.to_str().ok().filter(sane);
    let why = "An Idempotency-Key is 1 to 255 visible ASCII characters.";
    key.map(|key| Some(Key::Client(key.to_owned()))).ok_or_else(|| Problem::new(Code::Malformed, why))
}

fn ask_key(head: &HeaderMap) -> Result<Key, Problem> {
    let text = |name| single(head, name).map(|value| value.and_then(|value| value.to_str().ok()));
    let id = text(IDEMPOTENCY_KEY)?.and_then(|id| Uuid::try_parse(id).ok()).filter(|id| id.get_version_num() == 7);
    let expires_ms = text(EXPIRES)?.and_then(|expires| expires.parse().ok());
    match (id, expires_ms) {
        (Some(id), Some(expires_ms)) => Ok(Key::Ask { id, expires_ms }),
        _ => Err(ask_only()),
    }
}

/// A path with an alias has the path of its resource: a repeat may come by another one.
fn canonical<'p>(model: &ResourceModel, path: &'p str) -> Cow<'p, str> {
    let rest = |alias: &&str| path.strip_prefix(*alias).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let rest = model.aliases.iter().find_map(rest);
    rest.map_or(Cow::Borrowed(path), |rest| Cow::Owned(format!("{}{rest}", model.path)))
}

/// A hash of all that identifies a request.
pub(super) fn fingerprint(method: &Method, path: &str, body: &[u8]) -> [u8; 16] {
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
    check_json(request.headers())?;
    read_body(request.into_body()).await
}

pub(super) async fn read_body(body: Body) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Code::TooLarge, format!("A body has at most {BODY_MAX_BYTES} bytes."));
    if body.size_hint().lower() > BODY_MAX_BYTES as u64 {
        return Err(too_large());
    }
    let body = Limited::new(body, BODY_MAX_BYTES).collect();
    match tokio::time::timeout(BODY_TIME_LIMIT, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(Code::Malformed, "The body ended early, or its chunks cannot be read.")),
        Err(_) => Err(Problem::new(Code::Timeout, format!("The body did not arrive within {BODY_TIME_LIMIT:?}."))),
    }
}

pub(super) fn bad_input(bad: BadInput) -> Problem {
    match bad {
        BadInput::Malformed(why) => Problem::new(Code::Malformed, format!("The body is not JSON: {why}")),
        BadInput::Rejected(why) => why.into(),
    }
}
