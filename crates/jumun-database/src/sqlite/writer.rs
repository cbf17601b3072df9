//! The one thread that writes: group commit.
//!
//! A commit costs an fsync, and an fsync costs the same for one job as for five hundred. So all jobs that wait when the
//! writer returns from the disk go into the next transaction together: the slower the disk, the larger the groups. No
//! caller gets an answer before COMMIT has returned.

use super::{
    answers::{Answers, Courier},
    checkpoint::Checkpoints,
    counters::Counters,
    failure::{Severity, end_process, severity},
    ids::Ids,
    job::{Done, Job, Outcome, Work},
    statements::Statements,
};
use crate::{CommitError, Stats, histogram::Filling, limits, rules};
use rusqlite::{Connection, ErrorCode};
use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    },
    time::Instant,
};

/// What the writer shows to other threads.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) ids: Ids,
    pub(super) courier: Courier,
    commits: AtomicU64,
    groups: AtomicU64,
    conflicts: AtomicU64,
    group_jobs: Filling,
    sync_us: Filling,
}

impl Shared {
    pub(super) fn new(counters: &Counters) -> Arc<Self> {
        Arc::new(Self {
            ids: Ids::new(counters),
            courier: Courier::default(),
            commits: AtomicU64::new(0),
            groups: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            group_jobs: Filling::new(limits::GROUP_JOBS_BOUNDS),
            sync_us: Filling::new(limits::SYNC_US_BOUNDS),
        })
    }

    /// What the writer has done since the start.
    pub(super) fn stats(&self) -> Stats {
        Stats {
            commits: self.commits.load(Ordering::Relaxed),
            groups: self.groups.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
            group_jobs: self.group_jobs.read(),
            sync_us: self.sync_us.read(),
        }
    }
}

pub(super) struct Writer<'c> {
    connection: &'c Connection,
    statements: Statements<'c>,
    /// As committed.
    counters: Counters,
    /// As of the transaction that is open.
    ahead: Counters,
    shared: Arc<Shared>,
    checkpoints: &'c Checkpoints,
}

impl<'c> Writer<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        collections: &[&'static str],
        counters: Counters,
        shared: Arc<Shared>,
        checkpoints: &'c Checkpoints,
    ) -> rusqlite::Result<Self> {
        let statements = Statements::new(connection, collections)?;
        Ok(Self { connection, statements, ahead: counters.clone(), counters, shared, checkpoints })
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
            if self.checkpoints.after_commit() {
                self.checkpoints.restart(self.connection);
            }
        }
    }

    fn do_group(&mut self, jobs: &[Job], outcomes: &mut Vec<Outcome>) {
        let Err(error) = self.transaction(jobs, outcomes) else { return };
        self.statements.roll_back();
        outcomes.clear();
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
                tracing::warn!("{} commits were not done: {error}", jobs.len());
                if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                    self.checkpoints.wake();
                }
                outcomes.extend(jobs.iter().map(|_| Err(CommitError::NotDone(error.to_string()))));
            }
        }
    }

    /// All of them in one transaction. After an error nothing of it counts.
    fn transaction(&mut self, jobs: &[Job], outcomes: &mut Vec<Outcome>) -> rusqlite::Result<()> {
        self.ahead.clone_from(&self.counters);
        self.statements.begin()?;
        for job in jobs {
            outcomes.push(self.job(&job.work)?);
        }
        let statements = &mut self.statements;
        self.ahead.changed_since(&self.counters, |name, value| statements.set_counter(name, value))?;
        let began = Instant::now();
        self.statements.commit()?;
        self.shared.sync_us.add(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.shared.group_jobs.add(jobs.len() as u64);
        mem::swap(&mut self.counters, &mut self.ahead);
        self.shared.ids.raise(&self.counters);
        self.count(outcomes);
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
            Work::Shadow(work) => match work.run(self.connection, &mut self.ahead)? {
                Ok(gone) => Ok(Ok(Done::Shadow(gone))),
                Err(conflict) => Ok(Err(CommitError::Conflict(conflict))),
            },
        }
    }

    fn count(&self, outcomes: &[Outcome]) {
        let commits = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Done::Committed(_)))).count() as u64;
        let conflicts = outcomes.iter().filter(|outcome| outcome.is_err()).count() as u64;
        self.shared.commits.fetch_add(commits, Ordering::Relaxed);
        self.shared.conflicts.fetch_add(conflicts, Ordering::Relaxed);
        self.shared.groups.fetch_add(u64::from(commits > 0), Ordering::Relaxed);
    }
}

/// Fills a group; false when there will never be another.
///
/// The first job is waited for. Then everything that is there is taken. If the last group had more than one job, its
/// callers are probably about to come back, so they get a moment, until as many are here.
fn gather(queue: &Receiver<Job>, group: &mut Vec<Job>, last_size: usize) -> bool {
    let Ok(first) = queue.recv() else { return false };
    group.push(first);
    let mut until = None;
    while group.len() < limits::GROUP_MAX_JOBS {
        match queue.try_recv() {
            Ok(job) => group.push(job),
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) if group.len() >= last_size => break,
            Err(TryRecvError::Empty) => {
                let now = Instant::now();
                let until = *until.get_or_insert(now + limits::GROUP_LINGER);
                match queue.recv_timeout(until.saturating_duration_since(now)) {
                    Ok(job) => group.push(job),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
        }
    }
    true
}
