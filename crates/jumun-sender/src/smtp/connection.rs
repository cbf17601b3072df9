//! The connection to a mail server, encrypted where required.
//!
//! This module does `STARTTLS` itself. The client's own keeps bytes that came in clear ahead of TLS and takes them for
//! answers to later commands: an attacker in between could make us believe that a mail was taken. Here such a
//! connection is closed.

use super::No;
use crate::{Tls, limits::ANSWER_MAX_BYTES};
use lettre::transport::smtp::{
    client::{AsyncSmtpConnection, AsyncTokioStream},
    extension::ClientId,
};
use rustls::pki_types::ServerName;
use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// A mail server, and how it is spoken to.
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Tls,
    /// Whom its certificate must be for.
    pub(super) name: ServerName<'static>,
    pub(super) connector: TlsConnector,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, tls, .. } = self;
        f.debug_struct("Server").field("host", host).field("port", port).field("tls", tls).finish_non_exhaustive()
    }
}

impl Server {
    /// A connection over which the server has greeted us.
    pub(super) async fn connect(&self) -> Result<AsyncSmtpConnection, No> {
        let name = ClientId::default();
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let peer = tcp.peer_addr()?;
        let wire = match self.tls {
            Tls::None => Wire { peer, greeting: b"", stream: Box::new(tcp) },
            Tls::Implicit => Wire { peer, greeting: b"", stream: self.secure(tcp).await? },
            Tls::Required | Tls::Opportunistic => {
                let mut clear = Clear { tcp, heard: Vec::new() };
                clear.expect("220").await?;
                let can = clear.ask(&format!("EHLO {name}"), "250").await?;
                let can = can.lines().any(|line| line.get(4..).is_some_and(|can| can.eq_ignore_ascii_case("STARTTLS")));
                let stream: Box<dyn Stream> = if can {
                    clear.ask("STARTTLS", "220").await?;
                    if !clear.heard.is_empty() {
                        return Err(No::because("answers came before TLS began, perhaps from an attacker"));
                    }
                    self.secure(clear.tcp).await?
                } else if self.tls == Tls::Required {
                    return Err(No::because("TLS is required, and the server cannot do STARTTLS"));
                } else {
                    Box::new(clear.tcp)
                };
                // The client wants to be greeted, and the server has done so before.
                Wire { peer, greeting: b"220 again\r\n", stream }
            }
        };
        Ok(AsyncSmtpConnection::connect_with_transport(Box::new(wire), &name).await?)
    }

    async fn secure(&self, tcp: TcpStream) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.connector.connect(self.name.clone(), tcp).await?))
    }
}

/// A connection without encryption.
struct Clear {
    tcp: TcpStream,
    /// Bytes read that are not a whole answer yet.
    heard: Vec<u8>,
}

impl Clear {
    async fn ask(&mut self, command: &str, code: &str) -> Result<String, No> {
        self.tcp.write_all(format!("{command}\r\n").as_bytes()).await?;
        self.expect(code).await
    }

    /// Reads one answer, and no more, which must be of this code.
    async fn expect(&mut self, code: &str) -> Result<String, No> {
        let end = loop {
            if let Some(end) = end_of_answer(&self.heard) {
                break end;
            }
            if self.heard.len() > ANSWER_MAX_BYTES {
                return Err(No::because("the server does not stop talking"));
            }
            if self.tcp.read_buf(&mut self.heard).await? == 0 {
                return Err(No::because("the server hung up"));
            }
        };
        let answer = String::from_utf8_lossy(&self.heard.drain(..end).collect::<Vec<_>>()).into_owned();
        if answer.starts_with(code) { Ok(answer) } else { Err(No::because(format!("the server answered {answer}"))) }
    }
}

/// Where the first whole answer ends: with a line that has no `-` behind its code (RFC 5321, 4.2.1).
fn end_of_answer(heard: &[u8]) -> Option<usize> {
    let mut end = 0;
    for line in heard.split_inclusive(|byte| *byte == b'\n') {
        end += line.len();
        if !line.ends_with(b"\n") {
            return None;
        }
        if line.get(3) != Some(&b'-') {
            return Some(end);
        }
    }
    None
}

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + fmt::Debug> Stream for T {}

/// A connection as the client knows it.
#[derive(Debug)]
struct Wire {
    peer: SocketAddr,
    /// What is read first.
    greeting: &'static [u8],
    stream: Box<dyn Stream>,
}

impl AsyncTokioStream for Wire {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.greeting.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let (now, later) = self.greeting.split_at(buf.remaining().min(self.greeting.len()));
        buf.put_slice(now);
        self.greeting = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_with_its_last_line_and_not_later() {
        for (heard, end) in [
            (&b""[..], None),
            (b"250", None),
            (b"250 ok\r", None),
            (b"250 ok\r\n", Some(8)),
            (b"250-one\r\n", None),
            (b"250-one\r\n250 two\r\n", Some(18)),
            (b"220 go on\r\n250 slipped in\r\n", Some(11)),
            (b"\r\n", Some(2)),
        ] {
            assert_eq!(end_of_answer(heard), end, "{}", String::from_utf8_lossy(heard));
        }
    }
}
