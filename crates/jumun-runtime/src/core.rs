//! The core of a service: reads, decides, commits, and wakes the relay for new events. It asks no neighbour.
//!
//! Every worker of a service gets this and only what else it needs; the [`Engine`](crate::Engine) adds commands, asks and
//! undoing on top.
//!
//! # One commit a step
//!
//! Whatever a step changes (documents, events, requests, positions of consumers) goes through [`Core::commit`], which is the
//! only place that writes. It counts what it does, wakes the relay when there are events, wakes recovery when something is
//! to be undone, and keeps the reason of the last commit that was not done for the health page.
//!
//! # One process per database
//!
//! Five parts of a service hold only while no other process uses its database. An adapter for replicas has to replace all five:
//!
//! 1. Recovery voids the requests of every other incarnation: it takes them for dead (`asks::recovery`).
//! 2. [`Core::hold_commits`] holds the commits of this process only. A rebuild switches views under it.
//! 3. The budget of delayed asks counts those of this process only ([`DelayBudget`]).
//! 4. Commands on one document queue in the memory of this process (`intake::turns`).
//! 5. The relay is the only publisher of the service (`events::relay`).
//!
//! The database records whether it is so ([`Sharing`]), and [`require_one_process`] refuses to serve where it is not.

use crate::{
    alarm::Alarm,
    asks::budget::DelayBudget,
    events::{feed::Feed, token::Token},
    intake::turns::{QueueKey, Turns},
    limits::DATABASE_PAUSE,
    metrics::ServiceMetrics,
};
use futures_util::FutureExt;
use jiff::{Timestamp, tz::TimeZone};
use jumun::{
    AskTarget, Asked, Behaviour, Decided, Defect, DocumentAfter, DocumentKey, Lookup, ServiceModel, Stored, WaitAfter,
};
use jumun_database::{
    AskRecord, Changes, CommitError, Database, DocumentChange, DocumentVersion, Identity, JournalEntry, ReadError,
    Receipt, Request, RequestChange, RequestState, Sharing, Wait, WaitChange,
};
use jumun_telemetry::{Kind, Origin, Span, TraceContext, Tracer};
use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, RwLock, RwLockWriteGuard, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// Reads, decides and commits for one service. Cheap to clone; all clones are one core.
#[derive(Clone)]
pub struct Core(Arc<Inner>);

struct Inner {
    model: ServiceModel,
    behaviour: Arc<dyn Behaviour>,
    database: Arc<dyn Database>,
    delays: DelayBudget,
    clock: fn() -> Timestamp,
    ids: fn() -> Uuid,
    zone: TimeZone,
    tracer: Tracer,
    metrics: ServiceMetrics,
    incarnation: Uuid,
    tasks: TaskTracker,
    killed: CancellationToken,
    workers_stopped: CancellationToken,
    to_undo: Notify,
    to_publish: Notify,
    feed: Feed,
    /// Counts commits with events, for those who follow the journal.
    published: watch::Sender<u64>,
    alarm: Alarm,
    trouble: Mutex<Option<String>>,
    /// Why the relay cannot publish.
    unpublished: Mutex<Option<String>>,
    /// Shared by all commits; held exclusively by a worker that needs that no commit runs.
    commits: RwLock<()>,
    turns: Turns<QueueKey>,
}

/// What a core is made of; see [`Parts`](crate::Parts).
pub(crate) struct CoreParts {
    pub(crate) model: ServiceModel,
    pub(crate) behaviour: Arc<dyn Behaviour>,
    pub(crate) database: Arc<dyn Database>,
    pub(crate) delays: DelayBudget,
    pub(crate) clock: fn() -> Timestamp,
    pub(crate) ids: fn() -> Uuid,
    pub(crate) zone: TimeZone,
    pub(crate) tracer: Tracer,
    pub(crate) metrics: ServiceMetrics,
}

/// Why a step cannot be taken.
#[derive(Debug)]
pub(crate) enum StepError {
    /// The database cannot be read now.
    Unreadable(ReadError),
    /// A document cannot be read by this release, or a decision breaks the rules of its system.
    Defect(Defect),
    /// Too many wait for the same document.
    Crowded,
}

/// The database is one that several processes share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the database of {service} is shared by several processes, and this release runs one process a database")]
pub struct SharedDatabase {
    service: String,
}

impl SharedDatabase {
    /// The error code. It stays the same over releases.
    pub const fn code(&self) -> &'static str {
        "database-shared"
    }

    /// What the operator can do about it.
    pub const fn remedy(&self) -> &'static str {
        "Use the release that made this database, or give the service a database of its own."
    }
}

/// Refuses a database that other processes may use: see *One process per database* above.
pub(crate) fn require_one_process(identity: &Identity) -> Result<(), SharedDatabase> {
    match identity.sharing {
        Sharing::OneProcess => Ok(()),
        Sharing::Replicas => Err(SharedDatabase { service: identity.service.clone() }),
    }
}

/// What a step does to the wait of a document, as it is committed.
pub(crate) fn wait_change(wait: WaitAfter, trace: &TraceContext) -> WaitChange {
    match wait {
        WaitAfter::Same => WaitChange::Keep,
        WaitAfter::Begins { name, due_ms } => {
            WaitChange::Begin(Wait { name: name.into(), due_ms, trace: Some(trace.to_stored()) })
        }
        WaitAfter::Ends => WaitChange::End,
    }
}

impl From<ReadError> for StepError {
    fn from(error: ReadError) -> Self {
        Self::Unreadable(error)
    }
}

impl Core {
    pub(crate) fn new(parts: CoreParts) -> Self {
        let CoreParts { model, behaviour, database, delays, clock, ids, zone, tracer, metrics } = parts;
        Self(Arc::new(Inner {
            incarnation: ids(),
            model,
            behaviour,
            database,
            delays,
            clock,
            ids,
            zone,
            tracer,
            metrics,
            tasks: TaskTracker::new(),
            killed: CancellationToken::new(),
            workers_stopped: CancellationToken::new(),
            to_undo: Notify::new(),
            to_publish: Notify::new(),
            feed: Feed::default(),
            published: watch::Sender::new(0),
            alarm: Alarm::new(),
            trouble: Mutex::new(None),
            unpublished: Mutex::new(None),
            commits: RwLock::new(()),
            turns: Turns::new(),
        }))
    }

    /// The service.
    pub fn model(&self) -> &ServiceModel {
        &self.0.model
    }

    /// What its aggregates do.
    pub(crate) fn behaviour(&self) -> &dyn Behaviour {
        self.0.behaviour.as_ref()
    }

    /// Its database.
    pub fn database(&self) -> &Arc<dyn Database> {
        &self.0.database
    }

    /// The budget of delayed asks.
    pub fn delays(&self) -> &DelayBudget {
        &self.0.delays
    }

    /// The zone that dates are shown in.
    pub fn zone(&self) -> &TimeZone {
        &self.0.zone
    }

    /// Takes spans of what the service does.
    pub fn tracer(&self) -> &Tracer {
        &self.0.tracer
    }

    /// What the service counts.
    pub fn metrics(&self) -> &ServiceMetrics {
        &self.0.metrics
    }

    /// The id of this run of the process: a request names the run that made it.
    pub fn incarnation(&self) -> Uuid {
        self.0.incarnation
    }

    /// Why the database does not keep its promises: it has failed for good, the last commit was not done, or the disk did
    /// not give what was written.
    pub fn trouble(&self) -> Option<String> {
        let database = self.database();
        let failure = database.failure().map(|failure| format!("{}: {failure}. {}", failure.code(), failure.remedy()));
        let last = || self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failure.or_else(last).or_else(|| database.stats().disk_error)
    }

    /// Why the relay cannot publish.
    pub(crate) fn unpublished(&self) -> Option<String> {
        self.0.unpublished.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes why the relay cannot publish, or that it can. True: that is new.
    pub(crate) fn note_unpublished(&self, why: Option<String>) -> bool {
        let mut last = self.0.unpublished.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = last.is_some() != why.is_some();
        *last = why;
        is_new
    }

    /// Changes with each commit that has events.
    pub(crate) fn new_events(&self) -> watch::Receiver<u64> {
        self.0.published.subscribe()
    }

    /// The time, to the millisecond.
    pub(crate) fn now(&self) -> Timestamp {
        let now = (self.0.clock)();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// An id for a new request: UUID version 7.
    pub(crate) fn new_request_id(&self) -> Uuid {
        (self.0.ids)()
    }

    /// The turns of documents and keys.
    pub(crate) fn turns(&self) -> &Turns<QueueKey> {
        &self.0.turns
    }

    /// Wakes the worker that has asks undone.
    pub(crate) fn to_undo(&self) -> &Notify {
        &self.0.to_undo
    }

    /// Wakes the relay.
    pub(crate) fn to_publish(&self) -> &Notify {
        &self.0.to_publish
    }

    /// Hands events of commits over to the relay.
    pub(crate) fn feed(&self) -> &Feed {
        &self.0.feed
    }

    /// Wakes the worker that decides time-outs.
    pub(crate) fn alarm(&self) -> &Alarm {
        &self.0.alarm
    }

    // ---- tasks

    /// Runs work beside the caller until it is done or the service is killed. `None`: killed.
    pub(crate) fn spawn<T, F>(&self, work: F) -> impl Future<Output = Option<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let killed = self.0.killed.clone();
        let work = Box::pin(work); // Tokio moves a task several times, at its start and its end; a command is some thousand bytes
        let task = self.0.tasks.spawn(async move { killed.run_until_cancelled(work).await });
        async move { task.await.ok().flatten() }
    }

    /// Runs a worker until the service is drained or killed. A worker that panics ends the process: half a service would
    /// acknowledge orders whose events no other service gets.
    pub(crate) fn spawn_worker(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.0.workers_stopped.clone();
        drop(self.spawn(async move {
            if AssertUnwindSafe(stopped.run_until_cancelled(work)).catch_unwind().await.is_err() {
                tracing::error!("a worker panicked; this process ends, and the next one recovers what is in doubt");
                std::process::abort();
            }
        }));
    }

    /// Stops the workers, waits for the commands in progress up to the limit, then ends the rest as a crash would.
    pub(crate) async fn drain(&self, time_limit: Duration) {
        self.0.workers_stopped.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(time_limit, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(?time_limit, "not every command ended in time; the next start undoes what is left");
        }
        self.kill();
        self.0.tasks.wait().await;
    }

    /// Ends all tasks at once, as a crash would.
    pub(crate) fn kill(&self) {
        self.0.killed.cancel();
    }

    /// Cancelled when the service is drained.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.workers_stopped
    }

    // ---- reading and deciding

    /// A document as it is stored now; `None` if there is none.
    pub(crate) async fn read(&self, (resource, id): DocumentKey) -> Result<Option<Stored>, ReadError> {
        let collection = self.model().resources[resource].collection;
        let document = self.database().document(collection, id).await?;
        Ok(document.map(|document| Stored { version: document.version, body: document.body }))
    }

    /// An id for a new document.
    pub(crate) async fn new_document_id(&self, resource: usize) -> Result<i64, ReadError> {
        let resource = &self.model().resources[resource];
        loop {
            let id = self.database().next_id(resource.collection).await?;
            if resource.ids.has(id) {
                return Ok(id);
            }
        }
    }

    /// What an index finds.
    pub(crate) async fn find(&self, lookup: &Lookup) -> Result<Vec<i64>, ReadError> {
        let Lookup { resource, fields, values, after, limit } = lookup.clone();
        let collection = self.model().resources[resource].collection;
        self.database().first(jumun_database::Lookup { collection, fields, values, after, limit }).await
    }

    /// Adds to a commit what was decided, all but its documents, which it returns: events, questions asked later, and
    /// questions taken back. `settled` is the request that this commit ends, if it ends one: it is not taken back.
    pub(crate) async fn add_consequences(
        &self,
        decided: Decided,
        now: Timestamp,
        trace: &TraceContext,
        settled: Option<Uuid>,
        changes: &mut Changes,
    ) -> Result<Vec<DocumentAfter>, ReadError> {
        for (key, target) in &decided.withdrawn {
            self.withdraw(*key, *target, settled, &mut changes.requests).await?;
        }
        let later = decided.later.into_iter().map(|(key, asked)| self.asked_later(key, asked, now, trace));
        changes.requests.extend(later);
        let resources = &self.model().resources;
        changes.unchanged.extend(decided.read.into_iter().map(|((resource, id), version)| DocumentVersion {
            collection: resources[resource].collection,
            id,
            version,
            body: None,
        }));
        changes.journal.extend(decided.events.into_iter().map(|event| JournalEntry {
            event_type: event.event_type,
            key: event.key,
            time_ms: now.as_millisecond(),
            trace: Some(trace.to_stored()),
            body: event.body,
        }));
        Ok(decided.documents)
    }

    /// Adds to a commit everything that was decided; see [`Self::add_consequences`].
    pub(crate) async fn add(
        &self,
        decided: Decided,
        now: Timestamp,
        trace: &TraceContext,
        settled: Option<Uuid>,
        changes: &mut Changes,
    ) -> Result<(), ReadError> {
        let documents = self.add_consequences(decided, now, trace, settled, changes).await?;
        let resources = &self.model().resources;
        changes.documents.extend(documents.into_iter().map(|document| DocumentChange {
            collection: resources[document.key.0].collection,
            id: document.key.1,
            expected_version: document.expected_version,
            shown: document.shown,
            body: document.body,
            wait: wait_change(document.wait, trace),
        }));
        Ok(())
    }

    /// A question that is asked once it is committed.
    fn asked_later(
        &self,
        (resource, subject): DocumentKey,
        asked: Asked,
        now: Timestamp,
        trace: &TraceContext,
    ) -> RequestChange {
        let Asked { target, body, .. } = asked;
        RequestChange::Insert(Box::new(Request {
            id: self.new_request_id(),
            key: None,
            fingerprint: [0; 16],
            state: RequestState::Delayed,
            collection: self.model().resources[resource].collection.into(),
            subject,
            ask: Some(AskRecord {
                service: target.service.to_owned(),
                path: target.path.to_owned(),
                question: Some(body),
            }),
            answer: None,
            incarnation: self.incarnation(),
            until_ms: self.delays().until_ms(target.service, now.as_millisecond()),
            trace: Some(trace.to_stored()),
        }))
    }

    /// Takes back the delayed questions of a document to a neighbour: stored ones become voiding, those that this very
    /// commit would ask are not asked at all. The settled one stays.
    async fn withdraw(
        &self,
        (resource, subject): DocumentKey,
        target: AskTarget,
        settled: Option<Uuid>,
        requests: &mut Vec<RequestChange>,
    ) -> Result<(), ReadError> {
        let collection = self.model().resources[resource].collection;
        let is_it = |request: &Request| {
            let ask = request.ask.as_ref().map(|ask| (ask.service.as_str(), ask.path.as_str()));
            let is_about = request.collection == collection && request.subject == subject;
            is_about && ask == Some((target.service, target.path)) && request.state == RequestState::Delayed
        };
        requests.retain(|change| !matches!(change, RequestChange::Insert(request) if is_it(request)));
        let (from, to) = (RequestState::Delayed, RequestState::Voiding);
        for request in self.database().doubts_about(subject).await? {
            let change = RequestChange::Move { id: request.id, from, to, answer: None };
            if is_it(&request) && Some(request.id) != settled && !requests.contains(&change) {
                requests.push(change);
            }
        }
        Ok(())
    }

    // ---- committing

    /// Commits what a new database begins with, unless there is an event in it. Retries for as long as the database does
    /// not answer.
    pub async fn seed(&self) {
        let now = self.now();
        let decided = match self.behaviour().seed(now) {
            Ok(Some(decided)) => decided,
            Ok(None) => return,
            Err(defect) => return tracing::error!(%defect, "the seed is not as it must be; this is a defect"),
        };
        loop {
            let why = match self.database().journal(0, 0, 1).await {
                Ok(events) if !events.is_empty() => return,
                Ok(_) => {
                    let mut changes = Changes::default();
                    let (seed, trace) = (decided.clone(), TraceContext::following(None, || false));
                    match self.add(seed, now, &trace, None, &mut changes).await {
                        Ok(()) => match self.commit(changes).await {
                            Ok(_) => return,
                            Err(error) => error.to_string(),
                        },
                        Err(error) => error.to_string(),
                    }
                }
                Err(error) => error.to_string(),
            };
            tracing::warn!(why, "the seed of a new database is not committed yet");
            tokio::time::sleep(DATABASE_PAUSE).await;
        }
    }

    /// Waits until no commit runs, and lets none begin while the guard lives. Only of this process: see *One process a
    /// database* in `core.rs`.
    pub async fn hold_commits(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.commits.write().await
    }

    /// Commits as a part of what came in: a sampled trace gets a span. Steps commit with
    /// [`Reading::commit`](crate::reading::Reading::commit).
    pub(crate) async fn commit_of(&self, origin: Option<&Origin>, changes: Changes) -> Result<Receipt, CommitError> {
        let Some(origin) = origin.filter(|origin| self.tracer().takes(&origin.trace)) else {
            return self.commit(changes).await;
        };
        let began = Instant::now();
        let result = self.commit(changes).await;
        self.tracer().record(&origin.trace, || Span {
            context: origin.trace.child(),
            parent: Some(origin.trace.span_id),
            kind: Kind::Internal,
            name: "commit".into(),
            took: began.elapsed(),
            attributes: Vec::new(),
            is_failed: result.is_err(),
        });
        result
    }

    /// Commits. Nothing else writes to the database, but for the purge of old answers.
    pub(crate) async fn commit(&self, changes: Changes) -> Result<Receipt, CommitError> {
        if changes == Changes::default() {
            return Ok(Receipt::default());
        }
        let has_events = !changes.journal.is_empty();
        let is_withdrawal = changes.requests.iter().any(|change| {
            matches!(change, RequestChange::Move { from: RequestState::Delayed, to: RequestState::Voiding, .. })
        });
        let delayed = DelayBudget::difference(&changes.requests);
        let due_ms = changes.documents.iter().filter_map(|document| match &document.wait {
            WaitChange::Begin(wait) => Some(wait.due_ms),
            WaitChange::Keep | WaitChange::End => None,
        });
        let due_ms = due_ms.min();
        let journal = self.feed().copy(&changes.journal);
        let running = self.0.commits.read().await;
        let result = self.database().commit(changes).await;
        self.delays().committed(delayed, &result);
        drop(running);
        self.metrics().commit(&result);
        if is_withdrawal && result.is_ok() {
            self.to_undo().notify_one();
        }
        if let Some(due_ms) = due_ms.filter(|_| result.is_ok()) {
            self.alarm().is_due(due_ms);
        }
        if has_events && let Ok(receipt) = &result {
            self.feed().committed(journal, receipt);
            self.to_publish().notify_one();
            self.0.published.send_modify(|commits| *commits = commits.wrapping_add(1));
        }
        self.note_trouble(&result);
        result
    }

    /// Logs once when commits begin to fail, and once when they are done again.
    fn note_trouble(&self, result: &Result<Receipt, CommitError>) {
        let trouble = match result {
            Err(CommitError::NotDone(why) | CommitError::Unknown(why)) => Some(why.clone()),
            Err(CommitError::Limit(_)) => return,  // does not concern the disk
            Err(CommitError::Failed(_)) => return, // the database has logged it, with its remedy
            _ => None,
        };
        let mut last = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*last, &trouble) {
            (None, Some(why)) => tracing::warn!(why, "commits are not done; clients are answered 503"),
            (Some(_), None) => tracing::info!("commits are done again"),
            _ => {}
        }
        *last = trouble;
    }

    /// The name of the last event of a commit.
    pub(crate) fn last_event(&self, receipt: &Receipt) -> Option<String> {
        let (partition, sequence) = *receipt.sequences.last()?;
        Some(Token { service: self.model().name.to_owned(), partition, sequence }.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_processes_share_is_refused() {
        let identity = |sharing| Identity { service: "order".to_owned(), epoch: Uuid::nil(), partitions: 1, sharing };
        assert_eq!(require_one_process(&identity(Sharing::OneProcess)), Ok(()));
        let error = require_one_process(&identity(Sharing::Replicas)).expect_err("it is shared");
        assert!(error.to_string().starts_with("the database of order is shared"), "{error}");
        assert_eq!(error.code(), "database-shared");
    }
}
