//! The process's end: a Unix socket that only its owner can open, and a handler for each call.

use crate::{
    Call, Refused, VERSION,
    limits::{ACCEPT_PAUSE, MESSAGE_MAX_BYTES, REPORTS_WAITING_MAX, SOCKET_LOOKED_AT_EVERY},
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
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::{net::UnixListener, sync::mpsc, task::JoinHandle, time::interval};

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

/// A control socket that is listened to. It is made again if its file is deleted: operators can still ask what is wrong. The
/// file goes when this is dropped, and the folder if it was made for sockets and holds nothing else: a folder that
/// was moved away can be moved back then.
#[derive(Debug)]
pub struct Control {
    path: PathBuf,
    may_have_made_folder: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

impl Control {
    /// Listens. The caller holds the lock of the data, so a socket that is there already is left over.
    ///
    /// # Errors
    /// The folder cannot be written, or the path is too long for a socket (about 100 bytes).
    pub fn listen(path: &Path, routes: Routes) -> io::Result<Self> {
        Self::with(path, routes, false)
    }

    /// The same, and makes the folder again if that is deleted. One process of a system does: the others hold back while
    /// there is none.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub fn listen_and_keep_folder(path: &Path, routes: Routes) -> io::Result<Self> {
        Self::with(path, routes, true)
    }

    fn with(path: &Path, routes: Routes, keeps_folder: bool) -> io::Result<Self> {
        let is_made = path.parent().is_some_and(|folder| !folder.exists());
        let may_have_made_folder = Arc::new(AtomicBool::new(is_made));
        let listener = bind(path)?;
        let socket = Socket { path: path.to_owned(), keeps_folder, may_have_made_folder: may_have_made_folder.clone() };
        let accepting = tokio::spawn(socket.accept(listener, routes.into_router()));
        Ok(Self { path: path.to_owned(), may_have_made_folder, accepting })
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// What the task that accepts knows of its socket.
struct Socket {
    path: PathBuf,
    keeps_folder: bool,
    may_have_made_folder: Arc<AtomicBool>,
}

impl Socket {
    async fn accept(self, mut listener: UnixListener, router: Router) {
        let mut look = interval(SOCKET_LOOKED_AT_EVERY);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let service = TowerToHyperService::new(router.clone());
                        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the control socket cannot accept");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                _ = look.tick() => match self.again() {
                    Ok(None) => {}
                    Ok(Some(again)) => listener = again,
                    Err(error) => tracing::debug!(%error, "the control socket cannot be made again"),
                }
            }
        }
    }

    /// Makes the socket again if it is gone.
    fn again(&self) -> io::Result<Option<UnixListener>> {
        let has_folder = self.path.parent().is_none_or(Path::exists);
        if self.path.exists() || !(has_folder || self.keeps_folder) {
            return Ok(None);
        }
        self.may_have_made_folder.store(true, Relaxed); // or another one has: the last socket takes it away
        bind(&self.path).map(Some)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.accepting.abort();
        drop(fs::remove_file(&self.path)); // a file that stays is removed by the next process
        if let Some(folder) = self.path.parent().filter(|_| self.may_have_made_folder.load(Relaxed)) {
            drop(fs::remove_dir(folder)); // one that holds something stays
        }
    }
}
