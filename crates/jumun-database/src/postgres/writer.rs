//! The one thread that writes: group commit. See the page of the adapter for what a group is on the server.

use super::{
    address::PostgresAddress,
    failure::{Severity, severity},
    holder::{self, Backend, Holder, NotHeld, Opened},
    rows,
    session::{Call, Session, text_of},
    shadow, statements,
};
use crate::{
    Changes, CommitError, DatabaseFailure, Schema, limits, rules, values,
    writing::{Answers, Counters, Done, Group, Job, Outcome, Shared, Work, gather},
};
use std::{
    mem,
    sync::{Arc, OnceLock, mpsc::Receiver},
    time::Instant,
};
use tokio::{runtime::Runtime, task::JoinHandle};
use tokio_postgres::Error;
use uuid::Uuid;

pub(super) struct Writer {
    address: Arc<PostgresAddress>,
    schema: Schema,
    shared: Arc<Shared>,
    failure: Arc<OnceLock<DatabaseFailure>>,
    /// This process, as the database knows it.
    id: Uuid,
    session: Option<Session>,
    /// The last connection that the writer had.
    backend: Backend,
    /// Under way while there is no connection.
    connecting: Option<JoinHandle<Result<Holder, NotHeld>>>,
    /// As committed.
    counters: Counters,
    /// The number of the last transaction that is committed.
    group: i64,
    /// A transaction whose end is not known, or not yet.
    in_flight: Option<InFlight>,
    /// The outcomes of a transaction whose end was unknown and is known now.
    found_done: Option<Vec<Outcome>>,
    /// Whether the server did not answer for longer than the last commits waited.
    is_cut_off: bool,
}

/// A transaction that was sent with its COMMIT.
struct InFlight {
    group: i64,
    counters: Counters,
    /// Empty once its callers were told that the outcome is unknown.
    outcomes: Vec<Outcome>,
    began: Instant,
}

impl Writer {
    pub(super) fn new(
        address: Arc<PostgresAddress>,
        schema: Schema,
        shared: Arc<Shared>,
        failure: Arc<OnceLock<DatabaseFailure>>,
        opened: Opened,
    ) -> Self {
        let Opened { holder: Holder { session, backend, group }, id, counters, .. } = opened;
        Self {
            address,
            schema,
            shared,
            failure,
            id,
            session: Some(session),
            backend,
            connecting: None,
            counters,
            group,
            in_flight: None,
            found_done: None,
            is_cut_off: false,
        }
    }

    /// Works until the queue is closed and its last job is done. Then it lets go of the database.
    pub(super) fn run(mut self, runtime: &Runtime, queue: &Receiver<Job>) {
        let mut group = Vec::with_capacity(limits::GROUP_MAX_JOBS);
        let mut outcomes = Vec::with_capacity(limits::GROUP_MAX_JOBS);
        let mut last_size = 0;
        while gather(queue, &mut group, last_size) {
            last_size = group.len();
            runtime.block_on(self.do_jobs(&group, &mut outcomes));
            let callers = group.drain(..).map(|job| job.caller);
            self.shared.courier.deliver(Answers(callers.zip(outcomes.drain(..)).collect()));
        }
        if let Some(session) = &self.session
            && let Err(error) = runtime.block_on(session.script("SELECT pg_advisory_unlock_all()"))
        {
            tracing::debug!("the lock of the database ends with its connection: {}", text_of(&error));
        }
    }

    /// Commits go together as far as they follow each other; everything else is a transaction of its own.
    async fn do_jobs(&mut self, jobs: &[Job], outcomes: &mut Vec<Outcome>) {
        let mut rest = jobs;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(together(rest));
            self.do_group(now, outcomes).await;
            rest = later;
        }
    }

    async fn do_group(&mut self, jobs: &[Job], outcomes: &mut Vec<Outcome>) {
        let most = if self.is_cut_off { limits::SERVER_WAIT_AGAIN } else { limits::SERVER_WAIT_MAX };
        let until = Instant::now() + most;
        let mut attempts = 1;
        loop {
            if let Err(error) = self.connect(until).await {
                self.give_up(jobs, &error, outcomes);
                return;
            }
            if let Some(done) = self.found_done.take() {
                return outcomes.extend(done);
            }
            let attempt = tokio::time::timeout(2 * limits::COMMIT_MAX, self.attempt(jobs)).await;
            let error = match attempt {
                Ok(Ok(done)) => return outcomes.extend(done),
                Ok(Err(error)) => error,
                Err(_) => {
                    self.session = None; // it is ended from another connection, and then it is known what it did
                    continue;
                }
            };
            let severity = severity(&error);
            if severity == Severity::Lost {
                tracing::debug!("the connection of the writer is lost: {}", text_of(&error));
                self.session = None;
            } else {
                // The server has refused it: nothing of it is done.
                self.in_flight = None;
                self.roll_back().await;
            }
            attempts += 1;
            match severity {
                Severity::Lost if Instant::now() < until => {}
                Severity::Again if attempts <= limits::TRANSACTION_ATTEMPTS_MAX => {}
                Severity::Job if jobs.len() > 1 => {
                    tracing::debug!("one of {} commits failed, each is tried alone: {}", jobs.len(), text_of(&error));
                    for job in jobs {
                        Box::pin(self.do_group(std::slice::from_ref(job), outcomes)).await;
                    }
                    return;
                }
                _ => return self.give_up(jobs, &CommitError::NotDone(text_of(&error)), outcomes),
            }
        }
    }

    /// Answers jobs that are not done, or of which that is not known.
    fn give_up(&mut self, jobs: &[Job], error: &CommitError, outcomes: &mut Vec<Outcome>) {
        let sent = self.in_flight.as_mut().map(|sent| mem::take(&mut sent.outcomes)).unwrap_or_default();
        if sent.is_empty() {
            return outcomes.extend(jobs.iter().map(|_| Err(error.clone())));
        }
        outcomes.extend(sent.into_iter().map(|outcome| match (outcome, error) {
            (Err(conflict), _) => Err(conflict),
            (Ok(_), error) => Err(CommitError::Unknown(error.to_string())),
        }));
    }

    async fn roll_back(&mut self) {
        if let Some(session) = &self.session
            && session.script("ROLLBACK").await.is_err()
        {
            self.session = None;
        }
    }

    /// Sees to it that there is a connection that holds the lock. Waits for it at most this long; the attempt goes on.
    async fn connect(&mut self, until: Instant) -> Result<(), CommitError> {
        let mut why = "the database server does not answer".to_owned();
        loop {
            if let Some(failure) = self.failure.get() {
                return Err(CommitError::Failed(failure.clone()));
            }
            if self.session.as_ref().is_some_and(|session| !session.is_closed()) {
                return Ok(());
            }
            let again = || tokio::spawn(holder::again(Arc::clone(&self.address), self.id, self.backend.clone()));
            let connecting = self.connecting.get_or_insert_with(again);
            let Ok(connected) = tokio::time::timeout_at(until.into(), &mut *connecting).await else {
                self.is_cut_off = true;
                return Err(CommitError::NotDone(why));
            };
            self.connecting = None;
            match connected {
                Ok(Ok(holder)) => self.take(holder),
                Ok(Err(NotHeld::TakenOver)) => self.fail(),
                Ok(Err(NotHeld::Now(now))) => {
                    why = now;
                    if Instant::now() >= until {
                        self.is_cut_off = true;
                        return Err(CommitError::NotDone(why));
                    }
                    tokio::time::sleep(limits::RECONNECT_EVERY).await;
                }
                Err(error) => why = error.to_string(),
            }
        }
    }

    /// Takes a new connection over. Nothing else has written since the one before: so the number of the last transaction
    /// says what became of one that was under way.
    fn take(&mut self, holder: Holder) {
        let Holder { session, backend, group } = holder;
        let is_done = match self.in_flight.take() {
            Some(sent) if sent.group == group => {
                self.found_done = Some(self.finish(sent)).filter(|outcomes| !outcomes.is_empty());
                true
            }
            _ => group == self.group,
        };
        if !is_done {
            return self.fail();
        }
        tracing::info!("connected to the database again");
        self.is_cut_off = false;
        (self.session, self.backend) = (Some(session), backend);
    }

    /// Notes that the database is no longer this process's own.
    fn fail(&mut self) {
        let failure = self.failure.get_or_init(|| DatabaseFailure::TakenOver { path: self.address.to_string() });
        let (code, remedy) = (failure.code(), failure.remedy());
        tracing::error!(code, remedy, "{failure}; from now on this service takes no orders");
    }

    /// All jobs in one transaction. After an error of the server nothing of it is done; after a lost connection
    /// [`Self::in_flight`] says whether that is known.
    async fn attempt(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>, Error> {
        let Some(session) = &self.session else { return Ok(Vec::new()) };
        let mut ahead = self.counters.clone();
        let commits: Vec<&Changes> = jobs.iter().filter_map(|job| commit_of(&job.work)).collect();
        let mut group = Group::of(commits.iter().copied());
        let (outcomes, mut calls) = if commits.is_empty() {
            session.script("BEGIN").await?;
            let mut outcomes = Vec::with_capacity(1);
            for job in jobs {
                outcomes.push(other(session, &self.schema, &job.work, &mut ahead).await?);
            }
            (outcomes, Vec::new())
        } else {
            statements::look_up(session, &self.schema, &mut group).await?;
            let outcomes = commits.iter().map(|changes| judge(changes, &mut group, &self.schema, &mut ahead)).collect();
            (outcomes, statements::writes(&self.schema, &group))
        };
        let began = Instant::now();
        if outcomes.iter().all(Result::is_err) {
            session.script("ROLLBACK").await?;
            self.shared.committed(&outcomes, &self.counters, began.elapsed());
            return Ok(outcomes);
        }
        let next = self.group + 1;
        let (mut names, mut values) = (vec![holder::GROUPS.to_owned()], vec![next]);
        let mut note = |name: &str, value| {
            names.push(name.to_owned());
            values.push(value);
            Ok::<(), Error>(())
        };
        ahead.changed_since(&self.counters, &mut note)?;
        calls.push(statements::counters(names, values));
        calls.push(Call::new("COMMIT"));
        self.in_flight = Some(InFlight { group: next, counters: ahead, outcomes, began });
        session.pipeline(&calls).await?;
        Ok(self.in_flight.take().map(|done| self.finish(done)).unwrap_or_default())
    }

    /// Notes what a transaction that is committed has changed.
    fn finish(&mut self, done: InFlight) -> Vec<Outcome> {
        let InFlight { group, counters, outcomes, began } = done;
        (self.group, self.counters) = (group, counters);
        if !outcomes.is_empty() {
            self.shared.committed(&outcomes, &self.counters, began.elapsed());
        }
        outcomes
    }
}

/// How many of these jobs are one transaction.
fn together(jobs: &[Job]) -> usize {
    let mut bytes = 0;
    let commits = jobs.iter().map_while(|job| commit_of(&job.work));
    let within = commits.take_while(|changes| {
        bytes += size(changes);
        bytes <= limits::GROUP_MAX_BYTES
    });
    within.count().max(1)
}

fn size(changes: &Changes) -> usize {
    let documents = changes.documents.iter().map(|document| document.body.len());
    documents.chain(changes.journal.iter().map(|entry| entry.body.len())).sum()
}

fn commit_of(work: &Work) -> Option<&Changes> {
    match work {
        Work::Commit(changes) => Some(changes),
        Work::Purge { .. } | Work::Shadow(_) => None,
    }
}

fn judge<'j>(changes: &'j Changes, group: &mut Group<'j>, schema: &Schema, ahead: &mut Counters) -> Outcome {
    let Ok(conflict) = rules::first_conflict(changes, group);
    if let Some(conflict) = conflict {
        return Err(CommitError::Conflict(conflict));
    }
    let place_of = |name: &str| schema.collections.iter().position(|known| known.name == name);
    Ok(Done::Committed(group.apply(changes, place_of, ahead)))
}

/// A job that is no commit.
async fn other(session: &Session, schema: &Schema, work: &Work, ahead: &mut Counters) -> Result<Outcome, Error> {
    match work {
        Work::Commit(_) => Ok(Ok(Done::Committed(crate::Receipt::default()))),
        Work::Purge { before_ms, keep_at_most } => {
            Ok(Ok(Done::Purged(purge(session, *before_ms, *keep_at_most, ahead).await?)))
        }
        Work::Shadow(change) => Ok(match shadow::run(change, session, schema, ahead).await? {
            Ok(is_gone) => Ok(Done::Shadow(is_gone)),
            Err(conflict) => Err(CommitError::Conflict(conflict)),
        }),
    }
}

/// Deletes the oldest requests that are not in doubt.
async fn purge(session: &Session, before_ms: i64, keep_at_most: u64, ahead: &mut Counters) -> Result<u64, Error> {
    let in_doubt = format!("SELECT count(*) FROM requests WHERE {}", rows::IN_DOUBT);
    let in_doubt = session.query(&Call::new(in_doubt)).await?;
    let in_doubt = in_doubt.first().map_or(Ok(0), |row| rows::number(row, 0))?;
    let too_many = ahead.requests().saturating_sub(in_doubt).saturating_sub(keep_at_most);
    let oldest = format!("SELECT id FROM requests WHERE NOT ({}) ORDER BY id LIMIT $1", rows::IN_DOUBT);
    let oldest = session.query(&Call::new(oldest).with(i64::from(limits::PURGE_MAX_ROWS))).await?;
    let mut gone = Vec::new();
    for row in &oldest {
        let id: Uuid = row.try_get(0)?;
        if gone.len() as u64 >= too_many && values::time_ms(id) >= before_ms {
            break;
        }
        gone.push(id);
    }
    let count = gone.len() as u64;
    session.execute(&Call::new("DELETE FROM requests WHERE id = ANY ($1)").with(gone)).await?;
    ahead.requests_purged(count);
    Ok(count)
}
