//! `jumun serve`: runs one service of a system, or its gateway, in this process.

use crate::{Failure, log, options::SubjectOptions, process, systems::Systems};
use clap::Args;
use jumun::{ServiceModel, SystemModel};
use jumun_gateway::GATEWAY;
use jumun_host::{Plan, Socket, config::Config, serve_gateway};
use jumun_supervisor::{self as supervisor, Leash};
use jumun_text::Escaped;
use std::{
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
};
use tokio::net::TcpListener;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    subject: SubjectOptions,
    /// The address to listen on; port 0 takes any free port. Default: 127.0.0.1 and the port of the service.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Writes the log as JSON objects.
    #[arg(long)]
    log_json: bool,
    /// Listens on the socket that is the standard input, and reports to the supervisor over the standard output. The
    /// value is the number of restarts so far. Only for `jumun up`.
    #[arg(long, hide = true, value_name = "RESTARTS", conflicts_with = "listen")]
    supervised: Option<u32>,
    /// An earlier process of this service ran on its database: none is made if that is missing. Only for `jumun up`.
    #[arg(long, hide = true)]
    has_data: bool,
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    log::start(options.log_json).and_then(|()| serve(options, systems)).inspect_err(|failure| {
        if options.supervised.is_some() {
            drop(writeln!(io::stdout(), "{}", Escaped(failure))); // the supervisor reports it to the user
        }
    })
}

fn serve(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let (model, config) = options.subject.load_named(systems)?;
    let name = options.subject.subject();
    let service = model.service(name);
    if service.is_none() && name != GATEWAY {
        let names = model.services.iter().map(|service| service.name).chain([GATEWAY]);
        return Err(Failure::unknown_service(model.name, name, names));
    }
    if let Err(error) = process::allow_many_connections() {
        tracing::warn!(%error, "the number of open files stays low; many clients at once may wait");
    }
    // One thread for requests and one for commits are as fast as many: each service has its own process.
    process::runtime()?.block_on(async {
        match service {
            Some(service) => serve_service(&model, service, &config, options).await,
            None => gateway(&model, &config, options).await,
        }
    })
}

async fn serve_service(
    system: &SystemModel,
    service: &ServiceModel,
    config: &Config,
    options: &Options,
) -> Result<ExitCode, Failure> {
    let plan = Plan::new(system, service, config)?;
    let socket = socket(service.name, options, config.services[service.name].listen)?;
    plan.open(options.supervised.unwrap_or_default(), options.has_data).await?.serve(socket).await?;
    Ok(ExitCode::SUCCESS)
}

async fn gateway(system: &SystemModel, config: &Config, options: &Options) -> Result<ExitCode, Failure> {
    jumun_host::check(system)?;
    let socket = socket(GATEWAY, options, config.gateway.listen)?;
    serve_gateway(system, config, options.supervised.unwrap_or_default(), socket).await;
    Ok(ExitCode::SUCCESS)
}

/// The socket of a process, with its stop signal and its announcement.
fn socket(name: &'static str, options: &Options, configured: SocketAddr) -> Result<Socket, Failure> {
    let (listener, leash) = listener(name, options, configured)?;
    let stop = process::stop_signal("the next start undoes what is in doubt")?;
    let address = listener.local_addr().unwrap_or(configured);
    let (ready, failed) = leash.map(|leash| leash.hold(stop.clone())).unzip();
    let report = Box::new(move |why| {
        if let Some(failed) = failed {
            let _ = failed.send(why); // the supervisor has ended, and this process is stopping
        }
    });
    let announce = Box::new(move || {
        if let Some(ready) = ready {
            let _ = ready.send(()); // fails if the leash broke, and then this process is stopping already
        } else if let Err(error) = writeln!(io::stdout(), "{name} listens on http://{address}") {
            tracing::warn!(%error, "the standard output cannot be written; the service goes on");
        }
    });
    Ok(Socket { listener, announce, report, stop })
}

/// The socket inherited from the supervisor, with its leash; or a new one.
fn listener(name: &str, options: &Options, configured: SocketAddr) -> Result<(TcpListener, Option<Leash>), Failure> {
    if options.supervised.is_some() {
        let inherited =
            || Ok((TcpListener::from_std(supervisor::listener_from_stdin()?)?, Some(Leash::from_stdout()?)));
        return inherited().map_err(|error: io::Error| {
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
