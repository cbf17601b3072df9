//! The laboratory: the real program, the services `order` and `payment` as processes of their own, and what can be done
//! to them. Each test has a lab of its own: a folder, two addresses, nothing left behind.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

mod client;
mod evidence;
mod service;

pub(crate) use client::{Answer, Client, Customer, Told, basket};
pub(crate) use evidence::{Attempt, Entry};
pub(crate) use service::{Service, Trap};

use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Longer than anything here takes that works.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A wait with a bound. The only place in these tests that lets time pass.
pub(crate) struct Wait<'a> {
    what: &'a str,
    bound: Duration,
    began: Instant,
}

impl<'a> Wait<'a> {
    pub(crate) fn new(bound: Duration, what: &'a str) -> Self {
        Self { what, bound, began: Instant::now() }
    }

    /// To be called between two looks.
    pub(crate) async fn a_moment(&self) {
        let Self { what, bound, began } = self;
        assert!(began.elapsed() < *bound, "in vain, for {bound:?}, was waited until {what}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until something is so.
pub(crate) async fn wait_until(bound: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = Wait::new(bound, what);
    while !condition().await {
        wait.a_moment().await;
    }
}

/// Lets time pass where time is the point.
pub(crate) async fn wait_for(time: Duration) {
    let began = Instant::now();
    wait_until(time + LONG, "time has passed", async || began.elapsed() >= time).await;
}

/// Two services in a folder.
pub(crate) struct Lab {
    pub(crate) order: Service,
    pub(crate) payment: Service,
    data: PathBuf,
    /// Databases that are not where they are by default.
    elsewhere: BTreeMap<String, PathBuf>,
    folder: TempDir,
}

/// What `jumun audit` found.
#[derive(Debug)]
pub(crate) struct Audit {
    pub(crate) exit_code: i32,
    pub(crate) report: Value,
}

impl Lab {
    /// A lab where nothing runs yet.
    pub(crate) fn new() -> Self {
        let folder = TempDir::with_prefix("jumun-lab-").expect("a folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder");
        let payment = Service::new("payment", folder.path(), &data);
        let mut order = Service::new("order", folder.path(), &data);
        order.set(format!("order.calls.payment.url=http://{}", payment.address()));
        Self { order, payment, data, elsewhere: BTreeMap::new(), folder }
    }

    /// A lab where both services run.
    pub(crate) async fn running() -> Self {
        let mut lab = Self::new();
        lab.start().await;
        lab
    }

    /// Starts what does not run.
    pub(crate) async fn start(&mut self) {
        for service in [&mut self.payment, &mut self.order] {
            if !service.is_alive() {
                service.start().await;
            }
        }
    }

    /// The folder of all data.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// The file of a service's database.
    pub(crate) fn database(&self, service: &str) -> PathBuf {
        let usual = || self.data.join("food-delivery").join(format!("{service}.db"));
        self.elsewhere.get(service).cloned().unwrap_or_else(usual)
    }

    /// Gives a service's database a folder of its own, from the next start on; the folder.
    pub(crate) fn keep_elsewhere(&mut self, service: &str) -> PathBuf {
        let folder = self.folder.path().join(format!("{service}-elsewhere"));
        fs::create_dir(&folder).expect("a folder");
        let file = folder.join("its.db");
        self.service(service).set(format!("{service}.database=sqlite://{}", file.display()));
        self.elsewhere.insert(service.to_owned(), file);
        folder
    }

    /// One of the two.
    pub(crate) fn service(&mut self, name: &str) -> &mut Service {
        if name == "order" { &mut self.order } else { &mut self.payment }
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = service::jumun(self.folder.path());
        command.args([arguments[0], "food-delivery", "--data"]).arg(&self.data).args(&arguments[1..]);
        for (service, file) in &self.elsewhere {
            command.arg("--set").arg(format!("{service}.database=sqlite://{}", file.display()));
        }
        let output = run(command);
        (output.0, output.1)
    }

    /// `jumun audit`, with this much patience.
    pub(crate) fn audit(&self, patience: &str) -> Audit {
        let (exit_code, text) = self.run(&["audit", "--json", "--wait", patience]);
        Audit { exit_code, report: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    /// `jumun asks`: what is in doubt.
    pub(crate) fn asks(&self) -> Vec<Value> {
        let (exit_code, text) = self.run(&["asks", "--json"]);
        assert_eq!(exit_code, 0, "jumun asks: {text}");
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }
}

/// Runs a command to its end: its exit status, and what it said.
pub(crate) fn run(mut command: Command) -> (i32, String) {
    let output = command.stdin(Stdio::null()).output().expect("a process");
    let said = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(said).trim().to_owned())
}
