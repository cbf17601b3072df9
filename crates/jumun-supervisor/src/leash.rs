//! The leash: connects a process to the supervisor that started it.
//!
//! # Protocol
//!
//! Lines of text over a Unix socket, the child's standard output. The child sends `ready` once. The supervisor then sends
//! `ping`, and the child answers `pong`. A child whose database has failed sends `failed: ` and why, once. Other lines of the child are its error, if it ends before it is ready. Each side
//! treats the end of the stream as the end of the other.

use std::{
    fs::File,
    io,
    net::TcpListener,
    os::fd::{AsFd, OwnedFd},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

/// The child sends it when it is ready.
pub(crate) const READY: &str = "ready";

/// The supervisor sends it to check that the child does not hang.
pub(crate) const PING: &str = "ping\n";

/// The child answers a ping with it.
pub(crate) const PONG: &str = "pong";

/// The child sends it, and then why, when it takes no orders until an operator has acted.
pub(crate) const FAILED: &str = "failed: ";

/// The child's end: its standard output.
pub struct Leash {
    stream: UnixStream,
}

/// Takes the listening socket that the supervisor passes as standard input.
pub fn listener_from_stdin() -> io::Result<TcpListener> {
    let listener: TcpListener = io::stdin().as_fd().try_clone_to_owned()?.into();
    listener.local_addr()?; // fails if it is not a socket
    listener.set_nonblocking(true)?;
    // Leaves the clone as the only descriptor: closing it closes the socket in this process.
    rustix::stdio::dup2_stdin(&File::open("/dev/null")?)?;
    Ok(listener)
}

impl Leash {
    /// Takes the leash. From here on the process may write nothing else to its standard output.
    pub fn from_stdout() -> io::Result<Self> {
        let stream: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
        let stream = std::os::unix::net::UnixStream::from(stream);
        stream.peer_addr()?; // fails if it is not a socket
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)? })
    }

    /// Holds the leash: reports that the process is ready, once the caller has sent on the returned channel, and answers
    /// pings. It reports that the process has failed, once the caller has sent why on the other channel. When the leash
    /// breaks, it stops the process. Before the process is ready, it ends it at once: no client has an answer yet.
    pub fn hold(self, stop: CancellationToken) -> (oneshot::Sender<()>, oneshot::Sender<String>) {
        let (ready, is_ready) = oneshot::channel();
        let (failed, mut has_failed) = oneshot::channel::<String>();
        tokio::spawn(async move {
            let mut stream = self.stream;
            // Not into_split: dropping its halves shuts the socket down, and the process may still write its error.
            let (reader, mut writer) = stream.split();
            let mut lines = BufReader::new(reader).lines();
            tokio::select! {
                ready = is_ready => if ready.is_err() { return }, // the process ends before it is ready, and reports the error
                _ = lines.next_line() => {
                    tracing::warn!("the supervisor ended before this process was ready; exiting");
                    std::process::exit(1);
                }
            }
            let mut line = format!("{READY}\n");
            loop {
                if writer.write_all(line.as_bytes()).await.is_err() {
                    break;
                }
                tokio::select! {
                    ping = lines.next_line() => match ping {
                        Ok(Some(_)) => line = format!("{PONG}\n"),
                        Ok(None) | Err(_) => break,
                    },
                    Ok(why) = &mut has_failed, if !has_failed.is_terminated() => {
                        line = format!("{FAILED}{}\n", why.replace('\n', " "));
                    }
                }
            }
            if !stop.is_cancelled() {
                tracing::warn!("the supervisor ended; stopping");
                stop.cancel();
            }
        });
        (ready, failed)
    }
}
