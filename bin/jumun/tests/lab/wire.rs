//! HTTP byte by byte, for both ends of a proxy: a client that sends what no library would, and a service that does as it
//! is told.

use super::LONG;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::AbortHandle;

/// A request or an answer as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// `POST /orders HTTP/1.1` or `HTTP/1.1 200 OK`
    pub(crate) first_line: String,
    pub(crate) lines: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// On which connection to an upstream, counted from 0.
    pub(crate) connection: usize,
}

impl Message {
    /// All values of a header, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.lines.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The value of a header that is there once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there more than once: {self:?}");
        all.first().copied()
    }

    pub(crate) fn status(&self) -> u16 {
        let status = self.first_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("no answer: {self:?}"))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self::of(TcpStream::connect(address).await.expect("a connection"))
    }

    /// A connection that was accepted.
    pub(crate) fn of(stream: TcpStream) -> Self {
        Self { stream, read: Vec::new() }
    }

    /// Sends these bytes. Whether anybody wants them is seen when the answer is read.
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.stream.write_all(bytes.as_ref()).await);
    }

    async fn more(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.read);
        let read = tokio::time::timeout(LONG, read).await.expect("bytes or an end");
        read.is_ok_and(|bytes| bytes > 0)
    }

    /// The next line without its end.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.windows(2).position(|two| two == b"\r\n") {
                let line = self.read.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8(line).expect("text"));
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// The head of the next message; None at the end.
    pub(crate) async fn head(&mut self) -> Option<Message> {
        let mut message = Message { first_line: self.line().await?, ..Message::default() };
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Some(message);
            }
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line}"));
            message.lines.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    /// So many bytes; fewer at the end.
    pub(crate) async fn bytes(&mut self, wanted: usize) -> Vec<u8> {
        while self.read.len() < wanted && self.more().await {}
        let there = wanted.min(self.read.len());
        self.read.drain(..there).collect()
    }

    /// The next message as a whole; None at the end, also at one that comes too early.
    pub(crate) async fn message(&mut self) -> Option<Message> {
        let head = self.head().await?;
        self.with_body(head).await
    }

    pub(crate) async fn with_body(&mut self, mut message: Message) -> Option<Message> {
        if message.header("transfer-encoding") == Some("chunked") {
            loop {
                let length = usize::from_str_radix(&self.line().await?, 16).expect("a length");
                message.body.extend(self.bytes(length).await);
                self.line().await?;
                if length == 0 {
                    return Some(message);
                }
            }
        }
        let length = message.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        message.body = self.bytes(length).await;
        (message.body.len() == length).then_some(message)
    }

    /// The next chunk of a chunked body, as text; `None` at its end, and at the end of the connection.
    pub(crate) async fn chunk(&mut self) -> Option<String> {
        let length = usize::from_str_radix(&self.line().await?, 16).expect("a length");
        let chunk = self.bytes(length + 2).await;
        (length > 0 && chunk.len() == length + 2).then(|| String::from_utf8_lossy(&chunk[..length]).into_owned())
    }

    /// Everything up to the end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// Sends one more byte. Whether the other side still listens, as far as that is known by now.
    pub(crate) async fn drip(&mut self) -> bool {
        self.stream.write_all(b"x").await.is_ok()
    }

    /// Ends its direction, and goes on reading.
    pub(crate) async fn end(&mut self) {
        drop(self.stream.shutdown().await);
    }

    /// Hangs up.
    pub(crate) fn hang_up(self) {
        drop(self);
    }
}

/// What an upstream does about a request.
pub(crate) enum Reaction {
    /// Says this and goes on.
    Say(String),
    /// Says this and goes on, once as many as there must be have come so far.
    SayTogether(Arc<Barrier>, String),
    /// Says this and closes the connection.
    SayAndClose(String),
    /// Says this before the body is read, and closes the connection without reading it.
    SayEarly(String),
    /// Closes the connection.
    BreakOff,
    /// Says this and then nothing more.
    SayAndHang(String),
}

/// 201 with this body.
pub(crate) fn yes(body: &str) -> Reaction {
    Reaction::Say(format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

/// A service that does as it is told, and says that it is ready when it is asked.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Message>>>,
    task: AbortHandle,
}

impl Upstream {
    /// One that reacts to requests by their number, counted from 0.
    pub(crate) async fn new(react: impl Fn(usize, &Message) -> Reaction + Send + Sync + 'static) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), react).await
    }

    pub(crate) async fn at(
        address: SocketAddr,
        react: impl Fn(usize, &Message) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        Self::on(Arc::new(TcpListener::bind(address).await.expect("an address")), react)
    }

    /// One that accepts on a socket that may outlive it.
    pub(crate) fn on(
        listener: Arc<TcpListener>,
        react: impl Fn(usize, &Message) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (react, noted, count) = (Arc::new(react), seen.clone(), AtomicUsize::new(0));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new(); // they end with this task
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(
                    Wire::of(stream),
                    count.fetch_add(1, Ordering::Relaxed),
                    react.clone(),
                    noted.clone(),
                ));
            }
        });
        Self { address, seen, task: task.abort_handle() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was sent, without the questions whether it is ready.
    pub(crate) fn seen(&self) -> Vec<Message> {
        self.seen.lock().expect("nobody panics").clone()
    }

    /// The only request that it was sent.
    pub(crate) fn only(&self) -> Message {
        let [only] = &self.seen()[..] else { panic!("not one request: {:?}", self.seen()) };
        only.clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut wire: Wire,
    connection: usize,
    react: Arc<impl Fn(usize, &Message) -> Reaction>,
    seen: Arc<Mutex<Vec<Message>>>,
) {
    while let Some(mut message) = wire.head().await {
        message.connection = connection;
        if message.first_line.starts_with("GET /actuator/") {
            wire.say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
            continue;
        }
        let nth = {
            let mut seen = seen.lock().expect("nobody panics");
            seen.push(message.clone());
            seen.len() - 1
        };
        let reaction = react(nth, &message);
        if let Reaction::SayEarly(text) = reaction {
            wire.say(text).await;
            return;
        }
        let Some(whole) = wire.with_body(message).await else { return };
        seen.lock().expect("nobody panics")[nth] = whole;
        match reaction {
            Reaction::Say(text) => wire.say(text).await,
            Reaction::SayTogether(barrier, text) => {
                barrier.wait().await;
                wire.say(text).await;
            }
            Reaction::SayAndClose(text) => return wire.say(text).await,
            Reaction::SayAndHang(text) => {
                wire.say(text).await;
                tokio::time::sleep(Duration::from_hours(1)).await;
            }
            Reaction::BreakOff | Reaction::SayEarly(_) => return,
        }
    }
}
