//! A whole system as its users start it, for the benchmarks.

use super::{cpu_of, memory_of};
use serde_json::Value;
use std::{
    error::Error,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// A system that is up.
pub(crate) struct System {
    name: &'static str,
    supervisor: Child,
    folder: tempfile::TempDir,
    offset: String,
    /// Name, process, address.
    pub(crate) processes: Vec<(String, u32, String)>,
}

impl System {
    /// Starts it where its ports are free, with these keys set.
    pub(crate) fn start(name: &'static str, set: &[&str]) -> Result<Self, Box<dyn Error>> {
        // Beside the build, so that it is a real disk: the system's temporary folder may be memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        for offset in (20_000..50_000).step_by(1_000) {
            let offset = offset.to_string();
            let mut supervisor = jumun(folder.path())
                .args(["up", name, "--json", "--port-offset", &offset])
                .args(set.iter().flat_map(|key| ["--set", key]))
                .env("JUMUN_LOG", "warn")
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()?;
            let mut line = String::new();
            if let Some(output) = supervisor.stdout.take() {
                BufReader::new(output).read_line(&mut line)?;
            }
            let Ok(said) = serde_json::from_str::<Value>(&line) else {
                supervisor.wait()?; // a port was taken
                continue;
            };
            let processes = said["processes"].as_array().into_iter().flatten().map(|process| {
                let text = |key: &str| process[key].as_str().unwrap_or_default().to_owned();
                let pid = process["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default();
                (text("name"), pid, text("address"))
            });
            let processes = processes.collect();
            return Ok(Self { name, supervisor, folder, offset, processes });
        }
        Err("no free ports were found".into())
    }

    pub(crate) fn address(&self, name: &str) -> &str {
        self.processes.iter().find(|(known, ..)| known == name).map_or("", |(.., address)| address)
    }

    /// Runs a command of the program here; what it printed.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String, Box<dyn Error>> {
        run(self.folder.path(), words)
    }

    /// Load through the gateway, and the audit of it.
    pub(crate) fn load(&self, more: &[&str]) -> Result<Value, Box<dyn Error>> {
        let words = ["load", self.name, "--json", "--wait", "30s", "--port-offset", &self.offset];
        Ok(serde_json::from_str(&self.run(&[&words[..], more].concat())?)?)
    }

    /// Whether every order is as it must be, once what is under way is done; at most so long is waited for that.
    pub(crate) fn audit(&self, patience: &str) -> Result<String, Box<dyn Error>> {
        self.run(&["audit", self.name, "--wait", patience, "--port-offset", &self.offset])
    }

    /// All processes, the supervisor included.
    pub(crate) fn pids(&self) -> impl Iterator<Item = u32> {
        self.processes.iter().map(|(_, pid, _)| *pid).chain([self.supervisor.id()])
    }

    /// Memory of all processes, the supervisor included.
    pub(crate) fn memory(&self) -> String {
        let (resident, shared_once) =
            self.pids().filter_map(memory_of).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        format!("{} MB resident; {} MB with shared pages counted once", resident / 1_000_000, shared_once / 1_000_000)
    }

    /// Processor time of each process so far, without the supervisor.
    pub(crate) fn cpu(&self) -> Vec<Duration> {
        self.processes.iter().map(|(_, pid, _)| cpu_of(*pid).unwrap_or_default()).collect()
    }

    /// Sum and count of a histogram of all services.
    pub(crate) fn histogram(&self, name: &str) -> (f64, f64) {
        let mut of_all = (0.0, 0.0);
        for (.., address) in &self.processes {
            let page = get(address, "/actuator/prometheus").unwrap_or_default();
            let of = |end: &str| -> f64 {
                let lines = page.lines().filter(|line| line.starts_with(&format!("{name}_{end}")));
                lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
            };
            of_all.0 += of("sum");
            of_all.1 += of("count");
        }
        of_all
    }
}

impl Drop for System {
    fn drop(&mut self) {
        drop(self.supervisor.kill()); // its processes end by themselves
        drop(self.supervisor.wait());
    }
}

/// Runs a command of the program in a folder; what it printed.
pub(crate) fn run(folder: &Path, words: &[&str]) -> Result<String, Box<dyn Error>> {
    let output = jumun(folder).args(words).output()?;
    if !output.status.success() {
        let [said, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        return Err(format!("{words:?}: {}: {said}{errors}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn jumun(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jumun"));
    command.current_dir(folder);
    command
}

/// One request on a connection of its own; the whole answer.
pub(crate) fn get(address: &str, path: &str) -> io::Result<String> {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n"))
}

pub(crate) fn exchange(address: &str, request: &str) -> io::Result<String> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(request.as_bytes())?;
    io::read_to_string(stream)
}
