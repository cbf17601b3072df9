//! Limits of a running service, by the folder that uses them.
//!
//! A configured limit has its default here. All others are fixed: they bound memory, or keep background work from delaying
//! requests.

use std::time::Duration;

// ---- intake: admission, turns, faults

/// Commands in progress at once, by default: an eighth of a second of work for a service on one core.
pub const COMMANDS_MAX: u32 = 1_024;

/// Commands, and as many reads, that queue for a permit, by default. The service answers one more with 503 at once.
pub const COMMANDS_WAITING_MAX: u32 = 1_024;

/// How long a request queues for a permit, by default.
pub const COMMAND_WAIT_MAX: Duration = Duration::from_millis(250);

/// Reads in progress at once, by default. Few, because a list of a thousand takes milliseconds of the thread that also runs
/// commands. Under 250 clients that list a thousand each, an order took up to 0.8 s with 32, and 1.9 s with 256, and 256 did
/// not even complete more lists (two cores).
pub const READS_MAX: u32 = 32;

/// The longest `Retry-After` of a refused request.
pub const RETRY_AFTER_MAX: Duration = Duration::from_mins(1);

/// Commands that queue for one aggregate, or for one idempotency key. The service answers one more with 503 at once.
pub const TURNS_WAITING_MAX: usize = 1_024;

/// How late Tokio's timers fire on average: they count whole milliseconds, rounded up.
pub const TIMER_LATENESS: Duration = Duration::from_millis(1);

// ---- engine: decisions, keys, the ask of a command

/// How often a step is decided again after its commit was a conflict.
pub const DECISIONS_MAX: usize = 32;

/// How long answers are kept under their keys. Older asks are refused: their answer may have been deleted.
pub const ANSWERS_KEPT: Duration = Duration::from_hours(24);

/// How long after its time limit a request may stay in doubt before recovery gives it up.
pub const OUTCOME_GRACE: Duration = Duration::from_secs(2);

/// What a service subtracts from the time that its caller waits, before it asks a neighbour itself: inner limits are shorter
/// than outer ones.
pub const NESTED_MARGIN: Duration = Duration::from_millis(20);

/// How often a question is sent at most, while connections break. One time limit covers all attempts.
pub const ATTEMPTS_MAX: usize = 4;

/// The pause before the engine sends a question again whose connection broke; each further pause is four times as long.
pub const REPEAT_PAUSE: Duration = Duration::from_millis(2);

// ---- asks: calls, messages, undoing, delayed asks

/// Time limit of a call, by default.
pub const TIME_LIMIT: Duration = Duration::from_secs(1);

/// How much longer than the time limit of the sender itself a call to it may take.
pub const OUTSIDE_MARGIN: Duration = Duration::from_secs(1);

/// The shortest interval between two log lines about messages that are not sent.
pub const SENDER_TROUBLE_EVERY: Duration = Duration::from_mins(1);

/// The longest pause that a receiver of messages may request: far shorter than the deadline of a message.
pub const QUIET_MAX: Duration = Duration::from_mins(5);

/// Questions in one request to a neighbour, at most; and how many a service takes in one.
pub const TOGETHER_MAX: u32 = 64;

/// Time limit of one attempt to undo an ask.
pub const VOID_TIME_LIMIT: Duration = Duration::from_secs(2);

/// Undo calls in progress at once.
pub const VOIDS_AT_ONCE: usize = 32;

/// The shortest and the longest pause between attempts to undo, while none succeeds.
pub const VOID_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How often recovery looks for abandoned requests.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How often recovery deletes old answers.
pub const PURGE_EVERY: Duration = Duration::from_mins(1);

/// Delayed questions of a service, by default.
pub const DELAYED_MAX: u32 = 10_000;

/// How long a delayed question is asked, by default.
pub const DELAY_DEADLINE: Duration = Duration::from_mins(15);

/// The longest deadline of a delayed question: well below [`ANSWERS_KEPT`], so that the neighbour can always undo it.
pub const DELAY_DEADLINE_MAX: Duration = Duration::from_hours(12);

/// Delayed questions to one neighbour in progress at once, while its circuit is closed.
pub const DELAYED_AT_ONCE: usize = 32;

/// The part of the calls in flight to a neighbour that delayed questions may always have, also while orders of now would use
/// all of them: so each is answered at some time. They get more only where orders of now leave some.
pub const DELAYED_PART: u32 = 8;

/// Delayed questions that a worker reads in one query.
pub const DELAYED_READ_ROWS: u32 = 128;

/// Delayed questions of one round; then the worker starts again at the oldest.
pub const DELAYED_ROUND_ROWS: u32 = 4_096;

/// The shortest interval between two delayed questions to one service, which makes 1,250 a second: the backlog is worked off
/// beside the orders of now, and does not delay them.
pub const DELAYED_EVERY: Duration = Duration::from_micros(800);

/// Answers to delayed questions that are committed at once. Orders of now commit beside them, so the slower commits are, the
/// fewer delayed questions are asked.
pub const DELAYED_COMMITS_AT_ONCE: usize = 4;

/// How far delayed questions may be behind that pace and catch up: timers are late.
pub const DELAYED_CATCH_UP: Duration = Duration::from_millis(5);

/// The shortest and the longest pause between rounds of delayed questions, while none succeeds.
pub const DELAYED_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How often a worker looks for delayed questions past their deadline.
pub const EXPIRE_EVERY: Duration = Duration::from_secs(1);

// ---- time-outs

/// Time-outs that are decided at once.
pub const TIME_OUTS_AT_ONCE: u32 = 16;

/// The shortest interval between two rounds of time-outs, which makes a thousand a second: what is due after a day of standing
/// still is worked off beside the orders of now, and does not delay them.
pub const TIME_OUTS_EVERY: Duration = Duration::from_millis(16);

/// How many times as long as a round took the worker rests after it: where commits are slow, three quarters of the time are those
/// of others. Each time-out costs all services that hear of it as much as a cancel does.
pub const TIME_OUTS_REST: u32 = 3;

/// How long a time-out is put off on which the code fails.
pub const DEFECT_PAUSE: Duration = Duration::from_mins(1);

// ---- events: relay

/// Events that the relay appends, or a consumer polls, in one batch.
pub const EVENTS_AT_ONCE: u32 = 512;

/// How often the relay reads the journal without a notice.
pub const RELAY_PAUSE: Duration = Duration::from_millis(200);

/// The shortest interval between two times that the relay publishes: what is committed meanwhile goes in one write.
pub const RELAY_EVERY: Duration = Duration::from_millis(3);

/// Committed events that wait for the relay in memory. Further ones it reads from the journal.
pub const FEED_MAX_EVENTS: usize = 8_192;

/// How often the relay syncs the bus, so that its events survive a power cut.
pub const SYNC_EVERY: Duration = Duration::from_secs(1);

// ---- events: consumer

/// The shortest interval between two batches of a consumer, after a batch of few and of many events: what is published
/// meanwhile is applied in one commit. After a full batch the next one follows at once.
pub const BATCH_EVERY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(20));

/// A batch of many events.
pub const BATCH_OF_MANY: u32 = 64;

/// Documents that a consumer reads at once; then it yields the thread to requests.
pub const DOCUMENTS_AT_ONCE: usize = 64;

/// Events that a consumer applies before it yields the thread to requests.
pub const EVENTS_BETWEEN_YIELDS: usize = 32;

/// The pause of a consumer between polls right after events. It doubles up to [`IDLE_PAUSE`] while there are none.
pub const BUSY_PAUSE: Duration = Duration::from_millis(2);

/// The longest pause of a consumer between polls.
pub const IDLE_PAUSE: Duration = Duration::from_millis(25);

/// How often a consumer commits its positions while no event has an effect.
pub const POSITIONS_EVERY: Duration = Duration::from_secs(1);

/// How often a consumer measures its lag: that costs several system calls.
pub const LAG_EVERY: Duration = Duration::from_millis(250);

/// The pause of a worker after the database failed.
pub const DATABASE_PAUSE: Duration = Duration::from_millis(200);

/// How long health still reports a stalled consumer after it has recovered.
pub const STALL_SHOWN_FOR: Duration = Duration::from_secs(2);

/// How often a consumer that is stalled logs why.
pub const STALL_LOGGED_EVERY: Duration = Duration::from_mins(1);

/// Orders with parked events, at most. With this many the release is at fault, not an event: the consumer stalls, and the
/// service reports that it is down.
pub const PARKED_KEYS_MAX: usize = 100;

/// The pause before a consumer retries parked events whose last retry failed because of the database.
pub const RETRY_PAUSE: Duration = Duration::from_secs(2);

// ---- events: rebuild

/// Events that a rebuild folds in one batch.
pub const FOLD_MAX_EVENTS: usize = 4_096;

/// Bytes of events and stored rows in memory from which on a rebuild stores the rows that no event has changed since it last
/// stored some. So it holds rows of at most twice this size, and as many again on their way to the disk.
pub const FOLD_MAX_BYTES: usize = 16 * 1024 * 1024;

/// The same bound by the number of rows.
pub const FOLD_MAX_ROWS: usize = 40_000;

/// With at most this many events left, a rebuild blocks commits until it is done.
pub const FOLD_LAST_EVENTS: u64 = 2_000;

/// Catch-up rounds before a rebuild blocks commits, however many events are left.
pub const FOLD_ROUNDS_MAX: usize = 50;

/// How long a rebuild waits for events that the consumer has applied but a power cut took from the bus.
pub const FOLD_WAIT_MAX: Duration = Duration::from_secs(5);

/// The shortest interval between two progress reports of a rebuild.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(200);

// ---- events: retention

/// Parts of the retention time. A segment takes events for one part, and one part is the interval between two checks for
/// deletable segments, within [`RETENTION_LOOKS`].
pub const RETENTION_PARTS: u32 = 8;

/// Shortest and longest interval between checks for deletable segments.
pub const RETENTION_LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_mins(1));

// ---- edge: HTTP

/// How long a read waits until its service has applied the event that the client names.
pub const SEEN_TIME_LIMIT: Duration = Duration::from_secs(1);

/// Clients that follow the events of a service at once. The service answers one more with 503.
pub const FOLLOWERS_MAX: usize = 256;

/// Events that a follower reads in one query.
pub const FOLLOWER_READ_ROWS: u32 = 128;

/// How often a follower hears that the connection is alive, while there are no events.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// How long a client should wait before it reconnects, in milliseconds.
pub const RECONNECT_MS: u64 = 500;

/// How often a service looks whether its database has failed, to report that to its supervisor. Commits know it at once.
pub const FAILURE_LOOK: Duration = Duration::from_millis(500);
