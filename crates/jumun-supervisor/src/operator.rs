//! What operators may tell the supervisor, and how they do.

use super::{
    Kept,
    keeper::{Order, Status},
};
use crate::limits::HEALTH_TIME_LIMIT;
use axum::{
    Json, Router,
    extract::{Query, State as Shared},
    routing::post,
};
use bytes::Bytes;
use futures_util::future::join_all;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use jumun_control::{self as control, ControlError, Told, refused};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::net::TcpStream;

/// Where the supervisor of the system with this folder hears operators.
pub fn socket_in(folder: &Path) -> PathBuf {
    folder.join("up.control")
}

/// What a supervisor says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Supervised {
    /// What it was started with: system, process id, version.
    pub about: Value,
    /// Every process, and what it says of its own health: UP, DOWN, or nothing.
    pub processes: Vec<(Status, Option<String>)>,
}

impl Supervised {
    /// Asks the supervisor of the system with this folder.
    pub async fn ask(folder: &Path) -> Result<Self, ControlError> {
        let answer = control::tell(&socket_in(folder), "/status").await?;
        serde_json::from_value(answer).map_err(|error| ControlError::NoAnswer(error.to_string()))
    }
}

#[derive(Clone)]
struct Supervising {
    kept: Arc<Vec<Kept>>,
    about: Arc<Value>,
}

pub(super) fn router(kept: Vec<Kept>, about: Value) -> Router {
    let supervising = Supervising { kept: Arc::new(kept), about: Arc::new(about) };
    Router::new()
        .route("/status", post(status))
        .route("/kill", post(async |Shared(all): Shared<Supervising>, which| all.tell(which, Order::Kill).await))
        .route("/stop", post(async |Shared(all): Shared<Supervising>, which| all.tell(which, Order::Stop).await))
        .route("/start", post(async |Shared(all): Shared<Supervising>, which| all.tell(which, Order::Start).await))
        .route("/roll", post(async |Shared(all): Shared<Supervising>, which| all.tell(which, Order::Roll).await))
        .with_state(supervising)
}

#[derive(Deserialize)]
struct Which {
    service: String,
}

async fn status(Shared(all): Shared<Supervising>) -> Told {
    let processes = join_all(all.kept.iter().map(|kept| async {
        let status = kept.status.borrow().clone();
        let health = if status.pid.is_some() { health(status.address).await } else { None };
        (status, health)
    }));
    let supervised = Supervised { about: Value::clone(&all.about), processes: processes.await };
    Ok(Json(json!(supervised)))
}

impl Supervising {
    async fn tell(&self, Query(which): Query<Which>, order: fn(super::keeper::Done) -> Order) -> Told {
        let kept = self.kept.iter().find(|kept| kept.name == which.service);
        let kept = kept.ok_or_else(|| refused(&format!("there is no `{}` here", which.service)))?;
        kept.tell(order).await.map_err(|why| refused(&why))?;
        Ok(Json(json!(*kept.status.borrow())))
    }
}

/// What a process says of its health, if it says anything in time.
async fn health(address: SocketAddr) -> Option<String> {
    let exchange = async {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        let request = Request::get("/actuator/health").header("host", address.to_string()).body(Empty::<Bytes>::new());
        let body = sender.send_request(request.ok()?).await.ok()?.into_body().collect().await.ok()?.to_bytes();
        let health: Value = serde_json::from_slice(&body).ok()?;
        health["status"].as_str().map(str::to_owned)
    };
    tokio::time::timeout(HEALTH_TIME_LIMIT, exchange).await.ok().flatten()
}
