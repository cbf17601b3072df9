//! Folding the write-ahead log back into the database file, beside the writer.
//!
//! A checkpoint waits for the disk; done by the writer, as `SQLite` does it by default, it would hold up every commit
//! behind it. So it has a thread and a connection of its own, and takes what readers and the writer leave to it.

use super::{
    connection,
    failure::{Severity, StartError, end_process, severity},
};
use crate::limits;
use rusqlite::Connection;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

/// A page and its header in the log, in bytes.
const FRAME_BYTES: u64 = 4096 + 24;

/// The thread, as the writer sees it.
pub(super) struct Checkpoints {
    log: Arc<Log>,
    /// From which size the thread is woken next.
    from_bytes: AtomicU64,
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Log {
    /// As of the last commit, what is folded back already included.
    bytes: AtomicU64,
    /// Set by the checkpointer when it cannot shorten the log while the writer continues.
    urgent: AtomicBool,
}

impl Checkpoints {
    /// Starts the thread; `writer` is the connection whose commits make the log grow.
    pub(super) fn start(writer: &mut Connection, file: &Path, name: &str) -> Result<Self, StartError> {
        let log = Arc::new(Log::default());
        let seen = Arc::clone(&log);
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            seen.bytes.store(u64::try_from(pages).unwrap_or(0) * FRAME_BYTES, Ordering::Relaxed);
            Ok(())
        }))?;
        let connection = connection::for_checkpoints(file)?;
        let (wake, woken) = sync_channel(1);
        let own = Arc::clone(&log);
        let thread =
            thread::Builder::new().name(format!("{name}-fold")).spawn(move || run(&connection, &own, &woken))?;
        Ok(Self {
            log,
            from_bytes: AtomicU64::new(limits::CHECKPOINT_FROM_BYTES),
            wake: Some(wake),
            thread: Some(thread),
        })
    }

    /// Called by the writer between two groups. True if the writer should restart the log.
    pub(super) fn after_commit(&self) -> bool {
        let bytes = self.log.bytes.load(Ordering::Relaxed);
        let from = self.from_bytes.load(Ordering::Relaxed);
        if bytes >= from {
            self.wake();
            self.from_bytes.store(bytes + limits::CHECKPOINT_FROM_BYTES, Ordering::Relaxed);
        } else if bytes + limits::CHECKPOINT_FROM_BYTES < from {
            // The log was restarted.
            self.from_bytes.store(limits::CHECKPOINT_FROM_BYTES, Ordering::Relaxed);
        }
        self.log.urgent.load(Ordering::Acquire)
    }

    /// Wakes the thread: also when the disk is full, as a log that is folded back is room for the next commits.
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // Full: the checkpointer has a wake-up that it has not handled yet.
            let _ = wake.try_send(());
        }
    }

    /// Restarts the log, which only the writer can do while it is busy: the checkpointer never quite catches up with
    /// it. Little is left to fold back by then.
    pub(super) fn restart(&self, writer: &Connection) {
        report(restart(writer));
        self.log.urgent.store(false, Ordering::Release);
    }

    /// Ends the thread, so that its connection is closed.
    pub(super) fn stop(mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpointer has panicked");
        }
    }
}

fn run(connection: &Connection, log: &Log, woken: &Receiver<()>) {
    let mut failing = false;
    while woken.recv().is_ok() {
        // The writer is about to do it, and only one can at a time.
        if log.urgent.load(Ordering::Acquire) {
            continue;
        }
        match checkpoint(connection, "PASSIVE") {
            Ok(()) => failing = false,
            Err(error) if severity(&error) == Severity::Fsync => end_process("checkpoint", &error),
            Err(error) => {
                // Logged once, not every four megabytes.
                if !failing {
                    tracing::warn!("the log could not be folded back, it will be tried again: {error}");
                }
                failing = true;
            }
        }
        if !failing && log.bytes.load(Ordering::Relaxed) >= limits::CHECKPOINT_URGENT_BYTES {
            log.urgent.store(true, Ordering::Release);
        }
    }
}

/// Makes the next commit restart the log. The file keeps its length: overwriting it costs the disk less than growing
/// it.
fn restart(connection: &Connection) -> rusqlite::Result<()> {
    checkpoint(connection, "RESTART")
}

/// Folds everything back and leaves an empty log.
pub(super) fn truncate(connection: &Connection) -> rusqlite::Result<()> {
    checkpoint(connection, "TRUNCATE")
}

/// Logs the result of a checkpoint that the writer did itself.
pub(super) fn report(result: rusqlite::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if severity(&error) == Severity::Fsync => end_process("checkpoint", &error),
        Err(error) => tracing::warn!("the log could not be folded back, it will be tried again: {error}"),
    }
}

/// A reader in the way is not an error: SQLite reports it in the row, and the next checkpoint gets further.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |_| Ok(()))
}
