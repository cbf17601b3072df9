//! Making views anew: folds the log from its first event into a second set of rows, then lets that replace the
//! first, while everything goes on.
//!
//! What holds, and why:
//!
//! * The new rows are what the log says up to the consumer's positions, no more and no less. The rebuild never goes beyond
//!   the positions. When it is close to them it holds all commits for a moment (the consumer's, and those of commands, whose
//!   events a view may be made of), goes to the very positions, and switches; the switch compares the positions once more.
//! * A step that read an old row cannot write over a new one: versions of new rows begin where no version has counted to,
//!   so that the step's commit is a conflict and it reads again.
//! * Parked and discarded events have no effect on the new rows, as they had none on the old ones. An event is parked in
//!   the commit that moves the position beyond it, so what is parked up to the positions is known before it is folded; and
//!   nothing that is parked is heard or forgotten until the rebuild has ended (`Consumer::keep_parked`). Then
//!   everything parked is heard again: what failed on a damaged row does not fail any more.
//! * Where the log is not kept whole, there is a base: rows as the log said them up to some positions, with these positions. It
//!   is made as new rows are, from the base before it or from the first event, and kept instead of switched in; never of
//!   the rows that are there, which may be damaged, and not while something is parked, as it would lack that for ever. A
//!   rebuild begins with the first event if it is there, as what is in the base was made by the release that made it, and
//!   otherwise with the base. One from the first event is followed by a base from the first event.
//! * Whatever ends it before the switch leaves the old rows as they were, and a shadow that nobody sees. The next start,
//!   and the next rebuild, clear it.
//!
//! It runs on a thread of its own, with a writer that takes its rows in small portions between other commits: requests
//! are answered meanwhile.

mod error;
mod feed;
mod fold;

pub use error::RebuildError;

use super::consumer::{Consumer, Instruction};
use crate::{
    core::Core,
    crash,
    limits::{DATABASE_PAUSE, FOLD_LAST_EVENTS, FOLD_ROUNDS_MAX},
};
use fold::{Goal, Known, Scope, Work};
use jumun::ServiceModel;
use jumun_bus::{Bus, BusError};
use jumun_control::{RebuildReport, RebuildStats, limits::REPORTS_WAITING_MAX};
use jumun_database::{Position, ReadError};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    runtime::Handle,
    sync::{Mutex, OwnedMutexGuard, mpsc, oneshot},
    time::Instant,
};

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
    let meant: Vec<_> = meant.map(|(position, _)| position).collect();
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
    pub(crate) fn begin(&self, wanted: &str) -> Result<mpsc::Receiver<RebuildReport>, RebuildError> {
        let views = views_named(self.core.model(), wanted)?;
        let alone = self.at_work.clone().try_lock_owned().map_err(|_| RebuildError::AtWork)?;
        self.is_wanted.store(true, Ordering::Relaxed);
        let (say, heard) = mpsc::channel(REPORTS_WAITING_MAX);
        let rebuilds = self.clone();
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(rebuilds.see_through(views, say, alone)));
        Ok(heard)
    }

    async fn see_through(self, views: Vec<usize>, say: mpsc::Sender<RebuildReport>, alone: OwnedMutexGuard<()>) {
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
        let report = match outcome {
            Ok(Gone { events, left_out, from_base }) => {
                let (parked_heard, parked_failed) = self.retry_parked().await;
                let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                let resources = &self.core.model().resources;
                let views = views.iter().map(|view| resources[*view].collection.to_owned()).collect();
                tracing::info!(?views, events, left_out, from_base, took_ms, "views are rebuilt");
                RebuildReport::Done(RebuildStats {
                    views,
                    events,
                    left_out,
                    took_ms,
                    parked_heard,
                    parked_failed,
                    from_base,
                })
            }
            Err(error) => {
                tracing::warn!(%error, code = error.code(), "a rebuild is given up; the rows are as they were");
                error.into()
            }
        };
        self.is_wanted.store(false, Ordering::Relaxed);
        drop(alone);
        let is_from_the_log = matches!(&report, RebuildReport::Done(stats) if !stats.from_base);
        let _ = say.send(report).await; // the operator may have hung up
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
        let is_taken = consumer.instruct(Instruction::Retry { key: None, done }).await;
        let outcome = if is_taken { outcome.await.ok().and_then(Result::ok) } else { None };
        outcome.map_or((0, 0), |(heard, failed)| (heard as u64, failed as u64))
    }

    async fn rebuild(&self, views: &[usize], say: &mpsc::Sender<RebuildReport>) -> Result<Gone, RebuildError> {
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
        base: Option<Vec<Position>>,
        views: &[usize],
        say: &mpsc::Sender<RebuildReport>,
    ) -> Result<Gone, RebuildError> {
        let scope = Scope { views, goal: Goal::View, base: base.as_deref() };
        let mut work = self.work(say, &scope, &self.known().await?)?;
        let outcome = self.work_through(views, &mut work).await;
        work.end_storing().await; // nothing may come into the shadow after it is cleared
        outcome.map(|()| Gone { events: work.events, left_out: work.left_out, from_base: base.is_some() })
    }

    fn work<'a>(
        &'a self,
        say: &'a mpsc::Sender<RebuildReport>,
        scope: &Scope<'_>,
        known: &Known,
    ) -> Result<Work<'a>, RebuildError> {
        Work::new(&self.core, self.bus.as_ref(), &self.is_wanted, say, scope, known)
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
        self.core.database().switch_shadows(self.collections(views), known.positions).await?;
        crash::point("rebuild.after-switch");
        drop(held);
        Ok(())
    }

    fn collections(&self, views: &[usize]) -> Vec<&'static str> {
        views.iter().map(|view| self.core.model().resources[*view].collection).collect()
    }

    /// The positions of the base of these views. None: not all of them have one, and the same.
    async fn base_of(&self, views: &[usize]) -> Result<Option<Vec<Position>>, ReadError> {
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
        let scope = Scope { views: &views, goal: Goal::Base, base: base.as_deref() };
        let mut work = self.work(&say, &scope, &known)?;
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

    /// The positions first: what is parked up to them is then among what is parked.
    async fn known(&self) -> Result<Known, RebuildError> {
        let positions = self.core.database().positions().await?;
        let mut known = Known { positions, left_out: HashSet::new(), is_parked: false };
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

#[cfg(test)]
pub(crate) mod tests;
