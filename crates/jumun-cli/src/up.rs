//! `jumun up`: runs all processes of a system on this machine, one process per service.

use crate::{Failure, log, options::NamedSystemOptions, process, systems::Systems};
use clap::Args;
use jumun::{LoadLine, SystemModel};
use jumun_control::{About, ProcessState, ProcessStatus};
use jumun_gateway::GATEWAY;
use jumun_host::config::Config;
use jumun_supervisor::{self as supervisor, Spec, Supervisor};
use jumun_text::Escaped;
use serde_json::json;
use std::{
    env,
    ffi::OsString,
    fmt::Write as _,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};
use tokio::sync::mpsc;

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    system: NamedSystemOptions,
    /// Leaves a service stopped, so that a program of your own can have its port. `jumun start` starts it. May be given more
    /// than once.
    #[arg(long, value_name = "SERVICE")]
    without: Vec<String>,
    /// Reports changes as JSON, one object per line.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options, systems: Systems<'_>) -> Result<ExitCode, Failure> {
    log::start(options.json)?;
    let (model, config) = options.system.load(systems)?;
    process::block_on(up(&model, &config, options))?
}

async fn up(model: &SystemModel, config: &Config, options: &Options) -> Result<ExitCode, Failure> {
    jumun_host::check(model)?;
    let began = Instant::now();
    let stop = process::stop_signal("its processes stop without it")?;
    refuse_second(&config.folder)?;
    let specs = specs(model, config, options)?;
    let listeners = supervisor::bind(&specs)?; // fails before anything is written
    let _lock = lock(&config.folder)?;
    fs::create_dir_all(logs_in(&config.folder)).map_err(|error| unwritable(&config.folder, &error))?;

    let (changed, mut changes) = mpsc::unbounded_channel();
    let starting = Supervisor::start(specs, listeners, changed);
    let supervisor = tokio::select! {
        supervisor = starting => supervisor?,
        () = stop.cancelled() => return Ok(ExitCode::from(130)), // the leashes break, and all processes stop
    };
    let about = About {
        system: model.name.to_owned(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        data: config.folder.display().to_string(),
        roll_order: roll_order(model).into_iter().map(str::to_owned).collect(),
    };
    let mut supervisor = supervisor.listen_to_operators(&config.folder, about)?;
    let statuses = supervisor.statuses();
    while changes.try_recv().is_ok() {} // the table shows how the processes started
    print(&if options.json {
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        json!({ "up": model.name, "tookMs": took_ms, "processes": statuses }).to_string()
    } else {
        greeting(model, config, options, &statuses, began)
    });

    let printer = Printer::new(options.json);
    loop {
        tokio::select! {
            Some(status) = changes.recv() => printer.print_change(&status),
            () = stop.cancelled() => break,
        }
    }
    print(&if options.json { json!({ "stopping": model.name }).to_string() } else { "stopping …".to_owned() });
    supervisor.stop().await;
    print(&if options.json {
        json!({ "stopped": model.name }).to_string()
    } else {
        format!("{} is stopped; its data stays in {}", model.name, config.folder.display())
    });
    Ok(ExitCode::SUCCESS)
}

/// The folder of the logs of a system.
pub(crate) fn logs_in(folder: &Path) -> PathBuf {
    folder.join("logs")
}

fn lock_in(folder: &Path) -> PathBuf {
    folder.join("up.lock")
}

/// Fails if another `up` has locked this folder. Changes nothing.
fn refuse_second(folder: &Path) -> Result<(), Failure> {
    match File::open(lock_in(folder)).map(|file| file.try_lock()) {
        Ok(Err(TryLockError::WouldBlock)) => Err(already_up(folder)),
        _ => Ok(()),
    }
}

/// Locks the folder. The operating system releases the lock when this process ends, even by a crash.
fn lock(folder: &Path) -> Result<File, Failure> {
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    let lock = File::options().create(true).truncate(false).read(true).write(true).open(lock_in(folder));
    let lock = lock.map_err(|error| unwritable(folder, &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(already_up(folder)),
        Err(TryLockError::Error(error)) => Err(unwritable(folder, &error)),
    }
}

fn already_up(folder: &Path) -> Failure {
    let why = format!("{} is in use: it is up already", folder.display());
    Failure::new("already-up", why, "See `jumun status`, or choose another folder with --data.")
}

fn unwritable(folder: &Path, error: &io::Error) -> Failure {
    let why = format!("{} cannot be written: {error}", folder.display());
    Failure::new(
        "data-unwritable",
        why,
        "Make it a folder that this user can write, with space left, or choose another one with --data.",
    )
}

fn specs(model: &SystemModel, config: &Config, options: &Options) -> Result<Vec<Spec>, Failure> {
    let program = env::current_exe();
    let program = program.map_err(|error| {
        Failure::new("system", format!("this program cannot be found: {error}"), "Start it by its full path.")
    })?;
    let names = model.services.iter().map(|service| (service.name, config.services[service.name].listen, false));
    let all: Vec<_> = names.chain([(GATEWAY, config.gateway.listen, true)]).collect();
    if let Some(unknown) = options.without.iter().find(|left_out| all.iter().all(|(name, ..)| name != left_out)) {
        return Err(Failure::unknown_service(model.name, unknown, all.iter().map(|(name, ..)| *name)));
    }
    Ok(all
        .into_iter()
        .map(|(name, listen, overlaps)| {
            let mut arguments: Vec<OsString> = vec!["serve".into(), model.name.into(), name.into()];
            arguments.extend(options.system.settings.as_arguments());
            arguments.push("--supervised".into());
            let log = logs_in(&config.folder).join(format!("{name}.log"));
            let begins_stopped = options.without.iter().any(|left_out| left_out == name);
            Spec { name: name.to_owned(), listen, program: program.clone(), arguments, log, overlaps, begins_stopped }
        })
        .collect())
}

/// The order of a roll: consumers before producers, so that no old consumer gets an event that only the new release
/// knows; the gateway last.
fn roll_order(model: &SystemModel) -> Vec<&'static str> {
    let consumers_of = |name: &str| {
        model.services.iter().filter(|service| service.listens.iter().any(|event| event.source == name)).count()
    };
    let mut names: Vec<_> = model.services.iter().map(|service| service.name).collect();
    names.sort_by_key(|name| consumers_of(name));
    names.push(GATEWAY);
    names
}

/// The program name as the user typed it.
fn program() -> String {
    env::args_os().next().map_or_else(|| "jumun".into(), |program| program.to_string_lossy().into_owned())
}

fn greeting(
    model: &SystemModel,
    config: &Config,
    options: &Options,
    statuses: &[ProcessStatus],
    began: Instant,
) -> String {
    let program = program();
    let data = match options.system.settings.data.to_str() {
        None | Some("./data") => String::new(),
        Some(folder) => format!(" --data {folder}"),
    };
    let offset =
        options.system.settings.port_offset.map_or_else(String::new, |offset| format!(" --port-offset {offset}"));
    let width = statuses.iter().map(|status| status.name.len()).max().unwrap_or_default().max(11) + 2;
    let mut text = format!(
        "{} is up after {:.2?}; its data is in {}\n\n  {:<width$}{:<26}{:<10}PID\n",
        model.name,
        began.elapsed(),
        config.folder.display(),
        "SERVICE",
        "ADDRESS",
        "STATE"
    );
    // Writing to a String cannot fail.
    for status in statuses {
        let pid = status.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        let address = format!("http://{}", status.address);
        let _ = writeln!(text, "  {:<width$}{address:<26}{:<10}{pid}", status.name, status.state);
    }
    let gateway = statuses.iter().find(|status| status.name == GATEWAY).map_or(config.gateway.listen, |it| it.address);
    text.push_str("\nTry next, in another terminal:\n");
    if let Some(LoadLine { path, body, finished, .. }) = model.load {
        let _ = writeln!(text, "  curl -si {gateway}{path} -H 'content-type: application/json' \\\n       -d '{body}'");
        let _ = finished.map(|(view, _)| writeln!(text, "  curl -s  {gateway}{view}/1"));
    }
    let asked = model.services.iter().flat_map(|service| &service.asks).find(|ask| !ask.is_external());
    let target = asked.map_or(GATEWAY, |ask| ask.service);
    let _ = write!(
        text,
        "  {program} why {system} 1{data}
  {program} kill {target}{data}                 (kill -9; then order again)
  {program} load {system} --for 10s{data}{offset}
  {program} roll --all{data}                   (and status, stop, start, restart, logs -f)

Ctrl-C stops it; the next `up` continues with its data.",
        system = model.name,
    );
    text
}

fn print(text: &str) {
    let mut out = io::stdout();
    // The system continues if nothing reads the output.
    if let Err(error) = writeln!(out, "{}", Escaped(text)).and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tracing::warn!(%error, "the standard output cannot be written; the system goes on");
    }
}

/// Prints the changes of processes.
struct Printer {
    as_json: bool,
}

impl Printer {
    const fn new(as_json: bool) -> Self {
        Self { as_json }
    }

    fn print_change(&self, status: &ProcessStatus) {
        if self.as_json {
            return print(&json!(status).to_string());
        }
        let name = &status.name;
        let ended = status.last_end.as_deref().unwrap_or("it ended");
        if let Some(trouble) = &status.trouble {
            return print(&format!("{name} is DOWN: {trouble}"));
        }
        match status.state {
            ProcessState::Ready => {
                let after = status.ready_after_ms.unwrap_or_default();
                print(&format!("{name} is ready after {after} ms, process {}", status.pid.unwrap_or_default()));
            }
            ProcessState::Starting if status.pid.is_none() => print(&format!("{name}: {ended}")),
            ProcessState::Waiting => print(&format!("{name} does not start, retrying: {ended}")),
            ProcessState::Stopped => print(&format!("{name} is stopped")),
            ProcessState::Starting | ProcessState::Stopping => {}
        }
    }
}
