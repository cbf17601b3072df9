//! `jumun fault`: a service that runs is made slow, failing, narrow or busy, for drills.

use crate::{Failure, RunningOptions, Systems, audit::block_on};
use clap::Args;
use jiff::SignedDuration;
use jumun_control as control;
use jumun_runtime::{
    intake::{Faults, faults::Delay},
    limits::FAULT_CPU_MAX,
};
use serde_json::Value;
use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    system: RunningOptions,
    /// Which service.
    service: String,
    /// Holds up each command for a time between these, 400ms..620ms; or 500ms for always the same.
    #[arg(long, value_name = "TIME..TIME")]
    delay: Option<Delay>,
    /// Answers this share of commands 500, and does nothing of them: 10% or 0.1.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    fail: Option<f64>,
    /// So many commands are at work at once, others queue as long as admission lets them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// Burns so much processor time for each command.
    #[arg(long, value_name = "TIME", value_parser = cpu)]
    cpu: Option<Duration>,
    /// Ends by itself after so long; otherwise when it is turned off, or the service ends.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    lasting: Option<Duration>,
    /// Turns all faults off.
    #[arg(long, conflicts_with_all = ["delay", "fail", "concurrency", "cpu", "lasting"])]
    off: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let (number, of) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().ok().map(|number| number / of);
    share.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "write a share as 10% or 0.1".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.filter(|time| time.as_millis() > 0).ok_or_else(|| "write 5ms, 60s or 2m".to_owned())
}

fn cpu(text: &str) -> Result<Duration, String> {
    duration(text)
        .and_then(|cpu| if cpu <= FAULT_CPU_MAX { Ok(cpu) } else { Err(format!("at most {FAULT_CPU_MAX:?}")) })
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let (model, config) = options.system.load(systems)?;
    let Some(service) = config.services.get(&options.service) else {
        let names: Vec<_> = model.services.iter().map(|service| service.name).collect();
        let why = format!("{} has no service `{}`", model.name, options.service);
        return Err(Failure::new("service-unknown", why, format!("Name one of: {}.", names.join(", "))));
    };
    let faults = Faults {
        delay: options.delay.unwrap_or_default(),
        fail: options.fail.unwrap_or_default(),
        concurrency: options.concurrency.unwrap_or_default(),
        cpu: options.cpu.unwrap_or_default(),
        start_delay: Duration::ZERO,
    };
    let path = if options.off || faults != Faults::default() {
        let ms = options.lasting.map_or(0, |lasting| lasting.as_millis());
        format!("/faults/set/{ms}?{}", faults.to_query())
    } else {
        "/faults".to_owned() // nothing is said, so it is asked
    };
    let said = block_on(control::tell(&service.control, &path))??;
    let text = if options.json { said.to_string() } else { in_words(&options.service, &said) };
    drop(writeln!(io::stdout(), "{text}"));
    Ok(ExitCode::SUCCESS)
}

fn in_words(service: &str, said: &Value) -> String {
    let faults = match said {
        Value::Object(_) => said["inWords"].as_str().unwrap_or("unclear"),
        _ => "none",
    };
    let until = said["endsInMs"].as_u64().map(|ms| format!("; they end by themselves in {} s", ms.div_ceil(1_000)));
    format!("Faults of {service}: {faults}{}", until.unwrap_or_default())
}
