//! What can be wrong with a bus.

use uuid::Uuid;

/// What is wrong with a bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Another process publishes for this source.
    #[error("{service}: another process publishes its events")]
    InUse {
        /// The source.
        service: String,
    },
    /// The log belongs to another database of this service.
    #[error("{service}: its log has epoch {found}, its database {wanted}")]
    AnotherEpoch {
        /// The source.
        service: String,
        /// The epoch of the log.
        found: Uuid,
        /// The epoch that was expected.
        wanted: Uuid,
    },
    /// The log of this source has another number of partitions than its database.
    #[error("{service}: its log has {found} partitions, its database {wanted}")]
    AnotherPartitions {
        /// The source.
        service: String,
        /// The number of the log.
        found: u16,
        /// The number that was expected.
        wanted: u16,
    },
    /// A number is missing.
    #[error("{service}/{partition}: after {after} comes {found}")]
    Gap {
        /// The source.
        service: String,
        /// The partition.
        partition: u16,
        /// The last number known.
        after: u64,
        /// The number found.
        found: u64,
    },
    /// What was asked for is not kept any more.
    #[error("{service}/{partition}: events before {kept_from} are not kept any more, {wanted} was asked for")]
    Gone {
        /// The source.
        service: String,
        /// The partition.
        partition: u16,
        /// The first number that is still there.
        kept_from: u64,
        /// The number that was asked for.
        wanted: u64,
    },
    /// A part of the log cannot be read that was synced before.
    #[error("{path}: damaged at byte {offset}: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// Where.
        offset: u64,
        /// What was seen.
        why: String,
    },
    /// A newer release has written a file of the log.
    #[error("{path}: a newer release has written it, in version {version} of the format")]
    Newer {
        /// The file.
        path: String,
        /// The version of its format.
        version: u32,
    },
    /// There is no bus at this address.
    #[error("{path}: there is no bus here")]
    Missing {
        /// The folder.
        path: String,
    },
    /// The bus cannot be used now.
    #[error("the bus cannot be used: {0}")]
    Unavailable(String),
}

/// What to do about a log that another database, or another configuration, has made.
const MOVE_THE_LOG_AWAY: &str = "Move the folder of this log (bus/<service> in the data folder, or <service> in the folder that the key `bus` names) away while its service is stopped, and start that: it fills the log again from its journal.";

/// What to do about a log that lacks events.
const FILLED_AGAIN: &str = "The service of this log fills it again from its journal, within seconds while it runs. Start it if it is stopped (jumun start <service>, or jumun up <system>), then try again.";

jumun_text::explained! { BusError {
    Self::InUse { .. } => "bus-in-use",
        "Stop the other process, or give this system a bus of its own with the key `bus`.";
    Self::AnotherEpoch { .. } => "bus-another-epoch", MOVE_THE_LOG_AWAY;
    Self::AnotherPartitions { .. } => "bus-partitions", MOVE_THE_LOG_AWAY;
    Self::Gone { .. } => "bus-gone",
        "Stop the service that publishes them (jumun stop <service>), move its folder on the bus (bus/<service> in the data folder, or <service> in the folder that the key `bus` names) away, and start it (jumun start <service>): it fills its log again from its journal.";
    Self::Gap { .. } => "bus-gap", FILLED_AGAIN;
    Self::Damaged { .. } => "bus-damaged", FILLED_AGAIN;
    Self::Newer { .. } => "bus-newer",
        "Use the newer release. To stay with this one, stop the system and move the folder of this log (bus/<service> in the data folder, or <service> in the folder that the key `bus` names) away: the service fills it again from its journal when it starts.";
    Self::Missing { .. } => "bus-missing",
        "Start its service (jumun start <service>, or jumun up <system>): it makes its log, or fills it again from its journal. If it runs, check --data and the key `bus`.";
    Self::Unavailable(_) => "bus-unavailable",
        "Check that the bus folder exists, has room, and can be written by this user.";
} }
