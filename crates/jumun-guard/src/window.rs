//! The calls that a breaker decides by: the last N, or those of a time. Counting a call and forgetting an old one take
//! constant time: the window keeps totals.

use crate::{config, limits::WINDOW_SLOTS};
use serde::Serialize;
use std::{
    collections::VecDeque,
    ops::{AddAssign, SubAssign},
    time::{Duration, Instant},
};

/// Counts of calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Tally {
    /// All calls.
    pub calls: u64,
    /// Failed calls.
    pub failed: u64,
    /// Slow calls, failed or not.
    pub slow: u64,
}

/// The result of a call that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    pub(crate) is_failed: bool,
    pub(crate) is_slow: bool,
}

/// The window of a breaker.
#[derive(Debug, Clone)]
pub(crate) enum SlidingWindow {
    Calls(CallWindow),
    Time(Box<TimeWindow>),
}

#[derive(Debug, Clone)]
pub(crate) struct CallWindow {
    /// The oldest first; at most `capacity`.
    calls: VecDeque<Call>,
    capacity: usize,
    total: Tally,
}

/// Calls by time slot, in a ring: slot `n` is at `n % WINDOW_SLOTS`.
#[derive(Debug, Clone)]
pub(crate) struct TimeWindow {
    began: Instant,
    slot_nanos: u64,
    slots: [Tally; WINDOW_SLOTS],
    /// The newest time slot in the ring.
    current: u64,
    total: Tally,
}

impl Tally {
    /// The share of failed calls; 0 without calls.
    pub fn failure_rate(&self) -> f64 {
        share(self.failed, self.calls)
    }

    /// The share of slow calls; 0 without calls.
    pub fn slow_call_rate(&self) -> f64 {
        share(self.slow, self.calls)
    }
}

#[allow(clippy::cast_precision_loss, reason = "exact below 2^53 calls")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl From<Call> for Tally {
    fn from(call: Call) -> Self {
        Self { calls: 1, failed: call.is_failed.into(), slow: call.is_slow.into() }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.slow += other.slow;
    }
}

impl SubAssign for Tally {
    fn sub_assign(&mut self, other: Self) {
        self.calls -= other.calls;
        self.failed -= other.failed;
        self.slow -= other.slow;
    }
}

impl SlidingWindow {
    pub(crate) fn new(config: config::Window, now: Instant) -> Self {
        match config {
            config::Window::Calls(calls) => Self::Calls(CallWindow::new(calls)),
            config::Window::Time(time) => Self::Time(Box::new(TimeWindow::new(time, now))),
        }
    }

    /// Counts a call and returns the new tally. Time must not go back.
    pub(crate) fn record(&mut self, call: Call, now: Instant) -> Tally {
        match self {
            Self::Calls(window) => window.record(call),
            Self::Time(window) => window.record(call, now),
        }
    }

    /// The tally now.
    pub(crate) fn tally(&self, now: Instant) -> Tally {
        match self {
            Self::Calls(window) => window.total,
            Self::Time(window) => window.tally(now),
        }
    }
}

#[cfg(test)]
impl SlidingWindow {
    /// All that its future depends on: its contents with the age of each part, the youngest last.
    pub(crate) fn contents(&self, now: Instant) -> Vec<(u64, Tally)> {
        match self {
            Self::Calls(window) => window.calls.iter().map(|call| (0, (*call).into())).collect(),
            Self::Time(window) => {
                let now = window.slot(now);
                let kept = (now + 1).saturating_sub(WINDOW_SLOTS as u64)..=window.current;
                let held = kept.map(|slot| (now - slot, window.slots[ring(slot)]));
                held.filter(|(_, tally)| *tally != Tally::default()).collect()
            }
        }
    }
}

impl CallWindow {
    fn new(calls: u32) -> Self {
        let capacity = usize::try_from(calls).unwrap_or(usize::MAX);
        Self { calls: VecDeque::with_capacity(capacity), capacity, total: Tally::default() }
    }

    fn record(&mut self, call: Call) -> Tally {
        if self.calls.len() == self.capacity
            && let Some(oldest) = self.calls.pop_front()
        {
            self.total -= oldest.into();
        }
        self.calls.push_back(call);
        self.total += call.into();
        self.total
    }
}

impl TimeWindow {
    fn new(time: Duration, now: Instant) -> Self {
        let slot_nanos = (nanos(time) / WINDOW_SLOTS as u64).max(1);
        Self { began: now, slot_nanos, slots: Default::default(), current: 0, total: Tally::default() }
    }

    fn slot(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.began)) / self.slot_nanos
    }

    fn record(&mut self, call: Call, now: Instant) -> Tally {
        let now = self.slot(now);
        for passed in self.passed(now) {
            let slot = &mut self.slots[ring(passed)];
            self.total -= *slot;
            *slot = Tally::default();
        }
        self.current = self.current.max(now);
        self.slots[ring(self.current)] += call.into();
        self.total += call.into();
        self.total
    }

    fn tally(&self, now: Instant) -> Tally {
        let mut total = self.total;
        for passed in self.passed(self.slot(now)) {
            total -= self.slots[ring(passed)];
        }
        total
    }

    /// The slots that became current since the last call; each once, however long ago that was.
    fn passed(&self, now: u64) -> std::ops::Range<u64> {
        let until = now.min(self.current.saturating_add(WINDOW_SLOTS as u64)).saturating_add(1);
        self.current + 1..until
    }
}

/// The index of a time slot in the ring.
fn ring(slot: u64) -> usize {
    usize::try_from(slot % WINDOW_SLOTS as u64).unwrap_or_default() // below WINDOW_SLOTS
}

/// Saturates after 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
