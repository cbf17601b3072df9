//! Limits of a running service.

use std::time::Duration;

/// Commands at work at once, if nothing else is configured: an eighth of a second of work for a service on one core.
pub const COMMANDS_MAX: u32 = 1_024;

/// Commands, and as many reads, that wait for a place, if nothing else is configured. One more is answered 503 at once.
pub const COMMANDS_WAITING_MAX: u32 = 1_024;

/// How long one waits for a place, if nothing else is configured.
pub const COMMAND_WAIT_MAX: Duration = Duration::from_millis(250);

/// Reads at work at once, if nothing else is configured. Few: a list of a thousand takes milliseconds of the thread that takes
/// orders, too. Under 250 clients that list a thousand each, an order took up to 0.8 s with 32, and 1.9 s with 256, which did
/// not even get more lists done (two cores).
pub const READS_MAX: u32 = 32;

/// The longest time after which somebody who was turned away is told to come again.
pub const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

/// Commands that wait for one aggregate, or for one idempotency key. One more is answered 503 at once.
pub const TURNS_WAITING_MAX: usize = 1_024;

/// How often a decision is taken again because somebody else was first.
pub const DECISIONS_MAX: usize = 32;

/// The longest idempotency key, in bytes.
pub const KEY_MAX_BYTES: usize = 255;

/// How long answers are kept under their keys. Older asks are refused: their answer may be forgotten.
pub const ANSWERS_KEPT: Duration = Duration::from_hours(24);

/// How much longer than its time limit a request may stay in doubt before recovery gives it up.
pub const OUTCOME_GRACE: Duration = Duration::from_secs(2);

/// What a service keeps of the time its caller gives it, before it asks on: so that limits shrink inwards.
pub const NESTED_MARGIN: Duration = Duration::from_millis(20);

/// Time limit of a call that has none configured.
pub const TIME_LIMIT: Duration = Duration::from_secs(1);

/// How much longer than its own time limit whoever is outside the system may take.
pub const OUTSIDE_MARGIN: Duration = Duration::from_secs(1);

/// How often operators are told at most why messages do not go out.
pub const TROUBLE_TOLD_EVERY: Duration = Duration::from_mins(1);

/// How often a question is sent at most, while connections break. The time limit holds over all of it.
pub const ATTEMPTS_MAX: usize = 4;

/// The pause before a question is sent again whose connection broke; each further one is four times as long.
pub const REPEAT_PAUSE: Duration = Duration::from_millis(2);

/// Time limit of one attempt to undo.
pub const VOID_TIME_LIMIT: Duration = Duration::from_secs(2);

/// Undo calls under way at once.
pub const VOIDS_AT_ONCE: usize = 32;

/// The shortest and the longest pause between attempts to undo, while none succeeds.
pub const VOID_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Delayed questions to one neighbour under way at once, while the circuit to it is closed.
pub const DELAYED_AT_ONCE: usize = 32;

/// Delayed questions that are read at once.
pub const DELAYED_READ_ROWS: u32 = 128;

/// The time between two delayed questions to a service, at least: a backlog is worked off beside the orders of now, and not
/// before them. 1,250 a second.
pub const DELAYED_EVERY: Duration = Duration::from_micros(800);

/// Delayed questions that are asked before the oldest get their turn again.
pub const DELAYED_ROUND_ROWS: u32 = 4_096;

/// How long a receiver of messages may ask to be left alone: far less than a message is tried for.
pub const QUIET_MAX: Duration = Duration::from_mins(5);

/// The shortest and the longest pause between attempts to ask what is delayed, while none succeeds.
pub const DELAYED_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How often delayed questions are looked for whose deadline is over.
pub const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// How many questions of a service may be delayed, unless it is told otherwise.
pub const DELAYED_MAX: u32 = 10_000;

/// For how long a delayed question is asked, unless it is told otherwise.
pub const DELAY_DEADLINE: Duration = Duration::from_mins(15);

/// The longest deadline of a delayed question: well within the time for which answers are kept, so that it can always be
/// taken back.
pub const DELAY_DEADLINE_MAX: Duration = Duration::from_hours(12);

/// How often recovery looks for requests that nobody answers any more.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How often old answers are deleted.
pub const PURGE_EVERY: Duration = Duration::from_mins(1);

/// Events that are relayed or heard in one go.
pub const EVENTS_AT_ONCE: u32 = 512;

/// Events that are worked on before requests get their turn on the same thread.
pub const EVENTS_BETWEEN_YIELDS: usize = 32;

/// How often a consumer looks how far it is behind: that costs several system calls.
pub const BEHIND_EVERY: Duration = Duration::from_millis(250);

/// How often the relay looks into the journal if nobody tells it to.
pub const RELAY_PAUSE: Duration = Duration::from_millis(200);

/// How often the bus is made to outlive a power cut.
pub const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How often a consumer looks at the bus: at once after events, ever less often after that.
pub const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// See [`BUSY_PAUSE`].
pub const IDLE_PAUSE: Duration = Duration::from_millis(25);

/// How often a consumer commits its position while no event concerns it.
pub const POSITIONS_EVERY: Duration = Duration::from_secs(1);

/// How long a consumer waits for a database that does not answer, before it tries again.
pub const DATABASE_PAUSE: Duration = Duration::from_millis(200);

/// How long a consumer waits before it hears parked events again that the database did not let it hear.
pub const RETRY_PAUSE: Duration = Duration::from_secs(2);

/// Events that a rebuild of a view takes in one batch.
pub const FOLD_MAX_EVENTS: usize = 4_096;

/// From this size on, in bytes of events and stored rows, a rebuild writes the rows that nothing has happened to since it
/// last wrote some. So it has at most rows of twice this size at hand, and as many on their way to the disk.
pub const FOLD_MAX_BYTES: usize = 16 * 1024 * 1024;

/// The same by the number of rows.
pub const FOLD_MAX_ROWS: usize = 40_000;

/// With so few events left a rebuild lets no commit begin until it is done.
pub const FOLD_LAST_EVENTS: u64 = 2_000;

/// How often a rebuild comes that close at most, before it holds commits up for as many events as there are.
pub const FOLD_ROUNDS_MAX: usize = 50;

/// How long a rebuild waits for events that a consumer has heard and the bus has not, after a power cut.
pub const FOLD_WAIT_MAX: Duration = Duration::from_secs(5);

/// Into how many parts the time is cut for which the log is kept: a segment takes events for one of them, and so often it
/// is looked which segments may go, within [`RETENTION_LOOKS`].
pub const RETENTION_PARTS: u32 = 8;

/// How often it is looked at most, and at least, which segments may go.
pub const RETENTION_LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_mins(1));

/// How often a rebuild says how far it is.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// How long a consumer that stood still is shown to, after it last did.
pub const STANDING_STILL_SHOWN: Duration = Duration::from_secs(2);

/// With so many orders parked something is wrong with the release, not with an event: the service says that it is down.
pub const PARKED_KEYS_MAX: usize = 100;

/// How long a view waits for an event that its client has seen.
pub const SEEN_TIME_LIMIT: Duration = Duration::from_secs(1);

/// Resources on a page if the client does not say.
pub const PAGE_SIZE: u32 = 20;

/// Resources on a page at most.
pub const PAGE_SIZE_MAX: u32 = 1_000;

/// How late Tokio's timers are on average: they are of whole milliseconds, rounded up.
pub const TIMER_LATENESS: Duration = Duration::from_millis(1);
