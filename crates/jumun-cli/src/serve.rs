//! `jumun serve`: one service of a system, or its gateway; one process.

use crate::{Failure, SystemOptions, Systems};
use clap::Args;
use jiff::tz::TimeZone;
use jumun::{ServiceModel, SystemModel};
use jumun_bus::BusOptions;
use jumun_gateway::{self as gateway, GATEWAY, Gateway};
use jumun_host::config::{Config, SENDER};
use jumun_runtime::{
    Engine, Parts, Serving, StatusCode,
    asks::{CallConfig, Delays, Guards, messages::SenderAdapter, transport::HttpTransport},
    events::Retention,
    schema, serve,
};
use jumun_supervisor::{self as supervisor, Leash};
use jumun_telemetry::Tracer;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    system: SystemOptions,
    /// Which service of it, or `gateway`.
    service: String,
    /// Where to listen; port 0 takes any free port. By default 127.0.0.1 and the service's own port.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Log lines as JSON objects.
    #[arg(long)]
    log_json: bool,
    /// Listen on the socket that is the standard input, and talk to the supervisor over the standard output. How often this
    /// process was restarted is the value. What `jumun up` says; not for people.
    #[arg(long, hide = true, value_name = "RESTARTS", conflicts_with = "listen")]
    supervised: Option<u32>,
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    start_log(options.log_json);
    serve_it(options, systems).inspect_err(|failure| {
        if options.supervised.is_some() {
            drop(writeln!(io::stdout(), "{failure}")); // the supervisor tells its user
        }
    })
}

fn serve_it(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let (model, config) = options.system.load(systems)?;
    let service = model.service(&options.service);
    if service.is_none() && options.service != GATEWAY {
        let names: Vec<_> = model.services.iter().map(|service| service.name).chain([GATEWAY]).collect();
        let why = format!("{} has no service `{}`", model.name, options.service);
        return Err(Failure::new("service-unknown", why, format!("Name one of: {}.", names.join(", "))));
    }
    allow_many_connections();
    // One thread for all requests, and one more that commits: as fast as many, and a process a service.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new("system", error.to_string(), "Look at the limits of this user."))?;
    runtime.block_on(async {
        match service {
            Some(service) => serve_service(&model, service, &config, options).await,
            None => serve_gateway(&model, &config, options).await,
        }
    })
}

async fn serve_service(
    system: &SystemModel,
    service: &ServiceModel,
    config: &Config,
    options: &Options,
) -> Result<ExitCode, Failure> {
    let (bus, kept_for, folder) = (&config.bus, config.retention, config.folder.clone());
    let unavailable_status = StatusCode::from_u16(config.unavailable_status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let tracer = match &config.telemetry {
        Some(otlp) => Tracer::start(system.name, service.name, otlp)?,
        None => Tracer::default(),
    };
    let config = &config.services[service.name];
    let behaviour = service.behaviour(&config.settings)?;
    let Ear { listener, announce, stop } = Ear::open(service.name, options, config.listen)?;
    let database = config.database.open(schema(service))?;
    let bus = bus.open(BusOptions { segment_max_age: kept_for.map(Retention::part_max_age) })?;
    let retention = kept_for.map(|kept_for| Retention::new(system, service, bus.clone(), kept_for));
    let control = jumun_control::socket_in(&folder, service.name);
    let url = |(name, call): (&String, &CallConfig)| Some((name.clone(), call.url.as_ref()?.uri().clone()));
    let urls = config.calls.iter().filter_map(url).collect();
    let guards = config.calls.iter().map(|(name, call)| (name.clone(), call.guard())).collect();
    let delays = config.calls.iter().map(|(name, call)| (name.clone(), call.delay())).collect();
    let mut transport = HttpTransport::new(urls);
    if let Some(sender) = &config.sender {
        let carrier = SenderAdapter::new(sender.open(service.texts)?);
        transport = transport.with_external(SENDER, Arc::new(carrier));
    }
    let engine = Engine::new(Parts {
        guards: Guards::new(service, &guards)?,
        delays: Delays::new(delays),
        admission: config.admission,
        shed: config.shed,
        zone: TimeZone::try_system().unwrap_or(TimeZone::UTC),
        tracer,
        restarts: options.supervised.unwrap_or_default(),
        ..Parts::new(service.clone(), behaviour, database, Arc::new(transport))
    });
    engine.faults().set(config.faults, None);
    let start_delay = config.faults.start_delay;
    serve(engine, Serving { listener, unavailable_status, bus, retention, control, start_delay, announce, stop })
        .await?;
    Ok(ExitCode::SUCCESS)
}

async fn serve_gateway(model: &SystemModel, config: &Config, options: &Options) -> Result<ExitCode, Failure> {
    let Ear { listener, announce, stop } = Ear::open(GATEWAY, options, config.gateway.listen)?;
    let unavailable_status = StatusCode::from_u16(config.unavailable_status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let shed = config.services.iter().map(|(name, service)| (name.clone(), service.shed)).collect();
    let restarts = options.supervised.unwrap_or_default();
    let gateway = Gateway { listener, announce, stop, restarts, unavailable_status, shed };
    gateway::serve(model, &config.gateway, gateway).await;
    Ok(ExitCode::SUCCESS)
}

/// Where a process hears its clients and its operator.
struct Ear {
    listener: TcpListener,
    announce: Box<dyn FnOnce() + Send>,
    stop: CancellationToken,
}

impl Ear {
    fn open(name: &'static str, options: &Options, configured: SocketAddr) -> Result<Self, Failure> {
        let (listener, leash) = listener(name, options, configured)?;
        let stop = stop_signal()
            .map_err(|error| Failure::new("system", error.to_string(), "Signals cannot be heard here."))?;
        let address = listener.local_addr().unwrap_or(configured);
        let held = leash.map(|leash| leash.hold(stop.clone()));
        let announce = Box::new(move || {
            if let Some(ready) = held {
                let _ = ready.send(()); // the leash may have broken, and then this process is stopping
            } else if let Err(error) = writeln!(io::stdout(), "{name} listens on http://{address}") {
                tracing::debug!(%error, "nobody reads the standard output");
            }
        });
        Ok(Self { listener, announce, stop })
    }
}

pub(crate) fn start_log(json: bool) {
    let filter = EnvFilter::try_from_env("JUMUN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A log that cannot be written (a full disk) is no reason to stop.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    if json { log.json().init() } else { log.init() }
}

/// The socket that the supervisor handed down, with its leash; or one of our own.
fn listener(name: &str, options: &Options, configured: SocketAddr) -> Result<(TcpListener, Option<Leash>), Failure> {
    if options.supervised.is_some() {
        let handed_down =
            || Ok((TcpListener::from_std(supervisor::listener_from_stdin()?)?, Some(Leash::from_stdout()?)));
        return handed_down().map_err(|error: io::Error| {
            let why = format!("{name} was not started by a supervisor: {error}");
            Failure::new("listen", why, "Leave --supervised to `jumun up`.")
        });
    }
    let address = options.listen.unwrap_or(configured);
    let listener = supervisor::listen(address).and_then(TcpListener::from_std).map_err(|error| {
        let why = format!("{name} cannot listen on {address}: {error}");
        Failure::new("listen", why, "Stop what listens there, or choose another address with --listen.")
    })?;
    Ok((listener, None))
}

/// Thousands of idle clients are normal; most systems allow them only to who asks.
fn allow_many_connections() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the number of open files stays low; many clients at once may wait");
    }
}

/// Cancelled by the first Ctrl-C or SIGTERM. The second one ends the process where it stands, which loses nothing.
pub(crate) fn stop_signal() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let told = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            if told.is_cancelled() {
                tracing::warn!("stopped at once; what was in doubt is undone at the next start");
                std::process::exit(130);
            }
            told.cancel();
        }
    });
    Ok(stop)
}
