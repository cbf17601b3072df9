//! The process's end: a Unix socket that only its owner can open, and a handler for each call.

use crate::{
    Call, Refused, VERSION,
    limits::{ACCEPT_PAUSE, MESSAGE_MAX_BYTES, REPORTS_WAITING_MAX},
};
use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Request},
    http::{HeaderName, HeaderValue, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::stream;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde::Serialize;
use std::{
    fs,
    future::Future,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tokio::{net::UnixListener, sync::mpsc, task::JoinHandle};

/// The header with the version of the protocol, of calls and replies.
pub(crate) const VERSION_HEADER: HeaderName = HeaderName::from_static("jumun-control-version");

/// The calls that a process answers.
#[derive(Debug, Default)]
pub struct Routes(Router);

impl Routes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers a call with one reply, or refuses it.
    #[must_use]
    pub fn on<C: Call, F: Future<Output = Result<C::Reply, Refused>> + Send>(
        self,
        handler: impl Fn(C) -> F + Clone + Send + Sync + 'static,
    ) -> Self {
        let handle = move |body: Bytes| async move {
            let call = match read(&body) {
                Ok(call) => call,
                Err(refused) => return refuse(&refused),
            };
            match handler(call).await {
                Ok(reply) => Json(reply).into_response(),
                Err(refused) => refuse(&refused),
            }
        };
        Self(self.0.route(C::PATH, post(handle)))
    }

    /// Answers a call with many replies, a line each. The sender of the replies notices when the operator hangs up.
    #[must_use]
    pub fn on_follow<C: Call>(
        self,
        handler: impl Fn(C) -> mpsc::Receiver<C::Reply> + Clone + Send + Sync + 'static,
    ) -> Self {
        let handle = move |body: Bytes| async move {
            let replies = match read(&body) {
                Ok(call) => handler(call),
                Err(refused) => return refuse(&refused),
            };
            Body::from_stream(stream::unfold(replies, |mut replies| async {
                Some((line(&replies.recv().await?), replies))
            }))
            .into_response()
        };
        Self(self.0.route(C::PATH, post(handle)))
    }

    /// A channel for the replies of one followed call.
    pub fn channel<R>() -> (mpsc::Sender<R>, mpsc::Receiver<R>) {
        mpsc::channel(REPORTS_WAITING_MAX)
    }

    fn into_router(self) -> Router {
        let unknown = async || refuse(&Refused::new("this process does not answer such a call"));
        let router = self.0.fallback(unknown).layer(DefaultBodyLimit::max(MESSAGE_MAX_BYTES));
        router.layer(middleware::from_fn(versioned))
    }
}

fn read<C: Call>(body: &[u8]) -> Result<C, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::new(format!("the call cannot be read: {error}")))
}

fn line<R: Serialize>(reply: &R) -> io::Result<String> {
    Ok(serde_json::to_string(reply)? + "\n")
}

fn refuse(refused: &Refused) -> Response {
    (StatusCode::CONFLICT, Json(refused)).into_response()
}

/// Refuses calls of another version, and adds the version to each reply.
async fn versioned(request: Request, next: Next) -> Response {
    let version = HeaderValue::from(VERSION);
    let mut response = if request.headers().get(&VERSION_HEADER) == Some(&version) {
        next.run(request).await
    } else {
        refuse(&Refused::new(format!("this process speaks version {VERSION} of the operator's protocol only")))
    };
    response.headers_mut().insert(VERSION_HEADER, version);
    response
}

/// A control socket that is listened to; the file goes when it is dropped, and the folder if it was made for the file and
/// holds nothing else: a folder that was moved away can be moved back then.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    has_made_folder: bool,
    accepting: JoinHandle<()>,
}

impl Control {
    /// Listens. The caller holds the lock of the data, so a socket that is there already is left over.
    ///
    /// # Errors
    /// The folder cannot be written, or the path is too long for a socket (about 100 bytes).
    pub fn listen(path: &Path, routes: Routes) -> io::Result<Self> {
        let missing = path.parent().filter(|folder| !folder.exists());
        if let Some(folder) = missing {
            fs::create_dir_all(folder)?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let router = routes.into_router();
        let accepting = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let service = TowerToHyperService::new(router.clone());
                        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the control socket cannot accept");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
        Ok(Self { path: path.to_owned(), has_made_folder: missing.is_some(), accepting })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.accepting.abort();
        drop(fs::remove_file(&self.path)); // a file that stays is removed by the next process
        if let Some(folder) = self.path.parent().filter(|_| self.has_made_folder) {
            drop(fs::remove_dir(folder)); // one that holds something stays
        }
    }
}
