//! Retries: few of them, and not all at the same moment. A neighbour that fails gets a fixed share more of calls, never a
//! multiple; what is left of a call's time limit is never exceeded.

use crate::{config::RetryConfig, limits::RETRIES_SAVED_MAX};
use std::time::{Duration, Instant};

/// How many retries may be made: every call brings a share of one, every second a few. (As Finagle and Linkerd have it.)
#[derive(Debug)]
pub(crate) struct Budget {
    /// In billionths of a retry: a nanosecond then brings whole ones.
    saved: u64,
    per_call: u64,
    per_second: u64,
    filled: Instant,
}

/// A retry, in what budgets are counted in.
const RETRY: u64 = 1_000_000_000;

const SAVED_MAX: u64 = RETRIES_SAVED_MAX as u64 * RETRY;

impl Budget {
    pub(crate) fn new(config: &RetryConfig, now: Instant) -> Self {
        let per_second = u64::from(config.min_per_second);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 10^9")]
        let per_call = (config.budget.clamp(0.0, 1.0) * 1e9).round() as u64;
        Self { saved: (per_second * RETRY).min(SAVED_MAX), per_call, per_second, filled: now }
    }

    /// A call is made.
    pub(crate) fn deposit(&mut self) {
        self.saved = (self.saved + self.per_call).min(SAVED_MAX);
    }

    /// A retry is to be made. Tells whether it may.
    pub(crate) fn withdraw(&mut self, now: Instant) -> bool {
        let passed = u64::try_from(now.saturating_duration_since(self.filled).as_nanos()).unwrap_or(u64::MAX);
        self.filled = self.filled.max(now);
        self.saved = self.saved.saturating_add(passed.saturating_mul(self.per_second)).min(SAVED_MAX);
        let left = self.saved.checked_sub(RETRY);
        self.saved = left.unwrap_or(self.saved);
        left.is_some()
    }

    /// How many retries could be made now, in whole ones.
    pub(crate) fn saved(&self) -> u64 {
        self.saved / RETRY
    }
}

/// How long to wait before a retry (1 for the first): anything between nothing and a bound that doubles each time, so that
/// callers who failed together do not come back together (*full jitter*).
pub(crate) fn pause(config: &RetryConfig, retry: u32, random: u64) -> Duration {
    let doubled = 2_u32.saturating_pow(retry.saturating_sub(1));
    let bound = config.pause.saturating_mul(doubled).min(config.max_pause);
    #[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let share = (random >> 11) as f64 / (1_u64 << 53) as f64;
    bound.mul_f64(share)
}

/// Splitmix64 (Steele, Lea, Flood 2014) of the `n`th step from a seed.
pub(crate) fn splitmix(seed: u64, n: u64) -> u64 {
    let mixed = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn config() -> RetryConfig {
        RetryConfig::default()
    }

    #[test]
    fn a_pause_doubles_up_to_its_bound_and_is_drawn_below_it() {
        for (retry, bound) in [(1, 20), (2, 40), (3, 80), (4, 160), (5, 200), (6, 200), (u32::MAX, 200)] {
            let bound = Duration::from_millis(bound);
            assert_eq!(pause(&config(), retry, 0), Duration::ZERO);
            let longest = pause(&config(), retry, u64::MAX);
            assert!(longest <= bound && longest > bound * 99 / 100, "{retry}: {longest:?}");
            let drawn: Duration = (0..1_000).map(|n| pause(&config(), retry, splitmix(7, n))).sum();
            assert!((drawn / 1_000).abs_diff(bound / 2) < bound / 20, "{retry}: {drawn:?} of 1000");
        }
    }

    #[test]
    fn without_traffic_there_are_as_many_retries_as_a_second_brings() {
        let begun = Instant::now();
        let mut budget = Budget::new(&config(), begun);
        let retries = |budget: &mut Budget, now| (0..1_000).filter(|_| budget.withdraw(now)).count();
        assert_eq!(retries(&mut budget, begun), 10, "those of the first second are there at once");
        assert_eq!(retries(&mut budget, begun + Duration::from_millis(99)), 0);
        assert_eq!(retries(&mut budget, begun + Duration::from_millis(100)), 1);
        assert_eq!(retries(&mut budget, begun), 0, "time that goes back brings nothing");
        assert_eq!(retries(&mut budget, begun + Duration::from_millis(300)), 2);
        assert_eq!(retries(&mut budget, begun + Duration::from_hours(100_000)), 100, "and saved are no more than that");
    }

    #[test]
    fn five_calls_bring_a_retry() {
        let now = Instant::now();
        let mut budget = Budget::new(&RetryConfig { min_per_second: 0, ..config() }, now);
        for _ in 0..10 {
            for _ in 0..4 {
                budget.deposit();
                assert!(!budget.withdraw(now));
            }
            budget.deposit();
            assert!(budget.withdraw(now) && !budget.withdraw(now));
        }
    }

    proptest! {
        #[test]
        fn retries_never_exceed_the_budget(share in 0.0..=1.0, per_second in 0_u32..50, steps in vec((0_u64..300, 0_u32..20, 0_u32..20), 1..200)) {
            let begun = Instant::now();
            let mut now = begun;
            let mut budget = Budget::new(&RetryConfig { budget: share, min_per_second: per_second, ..config() }, begun);
            let (mut calls, mut retries) = (0, 0);
            for (passed_ms, made, wanted) in steps {
                now += Duration::from_millis(passed_ms);
                calls += made;
                (0..made).for_each(|_| budget.deposit());
                retries += (0..wanted).map(|_| u32::from(budget.withdraw(now))).sum::<u32>();
                let seconds = 1.0 + now.duration_since(begun).as_secs_f64();
                prop_assert!(f64::from(retries) <= f64::from(calls) * share + f64::from(per_second) * seconds + 1e-3);
            }
        }
    }
}
