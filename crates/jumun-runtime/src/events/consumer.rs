//! The consumer of a service: applies the events of other services, each once and in order.
//!
//! # Exactly one effect
//!
//! A consumer's position is the last number that it has applied. It moves in the commit of the effect. So an event has its
//! effect exactly once, however often it is delivered and whichever process dies when. A number below the next one is a
//! duplicate, which the consumer skips. A number above it is a gap, which stalls the consumer loudly: it may skip nothing.
//!
//! # Parked events
//!
//! An event that cannot be decoded, or on which the business code fails, is *parked*: the consumer keeps it aside with every
//! later event of its order, and goes on with all others. It applies parked events again when the service starts, or when an
//! operator instructs it to.
//!
//! A release that fails on everything would park everything. So the consumer stalls instead once [`PARKED_KEYS_MAX`] orders
//! have parked events.

use super::{
    parked::record::{PARKED, Parked, parked_keys},
    token::Token,
};
use crate::{
    core::{Core, wait_change},
    crash,
    intake::turns::QueueKey,
    limits::{
        BATCH_EVERY, BATCH_OF_MANY, BUSY_PAUSE, DATABASE_PAUSE, EVENTS_AT_ONCE, EVENTS_BETWEEN_YIELDS, IDLE_PAUSE,
        LAG_EVERY, PARKED_KEYS_MAX, POSITIONS_EVERY, STALL_LOGGED_EVERY, STALL_SHOWN_FOR,
    },
    panic_text,
    reading::Reading,
};
use jumun::{Defect, DocumentAfter, DocumentKey, NEW_ID, Outcome, ReceivedEvent, Stored};
use jumun_bus::{Bus, BusError, Delivery, Record, Source, Subscription, Wants};
use jumun_database::{Changes, CommitError, Conflict, DocumentChange, Position, PositionChange, ReadError, WaitChange};
use jumun_telemetry::{Kind, Span, SpanId, TraceContext};
use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

/// The state that a consumer shows.
#[derive(Debug, Clone, Default)]
pub struct Consumption {
    /// The last applied number of each partition of each source.
    pub positions: BTreeMap<(String, u16), u64>,
    /// Events of each source that are not applied yet.
    pub lag: Vec<(String, u64)>,
    /// Orders with parked events.
    pub parked_keys: usize,
    /// Policy commands that the aggregate's state refused.
    pub dropped: u64,
    /// Why it is stalled, if it is.
    pub stopped: Option<String>,
}

impl Consumption {
    /// What an operator must look at: the consumer is stalled, or too many orders are parked for it to be the events' fault.
    pub fn trouble(&self) -> Option<String> {
        let parked = self.parked_keys;
        let too_many = || (parked >= PARKED_KEYS_MAX).then(|| format!("events of {parked} orders are parked"));
        self.stopped.clone().or_else(too_many)
    }
}

/// An operator's instruction to a consumer.
#[derive(Debug)]
pub enum Instruction {
    /// Apply parked events again: of one order, or all.
    Retry {
        /// The order.
        key: Option<i64>,
        /// How many events were applied, and how many orders failed again; or why none was tried.
        done: oneshot::Sender<Result<(usize, usize), &'static str>>,
    },
    /// Discard the parked events of an order. Their effect is lost.
    Discard {
        /// The order.
        key: i64,
        /// How many events were discarded; or why none.
        done: oneshot::Sender<Result<usize, &'static str>>,
    },
}

/// A handle to a consumer.
#[derive(Clone)]
pub struct Consumer {
    shown: watch::Receiver<Consumption>,
    instructions: mpsc::Sender<Instruction>,
    parked_lock: Arc<Mutex<()>>,
}

impl Consumer {
    /// Starts the consumer of a service. It runs until the service is drained.
    pub async fn start(core: &Core, bus: Arc<dyn Bus>) -> Result<Self, ConsumerError> {
        let (show, shown) = watch::channel(Consumption::default());
        let (instructions, received) = mpsc::channel(8);
        let parked_lock = Arc::<Mutex<()>>::default();
        let mut worker = Worker::open(core, bus, show, parked_lock.clone()).await?;
        core.spawn_worker(async move { worker.run(received).await });
        Ok(Self { shown, instructions, parked_lock })
    }

    /// Its state.
    pub fn consumption(&self) -> Consumption {
        self.shown.borrow().clone()
    }

    /// Waits until this service has applied an event, so that a client reads what it has just written. False: not in time,
    /// or this service does not listen to that source.
    pub async fn has_applied(&self, token: &Token, time_limit: Duration) -> bool {
        let Token { service, partition, sequence } = token;
        let position = (service.clone(), *partition);
        let mut shown = self.shown.clone();
        let applied = shown.wait_for(|shown| shown.positions.get(&position).is_some_and(|last| last >= sequence));
        matches!(tokio::time::timeout(time_limit, applied).await, Ok(Ok(_)))
    }

    /// Prevents that parked events are applied or discarded while the guard lives. The consumer may still park more.
    pub(crate) async fn keep_parked(&self) -> OwnedMutexGuard<()> {
        self.parked_lock.clone().lock_owned().await
    }

    /// Gives the consumer an instruction. False: it has ended.
    pub async fn instruct(&self, instruction: Instruction) -> bool {
        self.instructions.send(instruction).await.is_ok()
    }
}

/// Why a consumer cannot start, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// As many orders have parked events as may have some.
    #[error("events of {PARKED_KEYS_MAX} orders are parked, and one more cannot be applied: {0}")]
    Full(String),
    /// The bus fails.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The database cannot be read.
    #[error(transparent)]
    Database(#[from] ReadError),
}

jumun_text::explained! { ConsumerError {
    Self::Full(_) => "parked-full",
        "Look which events are parked, and why (jumun parked list). Correct what fails on them, mostly the release, and restart the service: it applies them again (so does jumun parked retry). Discard those of an order that nothing else helps (jumun parked discard).";
    // The source can fill its log again, but never with the events that were applied here.
    Self::Bus(BusError::AnotherEpoch { .. }) => "bus-another-epoch",
        "If the service of this log says the same, do what it says. Otherwise its database is another one than the one whose events this service has applied: restore the whole data folder of the system from one backup. A service that has only views may begin again: stop it (jumun stop <service>), move its database and the files beside it (-wal, -shm) away, and start it (jumun start <service>).";
    Self::Bus(error) => error;
    Self::Database(error) => error;
} }

type PositionKey = (String, u16);

/// The last number in a partition, and the epoch of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offset {
    epoch: Uuid,
    sequence: u64,
}

pub(super) struct Worker {
    pub(super) core: Core,
    bus: Arc<dyn Bus>,
    subscription: Box<dyn Subscription>,
    /// The committed positions.
    positions: BTreeMap<PositionKey, Offset>,
    /// The applied positions: ahead of the committed ones by events without an effect here.
    applied: BTreeMap<PositionKey, Offset>,
    positions_written: Instant,
    lag: Vec<(String, u64)>,
    lag_measured: Option<Instant>,
    pub(super) parked_keys: BTreeSet<i64>,
    /// Held while parked events are applied or discarded, and by a rebuild.
    pub(super) parked_lock: Arc<Mutex<()>>,
    /// Orders (`None`: all) whose last retry failed because of the database.
    pub(super) to_retry: BTreeSet<Option<i64>>,
    /// When the last of them failed.
    pub(super) to_retry_since: Instant,
    /// Why the one event of the present batch can never be committed.
    over_limit: Option<String>,
    /// Documents that commands have changed before a batch could: the next try queues for them, and so do later batches while
    /// commands do. Otherwise each effect on a hot document would make what commands pass on wrong.
    contended: BTreeSet<DocumentKey>,
    show: watch::Sender<Consumption>,
}

/// The effect of a batch of events.
#[derive(Default)]
pub(super) struct Effect {
    reading: Reading,
    changed: BTreeMap<DocumentKey, Changed>,
    /// Events, delayed questions, and withdrawn questions.
    changes: Changes,
    parked: Vec<Parked>,
    applied: BTreeMap<PositionKey, Offset>,
    dropped: u64,
    /// Of each applied event the source, and when it happened.
    times: Vec<(Arc<Source>, i64)>,
    /// Spans of the events in sampled traces.
    spans: Vec<Span>,
}

/// What becomes of a document, besides its content.
#[derive(Default)]
struct Changed {
    shown: bool,
    wait: WaitChange,
}

/// Why a batch has no effect yet.
pub(super) enum Halt {
    /// The database does not answer.
    Database(String),
    /// Another commit changed the same documents: read them again.
    Conflict,
    /// It is unknown whether the commit was done: read the positions again.
    Unknown,
    /// An event of it leads to a commit over a limit.
    Limit(String),
    /// A number is missing.
    Gap(BusError),
    /// As many orders are parked as may be; why one more would be.
    Full(String),
}

impl From<ReadError> for Halt {
    fn from(error: ReadError) -> Self {
        Self::Database(error.to_string())
    }
}

impl Worker {
    async fn open(
        core: &Core,
        bus: Arc<dyn Bus>,
        show: watch::Sender<Consumption>,
        parked_lock: Arc<Mutex<()>>,
    ) -> Result<Self, ConsumerError> {
        let positions = positions(core).await?;
        let subscription = subscribe(core, bus.as_ref(), &positions)?;
        let parked_keys = parked_keys(core.database().as_ref()).await?;
        Ok(Self {
            core: core.clone(),
            bus,
            subscription,
            applied: positions.clone(),
            positions,
            positions_written: Instant::now(),
            lag: Vec::new(),
            lag_measured: None,
            parked_keys,
            parked_lock,
            to_retry: BTreeSet::new(),
            to_retry_since: Instant::now(),
            over_limit: None,
            contended: BTreeSet::new(),
            show,
        })
    }

    async fn run(&mut self, mut instructions: mpsc::Receiver<Instruction>) {
        if !self.parked_keys.is_empty() {
            let parked_lock = self.parked_lock.clone();
            let _held = parked_lock.lock().await;
            let (applied, failed) = self.retry(None).await;
            tracing::info!(applied, failed, "parked events were retried at the start");
        }
        let mut pause = BUSY_PAUSE;
        // One source may stall while others go on: successful polls come between the failed ones.
        let mut stalled: Option<Instant> = None;
        let mut logged: Option<(Instant, String)> = None;
        loop {
            while let Ok(instruction) = instructions.try_recv() {
                self.carry_out(instruction).await;
            }
            self.retry_failed().await;
            let began = Instant::now();
            match self.poll_and_apply().await {
                Ok(EVENTS_AT_ONCE..) => pause = BUSY_PAUSE,
                Ok(events @ 1..) => {
                    pause = BUSY_PAUSE;
                    let (after_few, after_many) = BATCH_EVERY;
                    let every = if events < BATCH_OF_MANY { after_few } else { after_many };
                    tokio::time::sleep_until(began + every).await;
                }
                Ok(0) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(IDLE_PAUSE);
                }
                Err(error) => {
                    // It may skip nothing, so it stalls loudly, and says so in health as long as it lasts.
                    let why = format!("{}: {error}", error.code());
                    if logged.as_ref().is_none_or(|(at, said)| at.elapsed() > STALL_LOGGED_EVERY || *said != why) {
                        tracing::error!(%error, code = error.code(), remedy = error.remedy(), "the consumer is stalled");
                        logged = Some((Instant::now(), why.clone()));
                    }
                    stalled = Some(Instant::now());
                    self.show.send_modify(|shown| shown.stopped = Some(why));
                    tokio::time::sleep(DATABASE_PAUSE).await;
                    match subscribe(&self.core, self.bus.as_ref(), &self.positions) {
                        Ok(subscription) => {
                            self.subscription = subscription;
                            self.applied = self.positions.clone();
                        }
                        Err(error) => tracing::debug!(%error, "the bus cannot be read"),
                    }
                    continue;
                }
            }
            if stalled.is_none_or(|since| since.elapsed() > STALL_SHOWN_FOR) {
                stalled = None;
                if logged.take().is_some() {
                    tracing::info!("the consumer continues");
                }
                self.show.send_if_modified(|shown| shown.stopped.take().is_some());
            }
        }
    }

    /// Polls the bus and applies what it delivers; how many events that were.
    async fn poll_and_apply(&mut self) -> Result<u32, ConsumerError> {
        let deliveries = self.subscription.poll(EVENTS_AT_ONCE as usize, Duration::ZERO)?;
        if deliveries.is_empty() {
            if self.applied != self.positions && self.positions_written.elapsed() >= POSITIONS_EVERY {
                self.apply_all(&[]).await?;
            }
            self.show();
            return Ok(0);
        }
        self.apply_all(&deliveries).await?;
        self.show();
        Ok(u32::try_from(deliveries.len()).unwrap_or(u32::MAX))
    }

    fn show(&mut self) {
        let positions: BTreeMap<_, _> =
            self.applied.iter().map(|(key, offset)| (key.clone(), offset.sequence)).collect();
        if self.lag_measured.is_none_or(|measured| measured.elapsed() >= LAG_EVERY) {
            self.lag_measured = Some(Instant::now());
            self.lag = self.subscription.behind().unwrap_or_default();
        }
        let lag = self.lag.clone();
        let parked_keys = self.parked_keys.len();
        self.show.send_if_modified(|shown| {
            let is_changed = (&shown.positions, &shown.lag, shown.parked_keys) != (&positions, &lag, parked_keys);
            (shown.positions, shown.lag, shown.parked_keys) = (positions, lag, parked_keys);
            is_changed
        });
    }

    /// Applies events in as few commits as possible. Retries for as long as the database does not answer.
    async fn apply_all(&mut self, deliveries: &[Delivery]) -> Result<(), ConsumerError> {
        let mut at_once = deliveries.len().max(1);
        let mut at = 0;
        loop {
            let batch = &deliveries[at.min(deliveries.len())..(at + at_once).min(deliveries.len())];
            match self.apply_batch(batch).await {
                Ok(()) => {
                    self.over_limit = None;
                    let turns = self.core.turns();
                    self.contended.retain(|key| turns.is_wanted(&QueueKey::Document(*key)));
                    at += at_once;
                }
                Err(Halt::Gap(error)) => return Err(error.into()),
                Err(Halt::Full(_)) if batch.len() > 1 => at_once = 1, // the events before it still have their effect
                Err(Halt::Full(why)) => return Err(ConsumerError::Full(why)),
                Err(Halt::Conflict) => {}
                Err(Halt::Limit(why)) if batch.len() == 1 => self.over_limit = Some(why), // the next try parks it
                Err(Halt::Limit(_)) => at_once = 1, // one event is at fault: only that one is parked
                Err(Halt::Database(why)) => {
                    tracing::debug!(why, "events wait for the database");
                    tokio::time::sleep(DATABASE_PAUSE).await;
                }
                Err(Halt::Unknown) => {
                    tokio::time::sleep(DATABASE_PAUSE).await;
                    match self.reread_positions().await {
                        Ok(()) => {}
                        Err(error) => tracing::debug!(%error, "the positions cannot be read"),
                    }
                }
            }
            if at >= deliveries.len() {
                return Ok(());
            }
        }
    }

    /// Reads the positions after a commit of unknown outcome. If it was done, its events are duplicates now. Events applied
    /// beyond the positions had no effect, and stay applied.
    async fn reread_positions(&mut self) -> Result<(), ReadError> {
        let positions = positions(&self.core).await?;
        self.parked_keys = parked_keys(self.core.database().as_ref()).await?;
        for (key, position) in &positions {
            let applied = self.applied.entry(key.clone()).or_insert(*position);
            if applied.epoch != position.epoch || applied.sequence < position.sequence {
                *applied = *position;
            }
        }
        self.positions = positions;
        Ok(())
    }

    async fn apply_batch(&mut self, batch: &[Delivery]) -> Result<(), Halt> {
        let mut effect = Effect { applied: self.applied.clone(), ..Effect::default() };
        if effect.reading.queue_for(&self.core, &self.contended).await.is_err() {
            return Err(Halt::Database("too many commands wait for the same document".to_owned()));
        }
        let behaviour = self.core.behaviour();
        let records = batch.iter().filter_map(|delivery| delivery.record.as_ref());
        let concerned = records.flat_map(|record| {
            // Code that panics on an event panics again where it is applied, and parks it.
            catch_unwind(AssertUnwindSafe(|| behaviour.concerned_by(&record.event_type, &record.body)))
                .unwrap_or_default()
        });
        effect.reading.read_all(&self.core, concerned).await?;
        for (nth, delivery) in batch.iter().enumerate() {
            if nth % EVENTS_BETWEEN_YIELDS == EVENTS_BETWEEN_YIELDS - 1 {
                tokio::task::yield_now().await; // requests are served on the same thread
            }
            let key = (delivery.source.service.clone(), delivery.partition);
            let last = effect.applied.get(&key).map_or(0, |offset| offset.sequence);
            if delivery.sequence <= last {
                continue; // a duplicate
            }
            if delivery.sequence > last + 1 {
                let (service, partition) = key;
                return Err(Halt::Gap(BusError::Gap { service, partition, after: last, found: delivery.sequence }));
            }
            if let Some(record) = &delivery.record {
                self.apply(&delivery.source.service, record, &mut effect).await?;
                effect.times.push((delivery.source.clone(), record.time_ms));
            }
            effect.applied.insert(key, Offset { epoch: delivery.source.epoch, sequence: delivery.sequence });
        }
        self.commit(effect).await
    }

    async fn apply(&self, source: &str, record: &Record, effect: &mut Effect) -> Result<(), Halt> {
        let began = Instant::now();
        let cause = TraceContext::of_headers(&record.headers);
        let context = TraceContext::following(cause, || self.core.tracer().samples());
        let (trace, Record { sequence, event_type, key: order, .. }) = (context.id(), record);
        let is_parked = self.parked_keys.contains(&record.key) || effect.parked.iter().any(|one| one.key == record.key);
        let why = if is_parked {
            "an earlier event of this order is parked".to_owned()
        } else if let Some(why) = &self.over_limit {
            format!("its effect is over a limit: {why}")
        } else {
            match self.consequences(&record.event_type, &record.body, &context, effect).await? {
                Ok(()) => {
                    tracing::debug!(source, sequence, event_type, order, %trace, "applied");
                    if self.core.tracer().takes(&context) {
                        let parent = cause.map(|cause| cause.span_id);
                        effect.spans.push(span(source, record, context, parent, began.elapsed()));
                    }
                    return Ok(());
                }
                Err(why) => why,
            }
        };
        let mut keys: BTreeSet<_> = effect.parked.iter().map(|parked| parked.key).collect();
        keys.extend(&self.parked_keys);
        if !is_parked && keys.len() >= PARKED_KEYS_MAX {
            return Err(Halt::Full(why)); // the release is at fault, not the event: the consumer stalls, nothing is lost
        }
        tracing::error!(source, sequence, event_type, order, %trace, why, "an event is parked");
        effect.parked.push(Parked {
            source: source.to_owned(),
            partition: record.partition,
            sequence: record.sequence,
            event_type: record.event_type.clone(),
            key: record.key,
            time_ms: record.time_ms,
            traceparent: cause.map(|cause| cause.to_string()),
            body: record.body.clone(),
            cause: why,
            is_discarded: false,
        });
        Ok(())
    }

    /// Adds the consequences of an event. The inner error: why the code fails on it.
    pub(super) async fn consequences(
        &self,
        event_type: &str,
        body: &str,
        trace: &TraceContext,
        effect: &mut Effect,
    ) -> Result<Result<(), String>, Halt> {
        let now = self.core.now();
        let mut new_ids = BTreeMap::<_, Vec<_>>::new();
        loop {
            let event = ReceivedEvent { event_type, body, now, new_ids: &new_ids };
            let behaviour = self.core.behaviour();
            let outcome = catch_unwind(AssertUnwindSafe(|| behaviour.handle(event, &effect.reading.documents)));
            let decided = match outcome {
                Ok(Ok(Outcome::Needs(keys))) => {
                    for (resource, id) in keys {
                        if id == NEW_ID {
                            let id = self.core.new_document_id(resource).await?;
                            new_ids.entry(resource).or_default().push(id);
                            effect.reading.documents.insert((resource, id), None); // a new id: there is no such document yet
                            continue;
                        }
                        effect.reading.read(&self.core, (resource, id)).await?;
                    }
                    continue;
                }
                Ok(Ok(Outcome::Find(lookup))) => {
                    effect.reading.find(&self.core, lookup).await?;
                    continue;
                }
                Ok(Ok(Outcome::Decided(decided))) => decided,
                Ok(Ok(Outcome::Ask(_) | Outcome::Rejected(_))) => {
                    return Ok(Err("a policy asks or refuses".to_owned()));
                }
                Ok(Err(damaged @ Defect { .. })) => return Ok(Err(damaged.to_string())),
                Err(panic) => return Ok(Err(format!("the code panicked: {}", panic_text(panic.as_ref())))),
            };
            effect.dropped += u64::from(decided.dropped);
            for document in self.core.add_consequences(decided, now, trace, None, &mut effect.changes).await? {
                let DocumentAfter { key, expected_version: version, shown, body, wait } = document;
                effect.reading.documents.insert(key, Some(Stored { version, body }));
                let changed = effect.changed.entry(key).or_default();
                changed.shown = shown;
                match wait_change(wait, trace) {
                    WaitChange::Keep => {} // what an earlier event of the batch did stays
                    wait => changed.wait = wait,
                }
            }
            return Ok(Ok(()));
        }
    }

    async fn commit(&mut self, mut effect: Effect) -> Result<(), Halt> {
        let mut changes = self.changes(&effect).await?;
        changes.positions = effect
            .applied
            .iter()
            .filter(|(key, offset)| self.positions.get(*key) != Some(*offset))
            .map(|((source, partition), offset)| {
                let position = Position {
                    source: source.clone(),
                    partition: *partition,
                    epoch: offset.epoch,
                    sequence: offset.sequence,
                };
                let expected_sequence =
                    self.positions.get(&(source.clone(), *partition)).map_or(0, |offset| offset.sequence);
                PositionChange { position, expected_sequence }
            })
            .collect();
        let is_effect = !changes.documents.is_empty() || !changes.journal.is_empty() || !changes.requests.is_empty();
        if !is_effect && self.positions_written.elapsed() < POSITIONS_EVERY {
            self.applied = effect.applied; // committed with the next effect, or once a second
            return Ok(());
        }
        if is_effect {
            crash::point("heard.before-commit");
        }
        let committed = effect.reading.commit(&self.core, None, changes).await;
        match committed {
            Ok(_) => {}
            Err(CommitError::Conflict(Conflict::Document { collection, id })) => {
                let resources = &self.core.model().resources;
                let resource = resources.iter().position(|resource| resource.collection == collection);
                self.contended.extend(resource.map(|resource| (resource, id)));
                return Err(Halt::Conflict);
            }
            Err(CommitError::Conflict(Conflict::Request { .. })) => return Err(Halt::Conflict),
            Err(CommitError::Conflict(_) | CommitError::Unknown(_)) => return Err(Halt::Unknown),
            Err(CommitError::Limit(why)) => return Err(Halt::Limit(why)),
            Err(CommitError::NotDone(why)) => return Err(Halt::Database(why)),
            Err(error @ CommitError::Failed(_)) => return Err(Halt::Database(error.to_string())),
        }
        self.over_limit = None;
        if is_effect {
            crash::point("heard.after-commit");
        }
        self.parked_keys.extend(effect.parked.iter().map(|parked| parked.key));
        self.positions.clone_from(&effect.applied);
        self.applied = effect.applied;
        self.positions_written = Instant::now();
        let now_ms = self.core.now().as_millisecond();
        for (source, time_ms) in &effect.times {
            self.core.metrics().applied(&source.service, *time_ms, now_ms);
        }
        for span in effect.spans {
            self.core.tracer().record(&span.context.clone(), || span);
        }
        self.show.send_modify(|shown| shown.dropped += effect.dropped);
        Ok(())
    }

    pub(super) async fn changes(&self, effect: &Effect) -> Result<Changes, Halt> {
        let resources = &self.core.model().resources;
        let mut changes = effect.changes.clone();
        for (key, changed) in &effect.changed {
            if let Some(Some(stored)) = effect.reading.documents.get(key) {
                changes.documents.push(DocumentChange {
                    collection: resources[key.0].collection,
                    id: key.1,
                    expected_version: stored.version,
                    shown: changed.shown,
                    body: stored.body.clone(),
                    wait: changed.wait.clone(),
                });
            }
        }
        for parked in &effect.parked {
            let id = self.core.database().next_id(PARKED).await?;
            let body = serde_json::to_string(parked).unwrap_or_default();
            let (expected_version, wait) = (0, WaitChange::Keep);
            changes.documents.push(DocumentChange {
                collection: PARKED,
                id,
                expected_version,
                shown: true,
                body,
                wait,
            });
        }
        Ok(changes)
    }
}

fn span(source: &str, record: &Record, context: TraceContext, parent: Option<SpanId>, took: Duration) -> Span {
    Span {
        context,
        parent,
        kind: Kind::Consumer,
        name: format!("hear {}", record.event_type).into(),
        took,
        attributes: vec![
            ("messaging.destination.name", source.to_owned().into()),
            ("jumun.sequence", record.sequence.to_string().into()),
            ("jumun.order", record.key.to_string().into()),
        ],
        is_failed: false,
    }
}

async fn positions(core: &Core) -> Result<BTreeMap<PositionKey, Offset>, ReadError> {
    let positions = core.database().positions().await?;
    let offset = |position: Position| {
        ((position.source, position.partition), Offset { epoch: position.epoch, sequence: position.sequence })
    };
    Ok(positions.into_iter().map(offset).collect())
}

fn subscribe(
    core: &Core,
    bus: &dyn Bus,
    positions: &BTreeMap<PositionKey, Offset>,
) -> Result<Box<dyn Subscription>, BusError> {
    let listens = &core.model().listens;
    let sources: BTreeSet<_> = listens.iter().map(|event| event.source).collect();
    let partitions = core.database().identity().partitions;
    let positions: Vec<_> = sources
        .into_iter()
        .flat_map(|source| (0..partitions).map(move |partition| (source.to_owned(), partition)))
        .map(|key| {
            let offset = positions.get(&key).copied();
            let (epoch, sequence) = (offset.map(|offset| offset.epoch), offset.map_or(0, |offset| offset.sequence));
            jumun_bus::Position { service: key.0, partition: key.1, epoch, sequence }
        })
        .collect();
    bus.subscribe(&positions, Wants::Only(listens.iter().map(|event| event.name.to_owned()).collect()))
}

#[cfg(test)]
mod tests;
