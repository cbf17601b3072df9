//! The program as a library: all commands, for the systems passed to [`main`].
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
mod list;
mod load;
mod log;
mod logs;
mod model;
mod new;
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
use jumun_text::Escaped;
use options::SubjectOptions;
use std::{
    io::{self, Write},
    process::ExitCode,
};
use systems::Systems;

/// The allocator of the whole program, SQLite included. With the one of the C library an order costs a tenth more processor
/// time, and a process under load more memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs ordering systems that stay correct when parts of them fail.
#[derive(Debug, Parser)]
#[command(name = "jumun", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the systems: what each is for, its services with their ports and paths, how to start it.
    #[command(after_help = "Examples:
  jumun list
  jumun list food-delivery --json")]
    List(list::Options),
    /// Starts all processes of a system on this machine, one process per service, and keeps them running until Ctrl-C.
    #[command(after_help = "Examples:
  jumun up food-delivery
  jumun up food-delivery --data /var/lib/jumun --port-offset 100
  jumun up food-delivery --set store.confirm=manual

Data is stored in ./data/<system>/; the next start continues with it. A process that dies or hangs is restarted.")]
    Up(up::Options),
    /// Shows the state of each process of a running system.
    Status(operate::StatusOptions),
    /// Kills the process of a service (kill -9). The supervisor restarts it at once.
    Kill(operate::ServiceOptions),
    /// Stops a service: it finishes the requests in progress, and new connections are refused at once.
    Stop(operate::ServiceOptions),
    /// Starts a stopped service.
    Start(operate::ServiceOptions),
    /// Stops a service and starts it again.
    Restart(operate::ServiceOptions),
    /// Replaces the process of a service by a new one without losing a request, for example after a new release.
    #[command(after_help = "Examples:
  jumun roll payment
  jumun roll --all")]
    Roll(operate::RollOptions),
    /// Shows the logs of the processes of a system.
    #[command(after_help = "Examples:
  jumun logs -f
  jumun logs payment -n 100")]
    Logs(logs::Options),
    /// Runs one service of a system, or its gateway, until Ctrl-C or SIGTERM.
    #[command(
        after_help = "Examples:
  jumun serve food-delivery payment
  jumun serve food-delivery order --listen 0.0.0.0:8081
  jumun serve food-delivery order --set order.calls.payment.time_limit=610ms
  jumun serve food-delivery gateway

Data is stored in ./data/<system>/<service>.db. Set the log levels with JUMUN_LOG=info,jumun_runtime=debug",
        override_usage = "jumun serve [OPTIONS] [SYSTEM] <SERVICE>",
        mut_arg("subject", |it| it.value_name("SERVICE").help("The service, or `gateway`"))
    )]
    Serve(serve::Options),
    /// Checks every order against the rules of its system. The services may be running or stopped.
    #[command(after_help = "Exit status: 0 clean; 1 a rule is violated; 2 cannot be determined (yet).")]
    Audit(audit::Options),
    /// Shows the asks between services that are in doubt: not answered, or not undone yet.
    Asks(asks::Options),
    /// Shows the circuit breakers of the calls between services, or changes the state of one.
    #[command(after_help = "Examples:
  jumun breakers
  jumun breakers force-open order payment
  jumun breakers reset order payment")]
    Breakers(breakers::Options),
    /// Injects faults into a running service, for drills: delay, failures, a concurrency limit, CPU load. New faults
    /// replace the active ones; without a fault, shows the active ones.
    #[command(after_help = "Examples:
  jumun fault payment --delay 400ms..620ms --for 60s
  jumun fault payment --fail 10% --concurrency 30 --cpu 5ms
  jumun fault payment --off")]
    Fault(fault::Options),
    /// Shows the events on the bus.
    #[command(subcommand)]
    Events(events::Command),
    /// Shows the events that a service failed to process, retries them, or discards them.
    #[command(subcommand)]
    Parked(parked::Command),
    /// Rebuilds a view from the event log.
    #[command(subcommand)]
    View(view::Command),
    /// Shows everything that happened to one order, across services.
    #[command(
        override_usage = "jumun why [OPTIONS] [SYSTEM] <ORDER>",
        mut_arg("subject", |it| it.value_name("ORDER").help("The id of the order"))
    )]
    Why(SubjectOptions),
    /// Generates load on a system, reports availability and latency, and audits every acknowledged order.
    #[command(after_help = "Examples:
  jumun load food-delivery --rate 2000 --for 30s
  jumun load food-delivery --concurrency 50 --requests 10000 --cancel 10%
  jumun load food-delivery --rate 500 --for 1m --watch 1% --json | jq .latencyMs
  jumun load food-delivery --for 10s --url http://10.0.0.7:8088 --no-audit

Exit status: 0 availability reached and audit clean; 1 one of them is not; 2 cannot be determined.")]
    Load(load::Options),
    /// Prints the model of a system, read off its code: services, commands, events, policies, views, asks.
    #[command(after_help = "Examples:
  jumun model food-delivery
  jumun model food-delivery --format mermaid > board.mmd
  jumun model food-delivery --format asyncapi > asyncapi.json")]
    Model(model::Options),
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
    /// Writes a new project: a small system of your own, with its program, tests and README.
    #[command(after_help = "Examples:
  jumun new tea-shop
  jumun new tea-shop --in ~/projects --jumun ~/jumun

docs/tutorial.md of Jumun goes through the project line by line.")]
    New(new::Options),
}

/// Runs the program for these systems: parses the command line and runs the command.
pub fn main(systems: &[fn() -> SystemModel]) -> ExitCode {
    let systems = Systems(systems);
    let outcome = Cli::try_parse().map_or_else(|parsed| output::print_parsed(&parsed), |cli| run(cli, systems));
    outcome.unwrap_or_else(|failure| {
        // Not eprintln!: it panics where the standard error is a file on a full disk.
        drop(writeln!(io::stderr(), "{}", Escaped(&failure)));
        failure.exit_code()
    })
}

fn run(cli: Cli, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    match cli.command {
        Command::List(options) => list::run(&options, systems),
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
        Command::Events(command) => events::run(&command, systems),
        Command::Parked(command) => parked::run(&command, systems),
        Command::View(command) => view::run(&command, systems),
        Command::Why(options) => why::run(&options, systems),
        Command::Load(options) => load::run(&options, systems),
        Command::Model(options) => model::run(&options, systems),
        Command::Explain(options) => explain::run(&options),
        Command::Config(options) => config::run(&options, systems),
        Command::New(options) => new::run(&options),
    }
}
