//! The specification of a process.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

/// A process to keep running.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name, for operators.
    pub name: String,
    /// The address that it listens on.
    pub listen: SocketAddr,
    /// The program.
    pub program: PathBuf,
    /// The arguments of the program. The supervisor appends the number of restarts, and `--has-data` if an earlier process was ready.
    pub arguments: Vec<OsString>,
    /// The log file, for the standard error of the process.
    pub log: PathBuf,
    /// Whether a new process may run beside the one that it replaces: not with a database of its own.
    pub overlaps: bool,
    /// Whether it begins as if an operator had stopped it: another program may have its address.
    pub begins_stopped: bool,
}
