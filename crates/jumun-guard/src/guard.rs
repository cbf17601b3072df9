//! The guard around the calls to one neighbour: bulkhead, circuit breaker and time limit together.

use crate::{
    breaker::{Breaker, BreakerSnapshot, Command, Open, State, Transition, Verdict},
    bulkhead::{Bulkhead, BulkheadSnapshot, Full, Slot},
    config::{GuardConfig, InvalidConfig},
    limits,
    pace::Capacity,
    shared_breaker::{Permit, SharedBreaker},
};
use jumun_config::Section;
use serde::Serialize;
use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// The guard around the calls to one neighbour.
pub struct Guard {
    time_limit: Duration,
    breaker: SharedBreaker,
    bulkhead: Bulkhead,
    parts: Parts,
    timed_out: AtomicU64,
    /// Calls that the neighbour answered, whatever it answered.
    answered: AtomicU64,
}

/// What a guard takes from its surroundings.
pub struct Parts {
    /// The clock. Timers are Tokio's, so where Tokio's time is virtual this clock must be virtual, too.
    pub clock: fn() -> Instant,
    /// Receives every change of the breaker's state. The task that caused the change calls it, outside any lock. Two
    /// changes at almost the same time may arrive in the wrong order; [`Transition::number`] orders them.
    pub on_transition: Box<dyn Fn(Transition) + Send + Sync>,
}

/// Why the guard refused a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The circuit is open.
    #[error("the circuit is open for another {} ms", retry_after.as_millis())]
    Open {
        /// How long the caller should wait before it tries again.
        retry_after: Duration,
    },
    /// Too many calls are in flight, and none ended in time.
    #[error("too many calls are under way")]
    Full,
    /// The caller's time was used up before the guard admitted the call.
    #[error("no time was left for the call")]
    NoTime,
}

/// What the result of a call says about the neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// What it says to the breaker.
    pub verdict: Verdict,
    /// What the neighbour told of its places.
    pub capacity: Option<Capacity>,
}

/// The state of a guard at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GuardSnapshot {
    /// The circuit breaker.
    pub breaker: BreakerSnapshot,
    /// The bulkhead.
    pub bulkhead: BulkheadSnapshot,
    /// Calls that timed out since the process started.
    pub timed_out: u64,
}

impl Default for Parts {
    /// Tokio's clock; transitions are dropped.
    fn default() -> Self {
        Self { clock: || tokio::time::Instant::now().into_std(), on_transition: Box::new(|_| ()) }
    }
}

impl Refusal {
    /// How long the caller should wait before it tries again, where the guard knows that.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Open { retry_after } => Some(*retry_after),
            Self::Full | Self::NoTime => None,
        }
    }
}

jumun_text::explained! { Refusal {
    Self::Open { .. } => "circuit-open",
        "Look at the neighbour: too many calls to it failed or were slow. The breaker probes it by itself.";
    Self::Full => "bulkhead-full",
        "Look at the neighbour: it is slow. If it can take more calls at once, raise its admission.max_concurrent, and \
         bulkhead.max_concurrent of its caller.";
    Self::NoTime => "no-time-left", "Raise the caller's time limit, or lower bulkhead.max_wait.";
} }

impl From<Verdict> for Report {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, capacity: None }
    }
}

impl Report {
    /// Whether the neighbour answered at all.
    fn is_answer(&self) -> bool {
        self.capacity.is_some() || self.verdict == Verdict::Success
    }
}

impl From<Open> for Refusal {
    fn from(Open { retry_after }: Open) -> Self {
        Self::Open { retry_after }
    }
}

impl From<Full> for Refusal {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

/// Permission to make one call. It holds a slot of the bulkhead and a permit of the breaker.
///
/// Dropping it without [`Admitted::run`] returns both; the breaker then does not count the call.
#[derive(Debug)]
#[must_use = "dropping it gives the permission back"]
pub struct Admitted<'a> {
    guard: &'a Guard,
    permit: Permit<'a>,
    slot: Slot<'a>,
}

impl Guard {
    /// A guard with a closed circuit.
    ///
    /// # Errors
    /// The first invalid value of the configuration.
    pub fn new(config: &GuardConfig, parts: Parts) -> Result<Self, InvalidConfig> {
        config.check()?;
        let now = (parts.clock)();
        Ok(Self {
            time_limit: config.time_limit,
            breaker: SharedBreaker::new(Breaker::new(&config.breaker, config.time_limit, now)),
            bulkhead: Bulkhead::new(config.bulkhead, config.time_limit),
            parts,
            timed_out: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        })
    }

    /// Admits one call, or refuses it: then the neighbour surely got nothing. The call may queue for a slot, for
    /// `at_most` and never longer than the guard's own time limit and `max_wait` of its bulkhead. The caller subtracts
    /// that wait from the time limit of the call.
    ///
    /// # Errors
    /// Why the guard refused the call.
    pub async fn admit(&self, at_most: Duration) -> Result<Admitted<'_>, Refusal> {
        self.admit_by(at_most, |at_most| self.bulkhead.enter(at_most)).await
    }

    /// Like [`Guard::admit`], for a call that nobody waits for: it queues for `at_most`, whatever `max_wait` is.
    ///
    /// # Errors
    /// Why the guard refused the call.
    pub async fn admit_patiently(&self, at_most: Duration) -> Result<Admitted<'_>, Refusal> {
        self.admit_by(at_most, |at_most| self.bulkhead.enter_patiently(at_most)).await
    }

    async fn admit_by<'a, F>(
        &'a self,
        at_most: Duration,
        enter: impl FnOnce(Duration) -> F,
    ) -> Result<Admitted<'a>, Refusal>
    where
        F: Future<Output = Result<Slot<'a>, Full>>,
    {
        let at_most = at_most.min(self.time_limit);
        let began = self.now();
        let mut now = began;
        let slot = if let Some(slot) = self.bulkhead.try_enter() {
            slot
        } else {
            if let Some(open) = self.refuse(now) {
                return Err(open.into());
            }
            let entered = enter(at_most).await;
            now = self.now();
            entered?
        };
        if now.saturating_duration_since(began) >= at_most {
            return Err(Refusal::NoTime);
        }
        self.permit(slot, now)
    }

    /// Admits one call if a slot is free: no call queues for it then, and this one does not queue either. `None`: no
    /// slot is free.
    pub fn try_admit(&self) -> Option<Result<Admitted<'_>, Refusal>> {
        Some(self.permit(self.bulkhead.try_enter()?, self.now()))
    }

    fn permit<'a>(&'a self, slot: Slot<'a>, now: Instant) -> Result<Admitted<'a>, Refusal> {
        let (permit, transition) = self.breaker.acquire(now);
        self.report(transition);
        Ok(Admitted { guard: self, permit: permit?, slot })
    }

    /// The bound on the calls in flight that applies now.
    pub fn limit(&self) -> u32 {
        self.bulkhead.limit()
    }

    /// Applies an operator's command to the breaker. Calls in flight continue; their results no longer count.
    pub fn command(&self, command: Command) {
        self.report(self.breaker.command(command, self.now()));
    }

    /// The state of the breaker.
    pub fn state(&self) -> State {
        self.breaker.state()
    }

    /// The state of breaker and bulkhead, with their counts.
    pub fn snapshot(&self) -> GuardSnapshot {
        GuardSnapshot {
            breaker: self.breaker.snapshot(self.now()),
            bulkhead: self.bulkhead.snapshot(),
            timed_out: self.timed_out.load(Relaxed),
        }
    }

    fn now(&self) -> Instant {
        (self.parts.clock)()
    }

    fn refuse(&self, now: Instant) -> Option<Open> {
        let (open, transition) = self.breaker.refuse(now);
        self.report(transition);
        open
    }

    fn report(&self, transition: Option<Transition>) {
        if let Some(transition) = transition {
            (self.parts.on_transition)(transition);
        }
    }
}

impl Admitted<'_> {
    /// Makes the call. Its duration counts from here: work between [`Guard::admit`] and this does not make the call
    /// slow. `judge` says what the result says about the neighbour. None: the call timed out.
    ///
    /// A call that times out is a failure. Unless it had clearly less than the guard's time limit ([`limits::short_of`]),
    /// because it queued or because its caller had no more, and the neighbour answered another call meanwhile: then it
    /// says nothing.
    ///
    /// If the future is dropped before its end, or panics, slot and permit return and the breaker does not count the
    /// call.
    pub async fn run<T, R: Into<Report>>(
        self,
        time_limit: Duration,
        judge: impl Fn(&T) -> R,
        call: impl Future<Output = T>,
    ) -> Option<T> {
        let Self { guard, slot, mut permit } = self; // if the future is dropped, the permit returns before the slot
        let (sent, answered) = (guard.now(), guard.answered.load(Relaxed));
        permit.begin(sent);
        let result = tokio::time::timeout(time_limit, call).await;
        let now = guard.now();
        let mut report = result.as_ref().map_or(Verdict::Failure.into(), |result| judge(result).into());
        if report.is_answer() {
            guard.answered.fetch_add(1, Relaxed);
            guard.bulkhead.answered(report.capacity, sent, now);
        } else if now.saturating_duration_since(sent) >= time_limit {
            if time_limit < limits::short_of(guard.time_limit) && guard.answered.load(Relaxed) != answered {
                report.verdict = Verdict::Ignored;
            }
            guard.bulkhead.unanswered(sent, now);
        }
        guard.report(permit.settle(report.verdict, now));
        drop(slot); // after the permit: the next caller in the queue must see the new state of the circuit
        if result.is_err() {
            guard.timed_out.fetch_add(1, Relaxed);
        }
        result.ok()
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("breaker", &self.breaker)
            .field("bulkhead", &self.bulkhead)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}
