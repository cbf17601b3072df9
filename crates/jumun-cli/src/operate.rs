//! `jumun status`, `kill`, `stop`, `start`, `restart`, `roll`: what operators tell a system that is up.

use crate::{Failure, audit::block_on};
use clap::Args;
use jumun_control::{self as control, ControlError};
use jumun_supervisor::{Status, Supervised, socket_in};
use serde_json::{Value, json};
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

/// Which of the systems that are up here.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The system, where more than one is up.
    #[arg(long)]
    system: Option<String>,
    /// The folder of all data.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    data: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
pub(crate) struct ServiceOptions {
    /// Which service; the gateway is one, too.
    service: String,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
pub(crate) struct RollOptions {
    /// Which service.
    #[arg(required_unless_present = "all")]
    service: Option<String>,
    /// All of them, one after the other, those who hear before those who are heard.
    #[arg(long, conflicts_with = "service")]
    all: bool,
    #[command(flatten)]
    which: Which,
}

impl Which {
    /// The folder of the system that is up.
    fn folder(&self) -> Result<PathBuf, Failure> {
        self.folder_with(|folder| socket_in(folder).exists())
    }

    /// The folder of the system that is named, or of the only one here of which something is so.
    pub(crate) fn folder_with(&self, is_meant: impl Fn(&Path) -> bool) -> Result<PathBuf, Failure> {
        folder_of(self.system.as_deref(), &self.data, is_meant)
    }
}

/// The folder of the system that is named, or of the only one in a folder of data of which something is so; of several, the
/// one that is up.
pub(crate) fn folder_of(
    system: Option<&str>,
    data: &Path,
    is_meant: impl Fn(&Path) -> bool,
) -> Result<PathBuf, Failure> {
    if let Some(system) = system {
        return Ok(data.join(system));
    }
    let entries = std::fs::read_dir(data).into_iter().flatten().filter_map(Result::ok);
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).filter(|folder| is_meant(folder)).collect();
    if folders.len() > 1 {
        folders.retain(|folder| socket_in(folder).exists()); // others were up before
    }
    match (folders.pop(), folders.len()) {
        (Some(folder), 0) => Ok(folder),
        (None, _) => Err(Failure::new(
            "not-up",
            format!("nothing is up in {}", data.display()),
            "Start a system with `jumun up`, or name its folder with --data.",
        )),
        (Some(_), _) => {
            Err(Failure::new("system-unclear", "more than one system is up here", "Say which with --system."))
        }
    }
}

pub(crate) fn status(options: &StatusOptions) -> Result<ExitCode, Failure> {
    let folder = options.which.folder()?;
    let supervised = block_on(Supervised::ask(&folder))?.map_err(|error| not_up(&folder, error))?;
    let text = if options.which.json { json!(supervised).to_string() } else { table(&supervised) };
    drop(writeln!(io::stdout(), "{text}"));
    Ok(ExitCode::SUCCESS)
}

fn table(supervised: &Supervised) -> String {
    let mut lines = vec![format!(
        "{:<13} {:<26} {:<9} {:<8} {:>8} {:>9} {:>7}  {}",
        "SERVICE", "ADDRESS", "STATE", "HEALTH", "PID", "RESTARTS", "READY", "LAST END"
    )];
    lines.extend(supervised.processes.iter().map(|(status, health)| {
        let pid = status.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let ready = status.ready_after_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
        let end = status.last_end.as_deref().unwrap_or("-").lines().next().unwrap_or("-");
        format!(
            "{:<13} {:<26} {:<9} {:<8} {pid:>8} {:>9} {ready:>7}  {end}",
            status.name,
            format!("http://{}", status.address),
            status.state,
            health.as_deref().unwrap_or("-"),
            status.restarts,
        )
    }));
    lines.join("\n")
}

pub(crate) fn kill(options: &ServiceOptions) -> Result<ExitCode, Failure> {
    one(options, &["kill"], "was killed; the next process")
}

pub(crate) fn stop(options: &ServiceOptions) -> Result<ExitCode, Failure> {
    one(options, &["stop"], "")
}

pub(crate) fn start(options: &ServiceOptions) -> Result<ExitCode, Failure> {
    one(options, &["start"], "")
}

pub(crate) fn restart(options: &ServiceOptions) -> Result<ExitCode, Failure> {
    one(options, &["stop", "start"], "was restarted; the next process")
}

fn one(options: &ServiceOptions, words: &[&str], done: &str) -> Result<ExitCode, Failure> {
    let folder = options.which.folder()?;
    tell(&folder, &options.service, words, done, options.which.json)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn roll(options: &RollOptions) -> Result<ExitCode, Failure> {
    let folder = options.which.folder()?;
    let services = if let Some(service) = &options.service {
        vec![service.clone()]
    } else {
        let supervised = block_on(Supervised::ask(&folder))?.map_err(|error| not_up(&folder, error))?;
        let order = supervised.about["rollOrder"].as_array().cloned().unwrap_or_default();
        let is_running =
            |name: &str| supervised.processes.iter().any(|(status, _)| status.name == name && status.pid.is_some());
        order.iter().filter_map(Value::as_str).filter(|name| is_running(name)).map(str::to_owned).collect()
    };
    for service in services {
        tell(&folder, &service, &["roll"], "was rolled; the next process", options.which.json)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells the supervisor something about a service, and says what came of it.
fn tell(folder: &Path, service: &str, words: &[&str], done: &str, as_json: bool) -> Result<(), Failure> {
    let began = Instant::now();
    let mut answer = Value::Null;
    for word in words {
        let path = format!("/{word}?service={service}");
        answer = block_on(control::tell(&socket_in(folder), &path))?.map_err(|error| not_up(folder, error))?;
    }
    let text = if as_json {
        answer.to_string()
    } else {
        match serde_json::from_value::<Status>(answer) {
            Ok(status) => match status.pid {
                Some(pid) => {
                    format!("{service} {done} {pid} is ready after {:.0?}", began.elapsed()).replace("  ", " ")
                }
                None => format!("{service} is {}", status.state),
            },
            Err(error) => {
                return Err(ControlError::NoAnswer(error.to_string()).into());
            }
        }
    };
    drop(writeln!(io::stdout(), "{text}"));
    Ok(())
}

fn not_up(folder: &Path, error: ControlError) -> Failure {
    match error {
        ControlError::NotRunning { .. } => Failure::new(
            "not-up",
            format!("{} is not up", folder.display()),
            "Start it with `jumun up`, or name its folder with --data.",
        ),
        error => error.into(),
    }
}
