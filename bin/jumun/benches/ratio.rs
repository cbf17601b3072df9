//! What an order of Jumun costs beside the least that it could cost: food delivery, and the bare chain of the same hops and
//! commits ([`chain`]), in turn on the same machine, each from empty databases, under the same load.
//!
//! ```sh
//! cargo bench -p jumun-program --bench ratio                # three turns of 10 s each, at 64 and at 256 customers
//! cargo bench -p jumun-program --bench ratio -- --short     # one turn of 3 s each
//! ```
//!
//! Processor time is that of all processes but the load generator, until every order is in every view. Compare ratios, and
//! rates of one run only. *Others* is what the rest of the machine used meanwhile: more than a few percent disturb a turn.

#[path = "ratio/chain.rs"]
mod chain;
mod support;

use serde_json::Value;
use std::{
    env,
    error::Error,
    io::{self, Write},
    process::Command,
    thread,
    time::{Duration, Instant},
};
use support::{
    Service, cpu_of, cpu_of_ended_children, cpu_of_machine,
    system::{System, get, run},
};

const CUSTOMERS: [u32; 2] = [64, 256];

/// A disk that others hold up for more than a second, the time limit of Jumun's asks, fails some orders. Those are in no rate.
const AVAILABILITY: &str = "95%";

/// How long the totals of lists may take once the audit is clean: they are counted once a second.
const TOTALS_WITHIN: Duration = Duration::from_secs(10);

/// One turn.
struct Turn {
    rate: f64,
    p99_ms: f64,
    /// Of all processes, without the load generator.
    cpu_us: f64,
    generator_us: f64,
    /// Requests that were not answered 201.
    failed: u64,
    /// Share of the machine that others used.
    others: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = env::args().skip(1).collect();
    if let Some((_, process)) = words.split_first().filter(|(first, _)| *first == "chain") {
        return chain::run(process);
    }
    let (turns, seconds) = if words.iter().any(|word| word == "--short") { (1, 3) } else { (3, 10) };
    let mut out = io::stdout();
    writeln!(out, "customers  turn          orders/s   201 p99  CPU µs/order  generator  failed  others")?;
    for customers in CUSTOMERS {
        let (mut bare, mut jumun) = (Vec::new(), Vec::new());
        for _ in 0..turns {
            for (name, turn, of) in [
                ("bare chain", bare_turn as fn(u32, u32) -> Result<Turn, Box<dyn Error>>, &mut bare),
                ("jumun", jumun_turn, &mut jumun),
            ] {
                let turn = turn(customers, seconds)?;
                let Turn { rate, p99_ms, cpu_us, generator_us, failed, others } = turn;
                let cost = format!("{cpu_us:>13.0} {generator_us:>10.1} {failed:>7} {:>5.0} %", 100.0 * others);
                writeln!(out, "{customers:>9}  {name:<10} {rate:>11.0} {p99_ms:>6.1} ms {cost}")?;
                of.push(turn);
            }
        }
        let (rates, cpus) = (
            [&bare, &jumun].map(|of| median(of, |turn| turn.rate)),
            [&bare, &jumun].map(|of| median(of, |turn| turn.cpu_us)),
        );
        writeln!(
            out,
            "{customers:>9}  medians: {:.0} and {:.0} orders/s, ratio {:.3}; {:.0} and {:.0} µs an order, ratio {:.3}\n",
            rates[0],
            rates[1],
            rates[1] / rates[0],
            cpus[0],
            cpus[1],
            cpus[0] / cpus[1],
        )?;
    }
    Ok(())
}

fn median(turns: &[Turn], of: impl Fn(&Turn) -> f64) -> f64 {
    let mut all: Vec<f64> = turns.iter().map(of).collect();
    all.sort_unstable_by(f64::total_cmp);
    all[all.len() / 2]
}

/// The bare chain. Afterwards every order that was acknowledged is there and paid.
fn bare_turn(customers: u32, seconds: u32) -> Result<Turn, Box<dyn Error>> {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let start = |words: &[&str]| {
        let mut command = Command::new(env::current_exe()?);
        command.arg("chain").args(words);
        Service::spawn(command)
    };
    let path = folder.path().to_string_lossy();
    let payment = start(&["payment", &path])?;
    let order = start(&["order", &payment.url, &path])?;
    let gateway = start(&["gateway", &order.url])?;
    let processes = vec![gateway.pid(), order.pid(), payment.pid()];
    let load = |customers: &str, time: &str| {
        let words = ["load", "food-delivery", "--json", "--no-audit", "--url", &gateway.url];
        let load = [&words[..], &["--concurrency", customers, "--for", time, "--availability", AVAILABILITY]].concat();
        Ok(serde_json::from_str(&run(folder.path(), &load)?)?)
    };
    let (turn, acknowledged) = measure(processes, customers, seconds, load)?;
    drop((gateway, order, payment));
    let (placed, paid) = chain::placed_and_paid(folder.path())?;
    if placed < acknowledged || paid != placed {
        return Err(format!("{acknowledged} acknowledged, {placed} placed, {paid} paid").into());
    }
    Ok(turn)
}

/// Food delivery as its users start it. Afterwards every view shows every order, and the audit is clean.
fn jumun_turn(customers: u32, seconds: u32) -> Result<Turn, Box<dyn Error>> {
    let system = System::start("food-delivery", &[])?;
    let load = |customers: &str, time: &str| {
        system.load(&["--concurrency", customers, "--for", time, "--availability", AVAILABILITY])
    };
    let (turn, acknowledged) = measure(system.pids().collect(), customers, seconds, load)?;
    let total = |path: &str| {
        let answer = get(system.address("gateway"), &format!("{path}?size=1")).ok()?;
        let page: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
        page["page"]["totalElements"].as_i64()
    };
    let until = Instant::now() + TOTALS_WITHIN;
    while ["/dashboards", "/stores", "/payinfos"].iter().any(|path| total(path) < Some(acknowledged)) {
        if Instant::now() > until {
            return Err(format!("not all of {acknowledged} orders are in the views").into());
        }
        thread::park_timeout(Duration::from_millis(100));
    }
    system.audit("60s")?;
    Ok(turn)
}

/// Warms up, and measures a load. How many orders were acknowledged, warming up included.
fn measure(
    processes: Vec<u32>,
    customers: u32,
    seconds: u32,
    load: impl Fn(&str, &str) -> Result<Value, Box<dyn Error>>,
) -> Result<(Turn, i64), Box<dyn Error>> {
    let customers = customers.to_string();
    let warm = load(&customers, "1s")?;
    let cpu = || {
        let ours = processes.iter().map(|pid| cpu_of(*pid)).sum::<Option<Duration>>();
        let all = [ours, cpu_of_ended_children(), cpu_of_machine()];
        all.iter()
            .all(Option::is_some)
            .then(|| all.map(Option::unwrap_or_default))
            .ok_or("/proc has no processor times")
    };
    let (began, before) = (Instant::now(), cpu()?);
    let load = load(&customers, &format!("{seconds}s"))?;
    let (took, after) = (began.elapsed(), cpu()?);
    let [ours, generator, machine] = [0, 1, 2].map(|of| after[of].saturating_sub(before[of]).as_secs_f64());
    let orders = load["orders"].as_f64().unwrap_or_default();
    let acknowledged = |load: &Value| load["orders"].as_i64().unwrap_or_default();
    let processors = f64::from(u32::try_from(thread::available_parallelism()?.get())?);
    let turn = Turn {
        rate: orders / load["elapsedSeconds"].as_f64().unwrap_or_default(),
        p99_ms: load["latencyMs"]["p99"].as_f64().unwrap_or_default(),
        cpu_us: 1e6 * ours / orders,
        generator_us: load["generator"]["cpuMicrosPerTransaction"].as_f64().unwrap_or_default(),
        failed: load["failed"].as_u64().unwrap_or_default(),
        others: (machine - ours - generator).max(0.0) / took.as_secs_f64() / processors,
    };
    Ok((turn, acknowledged(&warm) + acknowledged(&load)))
}
