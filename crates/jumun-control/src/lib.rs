//! The operator's protocol: one Unix socket for each process, and typed messages for both ends.
//!
//! # Shape
//!
//! A message is a [`Call`]: a JSON object that is posted to its own path, and a type of reply. The program sends calls with
//! [`tell`] and [`follow`]; a process answers them with [`Routes`] behind a [`Control`] socket. Both ends use the same
//! structs, so a field that one end forgets does not compile.
//!
//! # Version
//!
//! Both ends send [`VERSION`] in a header. A process of another version refuses the call, and the program says which
//! version it met: after an upgrade of the program, `jumun roll --all` or a new `jumun up` brings both together. Adding an
//! optional field keeps the version; anything else raises it.
//!
//! # Who may call
//!
//! The socket is a file in the data folder that only its owner can open. Nothing of this is on a port.

mod client;
mod error;
mod faults;
pub mod limits;
mod messages;
mod server;

pub use client::{follow, tell};
pub use error::{ControlError, Refused};
pub use faults::{Delay, Faults};
pub use messages::{
    About, Breaker, BreakerCommand, Call, CommandBreaker, DiscardParked, Discarded, FaultsOn, GetBreakers, GetFaults,
    GetStatus, Kill, Places, ProcessState, ProcessStatus, RebuildProgress, RebuildReport, RebuildStats, RebuildView,
    RetriedParked, RetryParked, Roll, SetFaults, Start, Stop, Supervised, VERSION,
};
pub use server::{Control, Routes};

use std::path::{Path, PathBuf};

/// The control socket of a process of the system with this data folder. The supervisor's process is called `up`.
pub fn socket_in(folder: &Path, process: &str) -> PathBuf {
    folder.join(format!("{process}.control"))
}

/// The name of the supervisor among the processes of a system.
pub const SUPERVISOR: &str = "up";
