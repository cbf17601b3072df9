//! `jumun audit`: checks every order against the rules of its system.

use crate::{
    Failure,
    options::{SystemOptions, duration},
    output::print,
    process::block_on,
    systems::Systems,
};
use clap::Args;
use jumun::SystemModel;
use jumun_audit::{Report, Verdict};
use jumun_host::{config::Config, open_readers};
use serde_json::{Value, json};
use std::{process::ExitCode, time::Duration};

/// Violations that are printed in full; further ones are only counted.
const SHOWN_MAX: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    system: SystemOptions,
    /// How long to wait for orders in progress to settle.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    wait: Duration,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    // Exit status 1 says that a rule is violated. A failure says that it could not be determined.
    audit(options, systems).map_err(|failure| failure.exit_with(2))
}

fn audit(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let (model, config) = options.system.load(systems)?;
    let report = read(&model, &config, options.wait)?;
    print(if options.json { to_json(&model, &report).to_string() } else { to_text(&model, &report) })?;
    Ok(match report.verdict() {
        Verdict::Clean => 0,
        Verdict::Violated => 1,
        Verdict::Open => 2,
    }
    .into())
}

fn read(model: &SystemModel, config: &Config, wait: Duration) -> Result<Report, Failure> {
    let databases = block_on(open_readers(model, config))??;
    Ok(block_on(jumun_audit::run(model, &databases, wait))??)
}

pub(crate) fn to_text(model: &SystemModel, report: &Report) -> String {
    let mut lines = vec![format!("{}: {} orders checked", model.name, report.cases)];
    let sum = |name: &str| report.sums.get(name).copied().unwrap_or_default();
    // Totals are of all cases: an audit of some has none.
    let has_total = report.sums.contains_key(model.total.whole);
    let ledgers = [Some(model.ledger), has_total.then_some(model.total)].into_iter().flatten();
    for ledger in ledgers.filter(|ledger| !ledger.whole.is_empty()) {
        lines.push(format!("  {:<12}{:>20}", ledger.whole, sum(ledger.whole)));
        for (nth, part) in ledger.parts.iter().enumerate() {
            lines.push(format!("{} {part:<12}{:>20}", if nth == 0 { '=' } else { '+' }, sum(part)));
        }
    }
    if report.difference != 0 {
        lines.push(format!("  the ledger does not balance: total minus parts is {}", report.difference));
    }
    for (key, what) in report.violations.iter().take(SHOWN_MAX) {
        lines.push(format!("order {key}: {what}"));
    }
    if let more @ 1.. = report.violations.len().saturating_sub(SHOWN_MAX) {
        lines.push(format!("… and {more} more"));
    }
    lines.push(match report.verdict() {
        Verdict::Clean => "clean: no violations".to_owned(),
        Verdict::Violated => format!("violated: {} findings", report.violations.len().max(1)),
        Verdict::Open => format!(
            "open: {} orders are in progress, {} asks are in doubt; start the services, then run the audit again \
             (jumun asks {} lists the asks)",
            report.open.len(),
            report.in_doubt,
            model.name,
        ),
    });
    lines.join("\n")
}

pub(crate) fn to_json(model: &SystemModel, report: &Report) -> Value {
    let verdict = match report.verdict() {
        Verdict::Clean => "clean",
        Verdict::Violated => "violated",
        Verdict::Open => "open",
    };
    let violations: Vec<_> =
        report.violations.iter().map(|(key, what)| json!({ "order": key, "what": what })).collect();
    let sums: serde_json::Map<_, _> =
        report.sums.iter().map(|(name, sum)| ((*name).to_owned(), exactly(*sum))).collect();
    json!({
        "system": model.name,
        "verdict": verdict,
        "orders": report.cases,
        "violations": violations,
        "open": report.open,
        "inDoubt": report.in_doubt,
        "ledger": sums,
        "difference": exactly(report.difference),
    })
}

/// A sum of money as a number, or as a text of its digits where it is over 63 bits.
fn exactly(sum: i128) -> Value {
    i64::try_from(sum).map_or_else(|_| sum.to_string().into(), Value::from)
}
