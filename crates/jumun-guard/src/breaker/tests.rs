//! What a breaker does: by example, in every order (`exploration`), and against a slow and obvious one (`model`).

#![allow(clippy::unchecked_time_subtraction, reason = "a test may fail")]

use super::*;

mod exploration;
mod model;

/// A breaker, its clock, and calls that take a time.
struct Example {
    breaker: Breaker,
    now: Instant,
}

const LIMIT: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl Example {
    fn new(config: BreakerConfig) -> Self {
        let now = Instant::now();
        Self { breaker: Breaker::new(&config, LIMIT, now), now }
    }

    fn acquire(&mut self) -> Ticket {
        self.breaker.acquire(self.now).0.expect("a permit")
    }

    fn refused(&mut self) -> Duration {
        self.breaker.acquire(self.now).0.expect_err("a refusal").retry_after
    }

    fn call(&mut self, verdict: Verdict, takes: Duration) -> Option<Transition> {
        let ticket = self.acquire();
        self.now += takes;
        self.breaker.settle(ticket, verdict, self.now)
    }

    fn calls(&mut self, count: usize, verdict: Verdict, takes: Duration) {
        for _ in 0..count {
            assert_eq!(self.call(verdict, takes), None);
        }
    }

    fn open(config: BreakerConfig) -> Self {
        let mut example = Self::new(config);
        example.calls(19, Verdict::Failure, ms(1));
        assert!(example.call(Verdict::Failure, ms(1)).is_some());
        example
    }
}

#[test]
fn it_opens_with_the_call_that_reaches_the_rate_and_not_before_the_minimum() {
    let mut example = Example::new(BreakerConfig::default());
    example.calls(10, Verdict::Success, ms(1));
    example.calls(9, Verdict::Failure, ms(1));
    let transition = example.call(Verdict::Failure, ms(1)).expect("10 of 20");
    let tally = Tally { calls: 20, failed: 10, slow: 0 };
    let expected = Transition { number: 1, from: State::Closed, to: State::Open, cause: Cause::FailureRate, tally };
    assert_eq!(transition, expected);
    assert_eq!(transition.to_string(), "closed to open: too many calls failed (20 calls, 10 failed, 0 slow)");
    example.now += ms(1_200);
    assert_eq!(example.refused(), ms(3_800));
    let snapshot = example.breaker.snapshot(example.now);
    assert_eq!((snapshot.wait_left_ms, snapshot.in_state_ms, snapshot.rejected), (3_800, 1_200, 1));
}

#[test]
fn calls_that_are_as_slow_as_the_time_limit_open_it_too() {
    let mut example = Example::new(BreakerConfig { window: Window::Calls(20), ..BreakerConfig::default() });
    example.calls(20, Verdict::Success, LIMIT - ms(1));
    example.calls(19, Verdict::Success, LIMIT);
    let transition = example.call(Verdict::Success, LIMIT).expect("20 of 20");
    assert_eq!((transition.cause, transition.tally.slow), (Cause::SlowCallRate, 20));
}

#[test]
fn what_succeeds_or_is_ignored_never_opens_it() {
    let mut example = Example::new(BreakerConfig { failure_rate: 1e-9, ..BreakerConfig::default() });
    example.calls(1_000, Verdict::Success, ms(1));
    example.calls(1_000, Verdict::Ignored, LIMIT * 5);
    assert_eq!(example.breaker.state(), State::Closed);
}

#[test]
fn a_rate_as_it_is_written_is_a_rate_as_it_is_reached() {
    for (parts, whole, rate) in [(3, 10, 0.3), (1, 3, 1.0 / 3.0), (7, 10, 0.7), (29, 100, 0.29), (57, 100, 0.57)] {
        let window = Window::Calls(whole);
        let config =
            BreakerConfig { window, minimum_calls: Some(whole), failure_rate: rate, ..BreakerConfig::default() };
        let mut example = Example::new(config);
        example.calls(parts - 1, Verdict::Failure, ms(1));
        example.calls(whole as usize - parts, Verdict::Success, ms(1));
        assert!(example.call(Verdict::Failure, ms(1)).is_some(), "{parts} of {whole} are {rate}");
    }
}

#[test]
fn a_window_of_calls_forgets_the_oldest() {
    let mut example = Example::new(BreakerConfig { window: Window::Calls(100), ..BreakerConfig::default() });
    example.calls(1_000, Verdict::Success, ms(1));
    example.calls(49, Verdict::Failure, ms(1));
    assert!(example.call(Verdict::Failure, ms(1)).is_some(), "50 of the last 100");
}

#[test]
fn a_short_window_forgets_within_itself() {
    let mut example = Example::new(BreakerConfig { window: Window::Time(ms(500)), ..BreakerConfig::default() });
    example.calls(19, Verdict::Failure, Duration::ZERO);
    example.now += ms(499);
    assert_eq!(example.breaker.snapshot(example.now).tally.failed, 19);
    example.now += ms(1);
    assert_eq!(example.breaker.snapshot(example.now).tally.failed, 0);
    example.calls(19, Verdict::Failure, Duration::ZERO);
}

#[test]
fn time_that_goes_back_stands_still() {
    let mut example = Example::open(BreakerConfig::default());
    example.now += ms(2_000);
    assert_eq!(example.refused(), ms(3_000));
    example.now -= ms(1_500);
    assert_eq!(example.refused(), ms(3_000));
    example.now += ms(1_600);
    assert_eq!(example.refused(), ms(2_900));
}

#[test]
fn dropped_calls_do_not_wedge_half_open() {
    let mut example = Example::open(BreakerConfig { half_open_calls: 1, ..BreakerConfig::default() });
    example.now += ms(5_000);
    for _ in 0..100 {
        let ticket = example.acquire();
        assert_eq!(example.refused(), LIMIT * 2);
        assert_eq!(example.breaker.settle(ticket, Verdict::Ignored, example.now), None);
    }
    let transition = example.call(Verdict::Success, ms(1)).expect("well again");
    assert_eq!((transition.to, transition.cause), (State::Closed, Cause::Recovered));
}

#[test]
fn what_began_earlier_says_nothing_about_now() {
    let mut example = Example::new(BreakerConfig { half_open_calls: 1, ..BreakerConfig::default() });
    let before: Vec<_> = (0..10).map(|_| example.acquire()).collect();
    example.calls(19, Verdict::Failure, ms(1));
    assert!(example.call(Verdict::Failure, ms(1)).is_some());
    example.now += ms(5_000);
    let probe = example.acquire();
    for ticket in before {
        assert_eq!(example.breaker.settle(ticket, Verdict::Success, example.now), None);
    }
    assert_eq!(example.refused(), LIMIT * 2, "one call is let through, and it is under way");
    assert!(example.breaker.settle(probe, Verdict::Failure, example.now).is_some());
    assert_eq!(example.breaker.state(), State::Open);
}

#[test]
fn an_operator_has_the_last_word() {
    let mut example = Example::new(BreakerConfig::default());
    let command =
        |example: &mut Example, command| example.breaker.command(command, example.now).map(|change| change.to);
    assert_eq!(command(&mut example, Command::ForceOpen), Some(State::ForcedOpen));
    assert_eq!(command(&mut example, Command::ForceOpen), None);
    example.now += LIMIT * 1_000;
    assert_eq!(example.refused(), ms(5_000));
    assert_eq!(command(&mut example, Command::ForceClosed), Some(State::ForcedClosed));
    example.calls(100, Verdict::Failure, ms(1));
    assert_eq!(example.breaker.snapshot(example.now).tally.failed, 100, "they are counted");
    assert_eq!(command(&mut example, Command::Disable), Some(State::Disabled));
    example.calls(100, Verdict::Failure, ms(1));
    assert_eq!(example.breaker.snapshot(example.now).tally, Tally::default(), "they are not");
    assert_eq!(command(&mut example, Command::Reset), Some(State::Closed));
    assert_eq!(command(&mut example, Command::Probe), None, "there is nothing to find out");
    example.calls(19, Verdict::Failure, ms(1));
    assert_eq!(command(&mut example, Command::Reset), Some(State::Closed));
    example.calls(19, Verdict::Failure, ms(1));
}
