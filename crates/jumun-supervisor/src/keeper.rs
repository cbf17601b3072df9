//! The keeper of one process: its socket, its starts and restarts, its end.
//!
//! # When a process is restarted
//!
//! A process that was ready and ends is restarted at once. One that ends before it is ready is restarted after a pause that
//! doubles each time. A process that an operator has stopped is not restarted.

use crate::{
    handle::{Done, Instruction},
    leash::{FAILED, PONG, READY},
    limits::{LOG_LOOKED_AT_EVERY, PING_EVERY, RESTART_PAUSE, SOCKET_KEPT_UNREADY, START_TIME_LIMIT},
    process::{Running, rotate_log},
    socket::listen,
    spec::Spec,
};
use jumun_control::{ProcessState, ProcessStatus};
use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

/// Keeps one process running.
pub(crate) struct Keeper {
    spec: Spec,
    /// None while connections are refused.
    listener: Option<TcpListener>,
    instructions: mpsc::Receiver<Instruction>,
    changed: mpsc::UnboundedSender<ProcessStatus>,
    status: watch::Sender<ProcessStatus>,
    /// Instructions that are done when the process is ready, or fail when it ends before.
    waiting: Vec<Done>,
    /// Since when no process is ready.
    unready_since: Instant,
    /// Whether a process was ready since an operator last started it: so its data is there, unless it was taken away.
    has_data: bool,
}

/// How a process ended.
enum Ended {
    /// It ended by itself or was killed.
    Died { was_ready: bool, why: String },
    /// It ended to be replaced at once.
    Replaced,
    /// An operator stopped it.
    Stopped,
    /// It was killed, and the keeper ends, too.
    End,
}

impl Keeper {
    pub(crate) fn new(
        spec: Spec,
        listener: Option<TcpListener>,
        instructions: mpsc::Receiver<Instruction>,
        changed: mpsc::UnboundedSender<ProcessStatus>,
        first: Done,
    ) -> Self {
        let status = ProcessStatus {
            name: spec.name.clone(),
            address: listener.as_ref().and_then(|listener| listener.local_addr().ok()).unwrap_or(spec.listen),
            state: if spec.begins_stopped { ProcessState::Stopped } else { ProcessState::Starting },
            pid: None,
            restarts: 0,
            last_end: None,
            ready_after_ms: None,
            trouble: None,
        };
        Self {
            spec,
            listener,
            instructions,
            changed,
            status: watch::Sender::new(status),
            waiting: vec![first],
            unready_since: Instant::now(),
            has_data: false,
        }
    }

    pub(crate) fn status(&self) -> watch::Receiver<ProcessStatus> {
        self.status.subscribe()
    }

    /// Keeps the process running until it gets [`Instruction::End`].
    pub(crate) async fn run(mut self) {
        let mut pause = Duration::ZERO;
        if self.spec.begins_stopped {
            self.complete_waiting(&Ok(()));
            if !self.wait_for_start().await {
                return;
            }
            self.unready_since = Instant::now();
        }
        loop {
            let ended = match self.launch() {
                Ok(running) => self.watch(running).await,
                Err(error) => Ended::Died { was_ready: false, why: error.to_string() },
            };
            match ended {
                Ended::End => return,
                Ended::Replaced => self.unready_since = Instant::now(),
                Ended::Stopped => {
                    if !self.wait_for_start().await {
                        return;
                    }
                    self.unready_since = Instant::now();
                    pause = Duration::ZERO;
                }
                Ended::Died { was_ready, why } => {
                    // A process that was ready is restarted at once. The pause grows only while none becomes ready.
                    pause = if was_ready { Duration::ZERO } else { next_pause(pause) };
                    if was_ready {
                        self.unready_since = Instant::now();
                    }
                    self.update(|status| {
                        status.state = if was_ready { ProcessState::Starting } else { ProcessState::Waiting };
                        status.pid = None;
                        status.restarts += 1;
                        status.last_end = Some(why.clone());
                    });
                    if !was_ready {
                        self.complete_waiting(&Err(why));
                        if !self.pause(pause).await {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Starts the process. Opens the socket again if it was closed.
    fn launch(&mut self) -> io::Result<Running> {
        let (address, restarts) = {
            let status = self.status.borrow();
            (status.address, status.restarts)
        };
        let listener = match &self.listener {
            Some(listener) => listener.try_clone()?,
            None => self.listener.insert(listen(address)?).try_clone()?,
        };
        let running = Running::start(&self.spec, listener, restarts, self.has_data)?;
        let pid = running.pid();
        self.update(|status| (status.state, status.pid, status.trouble) = (ProcessState::Starting, pid, None));
        Ok(running)
    }

    /// Watches a process until it has ended, and carries out instructions.
    async fn watch(&mut self, mut running: Running) -> Ended {
        let mut ping = interval(PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut log = interval(LOG_LOOKED_AT_EVERY);
        loop {
            tokio::select! {
                exit = running.child.wait() => {
                    let why = running.end_reason(exit).await;
                    return Ended::Died { was_ready: running.is_ready, why };
                }
                line = running.lines.next_line() => match line {
                    Ok(Some(line)) if line == READY && !running.is_ready => self.mark_ready(&mut running),
                    Ok(Some(line)) if line == PONG => running.unanswered = 0,
                    Ok(Some(line)) => match line.strip_prefix(FAILED) {
                        // It goes on, and answers why: a restart would not heal it.
                        Some(why) => self.update(|status| status.trouble = Some(why.to_owned())),
                        None => running.keep_output(line),
                    },
                    // The process has closed the leash, so it is about to end.
                    Ok(None) | Err(_) => {
                        let exit = running.wait_or_kill().await;
                        let why = running.end_reason(exit).await;
                        return Ended::Died { was_ready: running.is_ready, why };
                    }
                },
                _ = ping.tick() => {
                    if let Some(why) = running.ping().await {
                        tracing::warn!(service = self.spec.name, why, "a process hangs; killing and restarting it");
                        let _ = running.kill().await;
                        return Ended::Died { was_ready: running.is_ready, why };
                    }
                }
                _ = log.tick() => drop(tokio::spawn(rotate_log(self.spec.name.clone(), self.spec.log.clone()))),
                instruction = self.instructions.recv() => match instruction {
                    None | Some(Instruction::End) => {
                        let _ = running.kill().await;
                        return Ended::End;
                    }
                    Some(Instruction::Start(done)) => {
                        if running.is_ready { drop(done.send(Ok(()))) } else { self.waiting.push(done) }
                    }
                    Some(Instruction::Kill(done)) => {
                        self.waiting.push(done);
                        let _ = running.kill().await;
                        return Ended::Died { was_ready: true, why: "killed by an operator".into() };
                    }
                    Some(Instruction::Stop(done)) => {
                        self.listener = None;
                        self.complete_waiting(&Err("it was stopped".into()));
                        self.update(|status| status.state = ProcessState::Stopping);
                        running.terminate().await;
                        self.update(|status| (status.state, status.pid) = (ProcessState::Stopped, None));
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
                            running.unanswered = 0; // its answers were not read
                            drop(done.send(Err(why)));
                        }
                    },
                    Some(Instruction::Roll(done)) => {
                        self.waiting.push(done);
                        self.update(|status| status.state = ProcessState::Stopping);
                        running.terminate().await;
                        return Ended::Replaced;
                    }
                },
            }
        }
    }

    fn mark_ready(&mut self, running: &mut Running) {
        running.is_ready = true;
        self.has_data = true;
        let took = u64::try_from(self.unready_since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let pid = running.pid();
        self.update(|status| {
            (status.state, status.pid, status.ready_after_ms) = (ProcessState::Ready, pid, Some(took));
        });
        self.complete_waiting(&Ok(()));
    }

    /// Starts the next process beside the old one. When the next one is ready, the old one finishes its work and ends.
    async fn replace(&mut self, old: Running) -> Result<Running, (Running, String)> {
        let before = self.status.borrow().clone();
        self.unready_since = Instant::now();
        let mut next = match self.launch() {
            Ok(next) => next,
            Err(error) => return Err((old, error.to_string())),
        };
        let too_late = sleep(START_TIME_LIMIT);
        tokio::pin!(too_late);
        let why = loop {
            tokio::select! {
                exit = next.child.wait() => break Some(next.end_reason(exit).await),
                line = next.lines.next_line() => match line {
                    Ok(Some(line)) if line == READY => break None,
                    Ok(Some(line)) => next.keep_output(line),
                    Ok(None) | Err(_) => {
                        let exit = next.kill().await;
                        break Some(next.end_reason(exit).await);
                    }
                },
                () = &mut too_late => break Some("it is not ready in time".to_owned()),
            }
        };
        if let Some(why) = why {
            let _ = next.kill().await;
            self.update(|status| *status = before);
            return Err((old, why));
        }
        self.mark_ready(&mut next);
        tokio::spawn(old.terminate());
        Ok(next)
    }

    /// Waits for the instruction to start. False if the keeper must end.
    async fn wait_for_start(&mut self) -> bool {
        loop {
            match self.instructions.recv().await {
                None | Some(Instruction::End) => return false,
                Some(Instruction::Stop(done)) => drop(done.send(Ok(()))),
                Some(Instruction::Start(done)) => {
                    self.begin_again(done);
                    return true;
                }
                Some(Instruction::Kill(done) | Instruction::Roll(done)) => drop(done.send(Err("it is stopped".into()))),
            }
        }
    }

    /// An operator starts a process that does not run: its data may have been taken away on purpose.
    fn begin_again(&mut self, done: Done) {
        self.waiting.push(done);
        self.has_data = false;
    }

    /// Waits before the next start; an instruction can end the wait. False if the keeper must end.
    async fn pause(&mut self, pause: Duration) -> bool {
        let over = Instant::now() + pause;
        loop {
            let socket_closes = self.unready_since + SOCKET_KEPT_UNREADY;
            let next = if self.listener.is_some() { over.min(socket_closes) } else { over };
            tokio::select! {
                () = sleep_until(next.into()) => {
                    if Instant::now() >= socket_closes {
                        self.listener = None;
                    }
                    if Instant::now() >= over {
                        return true;
                    }
                }
                instruction = self.instructions.recv() => match instruction {
                    None | Some(Instruction::End) => return false,
                    Some(Instruction::Stop(done)) => {
                        self.listener = None;
                        self.update(|status| status.state = ProcessState::Stopped);
                        drop(done.send(Ok(())));
                        return self.wait_for_start().await;
                    }
                    Some(Instruction::Start(done)) => {
                        self.begin_again(done);
                        return true;
                    }
                    Some(Instruction::Roll(done)) => {
                        self.waiting.push(done);
                        return true;
                    }
                    Some(Instruction::Kill(done)) => drop(done.send(Err("it does not run".into()))),
                },
            }
        }
    }

    fn update(&self, change: impl FnOnce(&mut ProcessStatus)) {
        self.status.send_modify(change);
        drop(self.changed.send(self.status.borrow().clone()));
    }

    fn complete_waiting(&mut self, outcome: &Result<(), String>) {
        for done in self.waiting.drain(..) {
            drop(done.send(outcome.clone()));
        }
    }
}

fn next_pause(last: Duration) -> Duration {
    let (shortest, longest) = RESTART_PAUSE;
    (last * 2).clamp(shortest, longest)
}
