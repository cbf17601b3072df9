//! Every bound of the guard, in one place.

use std::{ops::RangeInclusive, time::Duration};

/// Range of a configured time limit, wait and slow call.
pub const DURATION: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);

/// Range of a window of time.
pub const WINDOW: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_hours(1);

/// Slots of a window of time. It forgets slot by slot, so a call counts for at least 19/20 of the time.
pub const WINDOW_SLOTS: usize = 20;

/// Range of a window of calls. It keeps two bytes of each.
pub const WINDOW_CALLS: RangeInclusive<u32> = 1..=100_000;

/// Range of the calls that a half-open breaker lets through.
pub const HALF_OPEN_CALLS: RangeInclusive<u32> = 1..=1_000;

/// Range of a configured bound on calls in flight.
pub const CONCURRENT: RangeInclusive<u32> = 1..=65_536;

/// Calls in the queue of a bulkhead. It refuses one more at once.
pub const WAITING_MAX: u32 = 1_024;

/// How long a call queues for a slot even if it may then have too little time, within `max_wait`: so that a slot is not free
/// while calls come.
pub const PATIENCE_MIN: Duration = Duration::from_millis(10);

/// The part of its places that may queue at a neighbour before its callers call less.
pub const TOLERATED_PART: u32 = 8;

/// After this long without an answer, and at least two time limits of a call, what a neighbour told is old.
pub const SILENCE_MIN: Duration = Duration::from_secs(5);

/// A call that had less time than this was short of the guard's time limit: nine tenths of it. The usual wait for a slot,
/// which is shorter, excuses no timeout.
pub fn short_of(time_limit: Duration) -> Duration {
    time_limit * 9 / 10
}
