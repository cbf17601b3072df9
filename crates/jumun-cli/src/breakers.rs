//! `jumun breakers`: the circuit breakers of a system, around the calls of each service to each neighbour.

use crate::{Failure, RunningOptions, Systems, audit::block_on};
use clap::{Args, ValueEnum};
use jumun_control::{self as control, ControlError};
use serde_json::{Map, Value, json};
use std::{
    io::{self, Write},
    process::ExitCode,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    system: RunningOptions,
    /// What to do with one of them; without it, all are shown.
    #[arg(requires = "callee")]
    action: Option<Action>,
    /// The service that calls.
    service: Option<String>,
    /// The service that is called.
    callee: Option<String>,
    /// As JSON, an object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Action {
    /// No calls are made until it is told otherwise.
    ForceOpen,
    /// All calls are made, and counted, whatever becomes of them.
    Close,
    /// All calls are made, and none is counted.
    Disable,
    /// It begins anew: closed, nothing counted yet.
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
        let socket = &config.services[service.name].control;
        match block_on(control::tell(&socket, "/breakers"))? {
            Ok(Value::Object(told)) => rows.extend(told.into_iter().map(|(callee, told)| (service.name, callee, told))),
            Ok(other) => return Err(ControlError::NoAnswer(other.to_string()).into()),
            Err(ControlError::NotRunning { .. }) => {
                let callees = service.asks.iter().map(|ask| ask.service.to_owned());
                rows.extend(callees.map(|callee| (service.name, callee, json!({ "state": "not-running" }))));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let mut out = io::stdout().lock();
    if !options.json {
        // If nobody reads any more, the first row tells.
        let _ = writeln!(
            out,
            "{:<13} {:<12} {:<13} {:>9} {:>7} {:>7} {:>7} {:>11} {:>12}  LAST CHANGE",
            "SERVICE", "CALLS", "STATE", "TRY AGAIN", "COUNTED", "FAILED", "SLOW", "AT WORK", "NOT ASKED"
        );
    }
    for (service, callee, told) in rows {
        let line = if options.json { as_json(service, &callee, told) } else { as_text(service, &callee, &told) };
        if writeln!(out, "{line}").is_err() {
            break; // nobody reads any more
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(service: &str, callee: &str, told: Value) -> String {
    let mut line = Map::from_iter([("service".to_owned(), json!(service)), ("callee".to_owned(), json!(callee))]);
    if let Value::Object(told) = told {
        line.extend(told);
    }
    Value::Object(line).to_string()
}

fn as_text(service: &str, callee: &str, told: &Value) -> String {
    let state = told["state"].as_str().unwrap_or("-");
    let Some(calls) = told["calls"].as_u64() else { return format!("{service:<13} {callee:<12} {state:<13}") };
    let number = |key: &str| told[key].as_u64().unwrap_or_default();
    let wait = match number("waitLeftMs") {
        0 => "-".to_owned(),
        ms => format!("{ms} ms"),
    };
    let rate = |key: &str| format!("{:.0} %", told[key].as_f64().unwrap_or_default() * 100.0);
    let at_work = format!("{} of {}", number("atWork"), number("maxConcurrent"));
    let refused = number("refusedOpen") + number("refusedFull");
    let last = told["lastChange"].as_str().unwrap_or("-");
    let (failed, slow) = (rate("failureRate"), rate("slowCallRate"));
    format!(
        "{service:<13} {callee:<12} {state:<13} {wait:>9} {calls:>7} {failed:>7} {slow:>7} {at_work:>11} {refused:>12}  {last}"
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
    let word = match action {
        Action::ForceOpen => "force-open",
        Action::Close => "close",
        Action::Disable => "disable",
        Action::Reset => "reset",
    };
    let socket = &config.services[service].control;
    let said = block_on(control::tell(&socket, &format!("/breakers/command?callee={callee}&command={word}")))??;
    let state = said["state"].as_str().unwrap_or("unknown");
    let text = if options.json {
        as_json(service, callee, said)
    } else {
        format!("The circuit from {service} to {callee} is {state}.")
    };
    drop(writeln!(io::stdout(), "{text}"));
    Ok(ExitCode::SUCCESS)
}
