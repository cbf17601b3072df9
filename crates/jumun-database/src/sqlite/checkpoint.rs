//! Folding the write-ahead log back into the database file, beside the writer.
//!
//! A checkpoint waits for the disk; done by the writer, as `SQLite` does it by default, it would hold up every commit
//! behind it. So it has a thread and a connection of its own.
//!
//! # Nothing that others hold costs the writer time
//!
//! All checkpoints are `PASSIVE`: they take what readers leave to them and wait for nobody. Only a log that is folded
//! back whole begins again at its start, and beside a busy writer that never happens: something was always appended
//! meanwhile. So, when the log is long, the writer itself folds the last rest back between two transactions
//! ([`Checkpoints::fold_rest`]): some [`limits::REST_MAX_BYTES`], which takes two syncs. A reader in the way makes the
//! log longer, and nothing slower.
//!
//! A log that a reader keeps long is reported by its size, with who is in the way ([`holders`]), and shortened once the
//! reader has gone: in small steps, as cutting a file of a gigabyte takes a third of a second.

use super::{
    condition::Condition,
    connection,
    failure::{Severity, StartError, end_process, severity},
    files::{Files, takes_log},
    holders::{READ, holders},
    reader::SqliteReader,
};
use crate::{DatabaseFailure, LogStats, limits};
use rusqlite::Connection;
use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
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

/// The log, as the writer and the thread see it.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Bytes in use as of the last commit, what is folded back already included.
    used: AtomicU64,
    /// Those of them that are folded back.
    folded: AtomicU64,
    /// Length of the file.
    file: AtomicU64,
    /// Commits since the start.
    commits: AtomicU64,
    /// Attempts that a reader or another process stopped.
    given_up: AtomicU64,
    /// Set by the thread when the writer is to fold the rest back.
    urgent: AtomicBool,
    /// The length to which the file is cut when the log begins again.
    cut_to: AtomicU64,
    obstacle: Mutex<Obstacle>,
}

/// What keeps the log from being folded back.
#[derive(Debug, Default)]
struct Obstacle {
    /// How much was folded back when a reader was first found in the way, and when that was.
    since: Option<(u64, Instant)>,
    /// Other processes that read, as far as the system tells.
    by: Option<String>,
    /// Since when the log is too long, and when that was last logged.
    long: Option<(Instant, Instant)>,
}

impl Log {
    fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    fn unfolded(&self) -> u64 {
        self.used().saturating_sub(self.folded.load(Relaxed))
    }

    fn obstacle(&self) -> MutexGuard<'_, Obstacle> {
        self.obstacle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called after each commit of the writer.
    fn committed(&self, frames: i32) {
        let used = u64::try_from(frames).unwrap_or(0) * FRAME_BYTES;
        if self.used.swap(used, Relaxed) > used {
            self.folded.store(0, Relaxed); // it has begun again
        }
        self.commits.fetch_add(1, Relaxed);
    }

    fn emptied(&self) {
        self.used.store(0, Relaxed);
        self.folded.store(0, Relaxed);
    }

    pub(super) fn stats(&self) -> LogStats {
        let obstacle = self.obstacle();
        LogStats {
            file_bytes: self.file.load(Relaxed),
            unfolded_bytes: self.unfolded(),
            given_up: self.given_up.load(Relaxed),
            held_ms: obstacle.since.map(|(_, since)| u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)),
            held_by: obstacle.by.clone(),
            warning: obstacle.long.map(|_| warning(self.used(), &obstacle)),
        }
    }
}

/// Why a long log stays long, for a person.
fn warning(used: u64, obstacle: &Obstacle) -> String {
    let long = format!("the write-ahead log has {} MiB", used >> 20);
    let Some((_, since)) = obstacle.since else {
        return format!("{long}: the disk folds it back more slowly than it grows");
    };
    let who = obstacle.by.as_deref().unwrap_or("a reader");
    let seconds = since.elapsed().as_secs();
    format!("{long}: {who} keeps a read transaction open (for {seconds} s or longer), so it cannot be folded back")
}

impl Checkpoints {
    /// Starts the thread; `writer` is the connection whose commits make the log grow. `reader` reads for this process.
    pub(super) fn start(
        writer: &mut Connection,
        file: &Path,
        name: &str,
        condition: Arc<Condition>,
        reader: Arc<SqliteReader>,
    ) -> Result<Self, StartError> {
        let log = Arc::new(Log::default());
        log.cut_to.store(limits::CHECKPOINT_URGENT_BYTES, Relaxed);
        let seen = Arc::clone(&log);
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, frames: i32| {
            seen.committed(frames);
            Ok(())
        }))?;
        let connection = connection::for_checkpoints(file)?;
        let (wake, woken) = sync_channel(1);
        let folder = Folder {
            connection,
            log: Arc::clone(&log),
            woken,
            condition,
            reader,
            seen: (0, Instant::now()),
            restarts: 0,
            is_failing: false,
            is_rescued: false,
            rescues: 0,
        };
        let thread = thread::Builder::new().name(format!("{name}-fold")).spawn(move || folder.run())?;
        Ok(Self {
            log,
            from_bytes: AtomicU64::new(limits::CHECKPOINT_FROM_BYTES),
            wake: Some(wake),
            thread: Some(thread),
        })
    }

    pub(super) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Called by the writer between two groups. True if the writer should fold the rest back.
    pub(super) fn after_commit(&self) -> bool {
        let used = self.log.used();
        let from = self.from_bytes.load(Relaxed);
        if used >= from {
            self.wake();
            self.from_bytes.store(used + limits::CHECKPOINT_FROM_BYTES, Relaxed);
        } else if used + limits::CHECKPOINT_FROM_BYTES < from {
            // The log has begun again.
            self.from_bytes.store(limits::CHECKPOINT_FROM_BYTES, Relaxed);
        }
        self.log.urgent.load(Relaxed)
    }

    /// Wakes the thread: also when the disk is full, as a log that is folded back is room for the next commits.
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // Full: the checkpointer has a wake-up that it has not handled yet.
            let _ = wake.try_send(());
        }
    }

    /// Folds back what the thread has left, so that the next commit begins the log again. Only the writer can do that
    /// while it is busy.
    pub(super) fn fold_rest(&self, writer: &Connection) -> rusqlite::Result<()> {
        let cut_to = self.log.cut_to.load(Relaxed);
        let folded = set_cut(writer, cut_to).and_then(|()| checkpoint(writer, "PASSIVE"));
        self.log.urgent.store(false, Relaxed);
        let progress = folded?;
        if !progress.is_busy {
            self.log.folded.store(progress.folded, Relaxed);
        }
        Ok(())
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

/// The thread.
struct Folder {
    connection: Connection,
    log: Arc<Log>,
    woken: Receiver<()>,
    condition: Arc<Condition>,
    reader: Arc<SqliteReader>,
    /// Commits that were seen, and when there was last another one.
    seen: (u64, Instant),
    /// How often the writer was asked to fold the rest back since the log last began again.
    restarts: u32,
    is_failing: bool,
    is_rescued: bool,
    rescues: u32,
}

impl Folder {
    fn run(mut self) {
        loop {
            let is_long = self.log.used() >= limits::CHECKPOINT_URGENT_BYTES;
            let pause = if is_long { limits::LONG_LOG_EVERY } else { limits::LOOK_EVERY };
            match self.woken.recv_timeout(pause) {
                Ok(()) => self.look(true),
                Err(RecvTimeoutError::Timeout) => self.look(false),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if self.condition.failure().is_some() {
            connection::leave_log(&self.connection);
        }
    }

    fn look(&mut self, is_woken: bool) {
        match self.condition.look() {
            None => {}
            Some(DatabaseFailure::Gone { .. }) => return self.rescue(),
            Some(DatabaseFailure::Damaged { .. } | DatabaseFailure::TakenOver { .. }) => return, // the file stays as it is
        }
        self.note_length();
        let commits = self.log.commits.load(Relaxed);
        if commits != self.seen.0 {
            self.seen = (commits, Instant::now());
        }
        let is_idle = self.seen.1.elapsed() >= limits::LOOK_EVERY;
        // The writer is about to fold, and only one can at a time. An idle one may take its time.
        if self.log.urgent.swap(false, Relaxed) && !is_idle {
            self.log.urgent.store(true, Relaxed);
            return;
        }
        if is_woken || self.log.used() >= limits::CHECKPOINT_URGENT_BYTES || (is_idle && self.log.unfolded() > 0) {
            self.fold();
        }
        if is_idle && self.log.unfolded() == 0 && self.file() >= limits::CHECKPOINT_FROM_BYTES {
            self.shorten(commits);
        }
        self.judge();
    }

    fn file(&self) -> u64 {
        self.log.file.load(Relaxed)
    }

    /// Notes how long the file is, and how far it may be cut at once.
    fn note_length(&self) {
        let length = self.condition.files().and_then(|files| fs::metadata(files.log()).ok()).map_or(0, |log| log.len());
        self.log.file.store(length, Relaxed);
        let cut_to = length.saturating_sub(limits::CUT_MAX_BYTES).max(limits::CHECKPOINT_URGENT_BYTES);
        self.log.cut_to.store(cut_to, Relaxed);
    }

    /// Folds back what can be; asks the writer for the rest if the log is long.
    fn fold(&mut self) {
        let mut rest = u64::MAX;
        for _ in 0..limits::FOLDS_AT_ONCE_MAX {
            let Some(progress) = self.checkpoint("PASSIVE") else { return };
            if !progress.is_whole() {
                self.log.given_up.fetch_add(1, Relaxed);
            }
            if progress.is_busy {
                return; // another process folds it back
            }
            self.log.folded.store(progress.folded, Relaxed);
            self.note_obstacle(&progress);
            if !progress.is_whole() {
                return;
            }
            rest = self.log.unfolded();
            if rest <= limits::REST_MAX_BYTES || self.log.used() < limits::CHECKPOINT_URGENT_BYTES {
                break;
            }
        }
        let used = self.log.used();
        if used < limits::CHECKPOINT_URGENT_BYTES {
            self.restarts = 0;
        } else if rest <= limits::CHECKPOINT_FROM_BYTES || used >= limits::LONG_LOG_BYTES {
            // The latter only where the disk folds more slowly than the writer writes: then the writer has to wait for it.
            self.restart();
        }
    }

    /// Has the writer fold the rest back. If readers of this process were in the way the last times, they pause for it:
    /// under many lists there is always one that reads.
    fn restart(&mut self) {
        let paused = (self.restarts >= limits::RESTARTS_BESIDE_READERS).then(|| self.reader.pause_queries());
        self.restarts += 1;
        self.log.urgent.store(true, Relaxed);
        if paused.is_some() {
            let until = Instant::now() + limits::QUERIES_PAUSED_MAX;
            while self.log.used() >= limits::CHECKPOINT_URGENT_BYTES && Instant::now() < until {
                thread::park_timeout(Duration::from_millis(1));
            }
        }
    }

    /// Cuts the file of an idle log: there is nothing in it that is not in the database.
    fn shorten(&mut self, commits: u64) {
        // A reader of the end of the log is in the way of beginning it again: that costs nothing but the length.
        if self.checkpoint("RESTART").is_none_or(|progress| !progress.is_whole()) {
            return;
        }
        while self.file() > limits::CUT_MAX_BYTES {
            let before = self.file();
            let cut = self.cut(before - limits::CUT_MAX_BYTES);
            if let Err(error) = cut {
                if severity(&error) == Severity::Fsync {
                    end_process("cut of the log", &error);
                }
                if self.condition.note(&error).is_none() {
                    tracing::debug!(%error, "the log is not cut now");
                }
                return;
            }
            self.note_length();
            let is_ending = matches!(self.woken.try_recv(), Err(TryRecvError::Disconnected));
            if is_ending || self.file() >= before || self.log.commits.load(Relaxed) != commits {
                return;
            }
        }
        if self.checkpoint("TRUNCATE").is_some_and(Progress::is_whole) {
            self.log.emptied();
            self.note_length();
        }
    }

    /// Cuts the file to a length. `SQLite` does that with the first commit after the log has begun again, so this is a
    /// commit that changes nothing.
    fn cut(&self, to: u64) -> rusqlite::Result<()> {
        set_cut(&self.connection, to)?;
        let same: i64 = self.connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
        self.connection.pragma_update(None, "application_id", same)?;
        checkpoint(&self.connection, "PASSIVE").map(drop)
    }

    /// Notes that a reader is in the way, or that none is.
    fn note_obstacle(&self, progress: &Progress) {
        let mut obstacle = self.log.obstacle();
        if progress.is_whole() {
            (obstacle.since, obstacle.by) = (None, None);
        } else if obstacle.since.is_none_or(|(folded, _)| folded != progress.folded) {
            obstacle.since = Some((progress.folded, Instant::now())); // another one, or it reads further on
        }
    }

    /// Tells operators when the log becomes too long, from time to time while it is, and when it no longer is.
    fn judge(&self) {
        let used = self.log.used();
        let mut obstacle = self.log.obstacle();
        if obstacle.since.is_some_and(|(_, since)| since.elapsed() >= limits::LOOK_EVERY) {
            obstacle.by = self.condition.files().and_then(|files| holders(files.shared_memory(), READ));
        }
        let is_held = obstacle.since.is_some_and(|(_, since)| since.elapsed() >= limits::LONG_LOG_HELD);
        let from = if is_held { limits::CHECKPOINT_URGENT_BYTES } else { limits::LONG_LOG_BYTES };
        match obstacle.long {
            None if used < from => {}
            Some((since, logged)) if used >= limits::CHECKPOINT_URGENT_BYTES => {
                if logged.elapsed() >= limits::LONG_LOG_LOGGED_EVERY {
                    obstacle.long = Some((since, Instant::now()));
                    tracing::warn!("{}", warning(used, &obstacle));
                }
            }
            None => {
                let now = Instant::now();
                obstacle.long = Some((now, now));
                tracing::warn!(
                    given_up = self.log.given_up.load(Relaxed),
                    "{}; orders go on, and the disk fills. End that reader",
                    warning(used, &obstacle)
                );
            }
            Some((since, _)) => {
                obstacle.long = None;
                tracing::info!(after = ?since.elapsed(), "the write-ahead log is folded back");
            }
        }
    }

    /// Where a file was taken away, what the log holds still goes into the database: again with each look, until no reader
    /// is in the way.
    fn rescue(&mut self) {
        if !self.is_rescued
            && may_rescue(&self.condition)
            && let Some(progress) = self.checkpoint("PASSIVE")
        {
            if !progress.is_whole() {
                self.log.given_up.fetch_add(1, Relaxed);
            }
            if !progress.is_busy {
                self.log.folded.store(progress.folded, Relaxed);
            }
            self.rescues += 1;
            // A reader of a moment is nothing to tell, and one that stays is told once.
            if progress.is_whole() || self.rescues == 2 {
                tell_rescue(progress);
            }
            self.is_rescued = progress.is_whole();
        }
    }

    /// Errors are noted; a disk that does not confirm a write ends the process.
    fn checkpoint(&mut self, mode: &str) -> Option<Progress> {
        match checkpoint(&self.connection, mode) {
            Ok(progress) => {
                self.is_failing = false;
                Some(progress)
            }
            Err(error) if severity(&error) == Severity::Fsync => end_process("checkpoint", &error),
            Err(error) => {
                // Logged once, not every four megabytes.
                if self.condition.note(&error).is_none() && !self.is_failing {
                    tracing::warn!("the log could not be folded back, it will be tried again: {error}");
                }
                self.is_failing = true;
                None
            }
        }
    }
}

/// How far a checkpoint got.
#[derive(Debug, Clone, Copy)]
struct Progress {
    /// Another connection folds the log back, or writes.
    is_busy: bool,
    /// Bytes in use when it began, as it saw them.
    used: u64,
    /// Bytes of them that are folded back.
    folded: u64,
}

impl Progress {
    const fn is_whole(self) -> bool {
        !self.is_busy && self.folded == self.used
    }
}

/// Folds everything back and leaves an empty log: the last step of a writer that ends.
pub(super) fn truncate(connection: &Connection) {
    match checkpoint(connection, "TRUNCATE") {
        Ok(_) => {}
        Err(error) if severity(&error) == Severity::Fsync => end_process("checkpoint", &error),
        Err(error) => tracing::warn!("the log could not be folded back, the next start does it: {error}"),
    }
}

/// Whether what the log of a database that is gone holds may still be folded back into the file that was opened.
fn may_rescue(condition: &Condition) -> bool {
    condition.failure().is_some_and(takes_log)
        && condition.files().and_then(Files::gone).is_none_or(|gone| takes_log(&gone))
}

/// Folds back what a log that was taken away holds: the last step of a writer that ends, as no reader of this process is in
/// the way any more.
pub(super) fn rescue(connection: &Connection, condition: &Condition) {
    if !may_rescue(condition) {
        return;
    }
    match checkpoint(connection, "PASSIVE") {
        Ok(progress) => tell_rescue(progress),
        Err(error) if severity(&error) == Severity::Fsync => end_process("checkpoint", &error),
        Err(error) => tracing::error!(%error, "what was committed last is not folded back into the database file"),
    }
}

fn tell_rescue(progress: Progress) {
    let Progress { used, folded, .. } = progress;
    if progress.is_whole() {
        tracing::info!(bytes = used, "what was committed is folded back into the database file, wherever that is");
    } else {
        tracing::error!(
            bytes = used,
            folded,
            "not all that was committed is folded back into the database file: a reader is in the way. End it before this \
             service is stopped"
        );
    }
}

fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<Progress> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        let bytes = |column| row.get(column).map(|frames: i64| u64::try_from(frames).unwrap_or(0) * FRAME_BYTES);
        Ok(Progress { is_busy: row.get(0)?, used: bytes(1)?, folded: bytes(2)? })
    })
}

/// Sets the length to which the first commit after the log has begun again cuts the file.
fn set_cut(connection: &Connection, to: u64) -> rusqlite::Result<()> {
    connection.query_row(&format!("PRAGMA journal_size_limit = {to}"), [], |_| Ok(()))
}
