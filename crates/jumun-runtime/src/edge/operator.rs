//! What operators may tell a service.

use crate::{
    engine::Engine,
    events::{
        consumer::{Consumer, Order},
        rebuild::{Rebuilds, Said},
    },
    intake::Faults,
    limits::FAULTS_LAST_MAX,
};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path as Segment, Query, State},
    response::{IntoResponse, Response},
    routing::post,
};
use jumun_control::{Told, refused};
use jumun_guard::Command;
use serde::Deserialize;
use serde_json::json;
use std::{io, time::Duration};
use tokio::sync::oneshot;

/// What operators may tell a service.
pub(crate) fn router(engine: &Engine, consumer: Option<Consumer>, rebuilds: Rebuilds) -> Router {
    let calls = Router::new()
        .route("/breakers", post(breakers))
        .route("/breakers/command", post(command_breaker))
        .route("/faults", post(faults))
        .route("/faults/set/{ms}", post(set_faults))
        .with_state(engine.clone());
    Router::new()
        .route("/parked/retry", post(retry))
        .route("/parked/discard", post(discard))
        .with_state(consumer)
        .merge(Router::new().route("/view/rebuild", post(rebuild)).with_state(rebuilds))
        .merge(calls)
}

#[derive(Deserialize)]
struct Which {
    order: Option<i64>,
}

async fn retry(State(consumer): State<Option<Consumer>>, Query(which): Query<Which>) -> Told {
    let consumer = consumer.ok_or_else(|| refused("it listens to nobody, so nothing is parked"))?;
    let (done, outcome) = oneshot::channel();
    let told = consumer.tell(Order::Retry { key: which.order, done }).await;
    let done = if told { outcome.await.ok() } else { None };
    let (heard, failed) = done.unwrap_or(Err("it is stopping")).map_err(refused)?;
    Ok(Json(json!({ "heard": heard, "failed": failed })))
}

async fn discard(State(consumer): State<Option<Consumer>>, Query(which): Query<Which>) -> Told {
    let consumer = consumer.ok_or_else(|| refused("it listens to nobody, so nothing is parked"))?;
    let key = which.order.ok_or_else(|| refused("it must be told which order"))?;
    let (done, outcome) = oneshot::channel();
    let told = consumer.tell(Order::Discard { key, done }).await;
    let done = if told { outcome.await.ok() } else { None };
    let discarded = done.unwrap_or(Err("it is stopping")).map_err(refused)?;
    Ok(Json(json!({ "discarded": discarded })))
}

async fn breakers(State(engine): State<Engine>) -> Told {
    Ok(Json(engine.guards().told().into()))
}

#[derive(Deserialize)]
struct BreakerCommand {
    callee: String,
    command: String,
}

async fn command_breaker(State(engine): State<Engine>, Query(wanted): Query<BreakerCommand>) -> Told {
    let command = match &*wanted.command {
        "force-open" => Command::ForceOpen,
        "close" => Command::ForceClosed,
        "disable" => Command::Disable,
        "reset" => Command::Reset,
        _ => return Err(refused("it must be told to force-open, close, disable or reset")),
    };
    let state = engine.guards().command(&wanted.callee, command);
    let state = state.ok_or_else(|| refused("it asks nobody of this name"))?;
    Ok(Json(json!({ "state": state })))
}

async fn faults(State(engine): State<Engine>) -> Told {
    Ok(Json(json!(engine.faults().on())))
}

/// Turns faults on, instead of those that are; none is none. For so many milliseconds; 0 is until they are turned off.
async fn set_faults(State(engine): State<Engine>, Segment(ms): Segment<u64>, wanted: Query<Faults>) -> Told {
    let lasting = (ms > 0).then(|| Duration::from_millis(ms));
    if lasting.is_some_and(|lasting| lasting > FAULTS_LAST_MAX) {
        return Err(refused("faults end by themselves within a day"));
    }
    engine.faults().set(wanted.0, lasting);
    Ok(Json(json!(engine.faults().on())))
}

#[derive(Deserialize)]
struct WhichView {
    view: String,
}

/// Line by line: how far it is, then what came of it.
async fn rebuild(State(rebuilds): State<Rebuilds>, Query(which): Query<WhichView>) -> Response {
    let said = match rebuilds.begin(&which.view) {
        Ok(said) => said,
        Err(error) => return format!("{}\n", json!(Said::from(error))).into_response(),
    };
    let lines = futures_util::stream::unfold(said, |mut said| async {
        let mut line = json!(said.recv().await?).to_string();
        line.push('\n');
        Some((Ok::<_, io::Error>(line), said))
    });
    Body::from_stream(lines).into_response()
}
