//! The engine of a service: takes commands, asks neighbours, commits, answers. No HTTP in here.
//!
//! # The protocol, and why it holds when a process dies at any step
//!
//! 1. A command that needs no neighbour is one commit: documents, events, and its answer under the key it came with.
//! 2. A command that needs a neighbour first passes the guard around the calls to it. If the guard refuses (the circuit is
//!    open, too many calls are under way), surely nothing is asked, and nothing is committed for the question. Then the engine
//!    commits a request in state `Asking`: from here on recovery completes it, whatever dies. Then it asks, under the
//!    request's id. Then it commits the outcome, which wins only if the request is still `Asking`. Only then the client gets
//!    a yes.
//! 3. What is neither surely done nor surely not done moves to `Voiding` and is undone by a call that is repeated until the
//!    neighbour answers it. The neighbour undoes the effect, or remembers to refuse the question should it still come.
//! 4. Recovery moves a request that is `Asking` and abandoned (its process died, its time is up) to `Voiding`. The
//!    compare-and-set on the state decides between that and a late answer.
//!
//! Hence an order stands if and only if its request went from `Asking` to `Done`, and its payment is undone if and only
//! if its request went to `Voiding`. There is no third way out of `Asking`, but for a neighbour that surely did nothing.
//!
//! # Where to find what
//!
//! `command` answers a command, `ask` asks a neighbour and commits the outcome, `undo` undoes here what a neighbour asked,
//! `answers` is what is kept under a key and what a key is answered with. [`Core`] below them reads, decides and commits.
//!
//! Sources: P. Helland, *Life beyond Distributed Transactions* (the uncertainty is kept as data); `Idempotency-Key`:
//! draft-ietf-httpapi-idempotency-key-header.

mod answers;
mod ask;
mod command;
mod incoming;
mod undo;

pub(crate) use answers::failed;
pub use incoming::{Answer, Incoming, Key, Success};

use crate::{
    asks::{budget::DelayBudget, guards::Guards, transport::Transport},
    core::{Core, CoreParts, StepError},
    intake::{
        admission::{Admission, AdmissionConfig},
        faults::FaultSwitch,
        turns::{QueueKey, Turn},
    },
    metrics::ServiceMetrics,
    reading::Reading,
};
use jiff::{Timestamp, tz::TimeZone};
use jumun::{Behaviour, Decided, DocumentKey, Documents, Outcome, ServiceModel, Step};
use jumun_database::{Database, Request, RequestState};
use jumun_guard::Capacity;
use jumun_http::{Code, Problem, Shed};
use jumun_telemetry::{Origin, Tracer, registry};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// What an engine is made of.
pub struct Parts {
    /// The service.
    pub model: ServiceModel,
    /// What its aggregates do.
    pub behaviour: Arc<dyn Behaviour>,
    /// Where it keeps its state.
    pub database: Arc<dyn Database>,
    /// How it reaches its neighbours.
    pub transport: Arc<dyn Transport>,
    /// The guards around its calls to them.
    pub guards: Guards,
    /// Which of their answers may come later.
    pub delays: DelayBudget,
    /// How much it takes at once.
    pub admission: AdmissionConfig,
    /// What it refuses under overload.
    pub shed: Shed,
    /// The time. Everything takes it from here.
    pub clock: fn() -> Timestamp,
    /// Ids of requests, UUID version 7. Everything takes them from here.
    pub ids: fn() -> Uuid,
    /// The zone that dates are shown in.
    pub zone: TimeZone,
    /// Takes spans of what it does.
    pub tracer: Tracer,
    /// How often a supervisor had to start it again.
    pub restarts: u32,
}

impl Parts {
    /// The usual parts: default guards and admission, no delayed asks, the clock of this machine, UTC, no spans.
    pub fn new(
        model: ServiceModel,
        behaviour: Arc<dyn Behaviour>,
        database: Arc<dyn Database>,
        transport: Arc<dyn Transport>,
    ) -> Self {
        Self {
            guards: Guards::usual(&model),
            model,
            behaviour,
            database,
            transport,
            delays: DelayBudget::default(),
            admission: AdmissionConfig::default(),
            shed: Shed::default(),
            clock: Timestamp::now,
            ids: Uuid::now_v7,
            zone: TimeZone::UTC,
            tracer: Tracer::default(),
            restarts: 0,
        }
    }
}

/// Runs one service. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine {
    core: Core,
    inner: Arc<Inner>,
}

struct Inner {
    transport: Arc<dyn Transport>,
    guards: Guards,
    admission: Admission,
    faults: FaultSwitch,
}

impl Engine {
    /// An engine, not yet recovered.
    pub fn new(parts: Parts) -> Self {
        let Parts {
            model,
            behaviour,
            database,
            transport,
            guards,
            delays,
            admission,
            shed,
            clock,
            ids,
            zone,
            tracer,
            restarts,
        } = parts;
        let admission = Admission::new(admission, shed);
        let mut registry = registry(model.name, restarts);
        guards.register(&mut registry);
        admission.register(&mut registry);
        let metrics = ServiceMetrics::new(&model, database.clone(), tracer.clone(), registry);
        let core = Core::new(CoreParts { model, behaviour, database, delays, clock, ids, zone, tracer, metrics });
        let faults = FaultSwitch::default();
        Self { core, inner: Arc::new(Inner { transport, guards, admission, faults }) }
    }

    /// What reads, decides and commits.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The faults that an operator has turned on.
    pub fn faults(&self) -> &FaultSwitch {
        &self.inner.faults
    }

    /// Admits commands and reads.
    pub(crate) fn admission(&self) -> &Admission {
        &self.inner.admission
    }

    /// How many asks this service works on at once, and how many queue: what it tells its callers.
    pub fn capacity(&self) -> Capacity {
        self.admission().capacity(self.faults().limit().as_ref())
    }

    /// The guards around calls to neighbours.
    pub(crate) fn guards(&self) -> &Guards {
        &self.inner.guards
    }

    /// The way to the neighbours.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.inner.transport
    }

    /// Takes a command. Once admitted it runs to its end, even if the client no longer waits for the answer.
    pub async fn take(&self, incoming: Incoming) -> Answer {
        if let Some(failure) = self.core.database().failure() {
            return self.refusal(&incoming, failed(&failure)).await;
        }
        // A repeat of what was answered before does no work: it queues for no place that a drill has taken away.
        let is_repeat = self.faults().is_on() && self.is_answered(&incoming).await;
        let permit = if is_repeat {
            None
        } else {
            let left = incoming.key.as_ref().and_then(|key| key.left(self.core.now()));
            match self.admission().command(incoming.command.is_ending(), left, self.faults().limit()).await {
                Ok(permit) => Some(permit),
                Err(overloaded) => return self.refusal(&incoming, overloaded).await,
            }
        };
        let engine = self.clone();
        let task = self.core.spawn(async move {
            let answer = engine.answer(&incoming).await;
            drop(permit);
            answer
        });
        let answer = task.await.unwrap_or_else(|| {
            Err(Problem::new(Code::OutcomeUnknown, "The service is stopping. Ask again with the same Idempotency-Key."))
        });
        self.core.metrics().command(answer.is_ok());
        answer
    }

    /// A refusal without a look at the command, unless it is known: what was answered before has its answer, and what is in
    /// progress is waited for. A refusal is no *not done* where the same request came before: that may have been done.
    async fn refusal(&self, incoming: &Incoming, problem: Problem) -> Answer {
        let Some(key) = incoming.key.as_ref().map(Key::stored) else { return Err(problem) };
        let turn = self.turn(key.clone()).await;
        let known = match self.request_of(&key).await {
            Ok(None) if turn.is_ok() => return Err(problem),
            Ok(known) => known,
            Err(_) => None,
        };
        // What a database holds that has failed, nobody may ever find again.
        if let Some(known) = known.filter(|_| self.core.database().failure().is_none())
            && let Some(answer) = answers::replay(&known, incoming, self.core.model().name)?
        {
            return answer;
        }
        Err(Problem::new(Code::OutcomeUnknown, problem.detail))
    }

    /// Undoes what an ask did here, or makes sure that it never will. A database that has failed is no proof of either.
    pub async fn void(&self, resource: usize, ask: Uuid, origin: Origin) -> Result<(), Problem> {
        if let Some(failure) = self.core.database().failure() {
            return Err(failed(&failure));
        }
        let engine = self.clone();
        let task = self.core.spawn(async move { engine.undo_here(resource, ask, &origin).await });
        task.await.unwrap_or_else(|| Err(Problem::new(Code::OutcomeUnknown, "The service is stopping.")))
    }

    /// Stops the workers, waits for the commands in progress up to the limit, then ends the rest as a crash would.
    pub async fn drain(&self, time_limit: Duration) {
        self.core.drain(time_limit).await;
    }

    /// Ends everything where it stands.
    pub fn kill(&self) {
        self.core.kill();
    }

    // ---- steps that commands, asks and undoing share

    /// The turn of a key: repeats of the same request queue for it.
    pub(crate) async fn turn(&self, key: String) -> Result<Turn<QueueKey>, Problem> {
        let turn = self.core.turns().take(QueueKey::Key(key)).await;
        turn.map_err(|_| answers::crowded())
    }

    /// Takes a step, reading the documents that it needs; what prevents it is a problem for the client.
    pub(crate) async fn decide(
        &self,
        step: Step<'_>,
        reading: &mut Reading,
        origin: &Origin,
    ) -> Result<Outcome, Problem> {
        reading.decide(&self.core, step).await.map_err(|error| match error {
            StepError::Crowded => answers::crowded(),
            StepError::Unreadable(error) => answers::unreadable(&error),
            StepError::Defect(damaged) => answers::defect(&damaged, step.decider.1, origin),
        })
    }

    async fn request_of(&self, key: &str) -> Result<Option<Request>, Problem> {
        self.core.database().request_by_key(key).await.map_err(|error| answers::unreadable(&error))
    }

    fn request(&self, incoming: &Incoming, id: i64, now: Timestamp, key: Option<String>) -> Request {
        Request {
            id: self.core.new_request_id(),
            key,
            fingerprint: incoming.fingerprint,
            state: RequestState::Asking,
            collection: self.core.model().resources[incoming.resource].collection.into(),
            subject: id,
            ask: None,
            answer: None,
            incarnation: self.core.incarnation(),
            until_ms: now.as_millisecond(),
            trace: Some(incoming.origin.trace.to_stored()),
        }
    }

    /// For the client: the document that decided, as it is after the step.
    fn success(&self, incoming: &Incoming, key: DocumentKey, decided: &Decided, before: &Documents) -> Success {
        let resource = &self.core.model().resources[key.0];
        let location = (incoming.success == 201).then(|| format!("{}/{}", resource.path, key.1));
        let changed = decided.documents.iter().find(|document| document.key == key).map(|document| &document.body);
        let unchanged = || before.get(&key)?.as_ref().map(|stored| &stored.body);
        let body = match changed.or_else(unchanged) {
            Some(body) if incoming.success != 204 => resource.render(key.1, body, self.core.zone()),
            _ => String::new(),
        };
        Success { status: incoming.success, location, body, seen: None }
    }
}

#[cfg(test)]
mod tests;
