//! The program as a library: every command, for the systems that it is given.
//!
//! ```no_run
//! # fn my_system() -> jumun::SystemModel { unimplemented!() }
//! fn main() -> std::process::ExitCode {
//!     jumun_cli::main(&[my_system])
//! }
//! ```

mod asks;
mod audit;
mod breakers;
mod config;
mod events;
mod explain;
mod failure;
mod fault;
mod flags;
mod load;
mod logs;
mod operate;
mod output;
mod parked;
mod process;
mod serve;
mod up;
mod view;
mod why;

use clap::{Args, Parser, Subcommand};
use failure::Failure;
use jumun::SystemModel;
use jumun_host::config::{Config, Sources, load as load_config};
use std::{
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Runs ordering systems that stay correct when parts of them fail.
#[derive(Debug, Parser)]
#[command(name = "jumun", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a whole system on this machine, a process a service, and keeps it running until Ctrl-C.
    #[command(after_help = "Examples:
  jumun up food-delivery
  jumun up food-delivery --data /var/lib/jumun --port-offset 100
  jumun up food-delivery --set store.confirm=manual

What it stores is in ./data/<system>/; the next start goes on with it. A process that dies or hangs is started again.")]
    Up(up::Options),
    /// Shows how the processes of a system are that is up.
    Status(operate::StatusOptions),
    /// Kills the process of a service (kill -9). It is started again at once.
    Kill(operate::ServiceOptions),
    /// Stops a service: it finishes what is at work, and callers hear at once that nobody is there.
    Stop(operate::ServiceOptions),
    /// Starts a service that was stopped.
    Start(operate::ServiceOptions),
    /// Stops a service and starts it again.
    Restart(operate::ServiceOptions),
    /// Replaces the process of a service by a new one without losing a request: after a new release, say.
    #[command(after_help = "Examples:
  jumun roll payment
  jumun roll --all")]
    Roll(operate::RollOptions),
    /// Shows what the processes of a system have logged.
    #[command(after_help = "Examples:
  jumun logs -f
  jumun logs payment -n 100")]
    Logs(logs::Options),
    /// Runs one service of a system, or its gateway, until it is told to stop (Ctrl-C or SIGTERM).
    #[command(after_help = "Examples:
  jumun serve food-delivery payment
  jumun serve food-delivery order --listen 0.0.0.0:8081
  jumun serve food-delivery order --set order.calls.payment.time_limit=610ms
  jumun serve food-delivery gateway

What it stores is in ./data/<system>/<service>.db. How much it logs: JUMUN_LOG=info,jumun_runtime=debug")]
    Serve(serve::Options),
    /// Checks that every order is as it must be, over services that run or are stopped.
    #[command(after_help = "Exit status: 0 all is as it must be, 1 something is not, 2 it cannot be told (yet).")]
    Audit(audit::Options),
    /// Shows what is in doubt: questions between services that are not answered or not undone yet.
    Asks(asks::Options),
    /// Shows the circuit breakers around calls between services, or tells one what to do.
    #[command(after_help = "Examples:
  jumun breakers
  jumun breakers force-open order payment
  jumun breakers reset order payment")]
    Breakers(breakers::Options),
    /// Makes a service that runs slow, failing, narrow or busy, for drills. Faults that are said replace those that are on;
    /// without any, tells which are on.
    #[command(after_help = "Examples:
  jumun fault payment --delay 400ms..620ms --for 60s
  jumun fault payment --fail 10% --concurrency 30 --cpu 5ms
  jumun fault payment --off")]
    Fault(fault::Options),
    /// Shows what is on the bus.
    Events(events::Options),
    /// Shows events that could not be taken in, lets them be heard again, or forgets them.
    Parked(parked::Options),
    /// Makes a view anew from the log.
    View(view::Options),
    /// Tells everything that happened to one order, across services.
    Why(why::Options),
    /// Sends a system its load line, tells how it answered, and audits every order that it acknowledged.
    #[command(after_help = "Examples:
  jumun load food-delivery --rate 2000 --for 30s
  jumun load food-delivery --concurrency 50 --requests 10000 --cancel 10%
  jumun load food-delivery --rate 500 --for 1m --watch 1% --json | jq .latencyMs
  jumun load food-delivery --for 10s --url http://10.0.0.7:8088 --no-audit

Exit status: 0 as available as asked and all orders as they must be, 1 not, 2 it cannot be told.")]
    Load(load::Options),
    /// Explains an error: what it means, when it happens, what to do.
    Explain(explain::Options),
    /// Shows every key of the configuration, what holds, and where that comes from.
    #[command(after_help = "In this order, the later one wins: jumun.toml, --config-dir, the environment
(JUMUN__ORDER__CALLS__PAYMENT__TIME_LIMIT=610ms), --set. What is shown can be a jumun.toml.")]
    Config(config::Options),
}

/// What all commands need to know of a system.
#[derive(Debug, Args)]
struct SystemOptions {
    /// Which system, by its name.
    system: String,
    #[command(flatten)]
    settings: SettingsOptions,
}

/// The same for commands to a system that runs: it is found.
#[derive(Debug, Args)]
struct RunningOptions {
    /// The system, where more than one runs here.
    #[arg(long)]
    system: Option<String>,
    #[command(flatten)]
    settings: SettingsOptions,
}

/// Where data and configuration are.
#[derive(Debug, Args)]
struct SettingsOptions {
    /// The folder of all data.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    data: PathBuf,
    /// The configuration; ./jumun.toml by default, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A folder with a file for each value, named as its key (order.listen): configuration as Kubernetes mounts it.
    #[arg(long, value_name = "FOLDER")]
    config_dir: Option<PathBuf>,
    /// Moves all usual ports up by so many; the same as `--set port_offset=N`.
    #[arg(long, value_name = "N")]
    port_offset: Option<u16>,
    /// Sets one configuration key, over file and environment.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, as in payment.decline_over=50000")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl RunningOptions {
    fn load(&self, systems: Systems<'_>) -> Result<(SystemModel, Config), Failure> {
        let is_system =
            |folder: &Path| folder.file_name().and_then(OsStr::to_str).is_some_and(|name| systems.find(name).is_ok());
        let folder = operate::folder_of(self.system.as_deref(), &self.settings.data, is_system)?;
        self.settings.load(systems, folder.file_name().and_then(OsStr::to_str).unwrap_or_default())
    }
}

impl SystemOptions {
    /// See [`SettingsOptions::as_arguments`].
    fn as_arguments(&self) -> Vec<OsString> {
        self.settings.as_arguments()
    }

    fn load(&self, systems: Systems<'_>) -> Result<(SystemModel, Config), Failure> {
        self.settings.load(systems, &self.system)
    }

    fn sources(&self) -> Sources {
        self.settings.sources()
    }
}

impl SettingsOptions {
    /// The same for another process.
    fn as_arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["--data".into(), self.data.clone().into()];
        if let Some(config) = &self.config {
            arguments.extend(["--config".into(), config.clone().into()]);
        }
        if let Some(folder) = &self.config_dir {
            arguments.extend(["--config-dir".into(), folder.clone().into()]);
        }
        if let Some(offset) = self.port_offset {
            arguments.extend(["--port-offset".into(), offset.to_string().into()]);
        }
        for (key, value) in &self.set {
            arguments.extend(["--set".into(), format!("{key}={value}").into()]);
        }
        arguments
    }

    fn load(&self, systems: Systems<'_>, name: &str) -> Result<(SystemModel, Config), Failure> {
        let model = systems.find(name)?;
        let config = load_config(&model, &self.sources())?;
        Ok((model, config))
    }

    fn sources(&self) -> Sources {
        let offset = self.port_offset.map(|offset| ("port_offset".to_owned(), offset.to_string()));
        Sources {
            file: self.config.clone(),
            folder: self.config_dir.clone(),
            data: Some(self.data.clone()),
            set: self.set.iter().cloned().chain(offset).collect(),
            environment: None,
        }
    }
}

/// The systems that the program knows.
#[derive(Clone, Copy)]
struct Systems<'a>(&'a [fn() -> SystemModel]);

impl Systems<'_> {
    fn names(self) -> String {
        self.0.iter().map(|system| system().name).collect::<Vec<_>>().join(", ")
    }

    fn find(self, name: &str) -> Result<SystemModel, Failure> {
        let found = self.0.iter().map(|system| system()).find(|system| system.name == name);
        found.ok_or_else(|| {
            let why = format!("there is no system `{name}`");
            Failure::new("system-unknown", why, format!("Name one of: {}.", self.names()))
        })
    }
}

/// Runs the program for these systems: reads the command line, does what it says.
pub fn main(systems: &[fn() -> SystemModel]) -> ExitCode {
    let systems = Systems(systems);
    let outcome = match Cli::parse().command {
        Command::Up(options) => up::run(&options, systems),
        Command::Status(options) => operate::status(&options),
        Command::Kill(options) => operate::kill(&options),
        Command::Stop(options) => operate::stop(&options),
        Command::Start(options) => operate::start(&options),
        Command::Restart(options) => operate::restart(&options),
        Command::Roll(options) => operate::roll(&options),
        Command::Logs(options) => logs::run(&options),
        Command::Serve(options) => serve::run(&options, systems),
        Command::Audit(options) => audit::run(&options, systems),
        Command::Asks(options) => asks::run(&options, systems),
        Command::Breakers(options) => breakers::run(&options, systems),
        Command::Fault(options) => fault::run(&options, systems),
        Command::Events(options) => events::run(&options, systems),
        Command::Parked(options) => parked::run(&options, systems),
        Command::View(options) => view::run(&options, systems),
        Command::Why(options) => why::run(&options, systems),
        Command::Load(options) => load::run(&options, systems),
        Command::Explain(options) => explain::run(&options),
        Command::Config(options) => config::run(&options, systems),
    };
    outcome.unwrap_or_else(|failure| {
        // Not eprintln!: it panics where the standard error is a file on a full disk.
        drop(writeln!(io::stderr(), "{failure}"));
        failure.exit_code()
    })
}
