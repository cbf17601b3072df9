//! Services as processes, and a client, for the benchmarks.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

pub(crate) mod system;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{
    env, fs,
    io::{self, BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// What is ordered.
pub(crate) const BASKET: &str = r#"{"storeName":"스토어99","itemName":"치킨","itemQty":2,"price":22000}"#;

pub(crate) type Http = Client<HttpConnector, Full<Bytes>>;

/// A service.
pub(crate) struct Service {
    process: Child,
    pub(crate) url: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Service {
    pub(crate) fn start(name: &str, data: &Path, set: &[String]) -> io::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
        command.args(["serve", "food-delivery", name, "--listen", "127.0.0.1:0", "--data"]).arg(data);
        command.args(set).env("JUMUN_LOG", "warn");
        Self::spawn(command)
    }

    /// Starts a process whose first line of output ends with its address.
    pub(crate) fn spawn(mut command: Command) -> io::Result<Self> {
        let mut process = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let url = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        Ok(Self { process, url })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Processor time used so far.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        cpu_of(self.process.id())
    }

    /// Transactions so far; each is one fsync.
    pub(crate) async fn groups(&self, http: &Http) -> Option<u64> {
        let uri = format!("{}/actuator/health", self.url).parse().ok()?;
        let body = http.get(uri).await.ok()?.into_body().collect().await.ok()?.to_bytes();
        let health: serde_json::Value = serde_json::from_slice(&body).ok()?;
        health["components"]["database"]["details"]["groups"].as_u64()
    }
}

/// Processor time that a process has used so far, where the system tells (Linux).
pub(crate) fn cpu_of(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // utime and stime are the 14th and 15th field of all, the state is the 3rd.
    ticks(stat.rsplit(')').next()?, 11, 2)
}

/// Processor time that the children of this process have used which have ended (Linux).
pub(crate) fn cpu_of_ended_children() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    ticks(stat.rsplit(')').next()?, 13, 2)
}

/// Processor time that everything on this machine has used so far, and its host instead of it (Linux).
pub(crate) fn cpu_of_machine() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let all = stat.lines().next()?.strip_prefix("cpu")?;
    // user, nice, system; idle, iowait; irq, softirq, steal
    Some(ticks(all, 0, 3)? + ticks(all, 5, 3)?)
}

/// A sum of fields, in ticks, of which a second has 100.
fn ticks(fields: &str, from: usize, count: usize) -> Option<Duration> {
    let ticks = fields.split_whitespace().skip(from).take(count).map(|field| field.parse::<u64>().ok());
    Some(Duration::from_millis(ticks.sum::<Option<u64>>()? * 10))
}

/// Memory of a process, in bytes, where the system tells (Linux): resident, and with pages that it shares with others
/// counted in shares.
pub(crate) fn memory_of(pid: u32) -> Option<(u64, u64)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let of = |name: &str| {
        let line = maps.lines().find(|line| line.starts_with(name))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1_024)
    };
    Some((of("Rss:")?, of("Pss:")?))
}

/// Keeps its connections.
pub(crate) fn client() -> Http {
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1_024).build_http()
}

/// Of durations in order.
pub(crate) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = ((sorted.len().saturating_sub(1)) as f64 * share) as usize;
    sorted.get(at).copied().unwrap_or_default()
}
