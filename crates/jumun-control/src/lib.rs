//! The operator's protocol: a Unix socket for each process, and what is said over it.

mod socket;

pub use socket::{Control, ControlError, Told, refused, socket_beside, tell, tell_and_follow};
