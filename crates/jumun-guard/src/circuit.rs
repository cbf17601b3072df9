//! The breaker as several callers use it at once: behind a lock, with permits that give themselves back.

use crate::breaker::{Breaker, BreakerSnapshot, Command, Open, State, Ticket, Transition, Verdict};
use std::{sync::PoisonError, time::Instant};

// The unit tests of this crate run under shuttle, which tries orders of execution; see below.
#[cfg(test)]
use shuttle::sync::{Mutex, MutexGuard};
#[cfg(not(test))]
use std::sync::{Mutex, MutexGuard};

/// A breaker that is shared.
#[derive(Debug)]
pub struct Circuit(Mutex<Breaker>);

/// The right to make one call. Dropped without a result, it goes back as if the call had not been: nothing is counted.
#[derive(Debug)]
#[must_use = "dropped at once, it permits nothing"]
pub struct Permit<'a> {
    circuit: &'a Circuit,
    ticket: Option<Ticket>,
    granted: Instant,
}

impl Circuit {
    /// A circuit that is switched by this breaker.
    pub fn new(breaker: Breaker) -> Self {
        Self(Mutex::new(breaker))
    }

    /// See [`Breaker::acquire`].
    pub fn acquire(&self, now: Instant) -> (Result<Permit<'_>, Open>, Option<Transition>) {
        let (ticket, transition) = self.lock().acquire(now);
        (ticket.map(|ticket| Permit { circuit: self, ticket: Some(ticket), granted: now }), transition)
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
    /// The call has come to an end.
    pub fn settle(mut self, verdict: Verdict, now: Instant) -> Option<Transition> {
        self.ticket.take().and_then(|ticket| self.circuit.lock().settle(ticket, verdict, now))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            // What is ignored changes no state, whatever the time is.
            self.circuit.lock().settle(ticket, Verdict::Ignored, self.granted);
        }
    }
}
