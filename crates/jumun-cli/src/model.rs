//! `jumun model`: the model of a system, read off its code.

use crate::{Failure, output::print, systems::Systems};
use clap::{Args, ValueEnum};
use jumun_model::{asyncapi, board, describe, openapi};
use std::process::ExitCode;

/// The status of answers that mean *not now*, unless an operator configures another one.
const UNAVAILABLE_STATUS: u16 = 503;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The name of the system. Optional if the program has only one.
    system: Option<String>,
    /// The format of the document.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Services, aggregates, commands, events, policies, views, asks, settings: see docs/model.md.
    Json,
    /// The event-storming board, as a Mermaid flowchart.
    Mermaid,
    /// The events, as AsyncAPI 3.
    Asyncapi,
    /// The API of the gateway, as OpenAPI 3.1. Each process serves its own at /openapi.json.
    Openapi,
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let system = systems.named(options.system.as_deref())?;
    let document = match options.format {
        Format::Json => describe(&system),
        Format::Asyncapi => asyncapi(&system),
        Format::Openapi => openapi::of_gateway(&system, UNAVAILABLE_STATUS),
        Format::Mermaid => {
            print(board(&system).trim_end())?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    print(format!("{document:#}"))?;
    Ok(ExitCode::SUCCESS)
}
