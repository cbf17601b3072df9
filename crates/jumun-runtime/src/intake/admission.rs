//! Admission: a service takes no more requests at once than it can complete in time. A bounded number of commands is in
//! progress, a bounded number queues, first come first served, each for a bounded time. The service refuses all others at
//! once, before any of their work is done.
//!
//! # Why the wait is bounded
//!
//! A queue that grows makes all requests late, also those that would have been in time. With a bound, a service that gets ten
//! times the requests that it can do still does what it can, and refuses the others within a millisecond.
//!
//! # What needs no permit
//!
//! Reads have permits of their own, so that a flood of lists does not starve orders, nor the other way round. Commands that
//! end things need no permit, because they reduce work. Undoing, health and operator calls never pass admission. The number of
//! connections bounds all of these.
//!
//! Sources: D. Yanacek, *Using load shedding to avoid overload* (Amazon Builders' Library); *Site Reliability Engineering*,
//! chapter 21, *Handling Overload*.

use crate::limits::{COMMAND_WAIT_MAX, COMMANDS_MAX, COMMANDS_WAITING_MAX, READS_MAX, RETRY_AFTER_MAX};
use jumun_config::{Invalid, Section, check, section};
use jumun_guard::Capacity;
use jumun_http::{Code, Problem, Shed, Shedding};
use jumun_telemetry::AdmissionMetrics;
use prometheus_client::{metrics::counter::Counter, registry::Registry};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

section! {
    /// How much a service takes at once.
    #[derive(Copy, Eq)]
    pub struct AdmissionConfig {
        /// Commands in progress at once, their asks included.
        pub max_concurrent: u32 = COMMANDS_MAX,
        /// Commands that queue for a permit, and as many reads. Requests over the limit get 503.
        pub max_waiting: u32 = COMMANDS_WAITING_MAX,
        /// How long a request queues. `0s`: the service refuses it at once.
        pub max_wait: Duration = COMMAND_WAIT_MAX,
        /// Reads of resources in progress at once.
        pub max_reads: u32 = READS_MAX,
    }
}

impl Section for AdmissionConfig {
    fn check(&self) -> Result<(), Invalid> {
        check::at_least("max_concurrent", &self.max_concurrent, &1)?;
        check::at_least("max_reads", &self.max_reads, &1)
    }
}

/// Admits commands and reads.
#[derive(Debug)]
pub(crate) struct Admission {
    commands: Arc<Gate>,
    reads: Arc<Gate>,
    shed: Shed,
    metrics: AdmissionMetrics,
    shedding: Shedding,
}

/// The permits of one kind, and the queue for them.
#[derive(Debug)]
struct Gate {
    what: &'static str,
    places: Arc<Semaphore>,
    width: u32,
    max_waiting: u32,
    max_wait: Duration,
    waiting: AtomicU32,
    /// How long a request holds a permit, in nanoseconds: a moving average, 0 until the first request has ended.
    takes_ns: AtomicU64,
    /// By the index in [`Reason::ALL`].
    shed: [Counter; 3],
}

/// The right to be in progress; released when dropped.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once is released at once"]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    since: Instant,
    _place: OwnedSemaphorePermit,
    _fault: Option<OwnedSemaphorePermit>,
}

/// Fewer permits than configured, for a drill. A caller that queues when they are closed goes on without one.
#[derive(Debug, Clone)]
pub(crate) struct FaultLimit {
    pub(crate) places: Arc<Semaphore>,
    pub(crate) width: u32,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The queue is full.
    Full,
    /// It queued as long as it may.
    Waited,
    /// Its caller would no longer wait for the answer.
    Expired,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Full, Self::Waited, Self::Expired];

    const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Waited => "waited",
            Self::Expired => "expired",
        }
    }
}

/// Counts one queued request until dropped.
struct Waiting<'a>(&'a AtomicU32);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Admission {
    pub(crate) fn new(config: AdmissionConfig, shed: Shed) -> Self {
        let metrics = AdmissionMetrics::default();
        let gate = |what, width| {
            let counters = Reason::ALL.map(|reason| metrics.shed(what, reason.word()));
            Arc::new(Gate::new(what, width, &config, counters))
        };
        let (commands, reads) = (gate("commands", config.max_concurrent), gate("reads", config.max_reads));
        Self { commands, reads, shed, metrics, shedding: Shedding::default() }
    }

    /// A permit for a command. `left`: how long the caller still waits, if it is an ask. `None`: the command needs no permit.
    pub(crate) async fn command(
        &self,
        is_ending: bool,
        left: Option<Duration>,
        fault_limit: Option<FaultLimit>,
    ) -> Result<Option<Permit>, Problem> {
        if is_ending && self.shed == Shed::New {
            return Ok(None);
        }
        self.enter(&self.commands, left, fault_limit).await.map(Some)
    }

    /// A permit for a read.
    pub(crate) async fn read(&self) -> Result<Permit, Problem> {
        self.enter(&self.reads, None, None).await
    }

    async fn enter(
        &self,
        gate: &Arc<Gate>,
        left: Option<Duration>,
        fault_limit: Option<FaultLimit>,
    ) -> Result<Permit, Problem> {
        gate.enter(left, fault_limit).await.map_err(|(reason, turn)| {
            gate.shed[reason as usize].inc();
            self.shedding.one_more(gate.what, reason.word());
            overloaded(gate.what, reason, turn)
        })
    }

    /// How many commands may be in progress at once, and how many queue.
    pub(crate) fn capacity(&self, fault_limit: Option<&FaultLimit>) -> Capacity {
        Capacity { places: self.commands.places(fault_limit), queue: self.commands.waiting.load(Relaxed) }
    }

    /// How many requests were refused since the last call. To be called once a second.
    pub(crate) fn look(&self) -> u64 {
        self.shedding.look()
    }

    /// The present state, for the health page.
    pub(crate) fn status(&self) -> Value {
        let status = |gate: &Gate| {
            let [full, waited, expired] = Reason::ALL.map(|reason| gate.shed[reason as usize].get());
            json!({
                "atWork": gate.at_work(),
                "waiting": gate.waiting.load(Relaxed),
                "maxConcurrent": gate.width,
                "takesMs": gate.takes().as_secs_f64() * 1e3,
                "shed": full + waited + expired,
            })
        };
        json!({ "commands": status(&self.commands), "reads": status(&self.reads), "isShedding": self.shedding.is_on() })
    }

    /// Sets the gauges to the present state.
    pub(crate) fn set_metrics(&self) {
        for gate in [&self.commands, &self.reads] {
            self.metrics.set(gate.what, gate.at_work(), gate.waiting.load(Relaxed));
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }
}

fn overloaded(what: &str, reason: Reason, turn: Duration) -> Problem {
    let why = match reason {
        Reason::Full => "the queue is full",
        Reason::Waited => "no place became free in time",
        Reason::Expired => "there is no time left to wait for a place",
    };
    let again = "Nothing was done for this request; try again later, with the same Idempotency-Key if there was one.";
    let detail = format!("The service has too many {what}: {why}. {again}");
    Problem { wait: Some(turn.min(RETRY_AFTER_MAX)), ..Problem::new(Code::Overloaded, detail) }
}

impl Gate {
    fn new(what: &'static str, width: u32, config: &AdmissionConfig, shed: [Counter; 3]) -> Self {
        let places = usize::try_from(width).map_or(Semaphore::MAX_PERMITS, |width| width.min(Semaphore::MAX_PERMITS));
        Self {
            what,
            places: Arc::new(Semaphore::new(places)),
            width,
            max_waiting: config.max_waiting,
            max_wait: config.max_wait,
            waiting: AtomicU32::new(0),
            takes_ns: AtomicU64::new(0),
            shed,
        }
    }

    /// A permit, at once or after a wait; or why not, and the estimated wait of the next caller.
    async fn enter(
        self: &Arc<Self>,
        left: Option<Duration>,
        fault_limit: Option<FaultLimit>,
    ) -> Result<Permit, (Reason, Duration)> {
        if let Some(place) = self.try_enter(fault_limit.as_ref()) {
            return Ok(place); // even with too little time left: with nothing in progress nothing would be measured again
        }
        let turn = self.turn_in(fault_limit.as_ref());
        if left.is_some_and(|left| turn + self.takes() > left) {
            return Err((Reason::Expired, turn));
        }
        let waiting = Waiting(&self.waiting);
        if waiting.0.fetch_add(1, Relaxed) >= self.max_waiting {
            return Err((Reason::Full, turn));
        }
        let (limit, reason) = match left {
            Some(left) if left < self.max_wait => (left, Reason::Expired),
            _ => (self.max_wait, Reason::Waited),
        };
        let place = tokio::time::timeout(limit, self.wait(fault_limit.as_ref())).await;
        drop(waiting);
        place.ok().flatten().ok_or_else(|| (reason, self.turn_in(fault_limit.as_ref())))
    }

    /// A permit without queueing. If one is free the queue is empty: released permits go to waiters first.
    fn try_enter(self: &Arc<Self>, fault_limit: Option<&FaultLimit>) -> Option<Permit> {
        let fault_permit = match fault_limit.filter(|fault_limit| !fault_limit.places.is_closed()) {
            Some(fault_limit) => Some(fault_limit.places.clone().try_acquire_owned().ok()?),
            None => None,
        };
        let permit = self.places.clone().try_acquire_owned().ok()?;
        Some(Permit { gate: self.clone(), since: Instant::now(), _place: permit, _fault: fault_permit })
    }

    /// Waits for a permit of the fault limit first, so that a caller without one does not hold a permit of the gate.
    async fn wait(self: &Arc<Self>, fault_limit: Option<&FaultLimit>) -> Option<Permit> {
        let fault_permit = match fault_limit {
            Some(fault_limit) => fault_limit.places.clone().acquire_owned().await.ok(),
            None => None,
        };
        let permit = self.places.clone().acquire_owned().await.ok()?;
        Some(Permit { gate: self.clone(), since: Instant::now(), _place: permit, _fault: fault_permit })
    }

    /// How long a request holds a permit, on average.
    fn takes(&self) -> Duration {
        Duration::from_nanos(self.takes_ns.load(Relaxed))
    }

    /// Estimated wait of a caller that queues now.
    fn turn_in(&self, fault_limit: Option<&FaultLimit>) -> Duration {
        let before = self.waiting.load(Relaxed).saturating_add(1);
        self.takes().saturating_mul(before) / self.places(fault_limit)
    }

    /// How many permits there are, at least 1.
    fn places(&self, fault_limit: Option<&FaultLimit>) -> u32 {
        fault_limit.map_or(self.width, |fault_limit| fault_limit.width.min(self.width)).max(1)
    }

    fn at_work(&self) -> u32 {
        self.width.saturating_sub(u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let took = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let takes = match self.gate.takes_ns.load(Relaxed) {
            0 => took,
            before => before - before / WEIGHT + took / WEIGHT,
        };
        self.gate.takes_ns.store(takes.max(1), Relaxed);
    }
}

/// Smoothing of the moving average: each sample weighs 1/16.
const WEIGHT: u64 = 16;

#[cfg(test)]
mod tests;
