//! `jumun view`: rebuilds views from the event log.

use crate::{Failure, options::SubjectOptions, output::is_written, process::block_on, systems::Systems};
use clap::{Args, Subcommand};
use jumun::{ServiceModel, SystemModel};
use jumun_control::{RebuildProgress, RebuildReport, RebuildStats, RebuildView, follow, socket_in};
use jumun_runtime::events::rebuild::views_named;
use jumun_text::Escaped;
use serde_json::json;
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Rebuilds a view while its service keeps answering: from the whole log, or, if old events have been deleted, from
    /// the base of the view and the rest of the log. Clients see the old rows until the new ones are complete. Ctrl-C
    /// cancels the rebuild and keeps the old rows.
    #[command(after_help = "Example:
  jumun view rebuild food-delivery dashboard")]
    Rebuild(Rebuild),
}

#[derive(Debug, Args)]
#[command(
    override_usage = "jumun view rebuild [OPTIONS] [SYSTEM] <SERVICE>",
    mut_arg("subject", |it| it.value_name("SERVICE").help("A view, or a service that has views"))
)]
pub(crate) struct Rebuild {
    #[command(flatten)]
    subject: SubjectOptions,
    /// Prints one JSON object per line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Command, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    match command {
        Command::Rebuild(options) => rebuild(options, systems),
    }
}

fn rebuild(options: &Rebuild, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let (model, config) = options.subject.load(systems)?;
    let service = service_with(&model, options.subject.subject())?;
    let socket = socket_in(&config.folder, service.name);
    let mut printer =
        Printer { json: options.json, is_terminal: io::stdout().is_terminal(), last: None, unwritable: None };
    let call = RebuildView { view: options.subject.subject().to_owned() };
    block_on(follow(&socket, &call, |report| printer.print(report)))??;
    printer.finish()
}

fn service_with<'a>(model: &'a SystemModel, wanted: &str) -> Result<&'a ServiceModel, Failure> {
    model.services.iter().find(|service| views_named(service, wanted).is_ok()).ok_or_else(|| {
        let views = model.services.iter().flat_map(|service| {
            let views = service.resources.iter().filter(|resource| resource.is_view);
            views.map(move |view| format!("{} of {}", view.collection, service.name))
        });
        let views: Vec<_> = views.collect();
        let why = format!("{} has no view `{wanted}`", model.name);
        Failure::new("view-unknown", why, format!("Its views: {}.", views.join(", ")))
    })
}

/// Prints the reports of a rebuild.
struct Printer {
    json: bool,
    is_terminal: bool,
    last: Option<RebuildReport>,
    unwritable: Option<Failure>,
}

impl Printer {
    /// Prints a report. False if the reader has closed the pipe, or it cannot be written.
    fn print(&mut self, report: RebuildReport) -> bool {
        let mut out = io::stdout().lock();
        let line = if self.is_terminal { "\r\x1b[K" } else { "" };
        let printed = match &report {
            report if self.json => writeln!(out, "{}", Escaped(json!(report))),
            RebuildReport::Progress(progress) if self.is_terminal => write!(out, "{line}{}", progress_text(progress)),
            RebuildReport::Progress(progress) => writeln!(out, "{}", progress_text(progress)),
            RebuildReport::Done(stats) => writeln!(out, "{line}{}", stats_text(stats)),
            RebuildReport::Failed { .. } if self.is_terminal => writeln!(out),
            RebuildReport::Failed { .. } => Ok(()),
        };
        self.last = Some(report);
        match is_written(printed.and_then(|()| out.flush())) {
            Ok(is_written) => is_written,
            Err(failure) => {
                self.unwritable = Some(failure);
                false
            }
        }
    }

    fn finish(self) -> Result<ExitCode, Failure> {
        if let Some(failure) = self.unwritable {
            return Err(failure);
        }
        match self.last {
            Some(RebuildReport::Done(_)) => Ok(ExitCode::SUCCESS),
            Some(RebuildReport::Failed { code, why, remedy }) => Err(Failure::of_service(code, why, remedy)),
            Some(RebuildReport::Progress(_)) | None => {
                let why = "the service ended before the rebuild did; the view is as it was";
                Err(Failure::new("rebuild-given-up", why, "Start the service, then try again."))
            }
        }
    }
}

fn progress_text(progress: &RebuildProgress) -> String {
    let RebuildProgress { events, of, rate } = progress;
    let percent = (events * 100).checked_div(*of).unwrap_or(100);
    format!("{events} of {of} events ({percent} %), {rate}/s")
}

fn stats_text(stats: &RebuildStats) -> String {
    let RebuildStats { views, events, left_out, took_ms, parked_heard, parked_failed, from_base } = stats;
    let rate = (events * 1_000).checked_div(*took_ms).unwrap_or(*events);
    let seconds = Seconds(*took_ms);
    let base = if *from_base { "their base and " } else { "" };
    let mut parts = vec![format!("{} rebuilt from {base}{events} events in {seconds} ({rate}/s)", views.join(", "))];
    if *left_out > 0 {
        parts.push(format!("{left_out} of them were skipped, as they are parked or discarded"));
    }
    if *parked_heard > 0 {
        parts.push(format!("{parked_heard} parked events were processed after it"));
    }
    if *parked_failed > 0 {
        parts.push(format!("events of {parked_failed} orders stay parked (jumun parked list)"));
    }
    parts.join("; ")
}

/// Milliseconds, as seconds with one decimal.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{} s", self.0 / 1_000, self.0 % 1_000 / 100)
    }
}
