//! A service as a process: started, stopped, killed, stalled.

use super::{Client, LONG, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::net::TcpSocket;

/// What happens to a process at a named step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trap {
    /// Nothing.
    None,
    /// It is killed, as `kill -9` would.
    Dies(&'static str),
    /// It stops until somebody continues it.
    Stalls(&'static str),
}

/// A service, running or not. Its address is its own for the life of the lab.
pub(crate) struct Service {
    system: &'static str,
    name: &'static str,
    address: SocketAddr,
    /// Holds the port without listening: while the service is down, connections are refused, and nobody else gets it.
    _reserved: TcpSocket,
    folder: PathBuf,
    data: PathBuf,
    settings: Vec<String>,
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
}

/// The program with the systems that ship with it.
pub(super) const JUMUN: &str = env!("CARGO_BIN_EXE_jumun");

/// That program, in an environment without settings for it.
pub(super) fn jumun(folder: &Path) -> Command {
    program(Path::new(JUMUN), folder)
}

/// A program, in an environment without settings for it.
pub(super) fn program(path: &Path, folder: &Path) -> Command {
    let mut command = Command::new(path);
    command.current_dir(folder).env("TZ", "UTC");
    for (name, _) in std::env::vars_os()
        .filter(|(name, _)| ["JUMUN", "OTEL"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)))
    {
        command.env_remove(name);
    }
    command
}

/// Sets a key in a list of keys and values. The program refuses one that comes twice.
pub(super) fn set(settings: &mut Vec<String>, key_and_value: String) {
    let key = |setting: &str| setting.split('=').next().map(str::to_owned);
    settings.retain(|known| key(known) != key(&key_and_value));
    settings.push(key_and_value);
}

impl Service {
    pub(super) fn new(system: &'static str, name: &'static str, folder: &Path, data: &Path) -> Self {
        let reserved = TcpSocket::new_v4().expect("a socket");
        reserved.set_reuseaddr(true).expect("a port that can be shared with the service");
        reserved.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        Self {
            system,
            name,
            address: reserved.local_addr().expect("an address"),
            _reserved: reserved,
            folder: folder.to_owned(),
            data: data.to_owned(),
            settings: Vec::new(),
            environment: Vec::new(),
            child: None,
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets a configuration key, from the next start on, in place of what it was set to.
    pub(crate) fn set(&mut self, key_and_value: impl Into<String>) {
        set(&mut self.settings, key_and_value.into());
    }

    /// Sets a variable of the environment, from the next start on.
    pub(crate) fn env(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.push((name, value.into()));
    }

    /// Somebody who talks to it.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    fn output(&self) -> PathBuf {
        self.folder.join(format!("{}.out", self.name))
    }

    fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    /// What it has logged so far, in all its lives.
    pub(crate) fn log_text(&self) -> String {
        fs::read_to_string(self.log()).expect("a log")
    }

    /// Starts it and waits for nothing.
    pub(crate) fn spawn(&mut self, trap: Trap) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(self.log()).expect("a log");
        let mut command = jumun(&self.folder);
        command.args(["serve", self.system, self.name, "--data"]).arg(&self.data);
        command.arg("--listen").arg(self.address.to_string());
        command.args(self.settings.iter().flat_map(|setting| ["--set", setting]));
        command.env("JUMUN_LOG", "info,jumun_runtime=debug").env("NO_COLOR", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        match trap {
            Trap::None => {}
            Trap::Dies(point) => drop(command.env("JUMUN_CRASH_AT", point)),
            Trap::Stalls(point) => drop(command.env("JUMUN_STALL_AT", point)),
        }
        command.stdin(Stdio::null()).stdout(File::create(self.output()).expect("a file")).stderr(log);
        self.child = Some(command.spawn().expect("a process"));
    }

    /// Dies over what somebody does, at these points, one death after the other, each in the place where the one before
    /// has left it; then runs. What was done.
    pub(crate) async fn die_over<T: Send + 'static>(
        &mut self,
        deaths: &[&'static str],
        deed: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.kill();
        self.start_with(Trap::Dies(deaths[0])).await;
        let doing = tokio::spawn(deed);
        for death in &deaths[1..] {
            self.wait_until_dead().await;
            self.start_with(Trap::Dies(death)).await;
        }
        self.wait_until_dead().await;
        self.start().await;
        doing.await.expect("somebody")
    }

    /// Starts it if it does not run, and waits for nothing. Whether it was started.
    pub(crate) fn spawn_unless_alive(&mut self) -> bool {
        let is_alive = self.is_alive();
        if !is_alive {
            assert!(self.child.is_none(), "{} ended by itself", self.name);
            self.spawn(Trap::None);
        }
        !is_alive
    }

    /// Starts it with a trap set and waits until it listens, or has died already.
    pub(crate) async fn start_with(&mut self, trap: Trap) {
        self.spawn(trap);
        self.wait_until_it_listens().await;
    }

    /// Starts it.
    pub(crate) async fn start(&mut self) {
        self.start_with(Trap::None).await;
        assert!(self.is_alive(), "{} ended when it was started", self.name);
    }

    /// Waits until a process that was spawned listens, or has died.
    pub(crate) async fn wait_until_it_listens(&mut self) {
        let (name, output) = (self.name, self.output());
        let says_so = || fs::read_to_string(&output).is_ok_and(|said| said.contains("listens on"));
        wait_until(LONG, &format!("{name} listens"), async || says_so() || !self.is_alive()).await;
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("a child of ours").is_none())
    }

    /// Waits until it has died of its trap.
    pub(crate) async fn wait_until_dead(&mut self) {
        wait_until(LONG, &format!("{} dies", self.name), async || !self.is_alive()).await;
        let status = self.child.take().expect("a process").wait().expect("a status");
        assert!(status.code().is_none(), "{} was to be killed and ended by itself: {status}", self.name);
    }

    /// Waits until it stands still.
    pub(crate) async fn wait_until_stalled(&mut self) {
        wait_until(LONG, &format!("{} stands still", self.name), async || self.is_stalled()).await;
    }

    fn is_stalled(&mut self) -> bool {
        assert!(self.is_alive(), "{} has died", self.name);
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a process").id()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a process of ours");
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("a process");
        child.kill().expect("a process of ours");
        child.wait().expect("a status");
    }

    /// `kill -STOP`: it lives, and does nothing.
    pub(crate) async fn stall(&mut self) {
        self.signal(Signal::STOP);
        self.wait_until_stalled().await;
    }

    /// `kill -CONT`.
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Tells it to stop.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Waits until it has ended by itself, and well.
    pub(crate) async fn wait_until_ended(&mut self, bound: Duration) {
        wait_until(bound, &format!("{} has ended", self.name), async || !self.is_alive()).await;
        let status = self.child.take().expect("a process").wait().expect("a status");
        assert!(status.success(), "{} was told to stop: {status}", self.name);
    }

    /// Stops it, as an operator would.
    pub(crate) async fn stop(&mut self) {
        self.terminate();
        self.wait_until_ended(LONG).await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Whatever its state: it must be gone before its folder is.
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            let log = fs::read_to_string(self.log()).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(200)..];
            eprintln!("---- the last lines of {}\n{}\n----", self.name, last.join("\n"));
        }
    }
}
