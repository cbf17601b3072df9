//! `jumun status`, `kill`, `stop`, `start`, `restart`, `roll`: what operators tell a system that is up.

use crate::{Failure, output, process::block_on};
use clap::Args;
use jumun_control::{
    Call, ControlError, GetStatus, Kill, ProcessStatus, Roll, SUPERVISOR, Start, Stop, Supervised, socket_in, tell,
};
use serde_json::json;
use std::{
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
        self.folder_with(is_up)
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
        folders.retain(|folder| is_up(folder)); // others were up before
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

/// Whether a supervisor listens in this folder, or has left its socket.
fn is_up(folder: &Path) -> bool {
    socket_in(folder, SUPERVISOR).exists()
}

/// Sends a call to the supervisor of the system in this folder.
fn supervisor<C: Call>(folder: &Path, call: &C) -> Result<C::Reply, Failure> {
    block_on(tell(&socket_in(folder, SUPERVISOR), call))?.map_err(|error| not_up(folder, error))
}

pub(crate) fn status(options: &StatusOptions) -> Result<ExitCode, Failure> {
    let supervised = supervisor(&options.which.folder()?, &GetStatus {})?;
    let text = if options.which.json { json!(supervised).to_string() } else { table(&supervised) };
    output::print(text)?;
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
    one(options, "was killed; the next process", |folder, service| supervisor(folder, &Kill { service }))
}

pub(crate) fn stop(options: &ServiceOptions) -> Result<ExitCode, Failure> {
    one(options, "", |folder, service| supervisor(folder, &Stop { service }))
}

pub(crate) fn start(options: &ServiceOptions) -> Result<ExitCode, Failure> {
    one(options, "", |folder, service| supervisor(folder, &Start { service }))
}

pub(crate) fn restart(options: &ServiceOptions) -> Result<ExitCode, Failure> {
    one(options, "was restarted; the next process", |folder, service| {
        supervisor(folder, &Stop { service: service.clone() })?;
        supervisor(folder, &Start { service })
    })
}

pub(crate) fn roll(options: &RollOptions) -> Result<ExitCode, Failure> {
    let folder = options.which.folder()?;
    let services = if let Some(service) = &options.service {
        vec![service.clone()]
    } else {
        let Supervised { about, processes } = supervisor(&folder, &GetStatus {})?;
        let is_running =
            |name: &String| processes.iter().any(|(status, _)| status.name == *name && status.pid.is_some());
        about.roll_order.into_iter().filter(is_running).collect()
    };
    for service in services {
        let began = Instant::now();
        let status = supervisor(&folder, &Roll { service })?;
        print(&status, "was rolled; the next process", began, options.which.json)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Does something to one process, and prints what came of it.
fn one(
    options: &ServiceOptions,
    done: &str,
    call: impl FnOnce(&Path, String) -> Result<ProcessStatus, Failure>,
) -> Result<ExitCode, Failure> {
    let (folder, began) = (options.which.folder()?, Instant::now());
    let status = call(&folder, options.service.clone())?;
    print(&status, done, began, options.which.json)?;
    Ok(ExitCode::SUCCESS)
}

fn print(status: &ProcessStatus, done: &str, began: Instant, as_json: bool) -> Result<(), Failure> {
    let service = &status.name;
    let text = match status.pid {
        _ if as_json => json!(status).to_string(),
        Some(pid) => format!("{service} {done} {pid} is ready after {:.0?}", began.elapsed()).replace("  ", " "),
        None => format!("{service} is {}", status.state),
    };
    output::print(text).map(drop)
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
