//! What a guard costs a call.
//!
//! ```sh
//! cargo bench --package jumun-guard            # 1 s a row
//! cargo bench --package jumun-guard -- 5       # 5 s a row
//! ```
//!
//! Nothing may cost more than a microsecond: a call to a neighbour costs thirty.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for a developer's terminal")]

use futures_util::FutureExt;
use jumun_guard::{
    Breaker, BreakerConfig, BulkheadConfig, Command, Guard, GuardConfig, Parts, Refusal, Verdict, Window,
};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

fn main() {
    // Cargo passes `--bench`.
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1);
    let length = Duration::from_secs(seconds);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _within = runtime.enter();

    println!("{:>44} {:>9}", "", "ns");
    row("a clock read, of which a call makes two", length, || {
        black_box(Instant::now());
    });
    breaker(length, "breaker: acquire and settle, 10 s window", Window::Time(Duration::from_secs(10)));
    breaker(length, "breaker: acquire and settle, 100 calls", Window::Calls(100));

    let guarded = guard(&GuardConfig::default());
    row("guard: a call that is answered at once", length, || {
        let outcome = call(&guarded, async { black_box(1) }).now_or_never();
        assert_eq!(outcome, Some(Ok(Some(1))));
    });
    row("guard: a call that is answered later", length, || {
        runtime.block_on(async {
            let outcome = call(&guarded, async {
                tokio::task::yield_now().await;
                black_box(1)
            });
            assert_eq!(outcome.await, Ok(Some(1)));
        });
    });
    row("… of which without the guard", length, || {
        runtime.block_on(async {
            let attempt = async {
                tokio::task::yield_now().await;
                black_box(1)
            };
            assert_eq!(attempt.await, 1);
        });
    });
    row("… and with a time limit only", length, || {
        runtime.block_on(async {
            let attempt = tokio::time::timeout(Duration::from_secs(1), async {
                tokio::task::yield_now().await;
                black_box(1)
            });
            assert_eq!(attempt.await, Ok(1));
        });
    });

    let open = guard(&GuardConfig::default());
    open.command(Command::ForceOpen);
    row("guard: refused by an open circuit", length, || {
        let outcome = call(&open, async { 1 }).now_or_never();
        assert!(matches!(outcome, Some(Err(Refusal::Open { .. }))));
    });

    let bulkhead = BulkheadConfig { max_concurrent: 1, max_wait: Duration::ZERO, ..BulkheadConfig::default() };
    let full = guard(&GuardConfig { bulkhead, ..GuardConfig::default() });
    let mut at_work = Box::pin(call(&full, std::future::pending()));
    assert!(at_work.as_mut().now_or_never().is_none());
    row("guard: refused by a full bulkhead", length, || {
        let outcome = call(&full, async { 1 }).now_or_never();
        assert_eq!(outcome, Some(Err(Refusal::Full)));
    });
    row("guard: a snapshot", length, || {
        black_box(guarded.snapshot());
    });
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "a judge is given a reference")]
fn success(_: &u32) -> Verdict {
    Verdict::Success
}

async fn call(guard: &Guard, work: impl Future<Output = u32>) -> Result<Option<u32>, Refusal> {
    const LIMIT: Duration = Duration::from_secs(1);
    Ok(guard.admit(LIMIT).await?.run(LIMIT, success, work).await)
}

fn guard(config: &GuardConfig) -> Guard {
    Guard::new(config, Parts::default()).unwrap()
}

fn breaker(length: Duration, name: &str, window: Window) {
    let mut breaker = Breaker::new(&BreakerConfig { window, ..BreakerConfig::default() }, length, Instant::now());
    let mut now = Instant::now();
    row(name, length, || {
        now += Duration::from_micros(100);
        let ticket = black_box(&mut breaker).acquire(now).0.unwrap();
        assert!(breaker.settle(ticket, Verdict::Success, now).is_none());
    });
}

/// Runs it for this long, in batches of a thousand; shows the median batch, so that other load on the machine matters
/// little.
fn row(name: &str, length: Duration, mut run: impl FnMut()) {
    let (begun, mut batches) = (Instant::now(), Vec::new());
    while begun.elapsed() < length {
        let batch = Instant::now();
        for _ in 0..1_000 {
            run();
        }
        batches.push(batch.elapsed());
    }
    batches.sort_unstable();
    println!("{name:>44} {:>9.0}", batches[batches.len() / 2].as_secs_f64() * 1e9 / 1_000.0);
}
