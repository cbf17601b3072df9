//! `jumun config`: what holds, and who says so.

use crate::{Failure, SystemOptions, Systems};
use clap::Args;
use jumun_host::config::{Entry, explain, load};
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    process::ExitCode,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    system: SystemOptions,
    /// As JSON, an object a line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let (model, sources) = (systems.find(&options.system.system)?, options.system.sources());
    let config = load(&model, &sources)?;
    for service in &model.services {
        service.behaviour(&config.services[service.name].settings)?; // what the business may be set to, only it knows
    }
    let entries = explain(&model, &sources)?;
    let lines = entries.iter().map(|entry| (line(entry), &entry.origin));
    let width = lines.clone().map(|(line, _)| line.chars().count()).max().unwrap_or_default();
    let mut out = io::stdout().lock();
    for ((line, origin), entry) in lines.zip(&entries) {
        let text = if options.json {
            json!({ "key": entry.key, "value": entry.value, "origin": origin.to_string() }).to_string()
        } else {
            format!("{line:width$}  # {origin}")
        };
        if writeln!(out, "{text}").is_err() {
            break; // nobody reads any more
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// As `jumun.toml` has it. JSON's texts, numbers and lists are TOML's, too.
fn line(entry: &Entry) -> String {
    let Entry { key, value, .. } = entry;
    match value {
        Value::Null => format!("# {key} ="),
        value => format!("{key} = {value}"),
    }
}
