//! What commands need of their own process: an async runtime, signals, open files.

use crate::Failure;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{future::Future, io};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;

/// A runtime of one thread: a process of Jumun needs no more.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new("system", error.to_string(), "Look at the limits of this user."))
}

/// Runs async work to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    Ok(runtime()?.block_on(work))
}

/// Cancelled by the first Ctrl-C or SIGTERM. The second one ends the process at once, with the exit status of a shell.
pub(crate) fn stop_signal(at_once: &'static str) -> Result<CancellationToken, Failure> {
    let failed = |error: io::Error| Failure::new("system", error.to_string(), "This process cannot receive signals.");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if cancelled.is_cancelled() {
                tracing::warn!("stopped at once; {at_once}");
                std::process::exit(130);
            }
            cancelled.cancel();
        }
    });
    Ok(stop)
}

/// Raises the limit of open files: every connection is one. `Err`: the limit stays low.
pub(crate) fn allow_many_connections() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
