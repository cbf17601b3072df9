//! The supervisor: starts the processes of a system on one machine, keeps them running, and replaces them without losing a
//! request.
//!
//! # Why the supervisor owns the listening sockets
//!
//! The supervisor binds the socket and passes it to the child as standard input (no `unsafe`, no environment variable, and
//! any language could use it). So the socket outlives the process: clients that connect while a process is being replaced
//! wait in the accept queue, and a `kill -9` costs them milliseconds instead of an error.
//!
//! The supervisor closes the socket on `stop`, and between the starts of a process that does not become ready. Callers then
//! get *connection refused* at once, which proves that nothing was done. A live process that is not ready yet keeps them
//! waiting.
//!
//! # Why each process has a leash
//!
//! The child's standard output is a Unix socket to the supervisor, the leash. Through it the child reports that it is ready
//! and answers pings. A child that answers no pings hangs, and the supervisor replaces it. When the supervisor dies, the
//! leash breaks and the child stops, so that no process is left over.
//!
//! # Who owns what
//!
//! Each process has one keeper: a task that owns its socket, the process and its restarts. Operators send instructions to
//! the keeper.

mod error;
mod handle;
mod keeper;
mod leash;
pub mod limits;
mod operator;
mod process;
mod socket;
mod spec;
mod supervisor;

pub use error::SuperviseError;
pub use leash::{Leash, listener_from_stdin};
pub use socket::{bind, listen};
pub use spec::Spec;
pub use supervisor::Supervisor;
