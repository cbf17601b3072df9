//! Durable paid orders over HTTP: the service `order` asks the service `payment`, two processes, each with its own
//! database, as `jumun serve` runs them. The load is a closed loop on the same machine.
//!
//! `cargo bench -p jumun-program`; `JUMUN_BENCH_SECONDS=30` measures longer.

mod support;

use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use std::{
    env,
    io::{self, Write},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use support::{BASKET, Http, Service, client, percentile};

const CALLERS: [usize; 4] = [1, 16, 64, 256];

struct Measured {
    latencies: Vec<Duration>,
    refused: usize,
    elapsed: Duration,
}

async fn load(http: &Http, url: &str, callers: usize, time: Duration) -> Measured {
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let work: Vec<_> = (0..callers)
        .map(|_| {
            let (http, url, stop) = (http.clone(), format!("{url}/orders"), stop.clone());
            tokio::spawn(async move {
                let (mut latencies, mut refused) = (Vec::new(), 0);
                while !stop.load(Ordering::Relaxed) {
                    let request = Request::post(&url)
                        .header("content-type", "application/json")
                        .header("idempotency-key", uuid::Uuid::now_v7().to_string())
                        .body(Full::from(BASKET));
                    let sent = Instant::now();
                    let Ok(request) = request else { break };
                    let status = match http.request(request).await {
                        Ok(response) => {
                            let status = response.status();
                            drop(response.into_body().collect().await);
                            status
                        }
                        Err(_) => StatusCode::BAD_GATEWAY,
                    };
                    if status == StatusCode::CREATED { latencies.push(sent.elapsed()) } else { refused += 1 }
                }
                (latencies, refused)
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut measured = Measured { latencies: Vec::new(), refused: 0, elapsed: began.elapsed() };
    for caller in work {
        if let Ok((latencies, refused)) = caller.await {
            measured.latencies.extend(latencies);
            measured.refused += refused;
        }
    }
    measured.latencies.sort_unstable();
    measured
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn per(amount: u64, orders: usize) -> f64 {
    amount as f64 / orders.max(1) as f64
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = env::var("JUMUN_BENCH_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(8);
    // Beside the build, so that it is a real disk: the system's temporary folder may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let payment = Service::start("payment", folder.path(), &[])?;
    let set = ["--set".to_owned(), format!("order.calls.payment.url={}", payment.url)];
    let order = Service::start("order", folder.path(), &set)?;
    let http = client();

    let mut out = io::stdout();
    writeln!(out, "callers  orders/s       p50       p99   order  payment (CPU µs/order)  fsyncs/order  refused")?;
    for callers in CALLERS {
        load(&http, &order.url, callers, Duration::from_secs(1)).await;
        let before = (order.cpu(), payment.cpu(), order.groups(&http).await, payment.groups(&http).await);
        let Measured { latencies, refused, elapsed } =
            load(&http, &order.url, callers, Duration::from_secs(seconds)).await;
        let after = (order.cpu(), payment.cpu(), order.groups(&http).await, payment.groups(&http).await);
        let orders = latencies.len();
        let micros = |after: Option<Duration>, before: Option<Duration>| {
            let used = after.unwrap_or_default().saturating_sub(before.unwrap_or_default());
            per(u64::try_from(used.as_micros()).unwrap_or_default(), orders)
        };
        let grown = |after: Option<u64>, before: Option<u64>| after.unwrap_or_default() - before.unwrap_or_default();
        writeln!(
            out,
            "{callers:>7} {:>9.0} {:>9.1?} {:>9.1?} {:>7.1} {:>8.1} {:>29.2} {refused:>8}",
            per(orders as u64, 1) / elapsed.as_secs_f64(),
            percentile(&latencies, 0.5),
            percentile(&latencies, 0.99),
            micros(after.0, before.0),
            micros(after.1, before.1),
            per(grown(after.2, before.2) + grown(after.3, before.3), orders),
        )?;
    }
    drop(order);
    drop(payment);
    let status = Command::new(env!("CARGO_BIN_EXE_jumun"))
        .args(["audit", "food-delivery", "--data"])
        .arg(folder.path())
        .status()?;
    // Shop and rider have not heard of the orders, as they do not run: those are open, and nothing is wrong.
    if status.code() == Some(1) { Err("the audit found what must not be".into()) } else { Ok(()) }
}
