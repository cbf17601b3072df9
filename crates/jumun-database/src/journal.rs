//! The journal: events that a commit adds, and how they are numbered.

/// An event to be published, as it is written into the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Its type: `Ordered`.
    pub event_type: &'static str,
    /// The correlation key: the id of the order that it all began with.
    pub key: i64,
    /// When it happened, in milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// In which trace it happened.
    pub trace: Option<Trace>,
    /// The event as published, JSON.
    pub body: String,
}

/// The position in a trace, so that a trace can be followed over services and restarts: the trace's id (16 bytes), the
/// id of the causing span (8) and the flags (1), as in W3C Trace Context. A database stores the bytes unread.
pub type Trace = [u8; 25];

/// An event in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRecord {
    /// The partition, from the key.
    pub partition: u16,
    /// 1, 2, 3 … without gaps within a partition, in commit order.
    pub sequence: u64,
    /// See [`JournalEntry::event_type`].
    pub event_type: String,
    /// See [`JournalEntry::key`].
    pub key: i64,
    /// See [`JournalEntry::time_ms`].
    pub time_ms: i64,
    /// See [`JournalEntry::trace`].
    pub trace: Option<Trace>,
    /// See [`JournalEntry::body`].
    pub body: String,
}

/// The partition of a correlation key: FNV-1a (64 bit) over the key's eight bytes, the lowest first, modulo
/// `partitions`.
///
/// It is written down here and never changes: the numbers of a journal belong to its partitions.
pub fn partition_of(key: i64, partitions: u16) -> u16 {
    let hash = key
        .to_le_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    u16::try_from(hash % u64::from(partitions.max(1))).unwrap_or(0)
}
