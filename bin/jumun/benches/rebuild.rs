//! How fast a view is made anew from the log while its service answers, and with how much memory: seven events an order,
//! from four services, as they would stand on the bus.
//!
//! `cargo bench -p jumun-program --bench rebuild`; `JUMUN_BENCH_ORDERS=1000000` measures more. `JUMUN_BENCH_APART=100000`
//! places so many orders between two events of one order, so that fewer rows are still at hand.

mod support;

use http_body_util::BodyExt;
use jumun_bus::{BusOptions, BusUrl, Publisher, Record, Source};
use std::{
    env,
    error::Error,
    fs,
    io::{self, Write},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use support::{Http, Service, client, percentile};
use tokio::process::Command;

/// What happens to an order: who says it, and the example of it in the system's own examples.
const WAY: [(&str, &str); 7] = [
    ("payment", "PaymentApproved"),
    ("order", "Ordered"),
    ("store", "StoreConfirmed"),
    ("store", "CookCompleted"),
    ("delivery", "DeliveryStarted"),
    ("delivery", "PickedUp"),
    ("delivery", "DeliveryCompleted"),
];

/// Puts everything that happens to so many orders onto the bus.
fn publish(bus: &Path, orders: i64, apart: i64) -> Result<u64, Box<dyn Error>> {
    let bus = BusUrl::embedded(bus).open(BusOptions::default())?;
    let examples = include_str!("../../../systems/food-delivery/src/examples.jsonl");
    let example = |name: &str| {
        let tag = format!("{{\"eventType\":\"{name}\",");
        examples.lines().find(|line| line.starts_with(&tag)).unwrap_or_default().to_owned()
    };
    let steps = WAY.map(|(service, name)| (service, name, example(name)));
    let mut published = 0;
    for service in ["payment", "order", "store", "delivery"] {
        let source = Source { service: service.into(), epoch: uuid::Uuid::new_v4(), partitions: 1 };
        let mut publisher: Box<dyn Publisher> = bus.publisher(&source)?;
        let mut records = Vec::new();
        let mut sequence = 0;
        // Step n of an order happens when order + n * apart is placed.
        for moment in 0..orders + 7 * apart {
            for (nth, (_, name, body)) in (0_i64..).zip(&steps).filter(|(_, (by, ..))| *by == service) {
                let id = moment - nth * apart + 1;
                if !(1..=orders).contains(&id) {
                    continue;
                }
                sequence += 1;
                let body = body
                    .replace("\"id\":7", &format!("\"id\":{id}"))
                    .replace("\"orderId\":7", &format!("\"orderId\":{id}"));
                records.push(Record {
                    partition: 0,
                    sequence,
                    event_type: (*name).into(),
                    key: id,
                    time_ms: 1_700_000_000_000 + moment,
                    headers: Vec::new(),
                    body,
                });
            }
            if records.len() >= 1_000 {
                publisher.append(&records)?;
                records.clear();
            }
        }
        publisher.append(&records)?;
        publisher.sync()?;
        published += sequence;
    }
    Ok(published)
}

async fn get(http: &Http, url: &str) -> Result<String, Box<dyn Error>> {
    let body = http.get(url.parse()?).await?.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}

/// In MiB; what is used now, or the most there ever was.
fn memory(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default().to_owned();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default() / 1024
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let number = |name: &str, default: i64| env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (orders, apart) = (number("JUMUN_BENCH_ORDERS", 200_000), number("JUMUN_BENCH_APART", 1_000));
    // Beside the build, so that it is a real disk: the system's temporary folder may be memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut out = io::stdout();
    let events = publish(&folder.path().join("food-delivery/bus"), orders, apart)?;
    writeln!(out, "{events} events of {orders} orders are on the bus")?;

    let began = Instant::now();
    let dashboard = Service::start("dashboard", folder.path(), &[])?;
    let http = client();
    let last = format!("{}/dashboards/{orders}", dashboard.url);
    while !get(&http, &last).await?.contains("DELIVERY_COMPLETED") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let rate = events / began.elapsed().as_secs().max(1);
    let pid = dashboard.pid();
    writeln!(
        out,
        "heard by the consumer: {rate} events/s, {} MiB now, {} MiB at most",
        memory(pid, "VmRSS"),
        memory(pid, "VmHWM")
    )?;

    drop(fs::write(format!("/proc/{pid}/clear_refs"), "5")); // the most there ever was begins anew
    let mut rebuild = Command::new(env!("CARGO_BIN_EXE_jumun"))
        .args(["view", "rebuild", "food-delivery", "dashboard", "--data"])
        .arg(folder.path())
        .stdout(Stdio::inherit())
        .spawn()?;
    let mut answers = Vec::new();
    let mut every = tokio::time::interval(Duration::from_millis(5));
    let status = loop {
        tokio::select! {
            status = rebuild.wait() => break status?,
            _ = every.tick() => {
                let asked = Instant::now();
                assert!(get(&http, &last).await?.contains("DELIVERY_COMPLETED"), "the rows are there all the time");
                answers.push(asked.elapsed());
            }
        }
    };
    answers.sort_unstable();
    let of = |share| percentile(&answers, share);
    writeln!(out, "{status}; {} MiB at most", memory(pid, "VmHWM"))?;
    writeln!(
        out,
        "{} requests meanwhile: p50 {:.1?}  p99 {:.1?}  max {:.1?}",
        answers.len(),
        of(0.5),
        of(0.99),
        of(1.0)
    )?;
    if status.success() { Ok(()) } else { Err("it was not rebuilt".into()) }
}
