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
mod options;
mod output;
mod parked;
mod process;
mod serve;
mod systems;
mod up;
mod view;
mod why;

use clap::{Parser, Subcommand};
use failure::Failure;
use jumun::SystemModel;
use std::{
    io::{self, Write},
    process::ExitCode,
};
use systems::Systems;

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
    /// Shows every key of the configuration with its value in effect and the source that set it.
    #[command(after_help = "Examples:
  jumun config food-delivery
  jumun config food-delivery --set order.calls.payment.time_limit=610ms
  jumun config --reference

Sources, the later one wins: jumun.toml, --config-dir, the environment
(JUMUN__ORDER__CALLS__PAYMENT__TIME_LIMIT=610ms), --set. The output is a valid jumun.toml.")]
    Config(config::Options),
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
