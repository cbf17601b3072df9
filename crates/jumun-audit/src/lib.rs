//! The audit of all databases of a system, whether the system runs or is stopped.
//!
//! # Why a violation needs a second look
//!
//! The audit reads one database after the other while services go on. A case that looks wrong may only be in progress, so
//! the audit reads it again until it looks right or the patience of the caller ends. Then the case is a violation, unless
//! work on it is still in progress: a request in doubt, or an event that some consumer has not processed.
//!
//! # Parts
//!
//! `run` audits cases; `table` reads the rows of a case; `doubts` and `backlog` find the work in progress; `acknowledged`
//! checks what a client remembers; `report` is the result.

mod acknowledged;
mod backlog;
mod doubts;
mod keys;
pub mod limits;
mod report;
mod run;
mod table;

pub use acknowledged::Acknowledged;
pub use doubts::{in_doubt, is_about_its_order};
pub use keys::{Full, Keys};
pub use report::{Report, Verdict};
pub use run::{run, run_over};
pub use table::{Databases, rows_of};
