//! A server that records what it receives and answers as the test wants.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What it was sent.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: http::Method,
    pub(crate) uri: Uri,
    pub(crate) head: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.head.get(name).unwrap_or_else(|| panic!("no header {name}")).to_str().expect("text")
    }

    /// What a receiver of *Standard Webhooks* does: insists that the message comes from a holder of the key (in
    /// base64), and is new.
    pub(crate) fn verify(&self, key: &str) {
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", &self.body];
        let signature = hmac(&BASE64_STANDARD.decode(key).expect("a key"), &signed.concat());
        assert_eq!(self.header("webhook-signature"), format!("v1,{}", BASE64_STANDARD.encode(signature)));
        let timestamp: i64 = timestamp.parse().expect("seconds");
        let age = jiff::Timestamp::now().as_second() - timestamp;
        assert!((0..=60).contains(&age), "the time of the attempt, not of the message: {age} s ago");
    }

    pub(crate) fn form(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(&self.body).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

/// HMAC-SHA256 by its definition (RFC 2104), so as not to check a library against itself.
fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

/// What it answers.
pub(crate) enum Reply {
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Nothing, ever.
    Hang,
    /// It breaks the connection.
    Break,
}

pub(crate) fn answer(status: u16, body: impl Into<String>) -> Reply {
    Reply::Answer(status, Vec::new(), body.into())
}

pub(crate) struct HttpServer {
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl HttpServer {
    pub(crate) async fn start(reply: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(None, reply).await
    }

    pub(crate) async fn start_with(
        tls: Option<TlsAcceptor>,
        reply: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.expect("a port"), tls, reply)
    }

    pub(crate) fn start_on(
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        reply: impl Fn(&Received) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let port = listener.local_addr().expect("an address").port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (all, reply) = (Arc::clone(&received), Arc::new(reply));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (all, reply, tls) = (Arc::clone(&all), Arc::clone(&reply), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request| serve(request, Arc::clone(&all), Arc::clone(&reply)));
                    match tls {
                        None => drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await),
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
                        }
                    }
                });
            }
        });
        Self { port, received, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("a lock").clone()
    }
}

async fn serve(
    request: Request<Incoming>,
    all: Arc<Mutex<Vec<Received>>>,
    reply: Arc<impl Fn(&Received) -> Reply>,
) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let received = Received { method: head.method, uri: head.uri, head: head.headers, body };
    let reply = reply(&received);
    all.lock().expect("a lock").push(received);
    match reply {
        Reply::Break => Err(io::ErrorKind::ConnectionReset.into()),
        Reply::Hang => match std::future::pending::<Infallible>().await {},
        Reply::Answer(status, headers, body) => {
            let mut response = Response::new(Full::from(body));
            *response.status_mut() = status.try_into().expect("a status");
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().expect("a header"));
            }
            Ok(response)
        }
    }
}
