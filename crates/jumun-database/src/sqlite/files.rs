//! Whether the files of a database are still where they were opened.
//!
//! A deleted file goes on taking writes and syncs, and is gone with the process. So the writer looks before it begins a
//! transaction and after it has committed it. It looks by path: opening a file of `SQLite` a second time and closing it
//! would take away the locks that this process has on it (`fcntl`, POSIX).

use super::connection::beside;
use crate::DatabaseFailure;
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// How many links a path may go through, as for the system itself.
const LINKS_MAX: u32 = 40;

/// Said of a database file that is there and holds nothing.
const EMPTIED: &str = "emptied";

/// The files of an open database, each with its device and inode.
#[derive(Debug)]
pub(super) struct Files([(PathBuf, (u64, u64)); 4]);

impl Files {
    /// Notes the files as they are now: the database, its log, the memory that connections share, the lock of this process.
    /// All of them exist once a transaction was begun.
    pub(super) fn note(database: &Path) -> io::Result<Self> {
        let note = |path: PathBuf| {
            let id = id(&fs::metadata(&path)?);
            Ok::<_, io::Error>((path, id))
        };
        let [log, shared, lock] = ["-wal", "-shm", ".lock"].map(|suffix| beside(database, suffix));
        Ok(Self([note(database.to_owned())?, note(log)?, note(shared)?, note(lock)?]))
    }

    /// The write-ahead log.
    pub(super) fn log(&self) -> &Path {
        &self.0[1].0
    }

    /// What the connections share, of all processes: their locks are on it.
    pub(super) fn shared_memory(&self) -> &Path {
        &self.0[2].0
    }

    /// The first file that is not where it was. A file of which the system says nothing is not called gone.
    pub(super) fn gone(&self) -> Option<DatabaseFailure> {
        let database = &self.0[0].0;
        self.0.iter().find_map(|(path, known)| {
            let how = match fs::metadata(path) {
                Ok(found) if path == database && found.len() == 0 => EMPTIED,
                Ok(found) if id(&found) == *known => return None,
                Ok(_) => "replaced by another one",
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    "deleted or moved away"
                }
                Err(_) => return None,
            };
            Some(DatabaseFailure::Gone { path: path.display().to_string(), how, is_file_there: path != database })
        })
    }
}

/// The file that a path names, links followed, also where there is none yet: `SQLite` keeps its files beside that one.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&path) {
            Ok(target) => path = path.parent().unwrap_or(Path::new("")).join(target),
            // No link, or there is nothing yet.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("it is a link to itself"))
}

/// Whether what the log holds still belongs into the file that was opened: an emptied one lacks all that was folded back
/// before, so the log would only make a damaged database of it.
pub(super) fn takes_log(failure: &DatabaseFailure) -> bool {
    matches!(failure, DatabaseFailure::Gone { how, .. } if *how != EMPTIED)
}

fn id(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}
