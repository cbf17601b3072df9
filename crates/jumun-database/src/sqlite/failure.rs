//! What an error of `SQLite` means for the caller.

use crate::OpenError;
use rusqlite::{Error, ErrorCode, ffi};
use std::{io, path::Path};

/// What to do about an error in the middle of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    /// One job is at fault: alone, the others succeed.
    Job,
    /// The disk, the file or its locks: nothing can be written now, perhaps later.
    Environment,
    /// The disk did not take what it had been given before. See [`end_process`].
    Fsync,
}

pub(super) fn severity(error: &Error) -> Severity {
    match error.sqlite_error() {
        Some(ffi::Error { extended_code, .. })
            if matches!(*extended_code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC) =>
        {
            Severity::Fsync
        }
        Some(ffi::Error { code, .. }) => match code {
            ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig | ErrorCode::Unknown => {
                Severity::Job
            }
            _ => Severity::Environment,
        },
        // Values that cannot be bound or read.
        None => Severity::Job,
    }
}

/// Ends the process after an fsync that failed.
///
/// The kernel reports such an error once. It may then call the pages clean though they never reached the disk, so that
/// a second fsync succeeds and proves nothing ("fsyncgate", 2018). This process can no longer trust what it believes to
/// be committed. No caller got an acknowledgement: the broken connection answers all of them with "outcome unknown",
/// and the next process starts from what the file holds.
pub(super) fn end_process(what: &str, error: &Error) -> ! {
    tracing::error!(
        "{what}: the disk did not confirm a write ({error}); nothing more can be promised, so this process ends. \
         Check the disk, then start it again: what was acknowledged is in the log."
    );
    std::process::abort()
}

/// Why a thread with a connection of its own did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error(transparent)]
    Sqlite(#[from] Error),
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] io::Error),
}

pub(super) fn open_error(path: &Path, error: &Error) -> OpenError {
    let (path, why) = (path.display().to_string(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::Damaged { path, why },
        _ => OpenError::Unusable { path, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqlite(code: i32) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn an_error_of_the_disk_is_nobodys_fault_and_an_fsync_error_is_final() {
        assert_eq!(severity(&sqlite(ffi::SQLITE_FULL)), Severity::Environment);
        assert_eq!(severity(&sqlite(ffi::SQLITE_IOERR_WRITE)), Severity::Environment);
        assert_eq!(severity(&sqlite(ffi::SQLITE_BUSY)), Severity::Environment);
        assert_eq!(severity(&sqlite(ffi::SQLITE_CONSTRAINT_PRIMARYKEY)), Severity::Job);
        assert_eq!(severity(&sqlite(ffi::SQLITE_ERROR)), Severity::Job);
        assert_eq!(severity(&sqlite(ffi::SQLITE_IOERR_FSYNC)), Severity::Fsync);
        assert_eq!(severity(&sqlite(ffi::SQLITE_IOERR_DIR_FSYNC)), Severity::Fsync);
    }
}
