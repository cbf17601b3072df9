//! The control socket of a process: what operators may tell it, and nobody else. A Unix socket beside the database that
//! only its owner can open; nothing of this is on a public port.

use crate::{
    consumer::{Consumer, Order},
    engine::Engine,
    faults::Faults,
    limits::FAULTS_LAST_MAX,
    rebuild::{Rebuilds, Said},
};
use axum::{
    Json, Router,
    body::Body,
    extract::{Path as Segment, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use jumun_guard::Command;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::oneshot,
};

/// How long an operator waits for an answer.
const TIME_LIMIT: Duration = Duration::from_mins(4);

/// Where the control socket of the service with this database is.
pub fn socket_beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".control");
    name.into()
}

/// Why an operator got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("{path}: the service does not run: {why}")]
    NotRunning {
        /// The socket.
        path: String,
        /// What the system said.
        why: io::Error,
    },
    /// It does not answer, or not sensibly.
    #[error("the service does not answer: {0}")]
    NoAnswer(String),
    /// It says no.
    #[error("the service says: {0}")]
    Refused(String),
}

impl ControlError {
    /// A code that stays the same over releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotRunning { .. } => "service-not-running",
            Self::NoAnswer(_) => "service-silent",
            Self::Refused(_) => "service-refused",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NotRunning { .. } => "Start it (jumun serve …), or check --data.",
            Self::NoAnswer(_) => "Look at its log; restart it if it hangs. Nothing is lost by that.",
            Self::Refused(_) => "Do what it says, then try again.",
        }
    }
}

/// Tells a running service something: `POST` to a path with a query.
pub async fn tell(socket: &Path, path_and_query: &str) -> Result<Value, ControlError> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|why| ControlError::NotRunning { path: socket.display().to_string(), why })?;
    let silent = |why: &dyn std::fmt::Display| ControlError::NoAnswer(why.to_string());
    let exchange = async {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| silent(&error))?;
        tokio::spawn(connection);
        let request = Request::post(path_and_query).header("host", "control").body(Empty::<Bytes>::new());
        let response = sender.send_request(request.map_err(|error| silent(&error))?).await;
        let (head, body) = response.map_err(|error| silent(&error))?.into_parts();
        let body = body.collect().await.map_err(|error| silent(&error))?.to_bytes();
        let answer: Value = serde_json::from_slice(&body).map_err(|error| silent(&error))?;
        if head.status.is_success() { Ok(answer) } else { Err(ControlError::Refused(answer.to_string())) }
    };
    tokio::time::timeout(TIME_LIMIT, exchange).await.map_err(|error| silent(&error))?
}

/// Tells a running service something that it answers line by line, each a JSON object. Ends early where `hear` says so,
/// and the service is told by that, too.
pub async fn tell_and_follow(
    socket: &Path,
    path_and_query: &str,
    mut hear: impl FnMut(Value) -> bool,
) -> Result<(), ControlError> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|why| ControlError::NotRunning { path: socket.display().to_string(), why })?;
    let silent = |why: &dyn std::fmt::Display| ControlError::NoAnswer(why.to_string());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| silent(&error))?;
    let connection = tokio::spawn(connection);
    let request = Request::post(path_and_query).header("host", "control").body(Empty::<Bytes>::new());
    let response = sender.send_request(request.map_err(|error| silent(&error))?).await;
    let (head, mut body) = response.map_err(|error| silent(&error))?.into_parts();
    let mut line = Vec::new();
    loop {
        let frame = tokio::time::timeout(TIME_LIMIT, body.frame()).await.map_err(|error| silent(&error))?;
        let Some(frame) = frame else { break };
        let Ok(bytes) = frame.map_err(|error| silent(&error))?.into_data() else { continue };
        for byte in bytes {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            let said = serde_json::from_slice(&line).map_err(|error| silent(&error))?;
            line.clear();
            if !hear(said) {
                connection.abort();
                return Ok(());
            }
        }
    }
    let is_whole = head.status.is_success() && line.is_empty();
    if is_whole {
        Ok(())
    } else {
        Err(ControlError::NoAnswer(format!("{} {}", head.status, String::from_utf8_lossy(&line))))
    }
}

/// A control socket that is listened to.
pub(crate) struct Control {
    path: PathBuf,
    accepting: tokio::task::JoinHandle<()>,
}

impl Control {
    /// Listens. The caller holds the lock of the data, so whatever is there is left over.
    pub(crate) fn listen(path: &Path, router: Router) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let accepting = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let service = TowerToHyperService::new(router.clone());
                        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the control socket cannot accept");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Ok(Self { path: path.to_owned(), accepting })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.accepting.abort();
        drop(fs::remove_file(&self.path)); // what stays is removed by the next process
    }
}

/// What operators may tell a service.
pub(crate) fn of_service(engine: &Engine, consumer: Option<Consumer>, rebuilds: Rebuilds) -> Router {
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

/// What an operator hears.
pub(crate) type Told = Result<Json<Value>, (StatusCode, Json<Value>)>;

pub(crate) fn refused(why: &str) -> (StatusCode, Json<Value>) {
    (StatusCode::CONFLICT, Json(json!(why)))
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
