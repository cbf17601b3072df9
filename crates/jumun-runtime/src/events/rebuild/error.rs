//! Why a rebuild fails.

use jumun_bus::BusError;
use jumun_control::RebuildReport;
use jumun_database::{CommitError, ReadError};

/// Why a rebuild fails. The old rows are unchanged.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The service has no such view.
    #[error("`{service}` has no view `{wanted}`; its views: {views}")]
    NoView {
        /// The service.
        service: &'static str,
        /// The name that the operator gave.
        wanted: String,
        /// Its views.
        views: String,
    },
    /// Another rebuild is in progress.
    #[error("a rebuild is in progress already")]
    AtWork,
    /// The operator hung up, the service stops, or a base gives way to a rebuild.
    #[error("the rebuild was given up")]
    GivenUp,
    /// The bus fails.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The log ends before the consumer's position.
    #[error("{0}: the log ends before the position of this service")]
    LogEnds(String),
    /// The code fails on an event that is not parked.
    #[error("{source_name}/{partition}: the code fails on event {sequence} ({event_type}): {why}")]
    Event {
        /// The source.
        source_name: String,
        /// The partition.
        partition: u16,
        /// Its number.
        sequence: u64,
        /// Its type.
        event_type: String,
        /// How it fails.
        why: String,
    },
    /// The database cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The database does not take the rows.
    #[error(transparent)]
    Write(#[from] CommitError),
    /// The rebuild panicked outside the business code.
    #[error("the rebuild failed: {0}")]
    Defect(String),
}

jumun_text::explained! { RebuildError {
    Self::NoView { .. } => "view-unknown", "Name a service that has a view, or one of its views.";
    Self::AtWork => "rebuild-at-work", "Wait for its end, or end the command that started it.";
    Self::GivenUp => "rebuild-given-up", "Start it again; the old rows are unchanged.";
    Self::Bus(error) => error;
    Self::LogEnds(_) => "bus-behind",
        "Start the service that publishes these events (jumun start <service>): it fills the log again. Then try again.";
    Self::Event { .. } => "event-unfoldable", "Run a release that can read this event; the old rows are unchanged.";
    Self::Read(error) => error;
    Self::Write(CommitError::Failed(failure)) => failure;
    Self::Write(_) => "database-not-done", "See that the disk has room for a second copy of the view, then try again.";
    Self::Defect(_) => "defect", "Please report it; the old rows are unchanged.";
} }

impl From<RebuildError> for RebuildReport {
    fn from(error: RebuildError) -> Self {
        Self::Failed { code: error.code().into(), why: error.to_string(), remedy: error.remedy().into() }
    }
}
