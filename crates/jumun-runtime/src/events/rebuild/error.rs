//! Why views are not rebuilt.

use jumun_bus::BusError;
use jumun_control::RebuildReport;
use jumun_database::{CommitError, ReadError};

/// Why views are not rebuilt. The old rows stand.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// There is nothing to rebuild.
    #[error("`{service}` has no view `{wanted}`; its views: {views}")]
    NoView {
        /// The service.
        service: &'static str,
        /// What was asked for.
        wanted: String,
        /// What there is.
        views: String,
    },
    /// Another rebuild is at work.
    #[error("a rebuild is at work already")]
    AtWork,
    /// Nobody waits for it any more, or the service stops.
    #[error("it was given up")]
    GivenUp,
    /// The bus says so.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The log has less than the consumer has heard.
    #[error("{0}: the log ends before what this service has heard of it")]
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
    /// It has panicked outside the code of the business.
    #[error("it has failed: {0}")]
    Defect(String),
}

impl RebuildError {
    /// A code that stays the same over releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoView { .. } => "view-unknown",
            Self::AtWork => "rebuild-at-work",
            Self::GivenUp => "rebuild-given-up",
            Self::Bus(error) => error.code(),
            Self::LogEnds(_) => "bus-behind",
            Self::Event { .. } => "event-unfoldable",
            Self::Read(_) => "database-unreadable",
            Self::Write(_) => "database-not-done",
            Self::Defect(_) => "defect",
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoView { .. } => "Name a service that has a view, or one of its views.",
            Self::AtWork => "Wait for its end, or end the command that started it.",
            Self::GivenUp => "Start it again; what was there before stands.",
            Self::Bus(error) => error.remedy(),
            Self::LogEnds(_) => {
                "Start the service that publishes these events: it fills the log again. Then try again."
            }
            Self::Event { .. } => "Run a release that can read this event; what was there before stands.",
            Self::Read(_) => "Try again; if it stays so, look at the disk.",
            Self::Write(_) => "See that the disk has room for a second copy of the view, then try again.",
            Self::Defect(_) => "Please report it; what was there before stands.",
        }
    }
}

impl From<RebuildError> for RebuildReport {
    fn from(error: RebuildError) -> Self {
        Self::Failed { code: error.code().into(), why: error.to_string(), remedy: error.remedy().into() }
    }
}
