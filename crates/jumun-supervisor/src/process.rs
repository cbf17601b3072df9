//! One running process: how it is started, watched and ended.

use crate::{
    leash::PING,
    limits::{
        LAST_WORDS_TIME_LIMIT, LOG_MAX_BYTES, PING_EVERY, PINGS_UNANSWERED_MAX, START_TIME_LIMIT, STOP_TIME_LIMIT,
    },
    spec::Spec,
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    io::{self, Write},
    net::TcpListener,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Instant,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
    time::timeout,
};

/// Lines of output that are kept until a process is ready.
const OUTPUT_LINES_MAX: usize = 64;

/// A running process.
pub(crate) struct Running {
    pub(crate) child: Child,
    /// The lines that it writes to the leash.
    pub(crate) lines: Lines<BufReader<OwnedReadHalf>>,
    leash: OwnedWriteHalf,
    began: Instant,
    /// Lines on the leash that are not part of its protocol: the process's own error.
    output: Vec<String>,
    /// Pings since the last answer.
    pub(crate) unanswered: u32,
    pub(crate) is_ready: bool,
}

impl Running {
    /// Starts a process. Its standard input is the socket, its standard output the leash, its standard error the log.
    /// `has_data`: it must find the data of an earlier process.
    pub(crate) fn start(spec: &Spec, listener: TcpListener, restarts: u32, has_data: bool) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let child = Command::new(&spec.program)
            .args(&spec.arguments)
            .arg(restarts.to_string())
            .args(has_data.then_some("--has-data"))
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(open_log(spec))
            .process_group(0) // a Ctrl-C on the terminal reaches the supervisor only
            .spawn()?;
        let (reader, leash) = UnixStream::from_std(ours)?.into_split();
        Ok(Self {
            child,
            lines: BufReader::new(reader).lines(),
            leash,
            began: Instant::now(),
            output: Vec::new(),
            unanswered: 0,
            is_ready: false,
        })
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Keeps a line of output, up to a bound.
    pub(crate) fn keep_output(&mut self, line: String) {
        if self.output.len() < OUTPUT_LINES_MAX {
            self.output.push(line);
        }
    }

    /// Pings the process. Returns why it hangs, if it does.
    pub(crate) async fn ping(&mut self) -> Option<String> {
        if !self.is_ready {
            return (self.began.elapsed() > START_TIME_LIMIT).then(|| "it was not ready in time".to_owned());
        }
        // Counts pings, not time: a pause of the supervisor itself must not count against the process.
        if self.unanswered >= PINGS_UNANSWERED_MAX {
            return Some(format!("it did not answer for {:?}", PING_EVERY * PINGS_UNANSWERED_MAX));
        }
        self.unanswered += 1;
        drop(self.leash.write_all(PING.as_bytes()).await); // the read side notices a broken leash
        None
    }

    /// Why the process has ended: its own error, if it wrote one.
    pub(crate) async fn end_reason(&mut self, exit: io::Result<ExitStatus>) -> String {
        // Reads what the process wrote before it ended. Its end of the leash is closed, so the lines end, too.
        let rest = async {
            while let Ok(Some(line)) = self.lines.next_line().await {
                self.output.push(line);
            }
        };
        drop(timeout(LAST_WORDS_TIME_LIMIT, rest).await);
        if !self.is_ready && !self.output.is_empty() {
            return self.output.join("\n");
        }
        match exit {
            Ok(exit) => match (exit.code(), exit.signal()) {
                (Some(code), _) => format!("it ended with status {code}"),
                (None, Some(9)) => "it was killed (signal 9)".to_owned(),
                (None, Some(signal)) => format!("it was ended by signal {signal}"),
                (None, None) => "it ended".to_owned(),
            },
            Err(error) => format!("its exit status is unknown: {error}"),
        }
    }

    /// Waits for a process that has closed its leash and is about to end. Kills it if it does not end in time.
    pub(crate) async fn wait_or_kill(&mut self) -> io::Result<ExitStatus> {
        match timeout(LAST_WORDS_TIME_LIMIT, self.child.wait()).await {
            Ok(exit) => exit,
            Err(_) => self.kill().await,
        }
    }

    /// Kills the process and waits until it has ended.
    pub(crate) async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.start_kill()?;
        self.child.wait().await
    }

    /// Lets the process finish its work in progress and end. Kills it if it does not end in time.
    pub(crate) async fn terminate(mut self) {
        if let Some(pid) = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)
            && let Err(error) = kill_process(pid, Signal::TERM)
        {
            tracing::debug!(%error, "the process has already ended");
        }
        if timeout(STOP_TIME_LIMIT, self.child.wait()).await.is_err() {
            tracing::warn!("a process did not end in time; killing it");
            let _ = self.kill().await;
        }
    }
}

/// Opens the log of a process. Without a log the process runs all the same.
fn open_log(spec: &Spec) -> Stdio {
    let folder = spec.log.parent().map_or(Ok(()), fs::create_dir_all);
    match folder.and_then(|()| File::options().create(true).append(true).open(&spec.log)) {
        Ok(log) => log.into(),
        Err(error) => {
            tracing::warn!(log = %spec.log.display(), %error, "failed to open the log; the process runs without one");
            Stdio::null()
        }
    }
}

/// Says it here and in a new file, where people look for the log: so it is said once. Where the folder is gone as well, more
/// is wrong, and a folder that was moved away can be moved back only if nothing is at its place.
fn say_that_log_is_gone(service: &str, log: &Path) -> io::Result<()> {
    if !log.parent().is_some_and(Path::exists) {
        return Ok(());
    }
    let why = format!(
        "the log of {service} was deleted or moved away while the process writes to it; further lines of this process are \
         not here. Replace it: jumun roll {service}"
    );
    tracing::warn!("{why}");
    File::options().create(true).append(true).open(log)?.write_all(format!("WARN {why}\n").as_bytes())
}

/// Rotates a log that exceeds its bound: copies it to a second file, which replaces the last one, and truncates it. Says so
/// if the file was deleted or moved away: the process goes on writing to what nobody can find.
pub(crate) async fn rotate_log(service: String, log: PathBuf) {
    let rotated = tokio::task::spawn_blocking(move || -> io::Result<()> {
        let length = match fs::metadata(&log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return say_that_log_is_gone(&service, &log),
            metadata => metadata?.len(),
        };
        if length > LOG_MAX_BYTES {
            let mut older = log.clone().into_os_string();
            older.push(".1");
            fs::copy(&log, older)?;
            File::options().write(true).open(&log)?.set_len(0)?; // the process appends, so it goes on at the new end
        }
        Ok(())
    });
    match rotated.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "failed to rotate the log"),
        Err(error) => tracing::warn!(%error, "failed to rotate the log"),
    }
}
