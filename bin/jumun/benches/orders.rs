//! Durable paid orders over HTTP: the service `order` asks the service `payment`, two processes, each with its own
//! database, as `jumun serve` runs them. The load is a closed loop on the same machine.
//!
//! `cargo bench -p jumun-cli`; `JUMUN_BENCH_SECONDS=30` measures longer.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, StatusCode};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

const CALLERS: [usize; 4] = [1, 16, 64, 256];

type Http = Client<HttpConnector, Full<Bytes>>;

struct Service {
    process: Child,
    url: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Service {
    fn start(name: &str, data: &Path, set: &[String]) -> io::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
        command.args(["serve", "food-delivery", name, "--listen", "127.0.0.1:0", "--data"]).arg(data);
        command.args(set).env("JUMUN_LOG", "warn").stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let url = line.trim().rsplit(' ').next().unwrap_or_default().to_owned();
        Ok(Self { process, url })
    }

    /// Processor time used so far, where the system tells (Linux).
    fn cpu(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        let after_name = stat.rsplit(')').next()?;
        // utime and stime are the 14th and 15th field of all, the state is the 3rd. 100 ticks a second.
        let ticks = after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().ok());
        Some(Duration::from_millis(ticks.sum::<Option<u64>>()? * 10))
    }

    /// Transactions so far; each is one fsync.
    async fn groups(&self, http: &Http) -> Option<u64> {
        let uri = format!("{}/actuator/health", self.url).parse().ok()?;
        let body = http.get(uri).await.ok()?.into_body().collect().await.ok()?.to_bytes();
        let health: serde_json::Value = serde_json::from_slice(&body).ok()?;
        health["components"]["database"]["details"]["groups"].as_u64()
    }
}

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
                    let body = r#"{"storeName":"스토어99","itemName":"치킨","itemQty":2,"price":22000}"#;
                    let request = Request::post(&url)
                        .header("content-type", "application/json")
                        .header("idempotency-key", uuid::Uuid::now_v7().to_string())
                        .body(Full::from(body));
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

fn percentile(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let at = ((sorted.len().saturating_sub(1)) as f64 * share) as usize;
    sorted.get(at).copied().unwrap_or_default()
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
    let http: Http = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1_024).build_http();

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
    if status.success() { Ok(()) } else { Err("the audit is not clean".into()) }
}
