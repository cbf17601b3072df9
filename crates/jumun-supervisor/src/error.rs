//! Why a system cannot be started.

use std::{io, net::SocketAddr};

/// Why a system cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The address is in use or unavailable.
    #[error("{name} cannot listen on {address}: {why}")]
    Listen {
        /// The process.
        name: String,
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        why: io::Error,
    },
    /// A process ended before it was ready.
    #[error("{name} does not start: {why}")]
    NotReady {
        /// The process.
        name: String,
        /// Its own error.
        why: String,
    },
    /// Operators would have no access to the supervisor.
    #[error("the control socket {path} cannot be made: {why}")]
    Control {
        /// The socket.
        path: String,
        /// The error of the operating system.
        why: io::Error,
    },
}

impl SuperviseError {
    /// A code that is stable across releases.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Listen { why, .. } if why.kind() == io::ErrorKind::AddrInUse => "port-taken",
            Self::Listen { .. } => "listen",
            Self::NotReady { .. } => "service-not-starting",
            Self::Control { .. } => "control-socket",
        }
    }

    /// What an operator can do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Listen { why, .. } if why.kind() != io::ErrorKind::AddrInUse => {
                "Choose an address of this machine, and a port that this user may take, with <service>.listen."
            }
            Self::Listen { .. } => "Stop what listens there, or move all ports with --port-offset 100.",
            Self::NotReady { .. } => "Follow its message; its log has all messages (jumun logs).",
            Self::Control { .. } => {
                "Make the data folder writable for this user, or choose a shorter path with --data: a socket has at most some 100 bytes."
            }
        }
    }
}
