//! How far the view is behind: five services as processes, a steady 2,000 orders a second, and how long after its 201 an
//! order is shown as confirmed by its shop. That is four hops: order, bus, store, bus, dashboard.
//!
//! `cargo bench -p jumun-program --bench events`; `JUMUN_BENCH_SECONDS=30` measures longer, `JUMUN_BENCH_RATE=4000` harder.

mod support;

use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use std::{
    env,
    io::{self, Write},
    process::Command,
    time::{Duration, Instant},
};
use support::{BASKET, Http, Service, client, percentile};

/// One order in so many is watched until it is confirmed.
const WATCHED: u64 = 50;

/// An order that is not confirmed by then counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// What one order came to: how long its 201 took, and its view after that, if it was watched.
type Outcome = Result<(Duration, Option<Duration>), String>;

async fn order(http: Http, order: String, dashboard: String, is_watched: bool, due: Instant) -> Outcome {
    let request = Request::post(format!("{order}/orders"))
        .header("content-type", "application/json")
        .header("idempotency-key", uuid::Uuid::now_v7().to_string())
        .body(Full::from(BASKET));
    let response =
        http.request(request.map_err(|error| error.to_string())?).await.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let location = response.headers().get("location").and_then(|location| location.to_str().ok()).map(str::to_owned);
    drop(response.into_body().collect().await);
    if status != StatusCode::CREATED {
        return Err(status.to_string());
    }
    let (took, answered) = (due.elapsed(), Instant::now());
    if !is_watched {
        return Ok((took, None));
    }
    let id = location.as_deref().and_then(|location| location.rsplit('/').next()).unwrap_or_default().to_owned();
    while answered.elapsed() < LOST_AFTER {
        let uri = format!("{dashboard}/dashboards/{id}").parse().map_err(|_| "no address".to_owned())?;
        if let Ok(response) = http.get(uri).await
            && let Ok(body) = response.into_body().collect().await
            && body.to_bytes().windows(17).any(|bytes| bytes == b"\"ORDER_CONFIRMED\"")
        {
            return Ok((took, Some(answered.elapsed())));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Err("it was never confirmed".to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number = |name: &str, default: u64| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seconds, rate) = (number("JUMUN_BENCH_SECONDS", 10), number("JUMUN_BENCH_RATE", 2_000));
    // Beside the build, so that it is a real disk: the system's temporary folder may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let payment = Service::start("payment", folder.path(), &[])?;
    let set = ["--set".to_owned(), format!("order.calls.payment.url={}", payment.url)];
    let order_service = Service::start("order", folder.path(), &set)?;
    let store = Service::start("store", folder.path(), &[])?;
    let delivery = Service::start("delivery", folder.path(), &[])?;
    let dashboard = Service::start("dashboard", folder.path(), &[])?;
    let http = client();
    let services = [&order_service, &payment, &store, &delivery, &dashboard];
    let names = ["order", "payment", "store", "delivery", "dashboard"];

    let mut orders = Vec::new();
    let before = services.map(Service::cpu);
    let began = Instant::now();
    let mut every = tokio::time::interval(Duration::from_millis(1));
    for nth in 0..rate * seconds {
        let due = began + Duration::from_micros(nth * 1_000_000 / rate);
        while Instant::now() < due {
            every.tick().await;
        }
        let watched = nth % WATCHED == 0;
        orders.push(tokio::spawn(order(http.clone(), order_service.url.clone(), dashboard.url.clone(), watched, due)));
    }
    let (mut answers, mut lags, mut failed) = (Vec::new(), Vec::new(), 0_u64);
    for outcome in orders {
        match outcome.await? {
            Ok((took, lag)) => {
                answers.push(took);
                lags.extend(lag);
            }
            Err(_) => failed += 1,
        }
    }
    let after = services.map(Service::cpu);
    answers.sort_unstable();
    lags.sort_unstable();

    let mut out = io::stdout();
    writeln!(out, "{rate} orders/s for {seconds} s: {} answered 201, {failed} failed", answers.len())?;
    for (what, sorted) in [("201 after", &answers), ("confirmed in the view after that", &lags)] {
        let of = |share| percentile(sorted, share);
        writeln!(out, "{what:<34} p50 {:>9.1?}  p99 {:>9.1?}  max {:>9.1?}", of(0.5), of(0.99), of(1.0))?;
    }
    write!(out, "CPU µs an order:")?;
    for ((name, before), after) in names.into_iter().zip(before).zip(after) {
        let used = after.unwrap_or_default().saturating_sub(before.unwrap_or_default());
        write!(out, "  {name} {}", used.as_micros() / u128::from((rate * seconds).max(1)))?;
    }
    writeln!(out)?;
    drop((order_service, payment, store, delivery, dashboard));
    let audit = Command::new(env!("CARGO_BIN_EXE_jumun"))
        .args(["audit", "food-delivery", "--data"])
        .arg(folder.path())
        .status()?;
    // The services were killed: what was on its way then is open, and nothing is wrong.
    if audit.code() == Some(1) { Err("the audit found what must not be".into()) } else { Ok(()) }
}
