//! Facilities of the command's own process: async runtime, signals, limit of open files.

use crate::Failure;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{future::Future, io};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// A single-threaded runtime: a process of Jumun needs no more.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new("system", error.to_string(), "Check the limits of this user (ulimit -a)."))
}

/// Runs async work to completion.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    Ok(runtime()?.block_on(work))
}

/// A token that the first Ctrl-C or SIGTERM cancels. The second signal ends the process at once with status 130, as
/// shells report Ctrl-C. The log then names the `consequence`.
pub(crate) fn stop_signal(consequence: &'static str) -> Result<CancellationToken, Failure> {
    let failed = |error: io::Error| Failure::new("system", error.to_string(), "This process cannot receive signals.");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if cancelled.is_cancelled() {
                tracing::warn!("stopped at once; {consequence}");
                std::process::exit(130);
            }
            cancelled.cancel();
        }
    });
    Ok(stop)
}

/// Raises the soft limit of open files to the hard limit: every connection is an open file.
pub(crate) fn allow_many_connections() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
