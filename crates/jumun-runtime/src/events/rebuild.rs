//! Making views anew: folds the log from its first event into a second set of rows, then lets that take the place of the
//! first, while everything goes on.
//!
//! What holds, and why:
//!
//! * The new rows are what the log says up to the consumer's places, no more and no less. The rebuild never goes beyond
//!   the places. When it is close to them it holds all commits for a moment (the consumer's, and those of commands, whose
//!   events a view may be made of), goes to the very places, and switches; the switch compares the places once more.
//! * A step that read an old row cannot write over a new one: versions of new rows begin where no version has counted to,
//!   so that the step's commit is a conflict and it reads again.
//! * Parked and discarded events have no effect on the new rows, as they had none on the old ones. An event is parked in
//!   the commit that moves the place beyond it, so what is parked up to the places is known before it is folded; and
//!   nothing that is parked is heard or forgotten until the rebuild has ended (`Consumer::keep_parked`). Then
//!   everything parked is heard again: what failed on a damaged row does not fail any more.
//! * Where the log is not kept whole, there is a base: rows as the log said them up to some places, with these places. It
//!   is made as new rows are, from the base before it or from the first event, and kept instead of switched in; never of
//!   the rows that are there, which may be damaged, and not while something is parked, as it would lack that for ever. A
//!   rebuild begins with the first event if it is there, as what is in the base was made by the release that made it, and
//!   otherwise with the base. One from the first event is followed by a base from the first event.
//! * Whatever ends it before the switch leaves the old rows as they were, and a shadow that nobody sees. The next start,
//!   and the next rebuild, clear it.
//!
//! It runs on a thread of its own, with a writer that takes its rows in small portions between other commits: requests
//! are answered meanwhile.

use super::consumer::{self, Consumer, Order, Parked};
use crate::{
    core::Core,
    crash,
    limits::{
        DATABASE_PAUSE, EVENTS_AT_ONCE, FOLD_LAST_EVENTS, FOLD_MAX_BYTES, FOLD_MAX_EVENTS, FOLD_MAX_ROWS,
        FOLD_ROUNDS_MAX, FOLD_WAIT_MAX, PROGRESS_EVERY,
    },
    panic_text,
};
use jumun::{Folding, ServiceModel};
use jumun_bus::{Bus, BusError, Position, Subscription, Wants};
use jumun_database::{
    CommitError, Database, Document, Place, ReadDatabase, ReadError,
    limits::{PAGE_MAX_ROWS, SHADOW_MAX_ROWS},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedMutexGuard, mpsc, oneshot},
    task::JoinHandle,
};
use uuid::Uuid;

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Events so far.
    pub events: u64,
    /// Of how many, as it looks now.
    pub of: u64,
    /// Events a second.
    pub rate: u64,
}

/// What came of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rebuilt {
    /// The views, by their collections.
    pub views: Vec<String>,
    /// Events that were gone through.
    pub events: u64,
    /// Those of them without effect, because they are parked or were discarded.
    pub left_out: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// Parked events that were heard after it.
    pub parked_heard: u64,
    /// Orders whose parked events failed again.
    pub parked_failed: u64,
    /// Whether it began with the base, and not with the first event. What is in the base was made by the release that
    /// made it.
    #[serde(default)]
    pub from_base: bool,
}

/// What a rebuild says of itself, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Said {
    /// It goes on.
    Progress(Progress),
    /// It is done; the last line.
    Rebuilt(Rebuilt),
    /// It is given up, and the old rows stand; the last line.
    Failed {
        /// See [`RebuildError::code`].
        code: String,
        /// What happened.
        why: String,
        /// What to do.
        remedy: String,
    },
}

/// Why views are not rebuilt. The old rows stand.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// There is nothing to rebuild.
    #[error("`{service}` has no view `{wanted}`; its views: {views}")]
    NoView {
        /// The service.
        service: &'static str,
        /// What was asked for.
        wanted: String,
        /// What there is.
        views: String,
    },
    /// Another rebuild is at work.
    #[error("a rebuild is at work already")]
    AtWork,
    /// Nobody waits for it any more, or the service stops.
    #[error("it was given up")]
    GivenUp,
    /// The bus says so.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The log has less than the consumer has heard.
    #[error("{0}: the log ends before what this service has heard of it")]
    LogEnds(String),
    /// The code fails on an event that is not parked.
    #[error("{source_name}/{partition}: the code fails on event {sequence} ({event_type}): {why}")]
    Event {
        /// The source.
        source_name: String,
        /// The partition.
        partition: u16,
        /// Its number.
        sequence: u64,
        /// Its type.
        event_type: String,
        /// How it fails.
        why: String,
    },
    /// The database cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database does not take the rows.
    #[error(transparent)]
    Write(#[from] CommitError),
    /// It has panicked outside the code of the business.
    #[error("it has failed: {0}")]
    Defect(String),
}

impl RebuildError {
    /// A code that stays the same over releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoView { .. } => "view-unknown",
            Self::AtWork => "rebuild-at-work",
            Self::GivenUp => "rebuild-given-up",
            Self::Bus(error) => error.code(),
            Self::LogEnds(_) => "bus-behind",
            Self::Event { .. } => "event-unfoldable",
            Self::Read(_) => "database-unreadable",
            Self::Write(_) => "database-not-done",
            Self::Defect(_) => "defect",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoView { .. } => "Name a service that has a view, or one of its views.",
            Self::AtWork => "Wait for its end, or end the command that started it.",
            Self::GivenUp => "Start it again; what was there before stands.",
            Self::Bus(error) => error.remedy(),
            Self::LogEnds(_) => {
                "Start the service that publishes these events: it fills the log again. Then try again."
            }
            Self::Event { .. } => "Run a release that can read this event; what was there before stands.",
            Self::Read(_) => "Try again; if it stays so, look at the disk.",
            Self::Write(_) => "See that the disk has room for a second copy of the view, then try again.",
            Self::Defect(_) => "Please report it; what was there before stands.",
        }
    }
}

impl From<RebuildError> for Said {
    fn from(error: RebuildError) -> Self {
        Self::Failed { code: error.code().into(), why: error.to_string(), remedy: error.remedy().into() }
    }
}

/// What became of a new base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Based {
    /// It is kept.
    Kept,
    /// A rebuild, or what it left, is in the way.
    InTheWay,
    /// Events are parked that it would lack.
    Parked,
}

/// What rows are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// To take the place of the old ones.
    View,
    /// To be kept as base.
    Base,
}

/// Rebuilds the views of one service.
#[derive(Clone)]
pub(crate) struct Rebuilds {
    core: Core,
    bus: Arc<dyn Bus>,
    consumer: Option<Consumer>,
    at_work: Arc<Mutex<()>>,
    /// Held by whoever clears or fills shadows.
    shadows: Arc<Mutex<()>>,
    /// Whether a rebuild is at work or about to be: a base is given up then.
    is_wanted: Arc<AtomicBool>,
}

/// The views of a service, by their place among its resources: those that have a name, or all for the service's own.
pub fn views_named(service: &ServiceModel, wanted: &str) -> Result<Vec<usize>, RebuildError> {
    let views = || service.resources.iter().enumerate().filter(|(_, resource)| resource.folds.is_some());
    let meant = views().filter(|(_, view)| wanted == service.name || wanted == view.collection);
    let meant: Vec<_> = meant.map(|(place, _)| place).collect();
    if !meant.is_empty() {
        return Ok(meant);
    }
    let names: Vec<_> = views().map(|(_, view)| view.collection).collect();
    let views = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(RebuildError::NoView { service: service.name, wanted: wanted.to_owned(), views })
}

impl Rebuilds {
    /// Also clears what a rebuild has left behind that did not live to its end.
    pub(crate) fn start(core: &Core, bus: Arc<dyn Bus>, consumer: Option<Consumer>) -> Self {
        let rebuilds = Self {
            core: core.clone(),
            bus,
            consumer,
            at_work: Arc::default(),
            shadows: Arc::default(),
            is_wanted: Arc::default(),
        };
        let clearing = rebuilds.clone();
        core.spawn_worker(async move {
            let _shadows = clearing.shadows.lock().await;
            let views = views_named(clearing.core.model(), clearing.core.model().name).unwrap_or_default();
            while let Err(error) = clear(&clearing.core, &views, async || Ok(())).await {
                tracing::debug!(%error, "what is left of a rebuild cannot be cleared yet");
                tokio::time::sleep(DATABASE_PAUSE).await;
            }
        });
        rebuilds
    }

    /// Begins to rebuild these views. It says how far it is, and in the end what came of it; it is given up when nobody
    /// listens any more.
    pub(crate) fn begin(&self, wanted: &str) -> Result<mpsc::Receiver<Said>, RebuildError> {
        let views = views_named(self.core.model(), wanted)?;
        let alone = self.at_work.clone().try_lock_owned().map_err(|_| RebuildError::AtWork)?;
        self.is_wanted.store(true, Ordering::Relaxed);
        let (say, heard) = mpsc::channel(8);
        let rebuilds = self.clone();
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(rebuilds.see_through(views, say, alone)));
        Ok(heard)
    }

    async fn see_through(self, views: Vec<usize>, say: mpsc::Sender<Said>, alone: OwnedMutexGuard<()>) {
        let began = Instant::now();
        tracing::info!("a rebuild begins");
        let shadows = self.shadows.lock().await;
        let kept_parked = match &self.consumer {
            Some(consumer) => Some(consumer.keep_parked().await),
            None => None,
        };
        let outcome = self.rebuild(&views, &say).await;
        // What is the shadow now: the new rows of a rebuild that was given up, or the old ones.
        if let Err(error) = clear(&self.core, &views, async || Ok(())).await {
            tracing::debug!(%error, "what is left of a rebuild is cleared later");
        }
        drop((kept_parked, shadows));
        let said = match outcome {
            Ok(Gone { events, left_out, from_base }) => {
                let (parked_heard, parked_failed) = self.retry_parked().await;
                let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                let resources = &self.core.model().resources;
                let views = views.iter().map(|view| resources[*view].collection.to_owned()).collect();
                tracing::info!(?views, events, left_out, from_base, took_ms, "views are rebuilt");
                Said::Rebuilt(Rebuilt { views, events, left_out, took_ms, parked_heard, parked_failed, from_base })
            }
            Err(error) => {
                tracing::warn!(%error, code = error.code(), "a rebuild is given up; the rows are as they were");
                error.into()
            }
        };
        self.is_wanted.store(false, Ordering::Relaxed);
        drop(alone);
        let is_from_the_log = matches!(&said, Said::Rebuilt(rebuilt) if !rebuilt.from_base);
        let _ = say.send(said).await; // whoever has hung up does not want to know
        drop(say);
        if is_from_the_log {
            self.renew_base().await;
        }
    }

    /// Makes a base from the first event, if there is one of an earlier release.
    async fn renew_base(&self) {
        let views = views_named(self.core.model(), self.core.model().name).unwrap_or_default();
        match self.base_of(&views).await {
            Ok(None) => {}
            Ok(Some(_)) => match self.make_base_here(true).await {
                Ok(Based::Kept) => {}
                Ok(based) => tracing::warn!(?based, "the base is not made anew with the view; rebuild it once more"),
                Err(error) => tracing::warn!(%error, "the base is not made anew with the view; rebuild it once more"),
            },
            Err(error) => tracing::warn!(%error, "the base cannot be read"),
        }
    }

    async fn retry_parked(&self) -> (u64, u64) {
        let Some(consumer) = &self.consumer else { return (0, 0) };
        let (done, outcome) = oneshot::channel();
        let told = consumer.tell(Order::Retry { key: None, done }).await;
        let outcome = if told { outcome.await.ok().and_then(Result::ok) } else { None };
        outcome.map_or((0, 0), |(heard, failed)| (heard as u64, failed as u64))
    }

    async fn rebuild(&self, views: &[usize], say: &mpsc::Sender<Said>) -> Result<Gone, RebuildError> {
        let base = self.base_of(views).await?;
        match (self.rebuild_from(None, views, say).await, base) {
            (Err(RebuildError::Bus(BusError::Gone { .. })), Some(base)) => {
                self.rebuild_from(Some(base), views, say).await
            }
            (outcome, _) => outcome,
        }
    }

    async fn rebuild_from(
        &self,
        base: Option<Vec<Place>>,
        views: &[usize],
        say: &mpsc::Sender<Said>,
    ) -> Result<Gone, RebuildError> {
        let mut work = Work::new(self, views, Goal::View, say, &self.known().await?, base.as_deref())?;
        let outcome = self.work_through(views, &mut work).await;
        work.end_storing().await; // nothing may come into the shadow after it is cleared
        outcome.map(|()| Gone { events: work.events, left_out: work.left_out, from_base: base.is_some() })
    }

    async fn work_through(&self, views: &[usize], work: &mut Work<'_>) -> Result<(), RebuildError> {
        clear(&self.core, views, async || work.check_wanted()).await?;
        work.copy_base().await?;
        for _ in 0..FOLD_ROUNDS_MAX {
            let before = work.events;
            work.go_to(&self.known().await?).await?;
            if work.events - before <= FOLD_LAST_EVENTS {
                break;
            }
        }
        work.store(true).await?;
        let held = self.core.hold_commits().await;
        let known = self.known().await?;
        work.go_to(&known).await?;
        work.store(true).await?;
        crash::point("rebuild.before-switch");
        self.core.database().switch_shadows(self.collections(views), known.places).await?;
        crash::point("rebuild.after-switch");
        drop(held);
        Ok(())
    }

    fn collections(&self, views: &[usize]) -> Vec<&'static str> {
        views.iter().map(|view| self.core.model().resources[*view].collection).collect()
    }

    /// The places of the base of these views. None: not all of them have one, and the same.
    async fn base_of(&self, views: &[usize]) -> Result<Option<Vec<Place>>, ReadError> {
        let mut bases = Vec::new();
        for collection in self.collections(views) {
            bases.push(self.core.database().base(collection).await?);
        }
        bases.dedup();
        Ok(if bases.len() == 1 { bases.remove(0) } else { None })
    }

    /// Makes a base of all views, up to where the consumer is, and keeps it. A rebuild that is asked for goes before: then
    /// this is given up.
    pub(crate) async fn make_base(&self) -> Result<Based, RebuildError> {
        let rebuilds = self.clone();
        let runtime = Handle::current();
        let made = tokio::task::spawn_blocking(move || runtime.block_on(rebuilds.make_base_here(false))).await;
        made.map_err(|error| RebuildError::Defect(error.to_string()))?
    }

    async fn make_base_here(&self, is_anew: bool) -> Result<Based, RebuildError> {
        let Ok(_shadows) = self.shadows.try_lock() else { return Ok(Based::InTheWay) };
        let views = views_named(self.core.model(), self.core.model().name)?;
        let known = self.known().await?;
        if known.is_parked {
            return Ok(Based::Parked);
        }
        let base = if is_anew { None } else { self.base_of(&views).await? };
        let (say, _heard) = mpsc::channel(1);
        let mut work = Work::new(self, &views, Goal::Base, &say, &known, base.as_deref())?;
        let outcome = self.keep_base(&views, &known, &mut work).await;
        work.end_storing().await;
        // What is the shadow now: the base before it, or half of a new one.
        if let Err(error) = clear(&self.core, &views, async || Ok(())).await {
            tracing::debug!(%error, "what is left of a base is cleared later");
        }
        match outcome {
            Ok(()) => Ok(Based::Kept),
            Err(RebuildError::GivenUp) => Ok(Based::InTheWay),
            Err(error) => Err(error),
        }
    }

    async fn keep_base(&self, views: &[usize], known: &Known, work: &mut Work<'_>) -> Result<(), RebuildError> {
        clear(&self.core, views, async || work.check_wanted()).await?;
        work.copy_base().await?;
        work.go_to(known).await?;
        work.store(true).await?;
        crash::point("base.before-kept");
        self.core.database().keep_bases(self.collections(views), work.reached()).await?;
        crash::point("base.after-kept");
        tracing::info!(events = work.events, "a new base of the views is kept");
        Ok(())
    }

    /// The places first: what is parked up to them is then among what is parked.
    async fn known(&self) -> Result<Known, RebuildError> {
        let places = self.core.database().places().await?;
        let mut known = Known { places, left_out: HashSet::new(), is_parked: false };
        if self.consumer.is_some() {
            known.read_parked(self.core.database().as_ref()).await?;
        }
        Ok(known)
    }
}

/// What a rebuild went through.
struct Gone {
    events: u64,
    left_out: u64,
    from_base: bool,
}

/// Up to where events are to be folded, and which of them are not.
struct Known {
    places: Vec<Place>,
    /// Events that are parked or were discarded.
    left_out: HashSet<Name>,
    /// Whether any is parked.
    is_parked: bool,
}

/// An event by its source, partition and number.
type Name = (String, u16, u64);

impl Known {
    async fn read_parked(&mut self, database: &dyn ReadDatabase) -> Result<(), ReadError> {
        let mut after = i64::MIN;
        loop {
            let documents = database.scan(consumer::PARKED, after, PAGE_MAX_ROWS).await?;
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

async fn clear(
    core: &Core,
    views: &[usize],
    go_on: impl AsyncFn() -> Result<(), RebuildError>,
) -> Result<(), RebuildError> {
    for view in views {
        while !core.database().clear_shadow(core.model().resources[*view].collection).await? {
            go_on().await?;
        }
    }
    Ok(())
}

/// One source.
struct Feed {
    service: String,
    epoch: Option<Uuid>,
    subscription: Box<dyn Subscription>,
    /// By partition.
    partitions: Vec<FeedPartition>,
}

struct FeedPartition {
    /// The last number that was taken out of the queue.
    done: u64,
    /// The last number that was put into it.
    read: u64,
    /// Up to where to go.
    target: u64,
    queue: VecDeque<Event>,
}

/// An event in a queue.
struct Event {
    sequence: u64,
    time_ms: i64,
    /// Type and body; None where no view is concerned.
    content: Option<(String, String)>,
}

/// A view in the making.
struct Rows {
    collection: &'static str,
    folding: Box<dyn Folding>,
    /// Of the events that were taken into the batch, their places in it.
    taken: Vec<usize>,
    /// The largest id that was stored: what is beyond it is not in the shadow.
    stored_to: i64,
}

struct Work<'a> {
    rebuilds: &'a Rebuilds,
    goal: Goal,
    /// Whether it begins with the base.
    from_base: bool,
    say: &'a mpsc::Sender<Said>,
    feeds: Vec<Feed>,
    own: String,
    wanted: BTreeSet<String>,
    rows: Vec<Rows>,
    /// Bytes that the rows at hand may have, roughly.
    bytes: usize,
    storing: Option<JoinHandle<Result<(), CommitError>>>,
    /// See the module: versions of rows are counted by ones, this is time.
    version: u64,
    events: u64,
    left_out: u64,
    began: Instant,
    said: Instant,
}

impl<'a> Work<'a> {
    fn new(
        rebuilds: &'a Rebuilds,
        views: &[usize],
        goal: Goal,
        say: &'a mpsc::Sender<Said>,
        known: &Known,
        base: Option<&[Place]>,
    ) -> Result<Self, RebuildError> {
        let core = &rebuilds.core;
        let model = core.model();
        let folds = || views.iter().filter_map(|view| model.resources[*view].folds.as_ref()).flatten();
        let wanted: BTreeSet<_> = folds().map(|event| event.name.to_owned()).collect();
        let sources: BTreeSet<_> = folds().map(|event| event.source.to_owned()).collect();
        let identity = core.database().identity();
        let partitions = identity.partitions;
        let epoch_of = |service: &str| {
            let place = known.places.iter().find(|place| place.source == service);
            place.map(|place| place.epoch).or((service == model.name).then_some(identity.epoch))
        };
        let in_base = |service: &str, partition: u16| {
            let mut places = base.unwrap_or_default().iter();
            places
                .find(|place| place.source == service && place.partition == partition)
                .map_or(0, |place| place.sequence)
        };
        let feeds = sources.into_iter().map(|service| {
            let epoch = epoch_of(&service);
            let positions: Vec<_> = (0..partitions)
                .map(|partition| Position {
                    service: service.clone(),
                    partition,
                    epoch,
                    sequence: in_base(&service, partition),
                })
                .collect();
            let subscription = rebuilds.bus.subscribe(&positions, Wants::Only(wanted.clone()))?;
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
            rebuilds,
            goal,
            from_base: base.is_some(),
            say,
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
            said: now,
        })
    }

    fn database(&self) -> &Arc<dyn Database> {
        self.rebuilds.core.database()
    }

    fn check_wanted(&self) -> Result<(), RebuildError> {
        let is_over = self.say.is_closed()
            || self.rebuilds.core.stopping().is_cancelled()
            || (self.goal == Goal::Base && self.rebuilds.is_wanted.load(Ordering::Relaxed));
        if is_over { Err(RebuildError::GivenUp) } else { Ok(()) }
    }

    fn say(&mut self) {
        if self.said.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.said = Instant::now();
        let left: u64 =
            self.partitions().map(|(_, _, partition)| partition.target.saturating_sub(partition.done)).sum();
        let micros = self.began.elapsed().as_micros().max(1);
        let rate = u64::try_from(u128::from(self.events) * 1_000_000 / micros).unwrap_or_default();
        let progress = Progress { events: self.events, of: self.events + left, rate };
        let _ = self.say.try_send(Said::Progress(progress)); // a listener that is slow misses some
    }

    fn partitions(&self) -> impl Iterator<Item = (usize, usize, &FeedPartition)> {
        self.feeds.iter().enumerate().flat_map(|(feed, from)| {
            from.partitions.iter().enumerate().map(move |(nth, partition)| (feed, nth, partition))
        })
    }

    /// Puts the rows of the base into the shadow, where it begins with that. With versions of now: the same base may be
    /// switched in more than once, and its rows be changed in between.
    async fn copy_base(&mut self) -> Result<(), RebuildError> {
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

    /// The places that the rows are made of.
    fn reached(&self) -> Vec<Place> {
        let reached = self.partitions().filter_map(|(feed, nth, partition)| {
            let Feed { service, epoch, .. } = &self.feeds[feed];
            let place = Place {
                source: service.clone(),
                partition: u16::try_from(nth).unwrap_or(u16::MAX),
                epoch: (*epoch)?,
                sequence: partition.done,
            };
            (place.sequence > 0).then_some(place)
        });
        reached.collect()
    }

    /// Folds everything up to these places, and all own events.
    async fn go_to(&mut self, known: &Known) -> Result<(), RebuildError> {
        for feed in &mut self.feeds {
            for (nth, partition) in feed.partitions.iter_mut().enumerate() {
                let place = known
                    .places
                    .iter()
                    .find(|place| place.source == feed.service && usize::from(place.partition) == nth);
                partition.target = if feed.service == self.own {
                    last_own(self.rebuilds.core.database().as_ref(), nth, partition.target).await?
                } else {
                    place.map_or(0, |place| place.sequence).max(partition.target)
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
            self.say();
        }
    }

    /// The next events, the oldest of all sources first: so the events of one order come close together, and its row is
    /// mostly at hand.
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

    /// Puts something into the queue of a partition that has not come to its target.
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
                // What the relay has not brought onto the bus yet.
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
                tokio::time::sleep(crate::limits::IDLE_PAUSE).await;
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
            self.fine(&batch, nth, taken)?;
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
            rows.folding.is_folded();
            self.fine(&batch, nth, folded)?;
        }
        Ok(())
    }

    /// Names the event that the code fails on.
    fn fine(
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

    /// Reads the rows that were stored before and are needed again.
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

    /// Stores rows if there are many at hand, those first that nothing has happened to for a while; or all.
    async fn store(&mut self, all: bool) -> Result<(), RebuildError> {
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
        // One after the other, so that other commits come in between; and beside us, who read on meanwhile.
        self.storing = Some(tokio::spawn(async move {
            for (collection, documents) in portions {
                write(database.as_ref(), goal, collection, documents).await?;
                crash::point("rebuild.after-portion");
            }
            Ok(())
        }));
        if all { self.wait_until_stored().await } else { Ok(()) }
    }

    async fn end_storing(&mut self) {
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

impl FeedPartition {
    const fn after(sequence: u64) -> Self {
        Self { done: sequence, read: sequence, target: sequence, queue: VecDeque::new() }
    }

    fn put(&mut self, service: &str, partition: u16, event: Event) -> Result<(), RebuildError> {
        if event.sequence <= self.read {
            return Ok(()); // delivered twice
        }
        if event.sequence > self.read + 1 {
            let (service, after, found) = (service.to_owned(), self.read, event.sequence);
            return Err(BusError::Gap { service, partition, after, found }.into());
        }
        self.read = event.sequence;
        self.queue.push_back(event);
        Ok(())
    }
}

/// The last number of an own partition; at least `known`.
async fn last_own(database: &dyn ReadDatabase, partition: usize, known: u64) -> Result<u64, ReadError> {
    let partition = u16::try_from(partition).unwrap_or(u16::MAX);
    let has = async |after: u64| database.journal(partition, after, 1).await.map(|events| !events.is_empty());
    let (mut low, mut step) = (known, 1);
    while has(low + step - 1).await? {
        low += step;
        step *= 2;
    }
    // `low` is there, `low + step` is not.
    while step > 1 {
        step /= 2;
        if has(low + step - 1).await? {
            low += step;
        }
    }
    Ok(low)
}

#[cfg(test)]
pub(crate) mod tests;
