//! What a guard does around calls, in virtual time.

#![allow(clippy::unwrap_used, clippy::unchecked_time_subtraction, reason = "a test may fail")]

use futures_util::{FutureExt, future, poll};
use jumun_guard::{
    BreakerConfig, BulkheadConfig, Cause, Command, Guard, GuardConfig, Parts, Refusal, State, Transition, Verdict,
    Window, limits,
};
use std::{
    cell::{Cell, RefCell},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, advance, sleep};

const LIMIT: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A guard that opens with the second failure.
fn strict() -> GuardConfig {
    GuardConfig {
        breaker: BreakerConfig {
            window: Window::Calls(2),
            minimum_calls: Some(2),
            half_open_calls: 2,
            ..BreakerConfig::default()
        },
        ..GuardConfig::default()
    }
}

fn guard(config: &GuardConfig) -> Guard {
    Guard::new(config, Parts::default()).unwrap()
}

/// A result is what it says of the neighbour.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "a judge is given a reference")]
fn judge(verdict: &Verdict) -> Verdict {
    *verdict
}

/// The result of a call, as its caller sees it.
#[derive(Debug, PartialEq)]
enum Outcome {
    Done(Verdict),
    Refused(Refusal),
    TimedOut(Duration),
}

/// A call within the guard's own time limit. `attempt` is given the time that is left for it.
async fn guarded<F>(guard: &Guard, attempt: impl FnOnce(Duration) -> F) -> Outcome
where
    F: Future<Output = Verdict>,
{
    within(guard, LIMIT, attempt).await
}

/// Queues and calls within one time limit, as the runtime does.
async fn within<F>(guard: &Guard, limit: Duration, attempt: impl FnOnce(Duration) -> F) -> Outcome
where
    F: Future<Output = Verdict>,
{
    let began = Instant::now();
    let admitted = match guard.admit(limit).await {
        Ok(admitted) => admitted,
        Err(why) => return Outcome::Refused(why),
    };
    let left = limit - began.elapsed();
    let result = admitted.run(left, judge, attempt(left)).await;
    result.map_or(Outcome::TimedOut(began.elapsed()), Outcome::Done)
}

/// A call that takes a time.
async fn call(guard: &Guard, takes: Duration, verdict: Verdict) -> Outcome {
    let attempt = |_| async move {
        sleep(takes).await;
        verdict
    };
    guarded(guard, attempt).await
}

async fn open(guard: &Guard) {
    for _ in 0..2 {
        assert_eq!(call(guard, ms(1), Verdict::Failure).await, Outcome::Done(Verdict::Failure));
    }
    assert_eq!(guard.state(), State::Open);
}

fn refused_for(outcome: Outcome) -> Duration {
    match outcome {
        Outcome::Refused(why @ Refusal::Open { .. }) => why.retry_after().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_gives_what_it_gives() {
    let guard = guard(&GuardConfig::default());
    for verdict in [Verdict::Success, Verdict::Failure, Verdict::Ignored] {
        assert_eq!(call(&guard, ms(999), verdict).await, Outcome::Done(verdict));
    }
    let seen = guard.snapshot();
    assert_eq!((seen.breaker.tally.calls, seen.breaker.tally.failed, seen.breaker.tally.slow), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn no_answer_within_the_limit_is_a_failure_and_slow_and_its_outcome_unknown() {
    let guard = guard(&GuardConfig::default());
    let began = Instant::now();
    assert_eq!(call(&guard, ms(5_000), Verdict::Success).await, Outcome::TimedOut(LIMIT));
    assert_eq!(began.elapsed(), LIMIT);
    let seen = guard.snapshot();
    assert_eq!((seen.breaker.tally.failed, seen.breaker.tally.slow, seen.timed_out), (1, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_shorter_limit_holds_for_the_wait() {
    let guard = guard(&narrow(1, LIMIT * 10));
    let _at_work = guard.admit(LIMIT).await.unwrap();
    for (own, expected) in [(ms(400), ms(400)), (ms(4_000), LIMIT)] {
        let began = Instant::now();
        assert_eq!(guard.admit(own).await.unwrap_err(), Refusal::Full);
        assert_eq!(began.elapsed(), expected);
    }
    let outcome = within(&guard, Duration::ZERO, |_| async { unreachable!() }).await;
    assert_eq!(outcome, Outcome::Refused(Refusal::Full));
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_refuses_at_once_and_closes_after_enough_good_calls() {
    let told: Arc<Mutex<Vec<Transition>>> = Arc::default();
    let heard = told.clone();
    let on_transition = Box::new(move |transition| heard.lock().unwrap().push(transition));
    let guard = Guard::new(&strict(), Parts { on_transition, ..Parts::default() }).unwrap();
    open(&guard).await;
    let began = Instant::now();
    assert_eq!(refused_for(guarded(&guard, |_| async { unreachable!() }).await), ms(5_000));
    assert_eq!(began.elapsed(), Duration::ZERO);
    advance(ms(1_500)).await;
    assert_eq!(refused_for(call(&guard, ms(1), Verdict::Success).await), ms(3_500));
    advance(ms(3_500)).await;
    for _ in 0..2 {
        assert_eq!(call(&guard, ms(1), Verdict::Success).await, Outcome::Done(Verdict::Success));
    }
    let told: Vec<_> = told.lock().unwrap().iter().map(|change| (change.number, change.to, change.cause)).collect();
    let expected = [
        (1, State::Open, Cause::FailureRate),
        (2, State::HalfOpen, Cause::WaitOver),
        (3, State::Closed, Cause::Recovered),
    ];
    assert_eq!(told, expected);
    assert_eq!(guard.snapshot().breaker.rejected, 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_leaves_nothing_behind_and_does_not_count() {
    let guard = guard(&strict());
    open(&guard).await;
    advance(ms(5_000)).await;
    for _ in 0..10 {
        let mut first = pin!(call(&guard, ms(500), Verdict::Failure));
        let mut second = Box::pin(call(&guard, ms(500), Verdict::Failure));
        assert!(poll!(first.as_mut()).is_pending() && poll!(second.as_mut()).is_pending());
        assert_eq!(guard.snapshot().breaker.permits_out, 2);
        assert!(matches!(call(&guard, ms(1), Verdict::Success).await, Outcome::Refused(Refusal::Open { .. })));
        drop(second);
        assert_eq!(guard.snapshot().breaker.permits_out, 1);
    }
    let seen = guard.snapshot();
    assert_eq!((seen.breaker.permits_out, seen.breaker.tally.calls, seen.bulkhead.at_work), (0, 0, 0));
    assert_eq!(seen.breaker.state, State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_leaves_nothing_behind() {
    let guard = guard(&strict());
    for _ in 0..10 {
        let call = guarded(&guard, |_| async { panic!("it fails") });
        assert!(AssertUnwindSafe(call).catch_unwind().await.is_err());
    }
    let seen = guard.snapshot();
    assert_eq!((seen.breaker.permits_out, seen.breaker.tally.calls, seen.bulkhead.at_work), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_looks_after_does_not_wedge_half_open() {
    let guard = guard(&strict());
    open(&guard).await;
    advance(ms(5_000)).await;
    let mut calls: Vec<_> = (0..2).map(|_| Box::pin(call(&guard, ms(500), Verdict::Success))).collect();
    for call in &mut calls {
        assert!(poll!(call.as_mut()).is_pending());
    }
    // The test polls them no more; it does not drop them either.
    advance(LIMIT * 2 - ms(1)).await;
    assert_eq!(refused_for(call(&guard, ms(1), Verdict::Success).await), ms(1));
    advance(ms(1)).await;
    assert_eq!(refused_for(call(&guard, ms(1), Verdict::Success).await), ms(5_000));
    advance(ms(5_000)).await;
    for _ in 0..2 {
        assert_eq!(call(&guard, ms(1), Verdict::Success).await, Outcome::Done(Verdict::Success));
    }
    assert_eq!(guard.state(), State::Closed);
}

fn narrow(max_concurrent: u32, max_wait: Duration) -> GuardConfig {
    GuardConfig { bulkhead: BulkheadConfig { max_concurrent, max_wait, ..BulkheadConfig::default() }, ..strict() }
}

#[tokio::test(start_paused = true)]
async fn one_call_too_many_waits_its_time_and_is_refused_without_counting() {
    for max_wait in [ms(0), ms(100)] {
        let guard = guard(&narrow(2, max_wait));
        let began = Instant::now();
        let calls = future::join_all((0..3).map(|_| call(&guard, ms(500), Verdict::Success)));
        let refused = async {
            let outcome = guarded(&guard, |_| async { unreachable!() }).await;
            assert_eq!((outcome, began.elapsed()), (Outcome::Refused(Refusal::Full), max_wait));
        };
        let (outcomes, ()) = future::join(calls, refused).await;
        let [Outcome::Done(_), Outcome::Done(_), Outcome::Refused(Refusal::Full)] = outcomes[..] else {
            panic!("{outcomes:?}")
        };
        let seen = guard.snapshot();
        assert_eq!((seen.breaker.tally.calls, seen.breaker.tally.failed, seen.bulkhead.refused), (2, 0, 2));
    }
}

/// In real time, where even a wait of nothing takes a millisecond.
#[tokio::test]
async fn where_nobody_may_wait_nobody_does() {
    let guard = guard(&narrow(1, Duration::ZERO));
    let mut at_work = pin!(call(&guard, ms(500), Verdict::Success));
    assert!(poll!(at_work.as_mut()).is_pending());
    let refused = call(&guard, ms(500), Verdict::Success).now_or_never();
    assert_eq!(refused, Some(Outcome::Refused(Refusal::Full)));
}

#[tokio::test(start_paused = true)]
async fn who_came_first_is_first_served_and_who_goes_makes_room() {
    let guard = guard(&narrow(1, LIMIT));
    let served = RefCell::new(Vec::new());
    let call = |name: usize| {
        let served = &served;
        let guard = &guard;
        async move {
            let attempt = |_| async move {
                served.borrow_mut().push(name);
                sleep(ms(100)).await;
                Verdict::Success
            };
            guarded(guard, attempt).await
        }
    };
    let mut calls: Vec<Pin<Box<_>>> = (0..6).map(|name| Box::pin(call(name))).collect();
    for call in &mut calls {
        assert!(poll!(call.as_mut()).is_pending());
    }
    assert_eq!((guard.snapshot().bulkhead.at_work, guard.snapshot().bulkhead.waiting), (1, 5));
    drop(calls.remove(3)); // one who waits
    assert_eq!(guard.snapshot().bulkhead.waiting, 4);
    drop(calls.remove(0)); // the one at work
    future::join_all(calls).await;
    assert_eq!(*served.borrow(), [0, 1, 2, 4, 5]);
    assert_eq!((guard.snapshot().bulkhead.at_work, guard.snapshot().bulkhead.waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_bounded() {
    let guard = guard(&narrow(1, ms(100)));
    let crowd = usize::try_from(limits::WAITING_MAX).unwrap() + 3;
    let mut calls: Vec<_> = (0..crowd).map(|_| Box::pin(call(&guard, LIMIT / 2, Verdict::Success))).collect();
    let refused = calls.iter_mut().filter_map(FutureExt::now_or_never).count();
    assert_eq!(refused, 2, "one is at work, as many as may wait wait");
    assert_eq!(guard.snapshot().bulkhead.waiting, limits::WAITING_MAX);
}

#[tokio::test(start_paused = true)]
async fn waiting_is_part_of_the_time_limit() {
    let guard = guard(&narrow(1, LIMIT * 10));
    let first = guarded(&guard, |_| future::pending());
    let second = async {
        sleep(ms(300)).await;
        let told = Cell::new(None);
        let began = Instant::now();
        let outcome = guarded(&guard, |limit| {
            told.set(Some(limit));
            future::pending()
        });
        let outcome = outcome.await;
        (outcome, told.get(), began.elapsed())
    };
    let (first, second) = future::join(first, second).await;
    assert_eq!(first, Outcome::TimedOut(LIMIT));
    assert_eq!(second, (Outcome::TimedOut(LIMIT), Some(ms(300)), LIMIT));
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_has_not_called() {
    let guard = guard(&narrow(1, LIMIT * 10));
    let first = guarded(&guard, |_| future::pending());
    let second = within(&guard, ms(400), |_| async { unreachable!() });
    let (_, second) = future::join(first, second).await;
    assert_eq!(second, Outcome::Refused(Refusal::Full));
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_opens_meanwhile_is_not_waited_for() {
    let guard = guard(&narrow(2, LIMIT));
    let failing = future::join(call(&guard, ms(50), Verdict::Failure), call(&guard, ms(50), Verdict::Failure));
    let began = Instant::now();
    let waiting = async {
        let outcome = guarded(&guard, |_| async { unreachable!() }).await;
        (refused_for(outcome), began.elapsed())
    };
    let (_, waited) = future::join(failing, waiting).await;
    assert_eq!(waited, (ms(5_000), ms(50)));
}

#[tokio::test(start_paused = true)]
async fn with_a_full_bulkhead_an_open_circuit_refuses_at_once() {
    let guard = guard(&narrow(1, ms(500)));
    let mut at_work = pin!(call(&guard, ms(900), Verdict::Success));
    assert!(poll!(at_work.as_mut()).is_pending());
    guard.command(Command::ForceOpen);
    let refused = guarded(&guard, |_| async { unreachable!() }).now_or_never().unwrap();
    assert_eq!(refused_for(refused), ms(5_000));
    assert_eq!(guard.snapshot().breaker.rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_let_in_may_take_time_before_the_call() {
    let guard = guard(&narrow(1, Duration::ZERO));
    let admitted = guard.admit(LIMIT).await.unwrap();
    assert_eq!(guard.admit(LIMIT).await.unwrap_err(), Refusal::Full, "it has its place already");
    advance(ms(5_000)).await; // a slow disk
    let call = async {
        sleep(ms(900)).await;
        Verdict::Success
    };
    assert_eq!(admitted.run(LIMIT, judge, call).await, Some(Verdict::Success));
    let seen = guard.snapshot();
    assert_eq!((seen.breaker.tally.calls, seen.breaker.tally.slow), (1, 0), "that did not make the neighbour slow");
    assert_eq!((seen.bulkhead.at_work, seen.breaker.permits_out), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_let_in_has_a_time_limit() {
    let guard = guard(&strict());
    let admitted = guard.admit(LIMIT).await.unwrap();
    let began = Instant::now();
    assert_eq!(admitted.run(ms(400), judge, future::pending()).await, None);
    assert_eq!(began.elapsed(), ms(400));
    let seen = guard.snapshot();
    assert_eq!((seen.breaker.tally.failed, seen.timed_out), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_is_let_in_and_does_not_call_leaves_nothing_behind() {
    let guard = guard(&strict());
    open(&guard).await;
    assert_eq!(guard.admit(LIMIT).await.unwrap_err(), Refusal::Open { retry_after: ms(5_000) });
    assert_eq!(guard.admit(Duration::ZERO).await.unwrap_err(), Refusal::NoTime);
    advance(ms(5_000)).await;
    for _ in 0..10 {
        drop(guard.admit(LIMIT).await.unwrap());
    }
    for _ in 0..2 {
        let admitted = guard.admit(LIMIT).await.unwrap();
        assert_eq!(admitted.run(LIMIT, judge, future::ready(Verdict::Success)).await, Some(Verdict::Success));
    }
    assert_eq!(guard.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_is_refused() {
    let config = GuardConfig { time_limit: Duration::ZERO, ..GuardConfig::default() };
    assert_eq!(Guard::new(&config, Parts::default()).unwrap_err().0.key, "time_limit");
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_can_be_written() {
    let guard = guard(&strict());
    open(&guard).await;
    let _ = call(&guard, ms(1), Verdict::Success).await;
    advance(ms(1_000)).await;
    let written = serde_json::to_value(guard.snapshot()).unwrap();
    assert_eq!(written["breaker"]["state"], "open");
    assert_eq!(written["breaker"]["wait_left_ms"], 4_000);
    assert_eq!(written["breaker"]["last"]["cause"], "failure-rate");
    assert_eq!(written["breaker"]["last"]["tally"]["failed"], 2);
    assert_eq!(written["breaker"]["rejected"], 1);
    assert_eq!(written["bulkhead"]["max_concurrent"], 256);
}

/// Threads and real time: nothing is lost or counted twice.
#[test]
fn all_calls_of_many_threads_are_counted() {
    const CALLS: u64 = 2_000;
    let config = GuardConfig {
        breaker: BreakerConfig { window: Window::Calls(100_000), failure_rate: 1.0, ..BreakerConfig::default() },
        bulkhead: BulkheadConfig { max_concurrent: 2, max_wait: Duration::from_mins(10), ..BulkheadConfig::default() },
        time_limit: Duration::from_mins(10),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let guard = Arc::new(guard(&config));
    runtime.block_on(async {
        let tasks: Vec<_> = (0..8)
            .map(|task| {
                let guard = guard.clone();
                tokio::spawn(async move {
                    for number in 0..CALLS {
                        let verdict = if (task + number) % 2 == 0 { Verdict::Success } else { Verdict::Failure };
                        let outcome = guarded(&guard, |_| async move {
                            tokio::task::yield_now().await;
                            verdict
                        });
                        assert_eq!(outcome.await, Outcome::Done(verdict));
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let seen = guard.snapshot();
    assert_eq!((seen.breaker.tally.calls, seen.breaker.tally.failed), (8 * CALLS, 4 * CALLS));
    assert_eq!((seen.breaker.permits_out, seen.bulkhead.at_work, seen.bulkhead.waiting), (0, 0, 0));
}
