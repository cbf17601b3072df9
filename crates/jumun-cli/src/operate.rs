//! `jumun status`, `kill`, `stop`, `start`, `restart`, `roll`: the commands to the supervisor of a running system.

use crate::{Failure, output, process::block_on};
use clap::Args;
use jumun_control::{
    Call, ControlError, GetStatus, Kill, ProcessStatus, Roll, SUPERVISOR, Start, Stop, Supervised, socket_in, tell,
};
use serde_json::json;
use std::{
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

/// Selects a running system.
#[derive(Debug, Args)]
pub(crate) struct RunningSystemOptions {
    /// The name of the system. Default: the one that is up.
    #[arg(long)]
    system: Option<String>,
    /// The folder that contains the data of all systems.
    #[arg(long, value_name = "FOLDER", default_value = "./data")]
    data: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    system: RunningSystemOptions,
}

#[derive(Debug, Args)]
pub(crate) struct ServiceOptions {
    /// The service, or `gateway`.
    service: String,
    #[command(flatten)]
    system: RunningSystemOptions,
}

#[derive(Debug, Args)]
pub(crate) struct RollOptions {
    /// The service, or `gateway`.
    #[arg(required_unless_present = "all")]
    service: Option<String>,
    /// Replaces all running processes one by one: consumers of events before their producers, the gateway last.
    #[arg(long, conflicts_with = "service")]
    all: bool,
    #[command(flatten)]
    system: RunningSystemOptions,
}

impl RunningSystemOptions {
    /// The folder of the running system.
    fn folder(&self) -> Result<PathBuf, Failure> {
        self.folder_with(is_up)
    }

    /// The folder of the named system, or the only candidate; of several candidates the one that is up.
    pub(crate) fn folder_with(&self, is_candidate: impl Fn(&Path) -> bool) -> Result<PathBuf, Failure> {
        if let Some(system) = &self.system {
            return Ok(self.data.join(system));
        }
        only_folder(&self.data, is_candidate).map_err(|error| match error {
            NoFolder::NoCandidate | NoFolder::NoneUp(_) => Failure::new(
                "not-up",
                format!("nothing is up in {}", self.data.display()),
                "Start a system with `jumun up`, or name its folder with --data.",
            ),
            NoFolder::SeveralUp => {
                Failure::new("system-unclear", "more than one system is up here", "Name the system with --system.")
            }
        })
    }
}

/// Why no folder was selected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoFolder {
    /// The data folder contains no candidate.
    NoCandidate,
    /// The data folder contains these candidates, and none of them is up.
    NoneUp(Vec<PathBuf>),
    /// Several candidates are up.
    SeveralUp,
}

/// The only folder in the data folder that is a candidate; of several candidates the one that is up.
pub(crate) fn only_folder(data: &Path, is_candidate: impl Fn(&Path) -> bool) -> Result<PathBuf, NoFolder> {
    let entries = std::fs::read_dir(data).into_iter().flatten().filter_map(Result::ok);
    let mut candidates: Vec<_> = entries.map(|entry| entry.path()).filter(|folder| is_candidate(folder)).collect();
    candidates.sort_unstable();
    match &candidates[..] {
        [] => return Err(NoFolder::NoCandidate),
        [only] => return Ok(only.clone()),
        _ => {}
    }
    let up: Vec<_> = candidates.iter().filter(|folder| is_up(folder)).collect();
    match up[..] {
        [] => Err(NoFolder::NoneUp(candidates)),
        [only] => Ok(only.clone()),
        _ => Err(NoFolder::SeveralUp),
    }
}

/// Whether a supervisor listens in this folder. One that was killed has left its socket, and nothing listens there.
fn is_up(folder: &Path) -> bool {
    UnixStream::connect(socket_in(folder, SUPERVISOR)).is_ok()
}

/// Sends a call to the supervisor of the system in this folder.
fn supervisor<C: Call>(folder: &Path, call: &C) -> Result<C::Reply, Failure> {
    block_on(tell(&socket_in(folder, SUPERVISOR), call))?.map_err(|error| not_up(folder, error))
}

pub(crate) fn status(options: &StatusOptions) -> Result<ExitCode, Failure> {
    let supervised = supervisor(&options.system.folder()?, &GetStatus {})?;
    let text = if options.system.json { json!(supervised).to_string() } else { table(&supervised) };
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
    let told = supervised.processes.iter().filter_map(|(status, _)| Some((&status.name, status.trouble.as_ref()?)));
    lines.extend(told.map(|(name, trouble)| format!("\n{name}: {trouble}")));
    lines.join("\n")
}

pub(crate) fn kill(options: &ServiceOptions) -> Result<ExitCode, Failure> {
    command(options, "was killed; the next process", |folder, service| supervisor(folder, &Kill { service }))
}

pub(crate) fn stop(options: &ServiceOptions) -> Result<ExitCode, Failure> {
    command(options, "", |folder, service| supervisor(folder, &Stop { service }))
}

pub(crate) fn start(options: &ServiceOptions) -> Result<ExitCode, Failure> {
    command(options, "", |folder, service| supervisor(folder, &Start { service }))
}

pub(crate) fn restart(options: &ServiceOptions) -> Result<ExitCode, Failure> {
    command(options, "was restarted; the next process", |folder, service| {
        supervisor(folder, &Stop { service: service.clone() })?;
        supervisor(folder, &Start { service })
    })
}

pub(crate) fn roll(options: &RollOptions) -> Result<ExitCode, Failure> {
    let folder = options.system.folder()?;
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
        print(&status, "was rolled; the next process", began, options.system.json)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends a command about one process, and prints the new state of the process.
fn command(
    options: &ServiceOptions,
    done: &str,
    call: impl FnOnce(&Path, String) -> Result<ProcessStatus, Failure>,
) -> Result<ExitCode, Failure> {
    let (folder, began) = (options.system.folder()?, Instant::now());
    let status = call(&folder, options.service.clone())?;
    print(&status, done, began, options.system.json)?;
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
