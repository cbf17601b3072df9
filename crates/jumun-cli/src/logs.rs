//! `jumun logs`: what the processes of a system that is up have said.

use crate::{Failure, operate::Which, process::block_on, up::logs_in};
use clap::Args;
use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufRead, BufReader, IsTerminal, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// How often a follower looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How much of the end of a log is looked through for its latest lines, in bytes.
const TAIL_MAX_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this service; the gateway is one, too.
    service: Option<String>,
    /// How many of the latest lines of each to show.
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 20)]
    lines: usize,
    /// Go on with the lines to come, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    which: Which,
}

/// A log that is read.
struct Log {
    service: String,
    path: PathBuf,
    /// How far it is read.
    at: u64,
    /// The beginning of a line whose end is not written yet.
    begun: Vec<u8>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let folder = options.which.folder_with(|folder| logs_in(folder).is_dir())?;
    let mut logs = find(&folder, options.service.as_deref())?;
    let width = logs.iter().map(|log| log.service.len()).max().unwrap_or_default();
    let mut lines = Vec::new();
    for log in &mut logs {
        let latest = log.tail(options.lines).map_err(|error| {
            let why = format!("{}: {error}", log.path.display());
            Failure::new("log-unreadable", why, "Look at the file and who may read it.")
        })?;
        lines.extend(latest.into_iter().map(|line| (log.service.clone(), line)));
    }
    lines.sort_by(|(_, one), (_, other)| moment(one).cmp(moment(other))); // a line begins with its time
    let mut out = io::stdout();
    for (service, line) in &lines {
        if show(&mut out, width, service, line).is_err() {
            return Ok(ExitCode::SUCCESS); // nobody reads any more
        }
    }
    if options.follow { block_on(follow(&mut logs, width)) } else { Ok(ExitCode::SUCCESS) }
}

/// Shows lines as they come, until nobody reads any more.
async fn follow(logs: &mut [Log], width: usize) -> ExitCode {
    let mut out = io::stdout();
    loop {
        for log in &mut *logs {
            for line in log.more().unwrap_or_default() {
                if show(&mut out, width, &log.service, &line).is_err() {
                    return ExitCode::SUCCESS;
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn show(out: &mut io::Stdout, width: usize, service: &str, line: &str) -> io::Result<()> {
    writeln!(out, "{service:<width$}  {}", bare(line))
}

fn find(folder: &Path, service: Option<&str>) -> Result<Vec<Log>, Failure> {
    let files = fs::read_dir(logs_in(folder)).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut logs: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter_map(|path| {
            Some(Log { service: path.file_stem()?.to_str()?.to_owned(), path, at: 0, begun: Vec::new() })
        })
        .collect();
    logs.sort_by(|one, other| one.service.cmp(&other.service));
    let Some(service) = service else { return Ok(logs) };
    let names: Vec<_> = logs.iter().map(|log| log.service.clone()).collect();
    logs.retain(|log| log.service == service);
    if logs.is_empty() {
        let why = format!("there is no log of `{service}`");
        return Err(Failure::new("service-unknown", why, format!("Name one of: {}.", names.join(", "))));
    }
    Ok(logs)
}

/// When a line was written, as it says.
fn moment(line: &str) -> &str {
    line.trim_start_matches(|first: char| !first.is_ascii_digit()).split(' ').next().unwrap_or_default()
}

/// A line without its colours, where nobody would see them.
fn bare(line: &str) -> String {
    if io::stdout().is_terminal() {
        return line.to_owned();
    }
    let mut bare = String::with_capacity(line.len());
    let mut parts = line.split("\u{1b}[");
    bare.push_str(parts.next().unwrap_or_default());
    for part in parts {
        bare.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    bare
}

impl Log {
    /// The latest lines; goes on from there.
    fn tail(&mut self, lines: usize) -> io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        let end = file.metadata()?.len();
        let from = end.saturating_sub(TAIL_MAX_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut latest = VecDeque::new();
        let mut reader = BufReader::new(file.take(end - from));
        let mut line = Vec::new();
        self.at = from;
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                return Ok(latest.into()); // the end, or the beginning of a line that is still being written
            }
            self.at += read as u64;
            latest.push_back(text(&line));
            if latest.len() > lines {
                latest.pop_front();
            }
        }
    }

    /// What was written since.
    fn more(&mut self) -> io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        let end = file.metadata()?.len();
        if end < self.at {
            self.at = 0; // it was set aside and begun anew
            self.begun.clear();
        }
        file.seek(SeekFrom::Start(self.at))?;
        let read = file.take(TAIL_MAX_BYTES).read_to_end(&mut self.begun)?;
        self.at += read as u64;
        let mut lines = Vec::new();
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.begun.drain(..=end).collect();
            lines.push(text(&line));
        }
        Ok(lines)
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}
