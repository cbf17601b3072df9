//! `jumun load`: generates load on a system, reports availability and latency, and audits every acknowledged order.
//!
//! # Open and closed loop
//!
//! *Open loop* (`--rate`): requests are due at fixed times, whether or not earlier ones have been answered, and latency
//! counts from the due time. So latency shows when the service stalls for a second. A generator that waited for the
//! service would send nothing in that second and report good latencies (*coordinated omission*).
//!
//! *Closed loop* (`--concurrency`): each of a number of customers waits for a response before the next request.
//!
//! # Cost of the generator
//!
//! The generator runs on one thread. It takes CPU from the machine that it measures, so the summary reports how much.

mod limits;
mod plan;
mod summary;
mod tally;
mod target;

use crate::{
    Failure, audit as audits,
    options::{SystemOptions, duration},
    output::print,
    process,
    systems::Systems,
};
use clap::{ArgGroup, Args};
use http::StatusCode;
use jumun::SystemModel;
use jumun_audit::{self as audit, Acknowledged, Databases, Verdict};
use jumun_database::OpenError;
use jumun_host::open_readers;
use limits::{CONCURRENCY_MAX, CONNECT_PAUSE, POLL_PAUSE, RATE_MAX, WARM_CONNECTIONS, WATCHED_AT_ONCE};
use plan::{Plan, Watch};
use rustix::time::{ClockId, clock_gettime};
use std::{
    cell::{Cell, RefCell},
    io::{self, IsTerminal, Write},
    process::ExitCode,
    rc::Rc,
    time::Duration,
};
use summary::Summary;
use tally::{Tally, Times};
use target::{Broken, Target};
use tokio::{task::LocalSet, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("end").required(true).multiple(true).args(["time", "requests"]))]
pub(crate) struct Options {
    #[command(flatten)]
    system: SystemOptions,
    /// Open loop: sends this many requests per second without waiting for responses. Latency counts from the due time.
    #[arg(long, value_name = "PER SECOND", conflicts_with = "concurrency",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    rate: Option<u32>,
    /// Closed loop: this many customers, each of whom waits for a response before the next request.
    #[arg(long, short, value_name = "CUSTOMERS", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(CONCURRENCY_MAX)))]
    concurrency: u32,
    /// How long to send: 30s, 5m.
    #[arg(long = "for", value_name = "DURATION", id = "time", value_parser = duration)]
    time: Option<Duration>,
    /// How many requests to send.
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// The address to send to. Default: the gateway in the configuration.
    #[arg(long, value_name = "http://HOST:PORT")]
    url: Option<String>,
    /// The request body. Default: the sample order of the system.
    #[arg(long, value_name = "JSON")]
    body: Option<String>,
    /// The request path. Default: the path of the sample order.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The request method.
    #[arg(long, default_value = "POST")]
    method: http::Method,
    /// Sends no Idempotency-Key. Default: each command has its own.
    #[arg(long)]
    no_keys: bool,
    /// Cancels this share of the orders as soon as they are acknowledged.
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = plan::percent)]
    cancel: f64,
    /// Watches this share of the other orders until the view shows them as finished.
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = plan::percent)]
    watch: f64,
    /// The field and value of a finished order in the view. Default: those that the system defines.
    #[arg(long, value_name = "FIELD=VALUE", requires = "watch")]
    until: Option<String>,
    /// The address of the view. Default: the address of the requests.
    #[arg(long, value_name = "http://HOST:PORT", requires = "watch")]
    watch_url: Option<String>,
    /// How long to wait for a response.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    /// Open loop: the maximum number of requests in flight. Further due requests are not sent and count as failed.
    #[arg(long, value_name = "N", default_value_t = 4_096, conflicts_with = "concurrency",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(CONCURRENCY_MAX)))]
    in_flight: u32,
    /// The share of requests that must succeed.
    #[arg(long, value_name = "PERCENT", default_value = "100%", value_parser = plan::percent)]
    availability: f64,
    /// How long to wait for orders to settle in the audit after the load, and to finish in the view (--watch).
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    wait: Duration,
    /// Skips the audit: for a system whose databases are on another machine.
    #[arg(long)]
    no_audit: bool,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

/// A running load.
struct Load {
    plan: Plan,
    target: Target,
    view: Option<(Watch, Target)>,
    wait: Duration,
    tally: RefCell<Tally>,
    /// Requests started so far.
    started: Cell<u64>,
    /// Requests in flight, including cancels.
    requests: TaskTracker,
    /// Watched orders.
    watches: TaskTracker,
    /// Stops sending.
    stop: CancellationToken,
}

/// When requests are sent, and how many.
#[derive(Debug, Clone, Copy)]
struct Pace {
    rate: Option<u32>,
    concurrency: u32,
    in_flight: usize,
    time: Option<Duration>,
    requests: u64,
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    // Without load or audit nothing can be determined.
    load(options, systems).map_err(|failure| failure.exit_with(2))
}

fn load(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let (model, config) = options.system.load(systems)?;
    let plan = Plan::new(options, &model)?;
    let databases = if options.no_audit { None } else { Some(databases(&model, &config, &plan)?) };
    let url = options.url.clone().unwrap_or_else(|| plan::url_of(config.gateway.listen));
    if let Err(error) = process::allow_many_connections() {
        drop(writeln!(io::stderr(), "failed to raise the limit of open files; connections may fail: {error}"));
    }
    LocalSet::new().block_on(&process::runtime()?, async {
        let summary = send(options, plan, &url).await?;
        if !options.json {
            print(summary.to_text(model.name))?;
        }
        let acknowledged = &summary.tally.orders.acknowledged;
        let report = match &databases {
            None => None,
            Some(databases) => Some(audit::run_over(&model, databases, acknowledged, options.wait).await?),
        };
        let exit_code = exit_code(options, &summary, report.as_ref().map(audit::Report::verdict));
        if options.json {
            let audit = report.map(|report| audits::to_json(&model, &report));
            print(summary.to_json(model.name, audit, exit_code))?;
        } else {
            let audit = report.as_ref().map(|report| audits::to_text(&model, report));
            print(format_args!("\n{}", audit.unwrap_or_else(|| "not audited: --no-audit".to_owned())))?;
            if report.is_some_and(|report| !report.violations.is_empty() && report.sums.is_empty()) {
                print(format_args!("none of the orders was found: does the system at {url} use another --data?"))?;
            }
        }
        Ok(exit_code.into())
    })
}

/// 0: availability reached and audit clean. 1: one of them is not. 2: cannot be determined.
fn exit_code(options: &Options, summary: &Summary, verdict: Option<Verdict>) -> u8 {
    let tally = &summary.tally;
    let is_bad = tally.availability() < options.availability
        || tally.watched.never_finished > 0
        || verdict == Some(Verdict::Violated);
    if tally.transactions() + tally.not_sent == 0 {
        2
    } else if is_bad {
        1
    } else if verdict == Some(Verdict::Open) || tally.orders.not_kept > 0 {
        2
    } else {
        0
    }
}

/// Opens the databases for the audit before the load is sent, so that the command fails early if they are missing.
fn databases(model: &SystemModel, config: &jumun_host::config::Config, plan: &Plan) -> Result<Databases, Failure> {
    let impossible = |why: String| {
        let remedy = "Name the folder of the running services with --data; or leave the audit out with --no-audit.";
        Failure::new("load-audit-impossible", why, remedy)
    };
    let path = plan.path();
    let serves_path = |service: &&jumun::ServiceModel| service.resource_at(path).is_some();
    let service = model.services.iter().find(serves_path);
    let service = service.ok_or_else(|| impossible(format!("{} has no resource at {path}", model.name)))?;
    if let Err(missing @ OpenError::Missing { .. }) = config.services[service.name].database.open_reader() {
        return Err(impossible(format!("the audit cannot open the database of the orders: {missing}")));
    }
    Ok(process::block_on(open_readers(model, config))??)
}

/// Sends the load and waits for all responses.
async fn send(options: &Options, plan: Plan, url: &str) -> Result<Summary, Failure> {
    let stop = process::stop_signal("the load is not complete")?;
    let time_limit = options.timeout.max(Duration::from_millis(1));
    let target = Target::find(url, time_limit).await?;
    let pace = Pace {
        rate: options.rate,
        concurrency: options.concurrency,
        in_flight: usize::try_from(options.in_flight).unwrap_or(usize::MAX),
        time: options.time,
        requests: options.requests.unwrap_or(u64::MAX),
    };
    let view = match plan.watch.clone() {
        None => None,
        Some(watch) => {
            let view = Target::find(options.watch_url.as_deref().unwrap_or(url), time_limit).await?;
            view.warm(1).await?;
            Some((watch, view))
        }
    };
    target.warm(pace.rate.map_or(pace.concurrency, |_| WARM_CONNECTIONS.min(options.in_flight))).await?;
    let acknowledged =
        Acknowledged { collection: plan.collection, ended_says: plan.canceled, ..Acknowledged::default() };
    let load = Rc::new(Load {
        plan,
        target,
        view,
        wait: options.wait,
        tally: RefCell::new(Tally::new(acknowledged)),
        started: Cell::new(0),
        requests: TaskTracker::new(),
        watches: TaskTracker::new(),
        stop: stop.clone(),
    });
    let (began, cpu_before) = (Instant::now(), cpu());
    let progress = tokio::task::spawn_local(progress(Rc::clone(&load), began));
    match pace.rate {
        Some(rate) => open_loop(&load, pace, rate, began).await,
        None => closed_loop(&load, pace, began),
    }
    load.requests.close();
    load.requests.wait().await;
    let (elapsed, cpu) = (began.elapsed(), cpu().saturating_sub(cpu_before));
    load.watches.close();
    load.watches.wait().await;
    progress.abort();
    drop(progress.await);
    if io::stderr().is_terminal() {
        drop(writeln!(io::stderr())); // keep the progress line; the summary starts below it
    }
    let was_stopped = stop.is_cancelled();
    stop.cancel(); // from here on the first Ctrl-C ends the program
    let load = Rc::into_inner(load).ok_or_else(|| Failure::new("system", "a task did not end", "Report this."))?;
    Ok(Summary {
        tally: load.tally.into_inner(),
        elapsed,
        cpu,
        was_stopped,
        target: load.target.name(),
        what: load.plan.to_string(),
    })
}

/// Sends requests at fixed times.
async fn open_loop(load: &Rc<Load>, pace: Pace, rate: u32, began: Instant) {
    let until = pace.time.map(|time| began + time);
    for nth in 0..pace.requests {
        // Seconds and nanoseconds apart: no overflow, and no drift at any rate.
        let (seconds, rest) = (nth / u64::from(rate), nth % u64::from(rate));
        let due = began + Duration::from_secs(seconds) + Duration::from_nanos(rest * 1_000_000_000 / u64::from(rate));
        if until.is_some_and(|until| due >= until) {
            return;
        }
        if due > Instant::now() {
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = load.stop.cancelled() => return,
            }
        } else if load.stop.is_cancelled() {
            return;
        } else if nth % 64 == 63 {
            tokio::task::yield_now().await; // many requests are due: let responses be processed, too
        }
        if load.requests.len() >= pace.in_flight {
            load.tally.borrow_mut().not_sent += 1;
            continue;
        }
        let one = Rc::clone(load);
        load.requests.spawn_local(async move {
            let _: Result<(), Broken> = one.request(due).await; // the tally has counted it
        });
    }
}

/// Runs customers, each of whom waits for a response before the next request.
fn closed_loop(load: &Rc<Load>, pace: Pace, began: Instant) {
    let until = pace.time.map(|time| began + time);
    for _ in 0..pace.concurrency {
        let load = Rc::clone(load);
        load.requests.clone().spawn_local(async move {
            while !load.stop.is_cancelled()
                && load.started.get() < pace.requests
                && until.is_none_or(|until| Instant::now() < until)
            {
                if load.request(Instant::now()).await == Err(Broken::NotConnected) {
                    tokio::time::sleep(CONNECT_PAUSE).await;
                }
            }
        });
    }
}

impl Load {
    /// Sends a request; then cancels or watches the order that it placed, if that is its turn.
    async fn request(self: &Rc<Self>, due: Instant) -> Result<(), Broken> {
        self.started.set(self.started.get() + 1);
        let late = due.elapsed();
        let outcome = self.target.send(&self.plan.message()).await;
        let answered = Instant::now();
        let broken = outcome.as_ref().map(|_| ()).map_err(|broken| *broken);
        let times = Times { late, latency: answered - due };
        let order = self.tally.borrow_mut().request(outcome, times);
        if let Some(order) = order {
            let is_canceled = self.plan.cancel.next();
            if is_canceled {
                self.cancel(order).await;
            } else if self.view.is_some() && self.plan.watch_share.next() {
                self.watch(order, answered);
            }
        }
        broken
    }

    async fn cancel(&self, order: i64) {
        let due = Instant::now();
        let outcome = self.target.send(&self.plan.cancel_of(order)).await;
        let times = Times { late: Duration::ZERO, latency: due.elapsed() };
        self.tally.borrow_mut().cancel(order, outcome, times);
    }

    /// Polls the view until it shows an order as finished.
    fn watch(self: &Rc<Self>, order: i64, acknowledged: Instant) {
        if self.watches.len() >= WATCHED_AT_ONCE {
            self.tally.borrow_mut().watched.missed += 1;
            return;
        }
        let load = Rc::clone(self);
        self.watches.spawn_local(async move {
            let Some((watch, view)) = &load.view else { return };
            let message = watch.poll(order);
            loop {
                let polled = view.send(&message).await;
                let after = acknowledged.elapsed();
                if let Ok(answer) = polled
                    && answer.status == StatusCode::OK
                    && answer.body.is_ok_and(|body| watch.is_finished(&body))
                {
                    return load.tally.borrow_mut().watched.finished(after);
                }
                if after >= load.wait {
                    load.tally.borrow_mut().watched.never_finished += 1;
                    return;
                }
                tokio::time::sleep((after / 10).clamp(POLL_PAUSE.0, POLL_PAUSE.1)).await;
            }
        });
    }
}

/// Reports progress once a second: on a terminal in one line that is rewritten, otherwise one line each.
async fn progress(load: Rc<Load>, began: Instant) {
    let mut err = io::stderr();
    let is_terminal = err.is_terminal();
    let mut every = tokio::time::interval_at(began + Duration::from_secs(1), Duration::from_secs(1));
    loop {
        every.tick().await;
        let line = {
            let mut tally = load.tally.borrow_mut();
            let tally = &mut *tally;
            let ms = Duration::from_micros(tally.recent.value_at_quantile(0.99)).as_secs_f64() * 1_000.0;
            let line = format!(
                "{:5.0} s  {:>7} ok/s  p99 {ms:>9.1} ms  {:>9} done  {} failed  {} in flight  {} not sent",
                began.elapsed().as_secs_f64(),
                tally.recent.len(),
                tally.transactions(),
                tally.failed(),
                load.requests.len(),
                tally.not_sent,
            );
            tally.recent.reset();
            line
        };
        let written = if is_terminal { write!(err, "\r\x1b[K{line}") } else { writeln!(err, "{line}") };
        if written.and_then(|()| err.flush()).is_err() {
            return; // the standard error is closed
        }
    }
}

/// Processor time of this process so far.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
