//! Every bound of this crate, in one place.

use std::time::Duration;

/// From this size on, in bytes, a segment of a log takes no further record.
pub const SEGMENT_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The largest record, in bytes, with everything that belongs to it. The largest event of a database is a quarter of
/// it.
pub const RECORD_MAX_BYTES: usize = 1024 * 1024;

/// The longest type of an event and the longest name of a header, in bytes.
pub const NAME_MAX_BYTES: usize = 1_024;

/// The longest name of a service, in bytes.
pub const SERVICE_MAX_BYTES: usize = 128;

/// Partitions that a source has at most.
pub const PARTITIONS_MAX: u16 = 4_096;

/// Bytes that are gathered at most before they are written, but for the record that goes over it.
pub const WRITE_MAX_BYTES: usize = 1024 * 1024;

/// Bytes that a reader asks the system for at a time; a larger record makes it larger.
pub const READ_BYTES: usize = 256 * 1024;

/// Events that one poll delivers at most.
pub const POLL_MAX_EVENTS: usize = 512;

/// From this size on, in bytes of wanted content, a poll delivers no further event.
pub const POLL_MAX_BYTES: usize = 4 * 1024 * 1024;

/// How often a busy reader looks for new events.
pub const LOOK_BUSY: Duration = Duration::from_millis(2);

/// How often an idle reader looks for new events.
pub const LOOK_IDLE: Duration = Duration::from_millis(25);

/// How often a reader that finds nothing new makes sure that it still reads the right file.
pub const LOOK_AROUND: Duration = Duration::from_secs(1);

/// How often one poll restarts a source whose files change under it before it leaves it to the next poll.
pub const SEEKS_MAX: u32 = 4;
