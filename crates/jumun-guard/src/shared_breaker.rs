//! A breaker for concurrent callers: behind a lock, with permits that return when dropped.

use crate::breaker::{Breaker, BreakerSnapshot, Command, Open, State, Ticket, Transition, Verdict};
use std::{sync::PoisonError, time::Instant};

// The unit tests of this crate run under shuttle, which tries orders of execution; see below.
#[cfg(test)]
use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(test))]
use std::sync::{Mutex, MutexGuard};

/// A shared breaker.
#[derive(Debug)]
pub struct SharedBreaker(Mutex<Breaker>);

/// The right to make one call. Dropping it without a result returns it, and the breaker does not count the call.
#[derive(Debug)]
#[must_use = "dropping it gives the permit back"]
pub struct Permit<'a> {
    breaker: &'a SharedBreaker,
    ticket: Option<Ticket>,
    granted: Instant,
}

impl SharedBreaker {
    /// Shares this breaker.
    pub fn new(breaker: Breaker) -> Self {
        Self(Mutex::new(breaker))
    }

    /// See [`Breaker::acquire`].
    pub fn acquire(&self, now: Instant) -> (Result<Permit<'_>, Open>, Option<Transition>) {
        let (ticket, transition) = self.lock().acquire(now);
        (ticket.map(|ticket| Permit { breaker: self, ticket: Some(ticket), granted: now }), transition)
    }

    /// See [`Breaker::refuse`].
    pub fn refuse(&self, now: Instant) -> (Option<Open>, Option<Transition>) {
        self.lock().refuse(now)
    }

    /// See [`Breaker::command`].
    pub fn command(&self, command: Command, now: Instant) -> Option<Transition> {
        self.lock().command(command, now)
    }

    /// See [`Breaker::state`].
    pub fn state(&self) -> State {
        self.lock().state()
    }

    /// See [`Breaker::snapshot`].
    pub fn snapshot(&self, now: Instant) -> BreakerSnapshot {
        self.lock().snapshot(now)
    }

    fn lock(&self) -> MutexGuard<'_, Breaker> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // nothing in a breaker panics
    }
}

impl Permit<'_> {
    /// Sets the start of the call to now.
    pub fn begin(&mut self, now: Instant) {
        if let Some(ticket) = &mut self.ticket {
            ticket.begin(now);
        }
    }

    /// Reports the end of the call.
    pub fn settle(mut self, verdict: Verdict, now: Instant) -> Option<Transition> {
        self.ticket.take().and_then(|ticket| self.breaker.lock().settle(ticket, verdict, now))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            // An ignored result changes no state, whatever the time.
            self.breaker.lock().settle(ticket, Verdict::Ignored, self.granted);
        }
    }
}

#[cfg(test)]
mod tests {
    //! Under shuttle, which runs threads in many orders.

    use super::*;
    use crate::config::{BreakerConfig, Window};
    use shuttle::{
        sync::{Arc, atomic::AtomicU64, atomic::Ordering::SeqCst},
        thread,
    };
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(1);

    fn shared(now: Instant) -> Arc<SharedBreaker> {
        let config = BreakerConfig {
            window: Window::Calls(4),
            minimum_calls: Some(2),
            half_open_calls: 2,
            wait_open: LIMIT,
            ..BreakerConfig::default()
        };
        Arc::new(SharedBreaker::new(Breaker::new(&config, LIMIT, now)))
    }

    fn fail(breaker: &SharedBreaker, now: Instant) -> Option<Transition> {
        breaker.acquire(now).0.expect("a permit").settle(Verdict::Failure, now)
    }

    /// As many threads as that, at the same time; what they give.
    fn together<T: 'static + Send>(threads: u64, run: impl Fn(u64) -> T + Send + Sync + 'static) -> Vec<T> {
        let run = Arc::new(run);
        let started = (0..threads).map(|thread| {
            let run = run.clone();
            thread::spawn(move || run(thread))
        });
        let started: Vec<_> = started.collect();
        started.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    }

    /// All orders of two threads, and random ones of four, each over a breaker of its own.
    fn explored(case: impl Fn(u64, Arc<SharedBreaker>, Instant) + Send + Sync + 'static) {
        let case = Arc::new(move |threads| {
            let now = Instant::now();
            case(threads, shared(now), now);
        });
        let few = case.clone();
        shuttle::check_dfs(move || few(2), None);
        shuttle::check_random(move || case(4), 2_000);
    }

    #[test]
    fn no_more_calls_pass_at_once_than_half_open_lets_through_and_exactly_one_opens_it() {
        explored(|threads, breaker, now| {
            assert!(fail(&breaker, now).is_none() && fail(&breaker, now).is_some());
            let at_work = Arc::new(AtomicU64::new(0));
            let shared = breaker.clone();
            let told = together(threads, move |_| {
                let (permit, begun) = shared.acquire(now + LIMIT);
                let Ok(permit) = permit else { return vec![begun] };
                assert!(at_work.fetch_add(1, SeqCst) < 2);
                at_work.fetch_sub(1, SeqCst);
                vec![begun, permit.settle(Verdict::Success, now + LIMIT)]
            });
            let mut told: Vec<_> =
                told.into_iter().flatten().flatten().map(|change| (change.number, change.to)).collect();
            told.sort_by_key(|(number, _)| *number);
            let expected = [(2, State::HalfOpen), (3, State::Closed)];
            assert_eq!(told, expected, "each change is told once");
            assert_eq!(breaker.snapshot(now).permits_out, 0);
        });
    }

    #[test]
    fn whatever_callers_do_all_permits_come_back() {
        explored(|threads, breaker, now| {
            let shared = breaker.clone();
            let steps = if threads == 2 { 1 } else { 2 };
            together(threads, move |thread| {
                for step in 0..steps {
                    let now = now + LIMIT * u32::try_from(step).expect("few");
                    let (permit, _) = shared.acquire(now);
                    match (permit, (thread + step) % 3) {
                        (Ok(permit), 0) => drop(permit.settle(Verdict::Failure, now)),
                        (Ok(permit), 1) => drop(permit),
                        (Ok(permit), _) => drop(permit.settle(Verdict::Success, now + LIMIT)),
                        (Err(open), _) => assert!(!open.retry_after.is_zero()),
                    }
                }
            });
            assert_eq!(breaker.snapshot(now).permits_out, 0);
        });
    }

    #[test]
    fn a_reset_among_calls_leaves_nothing_of_them() {
        explored(|threads, breaker, now| {
            let shared = breaker.clone();
            let told = together(threads, move |thread| {
                if thread == 0 {
                    return shared.command(Command::Reset, now);
                }
                let (permit, _) = shared.acquire(now);
                permit.ok().and_then(|permit| permit.settle(Verdict::Failure, now))
            });
            let changes = told.into_iter().flatten().count() as u64;
            let seen = breaker.snapshot(now);
            assert_eq!(seen.last.map_or(0, |last| last.number), changes);
            assert_eq!(seen.permits_out, 0);
            assert!(seen.tally.calls <= 1, "with two it is open");
        });
    }
}
