//! The keeper of one process: its socket, its starts and restarts, its end.

use super::leash::{PING, PONG, READY};
use crate::limits::{
    LAST_WORDS_TIME_LIMIT, LOG_LOOKED_AT_EVERY, LOG_MAX_BYTES, PING_EVERY, PINGS_UNANSWERED_MAX, RESTART_PAUSE,
    SOCKET_KEPT_UNREADY, START_TIME_LIMIT, STOP_TIME_LIMIT,
};
use jumun_control::{ProcessState, ProcessStatus};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    net::{SocketAddr, TcpListener},
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, Command},
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep},
};

/// Makes glibc's allocator keep blocks up to this size at hand for each thread. What one request takes is larger than the
/// 1 KiB that it keeps otherwise: 6 to 8 % of the processor time of an order, and no more memory. Whoever sets it wins.
const MALLOC: (&str, &str) = ("GLIBC_TUNABLES", "glibc.malloc.tcache_max=32768");

/// Lines that are kept of what a process says before it is ready.
const WORDS_MAX: usize = 64;

/// A process to be kept.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name, as operators say it.
    pub name: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The program.
    pub program: PathBuf,
    /// What the program is told; after it comes how often it was restarted.
    pub arguments: Vec<OsString>,
    /// Where its standard error goes.
    pub log: PathBuf,
    /// Whether two of it may run side by side while one replaces the other: not with a database of its own.
    pub overlaps: bool,
}

/// Answered when an instruction is carried out: the process is ready, or stopped; or why it is not.
pub(super) type Done = oneshot::Sender<Result<(), String>>;

/// What operators may tell a keeper.
pub(super) enum Instruction {
    /// `kill -9`; done when the next process is ready.
    Kill(Done),
    /// Finish what is at work, end, close the socket.
    Stop(Done),
    /// Run, if it does not.
    Start(Done),
    /// Be replaced by a new process; clients wait in the socket meanwhile.
    Roll(Done),
    /// End at once, the keeper too.
    End,
}

/// Keeps one process.
pub(super) struct Keeper {
    spec: Spec,
    /// None: callers are to hear that nobody is there.
    listener: Option<TcpListener>,
    instructions: mpsc::Receiver<Instruction>,
    changed: mpsc::UnboundedSender<ProcessStatus>,
    status: watch::Sender<ProcessStatus>,
    /// Told when the process is ready, or when it is not going to be.
    waiting: Vec<Done>,
    /// Since when nothing is ready.
    unready_since: Instant,
}

/// A process that runs.
struct Running {
    child: Child,
    says: Lines<BufReader<OwnedReadHalf>>,
    leash: OwnedWriteHalf,
    began: Instant,
    /// What it said besides.
    words: Vec<String>,
    /// Pings since it last answered one.
    unanswered: u32,
    is_ready: bool,
}

/// Why a process runs no more.
enum Ended {
    /// By itself, or it was killed; whether it had been ready.
    Died { was_ready: bool, why: String },
    /// To be replaced at once.
    Replaced,
    /// It was told to stop.
    Stopped,
    /// So is the keeper.
    End,
}

impl Keeper {
    pub(super) fn new(
        spec: Spec,
        listener: TcpListener,
        instructions: mpsc::Receiver<Instruction>,
        changed: mpsc::UnboundedSender<ProcessStatus>,
        first: Done,
    ) -> Self {
        let status = ProcessStatus {
            name: spec.name.clone(),
            address: listener.local_addr().unwrap_or(spec.listen),
            state: ProcessState::Starting,
            pid: None,
            restarts: 0,
            last_end: None,
            ready_after_ms: None,
        };
        Self {
            spec,
            listener: Some(listener),
            instructions,
            changed,
            status: watch::Sender::new(status),
            waiting: vec![first],
            unready_since: Instant::now(),
        }
    }

    pub(super) fn status(&self) -> watch::Receiver<ProcessStatus> {
        self.status.subscribe()
    }

    /// Keeps the process until told to end.
    pub(super) async fn keep(mut self) {
        let mut pause = Duration::ZERO;
        loop {
            let ended = match self.launch() {
                Ok(running) => self.attend(running).await,
                Err(error) => Ended::Died { was_ready: false, why: error.to_string() },
            };
            match ended {
                Ended::End => return,
                Ended::Replaced => self.unready_since = Instant::now(),
                Ended::Stopped => {
                    if !self.rest().await {
                        return;
                    }
                    self.unready_since = Instant::now();
                    pause = Duration::ZERO;
                }
                Ended::Died { was_ready, why } => {
                    // The first restart comes at once; only a process that never gets ready makes the next one wait.
                    pause = if was_ready { Duration::ZERO } else { next_pause(pause) };
                    if was_ready {
                        self.unready_since = Instant::now();
                    }
                    self.show(|status| {
                        status.state = if was_ready { ProcessState::Starting } else { ProcessState::Waiting };
                        status.pid = None;
                        status.restarts += 1;
                        status.last_end = Some(why.clone());
                    });
                    if !was_ready {
                        self.tell_waiting(&Err(why));
                        if !self.pause(pause).await {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Starts the process. The socket is opened again if it was closed.
    fn launch(&mut self) -> io::Result<Running> {
        let listener = match &self.listener {
            Some(listener) => listener.try_clone()?,
            None => self.listener.insert(super::listen(self.status.borrow().address)?).try_clone()?,
        };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let child = Command::new(&self.spec.program)
            .args(&self.spec.arguments)
            .arg(self.status.borrow().restarts.to_string())
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(self.log())
            .envs(std::env::var_os(MALLOC.0).is_none().then_some(MALLOC))
            .process_group(0) // a Ctrl-C on the terminal is ours to hear
            .spawn()?;
        let (reader, leash) = UnixStream::from_std(ours)?.into_split();
        let pid = child.id();
        self.show(|status| (status.state, status.pid) = (ProcessState::Starting, pid));
        Ok(Running {
            child,
            says: BufReader::new(reader).lines(),
            leash,
            began: Instant::now(),
            words: Vec::new(),
            unanswered: 0,
            is_ready: false,
        })
    }

    /// Where the child's words go. That there is no log is no reason not to run.
    fn log(&self) -> Stdio {
        let folder = self.spec.log.parent().map_or(Ok(()), fs::create_dir_all);
        match folder.and_then(|()| File::options().create(true).append(true).open(&self.spec.log)) {
            Ok(log) => log.into(),
            Err(error) => {
                tracing::warn!(log = %self.spec.log.display(), %error, "it runs without a log");
                Stdio::null()
            }
        }
    }

    /// Looks after a process until it has ended.
    async fn attend(&mut self, mut running: Running) -> Ended {
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut log = interval(LOG_LOOKED_AT_EVERY);
        loop {
            tokio::select! {
                exit = running.child.wait() => {
                    let why = self.last_words(&mut running, exit).await;
                    return Ended::Died { was_ready: running.is_ready, why };
                }
                line = running.says.next_line() => match line {
                    Ok(Some(line)) if line == READY && !running.is_ready => self.is_ready(&mut running),
                    Ok(Some(line)) if line == PONG => running.unanswered = 0,
                    Ok(Some(line)) if running.words.len() < WORDS_MAX => running.words.push(line),
                    Ok(Some(_)) => {}
                    // It has closed its end, and is about to end itself. Waiting for that is what is left.
                    Ok(None) | Err(_) => {
                        let exit = tokio::time::timeout(LAST_WORDS_TIME_LIMIT, running.child.wait()).await;
                        let exit = match exit {
                            Ok(exit) => exit,
                            Err(_) => kill_and_wait(&mut running.child).await,
                        };
                        let why = self.last_words(&mut running, exit).await;
                        return Ended::Died { was_ready: running.is_ready, why };
                    }
                },
                _ = ping.tick() => {
                    if let Some(why) = self.hangs(&mut running).await {
                        tracing::warn!(service = self.spec.name, why, "it is killed and started again");
                        let _ = kill_and_wait(&mut running.child).await;
                        return Ended::Died { was_ready: running.is_ready, why };
                    }
                }
                _ = log.tick() => drop(tokio::spawn(bound_log(self.spec.log.clone()))),
                order = self.instructions.recv() => match order {
                    None | Some(Instruction::End) => {
                        let _ = kill_and_wait(&mut running.child).await;
                        return Ended::End;
                    }
                    Some(Instruction::Start(done)) => {
                        if running.is_ready { drop(done.send(Ok(()))) } else { self.waiting.push(done) }
                    }
                    Some(Instruction::Kill(done)) => {
                        self.waiting.push(done);
                        let _ = kill_and_wait(&mut running.child).await;
                        return Ended::Died { was_ready: true, why: "killed by an operator".into() };
                    }
                    Some(Instruction::Stop(done)) => {
                        self.listener = None;
                        self.tell_waiting(&Err("it was stopped".into()));
                        self.show(|status| status.state = ProcessState::Stopping);
                        terminate(running).await;
                        self.show(|status| (status.state, status.pid) = (ProcessState::Stopped, None));
                        drop(done.send(Ok(())));
                        return Ended::Stopped;
                    }
                    Some(Instruction::Roll(done)) if self.spec.overlaps => match self.replace(running).await {
                        Ok(next) => {
                            running = next;
                            drop(done.send(Ok(())));
                        }
                        Err((old, why)) => {
                            running = old;
                            running.unanswered = 0; // nobody listened
                            drop(done.send(Err(why)));
                        }
                    },
                    Some(Instruction::Roll(done)) => {
                        self.waiting.push(done);
                        self.show(|status| status.state = ProcessState::Stopping);
                        terminate(running).await;
                        return Ended::Replaced;
                    }
                },
            }
        }
    }

    fn is_ready(&mut self, running: &mut Running) {
        running.is_ready = true;
        let took = u64::try_from(self.unready_since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let pid = running.child.id();
        self.show(|status| {
            (status.state, status.pid, status.ready_after_ms) = (ProcessState::Ready, pid, Some(took));
        });
        self.tell_waiting(&Ok(()));
    }

    /// Starts the next process beside the old one, which then finishes what is at work.
    async fn replace(&mut self, old: Running) -> Result<Running, (Running, String)> {
        let shown = self.status.borrow().clone();
        self.unready_since = Instant::now();
        let mut next = match self.launch() {
            Ok(next) => next,
            Err(error) => return Err((old, error.to_string())),
        };
        let too_late = sleep(START_TIME_LIMIT);
        tokio::pin!(too_late);
        let why = loop {
            tokio::select! {
                exit = next.child.wait() => break Some(self.last_words(&mut next, exit).await),
                line = next.says.next_line() => match line {
                    Ok(Some(line)) if line == READY => break None,
                    Ok(Some(line)) => next.words.push(line),
                    Ok(None) | Err(_) => {
                        let exit = kill_and_wait(&mut next.child).await;
                        break Some(self.last_words(&mut next, exit).await);
                    }
                },
                () = &mut too_late => break Some("it is not ready in time".to_owned()),
            }
        };
        if let Some(why) = why {
            let _ = kill_and_wait(&mut next.child).await;
            self.show(|status| *status = shown);
            return Err((old, why));
        }
        self.is_ready(&mut next);
        tokio::spawn(terminate(old));
        Ok(next)
    }

    /// Waits until it is told to start. False: the keeper is to end.
    async fn rest(&mut self) -> bool {
        loop {
            match self.instructions.recv().await {
                None | Some(Instruction::End) => return false,
                Some(Instruction::Stop(done)) => drop(done.send(Ok(()))),
                Some(Instruction::Start(done)) => {
                    self.waiting.push(done);
                    return true;
                }
                Some(Instruction::Kill(done) | Instruction::Roll(done)) => drop(done.send(Err("it is stopped".into()))),
            }
        }
    }

    /// Lets time pass before the next start; an operator can cut it short. False: the keeper is to end.
    async fn pause(&mut self, pause: Duration) -> bool {
        let over = Instant::now() + pause;
        loop {
            let socket_closes = self.unready_since + SOCKET_KEPT_UNREADY;
            let next = if self.listener.is_some() { over.min(socket_closes) } else { over };
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {
                    if Instant::now() >= socket_closes {
                        self.listener = None;
                    }
                    if Instant::now() >= over {
                        return true;
                    }
                }
                order = self.instructions.recv() => match order {
                    None | Some(Instruction::End) => return false,
                    Some(Instruction::Stop(done)) => {
                        self.listener = None;
                        self.show(|status| status.state = ProcessState::Stopped);
                        drop(done.send(Ok(())));
                        return self.rest().await;
                    }
                    Some(Instruction::Start(done) | Instruction::Roll(done)) => {
                        self.waiting.push(done);
                        return true;
                    }
                    Some(Instruction::Kill(done)) => drop(done.send(Err("it does not run".into()))),
                },
            }
        }
    }

    /// Why a process hangs, if it does. Otherwise it is pinged.
    async fn hangs(&self, running: &mut Running) -> Option<String> {
        if !running.is_ready {
            return (running.began.elapsed() > START_TIME_LIMIT).then(|| "it was not ready in time".to_owned());
        }
        // Pings are counted, not time: when it is the supervisor that stood still, nobody else is to blame.
        if running.unanswered >= PINGS_UNANSWERED_MAX {
            return Some(format!("it did not answer for {:?}", PING_EVERY * PINGS_UNANSWERED_MAX));
        }
        running.unanswered += 1;
        drop(running.leash.write_all(PING.as_bytes()).await); // a broken leash is heard when it is read
        None
    }

    /// Why a process has ended: its own error if it gave one.
    async fn last_words(&self, running: &mut Running, exit: io::Result<ExitStatus>) -> String {
        // What it said before it ended may not be read yet. Its end of the leash is closed, so this comes to an end.
        let rest = async {
            while let Ok(Some(line)) = running.says.next_line().await {
                running.words.push(line);
            }
        };
        drop(tokio::time::timeout(LAST_WORDS_TIME_LIMIT, rest).await);
        if !running.is_ready && !running.words.is_empty() {
            return running.words.join("\n");
        }
        match exit {
            Ok(exit) => match (exit.code(), exit.signal()) {
                (Some(code), _) => format!("it ended with status {code}"),
                (None, Some(9)) => "it was killed (signal 9)".to_owned(),
                (None, Some(signal)) => format!("it was ended by signal {signal}"),
                (None, None) => "it ended".to_owned(),
            },
            Err(error) => format!("it cannot be waited for: {error}"),
        }
    }

    fn show(&self, change: impl FnOnce(&mut ProcessStatus)) {
        self.status.send_modify(change);
        drop(self.changed.send(self.status.borrow().clone()));
    }

    fn tell_waiting(&mut self, outcome: &Result<(), String>) {
        for done in self.waiting.drain(..) {
            drop(done.send(outcome.clone()));
        }
    }
}

/// Keeps a log below its bound: what is beyond goes to a second file, of which there is one.
async fn bound_log(log: PathBuf) {
    let bounded = tokio::task::spawn_blocking(move || -> io::Result<()> {
        if fs::metadata(&log)?.len() > LOG_MAX_BYTES {
            let mut older = log.clone().into_os_string();
            older.push(".1");
            fs::copy(&log, older)?;
            File::options().write(true).open(&log)?.set_len(0)?; // whoever writes appends, to the new end
        }
        Ok(())
    });
    match bounded.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the log cannot be bounded"),
        Err(error) => tracing::warn!(%error, "the log cannot be bounded"),
    }
}

/// Asks a process to finish what is at work and end, and waits for that, but not for ever.
async fn terminate(mut running: Running) {
    if let Some(pid) = running.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)
        && let Err(error) = kill_process(pid, Signal::TERM)
    {
        tracing::debug!(%error, "it has ended already");
    }
    if tokio::time::timeout(STOP_TIME_LIMIT, running.child.wait()).await.is_err() {
        tracing::warn!("a process did not end in time; it is killed");
        let _ = kill_and_wait(&mut running.child).await;
    }
}

async fn kill_and_wait(child: &mut Child) -> io::Result<ExitStatus> {
    child.start_kill()?;
    child.wait().await
}

fn next_pause(last: Duration) -> Duration {
    let (shortest, longest) = RESTART_PAUSE;
    (last * 2).clamp(shortest, longest)
}
