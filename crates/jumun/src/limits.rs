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
