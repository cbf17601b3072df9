//! Which database it is, and why one cannot be opened.

use crate::{Schema, failure::DAMAGED_REMEDY};
use uuid::Uuid;

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open for writing.
    #[error("{path}: {} has this database open", holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")))]
    InUse {
        /// The file.
        path: String,
        /// The id of that process, where it has written it down.
        holder: Option<u32>,
    },
    /// There is no database at this address.
    #[error("{path}: there is no database here")]
    Missing {
        /// The file.
        path: String,
    },
    /// It was written by an earlier release, and whoever only reads it does not change it.
    #[error("{path}: its schema has version {found}, that of an earlier release; this release reads version {known}")]
    Older {
        /// The file.
        path: String,
        /// The version found.
        found: u32,
        /// The version that a start of its service makes of it.
        known: u32,
    },
    /// It was written by a newer release.
    #[error("{path}: its schema has version {found}; this release knows versions up to {known}")]
    Newer {
        /// The file.
        path: String,
        /// The version found.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// It is a database of another program, or of another service.
    #[error("{path}: {why}")]
    Foreign {
        /// The file.
        path: String,
        /// What it is instead.
        why: String,
    },
    /// It was created with another number of partitions.
    #[error("{path}: it has {found} partitions, {wanted} are configured")]
    Partitions {
        /// The file.
        path: String,
        /// How many it has.
        found: u16,
        /// How many are configured.
        wanted: u16,
    },
    /// The server does not answer.
    #[error("{path}: the server does not answer: {why}")]
    Unreachable {
        /// The address.
        path: String,
        /// What happened instead.
        why: String,
    },
    /// The server does not let this user in, or not into this database.
    #[error("{path}: the server refuses: {why}")]
    Refused {
        /// The address.
        path: String,
        /// What the server says.
        why: String,
    },
    /// It is damaged.
    #[error("{path}: the file is damaged: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// What was seen.
        why: String,
    },
    /// The file or its folder cannot be used.
    #[error("{path}: {why}")]
    Unusable {
        /// The file.
        path: String,
        /// The error of the operating system.
        why: String,
    },
}

jumun_text::explained! { OpenError {
    Self::InUse { .. } => "database-in-use", "Stop the other process, or give this one another data folder (--data).";
    Self::Missing { .. } => "database-missing",
        "Start the system (jumun up <system>): its services make their databases. Or name the folder of its data with --data.";
    Self::Older { .. } => "database-older",
        "Start the system once (jumun up <system>): it brings the database to this release.";
    Self::Newer { .. } => "database-newer",
        "Use the newer release, or restore the copy that was made before the upgrade.";
    Self::Foreign { .. } => "database-foreign",
        "Move this file away and restore the database of this service in its place, or set `database` of this service to where that is.";
    Self::Partitions { .. } => "database-partitions",
        "Use the release that made this database, or restore a copy that this one made.";
    Self::Unreachable { .. } => "database-unreachable",
        "Start the server, or correct host and port in `database` of this service (or of the system).";
    Self::Refused { .. } => "database-refused",
        "Correct user, password and database in `database` of this service (or of the system), or let the user in: it must be allowed to create a schema in that database, or to create tables in one that is there.";
    Self::Damaged { .. } => "database-damaged", DAMAGED_REMEDY;
    Self::Unusable { .. } => "database-unusable",
        "Check that the file and its folder exist, have room, and can be read and written by this user; of a server, what it says.";
} }

/// The identity of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The service it belongs to.
    pub service: String,
    /// Random, created with the database. Numbers of two epochs are unrelated.
    pub epoch: Uuid,
    /// See [`Schema::partitions`](crate::Schema::partitions).
    pub partitions: u16,
    /// How many processes may use it at a time.
    pub sharing: Sharing,
}

impl Identity {
    /// Checks that it is the database of this service.
    pub(crate) fn check(&self, schema: &Schema, path: &str) -> Result<(), OpenError> {
        let (path, wanted) = (path.to_owned(), schema.partitions.max(1));
        if self.service != schema.service {
            let why = format!("it belongs to the service `{}`, not to `{}`", self.service, schema.service);
            return Err(OpenError::Foreign { path, why });
        }
        if self.partitions != wanted {
            return Err(OpenError::Partitions { path, found: self.partitions, wanted });
        }
        if self.sharing != Sharing::OneProcess {
            let why = "it is for several processes at a time; this release opens it for one only".to_owned();
            return Err(OpenError::Unusable { path, why });
        }
        Ok(())
    }
}

/// How many processes of a service may use one database at a time. The database records it, and this is the one place
/// that states it. Code that relies on being the only process asks this: voiding the requests of other incarnations,
/// blocking commits, counting delayed asks, queueing commands on one document in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// One: the database refuses a second one ([`OpenError::InUse`]). So another incarnation has surely ended.
    OneProcess,
    /// Several replicas. No adapter offers that yet.
    Replicas,
}

impl Sharing {
    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OneProcess => "one",
            Self::Replicas => "many",
        }
    }

    /// The meaning of a stored word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::OneProcess, Self::Replicas].into_iter().find(|sharing| sharing.as_str() == word)
    }
}
