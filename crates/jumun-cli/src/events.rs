//! `jumun events`: shows the events on the bus.

use crate::{
    Failure,
    options::{SubjectOptions, SystemOptions, duration},
    output::{is_written, print, print_lines},
    systems::Systems,
};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use jumun::SystemModel;
use jumun_bus::{Bus, BusError, Position, Record, Subscription, Wants};
use jumun_host::{config::Config, open_bus_reader};
use jumun_runtime::events::{Token, envelope};
use jumun_text::Escaped;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

/// Events per poll.
const BATCH: usize = 512;

/// Attempts to read the whole bus while retention deletes events that are still to be read.
const ATTEMPTS_MAX: u32 = 5;

/// How long `tail --follow` waits for events before it checks whether the reader has closed the pipe.
const POLL_WAIT: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows the latest events, and with --follow new ones as they come.
    #[command(after_help = "Examples:
  jumun events tail food-delivery --follow
  jumun events tail food-delivery --type OrderCanceled --since 10m
  jumun events tail food-delivery --key 7 --json | jq .event")]
    Tail(Tail),
    /// Shows one event with its headers.
    #[command(
        override_usage = "jumun events show [OPTIONS] [SYSTEM] <EVENT>",
        mut_arg("subject", |it| it.value_name("EVENT").help("The event, as `tail` prints it: order/0/7"))
    )]
    Show(SubjectOptions),
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    #[command(flatten)]
    system: SystemOptions,
    /// Shows only events of this type; may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Shows only events of this order.
    #[arg(long, value_name = "ORDER")]
    key: Option<i64>,
    /// Shows only events that are at most this old: 90s, 10m, 2h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
    /// How many of the latest events to show.
    #[arg(short = 'n', long, value_name = "EVENTS", default_value_t = 20)]
    lines: usize,
    /// Continues with new events until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// Prints one JSON object per line.
    #[arg(long)]
    json: bool,
}

/// An event and the service that published it.
pub(crate) struct Found {
    pub(crate) service: String,
    pub(crate) record: Record,
}

pub(crate) fn run(command: &Command, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    match command {
        Command::Tail(options) => tail(options, systems),
        Command::Show(options) => show(options, systems),
    }
}

fn tail(options: &Tail, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let (model, config) = options.system.load(systems)?;
    let types = || model.events.iter().map(|event| event.kind.name);
    if let Some(unknown) = options.types.iter().find(|wanted| !types().any(|known| known == **wanted)) {
        let why = format!("{} has no events of the type `{unknown}`", model.name);
        let remedy = format!("Its types: {}.", types().collect::<Vec<_>>().join(", "));
        return Err(Failure::new("event-type-unknown", why, remedy));
    }
    let wants =
        if options.types.is_empty() { Wants::All } else { Wants::Only(options.types.iter().cloned().collect()) };
    let since_ms = options
        .since
        .map(|since| Timestamp::now().as_millisecond() - i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let is_selected = |found: &Found| {
        options.key.is_none_or(|key| found.record.key == key)
            && since_ms.is_none_or(|since| found.record.time_ms >= since)
    };
    let read = read_all(&model, &config, &wants, |latest: &mut VecDeque<_>, found| {
        if is_selected(&found) {
            latest.push_back(found);
            if latest.len() > options.lines.max(1) * 8 {
                keep_latest(latest, options.lines);
            }
        }
    })?;
    let Read { all: mut latest, mut subscription, .. } = read;
    keep_latest(&mut latest, options.lines);
    print_lines(latest.iter().map(|found| line(found, options.json)))?;
    if options.follow {
        follow(subscription.as_mut(), is_selected, options.json)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints new events until the reader closes the pipe.
fn follow(
    subscription: &mut dyn Subscription,
    is_selected: impl Fn(&Found) -> bool,
    as_json: bool,
) -> Result<(), Failure> {
    let mut out = io::stdout();
    loop {
        for delivery in subscription.poll(BATCH, POLL_WAIT)? {
            let Some(record) = delivery.record else { continue };
            let found = Found { service: delivery.source.service.clone(), record };
            if is_selected(&found) && !is_written(writeln!(out, "{}", Escaped(line(&found, as_json))))? {
                return Ok(());
            }
        }
        if !is_written(out.flush())? {
            return Ok(());
        }
    }
}

/// Keeps the latest events by time: the bus merges its sources in no particular order.
fn keep_latest(latest: &mut VecDeque<Found>, lines: usize) {
    latest.make_contiguous().sort_by_key(|found| found.record.time_ms);
    while latest.len() > lines {
        latest.pop_front();
    }
}

fn show(options: &SubjectOptions, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let (model, config) = options.load(systems)?;
    let event = options.subject();
    let unclear = || {
        Failure::new(
            "event-unclear",
            format!("`{event}` is not the id of an event"),
            "Write it as `jumun events tail` prints it: order/0/7.",
        )
    };
    let token = event.parse::<Token>().ok().filter(|token| token.sequence > 0).ok_or_else(unclear)?;
    let Token { service, partition, sequence } = token;
    let bus = open_bus_reader(&model, &config)?;
    let mut from = oldest(bus.as_ref())?;
    from.retain(|position| position.service == service && position.partition != partition);
    from.push(Position { service, partition, epoch: None, sequence: sequence - 1 });
    let mut subscription = bus.subscribe(&from, Wants::All)?;
    let found = loop {
        let deliveries = subscription.poll(BATCH, Duration::ZERO)?;
        let is_last = deliveries.is_empty();
        let found = deliveries.into_iter().find(|found| (found.partition, found.sequence) == (partition, sequence));
        if is_last || found.is_some() {
            break found;
        }
    };
    let (source, record) = found.and_then(|delivery| Some((delivery.source, delivery.record?))).ok_or_else(|| {
        Failure::new("event-missing", format!("there is no event {event}"), "List the events with `jumun events tail`.")
    })?;
    let body = body(&record);
    let output = json!({
        "at": event,
        "time": time(&record),
        "key": record.key,
        "headers": envelope::headers(model.name, &source, &record).into_iter().collect::<BTreeMap<_, _>>(),
        "event": body,
    });
    print(format_args!("{output:#}"))?;
    Ok(ExitCode::SUCCESS)
}

/// The positions before the oldest kept events, one for each source and partition.
fn oldest(bus: &dyn Bus) -> Result<Vec<Position>, BusError> {
    let mut positions = Vec::new();
    for source in bus.sources()? {
        let kept_from = bus.kept_from(&source.service)?;
        positions.extend((0..source.partitions).map(|partition| Position {
            service: source.service.clone(),
            partition,
            epoch: None,
            sequence: kept_from.get(usize::from(partition)).map_or(0, |first| first - 1),
        }));
    }
    Ok(positions)
}

/// The result of reading the whole bus.
pub(crate) struct Read<T> {
    /// What the caller has accumulated from all events.
    pub(crate) all: T,
    /// The positions before the oldest of these events.
    pub(crate) from: Vec<Position>,
    /// Continues with new events.
    pub(crate) subscription: Box<dyn Subscription>,
}

/// Reads the whole bus from the oldest kept event on. Starts over if retention deletes events before they are read.
pub(crate) fn read_all<T: Default>(
    model: &SystemModel,
    config: &Config,
    wants: &Wants,
    each: impl Fn(&mut T, Found),
) -> Result<Read<T>, Failure> {
    let bus = open_bus_reader(model, config)?;
    let mut attempts_left = ATTEMPTS_MAX;
    loop {
        let from = oldest(bus.as_ref())?;
        let mut subscription = bus.subscribe(&from, wants.clone())?;
        let mut all = T::default();
        attempts_left -= 1;
        match read_to_end(subscription.as_mut(), |found| each(&mut all, found)) {
            Err(BusError::Gone { .. }) if attempts_left > 0 => {}
            Err(error) => return Err(error.into()),
            Ok(()) => return Ok(Read { all, from, subscription }),
        }
    }
}

/// Reads to the current end of the bus.
fn read_to_end(subscription: &mut dyn Subscription, mut each: impl FnMut(Found)) -> Result<(), BusError> {
    loop {
        let deliveries = subscription.poll(BATCH, Duration::ZERO)?;
        if deliveries.is_empty() {
            return Ok(());
        }
        for delivery in deliveries {
            if let Some(record) = delivery.record {
                each(Found { service: delivery.source.service.clone(), record });
            }
        }
    }
}

pub(crate) fn time(record: &Record) -> String {
    Timestamp::from_millisecond(record.time_ms).map_or_else(|_| record.time_ms.to_string(), |time| format!("{time:.3}"))
}

fn body(record: &Record) -> Value {
    serde_json::from_str(&record.body).unwrap_or_else(|_| Value::String(record.body.clone()))
}

fn line(found: &Found, as_json: bool) -> String {
    let Found { service, record } = found;
    let at = format!("{service}/{}/{}", record.partition, record.sequence);
    if as_json {
        let event = body(record);
        return json!({ "at": at, "time": time(record), "type": record.event_type, "key": record.key, "event": event })
            .to_string();
    }
    format!("{}  {at:<20} {:<18} order {:<8} {}", time(record), record.event_type, record.key, record.body)
}
