//! The engine of a service: takes commands, asks neighbours, commits, answers. No HTTP in here.
//!
//! The protocol, and why it holds when a process dies at any step:
//!
//! 1. A command that needs nobody is one commit: documents, events, and its answer under the key it came with.
//! 2. A command that needs a neighbour is first let in by the guard around the calls to it. If it is not (the circuit is
//!    open, too many calls are under way), surely nobody is asked, and nothing is committed for it. Then it commits a
//!    request in state `Asking`: from here on somebody will see it through. Then it asks, under the request's id. Then it
//!    commits the outcome, which wins only if the request is still `Asking`. Only then the client hears a yes.
//! 3. Whatever is not surely done or surely not done is moved to `Voiding` and undone by a call that is repeated until
//!    it is answered. The neighbour undoes the effect or remembers to refuse the question, should it still come.
//! 4. Whoever finds a request in `Asking` that nobody works on any more (its process died, its time is up) moves it to
//!    `Voiding`. The compare-and-set on the state decides between that and a late answer.
//!
//! Hence an order stands if and only if its request went from `Asking` to `Done`, and its payment is undone if and only
//! if its request went to `Voiding`. There is no third way out of `Asking`, but for a neighbour that surely did nothing.
//!
//! Sources: P. Helland, *Life beyond Distributed Transactions* (the uncertainty is kept as data); `Idempotency-Key`:
//! draft-ietf-httpapi-idempotency-key-header.

use crate::{
    asks::{
        Delays, Guards,
        delays::Room,
        guards::{not_asked, verdict},
        transport::{Outcome as Reached, Question, Transport},
    },
    crash,
    events::Token,
    intake::{
        AdmissionConfig, FaultSwitch,
        admission::{Admission, Narrows, Place as AdmissionPlace},
        turns::{Turn, Turns},
    },
    limits::{ANSWERS_KEPT, ATTEMPTS_MAX, DECISIONS_MAX, NESTED_MARGIN, OUTCOME_GRACE, REPEAT_PAUSE},
    metrics::{AskOutcome, ServiceMetrics},
};
use futures_util::{FutureExt, future::BoxFuture};
use jiff::{Timestamp, tz::TimeZone};
use jumun::{
    AnyCommand, AskTarget, Asked, Behaviour, Damaged, Decided, DocumentKey, Documents, Outcome, Rejection, Reply,
    ServiceModel, Step, Stored,
};
use jumun_database::{
    AskRecord, Changes, CommitError, Conflict, Database, DocumentChange, JournalEntry, ReadError, Receipt, Request,
    RequestChange, RequestState, StoredAnswer,
};
use jumun_guard::{Admitted, Refusal};
use jumun_http::{Code, Problem};
use jumun_telemetry::{Kind, Origin, Span, TraceContext, Tracer};
use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, RwLock, RwLockWriteGuard};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

/// What an engine is made of.
pub struct Parts {
    /// The service.
    pub model: ServiceModel,
    /// What it does.
    pub behaviour: Arc<dyn Behaviour>,
    /// Where it keeps what it knows.
    pub database: Arc<dyn Database>,
    /// How it reaches its neighbours.
    pub transport: Arc<dyn Transport>,
    /// What stands around its calls to them.
    pub guards: Guards,
    /// Which answers of theirs may come later.
    pub delays: Delays,
    /// How much it takes at once.
    pub admission: AdmissionConfig,
    /// The time. Everything else takes it from here.
    pub clock: fn() -> Timestamp,
    /// The zone that dates are shown in.
    pub zone: TimeZone,
    /// Takes spans of what it does.
    pub tracer: Tracer,
    /// How often a supervisor had to start it again.
    pub restarts: u32,
}

/// Runs one service. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    parts: Parts,
    incarnation: Uuid,
    turns: Turns<Place>,
    admission: Admission,
    tasks: TaskTracker,
    killed: CancellationToken,
    workers_stopped: CancellationToken,
    to_undo: Notify,
    to_publish: Notify,
    trouble: Mutex<Option<String>>,
    metrics: ServiceMetrics,
    faults: FaultSwitch,
    /// Held by every commit; alone by whoever needs that there is none.
    commits: RwLock<()>,
}

/// Where commands queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Document(DocumentKey),
    Key(String),
}

/// A command as it comes in.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The place of the resource in the model.
    pub resource: usize,
    /// The instance; none for one that is to be made.
    pub id: Option<i64>,
    /// What is asked of it.
    pub command: AnyCommand,
    /// Under which it is known when it is repeated.
    pub key: Option<Key>,
    /// Of everything that makes it this request and no other.
    pub fingerprint: [u8; 16],
    /// The HTTP status of a yes.
    pub success: u16,
    /// Where it comes from.
    pub origin: Origin,
}

/// Under what a request is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A client's `Idempotency-Key`.
    Client(String),
    /// The id of a neighbour's ask, and when its answer is no longer waited for.
    Ask {
        /// The id.
        id: Uuid,
        /// Milliseconds since 1970 UTC.
        expires_ms: i64,
    },
}

impl Key {
    /// As it is stored: a client cannot guess its way to a neighbour's ask.
    fn stored(&self) -> String {
        match self {
            Self::Client(key) => format!("client:{key}"),
            Self::Ask { id, .. } => ask_key(*id),
        }
    }

    /// For how long its answer is still waited for, where that is known.
    fn left(&self, now: Timestamp) -> Option<Duration> {
        let Self::Ask { expires_ms, .. } = self else { return None };
        let left = expires_ms.saturating_sub(now.as_millisecond());
        Some(Duration::from_millis(u64::try_from(left).unwrap_or_default()))
    }
}

fn ask_key(id: Uuid) -> String {
    format!("ask:{id}")
}

/// A yes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Success {
    /// The HTTP status.
    pub status: u16,
    /// Where the thing is.
    pub location: Option<String>,
    /// The thing; empty where there is nothing to show.
    pub body: String,
    /// The last event that it made, where it has just made one: what a client may ask views to have heard.
    pub seen: Option<String>,
}

/// What a client hears.
pub type Answer = Result<Success, Problem>;

/// How a question ended: what the decision gets to see, and whether something is left to be undone.
struct Ended {
    reply: Reply,
    is_unknown: bool,
}

/// A neighbour that must not be asked now.
struct NotAsked<'a> {
    callee: &'static str,
    why: Refusal,
    /// Where it may be asked later instead.
    room: Option<Room<'a>>,
}

/// A question that is committed and may go out.
struct Begun {
    id: Uuid,
    time_limit: Duration,
    expires_ms: i64,
}

/// Why a command has no answer yet.
enum Halt {
    /// It never will: this is what the client hears.
    Problem(Problem),
    /// Another request with the same key was first.
    KeyTaken,
}

impl From<Problem> for Halt {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Halt> for Problem {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Problem(problem) => problem,
            Halt::KeyTaken => too_many_conflicts(), // without a key there is none to be taken
        }
    }
}

impl Engine {
    /// An engine, not yet recovered.
    pub fn new(parts: Parts) -> Self {
        let (database, tracer) = (parts.database.clone(), parts.tracer.clone());
        let admission = Admission::new(parts.admission);
        let metrics = ServiceMetrics::new(&parts.model, database, tracer, &parts.guards, &admission, parts.restarts);
        Self(Arc::new(Inner {
            parts,
            metrics,
            faults: FaultSwitch::default(),
            incarnation: Uuid::now_v7(),
            turns: Turns::new(),
            admission,
            tasks: TaskTracker::new(),
            killed: CancellationToken::new(),
            workers_stopped: CancellationToken::new(),
            to_undo: Notify::new(),
            to_publish: Notify::new(),
            trouble: Mutex::new(None),
            commits: RwLock::new(()),
        }))
    }

    /// The service.
    pub fn model(&self) -> &ServiceModel {
        &self.0.parts.model
    }

    /// Its database.
    pub fn database(&self) -> &Arc<dyn Database> {
        &self.0.parts.database
    }

    /// The zone that dates are shown in.
    pub fn zone(&self) -> &TimeZone {
        &self.0.parts.zone
    }

    /// What it counts.
    pub fn metrics(&self) -> &ServiceMetrics {
        &self.0.metrics
    }

    /// What it does wrong because somebody asked for it.
    pub fn faults(&self) -> &FaultSwitch {
        &self.0.faults
    }

    /// Who lets commands and reads in.
    pub(crate) fn admission(&self) -> &Admission {
        &self.0.admission
    }

    /// Takes spans of what it does.
    pub fn tracer(&self) -> &Tracer {
        &self.0.parts.tracer
    }

    /// Why the last commit was not done, if it was not.
    pub fn trouble(&self) -> Option<String> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a command. From where it is let in, it is seen through even if nobody waits for the answer any more.
    pub async fn take(&self, incoming: Incoming) -> Answer {
        // With faults on, it is let in where it meets them.
        let place = if self.faults().is_on() { None } else { self.let_in(&incoming, None).await? };
        let engine = self.clone();
        let task = self.spawn(async move {
            let answer = engine.answer(&incoming, place.is_some()).await;
            drop(place);
            answer
        });
        let answer = task.await.unwrap_or_else(|| {
            Err(Problem::new(Code::OutcomeUnknown, "The service is stopping. Ask again with the same Idempotency-Key."))
        });
        self.0.metrics.command(answer.is_ok());
        answer
    }

    async fn let_in(&self, incoming: &Incoming, narrows: Option<Narrows>) -> Result<Option<AdmissionPlace>, Problem> {
        let left = incoming.key.as_ref().and_then(|key| key.left(self.now()));
        self.0.admission.command(incoming.command.is_ending(), left, narrows).await
    }

    /// What a command goes through that is done now, and not one that was answered before: like the work of a real service
    /// that is slow, it is done once, however often its answer is asked for.
    async fn meet_faults(&self, incoming: &Incoming, has_place: bool) -> Result<Option<AdmissionPlace>, Problem> {
        if !self.faults().is_on() {
            return Ok(None);
        }
        // One that came before they were turned on has its place already.
        let place = if has_place { None } else { self.let_in(incoming, self.faults().narrows()).await? };
        self.faults().meet().await?;
        Ok(place)
    }

    /// Undoes what an ask did here, or makes sure that it never will.
    pub async fn void(&self, resource: usize, ask: Uuid, origin: Origin) -> Result<(), Problem> {
        let engine = self.clone();
        let task = self.spawn(async move { engine.undo_here(resource, ask, &origin).await });
        task.await.unwrap_or_else(|| Err(Problem::new(Code::OutcomeUnknown, "The service is stopping.")))
    }

    /// Runs beside the caller, until done or killed. None: killed.
    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> BoxFuture<'static, Option<T>> {
        let killed = self.0.killed.clone();
        let task = self.0.tasks.spawn(async move { killed.run_until_cancelled(work).await });
        Box::pin(async move { task.await.ok().flatten() })
    }

    /// Runs until the engine is drained or killed.
    pub(crate) fn spawn_worker(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.0.workers_stopped.clone();
        drop(self.spawn(async move {
            if AssertUnwindSafe(stopped.run_until_cancelled(work)).catch_unwind().await.is_err() {
                // Half a service would acknowledge orders that nobody ever hears of.
                tracing::error!("a worker has panicked; this process ends, and the next one sees everything through");
                std::process::abort();
            }
        }));
    }

    /// Ends the workers, waits for every command at work, no longer than the limit; then ends what is left where it
    /// stands, as a crash would.
    pub async fn drain(&self, time_limit: Duration) {
        self.0.workers_stopped.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(time_limit, self.0.tasks.wait()).await.is_err() {
            tracing::warn!(?time_limit, "not everything ended in time; what is left will be undone at the next start");
        }
        self.kill();
        self.0.tasks.wait().await;
    }

    /// Ends everything where it stands.
    pub fn kill(&self) {
        self.0.killed.cancel();
    }

    pub(crate) fn now(&self) -> Timestamp {
        let now = (self.0.parts.clock)();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    /// Waits until no commit is at work, and lets none begin for as long as the answer lives.
    pub async fn hold_commits(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.commits.write().await
    }

    /// Cancelled when the engine is drained.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.workers_stopped
    }

    /// The id of this run of the process: requests name the run that made them.
    pub fn incarnation(&self) -> Uuid {
        self.0.incarnation
    }

    pub(crate) fn transport(&self) -> &Arc<dyn Transport> {
        &self.0.parts.transport
    }

    pub(crate) fn guards(&self) -> &Guards {
        &self.0.parts.guards
    }

    /// The budget of delayed asks.
    pub fn delays(&self) -> &Delays {
        &self.0.parts.delays
    }

    pub(crate) fn to_undo(&self) -> &Notify {
        &self.0.to_undo
    }

    pub(crate) fn to_publish(&self) -> &Notify {
        &self.0.to_publish
    }

    pub(crate) fn behaviour(&self) -> &dyn Behaviour {
        self.0.parts.behaviour.as_ref()
    }

    // ---- a command

    async fn answer(&self, incoming: &Incoming, has_place: bool) -> Answer {
        let Some(key) = &incoming.key else {
            let _place = self.meet_faults(incoming, has_place).await?;
            return Ok(self.first_answer(incoming, None).await?);
        };
        let stored = key.stored();
        let _turn = self.turn(Place::Key(stored.clone())).await?;
        let in_time = || match key {
            Key::Ask { id, expires_ms } => check_ask(*id, *expires_ms, self.now()),
            Key::Client(_) => Ok(()),
        };
        // Hardly any key has been seen before: whether this one has is told by the commit, which cannot take it twice.
        let mut is_known = in_time().is_err() || self.faults().is_on();
        for _ in 0..DECISIONS_MAX {
            let known = if is_known { self.request_of(&stored).await? } else { None };
            let released = match known {
                None => None,
                Some(known) => match replay(&known, incoming)? {
                    Some(answer) => return answer,
                    None => Some(known.id),
                },
            };
            in_time()?;
            let _place = self.meet_faults(incoming, has_place).await?;
            in_time()?; // that may have taken a while
            let was_known = std::mem::replace(&mut is_known, true);
            match self.first_answer(incoming, Some((stored.clone(), released))).await {
                Ok(success) => return Ok(success),
                Err(Halt::Problem(problem)) if was_known => return Err(problem),
                Err(Halt::Problem(problem)) => return self.unless_known(&stored, incoming, problem).await,
                Err(Halt::KeyTaken) => {} // somebody else was first: hear what became of that
            }
        }
        Err(too_many_conflicts())
    }

    /// A no, unless the key has an answer: what was done before is not *nothing was done* because something fails now.
    async fn unless_known(&self, key: &str, incoming: &Incoming, problem: Problem) -> Answer {
        let Ok(known) = self.request_of(key).await else {
            let why = "Whether it was done before cannot be looked up now. Ask again with the same Idempotency-Key.";
            return Err(Problem::new(Code::OutcomeUnknown, why));
        };
        match known.map(|known| replay(&known, incoming)) {
            Some(Ok(Some(answer))) => answer,
            Some(Err(reused)) if reused.code == Code::KeyReused => Err(reused),
            _ => Err(problem),
        }
    }

    /// Decides; asks first where that is needed. `key` comes with the earlier attempt that it is taken from.
    async fn first_answer(&self, incoming: &Incoming, key: Option<(String, Option<Uuid>)>) -> Result<Success, Halt> {
        let now = self.now();
        let id = match incoming.id {
            Some(id) => id,
            None => self.new_id(incoming.resource).await?,
        };
        let decider = (incoming.resource, id);
        let mut documents = Documents::new();
        if incoming.id.is_none() {
            documents.insert(decider, None); // nobody else has heard of this id
        }
        // A neighbour that must not be asked now is one that does not answer: then the business decides without it.
        let mut refused: Option<NotAsked<'_>> = None;
        let released = key.as_ref().and_then(|(_, released)| *released);
        for _ in 0..DECISIONS_MAX {
            let turn = self.turn(Place::Document(decider)).await?;
            let without = |refused: &NotAsked<'_>| match refused.room {
                Some(_) => &Reply::Later,
                None => &Reply::Unavailable,
            };
            let reply = refused.as_ref().map(without);
            let step = Step { decider, command: &incoming.command, now, reply };
            let mut changes = Changes::default();
            let answer = match self.decide(step, &mut documents, &incoming.origin).await? {
                Outcome::Needs(_) => unreachable!("`decide` reads what is needed"),
                Outcome::Ask(_) if refused.is_some() => Err(asks_twice()),
                Outcome::Ask(asked) => {
                    drop(turn); // nothing is held while somebody else is waited for
                    let callee = asked.target.service;
                    let (admitted, time_limit) = match self.admit(incoming, callee).await? {
                        Ok(admitted) => admitted,
                        Err(why) => {
                            let room = self.room(decider, &asked);
                            refused = Some(NotAsked { callee, why, room });
                            continue;
                        }
                    };
                    let (key, released) = key.unzip();
                    let request = self.request(incoming, id, now, key);
                    let changes = released.flatten().map(|id| RequestChange::ReleaseKey { id });
                    let begun = self.begin(incoming, request, changes, &asked, time_limit).await?;
                    return Ok(self.ask(incoming, begun, admitted, decider, now, *asked).await?);
                }
                Outcome::Rejected(why) => Err(match (why, &refused) {
                    (Rejection::Unavailable(_), Some(NotAsked { callee, why, .. })) => not_asked(callee, *why),
                    (why, _) => Problem::from(why),
                }),
                Outcome::Decided(decided) => {
                    let success = self.success(incoming, decider, &decided, &documents);
                    self.add(decided, now, &incoming.origin.trace, None, &mut changes).await?;
                    Ok(success)
                }
            };
            if let Some((stored, released)) = &key
                && let Some(kept) = to_store(&answer)
            {
                changes.requests.extend(released.map(|id| RequestChange::ReleaseKey { id }));
                let mut request = self.request(incoming, id, now, Some(stored.clone()));
                request.state = RequestState::Done;
                request.answer = Some(kept);
                changes.requests.push(RequestChange::Insert(Box::new(request)));
            }
            crash::point("decided.before-commit");
            match self.commit_of(&incoming.origin, changes).await {
                Ok(receipt) => {
                    crash::point("decided.after-commit");
                    let Origin { trace, request, .. } = &incoming.origin;
                    tracing::debug!(%request, trace = %trace.id(), order = id, is_accepted = answer.is_ok(), "decided");
                    return Ok(Success { seen: self.last_event(&receipt), ..answer? });
                }
                Err(CommitError::Conflict(Conflict::Document { .. })) => documents.clear(),
                // What was to be taken back was settled meanwhile, or the earlier attempt of the key has gone on.
                Err(CommitError::Conflict(Conflict::Request { id })) if Some(id) != released => documents.clear(),
                Err(CommitError::Conflict(_)) => return Err(Halt::KeyTaken),
                Err(error) => return Err(refuse(&error).into()),
            }
            drop(turn);
        }
        Err(too_many_conflicts().into())
    }

    /// A place for a question that is asked later, where its answer has somewhere to go and the operator lets it.
    fn room(&self, (resource, _): DocumentKey, asked: &Asked) -> Option<Room<'_>> {
        let mut settles = self.model().resources[resource].settles.iter();
        settles.any(|settle| settle.target == asked.target).then(|| self.delays().room(asked.target.service)).flatten()
    }

    /// Lets a question in that nobody waits for. With the time that it may take, let in or not.
    pub(crate) async fn admit_later(
        &self,
        callee: &'static str,
    ) -> Result<(Result<Admitted<'_>, Refusal>, Duration), Problem> {
        let time_limit = self.guards().time_limit(callee)?;
        Ok((self.guards().admit(callee, time_limit).await?, time_limit))
    }

    /// Lets a call to a neighbour in, before anything of it is committed: one that is refused leaves nothing behind. With the
    /// time that it may take.
    async fn admit(
        &self,
        incoming: &Incoming,
        callee: &'static str,
    ) -> Result<Result<(Admitted<'_>, Duration), Refusal>, Problem> {
        let mut time_limit = self.guards().time_limit(callee)?;
        if let Some(Key::Ask { expires_ms, .. }) = &incoming.key {
            // Our caller waits only so long: limits shrink inwards.
            let left = u64::try_from(expires_ms - self.now().as_millisecond()).unwrap_or_default();
            time_limit = time_limit.min(Duration::from_millis(left).saturating_sub(NESTED_MARGIN));
            if time_limit.is_zero() {
                return Err(Problem::new(Code::AskExpired, "Too little time is left to ask on."));
            }
        }
        let began = tokio::time::Instant::now();
        let admitted = self.guards().admit(callee, time_limit).await?;
        if let Err(why) = &admitted {
            let Origin { trace, request, .. } = &incoming.origin;
            tracing::debug!(%request, trace = %trace.id(), callee, %why, "not asked");
        }
        Ok(admitted.map(|admitted| (admitted, time_limit.saturating_sub(began.elapsed()))))
    }

    /// Commits that a neighbour is about to be asked: from here on somebody sees it through.
    async fn begin(
        &self,
        incoming: &Incoming,
        mut request: Request,
        released: Option<RequestChange>,
        asked: &Asked,
        time_limit: Duration,
    ) -> Result<Begun, Halt> {
        let now = self.now();
        let service = asked.target.service;
        let given_up_ms = now.as_millisecond().saturating_add(millis(time_limit));
        // What is asked again later need not be done again: the neighbour may go on with it after we have hung up.
        let is_delayable = self.delays().is_accepting(service);
        let (id, until_ms) = (request.id, self.delays().until_ms(service, now.as_millisecond()));
        request.ask = Some(AskRecord {
            service: service.to_owned(),
            path: asked.target.path.to_owned(),
            question: is_delayable.then(|| asked.body.clone()),
        });
        request.until_ms = given_up_ms.saturating_add(millis(OUTCOME_GRACE));
        let mut changes = Changes::default();
        changes.requests.extend(released);
        changes.requests.push(RequestChange::Insert(Box::new(request)));

        crash::point("asking.before-commit");
        match self.commit_of(&incoming.origin, changes).await {
            Ok(_) => {}
            Err(CommitError::Conflict(_)) => return Err(Halt::KeyTaken),
            Err(error) => return Err(refuse(&error).into()),
        }
        crash::point("asking.after-commit");
        // The time limit is that of the call: what the commit took is not the neighbour's.
        let given_up_ms = self.now().as_millisecond().saturating_add(millis(time_limit));
        let expires_ms = match &incoming.key {
            _ if is_delayable => until_ms,
            Some(Key::Ask { expires_ms, .. }) => given_up_ms.min(*expires_ms),
            _ => given_up_ms,
        };
        Ok(Begun { id, time_limit, expires_ms })
    }

    /// Asks, and commits the outcome.
    async fn ask(
        &self,
        incoming: &Incoming,
        begun: Begun,
        admitted: Admitted<'_>,
        decider: DocumentKey,
        now: Timestamp,
        asked: Asked,
    ) -> Answer {
        let Begun { id, time_limit, expires_ms } = begun;
        let delayable = asked.clone();
        let Asked { target, body, is_answer } = asked;
        let origin = incoming.origin.child();
        let question = Question { target, id, body, expires_ms, time_limit, is_answer, origin };
        let reached = self.call(Some(admitted), question, decider.1).await;
        crash::point("call.after-answer");
        self.conclude(incoming, id, decider, now, ended(reached), &delayable).await
    }

    /// Asks, and tells whoever counts, traces and reads the log. Without a guard it only finds out whether the neighbour
    /// answers, while calls to it are not made.
    pub(crate) async fn call(&self, admitted: Option<Admitted<'_>>, question: Question, order: i64) -> Reached {
        let Question { target, id, time_limit, origin, .. } = question.clone();
        let Origin { trace, request, .. } = &origin;
        let began = Instant::now();
        let reached = match admitted {
            Some(admitted) => admitted.run(time_limit, verdict, self.reach(question)).await,
            None => tokio::time::timeout(time_limit, self.reach(question)).await.ok(),
        };
        let reached = reached.unwrap_or_else(|| Reached::Unknown(format!("no answer within {time_limit:?}")));
        let took = began.elapsed();
        self.guards().ended(target.service, took);
        let (outcome, why) = told(&reached);
        self.0.metrics.ask(target.service, outcome, took);
        let (callee, outcome) = (target.service, outcome.word());
        tracing::debug!(%request, trace = %trace.id(), order, ask = %id, callee, outcome, why, ?took, "asked");
        self.tracer().record(trace, || Span {
            context: *trace,
            parent: origin.parent,
            kind: Kind::Client,
            name: format!("POST {callee}{}", target.path).into(),
            took,
            attributes: vec![
                ("peer.service", callee.into()),
                ("jumun.outcome", outcome.into()),
                ("jumun.order", order.to_string().into()),
            ],
            is_failed: !matches!(reached, Reached::Accepted(_) | Reached::Refused(_)),
        });
        reached
    }

    /// Asks; and where the connection breaks, asks the same again under the same id, as long as there is time: a process
    /// that is killed or replaced behind a listening socket that stays costs its callers a moment, not an order.
    ///
    /// From the second time on, *not done* says nothing about the first: that one may still have its effect.
    async fn reach(&self, question: Question) -> Reached {
        let mut reached = self.0.parts.transport.ask(question.clone()).await;
        let mut pause = REPEAT_PAUSE;
        for _ in 1..ATTEMPTS_MAX {
            let Reached::Broken(why) = reached else { break };
            // The other connections to a process that has gone are found closed meanwhile.
            tokio::time::sleep(pause).await;
            pause *= 4;
            let left = u64::try_from(question.expires_ms - self.now().as_millisecond()).unwrap_or_default();
            if left == 0 {
                return Reached::Unknown(why);
            }
            tracing::debug!(ask = %question.id, why, "the connection broke; the same is asked again");
            let again = Question { time_limit: Duration::from_millis(left), ..question.clone() };
            reached = match self.0.parts.transport.ask(again).await {
                Reached::NotDone(why) => Reached::Unknown(why),
                reached => reached,
            };
        }
        reached
    }

    /// Decides again, with the answer and on the state of now, and commits the outcome.
    async fn conclude(
        &self,
        incoming: &Incoming,
        id: Uuid,
        decider: DocumentKey,
        now: Timestamp,
        mut ended: Ended,
        asked: &Asked,
    ) -> Answer {
        let mut documents = Documents::new();
        let room = if ended.reply == Reply::Unavailable { self.room(decider, asked) } else { None };
        if room.is_some() {
            ended.reply = Reply::Later;
        }
        for _ in 0..DECISIONS_MAX {
            let turn = self.turn(Place::Document(decider)).await?;
            let step = Step { decider, command: &incoming.command, now, reply: Some(&ended.reply) };
            let mut changes = Changes::default();
            let mut is_delayed = false;
            let (answer, is_decided) = match self.decide(step, &mut documents, &incoming.origin).await {
                Ok(Outcome::Decided(mut decided)) => {
                    // It stays the same question: it keeps its id.
                    let later = decided.later.iter().position(|(key, later)| *key == decider && later == asked);
                    is_delayed = later.map(|at| decided.later.remove(at)).is_some();
                    let success = self.success(incoming, decider, &decided, &documents);
                    match self.add(decided, now, &incoming.origin.trace, Some(id), &mut changes).await {
                        Ok(()) => (Ok(success), true),
                        Err(problem) => {
                            changes = Changes::default();
                            is_delayed = false;
                            (Err(problem), false)
                        }
                    }
                }
                Ok(Outcome::Rejected(why)) => (Err(Problem::from(why)), false),
                Ok(Outcome::Ask(_) | Outcome::Needs(_)) => (Err(asks_twice()), false),
                Err(problem) => (Err(problem), false),
            };
            let kept = to_store(&answer);
            // A neighbour's yes that leads to nothing is undone like one that nobody heard.
            let is_residue =
                !is_delayed && (ended.is_unknown || (matches!(ended.reply, Reply::Accepted(_)) && !is_decided));
            let to = match (is_residue, &kept) {
                (true, _) => RequestState::Voiding,
                (false, Some(_)) => RequestState::Done,
                (false, None) => RequestState::Voided,
            };
            changes.requests.push(if is_delayed {
                let until_ms = self.delays().until_ms(asked.target.service, now.as_millisecond());
                RequestChange::Delay { id, until_ms, answer: kept }
            } else {
                RequestChange::Move { id, from: RequestState::Asking, to, answer: kept }
            });
            crash::point("outcome.before-commit");
            match self.commit_of(&incoming.origin, changes).await {
                Ok(receipt) => {
                    crash::point("outcome.after-commit");
                    let Origin { trace, request, .. } = &incoming.origin;
                    let state = if is_delayed { RequestState::Delayed } else { to };
                    tracing::debug!(%request, trace = %trace.id(), order = decider.1, ask = %id, %state, "concluded");
                    if is_residue {
                        self.0.to_undo.notify_one();
                    }
                    return answer.map(|success| Success { seen: self.last_event(&receipt), ..success });
                }
                Err(CommitError::Conflict(Conflict::Document { .. })) => documents.clear(),
                Err(CommitError::Conflict(Conflict::Request { id: other })) if other != id => documents.clear(),
                Err(CommitError::Conflict(_)) => return Err(given_up()), // recovery, or an undo, was first
                Err(CommitError::Unknown(why)) => return self.read_outcome(id, &why).await,
                // It stays in doubt until its time is up, and is undone then.
                Err(error) => return Err(refuse(&error)),
            }
            drop(turn);
        }
        Err(too_many_conflicts())
    }

    /// What became of a commit whose outcome was not heard.
    async fn read_outcome(&self, id: Uuid, why: &str) -> Answer {
        let unknown = || Problem::new(Code::OutcomeUnknown, format!("{why}. Ask again with the same Idempotency-Key."));
        match self.0.parts.database.request(id).await {
            Ok(Some(Request { answer: Some(answer), .. })) => stored_answer(&answer),
            Ok(Some(Request { state: RequestState::Voiding | RequestState::Voided, .. })) => Err(given_up()),
            _ => Err(unknown()),
        }
    }

    // ---- undoing

    async fn undo_here(&self, resource: usize, ask: Uuid, origin: &Origin) -> Result<(), Problem> {
        let key = ask_key(ask);
        for _ in 0..DECISIONS_MAX {
            crash::point("undo.received");
            let known = self.request_of(&key).await?;
            if known.is_none() && is_older_than_answers(ask, self.now()) {
                // It may have been done and forgotten. Nobody here can say that it is undone: better loud than lost.
                let Origin { trace, request, .. } = origin;
                tracing::error!(%request, trace = %trace.id(), %ask, "an ask is taken back that is older than answers are kept; its effect may stand");
                let why = "The ask is older than answers are kept; whether it was done cannot be told.";
                return Err(Problem::new(Code::Internal, why));
            }
            let Some(changes) = self.undoing(resource, known, &key, origin).await? else { return Ok(()) };
            crash::point("undo.before-commit");
            match self.commit_of(origin, changes).await {
                Ok(_) => {
                    crash::point("undo.after-commit");
                    tracing::debug!(request = %origin.request, trace = %origin.trace.id(), %ask, "undone");
                    self.0.to_undo.notify_one(); // what we asked of others for it is undone, too
                    return Ok(());
                }
                Err(CommitError::Conflict(_)) => {} // the ask came in meanwhile, or went on
                Err(error) => return Err(refuse(&error)),
            }
        }
        Err(too_many_conflicts())
    }

    /// What has to change so that an ask has no effect here. None: nothing.
    async fn undoing(
        &self,
        resource: usize,
        known: Option<Request>,
        key: &str,
        origin: &Origin,
    ) -> Result<Option<Changes>, Problem> {
        use RequestState::{Asking, Delayed, Done, Voided, Voiding};
        let voided = Some(tombstone());
        let mut changes = Changes::default();
        let Some(known) = known else {
            // It never came, or has not come yet: remember to refuse it.
            let request = Request {
                id: Uuid::now_v7(),
                key: Some(key.to_owned()),
                fingerprint: [0; 16],
                state: Voided,
                collection: self.model().resources[resource].collection.into(),
                subject: 0,
                ask: None,
                answer: voided,
                incarnation: self.0.incarnation,
                until_ms: 0,
                trace: Some(origin.trace.to_stored()),
            };
            changes.requests.push(RequestChange::Insert(Box::new(request)));
            return Ok(Some(changes));
        };
        let (from, to) = match (known.state, &known.answer) {
            (_, Some(answer)) if answer.status >= 400 => return Ok(None), // refused, or undone before
            (Asking, _) => (Asking, Voiding),
            (Voiding | Voided, None) => (known.state, known.state),
            // Answered yes: its effect stands, whatever became of what it asked in turn.
            (state, _) => {
                let void = self.model().resources[resource].ask.as_ref().map(|ask| ask.void.clone());
                let void = void.ok_or_else(|| Problem::new(Code::NotFound, "Nothing is asked here."))?;
                let (decider, now) = ((resource, known.subject), self.now());
                let _turn = self.turn(Place::Document(decider)).await?;
                let step = Step { decider, command: &void, now, reply: None };
                match self.decide(step, &mut Documents::new(), origin).await? {
                    Outcome::Decided(decided) => {
                        self.add(decided, now, &origin.trace, Some(known.id), &mut changes).await?;
                    }
                    other => {
                        let (Origin { trace, request, .. }, order) = (origin, decider.1);
                        tracing::error!(%request, trace = %trace.id(), order, ask = key, ?other, "an effect cannot be undone; it will be tried again");
                        return Err(Problem::new(Code::Internal, "The effect cannot be undone. This is a defect."));
                    }
                }
                let to = match state {
                    Delayed => Voiding,
                    Done if known.ask.is_some() => Voiding,
                    Done => Voided,
                    other => other,
                };
                (state, to)
            }
        };
        changes.requests.push(RequestChange::Move { id: known.id, from, to, answer: voided });
        Ok(Some(changes))
    }

    // ---- shared steps

    pub(crate) async fn turn(&self, place: Place) -> Result<Turn<Place>, Problem> {
        let turn = self.0.turns.take(place).await;
        turn.map_err(|_| Problem::new(Code::NotDone, "Too many wait for the same thing. Try again a little later."))
    }

    /// Takes the step, reading what it needs.
    pub(crate) async fn decide(
        &self,
        step: Step<'_>,
        documents: &mut Documents,
        origin: &Origin,
    ) -> Result<Outcome, Problem> {
        loop {
            match self.0.parts.behaviour.take(step, documents) {
                Ok(Outcome::Needs(keys)) => {
                    for key in keys {
                        let read = self.read(key).await?;
                        documents.insert(key, read);
                    }
                }
                Ok(outcome) => return Ok(outcome),
                Err(damaged) => return Err(defect(&damaged, step.decider.1, origin)),
            }
        }
    }

    pub(crate) async fn read(&self, (resource, id): DocumentKey) -> Result<Option<Stored>, Problem> {
        let collection = self.model().resources[resource].collection;
        let document = self.database().document(collection, id).await.map_err(|error| unreadable(&error))?;
        Ok(document.map(|document| Stored { version: document.version, body: document.body }))
    }

    async fn request_of(&self, key: &str) -> Result<Option<Request>, Problem> {
        self.database().request_by_key(key).await.map_err(|error| unreadable(&error))
    }

    pub(crate) async fn new_id(&self, resource: usize) -> Result<i64, Problem> {
        let collection = self.model().resources[resource].collection;
        self.database().next_id(collection).await.map_err(|error| unreadable(&error))
    }

    fn request(&self, incoming: &Incoming, id: i64, now: Timestamp, key: Option<String>) -> Request {
        Request {
            id: Uuid::now_v7(),
            key,
            fingerprint: incoming.fingerprint,
            state: RequestState::Asking,
            collection: self.model().resources[incoming.resource].collection.into(),
            subject: id,
            ask: None,
            answer: None,
            incarnation: self.0.incarnation,
            until_ms: now.as_millisecond(),
            trace: Some(incoming.origin.trace.to_stored()),
        }
    }

    /// For the client: the document that was decided about, as it is after that.
    fn success(&self, incoming: &Incoming, key: DocumentKey, decided: &Decided, before: &Documents) -> Success {
        let resource = &self.model().resources[key.0];
        let location = (incoming.success == 201).then(|| format!("{}/{}", resource.path, key.1));
        let changed = decided.documents.iter().find(|document| document.key == key).map(|document| &document.body);
        let unchanged = || before.get(&key)?.as_ref().map(|stored| &stored.body);
        let body = match changed.or_else(unchanged) {
            Some(body) if incoming.success != 204 => resource.render(key.1, body, &self.0.parts.zone),
            _ => String::new(),
        };
        Success { status: incoming.success, location, body, seen: None }
    }

    /// What was decided becomes changes. `settled` is the request that these changes end, if they end one.
    pub(crate) async fn add(
        &self,
        decided: Decided,
        now: Timestamp,
        trace: &TraceContext,
        settled: Option<Uuid>,
        changes: &mut Changes,
    ) -> Result<(), Problem> {
        for (key, target) in &decided.withdrawn {
            let withdrawn = self.withdraw(*key, *target, settled).await.map_err(|error| unreadable(&error))?;
            changes.requests.extend(withdrawn);
        }
        let later = decided.later.into_iter().map(|(key, asked)| self.later(key, asked, now, trace));
        changes.requests.extend(later);
        let resources = &self.model().resources;
        changes.documents.extend(decided.documents.into_iter().map(|document| DocumentChange {
            collection: resources[document.key.0].collection,
            id: document.key.1,
            expected_version: document.expected_version,
            shown: document.shown,
            body: document.body,
        }));
        changes.journal.extend(decided.events.into_iter().map(|event| JournalEntry {
            event_type: event.event_type,
            key: event.key,
            time_ms: now.as_millisecond(),
            trace: Some(trace.to_stored()),
            body: event.body,
        }));
        Ok(())
    }

    /// A question that is to be asked once it is committed.
    pub(crate) fn later(
        &self,
        (resource, subject): DocumentKey,
        asked: Asked,
        now: Timestamp,
        trace: &TraceContext,
    ) -> RequestChange {
        let Asked { target, body, .. } = asked;
        RequestChange::Insert(Box::new(Request {
            id: Uuid::now_v7(),
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
            incarnation: self.0.incarnation,
            until_ms: self.delays().until_ms(target.service, now.as_millisecond()),
            trace: Some(trace.to_stored()),
        }))
    }

    /// Takes the delayed questions of a document to a neighbour back, but for the one that is settled.
    pub(crate) async fn withdraw(
        &self,
        (resource, subject): DocumentKey,
        target: AskTarget,
        settled: Option<Uuid>,
    ) -> Result<Vec<RequestChange>, ReadError> {
        let collection = self.model().resources[resource].collection;
        let is_it = |request: &Request| {
            let asks =
                request.ask.as_ref().is_some_and(|ask| (&*ask.service, &*ask.path) == (target.service, target.path));
            let is_delayed = request.state == RequestState::Delayed && Some(request.id) != settled;
            asks && is_delayed && request.collection == collection
        };
        let doubts = self.database().doubts_about(subject).await?;
        let (from, to) = (RequestState::Delayed, RequestState::Voiding);
        let withdrawn = doubts.into_iter().filter(is_it);
        Ok(withdrawn.map(|request| RequestChange::Move { id: request.id, from, to, answer: None }).collect())
    }

    /// Commits as a part of what came in.
    pub(crate) async fn commit_of(&self, origin: &Origin, changes: Changes) -> Result<Receipt, CommitError> {
        if !self.tracer().takes(&origin.trace) {
            return self.commit(changes).await;
        }
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

    pub(crate) async fn commit(&self, changes: Changes) -> Result<Receipt, CommitError> {
        if changes == Changes::default() {
            return Ok(Receipt::default());
        }
        let has_events = !changes.journal.is_empty();
        let is_withdrawal = changes.requests.iter().any(|change| {
            matches!(change, RequestChange::Move { from: RequestState::Delayed, to: RequestState::Voiding, .. })
        });
        let delayed = Delays::difference(&changes.requests);
        let at_work = self.0.commits.read().await;
        let result = self.database().commit(changes).await;
        self.delays().committed(delayed, &result);
        drop(at_work);
        if is_withdrawal && result.is_ok() {
            self.0.to_undo.notify_one();
        }
        self.0.metrics.commit(&result);
        if has_events && result.is_ok() {
            self.0.to_publish.notify_one();
        }
        let trouble = match &result {
            Err(CommitError::NotDone(why) | CommitError::Unknown(why)) => Some(why.clone()),
            Err(CommitError::Limit(_)) => return result, // says nothing about the disk
            _ => None,
        };
        let mut last = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != trouble {
            if let Some(why) = &trouble {
                tracing::warn!(why, "commits are not done; clients are answered 503");
            } else {
                tracing::info!("commits are done again");
            }
            *last = trouble;
        }
        result
    }

    /// The name of the last event of a commit.
    fn last_event(&self, receipt: &Receipt) -> Option<String> {
        let (partition, sequence) = *receipt.sequences.last()?;
        Some(Token { service: self.model().name.to_owned(), partition, sequence }.to_string())
    }
}

/// What came of a question, for the decision.
fn ended(reached: Reached) -> Ended {
    let (reply, is_unknown) = match reached {
        Reached::Accepted(body) => (Reply::Accepted(body), false),
        Reached::Refused(why) => (Reply::Refused(why), false),
        Reached::NotDone(_) => (Reply::Unavailable, false),
        Reached::Broken(_) | Reached::Unknown(_) => (Reply::Unavailable, true),
    };
    Ended { reply, is_unknown }
}

/// The same for who counts, and for who reads the log.
fn told(reached: &Reached) -> (AskOutcome, Option<&str>) {
    match reached {
        Reached::Accepted(_) => (AskOutcome::Accepted, None),
        Reached::Refused(_) => (AskOutcome::Refused, None),
        Reached::NotDone(why) => (AskOutcome::NotDone, Some(why)),
        Reached::Broken(why) | Reached::Unknown(why) => (AskOutcome::Unknown, Some(why)),
    }
}

/// What a known request means for one that comes with its key: its answer, or (None) that it gives the key away.
fn replay(known: &Request, incoming: &Incoming) -> Result<Option<Answer>, Problem> {
    let is_tombstone = known.fingerprint == [0; 16];
    if known.fingerprint != incoming.fingerprint && !is_tombstone {
        return Err(Problem::new(
            Code::KeyReused,
            "This Idempotency-Key came with another request before. Take a new one.",
        ));
    }
    match (&known.answer, known.state) {
        (Some(answer), _) => Ok(Some(stored_answer(answer))),
        (None, RequestState::Voiding | RequestState::Voided) => Ok(None),
        (None, RequestState::Asking | RequestState::Delayed | RequestState::Done) => Err(Problem::new(
            Code::OutcomeUnknown,
            "This request is still being worked on. Ask again with the same Idempotency-Key.",
        )),
    }
}

/// Whether an ask may still be answered.
fn check_ask(id: Uuid, expires_ms: i64, now: Timestamp) -> Result<(), Problem> {
    let now_ms = now.as_millisecond();
    if now_ms >= expires_ms {
        let late = now_ms.saturating_sub(expires_ms);
        return Err(Problem::new(
            Code::AskExpired,
            format!("It came {late} ms after its time limit. If that is always so, the clocks of the services differ."),
        ));
    }
    if is_older_than_answers(id, now) {
        return Err(Problem::new(Code::AskExpired, "The ask is older than answers are kept."));
    }
    Ok(())
}

/// Whether what became of an ask may be forgotten already.
fn is_older_than_answers(id: Uuid, now: Timestamp) -> bool {
    let made = id.get_timestamp().and_then(|made| i64::try_from(made.to_unix().0).ok()).unwrap_or_default();
    made.saturating_add(ANSWERS_KEPT.as_secs().cast_signed()) < now.as_second()
}

/// What is kept of an answer under its key: final ones only.
fn to_store(answer: &Answer) -> Option<StoredAnswer> {
    match answer {
        Ok(Success { status, location, body, .. }) => {
            Some(StoredAnswer { status: *status, location: location.clone(), body: body.clone() })
        }
        Err(problem) if problem.code.is_final() => Some(StoredAnswer {
            status: problem.code.status(),
            location: None,
            body: serde_json::to_string(problem).unwrap_or_default(),
        }),
        Err(_) => None,
    }
}

fn stored_answer(stored: &StoredAnswer) -> Answer {
    if stored.status < 400 {
        let StoredAnswer { status, location, body } = stored.clone();
        return Ok(Success { status, location, body, seen: None });
    }
    let problem = serde_json::from_str(&stored.body);
    Err(problem.unwrap_or_else(|_| Problem::new(Code::Internal, "The stored answer cannot be read.")))
}

/// The answer to an ask that was undone: it is never done again.
fn tombstone() -> StoredAnswer {
    let problem = Problem::new(Code::Voided, "This ask was undone; it is not done again.");
    StoredAnswer {
        status: problem.code.status(),
        location: None,
        body: serde_json::to_string(&problem).unwrap_or_default(),
    }
}

fn given_up() -> Problem {
    Problem::new(Code::NeighbourUnavailable, "The answer came too late and is undone. Nothing stands; try again.")
}

fn asks_twice() -> Problem {
    Problem::new(Code::Internal, "A decision asks twice. This is a defect.")
}

fn too_many_conflicts() -> Problem {
    Problem::new(Code::NotDone, "Too many change the same thing. Try again a little later.")
}

fn refuse(error: &CommitError) -> Problem {
    match error {
        CommitError::Limit(why) => Problem::new(Code::Invalid, why.clone()),
        CommitError::NotDone(why) => {
            Problem::new(Code::NotDone, format!("It could not be stored: {why}. Try again later."))
        }
        CommitError::Unknown(why) => {
            Problem::new(Code::OutcomeUnknown, format!("{why}. Ask again with the same Idempotency-Key."))
        }
        CommitError::Conflict(_) => too_many_conflicts(),
    }
}

fn unreadable(error: &ReadError) -> Problem {
    Problem::new(Code::NotDone, format!("{error}. Try again later."))
}

fn defect(damaged: &Damaged, order: i64, origin: &Origin) -> Problem {
    let Origin { trace, request, .. } = origin;
    tracing::error!(%request, trace = %trace.id(), order, %damaged, "a document or a decision is not as it must be");
    Problem::new(
        Code::Internal,
        format!("{}/{} cannot be worked on. This is a defect.", damaged.collection, damaged.id),
    )
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
