//! `jumun parked`: the dead letters. A service parks an event that it failed to process, and continues with the others.

use crate::{
    Failure,
    options::{SettingsOptions, SubjectOptions, SystemOptions, parse_order},
    output::print_lines,
    process::block_on,
    systems::Systems,
};
use clap::{Args, Subcommand};
use jumun::SystemModel;
use jumun_control::{DiscardParked, RetryParked, socket_in, tell};
use jumun_host::{config::Config, open_readers};
use jumun_runtime::events::parked::{Parked, parked};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists the parked events by cause.
    List(List),
    /// Shows the parked events of one order in full.
    #[command(
        override_usage = "jumun parked show [OPTIONS] [SYSTEM] <ORDER>",
        mut_arg("subject", |it| it.value_name("ORDER").help("The id of the order"))
    )]
    Show(SubjectOptions),
    /// Processes parked events again after their cause has been fixed. A service also does this when it starts.
    Retry(Retry),
    /// Discards the parked events of one order: their effects are lost.
    #[command(override_usage = "jumun parked discard [OPTIONS] [SYSTEM] <SERVICE> <ORDER>")]
    Discard(Discard),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    system: SystemOptions,
    /// Prints one JSON object per line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    system: SystemOptions,
    /// Retries only events that this service parked.
    #[arg(long)]
    service: Option<String>,
    /// Retries only events of this order.
    #[arg(long)]
    order: Option<i64>,
}

#[derive(Debug, Args)]
pub(crate) struct Discard {
    /// The name of the system. Optional if the program has only one.
    #[arg(value_name = "SYSTEM")]
    first: String,
    /// The service that parked the events.
    #[arg(value_name = "SERVICE")]
    second: String,
    /// The id of the order.
    #[arg(value_name = "ORDER")]
    third: Option<String>,
    #[command(flatten)]
    settings: SettingsOptions,
}

impl Discard {
    /// The system, if it is named, the service and the order. They are plain arguments, as in [`SubjectOptions`].
    fn words(&self) -> (Option<&str>, &str, &str) {
        match &self.third {
            Some(order) => (Some(&self.first), &self.second, order),
            None => (None, &self.first, &self.second),
        }
    }
}

pub(crate) fn run(command: &Command, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let lines = match command {
        Command::List(options) => list(options, systems),
        Command::Show(options) => show(options, systems),
        Command::Retry(options) => retry(options, systems),
        Command::Discard(options) => discard(options, systems),
    }?;
    print_lines(lines)?;
    Ok(ExitCode::SUCCESS)
}

/// All parked events, by service.
fn read(model: &SystemModel, config: &Config, order: Option<i64>) -> Result<Vec<(String, Parked)>, Failure> {
    block_on(async {
        let databases = open_readers(model, config).await?;
        let mut found = Vec::new();
        for service in model.services.iter().filter(|service| !service.listens.is_empty()) {
            if let Some(database) = databases.get(service.name) {
                let events = parked(database.as_ref(), order).await?;
                found.extend(events.into_iter().map(|(_, parked)| (service.name.to_owned(), parked)));
            }
        }
        Ok(found)
    })?
}

fn list(options: &List, systems: Systems<'_>) -> Result<Vec<String>, Failure> {
    let mut groups: BTreeMap<(String, String), (u64, BTreeSet<i64>)> = BTreeMap::new();
    let (model, config) = options.system.load(systems)?;
    for (service, parked) in read(&model, &config, None)? {
        let (events, orders) = groups.entry((service, parked.cause)).or_default();
        *events += 1;
        orders.insert(parked.key);
    }
    let mut lines = Vec::new();
    if !options.json {
        lines.push(if groups.is_empty() {
            "nothing is parked".to_owned()
        } else {
            format!("{:<13} {:>7} {:>7} {:>10}  CAUSE", "SERVICE", "EVENTS", "ORDERS", "FIRST")
        });
    }
    lines.extend(groups.into_iter().map(|((service, cause), (events, orders))| {
        let first = orders.first().copied().unwrap_or_default();
        if options.json {
            return json!({ "service": service, "cause": cause, "events": events, "orders": orders }).to_string();
        }
        format!("{service:<13} {events:>7} {:>7} {first:>10}  {cause}", orders.len())
    }));
    Ok(lines)
}

fn show(options: &SubjectOptions, systems: Systems<'_>) -> Result<Vec<String>, Failure> {
    let (model, config) = options.load(systems)?;
    let order = options.order()?;
    let found = read(&model, &config, Some(order))?;
    if found.is_empty() {
        return Ok(vec![format!("no event of order {order} is parked")]);
    }
    Ok(found
        .into_iter()
        .map(|(service, parked)| format!("{:#}", json!({ "service": service, "parked": parked })))
        .collect())
}

fn retry(options: &Retry, systems: Systems<'_>) -> Result<Vec<String>, Failure> {
    let (model, config) = options.system.load(systems)?;
    let listeners = model.services.iter().filter(|service| !service.listens.is_empty());
    let selected = listeners.filter(|service| options.service.as_deref().is_none_or(|name| name == service.name));
    let mut lines = Vec::new();
    for service in selected {
        let retried = block_on(tell(&socket_in(&config.folder, service.name), &RetryParked { order: options.order }))??;
        lines.push(format!("{:<13} {} processed, {} failed again", service.name, retried.heard, retried.failed));
    }
    if lines.is_empty() {
        let wanted = options.service.as_ref().map_or_else(String::new, |name| format!(" `{name}`"));
        let why = format!("{} has no service{wanted} that listens to events", model.name);
        return Err(Failure::new("service-unknown", why, "Leave --service out to retry in all services."));
    }
    Ok(lines)
}

fn discard(options: &Discard, systems: Systems<'_>) -> Result<Vec<String>, Failure> {
    let (system, service, order) = options.words();
    let (model, config) = options.settings.load_named(systems, system)?;
    let order = parse_order(order)?;
    if !config.services.contains_key(service) {
        let why = format!("{} has no service `{service}`", model.name);
        return Err(Failure::new(
            "service-unknown",
            why,
            "List the parked events and their services with `jumun parked list`.",
        ));
    }
    let done = block_on(tell(&socket_in(&config.folder, service), &DiscardParked { order }))??;
    Ok(vec![format!("{service:<13} {} discarded", done.discarded)])
}
