//! The guard: everything that stands around one outgoing call, together.

use crate::{
    breaker::{Breaker, BreakerSnapshot, Command, Open, State, Transition, Verdict},
    bulkhead::{Bulkhead, BulkheadSnapshot, Full, Slot},
    circuit::{Circuit, Permit},
    config::{GuardConfig, InvalidConfig, RetryConfig},
    retry::{self, Budget},
};
use serde::Serialize;
use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// The guard around the calls to one neighbour.
pub struct Guard {
    time_limit: Duration,
    retry: RetryConfig,
    circuit: Circuit,
    bulkhead: Bulkhead,
    budget: Mutex<Budget>,
    parts: Parts,
    /// How many pauses have been drawn.
    drawn: AtomicU64,
    retries: AtomicU64,
    timed_out: AtomicU64,
}

/// What a guard needs of the world.
pub struct Parts {
    /// What time it is. Timers are Tokio's: where its time is virtual, this must be, too.
    pub clock: fn() -> Instant,
    /// What pauses before retries are drawn from.
    pub seed: u64,
    /// Is told of every change of the breaker's state, by the task that caused it and outside any lock. Two changes at
    /// almost the same time may be told in the wrong order: they are numbered.
    pub on_transition: Box<dyn Fn(Transition) + Send + Sync>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a refusal or a time-out is in it"]
pub enum Outcome<T> {
    /// It was made; what it gave.
    Done(T),
    /// It was not made: surely nothing was done.
    Refused(Refusal),
    /// No answer after so long. It may have been done, or may still be.
    TimedOut(Duration),
}

/// Why a call was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The circuit is open.
    #[error("the circuit is open for another {} ms", retry_after.as_millis())]
    Open {
        /// When it makes sense to try again.
        retry_after: Duration,
    },
    /// Too many calls are under way, and none came to an end in time.
    #[error("too many calls are under way")]
    Full,
    /// No time was left when its turn came.
    #[error("no time was left for the call")]
    NoTime,
}

/// What there is to know about a guard.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GuardSnapshot {
    /// The circuit breaker.
    pub breaker: BreakerSnapshot,
    /// The bulkhead.
    pub bulkhead: BulkheadSnapshot,
    /// Retries since the process started.
    pub retries: u64,
    /// Retries that could be made at once now.
    pub retries_saved: u64,
    /// Attempts that no answer came to in time, since the process started.
    pub timed_out: u64,
}

impl Default for Parts {
    /// Tokio's clock, a random seed; changes are told to nobody.
    fn default() -> Self {
        Self {
            clock: || tokio::time::Instant::now().into_std(),
            seed: RandomState::new().build_hasher().finish(),
            on_transition: Box::new(|_| ()),
        }
    }
}

impl Refusal {
    /// When it makes sense to try again, where that is known.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Open { retry_after } => Some(*retry_after),
            Self::Full | Self::NoTime => None,
        }
    }

    /// A code that stays the same over releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "circuit-open",
            Self::Full => "bulkhead-full",
            Self::NoTime => "no-time-left",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Open { .. } => {
                "Look at the neighbour: too many calls to it failed or were slow. It is tried again by itself."
            }
            Self::Full => {
                "Look at the neighbour: it is slow. If it can take more calls at once, raise bulkhead.max_concurrent."
            }
            Self::NoTime => "Raise the caller's time limit, or lower bulkhead.max_wait.",
        }
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

/// A call that has been let in and is still to be made: for who has something to do between the two that must not be done
/// in vain. Dropped, it gives back what it holds, and nothing is counted.
#[derive(Debug)]
#[must_use = "dropped at once, it lets nobody in"]
pub struct Admitted<'a> {
    guard: &'a Guard,
    permit: Permit<'a>,
    slot: Slot<'a>,
}

/// What came of one attempt.
enum Attempt<T> {
    Done(T, Verdict),
    Refused(Refusal),
    TimedOut,
}

impl Guard {
    /// A guard whose circuit is closed.
    ///
    /// # Errors
    /// The first value that cannot be.
    pub fn new(config: &GuardConfig, parts: Parts) -> Result<Self, InvalidConfig> {
        config.check()?;
        let now = (parts.clock)();
        Ok(Self {
            time_limit: config.time_limit,
            retry: config.retry,
            circuit: Circuit::new(Breaker::new(&config.breaker, config.time_limit, now)),
            bulkhead: Bulkhead::new(config.bulkhead),
            budget: Mutex::new(Budget::new(&config.retry, now)),
            parts,
            drawn: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
        })
    }

    /// Makes a call. `attempt` is given the time that is left for it; `judge` says what its result says about the neighbour.
    ///
    /// Dropped before its end, it leaves nothing behind, and the call does not count. So does one that panics.
    pub async fn call<T, F>(&self, judge: impl Fn(&T) -> Verdict, attempt: impl FnMut(Duration) -> F) -> Outcome<T>
    where
        F: Future<Output = T>,
    {
        self.call_within(self.time_limit, judge, attempt).await
    }

    /// Makes a call, for a caller who does not wait longer than this: the shorter limit holds. No answer within it is a
    /// failure, however short it is: the caller did not get what it needed.
    pub async fn call_within<T, F>(
        &self,
        time_limit: Duration,
        judge: impl Fn(&T) -> Verdict,
        mut attempt: impl FnMut(Duration) -> F,
    ) -> Outcome<T>
    where
        F: Future<Output = T>,
    {
        let began = self.now();
        let time_limit = time_limit.min(self.time_limit);
        if self.retry.max_attempts > 1 {
            self.budget().deposit();
        }
        let left = |now: Instant| time_limit.saturating_sub(now.saturating_duration_since(began));
        let (mut now, mut number, mut before) = (began, 0, None);
        loop {
            number += 1;
            let result = match self.attempt(now, left, &judge, &mut attempt).await {
                Attempt::Done(result, Verdict::NotDone) => result,
                Attempt::Done(result, _) => return Outcome::Done(result),
                // Then what the attempt before said is the outcome: nothing was done there, either.
                Attempt::Refused(why) => return before.map_or(Outcome::Refused(why), Outcome::Done),
                Attempt::TimedOut => return Outcome::TimedOut(self.now().saturating_duration_since(began)),
            };
            let Some(pause) = self.pause(number, left) else { return Outcome::Done(result) };
            before = Some(result);
            tokio::time::sleep(pause).await;
            now = self.now();
        }
    }

    async fn attempt<T, F>(
        &self,
        now: Instant,
        left: impl Fn(Instant) -> Duration,
        judge: impl Fn(&T) -> Verdict,
        mut attempt: impl FnMut(Duration) -> F,
    ) -> Attempt<T>
    where
        F: Future<Output = T>,
    {
        let (admitted, now) = match self.admit_at(now, left(now)).await {
            Ok(admitted) => admitted,
            Err(why) => return Attempt::Refused(why),
        };
        let left = left(now);
        let result = admitted.attempt(left, judge, attempt(left)).await;
        result.map_or(Attempt::TimedOut, |(result, verdict)| Attempt::Done(result, verdict))
    }

    /// Lets one call in, or says why not. It may have to wait for its turn, no longer than this. The time that this took is
    /// the caller's to take off the call's time limit. There are no retries of it.
    pub async fn admit(&self, at_most: Duration) -> Result<Admitted<'_>, Refusal> {
        Ok(self.admit_at(self.now(), at_most.min(self.time_limit)).await?.0)
    }

    /// With the time that it is then.
    async fn admit_at(&self, began: Instant, at_most: Duration) -> Result<(Admitted<'_>, Instant), Refusal> {
        let mut now = began;
        let slot = if let Some(slot) = self.bulkhead.try_enter() {
            slot
        } else {
            if let Some(open) = self.refuse(now) {
                return Err(open.into());
            }
            let entered = self.bulkhead.enter(at_most).await;
            now = self.now();
            entered?
        };
        if now.saturating_duration_since(began) >= at_most {
            return Err(Refusal::NoTime);
        }
        let (permit, transition) = self.circuit.acquire(now);
        self.tell(transition);
        Ok((Admitted { guard: self, permit: permit?, slot }, now))
    }

    /// How long to wait before a retry, if there is to be one: not if it is one too many, or would come too late, or the
    /// circuit is open.
    fn pause(&self, number: u32, left: impl Fn(Instant) -> Duration) -> Option<Duration> {
        if number >= self.retry.max_attempts {
            return None;
        }
        let now = self.now();
        let random = retry::splitmix(self.parts.seed, self.drawn.fetch_add(1, Relaxed));
        let pause = retry::pause(&self.retry, number, random);
        if pause >= left(now) || self.refuse(now).is_some() || !self.budget().withdraw(now) {
            return None;
        }
        self.retries.fetch_add(1, Relaxed);
        Some(pause)
    }

    /// Does what an operator says. Calls under way go on; what becomes of them counts no more.
    pub fn command(&self, command: Command) {
        self.tell(self.circuit.command(command, self.now()));
    }

    /// What its breaker does.
    pub fn state(&self) -> State {
        self.circuit.state()
    }

    /// What there is to know about it.
    pub fn snapshot(&self) -> GuardSnapshot {
        GuardSnapshot {
            breaker: self.circuit.snapshot(self.now()),
            bulkhead: self.bulkhead.snapshot(),
            retries: self.retries.load(Relaxed),
            retries_saved: self.budget().saved(),
            timed_out: self.timed_out.load(Relaxed),
        }
    }

    fn now(&self) -> Instant {
        (self.parts.clock)()
    }

    fn refuse(&self, now: Instant) -> Option<Open> {
        let (open, transition) = self.circuit.refuse(now);
        self.tell(transition);
        open
    }

    fn tell(&self, transition: Option<Transition>) {
        if let Some(transition) = transition {
            (self.parts.on_transition)(transition);
        }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner) // nothing in it panics
    }
}

impl Admitted<'_> {
    /// Makes the call. It begins now: what was done since it was let in does not make it slow. None: no answer within the
    /// limit, which is a failure.
    ///
    /// Dropped before its end, it leaves nothing behind, and the call does not count. So does one that panics.
    pub async fn run<T>(
        mut self,
        time_limit: Duration,
        judge: impl Fn(&T) -> Verdict,
        call: impl Future<Output = T>,
    ) -> Option<T> {
        self.permit.begin(self.guard.now());
        Some(self.attempt(time_limit, judge, call).await?.0)
    }

    async fn attempt<T>(
        self,
        time_limit: Duration,
        judge: impl Fn(&T) -> Verdict,
        call: impl Future<Output = T>,
    ) -> Option<(T, Verdict)> {
        let Self { guard, slot, permit } = self; // dropped, the permit goes back first
        let result = tokio::time::timeout(time_limit, call).await;
        let verdict = result.as_ref().map_or(Verdict::Failure, judge);
        guard.tell(permit.settle(verdict, guard.now()));
        drop(slot); // only now: whoever waits for it is to see what has become of the circuit
        if let Ok(result) = result {
            return Some((result, verdict));
        }
        guard.timed_out.fetch_add(1, Relaxed);
        None
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("circuit", &self.circuit)
            .field("bulkhead", &self.bulkhead)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("seed", &self.seed).finish_non_exhaustive()
    }
}
