//! The control socket of a process: what operators may tell it, and nobody else. A Unix socket beside the database that
//! only its owner can open; nothing of this is on a public port.

use axum::{Json, Router, http::StatusCode};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::{Value, json};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::{UnixListener, UnixStream};

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
pub struct Control {
    path: PathBuf,
    accepting: tokio::task::JoinHandle<()>,
}

impl Control {
    /// Listens. The caller holds the lock of the data, so whatever is there is left over.
    pub fn listen(path: &Path, router: Router) -> io::Result<Self> {
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

/// What an operator hears.
pub type Told = Result<Json<Value>, (StatusCode, Json<Value>)>;

/// A no, and why.
pub fn refused(why: &str) -> (StatusCode, Json<Value>) {
    (StatusCode::CONFLICT, Json(json!(why)))
}
