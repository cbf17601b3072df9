//! Retention: deletes segments of a log that are old and that no consumer needs.
//!
//! # Three parts
//!
//! Each service does its own parts at a slow pace. Each part is level-triggered, so it does not matter which process dies
//! when.
//!
//! * **Base.** A service whose views need old events makes a base of its views ([`Rebuilds::make_base`]).
//! * **Release.** Each consumer publishes, next to the log, the offset below which it needs nothing: it has applied these
//!   events, and the base of each of its views contains them. It publishes the offset after the commit that it reflects, so
//!   the offset may lag but never runs ahead.
//! * **Cut.** A source deletes whole segments of its log that are older than the retention time and that no consumer needs.
//!   The consumers are those of the model. One that has published no offset needs everything, so a slow or stopped consumer
//!   loses nothing.
//!
//! # Why the journal is not cut
//!
//! A rebuild reads the last number of its own service there. And a new view without a base needs the whole log, which the
//! relay can fill again only from the journal.

use super::rebuild::{BaseOutcome, RebuildError, Rebuilds};
use crate::{
    core::Core,
    crash,
    limits::{RETENTION_LOOKS, RETENTION_PARTS},
};
use jumun::{ServiceModel, SystemModel};
use jumun_bus::{Bus, BusError, Released};
use jumun_database::{Position, ReadError};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

/// How long a service keeps its log, and for which consumers.
#[derive(Clone)]
pub struct Retention {
    bus: Arc<dyn Bus>,
    kept_for: Duration,
    consumers: BTreeSet<String>,
}

impl fmt::Debug for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bus: _, kept_for, consumers } = self;
        f.debug_struct("Retention").field("kept_for", kept_for).field("consumers", consumers).finish_non_exhaustive()
    }
}

impl Retention {
    /// Keeps events of this service at least this long, and until no consumer in this system needs them.
    pub fn new(system: &SystemModel, service: &ServiceModel, bus: Arc<dyn Bus>, kept_for: Duration) -> Self {
        let needs = |consumer: &&ServiceModel| sources(consumer).contains(service.name);
        let consumers = system.services.iter().filter(needs).map(|consumer| consumer.name.to_owned()).collect();
        Self { bus, kept_for, consumers }
    }

    /// The longest time that one segment of the log may span, so that retention deletes segments at a steady pace.
    pub fn part_max_age(kept_for: Duration) -> Duration {
        kept_for / RETENTION_PARTS
    }

    /// Starts the worker. It runs until the service is drained.
    pub(crate) fn start(self, core: &Core, rebuilds: &Rebuilds) {
        let (least, most) = RETENTION_LOOKS;
        let pace = Self::part_max_age(self.kept_for).clamp(least, most);
        let keeper = Keeper::new(self, core, rebuilds);
        core.spawn_worker(async move {
            loop {
                keeper.look().await;
                tokio::time::sleep(pace).await;
            }
        });
    }
}

/// The sources whose logs a service needs: those that it listens to, and those that its views fold.
fn sources(service: &ServiceModel) -> BTreeSet<&'static str> {
    let folded = service.resources.iter().filter_map(|resource| resource.folds()).flatten();
    service.listens.iter().chain(folded).map(|event| event.source).collect()
}

/// Why a part is not done yet. The next round tries it again.
#[derive(Debug, thiserror::Error)]
enum Delay {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Database(#[from] ReadError),
    #[error("the service cannot make a base of its views: {0}")]
    Base(#[from] RebuildError),
    #[error("it has failed: {0}")]
    Defect(String),
}

struct Keeper {
    retention: Retention,
    core: Core,
    rebuilds: Rebuilds,
    sources: BTreeSet<&'static str>,
}

impl Keeper {
    fn new(retention: Retention, core: &Core, rebuilds: &Rebuilds) -> Self {
        let sources = sources(core.model());
        Self { retention, core: core.clone(), rebuilds: rebuilds.clone(), sources }
    }

    /// Does all parts. A part that fails does not prevent the others.
    async fn look(&self) {
        let parts = [self.make_base().await, self.release().await, self.cut().await];
        for delay in parts.into_iter().filter_map(Result::err) {
            tracing::warn!(%delay, "a log is not cut yet");
        }
    }

    /// Makes a new base if that releases a segment past the retention time.
    async fn make_base(&self) -> Result<(), Delay> {
        let needs = self.needs().await?;
        let since_ms = self.since_ms();
        let mut is_of_use = false;
        for (source, need) in needs {
            let Some(Need { now, with_new_base }) = need.filter(|need| need.now != need.with_new_base) else {
                continue;
            };
            let keep_from = self.on_disk(move |bus| bus.keep_since(source, since_ms)).await?;
            let positions = now.up_to.iter().zip(&with_new_base.up_to);
            is_of_use |= positions.zip(keep_from).any(|((now, then), keep_from)| now + 1 < keep_from && now < then);
        }
        if !is_of_use {
            return Ok(());
        }
        match self.rebuilds.make_base().await? {
            BaseOutcome::Kept | BaseOutcome::InTheWay => {}
            BaseOutcome::Parked => {
                tracing::warn!("the log is not cut: events are parked, and the views need it until they are applied");
            }
        }
        Ok(())
    }

    /// Publishes the offsets below which this service needs nothing, where they changed.
    async fn release(&self) -> Result<(), Delay> {
        for (source, need) in self.needs().await? {
            let Some(Need { now, .. }) = need else { continue };
            let consumer = self.core.model().name;
            let is_news = self.on_disk(move |bus| {
                // An offset that cannot be read is written again.
                let is_news = bus.released(source, consumer).ok().flatten().as_ref() != Some(&now);
                if is_news { bus.release(source, consumer, &now).map(|()| true) } else { Ok(false) }
            });
            if is_news.await? {
                crash::point("retention.after-release");
            }
        }
        Ok(())
    }

    /// Deletes segments that are old and that no consumer needs.
    async fn cut(&self) -> Result<(), Delay> {
        let model = self.core.model();
        if model.publishes.is_empty() {
            return Ok(());
        }
        let (service, since_ms, consumers) = (model.name, self.since_ms(), self.retention.consumers.clone());
        let segments = self.on_disk(move |bus| bus.retain_since(service, since_ms, &consumers)).await?;
        if segments > 0 {
            crash::point("retention.after-cut");
            tracing::info!(segments, "old segments of the log are deleted");
        }
        Ok(())
    }

    fn since_ms(&self) -> i64 {
        let kept_ms = i64::try_from(self.retention.kept_for.as_millis()).unwrap_or(i64::MAX);
        self.core.now().as_millisecond().saturating_sub(kept_ms)
    }

    /// What this service needs of each source; `None`: it has no position in that log yet.
    async fn needs(&self) -> Result<BTreeMap<&'static str, Option<Need>>, ReadError> {
        let (model, database) = (self.core.model(), self.core.database());
        let positions = database.positions().await?;
        let mut bases = Vec::new();
        for view in model.resources.iter().filter(|resource| resource.is_view) {
            bases.push((view, database.base(view.collection).await?.unwrap_or_default()));
        }
        let identity = database.identity();
        let need = |source: &'static str| {
            let epoch = if source == model.name {
                Some(identity.epoch)
            } else {
                positions.iter().find(|position| position.source == source).map(|position| position.epoch)
            }?;
            let in_positions = |positions: &[Position], partition: u16| {
                let is_it = |position: &&Position| {
                    position.source == source && position.partition == partition && position.epoch == epoch
                };
                positions.iter().find(is_it).map_or(0, |position| position.sequence)
            };
            let (mut now, mut with_new_base) = (Vec::new(), Vec::new());
            for partition in 0..identity.partitions {
                // It has no positions in its own log: its journal has all that it committed.
                let heard = if source == model.name { u64::MAX } else { in_positions(&positions, partition) };
                let folding = bases.iter().filter(|(view, _)| folds(view, source));
                now.push(folding.map(|(_, base)| in_positions(base, partition)).fold(heard, u64::min));
                with_new_base.push(heard);
            }
            let released = |up_to| Released { epoch, up_to };
            Some(Need { now: released(now), with_new_base: released(with_new_base) })
        };
        Ok(self.sources.iter().map(|source| (*source, need(source))).collect())
    }

    /// Runs work that blocks on the disk on a thread of its own.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Bus) -> Result<T, BusError> + Send + 'static,
    ) -> Result<T, Delay> {
        let bus = self.retention.bus.clone();
        let done = tokio::task::spawn_blocking(move || work(bus.as_ref())).await;
        Ok(done.map_err(|error| Delay::Defect(error.to_string()))??)
    }
}

/// The offsets of one source below which this service needs nothing.
struct Need {
    now: Released,
    /// The same if all views had a base of now.
    with_new_base: Released,
}

fn folds(view: &jumun::ResourceModel, source: &str) -> bool {
    view.folds().into_iter().flatten().any(|event| event.source == source)
}

#[cfg(test)]
mod tests;
