//! The whole system, as its users start it: `jumun up`, orders through the gateway by `jumun load`, until the view shows
//! them and the audit is clean. Every figure is of this one run.
//!
//! `cargo bench -p jumun-program --bench system`; `JUMUN_BENCH_SECONDS=30` measures longer.

mod support;

use serde_json::Value;
use std::{
    env,
    error::Error,
    io::{self, Write},
    time::{Duration, Instant},
};
use support::system::{System, exchange};

/// Customers at once, each waiting for an answer before asking again.
const CONCURRENCY: &str = "256";

fn order(address: &str) -> io::Result<String> {
    let (body, length) = (support::BASKET, support::BASKET.len());
    let head = "POST /orders HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-type: application/json";
    exchange(address, &format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}"))
}

#[expect(clippy::cast_precision_loss, reason = "told to a few digits")]
fn main() -> Result<(), Box<dyn Error>> {
    let seconds = env::var("JUMUN_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_u64);
    let time = format!("{seconds}s");
    let mut out = io::stdout();

    let began = Instant::now();
    let system = System::start("food-delivery", &[])?;
    let up = began.elapsed();
    let answer = order(system.address("gateway"))?;
    if !answer.starts_with("HTTP/1.1 201") {
        return Err(answer.into());
    }
    writeln!(out, "{:<52}{:>10.0?}, up after {up:.0?}", "`up` in an empty folder to the first 201", began.elapsed())?;
    writeln!(out, "{:<52}{}", "memory of all processes, idle", system.memory())?;

    for (what, how) in [
        ("256 customers, as fast as they can", &["--concurrency", CONCURRENCY][..]),
        ("4,000 orders/s", &["--rate", "4000"]),
        ("2,000 orders/s", &["--rate", "2000"]),
    ] {
        let (cpu, syncs) = (system.cpu(), system.histogram("jumun_commit_sync_duration_seconds"));
        let began = Instant::now();
        let load = system.load(&[how, &["--for", &time, "--watch", "1%"]].concat())?;
        let (after, synced) = (system.cpu(), system.histogram("jumun_commit_sync_duration_seconds"));
        let orders = load["orders"].as_f64().unwrap_or_default().max(1.0);
        writeln!(out, "\n{what}, {time}, through the gateway; the audit of these orders is clean")?;
        let sent = load["elapsedSeconds"].as_f64().unwrap_or_default();
        writeln!(out, "  {:<50}{:>10.0}", "paid orders/s", orders / sent)?;
        writeln!(out, "  {:<50}{:>10.1?}", "from the first request to the clean audit", began.elapsed())?;
        let ms = |of: &Value, quantile: &str| of[quantile].as_f64().unwrap_or_default();
        for (name, of) in
            [("201 after", &load["latencyMs"]), ("confirmed in the view after that", &load["view"]["lagMs"])]
        {
            let (p50, p99, max) = (ms(of, "p50"), ms(of, "p99"), ms(of, "max"));
            writeln!(out, "  {name:<50}p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")?;
        }
        write!(out, "  {:<50}", "CPU µs an order")?;
        let mut sum = load["generator"]["cpuMicrosPerTransaction"].as_f64().unwrap_or_default();
        write!(out, "load {sum:.0}")?;
        for ((name, ..), (before, after)) in system.processes.iter().zip(cpu.iter().zip(&after)) {
            let micros = after.saturating_sub(*before).as_micros() as f64 / orders;
            sum += micros;
            write!(out, ", {name} {micros:.0}")?;
        }
        writeln!(out, "; all {sum:.0}")?;
        let (took, count) = (synced.0 - syncs.0, synced.1 - syncs.1);
        let each = if count > 0.0 { 1_000.0 * took / count } else { 0.0 };
        writeln!(out, "  {:<50}{:.2}, each {each:.2} ms", "fsyncs an order", count / orders)?;
        writeln!(out, "  {:<50}{}", "memory of all processes", system.memory())?;
    }

    writeln!(out)?;
    for name in ["order", "payment", "gateway"] {
        let began = Instant::now();
        system.run(&["kill", name])?;
        let mut answer = order(system.address("gateway")).unwrap_or_default();
        while !answer.starts_with("HTTP/1.1 201") && began.elapsed() < Duration::from_secs(10) {
            answer = order(system.address("gateway")).unwrap_or_default();
        }
        writeln!(out, "kill -9 of {name:<41}{:>10.0?} to the next 201", began.elapsed())?;
    }
    Ok(())
}
