//! The supervisor: starts the processes of a system on one machine, keeps them running, replaces them without losing a
//! request.
//!
//! What holds it together:
//!
//! * **The listening socket outlives the process.** The supervisor binds it and hands it down as the child's standard input
//!   (no `unsafe`, no environment, any language could do it). Clients that come while a process is being replaced wait in
//!   the socket; that is why a `kill -9` costs them milliseconds, not an error. On `stop`, and
//!   between the starts of a process that does not get ready, it is closed: callers then hear *connection refused* at once,
//!   which says that surely nothing was done. A process that lives and is not ready yet keeps them waiting.
//! * **A leash.** The child's standard output is a Unix socket to the supervisor. Over it the child says that it is ready and
//!   answers pings; one that does not answer hangs, and is replaced. When the supervisor dies the leash breaks, and the child
//!   stops by itself: no process is ever left over.
//! * **One keeper a process.** A task that owns everything about it: socket, process, restarts. Operators tell it things.

mod keeper;
mod leash;
pub mod limits;
mod operator;

pub use keeper::Spec;
pub use leash::{Leash, listener_from_stdin};

use jumun_control::{About, Control, ProcessStatus, SUPERVISOR, socket_in};
use keeper::{Instruction, Keeper};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4_096;

/// Why a system cannot be brought up.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// Somebody else listens there.
    #[error("{name} cannot listen on {address}: {why}")]
    Listen {
        /// The process.
        name: String,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        why: io::Error,
    },
    /// A process ended before it was ready.
    #[error("{name} does not start: {why}")]
    NotReady {
        /// The process.
        name: String,
        /// What it said.
        why: String,
    },
    /// Operators could not tell it anything.
    #[error("the control socket {path} cannot be made: {why}")]
    Control {
        /// The socket.
        path: String,
        /// What the system said.
        why: io::Error,
    },
}

impl SuperviseError {
    /// A code that stays the same over releases.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Listen { why, .. } if why.kind() == io::ErrorKind::AddrInUse => "port-taken",
            Self::Listen { .. } => "listen",
            Self::NotReady { .. } => "service-not-starting",
            Self::Control { .. } => "control-socket",
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Listen { why, .. } if why.kind() != io::ErrorKind::AddrInUse => {
                "Choose an address of this machine, and a port that this user may take, with <service>.listen."
            }
            Self::Listen { .. } => "Stop what listens there, or move all ports with --port-offset 100.",
            Self::NotReady { .. } => "Do what it says; all it said is in its log (jumun logs).",
            Self::Control { .. } => "Check that the data folder can be written and its path is below 80 characters.",
        }
    }
}

/// The processes of a system, kept running.
pub struct Supervisor {
    kept: Vec<Kept>,
    /// Hears operators as long as it is held.
    control: Option<Control>,
}

/// One process, as the supervisor holds it.
#[derive(Clone)]
struct Kept {
    name: String,
    instructions: mpsc::Sender<Instruction>,
    status: watch::Receiver<ProcessStatus>,
}

/// Binds the sockets of all processes. Nothing is changed by it, and it fails if any is taken.
pub fn bind(specs: &[Spec]) -> Result<Vec<TcpListener>, SuperviseError> {
    let bind = |spec: &Spec| {
        let failed = |why| SuperviseError::Listen { name: spec.name.clone(), address: spec.listen, why };
        listen(spec.listen).map_err(failed)
    };
    specs.iter().map(bind).collect()
}

/// A listening socket; its port is free again at once when the process that had it was killed.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

impl Supervisor {
    /// Starts everything, and waits until all are ready. If one is not, all are stopped again.
    pub async fn start(
        specs: Vec<Spec>,
        listeners: Vec<TcpListener>,
        changed: mpsc::UnboundedSender<ProcessStatus>,
    ) -> Result<Self, SuperviseError> {
        let mut kept = Vec::new();
        let mut ready = Vec::new();
        for (spec, listener) in specs.into_iter().zip(listeners) {
            let (instructions, received) = mpsc::channel(8);
            let (first, outcome) = oneshot::channel();
            let name = spec.name.clone();
            let keeper = Keeper::new(spec, listener, received, changed.clone(), first);
            kept.push(Kept { name: name.clone(), instructions, status: keeper.status() });
            tokio::spawn(keeper.keep());
            ready.push((name, outcome));
        }
        let mut supervisor = Self { kept, control: None };
        for (name, outcome) in ready {
            let outcome = outcome.await.unwrap_or_else(|_| Err("it was stopped".into()));
            if let Err(why) = outcome {
                supervisor.stop().await;
                return Err(SuperviseError::NotReady { name, why });
            }
        }
        Ok(supervisor)
    }

    /// Lets operators tell it things, over a socket in the folder of the system.
    pub fn listen_to_operators(mut self, folder: &Path, about: About) -> Result<Self, SuperviseError> {
        let path = socket_in(folder, SUPERVISOR);
        let routes = operator::routes(self.kept.clone(), about);
        let failed = |why| SuperviseError::Control { path: path.display().to_string(), why };
        self.control = Some(Control::listen(&path, routes).map_err(failed)?);
        Ok(self)
    }

    /// How each of them is, in the order in which they were given.
    pub fn statuses(&self) -> Vec<ProcessStatus> {
        self.kept.iter().map(|kept| kept.status.borrow().clone()).collect()
    }

    /// Stops all, the last one first (the gateway, so that no more requests come in), and waits until they have ended.
    pub async fn stop(&mut self) {
        self.control = None; // nobody starts anything again
        for kept in self.kept.iter().rev() {
            kept.instruct(Instruction::Stop).await.ok();
            drop(kept.instructions.send(Instruction::End).await);
        }
    }
}

impl Kept {
    /// Gives the keeper an instruction and waits until it is carried out.
    async fn instruct(
        &self,
        instruction: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Instruction,
    ) -> Result<(), String> {
        let (done, outcome) = oneshot::channel();
        let gone = || "the supervisor is stopping".to_owned();
        self.instructions.send(instruction(done)).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}
