//! Rebuilding views: folds the log from its first event into a second set of rows, the *shadow*, then switches it with the
//! first set. The service goes on meanwhile.
//!
//! # The new rows are exactly what the log contains up to the consumer's positions
//!
//! The rebuild never folds beyond the positions. When it is close to them it blocks all commits for a moment: the consumer's,
//! and those of commands, whose events a view may fold. It folds up to the positions and switches. The switch compares the
//! positions once more.
//!
//! # No step writes an old row over a new one
//!
//! The versions of new rows begin above every version that a row has ever had. So the commit of a step that read an old row
//! is a conflict, and the step reads again.
//!
//! # Parked events
//!
//! Parked and discarded events have no effect on the new rows, as they had none on the old ones. An event is parked in the
//! commit that moves the position beyond it, so the rebuild knows the parked events up to the positions before it folds. No
//! parked event is applied or discarded until the rebuild has ended (`Consumer::keep_parked`). Then the consumer applies all
//! parked events again: an event that failed on a damaged row does not fail any more.
//!
//! # Bases
//!
//! Where retention has cut the log, there is a base: rows that contain the log up to some positions, with these positions.
//!
//! * A base is made like new rows, from the base before it or from the first event, and is kept instead of switched in.
//! * It is never made from the present rows, which may be damaged, and not while an event is parked, which it would lack
//!   forever.
//! * A rebuild begins with the first event if the log still has it, because an earlier release may have made the base.
//!   Otherwise it begins with the base. After a rebuild from the first event, the base is made again from the first event.
//!
//! # A rebuild that does not end
//!
//! Until the switch the old rows are unchanged, and no read sees the shadow. The next start and the next rebuild clear it.
//!
//! # Requests go on
//!
//! A rebuild runs on a thread of its own. The writer takes its rows in small portions between other commits.

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

/// The outcome of making a base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BaseOutcome {
    /// The base is kept.
    Kept,
    /// A rebuild is in progress, or the rest of one is being cleared.
    InTheWay,
    /// Events are parked that the base would lack.
    Parked,
}

/// Rebuilds the views of one service.
#[derive(Clone)]
pub(crate) struct Rebuilds {
    core: Core,
    bus: Arc<dyn Bus>,
    consumer: Option<Consumer>,
    in_progress: Arc<Mutex<()>>,
    /// Held while shadows are cleared or filled.
    shadows: Arc<Mutex<()>>,
    /// Whether a rebuild is in progress or about to begin: a base gives way to it.
    is_wanted: Arc<AtomicBool>,
}

/// The views of a service, by their index among its resources: the view with this name, or all views for the name of the
/// service.
pub fn views_named(service: &ServiceModel, wanted: &str) -> Result<Vec<usize>, RebuildError> {
    let views = || service.resources.iter().enumerate().filter(|(_, resource)| resource.is_view);
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
    /// Also clears the shadow of an earlier rebuild that did not end.
    pub(crate) fn start(core: &Core, bus: Arc<dyn Bus>, consumer: Option<Consumer>) -> Self {
        let rebuilds = Self {
            core: core.clone(),
            bus,
            consumer,
            in_progress: Arc::default(),
            shadows: Arc::default(),
            is_wanted: Arc::default(),
        };
        let clearing = rebuilds.clone();
        core.spawn_worker(async move {
            let _shadows = clearing.shadows.lock().await;
            let views = views_named(clearing.core.model(), clearing.core.model().name).unwrap_or_default();
            while let Err(error) = clear(&clearing.core, &views, async || Ok(())).await {
                tracing::debug!(%error, "the shadow of an earlier rebuild cannot be cleared yet");
                tokio::time::sleep(DATABASE_PAUSE).await;
            }
        });
        rebuilds
    }

    /// Begins to rebuild these views. The receiver gets reports of the progress, and at last the outcome. Dropping it gives the
    /// rebuild up.
    pub(crate) fn begin(&self, wanted: &str) -> Result<mpsc::Receiver<RebuildReport>, RebuildError> {
        let views = views_named(self.core.model(), wanted)?;
        let alone = self.in_progress.clone().try_lock_owned().map_err(|_| RebuildError::AtWork)?;
        self.is_wanted.store(true, Ordering::Relaxed);
        let (reports, received) = mpsc::channel(REPORTS_WAITING_MAX);
        let rebuilds = self.clone();
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(rebuilds.run(views, reports, alone)));
        Ok(received)
    }

    async fn run(self, views: Vec<usize>, reports: mpsc::Sender<RebuildReport>, alone: OwnedMutexGuard<()>) {
        let began = Instant::now();
        tracing::info!("a rebuild begins");
        let shadows = self.shadows.lock().await;
        let kept_parked = match &self.consumer {
            Some(consumer) => Some(consumer.keep_parked().await),
            None => None,
        };
        let outcome = self.rebuild(&views, &reports).await;
        // The shadow has the new rows of a rebuild that was given up, or the old rows after a switch.
        if let Err(error) = clear(&self.core, &views, async || Ok(())).await {
            tracing::debug!(%error, "the shadow of a rebuild is cleared later");
        }
        drop((kept_parked, shadows));
        let report = match outcome {
            Ok(Totals { events, left_out, from_base }) => {
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
                tracing::warn!(%error, code = error.code(), "a rebuild is given up; the old rows are unchanged");
                error.into()
            }
        };
        self.is_wanted.store(false, Ordering::Relaxed);
        drop(alone);
        let is_from_the_log = matches!(&report, RebuildReport::Done(stats) if !stats.from_base);
        let _ = reports.send(report).await; // the operator may have hung up
        drop(reports);
        if is_from_the_log {
            self.renew_base().await;
        }
    }

    /// Makes the base again from the first event, if there is one: an earlier release may have made it.
    async fn renew_base(&self) {
        let views = views_named(self.core.model(), self.core.model().name).unwrap_or_default();
        match self.base_of(&views).await {
            Ok(None) => {}
            Ok(Some(_)) => match self.make_base_here(true).await {
                Ok(BaseOutcome::Kept) => {}
                Ok(outcome) => tracing::warn!(?outcome, "the base is not rebuilt; rebuild the view again"),
                Err(error) => tracing::warn!(%error, "the base is not rebuilt; rebuild the view again"),
            },
            Err(error) => tracing::warn!(%error, "the base cannot be read"),
        }
    }

    async fn retry_parked(&self) -> (u64, u64) {
        let Some(consumer) = &self.consumer else { return (0, 0) };
        let (done, outcome) = oneshot::channel();
        let is_taken = consumer.instruct(Instruction::Retry { key: None, done }).await;
        let outcome = if is_taken { outcome.await.ok().and_then(Result::ok) } else { None };
        outcome.map_or((0, 0), |(applied, failed)| (applied as u64, failed as u64))
    }

    async fn rebuild(&self, views: &[usize], reports: &mpsc::Sender<RebuildReport>) -> Result<Totals, RebuildError> {
        let base = self.base_of(views).await?;
        match (self.rebuild_from(None, views, reports).await, base) {
            (Err(RebuildError::Bus(BusError::Gone { .. })), Some(base)) => {
                self.rebuild_from(Some(base), views, reports).await
            }
            (outcome, _) => outcome,
        }
    }

    async fn rebuild_from(
        &self,
        base: Option<Vec<Position>>,
        views: &[usize],
        reports: &mpsc::Sender<RebuildReport>,
    ) -> Result<Totals, RebuildError> {
        let scope = Scope { views, goal: Goal::View, base: base.as_deref() };
        let mut work = self.work(reports, &scope, &self.known().await?)?;
        let outcome = self.fold_and_switch(views, &mut work).await;
        work.end_storing().await; // nothing may come into the shadow after it is cleared
        outcome.map(|()| Totals { events: work.events, left_out: work.left_out, from_base: base.is_some() })
    }

    fn work<'a>(
        &'a self,
        reports: &'a mpsc::Sender<RebuildReport>,
        scope: &Scope<'_>,
        known: &Known,
    ) -> Result<Work<'a>, RebuildError> {
        Work::new(&self.core, self.bus.as_ref(), &self.is_wanted, reports, scope, known)
    }

    async fn fold_and_switch(&self, views: &[usize], work: &mut Work<'_>) -> Result<(), RebuildError> {
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

    /// The positions of the base of these views. `None`: not all of them have a base at the same positions.
    async fn base_of(&self, views: &[usize]) -> Result<Option<Vec<Position>>, ReadError> {
        let mut bases = Vec::new();
        for collection in self.collections(views) {
            bases.push(self.core.database().base(collection).await?);
        }
        bases.dedup();
        Ok(if bases.len() == 1 { bases.remove(0) } else { None })
    }

    /// Makes a base of all views up to the consumer's positions, and keeps it. It gives way to a rebuild.
    pub(crate) async fn make_base(&self) -> Result<BaseOutcome, RebuildError> {
        let rebuilds = self.clone();
        let runtime = Handle::current();
        let made = tokio::task::spawn_blocking(move || runtime.block_on(rebuilds.make_base_here(false))).await;
        made.map_err(|error| RebuildError::Defect(error.to_string()))?
    }

    async fn make_base_here(&self, from_first_event: bool) -> Result<BaseOutcome, RebuildError> {
        let Ok(_shadows) = self.shadows.try_lock() else { return Ok(BaseOutcome::InTheWay) };
        let views = views_named(self.core.model(), self.core.model().name)?;
        let known = self.known().await?;
        if known.is_parked {
            return Ok(BaseOutcome::Parked);
        }
        let base = if from_first_event { None } else { self.base_of(&views).await? };
        let (reports, _open) = mpsc::channel(1);
        let scope = Scope { views: &views, goal: Goal::Base, base: base.as_deref() };
        let mut work = self.work(&reports, &scope, &known)?;
        let outcome = self.keep_base(&views, &known, &mut work).await;
        work.end_storing().await;
        // The shadow has the previous base, or a part of the new one.
        if let Err(error) = clear(&self.core, &views, async || Ok(())).await {
            tracing::debug!(%error, "the shadow of a base is cleared later");
        }
        match outcome {
            Ok(()) => Ok(BaseOutcome::Kept),
            Err(RebuildError::GivenUp) => Ok(BaseOutcome::InTheWay),
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

    /// Reads the positions first: then the parked events include all that are parked up to them.
    async fn known(&self) -> Result<Known, RebuildError> {
        let positions = self.core.database().positions().await?;
        let mut known = Known { positions, left_out: HashSet::new(), is_parked: false };
        if self.consumer.is_some() {
            known.read_parked(self.core.database().as_ref()).await?;
        }
        Ok(known)
    }
}

/// The totals of a rebuild.
struct Totals {
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
