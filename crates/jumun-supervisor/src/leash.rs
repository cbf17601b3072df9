//! What ties a process to the supervisor that started it.

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
    // The clone is the only one: who closes it closes the socket, as far as this process is concerned.
    rustix::stdio::dup2_stdin(&File::open("/dev/null")?)?;
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

    /// Holds it: once told (by what is returned) that requests are served, says so and answers pings. When the leash breaks
    /// the process stops; before it is ready it ends at once, as nobody has been promised anything.
    pub fn hold(self, stop: CancellationToken) -> oneshot::Sender<()> {
        let (ready, is_ready) = oneshot::channel();
        tokio::spawn(async move {
            let mut stream = self.stream;
            // Not into_split: its halves shut the socket down when they go, and the process may have last words.
            let (reader, mut writer) = stream.split();
            let mut lines = BufReader::new(reader).lines();
            tokio::select! {
                told = is_ready => if told.is_err() { return }, // it ends before it is ready, and says why by itself
                _ = lines.next_line() => {
                    tracing::warn!("the supervisor is gone before this process was ready; it ends");
                    std::process::exit(1);
                }
            }
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
        ready
    }
}
