//! `jumun fault`: injects faults into a running service, for drills.

use crate::{Failure, options::SystemFlagOptions, output::print, process::block_on, systems::Systems};
use clap::{ArgGroup, Args};
use jumun_config::units::parse_duration;
use jumun_control::{
    Delay, Faults, FaultsOn, GetFaults, SetFaults, limits::FAULT_CPU_MAX, limits::FAULT_DELAY_MAX, socket_in, tell,
};
use serde_json::json;
use std::{process::ExitCode, time::Duration};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("faults").args(["delay", "fail", "concurrency", "cpu"]).multiple(true)))]
pub(crate) struct Options {
    #[command(flatten)]
    system: SystemFlagOptions,
    /// The service.
    service: String,
    /// Delays each command by a time in this range, 400ms..620ms; a single time (500ms) is a fixed delay.
    #[arg(long, value_name = "TIME..TIME", value_parser = delay)]
    delay: Option<Delay>,
    /// Fails this share of commands with status 500 instead of running them: 10% or 0.1.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    fail: Option<f64>,
    /// Limits the commands in progress at once; others queue within the limits of admission.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// Processor time that each command uses up in addition.
    #[arg(long, value_name = "TIME", value_parser = cpu)]
    cpu: Option<Duration>,
    /// Ends the faults after this time; otherwise they last until they are turned off or the service ends.
    #[arg(long = "for", value_name = "TIME", value_parser = duration, requires = "faults")]
    lasting: Option<Duration>,
    /// Turns all faults off.
    #[arg(long, conflicts_with_all = ["delay", "fail", "concurrency", "cpu", "lasting"])]
    off: bool,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let (number, of) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().ok().map(|number| number / of);
    share.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "write a share as 10% or 0.1".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = parse_duration(text).map_err(|error| error.to_string())?;
    if parsed.is_zero() { Err("must be more than 0s".to_owned()) } else { Ok(parsed) }
}

fn delay(text: &str) -> Result<Delay, String> {
    let delay: Delay = text.parse()?;
    if delay.to <= FAULT_DELAY_MAX { Ok(delay) } else { Err(format!("at most {FAULT_DELAY_MAX:?}")) }
}

fn cpu(text: &str) -> Result<Duration, String> {
    duration(text)
        .and_then(|cpu| if cpu <= FAULT_CPU_MAX { Ok(cpu) } else { Err(format!("at most {FAULT_CPU_MAX:?}")) })
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    let (model, config) = options.system.load(systems)?;
    if !config.services.contains_key(&options.service) {
        let names = model.services.iter().map(|service| service.name);
        return Err(Failure::unknown_service(model.name, &options.service, names));
    }
    let faults = Faults {
        delay: options.delay.unwrap_or_default(),
        fail: options.fail.unwrap_or_default(),
        concurrency: options.concurrency.unwrap_or_default(),
        cpu: options.cpu.unwrap_or_default(),
        start_delay: Duration::ZERO,
    };
    let socket = socket_in(&config.folder, &options.service);
    let is_given =
        [options.delay.is_some(), options.fail.is_some(), options.concurrency.is_some(), options.cpu.is_some()];
    let on = if options.off || is_given.contains(&true) {
        let lasting_ms = options.lasting.map(|lasting| u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX));
        block_on(tell(&socket, &SetFaults { faults, lasting_ms }))??
    } else {
        block_on(tell(&socket, &GetFaults {}))?? // without a fault: show the active ones
    };
    let text = if options.json { json!(on).to_string() } else { in_words(&options.service, on.as_ref()) };
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

fn in_words(service: &str, on: Option<&FaultsOn>) -> String {
    let faults = on.map_or("none", |on| on.in_words.as_str());
    let ends = on.and_then(|on| on.ends_in_ms);
    let until = ends.map(|ms| format!("; they end by themselves in {} s", ms.div_ceil(1_000)));
    format!("Faults of {service}: {faults}{}", until.unwrap_or_default())
}
