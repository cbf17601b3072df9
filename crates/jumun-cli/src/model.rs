//! `jumun model`: the model of a system, read off its code.

use crate::{
    Failure,
    output::{print, unwritable},
    systems::Systems,
};
use clap::{Args, ValueEnum};
use jumun::SystemModel;
use jumun_model::{asyncapi, board, describe, openapi};
use std::{fs, path::PathBuf, process::ExitCode};

/// The status of answers that mean *not now*, unless an operator configures another one.
const UNAVAILABLE_STATUS: u16 = 503;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  jumun model food-delivery                             the model as JSON
  jumun model food-delivery --format mermaid            the event-storming board
  jumun model food-delivery --into docs/model           every format, each in a file of its own")]
pub(crate) struct Options {
    /// The name of the system. Optional if the program has only one.
    system: Option<String>,
    /// The format of the document.
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// Writes every format into this folder, and prints nothing.
    #[arg(long, value_name = "FOLDER", conflicts_with = "format")]
    into: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Services, aggregates, commands, events, policies, time-outs, views, asks, settings: see docs/model.md.
    Json,
    /// The event-storming board, as a Mermaid flowchart.
    Mermaid,
    /// The events, as AsyncAPI 3.
    Asyncapi,
    /// The API of the gateway, as OpenAPI 3.1. Each process serves its own at /openapi.json.
    Openapi,
}

impl Format {
    /// The file that `--into` writes.
    const fn file(self) -> &'static str {
        match self {
            Self::Json => "model.json",
            Self::Mermaid => "board.mmd",
            Self::Asyncapi => "asyncapi.json",
            Self::Openapi => "openapi.json",
        }
    }

    fn document(self, system: &SystemModel) -> String {
        let json = match self {
            Self::Json => describe(system),
            Self::Asyncapi => asyncapi(system),
            Self::Openapi => openapi::of_gateway(system, UNAVAILABLE_STATUS),
            Self::Mermaid => return board(system).trim_end().to_owned(),
        };
        format!("{json:#}")
    }
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let system = systems.named(options.system.as_deref())?;
    let Some(folder) = &options.into else {
        print(options.format.document(&system))?;
        return Ok(ExitCode::SUCCESS);
    };
    let remedy = "Choose a folder that can be written with --into.";
    fs::create_dir_all(folder).map_err(|error| unwritable(folder.display(), &error, remedy))?;
    for format in Format::value_variants() {
        let file = folder.join(format.file());
        let written = fs::write(&file, format!("{}\n", format.document(&system)));
        written.map_err(|error| unwritable(file.display(), &error, remedy))?;
    }
    Ok(ExitCode::SUCCESS)
}
