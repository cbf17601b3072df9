//! How connections are set up: each kind for its use.

use super::schema::run_script;
use crate::{OpenError, limits};
use rusqlite::{Connection, OpenFlags, config::DbConfig};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// For the writer. Creates the file where there is none.
///
/// - `synchronous = FULL`: a commit is on the disk before it is answered. `fullfsync` is what that takes on macOS,
///   where fsync alone stops at the drive's cache; elsewhere it means nothing.
/// - `wal_autocheckpoint = 0`: see [`super::checkpoint`].
pub(super) fn for_writing(file: &Path) -> rusqlite::Result<Connection> {
    open(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
}

/// What makes a connection a writer; only after it is known that the file is ours, as it changes the file.
pub(super) fn set_up_writer(connection: &Connection) -> rusqlite::Result<bool> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    run_script(
        connection,
        "PRAGMA synchronous = FULL;
         PRAGMA fullfsync = ON;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -8192",
    )?;
    Ok(mode == "wal")
}

/// Leaves the log as it is when the connection is closed. Of a file that is damaged or gone: what is in the log may be all
/// that is left, and another database may be where this one was.
pub(super) fn leave_log(connection: &Connection) {
    if let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
        tracing::warn!(%error, "the log may be folded back when the database is closed");
    }
}

/// For the checkpointer: it syncs like the writer and gives way at once.
pub(super) fn for_checkpoints(file: &Path) -> rusqlite::Result<Connection> {
    let connection = open(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    run_script(
        &connection,
        "PRAGMA synchronous = FULL;
         PRAGMA checkpoint_fullfsync = ON;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_size = -256",
    )?;
    connection.busy_timeout(Duration::ZERO)?;
    open_log(&connection)?;
    Ok(connection)
}

/// For reading only: the file is opened read-only, and closing the last such connection leaves the log as it is, even
/// that of a killed process.
pub(super) fn for_reading(file: &Path, cache_kib: u32) -> rusqlite::Result<Connection> {
    let connection = open(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    run_script(
        &connection,
        &format!("PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{cache_kib}"),
    )?;
    connection.set_prepared_statement_cache_capacity(64);
    open_log(&connection)?;
    Ok(connection)
}

/// Has the connection open the log now. `SQLite` does that with the first read, and then would make another log where this
/// one was deleted meanwhile.
fn open_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA schema_version", [], |_| Ok(()))
}

fn open(file: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // Each connection has one user at a time, so SQLite needs no mutex of its own.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(limits::BUSY_MAX)?;
    Ok(connection)
}

/// A log without its database means that the database was taken away or emptied. `SQLite` would drop the log and begin
/// with nothing; what it holds may be all there is left.
pub(super) fn check_file(path: &Path) -> Result<(), OpenError> {
    let bytes = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    if bytes(path) == 0 && bytes(&beside(path, "-wal")) > 0 {
        let why = "its write-ahead log is there, but the database itself is missing or empty".to_owned();
        return Err(OpenError::Damaged { path: path.display().to_string(), why });
    }
    Ok(())
}

/// The file that has the same name and this at its end.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
