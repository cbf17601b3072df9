//! What the adapters share that have a writer: one thread that commits, the jobs that wait for it, their answers, and the
//! numbers that it keeps in memory.

mod answers;
mod counters;
#[cfg(feature = "postgres")]
mod group;
mod ids;
mod job;
mod queue;
mod shared;

pub(crate) use answers::Answers;
pub(crate) use counters::{Counters, shown};
#[cfg(feature = "postgres")]
pub(crate) use group::{Group, RequestAfter};
pub(crate) use job::{Done, Job, Outcome, Shadow, Work};
pub(crate) use queue::{NotStarted, Queue, Ready, gather};
pub(crate) use shared::Shared;
