//! How many calls a neighbour gets at once: as many as it has places. It tells in its answers how many it has, and how
//! many calls queue for them ([`Capacity`]).
//!
//! # The rule
//!
//! The first answer that tells a number of places sets the limit to that number. Then the neighbour's queue moves it, at
//! most once a round trip: only answers to calls that were sent after the last change count.
//!
//! - *Nothing queues, and the limit is used up*: one more. So the neighbour's places stay filled while an answer and the
//!   next call are on their way. At most two calls a place: one at work, one on its way.
//! - *Few queue* ([`Capacity::tolerated`]): as it is.
//! - *More queue*: there are other callers, or calls that their callers gave up. The limit shrinks by the factor by which
//!   the neighbour is overloaded, at most to a half. As every caller does that, all of them together fit at once, and
//!   the ones that come later get their share by the steps up.
//!
//! # What ages
//!
//! A neighbour that answers tells its present state with each answer, and the limit is at least 1, so news always come.
//! After a silence the next answer starts over. Calls that end without an answer while nothing was heard for a while
//! remove the limit: whether that neighbour is alive is for the circuit breaker, which needs calls to see it. So does an
//! answer that tells nothing: the neighbour is another one, or an older release.
//!
//! Sources: L. Brakmo, L. Peterson, *TCP Vegas* (1995): steps of one between two bounds on the queue. R. Jain et al.,
//! *ERICA Switch Algorithm* (1996): all senders scale by the load factor. D. Chiu, R. Jain (1989): increase by addition,
//! decrease by a factor, and shares become equal.

use crate::limits::{SILENCE_MIN, TOLERATED_PART};
use serde::Serialize;
use std::time::{Duration, Instant};

/// What a neighbour tells of itself with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Capacity {
    /// How many calls it works on at once; at least 1.
    pub places: u32,
    /// How many calls queue there for a place.
    pub queue: u32,
}

/// The limit on the calls in flight to one neighbour.
#[derive(Debug, Clone)]
pub struct Pace {
    /// The configured limit.
    most: u32,
    /// After this long without an answer, what the neighbour told is old.
    silence: Duration,
    told: Option<Told>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    capacity: Capacity,
    limit: u32,
    /// When the limit last changed.
    changed: Instant,
    /// When the neighbour last told something.
    heard: Instant,
}

impl Capacity {
    /// How many may queue at the neighbour without anybody calling less: a moment's worth of work, so that its places
    /// are filled at once.
    pub fn tolerated(&self) -> u32 {
        (self.places / TOLERATED_PART).max(2)
    }
}

impl Pace {
    /// No neighbour has told anything yet: the limit is the configured one. `time_limit` is that of a call.
    pub fn new(most: u32, time_limit: Duration) -> Self {
        Self { most, silence: time_limit.saturating_mul(2).max(SILENCE_MIN), told: None }
    }

    /// The limit on the calls in flight, at least 1.
    pub fn limit(&self) -> u32 {
        self.told.map_or(self.most, |told| told.limit)
    }

    /// What the neighbour told last, unless that is forgotten.
    pub fn told(&self) -> Option<Capacity> {
        self.told.map(|told| told.capacity)
    }

    /// The neighbour answered a call that was sent at this time. `is_used_up`: no more calls could be in flight.
    pub fn answered(&mut self, capacity: Option<Capacity>, sent: Instant, is_used_up: bool, now: Instant) {
        let Some(capacity) = capacity else {
            self.told = None;
            return;
        };
        let Capacity { places, queue } = capacity;
        let is_old =
            |told: &Told| told.capacity.places != places || now.saturating_duration_since(told.heard) >= self.silence;
        let Some(told) = self.told.filter(|told| !is_old(told)) else {
            let limit = places.clamp(1, self.most);
            self.told = Some(Told { capacity, limit, changed: now, heard: now });
            return;
        };
        let limit = match queue {
            _ if sent < told.changed => told.limit,
            0 if is_used_up => (told.limit + 1).min(places.saturating_mul(2)).min(self.most).max(told.limit),
            _ if queue > capacity.tolerated() => fitting(told.limit, capacity),
            _ => told.limit,
        };
        let changed = if limit == told.limit { told.changed } else { now };
        self.told = Some(Told { capacity, limit, changed, heard: now });
    }

    /// A call ended without an answer.
    pub fn unanswered(&mut self, now: Instant) {
        self.told = self.told.filter(|told| now.saturating_duration_since(told.heard) < self.silence);
    }
}

/// This limit, less by the factor by which the neighbour has too many calls.
fn fitting(limit: u32, Capacity { places, queue }: Capacity) -> u32 {
    let (fits, has) = (u64::from(places) + 1, u64::from(places) + u64::from(queue));
    let scaled = u32::try_from(u64::from(limit) * fits / has).unwrap_or(limit);
    scaled.max(limit / 2).clamp(1, limit)
}

#[cfg(test)]
mod tests;
