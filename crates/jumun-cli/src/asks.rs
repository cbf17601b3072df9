//! `jumun asks`: shows the asks between services that are in doubt.

use crate::{Failure, options::SystemOptions, output::print_lines, process::block_on, systems::Systems};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use jumun_database::Request;
use jumun_host::open_readers;
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    system: SystemOptions,
    /// Prints one JSON object per line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let (model, config) = options.system.load(systems)?;
    let databases = block_on(open_readers(&model, &config))??;
    let found = block_on(jumun_audit::in_doubt(&databases))??;
    let now = Timestamp::now();
    let mut lines = Vec::new();
    if !options.json {
        lines.push(match found.len() {
            0 => "nothing is in doubt".to_owned(),
            _ => format!("{:<13} {:<8} {:<20} {:<20} {:>10}  {}", "SERVICE", "STATE", "ABOUT", "ASKS", "AGE", "ID"),
        });
    }
    lines.extend(found.iter().map(|(service, request)| {
        if options.json { to_json(service, request, now) } else { to_text(service, request, now) }
    }));
    print_lines(lines)?;
    Ok(ExitCode::SUCCESS)
}

fn asks(request: &Request) -> String {
    request.ask.as_ref().map_or_else(|| "-".to_owned(), |ask| format!("{}{}", ask.service, ask.path))
}

fn age_ms(request: &Request, now: Timestamp) -> i64 {
    let created_ms = request.id.get_timestamp().map_or(0, |created| {
        let (seconds, nanos) = created.to_unix();
        i64::try_from(seconds).unwrap_or(0) * 1_000 + i64::from(nanos / 1_000_000)
    });
    now.as_millisecond() - created_ms
}

fn to_text(service: &str, request: &Request, now: Timestamp) -> String {
    let about = format!("{}/{}", request.collection, request.subject);
    let age = format!("{:#}", SignedDuration::from_secs(age_ms(request, now) / 1_000));
    format!("{service:<13} {:<8} {about:<20} {:<20} {age:>10}  {}", request.state, asks(request), request.id)
}

fn to_json(service: &str, request: &Request, now: Timestamp) -> String {
    json!({
        "service": service,
        "state": request.state.as_str(),
        "about": format!("{}/{}", request.collection, request.subject),
        "asks": asks(request),
        "ageMs": age_ms(request, now),
        "untilMs": request.until_ms,
        "id": request.id.to_string(),
    })
    .to_string()
}
