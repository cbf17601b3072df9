//! The link: one client connection as the server and hyper share it.
//!
//! # Why it is between hyper and the socket
//!
//! * hyper closes a connection as soon as its answer is written. If the client is still sending then, the operating system
//!   resets the connection, and the reset overtakes the answer. So hyper shuts nothing down: see [`crate::closing`].
//! * hyper waits for ever for a client that does not read its answer. Such a client would hold its place among the
//!   connections, or among the followers of events, as long as it likes. The link waits [`SEND_TIME_LIMIT`] for it.
//! * hyper answers a head that it cannot parse by itself, with an empty body. The link withholds what hyper writes while no
//!   request is in progress, and the server writes a problem instead.
//!
//! # How the link knows that no request is in progress
//!
//! A request begins when hyper hands it to the handler. Its answer ends when hyper has dropped the body of the answer and
//! then flushed: a flush writes all that hyper has buffered. The answer to a request whose body was not read to its end
//! closes the connection, so hyper reads no further head before such an answer is flushed.

use crate::limits::{REST_MAX_BYTES, REST_TIME_LIMIT, SEND_TIME_LIMIT};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// No request is in progress.
const IDLE: u8 = 0;
/// A request is in progress.
const OPEN: u8 = 1;
/// Its answer is complete, but perhaps not flushed.
const ENDING: u8 = 2;

/// A client connection. Only its own task uses it; the atomics and the lock are never contended.
#[derive(Debug)]
pub(crate) struct Link {
    phase: AtomicU8,
    /// Whether the present answer ends with the connection: it has no other mark of its end.
    ends_with_connection: AtomicBool,
    /// Whether an answer broke off.
    is_cut: AtomicBool,
    rest: Mutex<Option<Rest>>,
}

/// What a handler left of the body of a request.
#[derive(Debug)]
enum Rest {
    /// The body, not read to its end; whether any of it was read.
    Unread(Incoming, bool),
    /// The body is invalid, or the connection ended: there is no next request.
    Broken,
}

impl Link {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(IDLE),
            ends_with_connection: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            rest: Mutex::default(),
        })
    }

    /// A request begins.
    pub(crate) fn begin(&self) {
        self.phase.store(OPEN, Relaxed);
    }

    /// Whether no request is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        self.phase.load(Relaxed) == IDLE
    }

    /// The present answer has no other mark of its end than the end of the connection.
    pub(crate) fn ends_with_connection(&self) {
        self.ends_with_connection.store(true, Relaxed);
    }

    /// Whether an answer broke off that its client would take for whole if the connection ended as usual.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Relaxed) && self.ends_with_connection.load(Relaxed)
    }

    /// Reads what a handler has left of the body of a request, if that is little and comes soon. Whether the connection can
    /// take another request. A client that waits for `100 Continue` gets the answer instead.
    pub(crate) async fn read_rest(&self, waits_for_continue: bool) -> bool {
        let Some(rest) = lock(&self.rest).take() else { return true };
        match rest {
            Rest::Broken => false,
            Rest::Unread(_, false) if waits_for_continue => false,
            Rest::Unread(body, _) if body.size_hint().lower() > REST_MAX_BYTES => false,
            Rest::Unread(mut body, _) => {
                let reading = async {
                    let mut left = REST_MAX_BYTES;
                    while let Some(frame) = body.frame().await {
                        let length = frame.ok()?.data_ref().map_or(0, Bytes::len);
                        left = left.checked_sub(length as u64)?;
                    }
                    Some(())
                };
                matches!(tokio::time::timeout(REST_TIME_LIMIT, reading).await, Ok(Some(())))
            }
        }
    }
}

/// The socket as hyper has it.
#[derive(Debug)]
pub(crate) struct LinkStream<S> {
    link: Arc<Link>,
    stream: S,
    /// Ends while the client takes nothing of what is to be sent.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<S> LinkStream<S> {
    pub(crate) const fn new(link: Arc<Link>, stream: S) -> Self {
        Self { link, stream, patience: None }
    }

    /// The outcome of an attempt to send, or an error if the client has not read anything for too long.
    fn patiently(&mut self, context: &mut Context<'_>, sent: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if sent.is_ready() {
            self.patience = None;
            return sent;
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(SEND_TIME_LIMIT)));
        ready!(patience.as_mut().poll(context));
        self.link.is_cut.store(true, Relaxed);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")))
    }

    /// The socket, once hyper has ended.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for LinkStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for LinkStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.link.is_idle() {
            return Poll::Ready(Ok(bytes.len())); // hyper's own answer: the server writes a problem instead
        }
        let sent = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.patiently(context, sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.link.is_idle() {
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        let sent = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.patiently(context, sent)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        if self.link.phase.load(Relaxed) == ENDING {
            self.link.phase.store(IDLE, Relaxed);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // the server closes the socket, in stages
    }
}

/// The body of a request. What a handler leaves unread, the server reads or announces as the end of the connection.
#[derive(Debug)]
pub struct RequestBody {
    body: Option<Incoming>,
    was_read: bool,
    link: Arc<Link>,
}

impl RequestBody {
    pub(crate) fn new(body: Incoming, link: Arc<Link>) -> Self {
        Self { body: (!body.is_end_stream()).then_some(body), was_read: false, link }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        self.was_read = true;
        match &frame {
            Poll::Ready(None) => self.body = None,
            Poll::Ready(Some(Err(_))) => {
                self.body = None;
                *lock(&self.link.rest) = Some(Rest::Broken);
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *lock(&self.link.rest) = Some(Rest::Unread(body, self.was_read));
        }
    }
}

/// The body of an answer. Dropping it ends the answer.
#[derive(Debug)]
pub(crate) struct AnswerBody<B> {
    body: B,
    link: Arc<Link>,
}

impl<B> AnswerBody<B> {
    pub(crate) const fn new(body: B, link: Arc<Link>) -> Self {
        Self { body, link }
    }
}

impl<B: Body + Unpin> Body for AnswerBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if matches!(frame, Some(Err(_))) {
            self.link.is_cut.store(true, Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for AnswerBody<B> {
    fn drop(&mut self) {
        self.link.phase.store(ENDING, Relaxed);
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner) // each holder only moves a value in or out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        time::Instant,
    };

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_left_and_a_slow_one_is_not() {
        // In memory: beside a real socket, virtual time would run on while the operating system is at work.
        let (mut client, stream) = duplex(64 << 10);
        let link = Link::new();
        link.begin();
        let mut server = LinkStream::new(link.clone(), stream);
        let sending = tokio::spawn(async move {
            let much = vec![0; 1 << 20];
            loop {
                let began = Instant::now();
                if let Err(error) = server.write_all(&much).await {
                    return (error.kind(), began.elapsed());
                }
            }
        });
        // Many times as long as the limit, a little each time.
        let mut read = vec![0; 8 << 20];
        for _ in 0..10 {
            sleep(SEND_TIME_LIMIT / 2).await;
            client.read_exact(&mut read).await.expect("the server goes on");
        }
        assert!(!sending.is_finished() && !link.is_cut.load(Relaxed));
        let (kind, waited) = sending.await.expect("an end");
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert!(waited >= SEND_TIME_LIMIT, "{waited:?}");
        assert!(link.is_cut.load(Relaxed), "it must not look whole");
    }
}
