//! `jumun list`: shows what systems there are, their services, and how to start them.

use crate::{Failure, output::print_lines, systems::Systems};
use clap::Args;
use jumun::{ServiceModel, SystemModel};
use jumun_gateway::{GATEWAY, PORT};
use serde_json::{Value, json};
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The name of a system. Default: all systems.
    system: Option<String>,
    /// Prints one JSON object per system.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let models = match &options.system {
        Some(name) => vec![systems.find(name)?],
        None => systems.models().collect(),
    };
    let texts = models.iter().map(|model| if options.json { to_json(model).to_string() } else { text(model) });
    let separator = if options.json { "\n" } else { "\n\n" };
    print_lines([texts.collect::<Vec<_>>().join(separator)])?;
    Ok(ExitCode::SUCCESS)
}

fn text(model: &SystemModel) -> String {
    let mut lines = vec![model.name.to_owned()];
    lines.extend((!model.about.is_empty()).then(|| format!("  {}", model.about)));
    let width = model.services.iter().map(|service| service.name.len()).max().unwrap_or_default().max(GATEWAY.len());
    let line = |name: &str, port: u16, what: &str| format!("  {name:<width$}  {port}  {what}");
    lines.extend(model.services.iter().map(|service| {
        line(service.name, service.port, &paths(service).map(|(path, _)| path).collect::<Vec<_>>().join(", "))
    }));
    lines.push(line(GATEWAY, PORT, "all of them"));
    lines.push(format!("  {}", start(model)));
    lines.join("\n")
}

fn to_json(model: &SystemModel) -> Value {
    let services = model.services.iter().map(|service| {
        let paths: Vec<_> = paths(service).map(|(path, is_view)| json!({ "path": path, "view": is_view })).collect();
        let asks: Vec<_> = service.asks.iter().map(|ask| ask.service).collect();
        json!({ "name": service.name, "port": service.port, "paths": paths, "asks": asks })
    });
    json!({
        "name": model.name,
        "about": model.about,
        "services": services.collect::<Vec<_>>(),
        "gatewayPort": PORT,
        "start": start(model),
    })
}

/// The paths of a service, and whether each is a view.
fn paths(service: &ServiceModel) -> impl Iterator<Item = (&'static str, bool)> {
    service.resources.iter().map(|resource| (resource.path, resource.is_view))
}

fn start(model: &SystemModel) -> String {
    format!("jumun up {}", model.name)
}
