//! Every bound of the guard, in one place.

use std::{ops::RangeInclusive, time::Duration};

/// How long a time limit, a wait and a slow call may be configured to be.
pub const DURATION: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);

/// How much time a breaker may look back on.
pub const WINDOW: RangeInclusive<Duration> = Duration::from_millis(20)..=Duration::from_hours(1);

/// Into how many slots that time is divided. A window forgets slot by slot: a call counts for at least 19/20 of it.
pub const WINDOW_SLOTS: usize = 20;

/// How many calls a breaker may look back on. It keeps two bytes of each.
pub const WINDOW_CALLS: RangeInclusive<u32> = 1..=100_000;

/// How many calls may be let through to see whether the neighbour is well again.
pub const HALF_OPEN_CALLS: RangeInclusive<u32> = 1..=1_000;

/// Calls at work at once that may be configured.
pub const CONCURRENT: RangeInclusive<u32> = 1..=65_536;

/// Calls that wait for their turn. One more is refused at once.
pub const WAITING_MAX: u32 = 1_024;
