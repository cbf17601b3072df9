//! A guard whose neighbour tells how many places it has, in virtual time.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use jumun_guard::{
    Admitted, BreakerConfig, BulkheadConfig, Capacity, Guard, GuardConfig, Parts, Refusal, Report, State, Verdict,
    Window,
};
use proptest::{collection::vec, prelude::*};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const LIMIT: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A guard with eight slots that opens with the tenth call, if half of ten failed.
fn guard(keep_to_places: bool) -> Guard {
    let breaker = BreakerConfig { window: Window::Calls(10), ..BreakerConfig::default() };
    let bulkhead = BulkheadConfig { max_concurrent: 8, max_wait: ms(100), keep_to_places };
    Guard::new(&GuardConfig { breaker, bulkhead, time_limit: LIMIT }, Parts::default()).unwrap()
}

fn told(verdict: Verdict, places: u32, queue: u32) -> Report {
    Report { verdict, capacity: Some(Capacity { places, queue }) }
}

/// A call that takes a time and brings this report.
async fn run(admitted: Admitted<'_>, takes: Duration, report: Report) -> Option<()> {
    admitted.run(LIMIT, |()| report, sleep(takes)).await
}

fn free(guard: &Guard) -> Option<Admitted<'_>> {
    guard.try_admit().map(Result::unwrap)
}

fn in_flight(guard: &Guard) -> (u32, u32) {
    let seen = guard.snapshot().bulkhead;
    (seen.at_work, seen.limit)
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_in_flight_than_the_neighbour_has_places() {
    let guard = guard(true);
    let mut held: Vec<_> = (0..8).map(|_| free(&guard).unwrap()).collect();
    assert!(free(&guard).is_none(), "the configured bound");
    run(held.pop().unwrap(), ms(10), told(Verdict::Success, 3, 5)).await.unwrap();
    assert_eq!(in_flight(&guard), (7, 3), "seven are still under way");
    for left in (3..7).rev() {
        held.pop();
        assert_eq!(in_flight(&guard), (left, 3));
        assert!(free(&guard).is_none(), "with {left} in flight");
    }
    held.pop();
    let third = free(&guard).unwrap();
    assert!(free(&guard).is_none());

    // Nothing queues there, and all slots are used: one more.
    run(third, ms(10), told(Verdict::Success, 3, 0)).await.unwrap();
    assert_eq!(in_flight(&guard), (2, 4));
    held.extend((0..2).map(|_| free(&guard).unwrap()));
    assert!(free(&guard).is_none());

    // A neighbour that tells nothing is called as before.
    run(held.pop().unwrap(), ms(10), Verdict::Success.into()).await.unwrap();
    assert_eq!((in_flight(&guard), guard.snapshot().bulkhead.told), ((3, 8), None));
    assert_eq!((0..9).map_while(|_| free(&guard)).collect::<Vec<_>>().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn where_it_is_switched_off_the_configured_bound_applies() {
    let guard = guard(false);
    run(free(&guard).unwrap(), ms(10), told(Verdict::Success, 3, 5)).await.unwrap();
    assert_eq!((in_flight(&guard), guard.snapshot().bulkhead.told), ((0, 8), None));
}

#[tokio::test(start_paused = true)]
async fn busy_is_no_failure() {
    let guard = guard(true);
    for _ in 0..10 {
        run(free(&guard).unwrap(), ms(10), told(Verdict::Ignored, 1, 50)).await.unwrap();
    }
    let seen = guard.snapshot();
    assert_eq!((seen.breaker.state, seen.breaker.tally.calls, seen.bulkhead.limit), (State::Closed, 0, 1));
}

/// Two calls that time out, the second with less time than the limit, while another is answered or not.
async fn times_out_with_little_time(is_another_answered: bool, left: Duration) -> (u64, u64) {
    let guard = guard(true);
    let another = async {
        let takes = if is_another_answered { ms(500) } else { LIMIT * 2 };
        run(free(&guard).unwrap(), takes, told(Verdict::Success, 8, 0)).await
    };
    let late = async { free(&guard).unwrap().run(left, |()| Verdict::Success, sleep(LIMIT * 2)).await };
    let (_, late) = tokio::join!(another, late);
    assert_eq!(late, None);
    let tally = guard.snapshot().breaker.tally;
    (tally.calls, tally.failed)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_had_less_time_because_it_queued_says_nothing_of_a_neighbour_that_answers_others() {
    assert_eq!(times_out_with_little_time(true, ms(850)).await, (1, 0), "only the answer counts");
    assert_eq!(times_out_with_little_time(false, ms(850)).await, (2, 2), "a neighbour that answers nobody is down");
    assert_eq!(times_out_with_little_time(true, LIMIT).await, (2, 1), "it had its whole time");
    assert_eq!(times_out_with_little_time(true, ms(900)).await, (2, 1), "nearly: it waited for a slot like most calls");
}

#[tokio::test(start_paused = true)]
async fn a_neighbour_that_hangs_is_found_out_however_few_places_it_had() {
    let breaker = BreakerConfig { window: Window::Time(ms(10_000)), ..BreakerConfig::default() };
    let config = GuardConfig { breaker, time_limit: LIMIT, ..GuardConfig::default() };
    let guard = Guard::new(&config, Parts::default()).unwrap();
    run(free(&guard).unwrap(), ms(10), told(Verdict::Success, 1, 0)).await.unwrap();
    let began = Instant::now();
    while guard.state() == State::Closed {
        assert!(began.elapsed() < ms(10_000), "{:?}", guard.snapshot());
        let calls: Vec<_> = std::iter::from_fn(|| free(&guard)).collect();
        let hang = calls.into_iter().map(|call| call.run(LIMIT, |()| Verdict::Success, sleep(LIMIT * 2)));
        futures_util::future::join_all(hang).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_has_patience_queues_longer() {
    let guard = guard(true);
    let held: Vec<_> = (0..8).map(|_| free(&guard).unwrap()).collect();
    let began = Instant::now();
    let hasty = async { (guard.admit(LIMIT).await.map(drop), began.elapsed()) };
    let patient = async { (guard.admit_patiently(LIMIT).await.map(drop), began.elapsed()) };
    let goes = async {
        sleep(ms(700)).await;
        drop(held);
    };
    let (hasty, patient, ()) = tokio::join!(hasty, patient, goes);
    assert_eq!((hasty, patient), ((Err(Refusal::Full), ms(100)), (Ok(()), ms(700))));
}

#[tokio::test(start_paused = true)]
async fn no_call_queues_until_it_has_too_little_time_left() {
    let guard = guard(true);
    for _ in 0..50 {
        run(free(&guard).unwrap(), ms(940), told(Verdict::Success, 8, 0)).await.unwrap();
    }
    let _held: Vec<_> = std::iter::from_fn(|| free(&guard)).collect();
    let began = Instant::now();
    assert_eq!(guard.admit(LIMIT).await.map(drop), Err(Refusal::Full));
    let waited = began.elapsed();
    assert!((ms(50)..=ms(60)).contains(&waited), "940 of 1000 ms are needed, of 100 ms it could wait: {waited:?}");
    let began = Instant::now();
    assert_eq!(guard.admit(ms(900)).await.map(drop), Err(Refusal::Full));
    assert_eq!(began.elapsed(), ms(10), "only a moment");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Enter,
    Leave(usize),
    Hear { nth: usize, places: u32, queue: u32 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let nth = 0..8_usize;
    let step = prop_oneof![
        4 => Just(Step::Enter),
        2 => nth.clone().prop_map(Step::Leave),
        2 => (nth, 1..10_u32, 0..12_u32).prop_map(|(nth, places, queue)| Step::Hear { nth, places, queue }),
    ];
    vec(step, 1..80)
}

proptest! {
    /// However the limit moves while calls are in flight: a call is admitted exactly when fewer are in flight than the limit.
    #[test]
    fn slots_are_never_lost_nor_made(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let guard = guard(true);
            let mut held = Vec::new();
            for step in steps {
                let (_, limit) = in_flight(&guard);
                match step {
                    Step::Enter => {
                        let before = held.len();
                        held.extend(free(&guard));
                        assert_eq!(held.len() > before, before < limit as usize, "{before} of {limit}");
                    }
                    Step::Leave(nth) if !held.is_empty() => drop(held.swap_remove(nth % held.len())),
                    Step::Hear { nth, places, queue } if !held.is_empty() => {
                        let call = held.swap_remove(nth % held.len());
                        run(call, ms(1), told(Verdict::Success, places, queue)).await.unwrap();
                    }
                    Step::Leave(_) | Step::Hear { .. } => {}
                }
                assert_eq!(in_flight(&guard).0 as usize, held.len());
            }
        });
    }
}
