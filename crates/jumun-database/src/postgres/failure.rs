//! What an error of the server, or of the way to it, means.

use super::{
    schema::open_error,
    session::{ConnectError, is_lost},
};
use crate::OpenError;
use tokio_postgres::{Error, error::SqlState};

/// What to do about an error in the middle of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// The connection is gone. What was under way may have been done.
    Lost,
    /// Others were in the way: the same again may succeed.
    Again,
    /// One job is at fault: alone, the others succeed.
    Job,
    /// Nothing can be written now, perhaps later.
    Environment,
}

pub(super) fn severity(error: &Error) -> Severity {
    if is_lost(error) {
        return Severity::Lost;
    }
    let Some(code) = error.code() else {
        return Severity::Job; // values that cannot be sent or read
    };
    let again = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED, SqlState::LOCK_NOT_AVAILABLE]
        .contains(code);
    if again {
        return Severity::Again;
    }
    match code.code().get(..2) {
        // Data, constraints, limits of a row.
        Some("22" | "23" | "54") => Severity::Job,
        _ => Severity::Environment,
    }
}

/// What it means for whoever opens a database that there is no connection.
pub(super) fn connect_error(path: &str, error: &ConnectError) -> OpenError {
    let (path, why) = (path.to_owned(), error.to_string());
    match error {
        ConnectError::Driver(error) => open_error(&path, error),
        ConnectError::TooLong => OpenError::Unreachable { path, why },
        ConnectError::Address(_) | ConnectError::NoRuntime => OpenError::Unusable { path, why },
    }
}
