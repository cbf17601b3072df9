//! The limits of the kernel.

/// The largest amount of money, quantity or other number that business data holds.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;

/// The longest name or other short text, in characters.
pub const NAME_MAX_CHARS: usize = 255;

/// The longest reference of a client, in characters.
pub const REFERENCE_MAX_CHARS: usize = 64;

/// How deep asks may nest: order → payment → mileage.
pub const ASK_DEPTH_MAX: usize = 2;

/// How deep objects and lists may nest in what clients send. Business data is flat.
pub const NESTING_MAX: usize = 16;

/// Other documents of its service that one decision may read.
pub const READS_MAX: usize = 8;

/// How long a chain of policies may be in one commit: an event of the service causes a command, which emits the next event.
/// A longer one is a circle.
pub const POLICY_CHAIN_MAX: usize = 8;

/// Instances that one event may choose. See [`First`](crate::First).
pub const CHOSEN_MAX: usize = 256;

/// Instances that a policy looks up at once.
pub(crate) const LOOKUP_ROWS: u32 = 32;
