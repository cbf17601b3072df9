//! `jumun breakers`: shows and commands the circuit breakers of a system: one per service and neighbour that it calls.

use crate::{Failure, options::SystemFlagOptions, output::print_lines, process::block_on, systems::Systems};
use clap::{Args, ValueEnum};
use jumun_control::{Breaker, BreakerCommand, CommandBreaker, ControlError, GetBreakers, socket_in, tell};
use serde_json::{Map, Value, json};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    system: SystemFlagOptions,
    /// Changes the state of one breaker. Default: shows all breakers.
    #[arg(requires = "callee")]
    action: Option<Action>,
    /// The calling service.
    service: Option<String>,
    /// The called service.
    callee: Option<String>,
    /// Prints one JSON object per line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Action {
    /// Refuses all calls until another command.
    ForceOpen,
    /// Allows and counts all calls, and never opens.
    Close,
    /// Allows all calls and counts none.
    Disable,
    /// Resets the breaker: closed, with all counts at zero.
    Reset,
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    match (options.action, &options.service, &options.callee) {
        (Some(action), Some(service), Some(callee)) => command(options, systems, action, service, callee),
        _ => list(options, systems),
    }
}

fn list(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let (model, config) = options.system.load(systems)?;
    let mut rows = Vec::new();
    for service in model.services.iter().filter(|service| !service.asks.is_empty()) {
        match block_on(tell(&socket_in(&config.folder, service.name), &GetBreakers {}))? {
            Ok(breakers) => rows.extend(breakers.into_iter().map(|(callee, it)| (service.name, callee, Some(it)))),
            Err(ControlError::NotRunning { .. }) => {
                rows.extend(service.asks.iter().map(|ask| (service.name, ask.service.to_owned(), None)));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut lines = Vec::new();
    if !options.json {
        lines.push(format!(
            "{:<13} {:<12} {:<13} {:>9} {:>7} {:>7} {:>7} {:>11} {:>18} {:>12}  LAST CHANGE",
            "SERVICE", "CALLEE", "STATE", "RETRY IN", "CALLS", "FAILED", "SLOW", "IN PROGRESS", "PLACES", "REFUSED"
        ));
    }
    for (service, callee, breaker) in rows {
        lines.push(match breaker {
            Some(breaker) if options.json => as_json(service, &callee, json!(breaker)),
            Some(breaker) => as_text(service, &callee, &breaker),
            None if options.json => as_json(service, &callee, json!({ "state": NOT_RUNNING })),
            None => format!("{service:<13} {callee:<12} {NOT_RUNNING:<13}"),
        });
    }
    print_lines(lines)?;
    Ok(ExitCode::SUCCESS)
}

/// The state that is shown for a breaker whose service does not run.
const NOT_RUNNING: &str = "not-running";

fn as_json(service: &str, callee: &str, status: Value) -> String {
    let mut line = Map::from_iter([("service".to_owned(), json!(service)), ("callee".to_owned(), json!(callee))]);
    if let Value::Object(status) = status {
        line.extend(status);
    }
    Value::Object(line).to_string()
}

fn as_text(service: &str, callee: &str, breaker: &Breaker) -> String {
    let state = breaker.state.name();
    let wait = match breaker.wait_left_ms {
        0 => "-".to_owned(),
        ms => format!("{ms} ms"),
    };
    let share = |share: f64| format!("{:.0} %", share * 100.0);
    let limit = breaker.places.map_or(breaker.max_concurrent, |places| places.limit);
    let at_work = format!("{} of {limit}", breaker.at_work);
    let places = breaker.places.map_or_else(|| "-".to_owned(), |it| format!("{}, {} queue", it.told, it.queue));
    let refused = breaker.refused_open + breaker.refused_full;
    let last = breaker.last_change.as_deref().unwrap_or("-");
    let (calls, failed, slow) = (breaker.calls, share(breaker.failure_rate), share(breaker.slow_call_rate));
    format!(
        "{service:<13} {callee:<12} {state:<13} {wait:>9} {calls:>7} {failed:>7} {slow:>7} {at_work:>11} {places:>18} {refused:>12}  {last}"
    )
}

fn command(
    options: &Options,
    systems: Systems<'_>,
    action: Action,
    service: &str,
    callee: &str,
) -> Result<ExitCode, Failure> {
    let (model, config) = options.system.load(systems)?;
    let asks =
        |name: &str| model.service(name).is_some_and(|service| service.asks.iter().any(|ask| ask.service == callee));
    if !asks(service) {
        let pairs =
            model.services.iter().flat_map(|service| service.asks.iter().map(|ask| (service.name, ask.service)));
        let pairs: Vec<_> = pairs.map(|(service, callee)| format!("{service} {callee}")).collect();
        let why = format!("{} has no service `{service}` that calls `{callee}`", model.name);
        return Err(Failure::new("breaker-unknown", why, format!("Its breakers: {}.", pairs.join(", "))));
    }
    let command = match action {
        Action::ForceOpen => BreakerCommand::ForceOpen,
        Action::Close => BreakerCommand::Close,
        Action::Disable => BreakerCommand::Disable,
        Action::Reset => BreakerCommand::Reset,
    };
    let call = CommandBreaker { callee: callee.to_owned(), command };
    let state = block_on(tell(&socket_in(&config.folder, service), &call))??;
    let text = if options.json {
        as_json(service, callee, json!({ "state": state }))
    } else {
        format!("The circuit from {service} to {callee} is {}.", state.name())
    };
    print_lines([text])?;
    Ok(ExitCode::SUCCESS)
}
