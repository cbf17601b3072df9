//! The end of a connection: the answer to a head that cannot be read, and the close in stages.
//!
//! # Why a close has stages
//!
//! RFC 9112, section 9.6: a server that closes a connection on which the client is still sending makes the operating
//! system reset it. The reset overtakes the answer, and the client never sees why it was refused. So the server ends its
//! own direction, goes on reading for a bounded time and amount, and then closes.

use crate::{
    limits::{
        ANSWER_TIME_LIMIT, LINGER_GAP, LINGER_MAX_BYTES, LINGER_TIME_LIMIT, LINGERING_MAX, NOISE_EVERY,
        READ_AT_ONCE_BYTES, URI_MAX_BYTES,
    },
    link::Link,
    problem::{Code, Problem},
};
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};
use jumun_telemetry::{Origin, REQUEST_ID, Route};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout},
};

/// Ends connections, and counts the heads that could not be read.
#[derive(Debug)]
pub(crate) struct Closing {
    /// Connections that go on being read.
    lingering: Semaphore,
    head_time_limit: Duration,
    unreadable: Route,
    noise: Noise,
}

/// Heads that could not be read. Scanners of ports send many, so they get one line a minute at most.
#[derive(Debug, Default)]
struct Noise {
    since_logged: AtomicU64,
    logged: Mutex<Option<Instant>>,
}

impl Closing {
    pub(crate) fn new(head_time_limit: Duration, unreadable: Route) -> Self {
        Self { lingering: Semaphore::new(LINGERING_MAX), head_time_limit, unreadable, noise: Noise::default() }
    }

    /// Closes a connection that hyper has ended. `unread` is what hyper has received and not used: of a head that it could
    /// not read, what has arrived.
    pub(crate) async fn close(
        &self,
        link: &Link,
        mut stream: TcpStream,
        unread: &[u8],
        ended: Result<(), hyper::Error>,
        peer: SocketAddr,
    ) {
        if link.is_cut() {
            // Ended as usual, the answer would look whole.
            if let Err(error) = stream.set_zero_linger() {
                tracing::debug!(%error, "a broken answer may look whole to its client");
            }
            return;
        }
        if let Err(error) = &ended {
            tracing::debug!(error = %crate::chain(error), %peer, "a connection broke");
            if let Some(problem) = self.unreadable(link, unread, error) {
                self.refuse(&mut stream, &problem, peer).await;
            }
        }
        let Ok(_place) = self.lingering.try_acquire() else { return };
        if stream.shutdown().await.is_ok() {
            linger(stream).await;
        }
    }

    /// The problem for a head that hyper could not read. None if there was none: the connection was idle, or it broke.
    fn unreadable(&self, link: &Link, unread: &[u8], error: &hyper::Error) -> Option<Problem> {
        if !link.is_idle() {
            return None;
        }
        // Empty lines before a request are ignored (RFC 9112, section 2.2).
        let start = unread.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(unread.len());
        let head = &unread[start..];
        let line_end = head.iter().position(|byte| *byte == b'\n');
        if error.is_timeout() {
            let why = || format!("The head of the request did not arrive within {:?}.", self.head_time_limit);
            return (!head.is_empty()).then(|| Problem::new(Code::Timeout, why()));
        }
        if error.is_incomplete_message() {
            let why = "The connection ended before the head of the request was complete.";
            return (!head.is_empty()).then(|| Problem::new(Code::Malformed, why));
        }
        if !error.is_parse() {
            return None;
        }
        Some(if error.is_parse_too_large() {
            if line_end.unwrap_or(head.len()) > URI_MAX_BYTES {
                Problem::new(Code::UriTooLong, "The first line of the request is too long.")
            } else {
                Problem::new(Code::HeadTooLarge, "The head of the request has too many bytes or too many lines.")
            }
        } else if error.is_parse_version_h2() {
            Problem::new(Code::VersionUnsupported, "This is HTTP/2. Send HTTP/1.1.")
        } else if line_end.is_some_and(|end| is_other_version(&head[..end])) {
            Problem::new(Code::VersionUnsupported, "The version of HTTP is not supported. Send HTTP/1.1.")
        } else if head.first() == Some(&TLS_HANDSHAKE) {
            Problem::new(Code::Malformed, "This is TLS. The port speaks HTTP without TLS: http://, not https://.")
        } else {
            Problem::new(Code::Malformed, format!("The head of the request cannot be read: {error}."))
        })
    }

    /// Answers with a problem, counts it, and logs it.
    async fn refuse(&self, stream: &mut TcpStream, problem: &Problem, peer: SocketAddr) {
        let status = problem.code.status();
        let request_id = Origin::new(false).request;
        self.unreadable.answered(status, Duration::ZERO);
        tracing::debug!(%peer, request = %request_id, %problem, "refused a head");
        self.noise.one_more(peer, problem);
        let answer = answer(problem, &request_id);
        match timeout(ANSWER_TIME_LIMIT, stream.write_all(answer.as_bytes())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, %peer, "a client does not read its answer"),
            Err(_) => tracing::debug!(%peer, "a client does not read its answer in time"),
        }
    }
}

/// Whether a first line ends with a version of HTTP that is not spoken here.
fn is_other_version(line: &[u8]) -> bool {
    let Some(end) = line.trim_ascii_end().last_chunk::<8>() else { return false };
    let is_version = end.starts_with(b"HTTP/") && end[5].is_ascii_digit() && end[6] == b'.' && end[7].is_ascii_digit();
    is_version && !matches!(end, b"HTTP/1.0" | b"HTTP/1.1")
}

/// The first byte of a TLS connection (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;

/// An answer to a request whose target is unknown, byte by byte.
fn answer(problem: &Problem, request_id: &str) -> String {
    let status = http::StatusCode::from_u16(problem.code.status()).unwrap_or(http::StatusCode::BAD_REQUEST);
    let body = problem.body(status.as_u16(), "*", request_id);
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()).unwrap_or_default();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n\
         {REQUEST_ID}: {request_id}\r\ndate: {date}\r\n\r\n{body}",
        body.len()
    )
}

/// Reads and discards what a client still sends, until it ends its direction or a bound is reached.
async fn linger(stream: TcpStream) {
    let reading = async {
        let mut left = LINGER_MAX_BYTES;
        while let Ok(Ok(())) = timeout(LINGER_GAP, stream.readable()).await {
            match discard(&stream) {
                Ok(bytes @ 1..) if bytes < left => left -= bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    };
    drop(timeout(LINGER_TIME_LIMIT, reading).await); // an end in either case
}

/// Reads and discards what has arrived. Its buffer is no part of the future: most connections have nothing to discard.
fn discard(stream: &TcpStream) -> io::Result<usize> {
    stream.try_read(&mut [0; READ_AT_ONCE_BYTES])
}

impl Noise {
    fn one_more(&self, peer: SocketAddr, problem: &Problem) {
        let since_logged = self.since_logged.fetch_add(1, Relaxed) + 1;
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|logged| logged.elapsed() >= NOISE_EVERY) {
            *logged = Some(Instant::now());
            self.since_logged.fetch_sub(since_logged, Relaxed);
            let last = problem.to_string();
            tracing::info!(refused = since_logged, %peer, last, "clients sent requests that cannot be read");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole() {
        let answer = answer(&Problem::new(Code::Malformed, "why"), "r7");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
        for line in ["connection: close", "x-request-id: r7", &format!("content-length: {}", body.len())] {
            assert!(head.lines().any(|known| known == line), "{line}: {head}");
        }
        assert!(head.lines().any(|line| line.starts_with("date: ") && line.ends_with(" GMT")), "{head}");
        assert_eq!(Problem::parse(body), Some(Problem::new(Code::Malformed, "why")));
    }
}
