//! The work of a rebuild: reads events, folds them into rows, stores the rows in the shadow.

use super::{
    error::RebuildError,
    feed::{Event, Feed, FeedPartition},
};
use crate::{
    core::Core,
    crash,
    events::parked::record::{PARKED, Parked},
    limits::{
        EVENTS_AT_ONCE, FOLD_MAX_BYTES, FOLD_MAX_EVENTS, FOLD_MAX_ROWS, FOLD_WAIT_MAX, IDLE_PAUSE, PROGRESS_EVERY,
    },
    panic_text,
};
use jumun::Folding;
use jumun_bus::{Bus, BusError, Wants};
use jumun_control::{RebuildProgress, RebuildReport};
use jumun_database::{
    CommitError, Database, Document, Position, ReadDatabase, ReadError,
    limits::{PAGE_MAX_ROWS, SHADOW_MAX_ROWS},
};
use std::{
    collections::{BTreeSet, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

/// What becomes of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// They replace the old rows.
    View,
    /// They are kept as the base.
    Base,
}

/// Up to which positions to fold, and which events to leave out.
pub(super) struct Known {
    pub(super) positions: Vec<Position>,
    /// Events that are parked or were discarded.
    pub(super) left_out: HashSet<Name>,
    /// Whether any is parked.
    pub(super) is_parked: bool,
}

/// An event by its source, partition and number.
type Name = (String, u16, u64);

impl Known {
    pub(super) async fn read_parked(&mut self, database: &dyn ReadDatabase) -> Result<(), ReadError> {
        let mut after = i64::MIN;
        loop {
            let documents = database.scan(PARKED, after, PAGE_MAX_ROWS).await?;
            let Some(last) = documents.last() else { return Ok(()) };
            after = last.id;
            self.is_parked |= documents.iter().any(|document| document.shown);
            self.left_out.extend(documents.into_iter().filter_map(|document| {
                let parked: Parked = serde_json::from_str(&document.body).ok()?;
                (document.shown || parked.is_discarded).then_some((parked.source, parked.partition, parked.sequence))
            }));
        }
    }
}

/// A view that is being rebuilt.
struct Rows {
    collection: &'static str,
    folding: Box<dyn Folding>,
    /// The indexes in the batch of the events that this view folds.
    taken: Vec<usize>,
    /// The largest id that was stored: the shadow has no row beyond it.
    stored_to: i64,
}

/// What is rebuilt, for what, and from where.
pub(super) struct Scope<'a> {
    /// The views, by their indexes among the resources of the service.
    pub(super) views: &'a [usize],
    pub(super) goal: Goal,
    /// The positions of the base that the rows begin with. `None`: they begin with the first event.
    pub(super) base: Option<&'a [Position]>,
}

/// Folds the log into rows, for a view or for its base.
pub(super) struct Work<'a> {
    core: &'a Core,
    /// Whether an operator requested a rebuild: a base gives way to it.
    is_wanted: &'a AtomicBool,
    goal: Goal,
    /// Whether it begins with the base.
    from_base: bool,
    reports: &'a mpsc::Sender<RebuildReport>,
    feeds: Vec<Feed>,
    own: String,
    wanted: BTreeSet<String>,
    rows: Vec<Rows>,
    /// Bytes of the rows in memory, roughly.
    bytes: usize,
    storing: Option<JoinHandle<Result<(), CommitError>>>,
    /// The version of new rows: the time in milliseconds, which no version that counts by ones reaches.
    version: u64,
    /// Events that were read.
    pub(super) events: u64,
    /// Those of them that are parked or were discarded.
    pub(super) left_out: u64,
    began: Instant,
    reported: Instant,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        core: &'a Core,
        bus: &dyn Bus,
        is_wanted: &'a AtomicBool,
        reports: &'a mpsc::Sender<RebuildReport>,
        scope: &Scope<'_>,
        known: &Known,
    ) -> Result<Self, RebuildError> {
        let Scope { views, goal, base } = *scope;
        let model = core.model();
        let folds = || views.iter().filter_map(|view| model.resources[*view].folds()).flatten();
        let wanted: BTreeSet<_> = folds().map(|event| event.name.to_owned()).collect();
        let sources: BTreeSet<_> = folds().map(|event| event.source.to_owned()).collect();
        let identity = core.database().identity();
        let partitions = identity.partitions;
        let epoch_of = |service: &str| {
            let position = known.positions.iter().find(|position| position.source == service);
            position.map(|position| position.epoch).or((service == model.name).then_some(identity.epoch))
        };
        let in_base = |service: &str, partition: u16| {
            let mut positions = base.unwrap_or_default().iter();
            positions
                .find(|position| position.source == service && position.partition == partition)
                .map_or(0, |position| position.sequence)
        };
        let feeds = sources.into_iter().map(|service| {
            let epoch = epoch_of(&service);
            let positions: Vec<_> = (0..partitions)
                .map(|partition| jumun_bus::Position {
                    service: service.clone(),
                    partition,
                    epoch,
                    sequence: in_base(&service, partition),
                })
                .collect();
            let subscription = bus.subscribe(&positions, Wants::Only(wanted.clone()))?;
            let partitions = positions.iter().map(|position| FeedPartition::after(position.sequence)).collect();
            Ok(Feed { service, epoch, subscription, partitions })
        });
        let feeds = feeds.collect::<Result<_, BusError>>()?;
        let rows = views.iter().filter_map(|view| {
            let collection = model.resources[*view].collection;
            let folding = core.behaviour().folding(*view)?;
            Some(Rows { collection, folding, taken: Vec::new(), stored_to: i64::MIN })
        });
        let now = Instant::now();
        Ok(Self {
            core,
            is_wanted,
            goal,
            from_base: base.is_some(),
            reports,
            feeds,
            own: model.name.to_owned(),
            wanted: wanted.clone(),
            rows: rows.collect(),
            bytes: 0,
            storing: None,
            version: u64::try_from(core.now().as_millisecond()).unwrap_or(1),
            events: 0,
            left_out: 0,
            began: now,
            reported: now,
        })
    }

    fn database(&self) -> &Arc<dyn Database> {
        self.core.database()
    }

    /// Fails once the rebuild is to be given up.
    pub(super) fn check_wanted(&self) -> Result<(), RebuildError> {
        let is_over = self.reports.is_closed()
            || self.core.stopping().is_cancelled()
            || (self.goal == Goal::Base && self.is_wanted.load(Ordering::Relaxed));
        if is_over { Err(RebuildError::GivenUp) } else { Ok(()) }
    }

    fn report(&mut self) {
        if self.reported.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.reported = Instant::now();
        let left: u64 =
            self.partitions().map(|(_, _, partition)| partition.target.saturating_sub(partition.done)).sum();
        let micros = self.began.elapsed().as_micros().max(1);
        let rate = u64::try_from(u128::from(self.events) * 1_000_000 / micros).unwrap_or_default();
        let progress = RebuildProgress { events: self.events, of: self.events + left, rate };
        let _ = self.reports.try_send(RebuildReport::Progress(progress)); // a slow receiver misses some
    }

    fn partitions(&self) -> impl Iterator<Item = (usize, usize, &FeedPartition)> {
        self.feeds.iter().enumerate().flat_map(|(feed, from)| {
            from.partitions.iter().enumerate().map(move |(nth, partition)| (feed, nth, partition))
        })
    }

    /// Copies the base into the shadow, if the rows begin with it. The copies get the version of this rebuild: the same base may
    /// be switched in more than once, and its rows may change in between.
    pub(super) async fn copy_base(&mut self) -> Result<(), RebuildError> {
        if !self.from_base {
            return Ok(());
        }
        for view in 0..self.rows.len() {
            let collection = self.rows[view].collection;
            loop {
                self.check_wanted()?;
                let after = self.rows[view].stored_to;
                let mut documents = self.database().scan_base(collection, after, PAGE_MAX_ROWS).await?;
                let Some(last) = documents.last() else { break };
                self.rows[view].stored_to = last.id;
                for document in &mut documents {
                    document.version = self.version;
                }
                write(self.database().as_ref(), self.goal, collection, documents).await?;
            }
        }
        Ok(())
    }

    /// The positions up to which the rows are folded.
    pub(super) fn reached(&self) -> Vec<Position> {
        let reached = self.partitions().filter_map(|(feed, nth, partition)| {
            let Feed { service, epoch, .. } = &self.feeds[feed];
            let position = Position {
                source: service.clone(),
                partition: u16::try_from(nth).unwrap_or(u16::MAX),
                epoch: (*epoch)?,
                sequence: partition.done,
            };
            (position.sequence > 0).then_some(position)
        });
        reached.collect()
    }

    /// Folds all events up to these positions, and all events of this service.
    pub(super) async fn go_to(&mut self, known: &Known) -> Result<(), RebuildError> {
        for feed in &mut self.feeds {
            for (nth, partition) in feed.partitions.iter_mut().enumerate() {
                let position = known
                    .positions
                    .iter()
                    .find(|position| position.source == feed.service && usize::from(position.partition) == nth);
                partition.target = if feed.service == self.own {
                    last_own(self.core.database().as_ref(), nth, partition.target).await?
                } else {
                    position.map_or(0, |position| position.sequence).max(partition.target)
                };
            }
        }
        loop {
            self.check_wanted()?;
            let batch = self.next_batch(&known.left_out).await?;
            if batch.is_empty() && self.partitions().all(|(_, _, partition)| partition.done >= partition.target) {
                return Ok(());
            }
            self.fold(batch).await?;
            self.store(false).await?;
            self.report();
        }
    }

    /// The next events, the oldest of all sources first. So the events of one order are close together, and its row is mostly
    /// still in memory.
    async fn next_batch(&mut self, left_out: &HashSet<Name>) -> Result<Vec<(usize, u16, Event)>, RebuildError> {
        let (mut batch, mut bytes, mut passed) = (Vec::new(), 0, 0);
        while passed < FOLD_MAX_EVENTS && bytes < FOLD_MAX_BYTES {
            let mut oldest: Option<(i64, usize, usize)> = None;
            for feed in 0..self.feeds.len() {
                for nth in 0..self.feeds[feed].partitions.len() {
                    let partition = &self.feeds[feed].partitions[nth];
                    if partition.done >= partition.target {
                        continue;
                    }
                    if partition.queue.is_empty() {
                        self.fill(feed, nth).await?;
                    }
                    let time = self.feeds[feed].partitions[nth].queue.front().map_or(i64::MAX, |event| event.time_ms);
                    if oldest.is_none_or(|(known, ..)| time < known) {
                        oldest = Some((time, feed, nth));
                    }
                }
            }
            let Some((_, feed, nth)) = oldest else { break };
            let from = &mut self.feeds[feed];
            let Some(event) = from.partitions[nth].queue.pop_front() else { break };
            from.partitions[nth].done = event.sequence;
            passed += 1;
            let Some((event_type, body)) = &event.content else { continue };
            let partition = u16::try_from(nth).unwrap_or(u16::MAX);
            if !left_out.is_empty() && left_out.contains(&(from.service.clone(), partition, event.sequence)) {
                self.left_out += 1;
                continue;
            }
            bytes += event_type.len() + body.len();
            batch.push((feed, partition, event));
        }
        self.events += passed as u64;
        self.bytes += bytes;
        Ok(batch)
    }

    /// Fills the queue of a partition that has not reached its target.
    async fn fill(&mut self, feed: usize, nth: usize) -> Result<(), RebuildError> {
        let began = Instant::now();
        loop {
            let from = &mut self.feeds[feed];
            let deliveries = from.subscription.poll(EVENTS_AT_ONCE as usize, Duration::ZERO)?;
            let is_empty = deliveries.is_empty();
            for delivery in deliveries {
                let Some(partition) = from.partitions.get_mut(usize::from(delivery.partition)) else { continue };
                let (time_ms, content) = delivery
                    .record
                    .map_or((i64::MIN, None), |record| (record.time_ms, Some((record.event_type, record.body))));
                partition.put(
                    &from.service,
                    delivery.partition,
                    Event { sequence: delivery.sequence, time_ms, content },
                )?;
            }
            if is_empty && from.service == self.own {
                // The relay has not published these events yet.
                self.fill_from_journal(feed, nth).await?;
            }
            if !self.feeds[feed].partitions[nth].queue.is_empty() {
                return Ok(());
            }
            if is_empty {
                self.check_wanted()?;
                if began.elapsed() > FOLD_WAIT_MAX {
                    return Err(RebuildError::LogEnds(self.feeds[feed].service.clone()));
                }
                tokio::time::sleep(IDLE_PAUSE).await;
            }
        }
    }

    async fn fill_from_journal(&mut self, feed: usize, nth: usize) -> Result<(), RebuildError> {
        let number = u16::try_from(nth).unwrap_or(u16::MAX);
        let read = self.feeds[feed].partitions[nth].read;
        let events = self.database().journal(number, read, PAGE_MAX_ROWS).await?;
        let from = &mut self.feeds[feed];
        for event in events {
            let content = self.wanted.contains(&event.event_type).then_some((event.event_type, event.body));
            let event = Event { sequence: event.sequence, time_ms: event.time_ms, content };
            from.partitions[nth].put(&from.service, number, event)?;
        }
        Ok(())
    }

    async fn fold(&mut self, batch: Vec<(usize, u16, Event)>) -> Result<(), RebuildError> {
        for view in 0..self.rows.len() {
            let rows = &mut self.rows[view];
            rows.taken.clear();
            let mut nth = 0;
            let taken = catch_unwind(AssertUnwindSafe(|| {
                while let Some((_, _, event)) = batch.get(nth) {
                    if let Some((event_type, body)) = &event.content
                        && rows.folding.take(event_type, body).map_err(|damaged| damaged.to_string())?
                    {
                        rows.taken.push(nth);
                    }
                    nth += 1;
                }
                Ok(())
            }));
            self.check_outcome(&batch, nth, taken)?;
            self.read_missing(view).await?;
            let rows = &mut self.rows[view];
            let mut nth = 0;
            let folded = catch_unwind(AssertUnwindSafe(|| {
                while nth < rows.taken.len() {
                    rows.folding.fold(nth);
                    nth += 1;
                }
                Ok(())
            }));
            let nth = rows.taken.get(nth).copied().unwrap_or_default();
            rows.folding.end_batch();
            self.check_outcome(&batch, nth, folded)?;
        }
        Ok(())
    }

    /// Makes an error of a failed fold, which names the event.
    fn check_outcome(
        &self,
        batch: &[(usize, u16, Event)],
        nth: usize,
        outcome: std::thread::Result<Result<(), String>>,
    ) -> Result<(), RebuildError> {
        let why = match outcome {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(why)) => why,
            Err(panic) => format!("it panicked: {}", panic_text(panic.as_ref())),
        };
        let Some((feed, partition, event)) = batch.get(nth) else { return Err(RebuildError::Defect(why)) };
        Err(RebuildError::Event {
            source_name: self.feeds[*feed].service.clone(),
            partition: *partition,
            sequence: event.sequence,
            event_type: event.content.as_ref().map(|(event_type, _)| event_type.clone()).unwrap_or_default(),
            why,
        })
    }

    /// Reads the rows that this batch needs and that were stored before.
    async fn read_missing(&mut self, view: usize) -> Result<(), RebuildError> {
        let rows = &mut self.rows[view];
        let (collection, stored_to) = (rows.collection, rows.stored_to);
        let mut missing = rows.folding.missing();
        missing.retain(|id| *id <= stored_to);
        if missing.is_empty() {
            return Ok(());
        }
        self.wait_until_stored().await?;
        missing.sort_unstable();
        for ids in missing.chunks(PAGE_MAX_ROWS as usize) {
            let found = self.database().read_shadow(collection, ids.to_vec()).await?;
            for document in found {
                self.bytes += document.body.len();
                let folding = &mut self.rows[view].folding;
                folding
                    .put(document.id, &document.body)
                    .map_err(|damaged| RebuildError::Defect(damaged.to_string()))?;
            }
        }
        Ok(())
    }

    /// Stores all rows; or, if many are in memory, those that no event has changed for a while.
    pub(super) async fn store(&mut self, all: bool) -> Result<(), RebuildError> {
        let at_hand: usize = self.rows.iter().map(|rows| rows.folding.rows()).sum();
        if !all && at_hand < FOLD_MAX_ROWS && self.bytes < FOLD_MAX_BYTES {
            return Ok(());
        }
        self.wait_until_stored().await?;
        let mut portions = Vec::new();
        for rows in &mut self.rows {
            let folded = rows.folding.give(all).map_err(|damaged| RebuildError::Defect(damaged.to_string()))?;
            rows.stored_to = folded.last().map_or(rows.stored_to, |last| last.id.max(rows.stored_to));
            let version = self.version;
            let mut documents = folded
                .into_iter()
                .map(|row| Document { id: row.id, version, shown: row.shown, body: row.body })
                .peekable();
            while documents.peek().is_some() {
                portions.push((rows.collection, documents.by_ref().take(SHADOW_MAX_ROWS).collect::<Vec<_>>()));
            }
        }
        self.bytes = 0;
        let (database, goal) = (self.database().clone(), self.goal);
        // One portion after the other, so that other commits come in between. A task of its own, so that reading goes on.
        self.storing = Some(tokio::spawn(async move {
            for (collection, documents) in portions {
                write(database.as_ref(), goal, collection, documents).await?;
                crash::point("rebuild.after-portion");
            }
            Ok(())
        }));
        if all { self.wait_until_stored().await } else { Ok(()) }
    }

    pub(super) async fn end_storing(&mut self) {
        if let Some(storing) = self.storing.take() {
            storing.abort();
            drop(storing.await);
        }
    }

    async fn wait_until_stored(&mut self) -> Result<(), RebuildError> {
        let Some(storing) = self.storing.take() else { return Ok(()) };
        storing.await.map_err(|error| RebuildError::Defect(error.to_string()))??;
        Ok(())
    }
}

async fn write(
    database: &dyn Database,
    goal: Goal,
    collection: &'static str,
    documents: Vec<Document>,
) -> Result<(), CommitError> {
    match goal {
        Goal::View => database.write_shadow(collection, documents).await,
        Goal::Base => database.write_next_base(collection, documents).await,
    }
}

/// The last number in a partition of the own journal; at least `known`.
async fn last_own(database: &dyn ReadDatabase, partition: usize, known: u64) -> Result<u64, ReadError> {
    let partition = u16::try_from(partition).unwrap_or(u16::MAX);
    let has = async |after: u64| database.journal(partition, after, 1).await.map(|events| !events.is_empty());
    let (mut low, mut step) = (known, 1);
    while has(low + step - 1).await? {
        low += step;
        step *= 2;
    }
    // The journal has `low`, and not `low + step`.
    while step > 1 {
        step /= 2;
        if has(low + step - 1).await? {
            low += step;
        }
    }
    Ok(low)
}
