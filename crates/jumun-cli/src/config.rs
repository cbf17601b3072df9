//! `jumun config`: shows every key with its effective value and the source that set it, or the reference of all keys.

use crate::{
    Failure,
    options::SettingsOptions,
    output::{print, print_lines},
    systems::Systems,
};
use clap::Args;
use jumun_host::config::{Entry, explain, load, reference};
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The name of the system. Default: the only one; of several, the one with data in the data folder, or that is up.
    system: Option<String>,
    #[command(flatten)]
    settings: SettingsOptions,
    /// Prints one JSON object per line.
    #[arg(long)]
    json: bool,
    /// Prints the reference of all keys with their defaults as Markdown, for this system or for all systems.
    #[arg(long, conflicts_with = "json")]
    reference: bool,
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    if options.reference {
        return write_reference(options, systems);
    }
    let model = options.settings.find(systems, options.system.as_deref())?;
    let sources = options.settings.sources();
    let config = load(&model, &sources)?;
    for service in &model.services {
        service.behaviour(&config.services[service.name].settings)?; // only business code can check its settings
    }
    let entries = explain(&model, &sources)?;
    let lines = entries.iter().map(|entry| (line(entry), &entry.origin));
    let width = lines.clone().map(|(line, _)| line.chars().count()).max().unwrap_or_default();
    print_lines(lines.zip(&entries).map(|((line, origin), entry)| {
        if options.json {
            json!({ "key": entry.key, "value": entry.value, "origin": origin.to_string() }).to_string()
        } else {
            format!("{line:width$}  # {origin}")
        }
    }))?;
    Ok(ExitCode::SUCCESS)
}

fn write_reference(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let models = match &options.system {
        Some(name) => vec![systems.find(name)?],
        None => systems.models().collect(),
    };
    print(reference(&models).trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// A line of `jumun.toml`. Strings, numbers and lists are written the same in JSON and in TOML.
fn line(entry: &Entry) -> String {
    let Entry { key, value, .. } = entry;
    match value {
        Value::Null => format!("# {key} ="),
        value => format!("{key} = {value}"),
    }
}
