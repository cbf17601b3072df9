//! `jumun serve`: one service of a system, one process.

use crate::{Failure, SystemOptions};
use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use jumun::{ServiceModel, SystemModel};
use jumun_bus::EmbeddedLog;
use jumun_database::SqliteDatabase;
use jumun_runtime::{
    Engine, Parts, Serving, StatusCode, config::Config, control, schema, serve, telemetry::Tracer,
    transport::HttpTransport,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    system: SystemOptions,
    /// Which service of it.
    service: String,
    /// Where to listen; port 0 takes any free port. By default 127.0.0.1 and the service's own port.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Log lines as JSON objects.
    #[arg(long)]
    log_json: bool,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    start_log(options.log_json);
    let (model, config) = options.system.load()?;
    let names: Vec<_> = model.services.iter().map(|service| service.name).collect();
    let service = model.service(&options.service).ok_or_else(|| {
        let why = format!("{} has no service `{}`", model.name, options.service);
        Failure::new("service-unknown", why, format!("Name one of: {}.", names.join(", ")))
    })?;
    allow_many_connections();
    // One thread for all requests, and one more that commits: as fast as many, and a process a service.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new("system", error.to_string(), "Look at the limits of this user."))?;
    runtime.block_on(serve_one(&model, service, &config, options.listen))
}

async fn serve_one(
    system: &SystemModel,
    service: &ServiceModel,
    config: &Config,
    listen: Option<SocketAddr>,
) -> Result<ExitCode, Failure> {
    let bus = &config.bus;
    let unavailable_status = StatusCode::from_u16(config.unavailable_status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let tracer = match &config.telemetry {
        Some(otlp) => Tracer::start(system.name, service.name, otlp)?,
        None => Tracer::default(),
    };
    let config = &config.services[service.name];
    let behaviour = service.behaviour(&config.settings)?;
    let listen = listen.unwrap_or(config.listen);
    let listener = bind(listen).map_err(|error| {
        let why = format!("{} cannot listen on {listen}: {error}", service.name);
        Failure::new("listen", why, "Stop what listens there, or choose another address with --listen.")
    })?;
    let stop =
        stop_signal().map_err(|error| Failure::new("system", error.to_string(), "Signals cannot be heard here."))?;
    let database = SqliteDatabase::open(&config.database, schema(service))?;
    let bus = Arc::new(EmbeddedLog::open(bus)?);
    let control = control::socket_beside(&config.database);
    let urls = config.calls.iter().map(|(name, call)| (name.clone(), call.url.clone())).collect();
    let engine = Engine::new(Parts {
        model: service.clone(),
        behaviour,
        database: Arc::new(database),
        transport: Arc::new(HttpTransport::new(urls)),
        time_limits: config.calls.iter().map(|(name, call)| (name.clone(), call.time_limit)).collect(),
        clock: Timestamp::now,
        zone: TimeZone::try_system().unwrap_or(TimeZone::UTC),
        tracer,
    });
    let address = listener.local_addr().unwrap_or(listen);
    let name = service.name;
    let announce = Box::new(move || {
        if let Err(error) = writeln!(io::stdout(), "{name} listens on http://{address}") {
            tracing::debug!(%error, "nobody reads the standard output");
        }
    });
    serve(engine, Serving { listener, unavailable_status, bus, control, announce, stop }).await?;
    Ok(ExitCode::SUCCESS)
}

fn start_log(json: bool) {
    let filter = EnvFilter::try_from_env("JUMUN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if json { log.json().init() } else { log.init() }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?; // a port that was just left by a killed process is free at once
    socket.bind(address)?;
    socket.listen(BACKLOG)
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
fn stop_signal() -> io::Result<CancellationToken> {
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
