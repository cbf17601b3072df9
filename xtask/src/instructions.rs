//! `cargo xtask bench instructions`: how many instructions each process of a system executes for an order, counted by valgrind.
//!
//! Seconds depend on the machine and on what else it does; instructions of one build hardly do. Those of the operating system
//! are not counted. One process at a time runs under valgrind, which makes it fifty times slower, so that the others do not
//! wait for it; and the databases are in memory, where there is one, as a slow disk adds looks for new events to an order.
//! The tables of an earlier state are kept in `docs/benchmarks.md`.

use crate::cargo;
use serde_json::Value;
use std::{
    error::Error,
    fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How orders come: what the table calls it, customers at once, orders.
const LOADS: [(&str, &str, &str); 2] = [("one after another", "1", "500"), ("64 at once", "64", "2000")];

/// Orders before anything is counted.
const WARM_UP: [&str; 4] = ["--requests", "200", "--concurrency", "64"];

/// Ports that neither a running system nor another test uses.
const PORT_OFFSET: &str = "23000";

/// What counts as a change, in percent.
const CHANGE: f64 = 3.0;

const PAGE: &str = "docs/benchmarks.md";

/// A process, and its thousands of instructions an order under each load.
type Row = (String, [f64; LOADS.len()]);

/// Measures, and compares with the page. `keep`: writes the page.
pub(crate) fn run(root: &Path, system: &str, keep: bool) -> bool {
    let done = measure(root, system).and_then(|rows| report(root, system, &rows, keep));
    done.inspect_err(|error| eprintln!("NOT MEASURED: {error}")).is_ok()
}

fn measure(root: &Path, system: &str) -> Outcome<Vec<Row>> {
    if !Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Err("valgrind is not installed. Install it (Debian: apt-get install valgrind); it needs Linux".into());
    }
    if !cargo(&["build", "--release", "--package", "jumun-program"]) {
        return Err("the program cannot be built".into());
    }
    let place = Place::new(root, system)?;
    place.processes.iter().map(|process| Ok((process.clone(), place.count(process)?))).collect()
}

/// Where a system runs to be measured.
struct Place {
    jumun: PathBuf,
    system: String,
    /// The gateway first.
    processes: Vec<String>,
    /// Keys that let slow processes take their time.
    patience: Vec<String>,
    data: PathBuf,
    profiles: PathBuf,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.data); // it may not be there
    }
}

/// Running processes.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for process in &mut self.0 {
            // One that has ended by itself needs no more.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Place {
    fn new(root: &Path, system: &str) -> Outcome<Self> {
        let jumun = root.join("target/release/jumun");
        let listed = output(Command::new(&jumun).args(["list", system, "--json"]))?;
        let listed: Value = serde_json::from_slice(&listed)?;
        let services = listed["services"].as_array().ok_or("the list has no services")?;
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("a service has no name");
        let mut processes = vec!["gateway".to_owned()];
        let mut patience = vec!["gateway.time_limit=120s".to_owned()];
        for service in services {
            let name = text(&service["name"])?;
            for asked in service["asks"].as_array().into_iter().flatten() {
                patience.push(format!("{name}.calls.{}.time_limit=60s", text(asked)?));
            }
            processes.push(name);
        }
        let profiles = root.join("target/instructions");
        fs::create_dir_all(&profiles)?;
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory } else { &profiles };
        let data = folder.join(format!("jumun-instructions-{}", std::process::id()));
        Ok(Self { jumun, system: system.to_owned(), processes, patience, data, profiles })
    }

    /// Thousands of instructions an order of one process, under each load.
    fn count(&self, counted: &str) -> Outcome<[f64; LOADS.len()]> {
        let _ = fs::remove_dir_all(&self.data); // of the process before
        let profile = self.profiles.join(format!("{}.{counted}", self.system));
        let dump = |load: usize| format!("{}.{}", profile.display(), load + 1);
        for load in 0..LOADS.len() {
            let _ = fs::remove_file(dump(load)); // of an earlier run
        }
        let mut running = Running(Vec::new());
        let mut pid = 0;
        // Those that are asked come first.
        for process in self.processes.iter().rev() {
            let mut command = if process == counted {
                let mut command = Command::new("valgrind");
                command.args(["--quiet", "--tool=callgrind", "--instr-atstart=no"]);
                command.arg(format!("--callgrind-out-file={}", profile.display())).arg(&self.jumun);
                command
            } else {
                Command::new(&self.jumun)
            };
            self.finish(command.args(["serve", &self.system, process]));
            command.args(self.patience.iter().flat_map(|key| ["--set", key])).env("JUMUN_LOG", "warn");
            let mut child = command.stdout(Stdio::piped()).spawn()?;
            if process == counted {
                pid = child.id();
            }
            let mut line = String::new();
            let stdout = child.stdout.take().map(BufReader::new);
            running.0.push(child);
            if stdout.map_or(Ok(0), |mut output| output.read_line(&mut line))? == 0 {
                return Err(format!("{process} did not start").into());
            }
        }
        self.load(&WARM_UP)?;
        let mut counts = [0.0; LOADS.len()];
        for (load, (count, (name, customers, orders))) in counts.iter_mut().zip(LOADS).enumerate() {
            monitor(pid, &["instrumentation", "on"])?;
            let placed = self.load(&["--requests", orders, "--concurrency", customers])?;
            monitor(pid, &["instrumentation", "off"])?;
            monitor(pid, &["dump"])?;
            *count = total(&dump(load))? / 1_000.0 / placed;
            eprintln!("{counted}, {name}: {count:.1} thousand an order; callgrind_annotate {}", dump(load));
        }
        Ok(counts)
    }

    /// What all commands need.
    fn finish(&self, command: &mut Command) {
        command.args(["--port-offset", PORT_OFFSET, "--data"]).arg(&self.data);
    }

    /// Places orders, and waits until everything that follows has happened. How many there were.
    fn load(&self, how: &[&str]) -> Outcome<f64> {
        let mut command = Command::new(&self.jumun);
        command.args(["load", &self.system, "--json", "--wait", "120s", "--timeout", "120s"]).args(how);
        self.finish(&mut command);
        let summary: Value = serde_json::from_slice(&output(command.stderr(Stdio::null()))?)?;
        summary["orders"].as_f64().filter(|orders| *orders > 0.0).ok_or_else(|| "no order was placed".into())
    }
}

/// Tells a process under valgrind what to do.
fn monitor(pid: u32, words: &[&str]) -> Outcome<()> {
    output(Command::new("vgdb").arg(format!("--pid={pid}")).args(words).stderr(Stdio::null())).map(drop)
}

fn output(command: &mut Command) -> Outcome<Vec<u8>> {
    let output = command.output()?;
    let said = || format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stdout));
    if output.status.success() { Ok(output.stdout) } else { Err(said().into()) }
}

/// The instructions of a profile.
fn total(profile: &str) -> Outcome<f64> {
    let lines = BufReader::new(fs::File::open(profile)?).lines().collect::<io::Result<Vec<_>>>()?;
    let total = lines.iter().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("the profile has no sum")?.trim().parse()?)
}

/// Prints the table, with what changed; writes it.
fn report(root: &Path, system: &str, rows: &[Row], keep: bool) -> Outcome<()> {
    let file = root.join(PAGE);
    let page = fs::read_to_string(&file).unwrap_or_default();
    let kept = kept(&page, system);
    let all = LOADS.each_ref().map(|_| 0.0);
    let sum = rows.iter().fold(all, |sum, (_, row)| std::array::from_fn(|load| sum[load] + row[load]));
    let rows = [rows, &[("all".to_owned(), sum)]].concat();
    let mut out = io::stdout();
    writeln!(out, "thousands of instructions an order: {}", LOADS.map(|(name, ..)| name).join("; "))?;
    for (process, counts) in &rows {
        let before = kept.iter().find(|(known, _)| known == process);
        let cells = counts.iter().enumerate().map(|(load, count)| {
            let change = before.map(|(_, before)| 100.0 * (count / before[load] - 1.0));
            let change = change.map_or_else(String::new, |change| {
                format!("{change:+.1} %{}", if change.abs() > CHANGE { " !" } else { "" })
            });
            format!("{count:>9.1} {change:<11}")
        });
        writeln!(out, "{}", format!("{process:<14}{}", cells.collect::<String>()).trim_end())?;
    }
    if keep { fs::write(file, with_table(&page, system, &rows)).map_err(Into::into) } else { Ok(()) }
}

fn heading(system: &str) -> String {
    format!("### {system}\n")
}

/// The table of a system in the page.
fn kept(page: &str, system: &str) -> Vec<Row> {
    let Some((_, after)) = page.split_once(&heading(system)) else { return Vec::new() };
    let rows = after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let row = |line: &str| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let name = cells.next()?.to_owned();
        let counts = cells.map(str::parse).collect::<Result<Vec<f64>, _>>().ok()?;
        Some((name, counts.try_into().ok()?))
    };
    rows.filter_map(row).collect() // but for the head of the table
}

/// The page with another table of a system.
fn with_table(page: &str, system: &str, rows: &[Row]) -> String {
    let heading = heading(system);
    let (before, after) = page.split_once(&heading).unwrap_or((page, ""));
    // What follows the old table.
    let rest = after.find("\n#").map_or("", |at| &after[at..]);
    let head =
        format!("| Process | {} |\n|---|{}\n", LOADS.map(|(name, ..)| name).join(" | "), "--:|".repeat(LOADS.len()));
    let line = |(process, counts): &Row| {
        let cells = counts.map(|count| format!(" {count:.1} |"));
        format!("| {process} |{}\n", cells.concat())
    };
    let gap = if before.is_empty() || before.ends_with("\n\n") { "" } else { "\n" };
    format!("{before}{gap}{heading}\n{head}{}{rest}", rows.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_back_and_replaced_alone() {
        let rows = [("gateway".to_owned(), [72.5, 66.0]), ("all".to_owned(), [3_692.3, 1_768.2])];
        let page = with_table("# Page\n\nText.\n", "one", &rows);
        let page = with_table(&page, "two", &rows[..1]);
        assert_eq!((kept(&page, "one"), kept(&page, "two")), (rows.to_vec(), rows[..1].to_vec()));
        let changed = [("gateway".to_owned(), [1.0, 2.0])];
        let page = with_table(&page, "one", &changed);
        assert_eq!((kept(&page, "one"), kept(&page, "two")), (changed.to_vec(), rows[..1].to_vec()));
        assert_eq!(page.matches("###").count(), 2);
        assert!(page.starts_with("# Page\n\nText.\n\n### one\n\n| Process |"), "{page}");
        assert_eq!(kept(&page, "three"), []);
    }
}
