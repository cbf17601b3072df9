//! The consumer of a service: hears what its neighbours publish, once and in order.
//!
//! A consumer's position, the last number that has had its effect, moves in the commit of that effect. So an event has its
//! effect exactly once, however often it is delivered and whatever dies when. A number that is lower than the next is a
//! duplicate; a higher one is a gap, and stops the consumer loudly: nothing may be skipped.
//!
//! An event that cannot be decoded, or on which the business code fails, is *parked*: kept aside with every later event
//! of its order, so that the rest goes on. What is parked is heard again when the service starts, or when an operator
//! says so.

use super::{
    parked::record::{PARKED, Parked, parked_keys},
    token::Token,
};
use crate::{
    core::Core,
    crash,
    limits::{
        BEHIND_EVERY, BUSY_PAUSE, DATABASE_PAUSE, EVENTS_AT_ONCE, EVENTS_BETWEEN_YIELDS, IDLE_PAUSE, PARKED_KEYS_MAX,
        POSITIONS_EVERY, STANDING_STILL_SHOWN,
    },
    panic_text,
};
use jumun::{Defect, Documents, NEW_ID, Outcome, ReceivedEvent, Stored};
use jumun_bus::{Bus, BusError, Delivery, Record, Source, Subscription, Wants};
use jumun_database::{Changes, CommitError, Conflict, DocumentChange, Position, PositionChange, ReadError};
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

/// What a consumer shows of itself.
#[derive(Debug, Clone, Default)]
pub struct Consumption {
    /// The last number of each partition of each source that has had its effect.
    pub positions: BTreeMap<(String, u16), u64>,
    /// How many events of each source are still to be heard.
    pub behind: Vec<(String, u64)>,
    /// Orders with parked events.
    pub parked_keys: usize,
    /// Policies that wanted what the state did not allow.
    pub dropped: u64,
    /// Why it has stopped, if it has.
    pub stopped: Option<String>,
}

impl Consumption {
    /// What an operator must look at: it stands still, or so much is parked that the release must be at fault.
    pub fn trouble(&self) -> Option<String> {
        let parked = self.parked_keys;
        let too_many = || (parked >= PARKED_KEYS_MAX).then(|| format!("events of {parked} orders are parked"));
        self.stopped.clone().or_else(too_many)
    }
}

/// What an operator may have a consumer do.
#[derive(Debug)]
pub enum Instruction {
    /// Hear parked events again: of one order, or all.
    Retry {
        /// The order.
        key: Option<i64>,
        /// How many were heard, and how many failed again; or why none was tried.
        done: oneshot::Sender<Result<(usize, usize), &'static str>>,
    },
    /// Forget parked events of an order. Their effect is lost.
    Discard {
        /// The order.
        key: i64,
        /// How many; or why none.
        done: oneshot::Sender<Result<usize, &'static str>>,
    },
}

/// A consumer, as others see it.
#[derive(Clone)]
pub struct Consumer {
    shown: watch::Receiver<Consumption>,
    instructions: mpsc::Sender<Instruction>,
    as_parked: Arc<Mutex<()>>,
}

impl Consumer {
    /// Starts the consumer of a service; it works until the service is drained.
    pub async fn start(core: &Core, bus: Arc<dyn Bus>) -> Result<Self, ConsumerError> {
        let (show, shown) = watch::channel(Consumption::default());
        let (instructions, received) = mpsc::channel(8);
        let as_parked = Arc::<Mutex<()>>::default();
        let mut worker = Worker::open(core, bus, show, as_parked.clone()).await?;
        core.spawn_worker(async move { worker.run(received).await });
        Ok(Self { shown, instructions, as_parked })
    }

    /// What it shows.
    pub fn consumption(&self) -> Consumption {
        self.shown.borrow().clone()
    }

    /// Waits until an event has had its effect here, so that a client reads what it has just written. False: not in time,
    /// or this service does not listen to that source.
    pub async fn has_heard(&self, token: &Token, bound: Duration) -> bool {
        let Token { service, partition, sequence } = token;
        let position = (service.clone(), *partition);
        let mut shown = self.shown.clone();
        let heard = shown.wait_for(|shown| shown.positions.get(&position).is_some_and(|heard| heard >= sequence));
        matches!(tokio::time::timeout(bound, heard).await, Ok(Ok(_)))
    }

    /// Keeps parked what is parked, for as long as the answer lives. Events that are heard may still be parked.
    pub(crate) async fn keep_parked(&self) -> OwnedMutexGuard<()> {
        self.as_parked.clone().lock_owned().await
    }

    /// Gives it an instruction. False: it has ended.
    pub async fn instruct(&self, instruction: Instruction) -> bool {
        self.instructions.send(instruction).await.is_ok()
    }
}

/// Why a consumer cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ConsumerError {
    /// The bus says so.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The database cannot be read.
    #[error(transparent)]
    Database(#[from] ReadError),
}

impl ConsumerError {
    /// A code that stays the same over releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Bus(error) => error.code(),
            Self::Database(_) => "database-unreadable",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Bus(error) => error.remedy(),
            Self::Database(_) => "Try again; if it stays so, look at the disk.",
        }
    }
}

type PositionKey = (String, u16);

/// Where a consumer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Offset {
    epoch: Uuid,
    sequence: u64,
}

pub(super) struct Worker {
    pub(super) core: Core,
    bus: Arc<dyn Bus>,
    subscription: Box<dyn Subscription>,
    /// As committed.
    positions: BTreeMap<PositionKey, Offset>,
    /// As heard; ahead of the above by events that do not concern us.
    heard: BTreeMap<PositionKey, Offset>,
    positions_written: Instant,
    behind: Vec<(String, u64)>,
    looked_behind: Option<Instant>,
    pub(super) parked_keys: BTreeSet<i64>,
    /// Held while parked events are heard again or forgotten.
    pub(super) as_parked: Arc<Mutex<()>>,
    /// Orders (None: all) whose parked events could not be heard again for the database's sake.
    pub(super) again: BTreeSet<Option<i64>>,
    pub(super) again_at: Instant,
    /// Why the one event that is heard now can never be committed.
    over_limit: Option<String>,
    show: watch::Sender<Consumption>,
}

/// What a batch of events comes to.
#[derive(Default)]
pub(super) struct Effect {
    documents: Documents,
    changed: BTreeMap<jumun::DocumentKey, bool>,
    /// Events, questions to be asked later, and questions that are taken back.
    changes: Changes,
    parked: Vec<Parked>,
    heard: BTreeMap<PositionKey, Offset>,
    dropped: u64,
    /// Of which source each event was that had its effect, and when it happened.
    times: Vec<(Arc<Source>, i64)>,
    /// What is recorded of events in sampled traces.
    spans: Vec<Span>,
}

/// Why a batch has no effect yet.
pub(super) enum Halt {
    /// The database does not answer.
    Database(String),
    /// Somebody else changed the same documents: read again.
    Conflict,
    /// Nobody knows whether it was done: look where we stand.
    Unknown,
    /// Something in it can never be done.
    Limit(String),
    /// A number is missing.
    Gap(BusError),
    /// Too many orders are parked already; why one more would be.
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
        as_parked: Arc<Mutex<()>>,
    ) -> Result<Self, ConsumerError> {
        let positions = positions(core).await?;
        let subscription = subscribe(core, bus.as_ref(), &positions)?;
        let parked_keys = parked_keys(core.database().as_ref()).await?;
        Ok(Self {
            core: core.clone(),
            bus,
            subscription,
            heard: positions.clone(),
            positions,
            positions_written: Instant::now(),
            behind: Vec::new(),
            looked_behind: None,
            parked_keys,
            as_parked,
            again: BTreeSet::new(),
            again_at: Instant::now(),
            over_limit: None,
            show,
        })
    }

    async fn run(&mut self, mut instructions: mpsc::Receiver<Instruction>) {
        if !self.parked_keys.is_empty() {
            let as_parked = self.as_parked.clone();
            let _free = as_parked.lock().await;
            let (heard, failed) = self.retry(None).await;
            tracing::info!(heard, failed, "parked events were heard again");
        }
        let mut pause = BUSY_PAUSE;
        // One source may stand still while others go on: their polls come in between.
        let mut standing_still: Option<Instant> = None;
        loop {
            while let Ok(instruction) = instructions.try_recv() {
                self.obey(instruction).await;
            }
            self.retry_again().await;
            match self.poll_and_hear().await {
                Ok(true) => pause = BUSY_PAUSE,
                Ok(false) => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(IDLE_PAUSE);
                }
                Err(error) => {
                    // Nothing may be skipped: better to stand still, loudly.
                    tracing::error!(%error, code = error.code(), remedy = error.remedy(), "the consumer stands still");
                    standing_still = Some(Instant::now());
                    self.show.send_modify(|shown| shown.stopped = Some(error.to_string()));
                    tokio::time::sleep(DATABASE_PAUSE).await;
                    match subscribe(&self.core, self.bus.as_ref(), &self.positions) {
                        Ok(subscription) => {
                            self.subscription = subscription;
                            self.heard = self.positions.clone();
                        }
                        Err(error) => tracing::debug!(%error, "the bus cannot be read"),
                    }
                    continue;
                }
            }
            if standing_still.is_none_or(|since| since.elapsed() > STANDING_STILL_SHOWN) {
                standing_still = None;
                self.show.send_if_modified(|shown| shown.stopped.take().is_some());
            }
        }
    }

    /// True if there was something to hear.
    async fn poll_and_hear(&mut self) -> Result<bool, BusError> {
        let deliveries = self.subscription.poll(EVENTS_AT_ONCE as usize, Duration::ZERO)?;
        if deliveries.is_empty() {
            if self.heard != self.positions && self.positions_written.elapsed() >= POSITIONS_EVERY {
                self.hear_all(&[]).await?;
            }
            self.show();
            return Ok(false);
        }
        self.hear_all(&deliveries).await?;
        self.show();
        Ok(true)
    }

    fn show(&mut self) {
        let positions: BTreeMap<_, _> = self.heard.iter().map(|(key, offset)| (key.clone(), offset.sequence)).collect();
        if self.looked_behind.is_none_or(|looked| looked.elapsed() >= BEHIND_EVERY) {
            self.looked_behind = Some(Instant::now());
            self.behind = self.subscription.behind().unwrap_or_default();
        }
        let behind = self.behind.clone();
        let parked_keys = self.parked_keys.len();
        self.show.send_if_modified(|shown| {
            let is_news = (&shown.positions, &shown.behind, shown.parked_keys) != (&positions, &behind, parked_keys);
            (shown.positions, shown.behind, shown.parked_keys) = (positions, behind, parked_keys);
            is_news
        });
    }

    /// Lets events have their effect, in as few commits as can be. Retried for as long as the database does not answer.
    async fn hear_all(&mut self, deliveries: &[Delivery]) -> Result<(), BusError> {
        let mut together = deliveries.len().max(1);
        let mut at = 0;
        loop {
            let batch = &deliveries[at.min(deliveries.len())..(at + together).min(deliveries.len())];
            match self.hear_batch(batch).await {
                Ok(()) => {
                    self.over_limit = None;
                    at += together;
                }
                Err(Halt::Gap(error)) => return Err(error),
                Err(Halt::Full(_)) if batch.len() > 1 => together = 1, // what stands before it still has its effect
                Err(Halt::Full(why)) => {
                    let why =
                        format!("events of {PARKED_KEYS_MAX} orders are parked, one more cannot be taken in: {why}");
                    return Err(BusError::Unavailable(why));
                }
                Err(Halt::Conflict) => {}
                Err(Halt::Limit(why)) if batch.len() == 1 => self.over_limit = Some(why), // the next try parks it
                Err(Halt::Limit(_)) => together = 1, // one of them is at fault: only that one is parked
                Err(Halt::Database(why)) => {
                    tracing::debug!(why, "events wait for the database");
                    tokio::time::sleep(DATABASE_PAUSE).await;
                }
                Err(Halt::Unknown) => {
                    tokio::time::sleep(DATABASE_PAUSE).await;
                    match self.look_again().await {
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

    /// Where we stand after a commit of unknown outcome: what was done is a duplicate now. What was heard beyond the positions
    /// had no effect, and is kept.
    async fn look_again(&mut self) -> Result<(), ReadError> {
        let positions = positions(&self.core).await?;
        self.parked_keys = parked_keys(self.core.database().as_ref()).await?;
        for (key, position) in &positions {
            let heard = self.heard.entry(key.clone()).or_insert(*position);
            if heard.epoch != position.epoch || heard.sequence < position.sequence {
                *heard = *position;
            }
        }
        self.positions = positions;
        Ok(())
    }

    async fn hear_batch(&mut self, batch: &[Delivery]) -> Result<(), Halt> {
        let mut effect = Effect { heard: self.heard.clone(), ..Effect::default() };
        for (nth, delivery) in batch.iter().enumerate() {
            if nth % EVENTS_BETWEEN_YIELDS == EVENTS_BETWEEN_YIELDS - 1 {
                tokio::task::yield_now().await; // requests are served on the same thread
            }
            let key = (delivery.source.service.clone(), delivery.partition);
            let last = effect.heard.get(&key).map_or(0, |offset| offset.sequence);
            if delivery.sequence <= last {
                continue; // heard before
            }
            if delivery.sequence > last + 1 {
                let (service, partition) = key;
                return Err(Halt::Gap(BusError::Gap { service, partition, after: last, found: delivery.sequence }));
            }
            if let Some(record) = &delivery.record {
                self.hear(&delivery.source.service, record, &mut effect).await?;
                effect.times.push((delivery.source.clone(), record.time_ms));
            }
            effect.heard.insert(key, Offset { epoch: delivery.source.epoch, sequence: delivery.sequence });
        }
        self.commit(effect).await
    }

    async fn hear(&self, source: &str, record: &Record, effect: &mut Effect) -> Result<(), Halt> {
        let began = Instant::now();
        let cause = TraceContext::of_headers(&record.headers);
        let context = TraceContext::following(cause, || self.core.tracer().samples());
        let (trace, Record { sequence, event_type, key: order, .. }) = (context.id(), record);
        let is_parked = self.parked_keys.contains(&record.key) || effect.parked.iter().any(|one| one.key == record.key);
        let why = if is_parked {
            "an earlier event of this order is parked".to_owned()
        } else if let Some(why) = &self.over_limit {
            format!("what follows from it is over a limit: {why}")
        } else {
            match self.consequences(&record.event_type, &record.body, &context, effect).await? {
                Ok(()) => {
                    tracing::debug!(source, sequence, event_type, order, %trace, "heard");
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
            return Err(Halt::Full(why)); // the release is at fault, not the event: stand still, nothing is lost
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

    /// Adds what follows from an event; or tells why the code fails on it.
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
            let outcome = catch_unwind(AssertUnwindSafe(|| behaviour.handle(event, &effect.documents)));
            let decided = match outcome {
                Ok(Ok(Outcome::Needs(keys))) => {
                    for (resource, id) in keys {
                        if id == NEW_ID {
                            let id = self.core.new_document_id(resource).await?;
                            new_ids.entry(resource).or_default().push(id);
                            effect.documents.insert((resource, id), None); // nobody else has heard of this id
                            continue;
                        }
                        let stored = self.core.read((resource, id)).await?;
                        effect.documents.insert((resource, id), stored);
                    }
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
                let version = document.expected_version;
                effect.documents.insert(document.key, Some(Stored { version, body: document.body }));
                effect.changed.insert(document.key, document.shown);
            }
            return Ok(Ok(()));
        }
    }

    async fn commit(&mut self, effect: Effect) -> Result<(), Halt> {
        let mut changes = self.changes(&effect).await?;
        changes.positions = effect
            .heard
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
            self.heard = effect.heard; // written with the next effect, or once a second
            return Ok(());
        }
        if is_effect {
            crash::point("heard.before-commit");
        }
        match self.core.commit(changes).await {
            Ok(_) => {}
            Err(CommitError::Conflict(Conflict::Document { .. } | Conflict::Request { .. })) => {
                return Err(Halt::Conflict);
            }
            Err(CommitError::Conflict(_) | CommitError::Unknown(_)) => return Err(Halt::Unknown),
            Err(CommitError::Limit(why)) => return Err(Halt::Limit(why)),
            Err(CommitError::NotDone(why)) => return Err(Halt::Database(why)),
        }
        self.over_limit = None;
        if is_effect {
            crash::point("heard.after-commit");
        }
        self.parked_keys.extend(effect.parked.iter().map(|parked| parked.key));
        self.positions.clone_from(&effect.heard);
        self.heard = effect.heard;
        self.positions_written = Instant::now();
        let now_ms = self.core.now().as_millisecond();
        for (source, time_ms) in &effect.times {
            self.core.metrics().heard(&source.service, *time_ms, now_ms);
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
        for (key, shown) in &effect.changed {
            if let Some(Some(stored)) = effect.documents.get(key) {
                changes.documents.push(DocumentChange {
                    collection: resources[key.0].collection,
                    id: key.1,
                    expected_version: stored.version,
                    shown: *shown,
                    body: stored.body.clone(),
                });
            }
        }
        for parked in &effect.parked {
            let id = self.core.database().next_id(PARKED).await?;
            let body = serde_json::to_string(parked).unwrap_or_default();
            changes.documents.push(DocumentChange { collection: PARKED, id, expected_version: 0, shown: true, body });
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
