//! `jumun logs`: shows the logs of the processes of a system.

use crate::{Failure, operate::RunningSystemOptions, output::is_written, process::block_on, up::logs_in};
use clap::Args;
use jumun_text::{escape, escape_but_colours};
use std::{
    borrow::Cow,
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufRead, BufReader, IsTerminal, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// How often `--follow` checks for new lines.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How many bytes at the end of a log are searched for its latest lines.
const TAIL_MAX_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Shows only the log of this service, or of `gateway`.
    service: Option<String>,
    /// How many of the latest lines of each log to show.
    #[arg(short = 'n', long, value_name = "LINES", default_value_t = 20)]
    lines: usize,
    /// Continues with new lines until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    system: RunningSystemOptions,
}

/// An open log.
struct Log {
    service: String,
    path: PathBuf,
    /// The offset up to which the log has been read.
    offset: u64,
    /// The start of a line whose end has not been written yet.
    partial: Vec<u8>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let folder = options.system.folder_with(|folder| logs_in(folder).is_dir())?;
    let mut logs = find(&folder, options.service.as_deref())?;
    let width = logs.iter().map(|log| log.service.len()).max().unwrap_or_default();
    let mut lines = Vec::new();
    for log in &mut logs {
        let latest = log.tail(options.lines).map_err(|error| unreadable(&log.path, &error))?;
        lines.extend(latest.into_iter().map(|line| (log.service.clone(), line)));
    }
    lines.sort_by(|(_, one), (_, other)| timestamp(one).cmp(timestamp(other)));
    let mut out = io::stdout();
    for (service, line) in &lines {
        if !show(&mut out, width, service, line)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    if options.follow { block_on(follow(&mut logs, width))? } else { Ok(ExitCode::SUCCESS) }
}

/// Prints new lines until the reader closes the pipe.
async fn follow(logs: &mut [Log], width: usize) -> Result<ExitCode, Failure> {
    let mut out = io::stdout();
    loop {
        for log in &mut *logs {
            for line in log.new_lines().or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(Vec::new()), // it was deleted, and its service makes it again when it starts
                _ => Err(unreadable(&log.path, &error)),
            })? {
                if !show(&mut out, width, &log.service, &line)? {
                    return Ok(ExitCode::SUCCESS);
                }
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Prints a line. False if the reader has closed the pipe.
fn show(out: &mut io::Stdout, width: usize, service: &str, line: &str) -> Result<bool, Failure> {
    let service = escape(service); // the name of a file
    is_written(writeln!(out, "{service:<width$}  {}", shown(line, io::stdout().is_terminal())))
}

fn find(folder: &Path, service: Option<&str>) -> Result<Vec<Log>, Failure> {
    let folder = logs_in(folder);
    let files = fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let files = files.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(
            "not-up",
            format!("{}: no process has written a log here", folder.display()),
            "Start a system with `jumun up`, or name its folder with --data.",
        ),
        _ => unreadable(&folder, &error),
    })?;
    let mut logs: Vec<_> = files
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .filter_map(|path| {
            Some(Log { service: path.file_stem()?.to_str()?.to_owned(), path, offset: 0, partial: Vec::new() })
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

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let why = format!("{}: {error}", path.display());
    let remedy =
        "Make the file readable for this user, or move it away: its process makes another one when it next starts.";
    Failure::new("log-unreadable", why, remedy)
}

/// The timestamp at the start of a line.
fn timestamp(line: &str) -> &str {
    line.trim_start_matches(|first: char| !first.is_ascii_digit()).split(' ').next().unwrap_or_default()
}

/// A line of which nothing but its colours acts on a terminal, and without these for other readers. A log may be of an earlier
/// release, or of a service that is not ours.
fn shown(line: &str, is_terminal: bool) -> Cow<'_, str> {
    let line = escape_but_colours(line);
    if is_terminal || !line.contains('\u{1b}') {
        return line;
    }
    let mut parts = line.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    parts.for_each(|part| plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest)));
    Cow::Owned(plain)
}

impl Log {
    /// Reads the latest lines, and continues after them.
    fn tail(&mut self, lines: usize) -> io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        let end = file.metadata()?.len();
        let from = end.saturating_sub(TAIL_MAX_BYTES);
        file.seek(SeekFrom::Start(from))?;
        let mut latest = VecDeque::new();
        let mut reader = BufReader::new(file.take(end - from));
        let mut line = Vec::new();
        self.offset = from;
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if !line.ends_with(b"\n") {
                return Ok(latest.into()); // the end of the log, or the start of a line that is still being written
            }
            self.offset += read as u64;
            latest.push_back(text(&line));
            if latest.len() > lines {
                latest.pop_front();
            }
        }
    }

    /// Reads the lines that were added since the last read.
    fn new_lines(&mut self) -> io::Result<Vec<String>> {
        let mut file = File::open(&self.path)?;
        let end = file.metadata()?.len();
        if end < self.offset {
            self.offset = 0; // the log was rotated
            self.partial.clear();
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let read = file.take(TAIL_MAX_BYTES).read_to_end(&mut self.partial)?;
        self.offset += read as u64;
        let mut lines = Vec::new();
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            lines.push(text(&line));
        }
        Ok(lines)
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_line_acts_on_the_terminal_but_its_colours() {
        let line = "\u{1b}[2m10:00\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m shop \u{202e}abc\u{9b}31m \u{1b}[2J mum";
        assert_eq!(shown(line, false), r"10:00  INFO shop \u202eabc\u009b31m \u001b[2J mum");
        assert_eq!(
            shown(line, true),
            "\u{1b}[2m10:00\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m shop \\u202eabc\\u009b31m \\u001b[2J mum"
        );
    }
}
