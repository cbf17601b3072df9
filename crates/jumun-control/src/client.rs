//! The program's end: sends a call, reads the reply.

use crate::{
    Call, ControlError, Refused, VERSION,
    limits::{ANSWER_TIME_LIMIT, MESSAGE_MAX_BYTES},
    server::VERSION_HEADER,
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::path::Path;
use tokio::{net::UnixStream, task::JoinHandle};

/// Sends a call to a running process and waits for its reply.
///
/// # Errors
/// No process listens, it does not answer within [`ANSWER_TIME_LIMIT`], it is of another version, or it refuses.
pub async fn tell<C: Call>(socket: &Path, call: &C) -> Result<C::Reply, ControlError> {
    let exchange = async {
        let (response, _connection) = send(socket, call).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MESSAGE_MAX_BYTES).collect().await.map_err(ControlError::no_answer)?.to_bytes();
        reply(head.status, &body)
    };
    tokio::time::timeout(ANSWER_TIME_LIMIT, exchange).await.map_err(ControlError::no_answer)?
}

/// Sends a call that a running process answers with many replies, and passes each on as it comes. `on_reply` ends it early
/// with `false`; the process notices.
///
/// # Errors
/// As [`tell`]; the time limit holds for each reply.
pub async fn follow<C: Call>(
    socket: &Path,
    call: &C,
    mut on_reply: impl FnMut(C::Reply) -> bool,
) -> Result<(), ControlError> {
    let (response, connection) = send(socket, call).await?;
    let (head, mut body) = response.into_parts();
    let mut line = Vec::new();
    loop {
        let frame = tokio::time::timeout(ANSWER_TIME_LIMIT, body.frame()).await.map_err(ControlError::no_answer)?;
        let Some(frame) = frame else { break };
        let Ok(bytes) = frame.map_err(ControlError::no_answer)?.into_data() else { continue };
        for byte in bytes {
            if byte != b'\n' {
                line.push(byte);
                if line.len() > MESSAGE_MAX_BYTES {
                    return Err(ControlError::no_answer("it sends a line without an end"));
                }
                continue;
            }
            let read = serde_json::from_slice(&line).map_err(ControlError::no_answer)?;
            line.clear();
            if !on_reply(read) {
                connection.abort();
                return Ok(());
            }
        }
    }
    match (head.status.is_success(), line.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(ControlError::no_answer(String::from_utf8_lossy(&line))),
        (false, _) => reply::<()>(head.status, &line),
    }
}

async fn send<C: Call>(socket: &Path, call: &C) -> Result<(Response<Incoming>, JoinHandle<()>), ControlError> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.map_err(|why| ControlError::NotRunning { path: socket.display().to_string(), why })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(ControlError::no_answer)?;
    let connection = tokio::spawn(async move {
        drop(connection.await); // the sender gets the error
    });
    let body = serde_json::to_vec(call).map_err(ControlError::no_answer)?;
    let request = Request::post(C::PATH)
        .header(header::HOST, "control")
        .header(header::CONTENT_TYPE, "application/json")
        .header(VERSION_HEADER, VERSION)
        .body(Full::new(Bytes::from(body)))
        .map_err(ControlError::no_answer)?;
    let response = sender.send_request(request).await.map_err(ControlError::no_answer)?;
    check_version(response.headers())?;
    Ok((response, connection))
}

fn check_version(head: &HeaderMap) -> Result<(), ControlError> {
    let theirs = head.get(VERSION_HEADER).and_then(|version| version.to_str().ok());
    if theirs.and_then(|version| version.parse().ok()) == Some(VERSION) {
        return Ok(());
    }
    Err(ControlError::Version { theirs: theirs.unwrap_or("unknown").to_owned() })
}

fn reply<R: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<R, ControlError> {
    if status.is_success() {
        return serde_json::from_slice(body).map_err(ControlError::no_answer);
    }
    match serde_json::from_slice::<Refused>(body) {
        Ok(Refused { why }) => Err(ControlError::Refused(why)),
        Err(_) => Err(ControlError::no_answer(format!("{status} {}", String::from_utf8_lossy(body)))),
    }
}
