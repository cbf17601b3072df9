//! Drills: how course enrollment fares while its payment is slow, narrow, or dead; sauce shop while its payment is slow; book
//! rental while all rent one book; breakfast mileage under overload; and each system while its services are killed. Each prints
//! what `docs/drills.md` shows.
//!
//! `cargo bench -p jumun-program --bench drills`, or one of them: `-- overload`. `JUMUN_BENCH_SECONDS=120` takes longer than the
//! usual minute. Where siege is installed, the first two are done with it, too, as they were first done.

mod support;

use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    io::{self, Write},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use support::{
    client, percentile,
    system::{System, exchange, get},
};

const SYSTEM: &str = "course-enrollment";

/// Payment takes 400 to 620 ms, and is waited for 610.
const SLOW: [&str; 2] = ["pay.faults.delay=400ms..620ms", "order.calls.pay.time_limit=610ms"];

/// Payment of the sauce shop takes 400 to 700 ms, and is waited for 680.
const SLOW_SAUCE: [&str; 2] = ["payment.faults.delay=400ms..700ms", "order.calls.payment.time_limit=680ms"];

/// Payment of breakfast mileage takes 100 to 200 ms, and nobody waits at the door of a service that has all it can do.
const NARROW_BREAKFAST: [&str; 3] =
    ["payment.faults.delay=100ms..200ms", "order.admission.max_concurrent=8", "order.admission.max_waiting=0"];

const SYSTEMS: [&str; 5] = ["food-delivery", "sauce-shop", "breakfast-mileage", "course-enrollment", "book-rental"];

/// Payments that can be made a second when 30 are at work at once, of 510 ms each.
const CAPACITY: f64 = 30.0 / 0.510;

type Done = Result<(), Box<dyn Error>>;
type Drill = fn(u64) -> Done;

fn main() -> Done {
    let wanted: Vec<_> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let seconds = env::var("JUMUN_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60_u64);
    let drills: [(&str, Drill); 10] = [
        ("accept", accept),
        ("reject", reject),
        ("overload", overload),
        ("untold", untold),
        ("dead", dead),
        ("open", open),
        ("slow", slow),
        ("hot", hot),
        ("shed", shed),
        ("killed", killed),
    ];
    for (name, drill) in drills {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            say(&format!("\n## {name}"));
            drill(seconds)?;
        }
    }
    Ok(())
}

fn say(line: &str) {
    drop(writeln!(io::stdout(), "{line}")); // whoever does not read any more misses a line
}

/// 70 customers at once, payment slow, and accepted without it where it is too slow.
fn accept(seconds: u64) -> Done {
    customers(seconds, "accept")
}

/// The same, and refused where it is too slow.
fn reject(seconds: u64) -> Done {
    customers(seconds, "reject")
}

fn customers(seconds: u64, fallback: &str) -> Done {
    let fallback = format!("order.calls.pay.fallback={fallback}");
    let system = System::start(SYSTEM, &[&SLOW[..], &[&fallback]].concat())?;
    siege(&system, seconds)?;
    tell_load(&under_load(&system, seconds, &["--concurrency", "70"], || Ok(()))?);
    say(&system.audit("2m")?);
    Ok(())
}

/// 70 customers at once, payment slow, in the sauce shop.
fn slow(seconds: u64) -> Done {
    let system = System::start("sauce-shop", &SLOW_SAUCE)?;
    tell_load(&under_load(&system, seconds, &["--concurrency", "70"], || Ok(()))?);
    say(&system.audit("2m")?);
    Ok(())
}

/// 255 customers rent one book at once, for twice the usual time, while the services that they need are rolled.
fn hot(seconds: u64) -> Done {
    let system = System::start("book-rental", &[])?;
    buy_in(&system)?;
    let load = under_load(&system, 2 * seconds, &["--concurrency", "255"], || {
        for service in ["book", "rent"] {
            pass(Duration::from_secs(seconds) / 2);
            say(&format!("  {}", system.run(&["roll", service])?.trim()));
        }
        Ok(())
    })?;
    tell_load(&load);
    say(&system.audit("2m")?);
    Ok(())
}

/// Copies of the book that the load line rents, for everybody.
fn buy_in(system: &System) -> Done {
    let body = r#"{"stock":100000000}"#;
    let head = "PATCH /books/5 HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\nconnection: close";
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    exchange(system.address("gateway"), &request)?;
    Ok(())
}

/// 70 customers who order breakfast and cancel a fifth of it, and a service that takes eight commands at once.
fn shed(seconds: u64) -> Done {
    let system = System::start("breakfast-mileage", &NARROW_BREAKFAST)?;
    tell_load(&under_load(&system, seconds, &["--concurrency", "70", "--cancel", "20%"], || Ok(()))?);
    say(&system.audit("2m")?);
    Ok(())
}

/// Each system under its load line, a tenth of it cancelled, while a service is killed every second, one after the other.
fn killed(seconds: u64) -> Done {
    for name in SYSTEMS {
        let system = System::start(name, &[])?;
        if name == "book-rental" {
            buy_in(&system)?;
        }
        let mut kills = 0;
        let began = Instant::now();
        let load = under_load(&system, seconds, &["--cancel", "10%"], || {
            let names = system.processes.iter().map(|(name, ..)| name).filter(|name| *name != "gateway");
            for name in names.cycle().take_while(|_| began.elapsed() < Duration::from_secs(seconds)) {
                pass(Duration::from_secs(1));
                system.run(&["kill", name])?;
                kills += 1;
            }
            Ok(())
        })?;
        say(&format!("  {name}, {kills} kills"));
        tell_load(&load);
        say(&system.audit("2m")?);
    }
    Ok(())
}

/// Load for so long, of which all may fail, and something that is done meanwhile.
fn under_load(
    system: &System,
    seconds: u64,
    words: &[&str],
    meanwhile: impl FnOnce() -> Done,
) -> Result<Value, Box<dyn Error>> {
    let time = format!("{seconds}s");
    let words = [words, &["--for", &time, "--availability", "0%", "--no-audit"]].concat();
    thread::scope(|scope| {
        let load = scope.spawn(|| system.load(&words).map_err(|error| error.to_string()));
        meanwhile()?;
        Ok(load.join().map_err(|_| "the load panicked")??)
    })
}

/// The drill as it was first done.
fn siege(system: &System, seconds: u64) -> Done {
    let rc = tempfile::NamedTempFile::new()?;
    fs::write(rc.path(), "failures = 1000000\nverbose = false\ncolor = off\njson_output = false\nlogging = false\n")?;
    let url = format!(r#"http://{}/orders POST {{"orderId": 2, "eduNo": 102}}"#, system.address("gateway"));
    let mut siege = Command::new("siege");
    siege.arg("-R").arg(rc.path()).args(["-b", "-c70", &format!("-t{seconds}S"), "--content-type", "application/json"]);
    match siege.arg(url).stdin(Stdio::null()).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            said.lines().filter(|line| line.contains(":\t")).for_each(|line| say(&format!("  siege  {line}")));
        }
        Err(error) => say(&format!("  siege is not to be had: {error}")),
    }
    Ok(())
}

fn tell_load(load: &Value) {
    let ms = |quantile: &str| load["latencyMs"][quantile].as_f64().unwrap_or_default();
    let times: Vec<_> =
        ["p50", "p99", "p99.9", "max"].iter().map(|name| format!("{name} {:.1} ms", ms(name))).collect();
    let sent = load["transactions"].as_u64().unwrap_or_default();
    let orders = load["orders"].as_u64().unwrap_or_default();
    let seconds = load["elapsedSeconds"].as_f64().unwrap_or_default();
    say(&format!("  load   {sent} requests in {seconds:.1} s, {orders} of them 201 ({:.2} %)", share(orders, sent)));
    say(&format!("  load   others: {}; answers after {}", load["failures"], times.join(", ")));
}

#[expect(clippy::cast_precision_loss, reason = "told to a few digits")]
fn share(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / (of as f64).max(1.0)
}

/// Payment has 30 places, and twice as many orders come in as it can take. It tells that, and all else is as it is by default.
fn overload(seconds: u64) -> Done {
    narrow(seconds, &[])
}

/// The same with a guard that does not listen to payment, and is told by hand instead.
fn untold(seconds: u64) -> Done {
    let guard = [
        "order.calls.pay.bulkhead.keep_to_places=false",
        "order.calls.pay.bulkhead.max_concurrent=40", // a few more than payment has places
        "order.calls.pay.bulkhead.max_wait=5ms",
        "order.calls.pay.breaker.failure_rate=0.8",
        "order.calls.pay.breaker.wait_open=300ms",
        "order.calls.pay.breaker.half_open_calls=30",
    ];
    narrow(seconds, &guard)
}

fn narrow(seconds: u64, guard: &[&str]) -> Done {
    let system = System::start(SYSTEM, &[&SLOW[..], &["pay.faults.concurrency=30"], guard].concat())?;
    let began = Instant::now();
    let load = under_load(&system, seconds, &["--rate", "120"], || {
        while began.elapsed() < Duration::from_secs(seconds) {
            pass(Duration::from_secs(10).min(Duration::from_secs(seconds)));
            let paid = total(&system, "/pays");
            say(&format!(
                "  after {:>3.0?} {paid} payments, {} delayed, circuit {}",
                began.elapsed(),
                delayed(&system),
                circuit(&system)
            ));
        }
        Ok(())
    })?;
    let (paid, took) = (total(&system, "/pays"), began.elapsed().as_secs_f64());
    tell_load(&load);
    #[expect(clippy::cast_precision_loss, reason = "told to a few digits")]
    let rate = paid as f64 / took;
    say(&format!("  payments {rate:.1} a second, {:.1} % of {CAPACITY:.1}", 100.0 * rate / CAPACITY));
    say(&format!("  circuit, changes so far: {}", transitions(&system)));
    say(&format!("  paid in time: {}", paid_in_time(&system)));
    let left = Instant::now();
    say(&system.audit("10m")?);
    say(&format!("  all paid {:.0?} after the last order", left.elapsed()));
    Ok(())
}

/// Payment is dead for two minutes, at 500 orders a second.
fn dead(seconds: u64) -> Done {
    let (before, dead) = (Duration::from_secs(5), Duration::from_secs(2 * seconds));
    let system = System::start(SYSTEM, &["order.calls.pay.max_delayed=200000"])?;
    let load = under_load(&system, (2 * before + dead).as_secs(), &["--rate", "500"], || {
        pass(before);
        system.run(&["kill", "pay"])?; // as it dies, and then it does not come back
        system.run(&["stop", "pay"])?;
        pass(dead);
        say(&format!("  {} delayed when payment comes back", delayed(&system)));
        let back = Instant::now();
        system.run(&["start", "pay"])?;
        while delayed(&system) > 0 && back.elapsed() < Duration::from_mins(5) {
            pass(Duration::from_millis(200));
        }
        say(&format!("  nothing is delayed any more {:.1?} after that", back.elapsed()));
        Ok(())
    })?;
    tell_load(&load);
    say(&system.audit("2m")?);
    Ok(())
}

/// The circuit to payment is open: how long a no takes, and a yes without it. Asked of the order service itself.
fn open(seconds: u64) -> Done {
    for fallback in ["reject", "accept"] {
        let key = format!("order.calls.pay.fallback={fallback}");
        let system = System::start(SYSTEM, &[&key])?;
        system.run(&["breakers", "force-open", "order", "pay"])?;
        say(&format!("  {fallback}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut took, statuses) = runtime.block_on(one_after_another(system.address("order"), seconds * 20))?;
        took.sort_unstable();
        let (p50, p99, longest) = (percentile(&took, 0.5), percentile(&took, 0.99), percentile(&took, 1.0));
        say(&format!("  {fallback}: {statuses:?}, after p50 {p50:.2?}, p99 {p99:.2?}, at most {longest:.2?}"));
    }
    Ok(())
}

/// So many orders, and how long each answer took; how often each status came.
async fn one_after_another(address: &str, orders: u64) -> Result<(Vec<Duration>, BTreeMap<u16, u64>), Box<dyn Error>> {
    let (http, uri) = (client(), format!("http://{address}/orders"));
    let (mut took, mut statuses) = (Vec::new(), BTreeMap::new());
    for _ in 0..orders {
        let request = Request::post(&uri).header("content-type", "application/json");
        let request = request.body(Full::from(r#"{"orderId": 2, "eduNo": 102}"#))?;
        let began = Instant::now();
        let response = http.request(request).await?;
        took.push(began.elapsed());
        *statuses.entry(response.status().as_u16()).or_default() += 1;
        response.into_body().collect().await?;
    }
    Ok((took, statuses))
}

#[expect(clippy::disallowed_methods, reason = "a drill takes the time that it takes")]
fn pass(time: Duration) {
    thread::sleep(time);
}

/// How many there are at a path.
fn total(system: &System, path: &str) -> u64 {
    let page = json(system.address("gateway"), &format!("{path}?size=1"));
    page["page"]["totalElements"].as_u64().unwrap_or_default()
}

fn order_health(system: &System) -> Value {
    json(system.address("order"), "/actuator/health")["components"].clone()
}

fn delayed(system: &System) -> u64 {
    order_health(system)["asks"]["details"]["delayed"].as_u64().unwrap_or_default()
}

fn circuit(system: &System) -> String {
    order_health(system)["calls"]["details"]["pay"]["state"].as_str().unwrap_or("?").to_owned()
}

/// Orders whose payment was answered while their customer waited, and calls that were not answered in time.
fn paid_in_time(system: &System) -> String {
    let page = get(system.address("order"), "/actuator/prometheus").unwrap_or_default();
    let lines = page.lines().filter(|line| line.starts_with("jumun_asks_total{") || line.starts_with("jumun_calls_"));
    lines.collect::<Vec<_>>().join(" ")
}

/// How often the circuit has come into each state.
fn transitions(system: &System) -> String {
    let page = get(system.address("order"), "/actuator/prometheus").unwrap_or_default();
    let lines = page.lines().filter(|line| line.starts_with("jumun_circuit_transitions_total{"));
    lines.map(|line| line.trim_start_matches("jumun_circuit_transitions_total")).collect::<Vec<_>>().join(" ")
}

fn json(address: &str, path: &str) -> Value {
    let answer = get(address, path).unwrap_or_default();
    answer.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok()).unwrap_or_default()
}
