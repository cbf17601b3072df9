//! Every bound of this crate, in one place.

use std::{ops::RangeInclusive, time::Duration};

/// How long one attempt may be configured to take.
pub const TIME_LIMIT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(5);

/// Time limit of one attempt, unless another one is configured.
pub const TIME_LIMIT_USUAL: Duration = Duration::from_secs(5);

/// How long a message's id is.
pub const ID_CHARS: RangeInclusive<usize> = 1..=128;

/// How long a recipient may be: what an address of electronic mail may be (RFC 5321), and more than any id.
pub const RECIPIENT_MAX_BYTES: usize = 320;

/// How large a template may be.
pub const TEMPLATE_MAX_BYTES: u64 = 64 * 1024;

/// How much a template may do: instructions of its engine for one message.
pub const TEMPLATE_FUEL: u64 = 100_000;

/// How many characters of a subject go out; the rest is cut.
pub const SUBJECT_MAX_CHARS: usize = 200;

/// How large the text of a message may be. A larger one is refused.
pub const TEXT_MAX_BYTES: usize = 64 * 1024;

/// How many characters of text KakaoTalk shows in a text message; the rest is cut.
pub const KAKAOTALK_TEXT_MAX_CHARS: usize = 200;

/// How much of an answer is read.
pub const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// Characters of a receiver's answer that an error or a receipt keeps.
pub const QUOTE_MAX_CHARS: usize = 200;

/// How large a file with a token or with certificates may be.
pub const SMALL_FILE_MAX_BYTES: u64 = 1024 * 1024;

/// How many lines wait to be written to the console or the file. One more is not sent.
pub const LINES_WAITING_MAX: usize = 1024;

/// How long an idle connection is kept; less than what receivers usually keep it.
pub const IDLE_CONNECTION_KEPT: Duration = Duration::from_secs(20);

/// How many of them.
pub const IDLE_CONNECTIONS_MAX: usize = 8;

/// The longest wait that a receiver may ask for; what is above it counts as this.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// How long a secret that webhooks are signed with is: *Standard Webhooks*, symmetric keys.
pub const WEBHOOK_KEY_BYTES: RangeInclusive<usize> = 24..=64;
