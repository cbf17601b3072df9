//! Whether a database can be relied on: what any of its threads has seen that all must know.

use super::files::Files;
use crate::{DatabaseFailure, ReadError, limits};
use rusqlite::{Error, ErrorCode};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// The condition of one database, for all that use it in this process.
#[derive(Debug)]
pub(super) struct Condition {
    path: PathBuf,
    /// Known once the service that writes the database has opened it; a process that only reads has none.
    files: OnceLock<Files>,
    failure: OnceLock<DatabaseFailure>,
    /// The last error of the disk on a read, and when it was.
    disk: Mutex<Option<(Instant, String)>>,
}

impl Condition {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), files: OnceLock::new(), failure: OnceLock::new(), disk: Mutex::new(None) }
    }

    /// From now on the files are watched, and a failure is logged.
    pub(super) fn watch(&self, files: Files) {
        let _ = self.files.set(files); // it is called once
    }

    pub(super) fn files(&self) -> Option<&Files> {
        self.files.get()
    }

    /// Why the database takes no more commits.
    pub(super) fn failure(&self) -> Option<&DatabaseFailure> {
        self.failure.get()
    }

    /// The same, after a look whether the files are still there: three system calls.
    pub(super) fn look(&self) -> Option<&DatabaseFailure> {
        if self.failure.get().is_none()
            && let Some(gone) = self.files.get().and_then(Files::gone)
        {
            return Some(self.fail(gone));
        }
        self.failure.get()
    }

    /// Notes what an error says about the file itself; the failure, if it is one.
    pub(super) fn note(&self, error: &Error) -> Option<&DatabaseFailure> {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                let (path, why) = (self.path.display().to_string(), error.to_string());
                Some(self.fail(DatabaseFailure::Damaged { path, why }))
            }
            _ => None,
        }
    }

    fn fail(&self, failure: DatabaseFailure) -> &DatabaseFailure {
        let mut is_new = false;
        let failure = self.failure.get_or_init(|| {
            is_new = true;
            failure
        });
        if is_new && self.files.get().is_some() {
            let (code, remedy) = (failure.code(), failure.remedy());
            tracing::error!(code, remedy, "{failure}; from now on this service takes no orders");
        }
        failure
    }

    /// What a failed read means for its caller.
    pub(super) fn read_error(&self, error: &Error) -> ReadError {
        if let Some(failure) = self.note(error) {
            return ReadError::Failed(failure.clone());
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => ReadError::TooLong,
            Some(ErrorCode::SystemIoFailure) => {
                self.note_disk(error);
                ReadError::Unavailable(error.to_string())
            }
            _ => ReadError::Unavailable(error.to_string()),
        }
    }

    /// Logs an error of the disk once, not for every request that meets it.
    fn note_disk(&self, error: &Error) {
        let mut disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = disk.as_ref().is_none_or(|(at, _)| at.elapsed() >= limits::DISK_ERROR_SHOWN_FOR);
        if is_new && self.files.get().is_some() {
            tracing::error!(%error, file = %self.path.display(), "the disk does not give what was written; check it");
        }
        *disk = Some((Instant::now(), error.to_string()));
    }

    /// The last error of the disk on a read, if that was a moment ago.
    pub(super) fn disk_error(&self) -> Option<String> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        disk.as_ref().filter(|(at, _)| at.elapsed() < limits::DISK_ERROR_SHOWN_FOR).map(|(_, why)| why.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn an_error_of_the_disk_is_shown_and_damage_is_final() {
        let condition = Condition::new(Path::new("order.db"));
        let read = |code| condition.read_error(&Error::SqliteFailure(ffi::Error::new(code), None));
        assert!(matches!(read(ffi::SQLITE_BUSY), ReadError::Unavailable(_)));
        assert_eq!((condition.disk_error(), condition.failure()), (None, None));
        assert!(matches!(read(ffi::SQLITE_IOERR_READ), ReadError::Unavailable(_)));
        assert!(condition.disk_error().is_some());
        assert_eq!(condition.failure(), None, "the disk may give it later");
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_CORRUPT_INDEX, ffi::SQLITE_NOTADB] {
            let ReadError::Failed(failure) = read(code) else { panic!("{code}") };
            assert_eq!(Some(&failure), condition.failure());
            assert_eq!(failure.code(), "database-damaged");
        }
    }
}
