//! Every bound of this crate, in one place.

use std::time::Duration;

/// Jobs that one `SQLite` transaction holds at most.
pub const GROUP_MAX_JOBS: usize = 512;

/// The ranges in which sizes of groups are counted, in jobs.
pub const GROUP_JOBS_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, GROUP_MAX_JOBS as u64];

/// The ranges in which the times of fsyncs are counted, in microseconds.
pub const SYNC_US_BOUNDS: &[u64] =
    &[50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// How long the writer waits for company before it commits; only when the last group had more than one job.
pub const GROUP_LINGER: Duration = Duration::from_micros(300);

/// Commits that may wait for the writer; one more is answered [`CommitError::NotDone`](crate::CommitError::NotDone).
pub const QUEUE_MAX_JOBS: usize = 16_384;

/// The longest time a read transaction may last, so that the write-ahead log can be folded back.
pub const READ_MAX: Duration = Duration::from_secs(1);

/// Connections that serve queries over many rows. Point reads have one of their own.
pub const QUERY_CONNECTIONS: usize = 2;

/// Rows that one page, scan or listing holds at most.
pub const PAGE_MAX_ROWS: u32 = 1_000;

/// The largest event, as it is published, in bytes.
pub const EVENT_MAX_BYTES: usize = 256 * 1024;

/// The largest document, in bytes.
pub const DOCUMENT_MAX_BYTES: usize = 1024 * 1024;

/// Answered requests that are kept at most; the oldest go first.
pub const REQUESTS_KEPT_MAX: u64 = 10_000_000;

/// Requests that one purge deletes at most, so that it never holds the writer up.
pub const PURGE_MAX_ROWS: u32 = 1_000;

/// Rows that one step of filling or clearing a shadow takes at most, so that it never holds the writer up for long.
pub const SHADOW_MAX_ROWS: usize = 2_000;

/// Counts of all rows that took longer than this are repeated at most once a second.
pub const CHEAP_COUNT: Duration = Duration::from_millis(1);

/// How long a count that was not cheap is good for.
pub const COUNT_KEPT: Duration = Duration::from_secs(1);

/// Write-ahead log size, in bytes, from which it is folded back into the database file.
pub const CHECKPOINT_FROM_BYTES: u64 = 4 * 1024 * 1024;

/// Write-ahead log size, in bytes, from which folding back may hold the writer up for a moment.
pub const CHECKPOINT_URGENT_BYTES: u64 = 64 * 1024 * 1024;

/// Queries that may wait for a connection; one more is answered
/// [`ReadError::Unavailable`](crate::ReadError::Unavailable).
pub const QUERY_QUEUE_MAX: usize = 1_024;

/// Counts that one query connection remembers at most.
pub const COUNTS_REMEMBERED_MAX: usize = 256;

/// How long one connection waits for a lock that another one holds. Longer than [`READ_MAX`], so that a checkpoint
/// outlasts every reader.
pub const BUSY_MAX: Duration = Duration::from_secs(5);

/// How long the writer waits for readers before it restarts a log that has become too long.
pub const RESTART_WAIT_MAX: Duration = Duration::from_millis(100);
