//! The one thread that writes: group commit.
//!
//! A commit costs an fsync, and an fsync costs the same for one job as for five hundred. So all jobs that wait when the
//! writer returns from the disk go into the next transaction together: the slower the disk, the larger the groups. No
//! caller gets an answer before COMMIT has returned.
//!
//! The writer waits for its disk and, for a bounded time, for another process that writes. See [`super::checkpoint`] for
//! what it does not wait for.

use super::{
    checkpoint::Checkpoints,
    condition::Condition,
    failure::{Severity, end_process, severity},
    holders::{WRITE, holders},
    shadow,
    statements::Statements,
};
use crate::{
    CommitError, limits, rules,
    writing::{Answers, Counters, Done, Job, Outcome, Shared, Work, gather},
};
use rusqlite::{Connection, ErrorCode};
use std::{
    mem,
    sync::{Arc, mpsc::Receiver},
    thread,
    time::Instant,
};

pub(super) struct Writer<'c> {
    connection: &'c Connection,
    statements: Statements<'c>,
    /// As committed.
    counters: Counters,
    /// As of the transaction that is open.
    ahead: Counters,
    shared: Arc<Shared>,
    checkpoints: &'c Checkpoints,
    condition: &'c Condition,
    /// Whether another process held the right to write for longer than the last commits waited.
    is_locked_out: bool,
}

impl<'c> Writer<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        collections: &[&'static str],
        counters: Counters,
        shared: Arc<Shared>,
        checkpoints: &'c Checkpoints,
        condition: &'c Condition,
    ) -> rusqlite::Result<Self> {
        let statements = Statements::new(connection, collections)?;
        let ahead = counters.clone();
        Ok(Self { connection, statements, ahead, counters, shared, checkpoints, condition, is_locked_out: false })
    }

    /// Works until the queue is closed and its last job is done.
    pub(super) fn run(&mut self, queue: &Receiver<Job>) {
        let mut group = Vec::with_capacity(limits::GROUP_MAX_JOBS);
        let mut outcomes = Vec::with_capacity(limits::GROUP_MAX_JOBS);
        let mut last_size = 0;
        while gather(queue, &mut group, last_size) {
            last_size = group.len();
            self.do_group(&group, &mut outcomes);
            let callers = group.drain(..).map(|job| job.caller);
            self.shared.courier.deliver(Answers(callers.zip(outcomes.drain(..)).collect()));
            if self.checkpoints.after_commit()
                && let Err(error) = self.checkpoints.fold_rest(self.connection)
            {
                match severity(&error) {
                    Severity::Fsync => end_process("checkpoint", &error),
                    _ => drop(self.condition.note(&error)), // the checkpointer tries it again, and reports it
                }
            }
        }
    }

    fn do_group(&mut self, jobs: &[Job], outcomes: &mut Vec<Outcome>) {
        if let Some(failure) = self.condition.look() {
            return outcomes.extend(jobs.iter().map(|_| Err(CommitError::Failed(failure.clone()))));
        }
        let Err(error) = self.transaction(jobs, outcomes) else {
            // A file that went away meanwhile took the commit with it, or part of it.
            if let Some(failure) = self.condition.look() {
                outcomes.clear();
                let why = failure.for_clients().trim_end_matches('.');
                outcomes.extend(jobs.iter().map(|_| Err(CommitError::Unknown(why.to_owned()))));
            }
            return;
        };
        self.statements.roll_back();
        outcomes.clear();
        if let Some(failure) = self.condition.note(&error) {
            return outcomes.extend(jobs.iter().map(|_| Err(CommitError::Failed(failure.clone()))));
        }
        match severity(&error) {
            Severity::Fsync => end_process("commit", &error),
            Severity::Job if jobs.len() > 1 => {
                tracing::debug!("one of {} commits failed, each is tried alone: {error}", jobs.len());
                let mut alone = Vec::with_capacity(1);
                for job in jobs {
                    self.do_group(std::slice::from_ref(job), &mut alone);
                    outcomes.append(&mut alone);
                }
            }
            Severity::Job | Severity::Environment => {
                let why = self.why(&error);
                tracing::debug!("{} commits were not done: {why}", jobs.len());
                outcomes.extend(jobs.iter().map(|_| Err(CommitError::NotDone(why.clone()))));
            }
        }
    }

    /// Why nothing can be written now. The callers log it, once.
    fn why(&self, error: &rusqlite::Error) -> String {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy) => {
                let files = self.condition.files();
                let who = files.and_then(|files| holders(files.shared_memory(), WRITE));
                format!("{} writes to the database file and does not end", who.as_deref().unwrap_or("another process"))
            }
            Some(ErrorCode::DiskFull) => {
                self.checkpoints.wake();
                error.to_string()
            }
            _ => error.to_string(),
        }
    }

    /// Begins a transaction. If another process is writing, it tries again at short intervals, so that it goes on as soon
    /// as that one has ended, and for a bounded time, so that the callers are answered.
    fn begin(&mut self) -> rusqlite::Result<()> {
        let most = if self.is_locked_out { limits::WRITE_LOCK_WAIT_AGAIN } else { limits::WRITE_LOCK_WAIT_MAX };
        let mut since = None;
        loop {
            let begun = self.statements.begin();
            let is_busy = begun.as_ref().is_err_and(|error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy));
            if is_busy && since.get_or_insert_with(Instant::now).elapsed() < most {
                thread::park_timeout(limits::WRITE_LOCK_EVERY);
            } else {
                self.is_locked_out = is_busy;
                return begun;
            }
        }
    }

    /// All of them in one transaction. After an error nothing of it counts.
    fn transaction(&mut self, jobs: &[Job], outcomes: &mut Vec<Outcome>) -> rusqlite::Result<()> {
        self.ahead.clone_from(&self.counters);
        self.begin()?;
        for job in jobs {
            outcomes.push(self.job(&job.work)?);
        }
        let statements = &mut self.statements;
        self.ahead.changed_since(&self.counters, |name, value| statements.set_counter(name, value))?;
        let began = Instant::now();
        self.statements.commit()?;
        mem::swap(&mut self.counters, &mut self.ahead);
        self.shared.committed(outcomes, &self.counters, began.elapsed());
        Ok(())
    }

    fn job(&mut self, work: &Work) -> rusqlite::Result<Outcome> {
        match work {
            Work::Commit(changes) => {
                self.statements.forget_last();
                if let Some(conflict) = rules::first_conflict(changes, &mut self.statements)? {
                    return Ok(Err(CommitError::Conflict(conflict)));
                }
                self.statements.apply(changes, &mut self.ahead).map(|receipt| Ok(Done::Committed(receipt)))
            }
            Work::Purge { before_ms, keep_at_most } => {
                let gone = self.statements.purge(*before_ms, *keep_at_most, &mut self.ahead)?;
                Ok(Ok(Done::Purged(gone)))
            }
            Work::Shadow(change) => match shadow::run(change, self.connection, &mut self.ahead)? {
                Ok(gone) => Ok(Ok(Done::Shadow(gone))),
                Err(conflict) => Ok(Err(CommitError::Conflict(conflict))),
            },
        }
    }
}
