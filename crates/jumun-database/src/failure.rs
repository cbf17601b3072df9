//! A database that its service can no longer rely on.

/// Why a database takes no more commits until an operator has acted. It lasts as long as the database is open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseFailure {
    /// Its pages contradict each other. What was read before may be right; nothing more is written.
    #[error("{path}: the file is damaged: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// What was seen.
        why: String,
    },
    /// A file of it was deleted, emptied or replaced while it was open. A commit would go into a file that nobody finds again.
    #[error("{path}: the file was {how} while the service used it")]
    Gone {
        /// The file.
        path: String,
        /// Deleted, emptied, or replaced by another one.
        how: &'static str,
        /// Whether the database file itself is where it was, and only one beside it went (`-wal`, `-shm`, `.lock`).
        is_file_there: bool,
    },
    /// Another process of the service uses the database of a server now, or it was restored while it was open. What this
    /// process believes of it is not so any more.
    #[error("{path}: another process has taken this database over, or it was restored while the service used it")]
    TakenOver {
        /// The address.
        path: String,
    },
}

impl DatabaseFailure {
    /// What a client of the service may know of it: no path.
    pub const fn for_clients(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => {
                "The database of this service is damaged (database-damaged). Its operator must restore it."
            }
            Self::TakenOver { .. } => {
                "Another process has the database of this service (database-taken-over). Its operator must start it again."
            }
            Self::Gone { .. } => {
                "The database of this service was deleted or replaced (database-gone). Its operator must restore it."
            }
        }
    }
}

jumun_text::explained! { DatabaseFailure {
    Self::Damaged { .. } => "database-damaged", DAMAGED_REMEDY;
    Self::Gone { is_file_there: true, .. } => "database-gone",
        "Stop the system and start it again: the database file has everything that was acknowledged.";
    Self::TakenOver { .. } => "database-taken-over",
        "Look whether a second process of this service runs with the same `database`; if so, stop one of the two. Then start the other again.";
    Self::Gone { .. } => "database-gone",
        "Stop the system. Put the files back (where a folder was moved, nothing may be left at its path), or move \
         what is left of them (-wal, -shm) aside and restore the latest copy; a service that has only views needs \
         no copy. Then start again.";
} }

/// What to do about a damaged file, when it is opened and while it is open.
///
/// `SQLite` would play a log that stays behind into the copy, and damage that one, too.
pub(crate) const DAMAGED_REMEDY: &str = "Move this file and those beside it (-wal, -shm) away, restore the newest copy in its place, and start again; a service that has only views needs no copy. If there is none, restore the whole data folder of the system from one backup, or move it away (all of it, and the bus if the key `bus` names another folder) and start the system with nothing.";
