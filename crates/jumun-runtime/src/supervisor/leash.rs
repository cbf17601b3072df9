//! What ties a process to the supervisor that started it.

use std::{
    io,
    net::TcpListener,
    os::fd::{AsFd, OwnedFd},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};
use tokio_util::sync::CancellationToken;

/// What the child says when it is ready.
pub(super) const READY: &str = "ready";

/// What the supervisor says to hear whether the child still turns.
pub(super) const PING: &str = "ping\n";

/// What the child says to that.
pub(super) const PONG: &str = "pong";

/// The child's end: its standard output.
pub struct Leash {
    stream: UnixStream,
}

/// The listening socket that the supervisor has handed down.
pub fn listener_from_stdin() -> io::Result<TcpListener> {
    let listener: TcpListener = io::stdin().as_fd().try_clone_to_owned()?.into();
    listener.local_addr()?; // it is a socket
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Leash {
    /// Takes the leash. Nothing else may be written to the standard output from here on.
    pub fn from_stdout() -> io::Result<Self> {
        let stream: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
        let stream = std::os::unix::net::UnixStream::from(stream);
        stream.peer_addr()?; // it is a socket
        stream.set_nonblocking(true)?;
        Ok(Self { stream: UnixStream::from_std(stream)? })
    }

    /// Says that requests are served from now on; then answers pings, and stops the process when the leash breaks.
    pub fn hold(self, stop: CancellationToken) {
        let (reader, mut writer) = self.stream.into_split();
        tokio::spawn(async move {
            let mut lines = BufReader::new(reader).lines();
            let mut say = format!("{READY}\n");
            loop {
                if writer.write_all(say.as_bytes()).await.is_err() {
                    break;
                }
                match lines.next_line().await {
                    Ok(Some(_)) => say = format!("{PONG}\n"),
                    Ok(None) | Err(_) => break,
                }
            }
            if !stop.is_cancelled() {
                tracing::warn!("the supervisor is gone; this process stops, too");
                stop.cancel();
            }
        });
    }
}
