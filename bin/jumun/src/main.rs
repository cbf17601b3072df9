//! The program. It alone knows all systems.

mod asks;
mod audit;
mod events;
mod failure;
mod parked;
mod serve;
mod view;
mod why;

use clap::{Args, Parser, Subcommand};
use failure::Failure;
use jumun::SystemModel;
use jumun_runtime::config::{self, Config, Sources};
use std::{path::PathBuf, process::ExitCode};

/// Runs ordering systems that stay correct when parts of them fail.
#[derive(Debug, Parser)]
#[command(name = "jumun", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs one service of a system until it is told to stop (Ctrl-C or SIGTERM).
    #[command(after_help = "Examples:
  jumun serve food-delivery payment
  jumun serve food-delivery order --listen 0.0.0.0:8081
  jumun serve food-delivery order --set order.calls.payment.time_limit=610ms

What it stores is in ./data/<system>/<service>.db. How much it logs: JUMUN_LOG=info,jumun_runtime=debug")]
    Serve(serve::Options),
    /// Checks that every order is as it must be, over services that run or are stopped.
    #[command(after_help = "Exit status: 0 all is as it must be, 1 something is not, 2 it cannot be told (yet).")]
    Audit(audit::Options),
    /// Shows what is in doubt: questions between services that are not answered or not undone yet.
    Asks(asks::Options),
    /// Shows what is on the bus.
    Events(events::Options),
    /// Shows events that could not be taken in, lets them be heard again, or forgets them.
    Parked(parked::Options),
    /// Makes a view anew from the log.
    View(view::Options),
    /// Tells everything that happened to one order, across services.
    Why(why::Options),
}

/// What all commands need to know of a system.
#[derive(Debug, Args)]
struct SystemOptions {
    /// Which system: food-delivery.
    system: String,
    /// The folder of all data.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    data: PathBuf,
    /// The configuration; ./jumun.toml by default, if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Moves all usual ports up by so many; the same as --set port_offset=N.
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

impl SystemOptions {
    fn load(&self) -> Result<(SystemModel, Config), Failure> {
        let model = system(&self.system)?;
        let offset = self.port_offset.map(|offset| ("port_offset".to_owned(), offset.to_string()));
        let sources = Sources {
            file: self.config.clone(),
            data: Some(self.data.clone()),
            set: self.set.iter().cloned().chain(offset).collect(),
            environment: None,
        };
        let config = config::load(&model, &sources)?;
        Ok((model, config))
    }
}

fn system(name: &str) -> Result<SystemModel, Failure> {
    let systems = [food_delivery::system().into_model()];
    let names: Vec<_> = systems.iter().map(|system| system.name).collect();
    let why = format!("there is no system `{name}`");
    let remedy = format!("Name one of: {}.", names.join(", "));
    systems.into_iter().find(|system| system.name == name).ok_or_else(|| Failure::new("system-unknown", why, remedy))
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(options) => serve::run(&options),
        Command::Audit(options) => audit::run(&options),
        Command::Asks(options) => asks::run(&options),
        Command::Events(options) => events::run(&options),
        Command::Parked(options) => parked::run(&options),
        Command::View(options) => view::run(&options),
        Command::Why(options) => why::run(&options),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("{failure}");
        failure.exit_code()
    })
}
