//! A whole system as its users start it: `jumun up`, the gateway and five services, kept by a supervisor.

use super::{
    Audit, Client, LONG, SERVICES, USUAL, run,
    service::{JUMUN, program, set},
    wait_until,
};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;
use tokio::net::TcpSocket;

/// A system that is up, or was.
pub(crate) struct Up {
    program: PathBuf,
    system: &'static str,
    addresses: BTreeMap<&'static str, SocketAddr>,
    /// Hold the ports without listening, so that nobody else gets them.
    reserved: Vec<TcpSocket>,
    settings: Vec<String>,
    /// Services that it leaves stopped.
    without: Vec<&'static str>,
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
    folder: TempDir,
}

impl Up {
    /// A folder where nothing runs yet.
    pub(crate) fn new() -> Self {
        Self::of(USUAL, &SERVICES)
    }

    /// The same for another system.
    pub(crate) fn of(system: &'static str, services: &[&'static str]) -> Self {
        Self::with(JUMUN, system, services)
    }

    /// The same for a system of another program.
    pub(crate) fn with(program: impl Into<PathBuf>, system: &'static str, services: &[&'static str]) -> Self {
        let folder = TempDir::with_prefix("jumun-up-").expect("a folder");
        let mut up = Self {
            program: program.into(),
            system,
            addresses: BTreeMap::new(),
            reserved: Vec::new(),
            settings: Vec::new(),
            without: Vec::new(),
            environment: Vec::new(),
            child: None,
            folder,
        };
        for name in services.iter().copied().chain(["gateway"]) {
            up.add(name);
        }
        up
    }

    /// A process of the system gets a port.
    pub(crate) fn add(&mut self, name: &'static str) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("a port that can be shared");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        let address = socket.local_addr().expect("an address");
        self.settings.push(format!("{name}.listen={address}"));
        self.addresses.insert(name, address);
        self.reserved.push(socket);
    }

    /// A system that is up.
    pub(crate) async fn running() -> Self {
        let mut up = Self::new();
        up.start().await;
        up
    }

    /// The same system, up, with these settings.
    pub(crate) async fn running_with(mut self, settings: &[&str]) -> Self {
        for setting in settings {
            self.set(*setting);
        }
        self.start().await;
        self
    }

    /// Food delivery, up. Its callers wait long for payment and for every service: on a busy machine a roll takes longer than
    /// the default limits, and 503 would be the right answer.
    pub(crate) async fn patient() -> Self {
        Self::new().running_with(&["order.calls.payment.time_limit=20s", "gateway.time_limit=40s"]).await
    }

    /// Sets a configuration key, from the next start on.
    pub(crate) fn set(&mut self, key_and_value: impl Into<String>) {
        set(&mut self.settings, key_and_value.into());
    }

    /// Leaves a service stopped, from the next start on.
    pub(crate) fn leave_out(&mut self, name: &'static str) {
        self.without.push(name);
    }

    /// Sets a variable of the environment, from the next start on.
    pub(crate) fn env(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.push((name, value.into()));
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the system's data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data").join(self.system)
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("up.out")
    }

    /// The command that starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = program(&self.program, self.folder.path());
        command.args(["up", self.system]).args(self.settings.iter().flat_map(|setting| ["--set", setting]));
        command.args(self.without.iter().flat_map(|name| ["--without", name]));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it, and waits until it says that it is up.
    pub(crate) async fn start(&mut self) {
        assert!(self.child.is_none(), "it is up already");
        let mut command = self.command();
        let output = File::create(self.output()).expect("a file");
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a file")).stderr(output);
        self.child = Some(command.spawn().expect("a process"));
        wait_until(LONG, "it is up", async || self.said().contains("is up after") || !self.is_alive()).await;
        assert!(self.is_alive(), "it ended: {}", self.said());
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.output()).unwrap_or_default()
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("a child of ours").is_none())
    }

    /// Somebody who talks to a service, or to the gateway.
    pub(crate) fn client(&self, name: &str) -> Client {
        Client::new(self.addresses[name])
    }

    pub(crate) fn address(&self, name: &str) -> SocketAddr {
        self.addresses[name]
    }

    /// Runs a command of the program in this folder: its exit status, and what it said.
    pub(crate) fn jumun(&self, words: &[&str]) -> (i32, String) {
        run(self.command_of(words))
    }

    /// A command of the program in this folder.
    pub(crate) fn command_of(&self, words: &[&str]) -> Command {
        let mut command = program(&self.program, self.folder.path());
        command.args(words);
        command
    }

    /// Tells the supervisor something that it does.
    pub(crate) fn tell(&self, words: &[&str]) -> String {
        let (status, said) = self.jumun(words);
        assert_eq!(status, 0, "jumun {words:?}: {said}");
        said
    }

    /// What `jumun status` says of a process.
    pub(crate) fn status(&self, name: &str) -> Value {
        let said = self.tell(&["status", "--json"]);
        let status: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        let processes = status["processes"].as_array().expect("a list").clone();
        let mut found = processes.into_iter().map(|mut process| process[0].take());
        found.find(|process| process["name"] == name).expect("a process of that name")
    }

    pub(crate) fn pid(&self, name: &str) -> Pid {
        let pid = self.status(name)["pid"].as_i64().expect("a process id");
        Pid::from_raw(i32::try_from(pid).expect("a process id")).expect("a process id")
    }

    /// Sends a signal to the supervisor itself.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.as_ref().expect("a process").id()).expect("a process id");
        kill_process(Pid::from_raw(pid).expect("a process id"), signal).expect("a process of ours");
    }

    /// Waits until the supervisor has ended; its exit status, none if it was killed.
    pub(crate) async fn wait_until_ended(&mut self) -> Option<i32> {
        wait_until(LONG, "the supervisor has ended", async || !self.is_alive()).await;
        self.child.take().expect("a process").wait().expect("a status").code()
    }

    /// Ctrl-C, and waits.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::INT);
        assert_eq!(self.wait_until_ended().await, Some(0), "{}", self.said());
    }

    /// `jumun audit`, with this much patience.
    pub(crate) fn audit(&self, patience: &str) -> Audit {
        let (exit_code, text) = self.jumun(&["audit", self.system, "--json", "--wait", patience]);
        Audit { exit_code, report: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }
}

/// Whether there is such a process.
pub(crate) fn exists(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill()); // its children hear of it, and end
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("---- what it said\n{}\n----", self.said());
            let (_, logs) = self.jumun(&["logs", "-n", "60", "--system", self.system]);
            eprintln!("{logs}\n----");
        }
    }
}
