//! The whole system, as its users start it: `jumun up`, orders through the gateway by `jumun load`, until the view shows
//! them and the audit is clean. Every figure is of this one run.
//!
//! `cargo bench -p jumun-cli --bench system`; `JUMUN_BENCH_SECONDS=30` measures longer.

mod support;

use serde_json::Value;
use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use support::{cpu_of, memory_of};

/// Customers at once, each waiting for an answer before asking again.
const CONCURRENCY: &str = "256";

/// A system that is up.
struct System {
    supervisor: Child,
    folder: tempfile::TempDir,
    offset: String,
    /// Name, process, address.
    processes: Vec<(String, u32, String)>,
}

impl System {
    /// Starts it where its ports are free.
    fn start() -> Result<Self, Box<dyn Error>> {
        // Beside the build, so that it is a real disk: the system's temporary folder may be memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        for offset in (20_000..50_000).step_by(1_000) {
            let offset = offset.to_string();
            let mut supervisor = jumun(folder.path())
                .args(["up", "food-delivery", "--json", "--port-offset", &offset])
                .env("JUMUN_LOG", "warn")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()?;
            let mut line = String::new();
            if let Some(output) = supervisor.stdout.take() {
                BufReader::new(output).read_line(&mut line)?;
            }
            let Ok(said) = serde_json::from_str::<Value>(&line) else {
                supervisor.wait()?; // a port was taken
                continue;
            };
            let processes = said["processes"].as_array().into_iter().flatten().map(|process| {
                let text = |key: &str| process[key].as_str().unwrap_or_default().to_owned();
                let pid = process["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
                (text("name"), pid, text("address"))
            });
            let processes = processes.collect();
            return Ok(Self { supervisor, folder, offset, processes });
        }
        Err("no free ports were found".into())
    }

    fn address(&self, name: &str) -> &str {
        self.processes.iter().find(|(known, ..)| known == name).map_or("", |(.., address)| address)
    }

    /// Runs a command of the program here; what it printed.
    fn run(&self, words: &[&str]) -> Result<String, Box<dyn Error>> {
        let output = jumun(self.folder.path()).args(words).stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("{words:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stdout)).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Load through the gateway, and the audit of it.
    fn load(&self, more: &[&str]) -> Result<Value, Box<dyn Error>> {
        let words = ["load", "food-delivery", "--json", "--wait", "30s", "--port-offset", &self.offset];
        Ok(serde_json::from_str(&self.run(&[&words[..], more].concat())?)?)
    }

    /// Memory of all processes, the supervisor included.
    fn memory(&self) -> String {
        let all = self.processes.iter().map(|(_, pid, _)| *pid).chain([self.supervisor.id()]);
        let (resident, shared_once) = all.filter_map(memory_of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        format!("{} MB resident; {} MB with shared pages counted once", resident / 1_000_000, shared_once / 1_000_000)
    }

    fn cpu(&self) -> Vec<Duration> {
        self.processes.iter().map(|(_, pid, _)| cpu_of(*pid).unwrap_or_default()).collect()
    }

    /// Sum and count of a histogram of all services.
    fn histogram(&self, name: &str) -> (f64, f64) {
        let mut of_all = (0.0, 0.0);
        for (.., address) in &self.processes {
            let page = get(address, "/actuator/prometheus").unwrap_or_default();
            let of = |end: &str| -> f64 {
                let lines = page.lines().filter(|line| line.starts_with(&format!("{name}_{end}")));
                lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
            };
            of_all.0 += of("sum");
            of_all.1 += of("count");
        }
        of_all
    }
}

impl Drop for System {
    fn drop(&mut self) {
        drop(self.supervisor.kill()); // its processes end by themselves
        drop(self.supervisor.wait());
    }
}

fn jumun(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
    command.current_dir(folder);
    command
}

/// One request on a connection of its own; the whole answer.
fn get(address: &str, path: &str) -> io::Result<String> {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n"))
}

fn order(address: &str) -> io::Result<String> {
    let (body, length) = (support::BASKET, support::BASKET.len());
    let head = "POST /orders HTTP/1.1\r\nhost: bench\r\nconnection: close\r\ncontent-type: application/json";
    exchange(address, &format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}"))
}

fn exchange(address: &str, request: &str) -> io::Result<String> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    io::read_to_string(stream)
}

#[expect(clippy::cast_precision_loss, reason = "told to a few digits")]
fn main() -> Result<(), Box<dyn Error>> {
    let seconds = env::var("JUMUN_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_u64);
    let time = format!("{seconds}s");
    let mut out = io::stdout();

    let began = Instant::now();
    let system = System::start()?;
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
