//! What servers need of the machine: users, ports, passwords, packages.

use super::{Failure, of_file};
use std::{
    fmt::Write,
    fs::{self, File},
    io::Read,
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{OpenOptionsExt, chown},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The user that a server runs as: none of these runs as root.
#[derive(Debug, Clone, Copy)]
pub(super) struct User {
    /// User and group; `None`: whoever runs this.
    ids: Option<(u32, u32)>,
}

impl User {
    /// Whoever runs this.
    pub(super) const fn itself() -> Self {
        Self { ids: None }
    }

    /// For root the user of this name, which the package of the server makes; for others themselves.
    pub(super) fn of_server(name: &str) -> Result<Self, Failure> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::itself());
        }
        let users = Path::new("/etc/passwd");
        let users = fs::read_to_string(users).map_err(of_file(users))?;
        let ids = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let is_it = fields.next()? == name;
            let user = fields.nth(1)?.parse().ok()?;
            let group = fields.next()?.parse().ok()?;
            is_it.then_some((user, group))
        });
        ids.map(|ids| Self { ids: Some(ids) }).ok_or_else(|| format!("this machine has no user `{name}`"))
    }

    /// Gives a file or a folder to the user.
    pub(super) fn own(self, path: &Path) -> Result<(), Failure> {
        let (user, group) = self.ids.unzip();
        chown(path, user, group).map_err(of_file(path))
    }

    /// A program that runs as the user, in this folder, with its output in `log`.
    pub(super) fn command(self, program: &Path, folder: &Path) -> Result<Command, Failure> {
        let log = folder.join("log");
        let open = || File::options().create(true).append(true).open(&log).map_err(of_file(&log));
        let mut command = Command::new(program);
        command.current_dir(folder).stdin(Stdio::null()).stdout(open()?).stderr(open()?);
        if let Some((user, group)) = self.ids {
            command.uid(user).gid(group);
        }
        Ok(command)
    }
}

/// Runs a program to its end.
pub(super) fn run(command: &mut Command, folder: &Path) -> Result<(), Failure> {
    let program = command.get_program().display().to_string();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => {
            let log = folder.join("log");
            let text = fs::read_to_string(&log).unwrap_or_default();
            let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
            Err(format!("{program} has failed: {last} (see {}; its user must be able to reach that)", log.display()))
        }
        Err(error) => Err(format!("{program} cannot be run: {error}")),
    }
}

/// Starts a program that goes on when this process ends, and when its terminal is interrupted. Returns its id.
pub(super) fn start(command: &mut Command) -> Result<i32, Failure> {
    let program = command.get_program().display().to_string();
    let child = command.process_group(0).spawn().map_err(|error| format!("{program} cannot be run: {error}"))?;
    i32::try_from(child.id()).map_err(|error| error.to_string())
}

/// Makes a user that a server can run as, unless there is one. Only root can, and only root needs it.
pub(super) fn make_user(name: &str, folder: &Path) -> Result<(), Failure> {
    if User::of_server(name).is_ok() {
        return Ok(());
    }
    let mut command = User::itself().command(Path::new("useradd"), folder)?;
    run(command.args(["--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]), folder)
}

/// Installs packages of Debian, without starting what they bring.
pub(super) fn install(packages: &[&str], folder: &Path) -> Result<(), Failure> {
    let names = packages.join(" ");
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return Err(format!("install {names} of your system"));
    }
    let apt = |arguments: &[&str]| {
        let mut command = User::itself().command(Path::new("/usr/bin/apt-get"), folder)?;
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").arg("-qq").args(arguments);
        run(&mut command, folder)
    };
    eprintln!("apt-get install {names}");
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

/// A port that is free now.
pub(super) fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("there is no free port: {error}"))
}

/// A password that nobody knows, in hexadecimal digits.
pub(super) fn password() -> Result<String, Failure> {
    let random = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    File::open(random).and_then(|mut file| file.read_exact(&mut bytes)).map_err(of_file(random))?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    }))
}

/// Writes a file that only its owner can read.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = File::options();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes())).map_err(of_file(path))
}

/// Whether there is a process with this id that has not ended.
pub(super) fn is_running(process: i32) -> bool {
    let is_known = rustix::process::Pid::from_raw(process)
        .is_some_and(|process| rustix::process::test_kill_process(process) != Err(rustix::io::Errno::SRCH));
    // One that has ended is known until its parent asks for it, and not every parent does.
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = status.rsplit_once(") ").map(|(_, rest)| rest.starts_with('Z'));
    is_known && state != Some(true)
}

/// Kills a process and waits for its end.
pub(super) fn kill(process: i32) -> Result<(), Failure> {
    let pid = rustix::process::Pid::from_raw(process).ok_or_else(|| format!("there is no process {process}"))?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)
        .map_err(|error| format!("process {process}: {error}"))?;
    wait_until(&format!("process {process} does not end"), || !is_running(process))
}

/// Asks processes to end. Those that do not are killed: the last broker of a cluster waits for others that are gone.
pub(super) fn end(processes: &[i32]) -> Result<(), Failure> {
    let running: Vec<i32> = processes.iter().copied().filter(|process| is_running(*process)).collect();
    for pid in running.iter().filter_map(|process| rustix::process::Pid::from_raw(*process)) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM); // it has ended meanwhile
    }
    match wait_until("they do not end", || !running.iter().any(|process| is_running(*process))) {
        Ok(()) => Ok(()),
        Err(_) => running.into_iter().filter(|process| is_running(*process)).try_for_each(kill),
    }
}

/// Whether a process has this folder as its own.
pub(super) fn is_at_work_in(folder: &Path) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| fs::read_link(entry.path().join("cwd")).ok()).any(|own| own == folder)
}

/// Waits for a condition, with a bound.
pub(super) fn wait_until(failure: &str, is_so: impl Fn() -> bool) -> Result<(), Failure> {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() >= WAIT_MAX {
            return Err(failure.to_owned());
        }
        thread::park_timeout(Duration::from_millis(5));
    }
    Ok(())
}

/// How long a process takes to begin or to end, on a machine that has much to do.
const WAIT_MAX: Duration = Duration::from_mins(1);
