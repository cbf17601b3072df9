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

/// Unfolded bytes of the write-ahead log from which on they are folded back into the database file.
pub const CHECKPOINT_FROM_BYTES: u64 = 4 * 1024 * 1024;

/// Write-ahead log size, in bytes, from which the writer helps to begin it again at its start. The file of a log that no
/// reader holds is not longer for long.
pub const CHECKPOINT_URGENT_BYTES: u64 = 64 * 1024 * 1024;

/// The rest of the log, in bytes, that the checkpointer leaves to the writer, which folds it back between two transactions:
/// two syncs and some milliseconds. With large groups it may be up to [`CHECKPOINT_FROM_BYTES`].
pub const REST_MAX_BYTES: u64 = 1024 * 1024;

/// Write-ahead log size, in bytes, from which operators are warned whatever the reason; from [`CHECKPOINT_URGENT_BYTES`]
/// on if one reader has been in the way for [`LONG_LOG_HELD`]. The warning ends below that.
pub const LONG_LOG_BYTES: u64 = 128 * 1024 * 1024;

/// How long one reader must have kept the log from being folded back before operators are warned of it.
pub const LONG_LOG_HELD: Duration = Duration::from_secs(5);

/// How often the log of a service says that the write-ahead log is still too long.
pub const LONG_LOG_LOGGED_EVERY: Duration = Duration::from_mins(10);

/// How often the checkpointer looks at a log that is longer than [`CHECKPOINT_URGENT_BYTES`].
pub const LONG_LOG_EVERY: Duration = Duration::from_millis(100);

/// How often the checkpointer looks whether the files are still there and the log is at rest. Commits look themselves.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Checkpoints in a row, while each leaves more than [`REST_MAX_BYTES`] because the writer goes on.
pub const FOLDS_AT_ONCE_MAX: u32 = 8;

/// Attempts to begin the log again beside queries of this process, before these pause for it.
pub const RESTARTS_BESIDE_READERS: u32 = 3;

/// How long queries over many rows pause at most, so that the log can begin again.
pub const QUERIES_PAUSED_MAX: Duration = Duration::from_millis(100);

/// Bytes by which the file of the log is cut at a time: that takes some milliseconds, during which nothing is committed.
pub const CUT_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Queries that may wait for a connection; one more is answered
/// [`ReadError::Unavailable`](crate::ReadError::Unavailable).
pub const QUERY_QUEUE_MAX: usize = 1_024;

/// Counts that one query connection remembers at most.
pub const COUNTS_REMEMBERED_MAX: usize = 256;

/// How long a connection waits for a lock that another one holds, while a database is opened. Longer than [`READ_MAX`].
pub const BUSY_MAX: Duration = Duration::from_secs(5);

/// How long a read on the caller's thread waits for a lock. Readers wait for nothing but another process that repairs the
/// shared memory of the log.
pub const POINT_BUSY_MAX: Duration = Duration::from_millis(10);

/// How long commits wait while another process holds the right to write. Well below the time limit of an ask: its asker
/// learns that surely nothing was done.
pub const WRITE_LOCK_WAIT_MAX: Duration = Duration::from_millis(500);

/// The same for the commits after one that has waited in vain: nothing queues up behind a lock that stays.
pub const WRITE_LOCK_WAIT_AGAIN: Duration = Duration::from_millis(20);

/// How often the writer tries to get the right to write meanwhile.
pub const WRITE_LOCK_EVERY: Duration = Duration::from_millis(1);

/// How long health shows an error of the disk on a read after it last happened. It is logged once in that time.
pub const DISK_ERROR_SHOWN_FOR: Duration = Duration::from_mins(1);

/// Documents of which one transaction rewrites a field, at the first start after an upgrade that asks for it.
pub const REWRITTEN_AT_ONCE: i64 = 10_000;

/// How long it may take to connect to a server, encryption and password included.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long a server may be silent on a connection before that counts as lost; the server has the same patience with this
/// process.
pub const SERVER_SILENT_MAX: Duration = Duration::from_secs(10);

/// How long one statement of a commit may take on a server.
pub const COMMIT_MAX: Duration = Duration::from_secs(5);

/// How long a commit waits for a server that does not answer. Well below the time limit of an ask: its asker learns that
/// surely nothing was done.
pub const SERVER_WAIT_MAX: Duration = Duration::from_millis(500);

/// The same for the commits after one that has waited in vain.
pub const SERVER_WAIT_AGAIN: Duration = Duration::from_millis(20);

/// How long the start of a service waits for a server, and for an earlier process to let go of the database.
pub const SERVER_START_MAX: Duration = Duration::from_secs(5);

/// The pause between two attempts to connect to a server that refuses.
pub const RECONNECT_EVERY: Duration = Duration::from_millis(20);

/// How long a change of tables waits for queries to let go of them.
pub const TABLE_LOCK_WAIT_MAX: Duration = Duration::from_millis(500);

/// Attempts at a transaction that the server ends because of others: deadlocks, serialization failures, locks.
pub const TRANSACTION_ATTEMPTS_MAX: u32 = 5;

/// Bytes of documents and events that one transaction of a server holds at most, a single larger commit apart.
pub const GROUP_MAX_BYTES: usize = 8 * 1024 * 1024;

/// Statements that one connection to a server keeps prepared.
pub const STATEMENTS_PREPARED_MAX: usize = 256;

/// Counts of a server that took longer than this are repeated at most once a second. Its network is in that time.
pub const SERVER_CHEAP_COUNT: Duration = Duration::from_millis(10);
